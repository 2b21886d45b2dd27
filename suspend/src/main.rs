//! azslurm-suspend: slurmctld's SuspendProgram.

use std::path::PathBuf;
use std::process::ExitCode;

use azslurm_ledger::Holder;
use azslurm_program::{driver, exit, logs, memory};
use clap::Parser;

const PROGRAM: &str = "azslurm-suspend";

/// Takes the VMs of Slurm nodes away.
///
/// slurmctld calls this program as SuspendProgram. It writes down what is to be deleted, starts a
/// driver that sends the deletions, and ends. Calling it again, or for nodes without a VM, does no
/// harm. Exit code 0: handed over; 1: some of it could not be, the log says what; 2: it could not
/// start.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version)]
struct Arguments {
    /// Nodes as a Slurm host list: `hpc-[001-003],htc-1`
    #[arg(value_name = "HOSTLIST", required_unless_present = "drive")]
    nodes: Option<String>,
    /// Config file [default: $AZSLURM_CONFIG, azslurm.toml beside $SLURM_CONF,
    /// /etc/azslurm/azslurm.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what would be deleted, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Carry on as the driver of this holder (started by the program itself)
    #[arg(long, value_name = "HOLDER", hide = true, conflicts_with = "nodes")]
    drive: Option<Holder>,
}

fn main() -> ExitCode {
    logs::start(PROGRAM);
    memory::keep();
    driver::unblock_signals();
    let arguments = Arguments::parse();
    let config = arguments.config.as_deref();
    let result = match (&arguments.drive, arguments.nodes) {
        (Some(holder), _) => azslurm_suspend::program::drive(PROGRAM, config, holder),
        (None, nodes) => {
            azslurm_suspend::program::front(config, &nodes.unwrap_or_default(), arguments.dry_run)
        }
    };
    exit::finish(PROGRAM, result)
}
