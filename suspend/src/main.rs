//! azslurm-suspend: slurmctld's SuspendProgram.

use std::process::ExitCode;

use azslurm_program::{driver, exit, logs, memory};
use azslurm_suspend::cli::{Arguments, PROGRAM};
use clap::Parser;

fn main() -> ExitCode {
    logs::start(PROGRAM);
    memory::keep();
    driver::unblock_signals();
    let Arguments { asked, dry_run } = Arguments::parse();
    let config = asked.config.as_deref();
    let result = match (&asked.drive, asked.nodes) {
        (Some(holder), _) => azslurm_suspend::program::drive(PROGRAM, config, holder),
        (None, nodes) => {
            azslurm_suspend::program::front(config, &nodes.unwrap_or_default(), dry_run)
        }
    };
    exit::finish(PROGRAM, result)
}
