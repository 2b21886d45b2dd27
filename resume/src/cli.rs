//! The command line: what the program may be asked. Its manual page and its completions are made of
//! it as well (`packaging/generate`). It must do nothing itself.

use azslurm_program::asked::Asked;
use clap::Parser;

/// The program's name in logs and leases.
pub const PROGRAM: &str = "azslurm-resume";

/// Makes the Azure VMs of Slurm nodes.
///
/// slurmctld calls this program as ResumeProgram. It writes down what it is going to do, starts a
/// driver that does it, and ends within milliseconds. Calling it again for the same nodes does no
/// harm. Exit code 0: handed over; 1: some nodes were refused, slurmctld is told and the log says
/// why; 2: it could not start.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version)]
pub struct Arguments {
    /// Which nodes, by which config.
    #[command(flatten)]
    pub asked: Asked,
    /// Say what would be created and where, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
