//! The command line: what the program may be asked. Its manual page and its completions are made of
//! it as well (`packaging/generate`). It must do nothing itself.

use std::path::PathBuf;

use azslurm_ledger::Holder;
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
    /// Nodes as a Slurm host list: `hpc-[001-003],htc-1`
    #[arg(value_name = "HOSTLIST", required_unless_present = "drive")]
    pub nodes: Option<String>,
    /// Config file [default: $AZSLURM_CONFIG, azslurm.toml beside $SLURM_CONF,
    /// /etc/azslurm/azslurm.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say what would be created and where, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Carry on as the driver of this holder (started by the program itself)
    #[arg(long, value_name = "HOLDER", hide = true, conflicts_with = "nodes")]
    pub drive: Option<Holder>,
}
