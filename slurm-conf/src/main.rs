//! azslurm-conf: from one config to a working Slurm on Azure, explained and checked.

use std::process::ExitCode;

use azslurm_conf::cli::{self, Arguments};
use azslurm_program::memory;
use clap::Parser;

fn main() -> ExitCode {
    memory::keep();
    ExitCode::from(cli::run(Arguments::parse()))
}
