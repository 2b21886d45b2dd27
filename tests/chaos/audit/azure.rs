//! What is, and what ever was, in the emulator.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use azslurm_test_cluster::{MADE, Resource};
use serde_json::Value;

use super::ledgers::Ledgers;
use crate::bed::Bed;

/// What azslurm makes itself, with its tags.
const TAGGED: [&str; 3] = ["virtualMachines", "availabilitySets", "proximityPlacementGroups"];

/// What is empty, costs nothing, and is deleted by a pass an hour after it was made where the
/// ledger that knew it was lost: a run is shorter. The simulation's virtual hours see it deleted.
const FORGOTTEN: [&str; 2] = ["availabilitySets", "proximityPlacementGroups"];
/// See there, in milliseconds.
const FORGOTTEN_FOR: i64 = 3_600_000;

/// What is wrong there.
pub fn findings(bed: &Bed, resources: &[Resource], ledgers: &Ledgers) -> Result<Vec<String>> {
    let others: Vec<&str> = bed.others.iter().filter_map(|seen| seen["id"].as_str()).collect();
    let ours = resources.iter().filter(|one| !others.contains(&one.id.as_str()));
    let mut findings = of_ours(&bed.cluster.spec().name, ours, ledgers)?;
    findings.extend(of_others(bed)?);
    Ok(findings)
}

fn of_ours<'a>(
    cluster: &str,
    resources: impl Iterator<Item = &'a Resource>,
    ledgers: &Ledgers,
) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for one in resources.filter(|one| MADE.iter().any(|kind| one.is_a(kind))) {
        let created = format!("made at {}", one.created_at);
        if one.deleted_at.is_none() && !is_forgotten(one, ledgers)? {
            findings.push(format!("left in Azure: {}, {created}: {}", one.id, story(one)));
        }
        let of = one.tags.as_ref().and_then(|tags| tags.get("azslurm-cluster"));
        let is_tagged = of.is_some_and(|of| of == cluster);
        if TAGGED.iter().any(|kind| one.is_a(kind)) && !is_tagged {
            findings.push(format!("without our tags: {}, {created}", one.id));
        }
        if !is_announced(one, &ledgers.intents)? {
            findings.push(format!("no ledger announces {}, {created}", one.id));
        }
    }
    Ok(findings)
}

fn story(one: &Resource) -> String {
    one.history
        .iter()
        .map(|line| format!("{} {}", line.at, line.event))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Whether it is of a block that the last ledger does not know, and too young to be deleted.
fn is_forgotten(one: &Resource, ledgers: &Ledgers) -> Result<bool> {
    let created: jiff::Timestamp = one.created_at.parse().context("created_at")?;
    let age = jiff::Timestamp::now().as_millisecond() - created.as_millisecond();
    let is_unknown = !ledgers.last.contains(&one.name.to_ascii_lowercase());
    Ok(is_unknown && age < FORGOTTEN_FOR && FORGOTTEN.iter().any(|kind| one.is_a(kind)))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_untagged_or_made_before_its_intent_is_a_finding() {
        let made = "2026-11-27T06:00:01.000Z";
        let at = made.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let found = |changed: Value, intended_at: i64| {
            let mut vm = json!({
                "id": "x", "type": "Microsoft.Compute/virtualMachines", "name": "N1-0a",
                "created_at": made, "deleted_at": made, "tags": { "azslurm-cluster": "chaos" },
            });
            for (key, value) in changed.as_object().unwrap() {
                vm[key] = value.clone();
            }
            let vm: Resource = serde_json::from_value(vm).unwrap();
            let intents = BTreeMap::from([("n1-0a".to_owned(), intended_at)]);
            let ledgers = Ledgers { intents, ..Ledgers::default() };
            of_ours("chaos", [vm].iter(), &ledgers).unwrap().join("; ")
        };
        assert_eq!(found(json!({}), at), "");
        assert!(found(json!({}), at + 1).starts_with("no ledger announces"));
        assert!(found(json!({ "deleted_at": null }), at).starts_with("left in Azure"));
        let set = "Microsoft.Compute/availabilitySets";
        let forgotten = json!({ "type": set, "name": "n1-0a", "deleted_at": null });
        assert!(found(forgotten, at).starts_with("left in Azure"), "made long ago");
        let young = json!({ "type": set, "name": "n1-0a", "deleted_at": null,
            "created_at": jiff::Timestamp::now().to_string() });
        assert_eq!(found(young, at), "");
        let theirs = json!({ "tags": { "azslurm-cluster": "other" } });
        assert!(found(theirs, at).starts_with("without our tags"));
        let disk = json!({ "type": "Microsoft.Compute/disks", "name": "n1-0a-os", "tags": null });
        assert_eq!(found(disk, at), "");
        let stray = json!({ "type": "Microsoft.Compute/disks", "name": "n2-0a-os" });
        assert!(found(stray, at).starts_with("no ledger announces"));
    }
}
