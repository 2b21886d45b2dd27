//! azslurm-resume: slurmctld's ResumeProgram.

use std::process::ExitCode;

use azslurm_program::asked::Asked;
use azslurm_program::exit::Stop;
use azslurm_program::{driver, exit, logs, memory};
use azslurm_resume::cli::{Arguments, PROGRAM};
use azslurm_resume::program;
use azslurm_resume::request::{ResumeRequest, take_resume_file};
use clap::Parser;

fn main() -> ExitCode {
    logs::start(PROGRAM);
    memory::keep();
    let file = take_resume_file();
    driver::unblock_signals();
    let Arguments { asked: Asked { nodes, config, drive }, dry_run } = Arguments::parse();
    let result = match drive {
        Some(holder) => program::drive(config.as_deref(), &holder),
        None => ResumeRequest::new(&nodes.unwrap_or_default(), file.as_deref())
            .map_err(Stop::cannot_start)
            .and_then(|request| program::front(config.as_deref(), &request, dry_run)),
    };
    exit::finish(PROGRAM, result)
}
