//! The command line: what the program may be asked. Its manual page and its completions are made of
//! it as well (`packaging/generate`). It must do nothing itself.

use azslurm_program::asked::Asked;
use clap::Parser;

/// The program's name in logs and leases.
pub const PROGRAM: &str = "azslurm-resume-fail";

/// Cleans up after Slurm nodes that missed ResumeTimeout.
///
/// slurmctld calls this program as ResumeFailProgram. It records why the nodes did not come as far
/// as Azure tells, deletes their VMs, and sets the nodes back once those are gone. It never starts
/// a replacement. Exit code 0: handed over; 1: some of it could not be, the log says what; 2: it
/// could not start.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version)]
pub struct Arguments {
    /// Which nodes, by which config.
    #[command(flatten)]
    pub asked: Asked,
}
