//! azslurm-resume-fail: slurmctld's ResumeFailProgram.

use std::path::PathBuf;
use std::process::ExitCode;

use azslurm_ledger::Holder;
use azslurm_program::{driver, exit, logs, memory};
use azslurm_resume_fail::program;
use clap::Parser;

const PROGRAM: &str = "azslurm-resume-fail";

/// Cleans up after Slurm nodes that missed ResumeTimeout.
///
/// slurmctld calls this program as ResumeFailProgram. It records why the nodes did not come as far
/// as Azure tells, deletes their VMs, and sets the nodes back once those are gone. It never starts
/// a replacement. Exit code 0: handed over; 1: some of it could not be, the log says what; 2: it
/// could not start.
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
    let result = match &arguments.drive {
        Some(holder) => program::drive(config, holder),
        None => program::front(config, &arguments.nodes.unwrap_or_default()),
    };
    exit::finish(PROGRAM, result)
}
