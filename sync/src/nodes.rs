//! `azslurm-sync nodes`: what slurmctld, the ledger and Azure each say of every node.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_azure::VmRow;
use azslurm_core::attempt::Attempt;
use azslurm_core::{NodeName, Timestamp, VmName};
use azslurm_program::Session;
use azslurm_program::exit::Stop;
use clap::Args;
use serde::Serialize;

use crate::cli::only;
use crate::observe::Observation;
use crate::sources::{self, Source};
use crate::table::{age, cell, table};

/// Which nodes.
#[derive(Debug, Args)]
pub struct NodesOf {
    /// Only these nodes, as a Slurm host list
    #[arg(value_name = "HOSTLIST")]
    nodes: Option<String>,
    /// Ask Azure too
    #[arg(long)]
    azure: bool,
}

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
pub struct Nodes {
    /// When it was taken, RFC 3339.
    pub at: String,
    /// Who was asked, and what is not known.
    pub sources: Vec<Source>,
    /// Nodes and VMs.
    pub rows: Vec<Row>,
}

/// Asks for all nodes, or some. What cannot be asked is named in `sources` and left empty.
pub async fn nodes(session: &mut Session, of: &NodesOf) -> Result<Nodes, Stop> {
    let only = only(of.nodes.as_deref())?;
    let (listing, listed) = sources::list(session, of.azure).await;
    let azure = listing.by_name();
    let (seen, mut sources) = sources::look(session).await?;
    sources.extend(listed);
    let mut nodes: BTreeSet<NodeName> = seen.nodes(session).into_iter().cloned().collect();
    nodes.extend(azure.values().filter_map(|row| row.node.clone()));
    nodes.retain(|node| only.as_ref().is_none_or(|only| only.contains(node)));
    let rows = nodes.iter().flat_map(|node| rows_of(node, &seen, &azure)).collect();
    Ok(Nodes { at: seen.at.to_string(), sources, rows })
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

/// `Succeeded/running`, as Azure says it.
pub(crate) fn state_of(vm: &VmRow) -> String {
    match &vm.power {
        Some(power) => format!("{}/{power}", vm.provisioning_state),
        None => vm.provisioning_state.to_string(),
    }
}

impl Nodes {
    /// As a table for people.
    pub fn text(&self) -> String {
        let lines = self.rows.iter().map(|row| {
            vec![
                row.node.to_string(),
                cell(row.slurm.as_deref()),
                cell(row.vm.as_ref().map(VmName::as_str)),
                cell(row.ledger),
                cell(row.azure.as_deref()),
                row.age_seconds.map_or_else(|| cell(None), age),
                cell(row.place.as_deref()),
                row.reason.clone().or_else(|| row.slurm_reason.clone()).unwrap_or_default(),
            ]
        });
        let headings = ["NODE", "SLURM", "VM", "LEDGER", "AZURE", "AGE", "PLACE", "REASON"];
        let lines: Vec<String> = sources::complaints(&self.sources)
            .into_iter()
            .chain([table(&headings, lines)])
            .collect();
        lines.join("\n")
    }
}
