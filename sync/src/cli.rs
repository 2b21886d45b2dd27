//! The command line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use azslurm_core::hostlist;
use azslurm_core::{NodeName, plain};
use azslurm_program::exit::{self, Stop};
use azslurm_program::{Session, driver};
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::adopt::{self, AdoptOf, ForgetOf};
use crate::agent;
use crate::doctor::doctor;
use crate::events::{self, EventsOf};
use crate::explain::explain;
use crate::nodes::{NodesOf, nodes};
use crate::pass::{Options, pass};
use crate::rebuild::{self, RebuildOf};
use crate::record::{self, RecordTo, ReplayOf};
use crate::sources::{Source, are_known};
use crate::status::status;
use crate::vms::{VmsOf, vms};

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
    #[command(after_help = "Exit code 0: all is as it should be; 1: something is left or not \
        known, the report says what; 2: it could not start.")]
    Pass {
        /// Decide and report, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Follow what is under way for so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = WAIT_SECONDS)]
        wait: u64,
        /// Delete every VM of ours that is in no ledger and that nobody waits for, however many
        /// there are; without it one pass deletes twenty
        #[arg(long)]
        force: bool,
    },
    /// Passes by themselves, for systemd: `azslurm-sync.service`. Of several daemons of a cluster
    /// one acts and the others wait for its end
    #[command(after_help = "SIGHUP reads the config again, SIGTERM ends it within a second. Exit \
        code 0: it was told to end; 2: it could not start.")]
    Daemon,
    /// What a resume of these nodes would do, and why each place is chosen or passed over; nothing
    /// is asked of Azure and nothing is changed
    #[command(
        after_help = "Exit code 0: every node could come; 1: some could not, each line says \
        why; 2: it could not start."
    )]
    Plan {
        /// The nodes, as a Slurm host list
        #[arg(value_name = "HOSTLIST")]
        nodes: String,
        /// A copy of slurmctld's resume file: which jobs wait, and which nodes belong together
        #[arg(long, value_name = "FILE")]
        job_file: Option<PathBuf>,
    },
    /// What is not tried for a while, and why
    Hold {
        #[command(subcommand)]
        what: HoldVerb,
    },
    /// The story of a node, a VM or a job: how it stands, what the next pass does, what is held,
    /// and what happened; Azure is not asked
    Explain {
        /// A node, a VM's name, or a job's number
        #[arg(value_name = "NODE|VM|JOB")]
        what: String,
    },
    /// What happened, oldest first
    Events(EventsOf),
    /// Save what a pass sees now, for a bug report: nothing is changed
    #[command(after_help = record::CONTENTS)]
    Record(RecordTo),
    /// What a pass would do about what was recorded: nobody is asked and nothing is changed
    #[command(after_help = "Exit code 0: all was as it should be; 1: something was left or not \
        known, the report says what; 2: it is no record.")]
    Replay(ReplayOf),
    /// The cluster on one screen: what is known and how old it is, who works, how many nodes and
    /// VMs are in which state, what is held, and what the next pass does; Azure is not asked
    #[command(after_help = LOOK_CODES)]
    Status,
    /// What slurmctld and the ledger (and with `--azure` Azure) each say of every node
    #[command(after_help = LOOK_CODES)]
    Nodes(NodesOf),
    /// VMs: state and since when, place, size, whether Slurm uses it
    #[command(after_help = LOOK_CODES)]
    Vms(VmsOf),
    /// Check all that this installation needs (config, ledger, slurm.conf, slurmctld, clock,
    /// identity, Azure), and say what to do; nothing is changed
    #[command(
        after_help = "Exit code 0: all is as it should be; 1: something is to be done; 2: it \
        could not start."
    )]
    Doctor,
    /// All holds that are not over, with the nodes that each keeps from coming; as `hold list`
    #[command(after_help = HOLD_CODES)]
    Holds,
    /// Write a ledger from what Azure and slurmctld say: when it was lost, or cannot be trusted
    #[command(
        after_help = "A ledger that can be read is completed. One that is lost or damaged is \
        written anew; the old file is kept under a name with the time. Nothing in Azure is \
        changed: a pass deletes what nobody waits for. Exit code 0: done; 1: something cannot be \
        seen whole; 2: a program works with the ledger, or it could not start; with 1 and 2 \
        nothing is changed."
    )]
    Rebuild(RebuildOf),
    /// Make VMs in Azure their nodes' in the ledger, after asking Azure for each
    #[command(after_help = ODD_CODES)]
    Adopt(AdoptOf),
    /// End VMs in the ledger without asking Azure: what is there goes on being billed
    #[command(after_help = ODD_CODES)]
    Forget(ForgetOf),
    /// On a compute node, beside slurmd: drains the node before Azure takes or stops its VM, and
    /// saves its jobs; needs no config
    NodeAgent(agent::Arguments),
}

