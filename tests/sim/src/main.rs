//! `azslurm-prove`.

use std::process::ExitCode;

use azslurm_sim::proof::{Arguments, prove};
use clap::Parser;

fn main() -> ExitCode {
    prove(&Arguments::parse())
}
