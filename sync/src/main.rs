//! azslurm-sync: see, explain and repair.

use std::process::ExitCode;

use azslurm_program::{exit, logs, memory};
use azslurm_sync::cli::{Arguments, PROGRAM, run};
use clap::Parser;

fn main() -> ExitCode {
    logs::start(PROGRAM);
    memory::keep();
    exit::finish(PROGRAM, run(Arguments::parse()))
}
