//! What is, and what ever was, in the emulator.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use azslurm_test_cluster::Resource;
use serde_json::Value;

use super::ledgers::Ledgers;
use crate::bed::Bed;

/// What azslurm makes, and what Azure makes for it.
const MADE: [&str; 6] = [
    "virtualMachines",
    "networkInterfaces",
    "disks",
    "publicIPAddresses",
    "availabilitySets",
    "proximityPlacementGroups",
];

/// What azslurm makes itself, with its tags.
const TAGGED: [&str; 3] = ["virtualMachines", "availabilitySets", "proximityPlacementGroups"];

/// What is wrong there.
pub fn findings(bed: &Bed, resources: &[Resource], ledgers: &Ledgers) -> Result<Vec<String>> {
    let others: Vec<&str> = bed.others.iter().filter_map(|seen| seen["id"].as_str()).collect();
    let is_made = |one: &&Resource| {
        MADE.iter().any(|kind| one.is_a(kind)) && !others.contains(&one.id.as_str())
    };
    let mut findings = Vec::new();
    for one in resources.iter().filter(is_made) {
        let created = format!("made at {}", one.created_at);
        if one.deleted_at.is_none() {
            findings.push(format!("left in Azure: {}, {created}: {}", one.id, story(one)));
        }
        let of = one.tags.as_ref().and_then(|tags| tags.get("azslurm-cluster"));
        let is_tagged = of == Some(&bed.cluster.spec().name);
        if TAGGED.iter().any(|kind| one.is_a(kind)) && !is_tagged {
            findings.push(format!("without our tags: {}, {created}", one.id));
        }
        if !is_announced(one, &ledgers.intents)? {
            findings.push(format!("no ledger announces {}, {created}", one.id));
        }
    }
    findings.extend(of_others(bed)?);
    Ok(findings)
}

fn story(one: &Resource) -> String {
    one.history
        .iter()
        .map(|line| format!("{} {}", line.at, line.event))
        .collect::<Vec<_>>()
        .join("; ")
}

/// NICs and disks carry the name of their VM in front of their own.
fn is_announced(one: &Resource, intents: &BTreeMap<String, i64>) -> Result<bool> {
    let created: jiff::Timestamp = one.created_at.parse().context("created_at")?;
    let created = created.as_millisecond();
    let name = one.name.to_ascii_lowercase();
    Ok(intents.iter().any(|(vm, at)| name.starts_with(vm.as_str()) && *at <= created))
}

/// Resources of others that are not as they were.
fn of_others(bed: &Bed) -> Result<Vec<String>> {
    let now = bed.seen_of_others()?;
    let find = |id: &Value| now.iter().find(|seen| seen["id"] == *id);
    let changed = bed.others.iter().filter(|before| find(&before["id"]) != Some(*before));
    Ok(changed
        .map(|before| {
            let after = find(&before["id"]).map(|seen| seen["history"].to_string());
            format!("what is not ours was touched: {}: {after:?}", before["id"])
        })
        .collect())
}
