//! azslurm-conf: from one config to a working Slurm on Azure, explained and checked.

use std::process::ExitCode;

use azslurm_conf::cli::{self, Arguments};
use clap::Parser;

fn main() -> ExitCode {
    ExitCode::from(cli::run(Arguments::parse()))
}
