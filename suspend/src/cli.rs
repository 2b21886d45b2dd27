//! The command line: what the program may be asked. Its manual page and its completions are made of
//! it as well (`packaging/generate`). It must do nothing itself.

use azslurm_program::asked::Asked;
use clap::Parser;

/// The program's name in logs and leases.
pub const PROGRAM: &str = "azslurm-suspend";

/// Takes the VMs of Slurm nodes away.
///
/// slurmctld calls this program as SuspendProgram. It writes down what is to be deleted, starts a
/// driver that sends the deletions, and ends. Calling it again, or for nodes without a VM, does no
/// harm. Exit code 0: handed over; 1: some of it could not be, the log says what; 2: it could not
/// start.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version)]
pub struct Arguments {
    /// Which nodes, by which config.
    #[command(flatten)]
    pub asked: Asked,
    /// Say what would be deleted, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
