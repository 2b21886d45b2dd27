//! azslurm-resume-fail: slurmctld's ResumeFailProgram.

use std::process::ExitCode;

use azslurm_program::{driver, exit, logs, memory};
use azslurm_resume_fail::cli::{Arguments, PROGRAM};
use azslurm_resume_fail::program;
use clap::Parser;

fn main() -> ExitCode {
    logs::start(PROGRAM);
    memory::keep();
    driver::unblock_signals();
    let Arguments { asked } = Arguments::parse();
    let config = asked.config.as_deref();
    let result = match &asked.drive {
        Some(holder) => program::drive(config, holder),
        None => program::front(config, &asked.nodes.unwrap_or_default()),
    };
    exit::finish(PROGRAM, result)
}
