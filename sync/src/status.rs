//! `azslurm-sync status`: the cluster on one screen. What is known and how old it is, who works,
//! how many nodes and VMs are in which state, what is held, and what the next pass does. Azure is
//! not asked: what passes have heard of it is told.

use std::collections::BTreeMap;

use azslurm_core::NodeName;
use azslurm_core::hostlist;
use azslurm_program::exit::Stop;
use azslurm_program::{Session, now};
use serde::Serialize;

use crate::daemon::acts;
use crate::observe::Observation;
use crate::pass::{Decided, decide};
use crate::sources::{LastPass, Source, look};
use crate::table::age;
use crate::vms::is_in_use;

/// Who works on nodes now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderLine {
    /// One run of one program.
    pub holder: String,
    /// Whether a process of it lives on this machine.
    pub is_alive: bool,
    /// Its nodes, as a host list.
    pub nodes: String,
}

/// The daemon that acts, or acted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DaemonLine {
    /// One life of it.
    pub holder: String,
    /// Its machine.
    pub host: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Whether it still does.
    pub is_acting: bool,
}

/// Something that the next pass does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What.
    pub action: String,
    /// Why.
    pub reason: String,
    /// For which nodes, as a host list.
    pub nodes: String,
}

/// The whole summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// When it was taken, RFC 3339.
    pub at: String,
    /// The cluster's name.
    pub cluster: String,
    /// Who was asked, and what is not known.
    pub sources: Vec<Source>,
    /// When the last pass ended, RFC 3339; `None` before the first.
    pub last_pass_at: Option<String>,
    /// How long ago.
    pub last_pass_seconds: Option<u64>,
    /// The daemon; `None` if there never was one.
    pub daemon: Option<DaemonLine>,
    /// Who works on nodes.
    pub holders: Vec<HolderLine>,
    /// Nodes of the config.
    pub nodes: usize,
    /// How many of them slurmctld has in which state; empty if that is not known.
    pub slurm: BTreeMap<String, usize>,
    /// How many VMs that have not ended the ledger has in which state.
    pub vms: BTreeMap<&'static str, usize>,
    /// VMs that Slurm does not use; `None` if that is not known.
    pub vms_not_in_use: Option<usize>,
    /// Holds that are not over.
    pub holds: usize,
    /// Nodes that cannot come for them, as a host list.
    pub nodes_held: String,
    /// What the next pass does.
    pub next: Vec<Step>,
}

/// Asks slurmctld and the ledger.
pub async fn status(session: &Session) -> Result<Status, Stop> {
    let (seen, mut sources) = look(session).await?;
    let last = LastPass::read(&session.ledger).map_err(Stop::failed)?;
    sources.push(LastPass::azure(last.as_ref(), now()));
    let decided = decide(session, &seen);
    let held = seen.held(session);
    let mut status = Status {
        at: seen.at.to_string(),
        cluster: session.config.cluster.to_string(),
        sources,
        last_pass_at: last.as_ref().map(|last| last.ended_at.to_string()),
        last_pass_seconds: last.map(|last| seen.at.since(last.ended_at).as_secs()),
        daemon: daemon(session)?,
        holders: holders(&seen),
        nodes: session.config.nodesets.values().map(|nodeset| nodeset.nodes.len()).sum(),
        slurm: BTreeMap::new(),
        vms: BTreeMap::new(),
        vms_not_in_use: seen.slurm.is_ok().then_some(0),
        holds: seen.seen.holds.len(),
        nodes_held: hostlist::fold_sorted(held),
        next: next(&decided),
    };
    count(&mut status, session, &seen);
    Ok(status)
}