#[derive(Debug, Subcommand)]
enum HoldVerb {
    /// All holds that are not over, with the nodes that each keeps from coming
    #[command(after_help = HOLD_CODES)]
    List,
    /// End holds now: their places may be tried again, and the next pass frees the nodes
    #[command(after_help = HOLD_CODES)]
    Clear {
        /// Scopes, as `hold list` shows them
        #[arg(value_name = "SCOPE", required_unless_present = "all")]
        scopes: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "scopes")]
        all: bool,
        /// Say what would be ended, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Keep a place from being tried; only a person or its time ends such a hold
    #[command(after_help = HOLD_CODES)]
    Add {
        /// What it covers: `site:west`, `sku-site:west/Standard_HB120rs_v3`,
        /// `sku-zone:west/1/Standard_D4s_v5`, `node:hb-001`, `block:hb-b1/west`, `nodeset:hb`,
        /// `subnet:west`, `image:REFERENCE`, `boot:hb/REFERENCE`,
        /// `spot-region:SUBSCRIPTION/westeurope`,
        /// `family:SUBSCRIPTION/westeurope/standardHBv3Family/120`
        #[arg(value_name = "SCOPE")]
        scope: String,
        /// For how long: `90s`, `30m`, `2h`, `1d`
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = span)]
        time: Duration,
        /// Why, for whoever reads it
        #[arg(long, value_name = "TEXT", default_value = "an administrator holds it")]
        reason: String,
        /// Say what would be held, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

const ODD_CODES: &str = "Exit code 0: done; 1: the ledger could not be read or written, or was \
    changed meanwhile; 2: it is refused, with the reason, or it could not start; with 1 and 2 \
    nothing is changed.";

const HOLD_CODES: &str = "Exit code 0: done; 1: the ledger could not be read or written; 2: \
    something named is not there, or it could not start: nothing is changed.";

const LOOK_CODES: &str = "Exit code 0: all who were asked have answered; 1: one has not, the \
    output says which, why, and how old what is known is; 2: it could not start.";

/// Reads `30m`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let allowed = || format!("{text:?} is no time: a number and s, m, h or d, such as 30m");
    let unit = text.chars().last().ok_or_else(allowed)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _other => return Err(allowed()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| allowed())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds <= HOLD_SECONDS_MAX);
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(|| {
        format!("{text:?} is out of range: from one second to {} days", HOLD_SECONDS_MAX / 86_400)
    })
}

/// A hold of a person for longer than a year belongs into the config.
const HOLD_SECONDS_MAX: u64 = 365 * 86_400;

/// Most VMs are there within a minute or two (FACTS §1.4); the next pass follows the others.
const WAIT_SECONDS: u64 = 60;

/// Runs what was asked. Returns the exit code.
pub fn run(arguments: Arguments) -> Result<u8, Stop> {
    let Arguments { config, json, verb } = arguments;
    let config = config.as_deref();
    match verb.unwrap_or(Verb::Pass { dry_run: false, wait: WAIT_SECONDS, force: false }) {
        Verb::Pass { dry_run, wait, force } => {
            let options = Options { dry_run, wait: Duration::from_secs(wait), force };
            one_pass(config, json, options)
        }
        Verb::Daemon => crate::daemon::run(config),
        Verb::Plan { nodes, job_file } => plan(config, json, (&nodes, job_file.as_deref())),
        Verb::Hold { what } => hold(config, json, what),
        Verb::Rebuild(of) => rebuilt(config, json, &of),
        Verb::Adopt(of) => adopted(config, json, &of),
        Verb::Forget(of) => forgotten(config, json, &of),
        Verb::Explain { what } => {
            let mut session = Session::open_to_look(PROGRAM, config)?;
            let story = driver::block_on(explain(&mut session, &what))??;
            show(json, &story, || story.text())?;
            Ok(exit::DONE)
        }
        Verb::Events(of) => {
            let mut session = Session::open_to_look(PROGRAM, config)?;
            events::show(&mut session, &of, json)?;
            Ok(exit::DONE)
        }
        Verb::Record(to) => {
            let mut session = Session::begin(PROGRAM, config, true)?;
            let recorded = driver::block_on(record::record(&mut session, &to))??;
            show(json, &recorded, || recorded.text())?;
            Ok(exit::DONE)
        }
        Verb::NodeAgent(arguments) => agent::run(arguments),
        Verb::Replay(of) => {
            let report = record::replay(&of)?;
            show(json, &report, || report.text())?;
            Ok(if report.is_good() { exit::DONE } else { exit::FAILED })
        }
        Verb::Doctor => {
            let doctor = driver::block_on(doctor(config))?;
            show(json, &doctor, || doctor.text())?;
            Ok(if doctor.is_good() { exit::DONE } else { exit::FAILED })
        }
        Verb::Status => {
            let session = Session::open_to_look(PROGRAM, config)?;
            let status = driver::block_on(status(&session))??;
            show(json, &status, || status.text())?;
            Ok(looked(&status.sources))
        }
        Verb::Nodes(of) => {
            let mut session = Session::open_to_look(PROGRAM, config)?;
            let nodes = driver::block_on(nodes(&mut session, &of))??;
            show(json, &nodes, || nodes.text())?;
            Ok(looked(&nodes.sources))
        }
        Verb::Vms(of) => {
            let mut session = Session::open_to_look(PROGRAM, config)?;
            let vms = driver::block_on(vms(&mut session, &of))??;
            show(json, &vms, || vms.text())?;
            Ok(looked(&vms.sources))
        }
        Verb::Holds => hold(config, json, HoldVerb::List),
    }
}

