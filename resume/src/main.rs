//! azslurm-resume: slurmctld's ResumeProgram.

use std::path::PathBuf;
use std::process::ExitCode;

use azslurm_ledger::Holder;
use azslurm_program::exit::Stop;
use azslurm_program::{driver, exit, logs, memory};
use azslurm_resume::program;
use azslurm_resume::request::{ResumeRequest, take_resume_file};
use clap::Parser;

const PROGRAM: &str = "azslurm-resume";

/// Makes the Azure VMs of Slurm nodes.
///
/// slurmctld calls this program as ResumeProgram. It writes down what it is going to do, starts a
/// driver that does it, and ends within milliseconds. Calling it again for the same nodes does no
/// harm. Exit code 0: handed over; 1: some nodes were refused, slurmctld is told and the log says
/// why; 2: it could not start.
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
    /// Say what would be created and where, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Carry on as the driver of this holder (started by the program itself)
    #[arg(long, value_name = "HOLDER", hide = true, conflicts_with = "nodes")]
    drive: Option<Holder>,
}

fn main() -> ExitCode {
    logs::start(PROGRAM);
    memory::keep();
    let file = take_resume_file();
    driver::unblock_signals();
    let Arguments { nodes, config, dry_run, drive } = Arguments::parse();
    let result = match drive {
        Some(holder) => program::drive(config.as_deref(), &holder),
        None => ResumeRequest::new(&nodes.unwrap_or_default(), file.as_deref())
            .map_err(Stop::cannot_start)
            .and_then(|request| program::front(config.as_deref(), &request, dry_run)),
    };
    exit::finish(PROGRAM, result)
}
