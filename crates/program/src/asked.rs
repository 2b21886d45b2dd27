//! What each of the programs that slurmctld calls is told on its command line: nodes, or by itself
//! which driver it is to be. Manual pages and completions are made of it as well.

use std::path::PathBuf;

use azslurm_ledger::Holder;
use clap::Args;

/// The arguments that these programs have in common.
#[derive(Debug, Args)]
pub struct Asked {
    /// Nodes as a Slurm host list: `hpc-[001-003],htc-1`
    #[arg(value_name = "HOSTLIST", required_unless_present = "drive")]
    pub nodes: Option<String>,
    /// Config file [default: $AZSLURM_CONFIG, azslurm.toml beside $SLURM_CONF,
    /// /etc/azslurm/azslurm.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Carry on as the driver of this holder (started by the program itself)
    #[arg(long, value_name = "HOLDER", hide = true, conflicts_with = "nodes")]
    pub drive: Option<Holder>,
}
