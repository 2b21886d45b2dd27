//! The command line: what the program may be asked. Its manual page and its completions are made of
//! it as well (`packaging/generate`). It must do nothing itself.

use std::path::PathBuf;

use azslurm_ledger::Holder;
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
    /// Nodes as a Slurm host list: `hpc-[001-003],htc-1`
    #[arg(value_name = "HOSTLIST", required_unless_present = "drive")]
    pub nodes: Option<String>,
    /// Config file [default: $AZSLURM_CONFIG, azslurm.toml beside $SLURM_CONF,
    /// /etc/azslurm/azslurm.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say what would be deleted, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Carry on as the driver of this holder (started by the program itself)
    #[arg(long, value_name = "HOLDER", hide = true, conflicts_with = "nodes")]
    pub drive: Option<Holder>,
}
