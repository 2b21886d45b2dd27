//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use azslurm_core::NodeName;
use azslurm_core::hostlist;
use azslurm_program::exit::{self, Stop};
use azslurm_program::{Session, driver};
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::pass::{Options, pass};
use crate::status::status;

/// The program's name in logs and leases.
pub const PROGRAM: &str = "azslurm-sync";

/// Makes Slurm, Azure and the ledger agree again.
///
/// Without a verb it makes one pass now: it carries on what killed programs left, deletes what
/// nobody waits for, sets nodes back that can be used again, and says what it did. A pass may be
/// made at any time, by several at once, and as often as one likes.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version)]
pub struct Arguments {
    /// Config file [default: $AZSLURM_CONFIG, azslurm.toml beside $SLURM_CONF,
    /// /etc/azslurm/azslurm.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Machine-readable output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// One pass (the default verb)
    Pass {
        /// Decide and report, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Follow what is under way for so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = WAIT_SECONDS)]
        wait: u64,
    },
    /// What slurmctld, Azure and the ledger each say of every node
    Status {
        /// Only these nodes, as a Slurm host list
        #[arg(value_name = "HOSTLIST")]
        nodes: Option<String>,
    },
}

/// Most VMs are there within a minute or two (FACTS §1.4); the next pass follows the others.
const WAIT_SECONDS: u64 = 60;

/// Runs what was asked. Returns the exit code.
pub fn run(arguments: Arguments) -> Result<u8, Stop> {
    let Arguments { config, json, verb } = arguments;
    let config = config.as_deref();
    match verb.unwrap_or(Verb::Pass { dry_run: false, wait: WAIT_SECONDS }) {
        Verb::Pass { dry_run, wait } => {
            let mut session = Session::open(PROGRAM, config)?;
            let options = Options { dry_run, wait: Duration::from_secs(wait) };
            let report = driver::block_on(pass(&mut session, options))??;
            show(json, &report, || report.text())?;
            Ok(if report.is_good() { exit::DONE } else { exit::FAILED })
        }
        Verb::Status { nodes } => {
            let only: Option<Vec<NodeName>> = nodes
                .map(|list| hostlist::expand(&list))
                .transpose()
                .map_err(Stop::cannot_start)?;
            let mut session = Session::open_to_look(PROGRAM, config)?;
            let status = driver::block_on(status(&mut session, only.as_deref()))??;
            show(json, &status, || status.text())?;
            Ok(if status.unknown.is_empty() { exit::DONE } else { exit::FAILED })
        }
    }
}

fn show(json: bool, value: &impl Serialize, text: impl Fn() -> String) -> Result<(), Stop> {
    if json {
        let json = serde_json::to_string_pretty(value).map_err(Stop::failed)?;
        println!("{json}");
    } else {
        println!("{}", text().trim_end());
    }
    Ok(())
}
