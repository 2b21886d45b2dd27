//! `azslurm-sync status`: what slurmctld, Azure and the ledger each say of every node.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_azure::VmRow;
use azslurm_core::attempt::Attempt;
use azslurm_core::{NodeName, Timestamp, VmName};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, now};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::observe::{Observation, observe};
use crate::orphans::{Listing, list};

/// One VM of a node, or the node without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The node.
    pub node: NodeName,
    /// slurmctld's state; `None` if it is not known.
    pub slurm: Option<String>,
    /// slurmctld's reason.
    pub slurm_reason: Option<String>,
    /// The VM.
    pub vm: Option<VmName>,
    /// What the ledger knows of it.
    pub ledger: Option<&'static str>,
    /// What Azure says of it; `None` if it does not list it or was not asked.
    pub azure: Option<String>,
    /// Seconds since the VM was asked for.
    pub age_seconds: Option<u64>,
    /// The attempt.
    pub attempt: Option<String>,
    /// Site and zone.
    pub place: Option<String>,
    /// Why it is as it is: Azure's last words, or the reason of its end.
    pub reason: Option<String>,
}

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// When it was taken, RFC 3339.
    pub at: String,
    /// Sources that could not be asked, with the reason.
    pub unknown: Vec<String>,
    /// Nodes and VMs.
    pub rows: Vec<Row>,
}

/// Asks all three. What cannot be asked is named in `unknown` and left empty.
pub async fn status(session: &mut Session, only: Option<&[NodeName]>) -> Result<Status, Stop> {
    let Listing { vms: azure, incomplete } = list(session).await;
    let seen = observe(session).await.map_err(Stop::failed)?;
    let slurm = seen.slurm.as_ref().err().map(|why| format!("slurmctld: {why}"));
    let unknown: Vec<String> = slurm.into_iter().chain(incomplete).collect();
    let mut nodes = seen.nodes(session);
    nodes.extend(azure.values().filter_map(|row| row.node.clone()));
    nodes.retain(|node| only.is_none_or(|only| only.contains(node)));
    let rows = nodes.iter().flat_map(|node| rows_of(node, &seen, &azure)).collect();
    Ok(Status { at: now().to_string(), unknown, rows })
}

fn rows_of(node: &NodeName, seen: &Observation, azure: &BTreeMap<String, VmRow>) -> Vec<Row> {
    let slurm = seen.slurm.as_ref().ok().and_then(|nodes| nodes.get(node));
    let empty = Row {
        node: node.clone(),
        slurm: slurm.map(|node| node.state.to_string()),
        slurm_reason: slurm.and_then(|node| node.reason.clone()),
        vm: None,
        ledger: None,
        azure: None,
        age_seconds: None,
        attempt: None,
        place: None,
        reason: None,
    };
    let attempts = seen.attempts_of(node);
    let known: BTreeSet<String> =
        attempts.iter().map(|a| a.is.vm.as_str().to_ascii_lowercase()).collect();
    let has_unfinished = attempts.iter().any(|attempt| !attempt.state.is_ended());
    let mut rows: Vec<Row> = attempts
        .iter()
        .filter(|attempt| !has_unfinished || !attempt.state.is_ended())
        .map(|attempt| row_of(&empty, attempt, azure, seen.at))
        .collect();
    for (name, vm) in azure.iter().filter(|(_, vm)| vm.node.as_ref() == Some(node)) {
        if !known.contains(name) {
            let mut row = empty.clone();
            row.vm = vm.name.parse().ok();
            row.azure = Some(state_of(vm));
            row.reason = Some("not in the ledger".to_owned());
            rows.push(row);
        }
    }
    if rows.is_empty() { vec![empty] } else { rows }
}

fn row_of(empty: &Row, attempt: &Attempt, azure: &BTreeMap<String, VmRow>, at: Timestamp) -> Row {
    let is = &attempt.is;
    let zone = is.place.zone.as_ref().map(|zone| format!("/{zone}")).unwrap_or_default();
    let block = is.place.block.as_ref().map(|life| format!(" {}", life.block)).unwrap_or_default();
    let says = attempt.says.as_ref().map(|says| format!("{}: {}", says.code, says.text));
    let why = attempt.why.map(|why| why.word().to_owned());
    Row {
        vm: Some(is.vm.clone()),
        ledger: Some(attempt.state.word()),
        azure: azure.get(&is.vm.as_str().to_ascii_lowercase()).map(state_of),
        age_seconds: Some(at.since(attempt.intended_at).as_secs()),
        attempt: Some(is.attempt.to_string()),
        place: Some(format!("{}{zone}{block}", is.place.site)),
        reason: says.or(why),
        ..empty.clone()
    }
}

fn state_of(vm: &VmRow) -> String {
    match &vm.power {
        Some(power) => format!("{}/{power}", vm.provisioning_state),
        None => vm.provisioning_state.to_string(),
    }
}

impl Status {
    /// As a table for people, as wide as their terminal.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["NODE", "SLURM", "VM", "LEDGER", "AZURE", "AGE", "PLACE", "REASON"]);
        for row in &self.rows {
            let text = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".to_owned());
            table.add_row([
                row.node.to_string(),
                text(&row.slurm),
                row.vm.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                row.ledger.unwrap_or("-").to_owned(),
                text(&row.azure),
                row.age_seconds.map_or_else(|| "-".to_owned(), age),
                text(&row.place),
                row.reason.clone().or_else(|| row.slurm_reason.clone()).unwrap_or_default(),
            ]);
        }
        let mut lines: Vec<String> =
            self.unknown.iter().map(|why| format!("cannot be asked: {why}")).collect();
        lines.extend(table.lines().map(|line| line.trim_end().to_owned()));
        lines.join("\n")
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}
