//! `azslurm-sync node-agent`: beside slurmd on a compute node. It needs no right in Azure, no
//! ledger and no azslurm.toml: Slurm's clients, the metadata service, and root or SlurmUser.
//!
//! ```text
//! every second: events (watch.rs) ─► step (core::agent) ─► slurmctld, Azure (act.rs) ─► step …
//! check-infiniband (infiniband.rs): once, before slurmd starts
//! ```
//!
//! While nothing is announced slurmctld is asked once, after the start. Nothing is written down:
//! the reason on the node is the memory, and slurmctld keeps it.

mod act;
mod infiniband;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use azslurm_azure::Imds;
use azslurm_core::NodeName;
use azslurm_core::agent::Settings;
use azslurm_core::config::{Log, LogLevel, Slurm as SlurmConfig};
use azslurm_program::exit::{self, Stop};
use azslurm_program::{driver, logs};
use azslurm_slurm::{JobSignal, SignalTo, Slurm};
use clap::{Args, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::PROGRAM;
use watch::Agent;

/// A call of Slurm's: of a notice of 30 s there is time for two.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(10);
/// Longer than any notice of Azure's.
const REQUEUE_BEFORE_MAX: u64 = 900;

/// The command line of `node-agent`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    node: NodeArguments,
    /// The metadata service
    #[arg(long, value_name = "URL", default_value = "http://169.254.169.254")]
    imds: String,
    /// Signal for the jobs on a node that Azure takes back, such as USR1: for a checkpoint. None by
    /// default: it ends a program that does not expect it, and the requeue sends SIGTERM anyway
    #[arg(long, value_name = "NAME", value_parser = signal_name)]
    signal: Option<String>,
    /// Which processes of a job get the signal
    #[arg(long, value_enum, default_value_t = To::Batch)]
    signal_to: To,
    /// Jobs that got a signal are requeued so long before the VM may go; without a signal they are
    /// requeued at once
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=REQUEUE_BEFORE_MAX))]
    requeue_before: u64,
    /// Tell Azure that it need not wait, once no job is left on the node; only for events that
    /// concern this VM alone
    #[arg(long)]
    acknowledge: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Before slurmd starts: is this VM in the InfiniBand partition of its block? If not, the node
    /// is set down, and a pass of azslurm-sync replaces the VM
    #[command(after_help = "Exit code 0: yes, or nothing to check; 1: no, slurmd must not start; \
        2: it could not start.")]
    CheckInfiniband(infiniband::Arguments),
}

#[derive(Debug, Args)]
struct NodeArguments {
    /// This node's name in Slurm [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node: Option<NodeName>,
    /// Where scontrol and scancel are
    #[arg(long, value_name = "DIR", default_value = "/usr/bin")]
    slurm_bin_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum To {
    /// The steps, not the batch script
    Steps,
    /// The batch script alone, which traps it
    Batch,
    /// The batch script, what it has started, and the steps
    Full,
}

impl NodeArguments {
    fn name(&self) -> Result<NodeName, Stop> {
        let host = match &self.node {
            Some(node) => return Ok(node.clone()),
            None => std::fs::read_to_string("/proc/sys/kernel/hostname"),
        };
        let host = host.map_err(Stop::cannot_start)?;
        let short = host.trim().split('.').next().unwrap_or_default();
        short.parse().map_err(Stop::cannot_start)
    }

    fn slurm(&self) -> Slurm {
        Slurm::new(&SlurmConfig {
            bin_dir: self.slurm_bin_dir.clone(),
            command_timeout: COMMAND_TIME_MAX,
            ..SlurmConfig::default()
        })
    }
}

/// Runs until SIGTERM or SIGINT; `check-infiniband` ends by itself.
pub fn run(arguments: Arguments) -> Result<u8, Stop> {
    logs::direct(PROGRAM, &Log { level: LogLevel::Info, file: None });
    if let Some(Verb::CheckInfiniband(check)) = &arguments.verb {
        return driver::block_on(infiniband::check(check))?;
    }
    let agent = agent(&arguments)?;
    driver::block_on(until_told(agent))?
}

async fn until_told(agent: Agent) -> Result<u8, Stop> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Stop::cannot_start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Stop::cannot_start)?;
    // Whatever it was at is left as it stands: the next agent goes on from there.
    tokio::select! {
        () = agent.run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(exit::DONE)
}

fn agent(arguments: &Arguments) -> Result<Agent, Stop> {
    let node = arguments.node.name()?;
    let to = match arguments.signal_to {
        To::Steps => SignalTo::Steps,
        To::Batch => SignalTo::Batch,
        To::Full => SignalTo::Full,
    };
    let signal = arguments.signal.clone().map(|name| JobSignal { name, to });
    let settings = Settings {
        signals: signal.is_some(),
        requeue_before: Duration::from_secs(arguments.requeue_before),
        acknowledges: arguments.acknowledge,
        share: share_of(&node),
    };
    let imds = Imds::new(&arguments.imds).map_err(Stop::cannot_start)?;
    Ok(Agent::new(imds, arguments.node.slurm(), (node, signal, settings)))
}

/// Spreads agents evenly, the same one always at the same place: FNV-1a of the node's name.
fn share_of(node: &NodeName) -> u32 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    node.as_str().bytes().fold(0x811c_9dc5, mix) % 1000
}

/// A signal as `scancel` takes it: nothing else may get into its arguments.
fn signal_name(text: &str) -> Result<String, String> {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match is_word {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no signal: a name or a number, such as USR1 or 10")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_units_start_what_the_program_understands() {
        for (unit, options, expected) in [
            (
                include_str!("../../packaging/azslurm-node-agent.service"),
                "--signal USR1 --acknowledge",
                "node-agent",
            ),
            (
                include_str!("../../packaging/azslurm-check-infiniband.service"),
                "--nodes hb-[001-064] --block-nodes 16",
                "check-infiniband",
            ),
        ] {
            let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(words.contains(&expected), "{line}");
            assert!(words.last().unwrap().starts_with('$'), "options come from the environment");
            let program = words[..words.len() - 1].iter().copied();
            let words = program.chain(options.split(' '));
            assert!(crate::cli::Arguments::try_parse_from(words).is_ok(), "{line} {options}");
        }
    }

    #[test]
    fn agents_are_spread() {
        let shares: Vec<u32> =
            (0..100).map(|n| share_of(&format!("hpc-{n:03}").parse().unwrap())).collect();
        let below = shares.iter().filter(|share| **share < 500).count();
        assert!(
            (20..80).contains(&below) && shares.iter().all(|share| *share < 1000),
            "{shares:?}"
        );
    }

    #[test]
    fn only_a_word_is_a_signal() {
        assert!(signal_name("USR1").is_ok() && signal_name("10").is_ok());
        assert!(signal_name("").is_err() && signal_name("USR1 --user=root").is_err());
    }
}