fn one_pass(config: Option<&Path>, json: bool, options: Options) -> Result<u8, Stop> {
    let mut session = Session::begin(PROGRAM, config, options.dry_run)?;
    let report = driver::block_on(pass(&mut session, options))??;
    show(json, &report, || report.text())?;
    Ok(if report.is_good() { exit::DONE } else { exit::FAILED })
}

fn plan(
    config: Option<&Path>,
    json: bool,
    (nodes, job_file): (&str, Option<&Path>),
) -> Result<u8, Stop> {
    let request = crate::plan::request(nodes, job_file)?;
    let session = Session::open_to_look(PROGRAM, config)?;
    let planned = crate::plan::planned(&session, &request)?;
    show(json, &planned, || planned.text())?;
    Ok(if planned.is_whole() { exit::DONE } else { exit::FAILED })
}

fn rebuilt(config: Option<&Path>, json: bool, of: &RebuildOf) -> Result<u8, Stop> {
    let rebuilt = rebuild::run(config, of)?;
    show(json, &rebuilt, || rebuilt.text())?;
    Ok(exit::DONE)
}

fn adopted(config: Option<&Path>, json: bool, of: &AdoptOf) -> Result<u8, Stop> {
    let mut session = Session::begin(PROGRAM, config, of.dry_run)?;
    let rows = driver::block_on(adopt::adopt(&mut session, of))??;
    show(json, &rows, || adopt::text(&rows, ("adopted", of.dry_run)))?;
    Ok(exit::DONE)
}

fn forgotten(config: Option<&Path>, json: bool, of: &ForgetOf) -> Result<u8, Stop> {
    let mut session = Session::begin(PROGRAM, config, of.dry_run)?;
    let rows = driver::block_on(adopt::forget(&mut session, of))??;
    show(json, &rows, || adopt::text(&rows, ("forgot", of.dry_run)))?;
    Ok(exit::DONE)
}

fn looked(sources: &[Source]) -> u8 {
    if are_known(sources) { exit::DONE } else { exit::FAILED }
}

/// The nodes of a host list; `None` without one.
pub(crate) fn only(list: Option<&str>) -> Result<Option<BTreeSet<NodeName>>, Stop> {
    let nodes = list.map(hostlist::expand).transpose().map_err(Stop::cannot_start)?;
    Ok(nodes.map(|nodes| nodes.into_iter().collect()))
}

fn hold(config: Option<&Path>, json: bool, what: HoldVerb) -> Result<u8, Stop> {
    match what {
        HoldVerb::List => {
            let session = Session::open_to_look(PROGRAM, config)?;
            let holds = crate::hold::list(&session)?;
            show(json, &holds, || crate::hold::table(&holds))?;
        }
        HoldVerb::Clear { scopes, all, dry_run } => {
            let mut session = Session::begin(PROGRAM, config, dry_run)?;
            let which = if all { None } else { Some(scopes.as_slice()) };
            let ended = crate::hold::clear(&mut session, which, dry_run)?;
            show(json, &ended, || crate::hold::ended_text(&ended, dry_run))?;
        }
        HoldVerb::Add { scope, time, reason, dry_run } => {
            let mut session = Session::begin(PROGRAM, config, dry_run)?;
            let added = crate::hold::add(&mut session, (&scope, time, &reason), dry_run)?;
            show(json, &added, || crate::hold::added_text(&added, dry_run))?;
        }
    }
    Ok(exit::DONE)
}

fn show(json: bool, value: &impl Serialize, text: impl Fn() -> String) -> Result<(), Stop> {
    if json {
        let json = serde_json::to_string_pretty(value).map_err(Stop::failed)?;
        println!("{}", plain::json(&json));
    } else {
        println!("{}", plain::text(text().trim_end()));
    }
    Ok(())
}