fn count(status: &mut Status, session: &Session, seen: &Observation) {
    for nodeset in session.config.nodesets.values() {
        for node in &nodeset.nodes {
            let known = seen.slurm.as_ref().ok();
            let state = known.map(|nodes| match nodes.get(node) {
                Some(node) => node.state.to_string(),
                None => "not in slurm.conf".to_owned(),
            });
            if let Some(state) = state {
                *status.slurm.entry(state).or_default() += 1;
            }
        }
    }
    for attempt in seen.attempts.iter().filter(|one| !one.state.is_ended()) {
        *status.vms.entry(attempt.state.word()).or_default() += 1;
        if is_in_use(seen.slurm_view(&attempt.is.node)) == Some(false) {
            status.vms_not_in_use = status.vms_not_in_use.map(|count| count + 1);
        }
    }
}

fn daemon(session: &Session) -> Result<Option<DaemonLine>, Stop> {
    let row = session.ledger.daemon().map_err(Stop::failed)?;
    Ok(row.map(|row| DaemonLine {
        is_acting: acts(session, &row),
        holder: row.holder.to_string(),
        host: row.host,
        since: row.since.to_string(),
    }))
}

fn holders(seen: &Observation) -> Vec<HolderLine> {
    let mut nodes: BTreeMap<_, Vec<NodeName>> = BTreeMap::new();
    for (node, row) in &seen.leases {
        nodes.entry(&row.holder).or_default().push(node.clone());
    }
    let line = |(holder, nodes): (&azslurm_ledger::Holder, Vec<NodeName>)| HolderLine {
        holder: holder.to_string(),
        is_alive: seen.alive.contains(holder),
        nodes: hostlist::fold_sorted(&nodes),
    };
    nodes.into_iter().map(line).collect()
}

fn next(decided: &[Decided]) -> Vec<Step> {
    let mut steps: BTreeMap<(String, String), Vec<NodeName>> = BTreeMap::new();
    for one in decided {
        for (action, reason) in one.steps() {
            steps.entry((action, reason)).or_default().push(one.node.clone());
        }
    }
    let step = |((action, reason), mut nodes): ((String, String), Vec<NodeName>)| {
        nodes.dedup();
        Step { action, reason, nodes: hostlist::fold_sorted(&nodes) }
    };
    steps.into_iter().map(step).collect()
}

impl Status {
    /// For people.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("cluster {} at {}", self.cluster, self.at)];
        lines.extend(self.sources.iter().map(Source::line));
        lines.push(match (&self.last_pass_at, self.last_pass_seconds) {
            (Some(at), Some(seconds)) => format!("last pass  {} ago ({at})", age(seconds)),
            (_, _) => "last pass  none yet: `azslurm-sync pass` makes one".to_owned(),
        });
        if let Some(DaemonLine { holder, host, since, is_acting }) = &self.daemon {
            let state = if *is_acting { "acts" } else { "does not act any more; it acted" };
            lines.push(format!("daemon     {holder} on {host} {state} since {since}"));
        }
        for HolderLine { holder, is_alive, nodes } in &self.holders {
            let lives = if *is_alive { "works on" } else { "is dead and has left" };
            lines.push(format!("{holder} {lives} {nodes}"));
        }
        lines.push(format!("{} nodes  {}", self.nodes, counts(&self.slurm)));
        let total: usize = self.vms.values().sum();
        lines.push(format!("{total} VMs  {}", counts(&self.vms)));
        if let Some(idle) = self.vms_not_in_use.filter(|idle| *idle > 0) {
            lines.push(format!("{idle} VMs that Slurm does not use: see `azslurm-sync vms`"));
        }
        lines.push(match self.holds {
            0 => "no holds".to_owned(),
            holds if self.nodes_held.is_empty() => format!("{holds} holds"),
            holds => format!("{holds} holds keep {} from coming", self.nodes_held),
        });
        if self.next.is_empty() {
            lines.push("nothing is left for the next pass".to_owned());
        }
        for Step { action, reason, nodes } in &self.next {
            lines.push(format!("next pass  {action}: {reason}: {nodes}"));
        }
        lines.join("\n")
    }
}

fn counts<K: std::fmt::Display>(counts: &BTreeMap<K, usize>) -> String {
    let one = |(state, count): (&K, &usize)| format!("{count} {state}");
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}
