//! Slurm's files as text: whether all can be read, and lines that are not what they seem.

use std::collections::BTreeMap;

use azslurm_program::check::{Finding, Pitfall};
use azslurm_slurm::Conf;

use crate::check::scene::Scene;
use crate::check::seen::Running;

const CHECK: &str = "slurm-conf";
/// Keys that may come several times, or mean something together.
const REPEATED: [&str; 7] = [
    "nodename",
    "partitionname",
    "nodeset",
    "downnodes",
    "slurmctldhost",
    "frontendname",
    "poweraction",
];
/// Keys of a node or partition line that are found where a value is missing before them.
const INNER: [&str; 12] = [
    "state",
    "nodes",
    "features",
    "gres",
    "weight",
    "cpus",
    "realmemory",
    "nodeaddr",
    "nodehostname",
    "default",
    "maxtime",
    "suspendtime",
];

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let conf = match &scene.seen.conf {
        Ok(conf) => conf,
        Err((path, why)) => {
            let said = format!("{} cannot be read: {why}", path.display());
            let fix = "run check on the head node, or set conf in [slurm]";
            let finding = match scene.seen.running {
                Running::Answered { .. } => Finding::warning(CHECK, said, fix)
                    .because("slurmctld's settings are checked, its lines of nodes are not"),
                Running::NotAsked | Running::Silent(_) => Finding::error(CHECK, said, fix)
                    .because("nothing of Slurm can be checked without it"),
            };
            return vec![finding.at(scene.at("slurm.conf"))];
        }
    };
    let mut findings: Vec<Finding> = conf.unreadable.iter().map(not_included).collect();
    for conf in std::iter::once(conf).chain(&scene.seen.topology) {
        findings.extend(empty(conf));
    }
    findings.extend(twice(conf));
    findings
}

fn not_included((place, path, why): &(String, std::path::PathBuf, String)) -> Finding {
    let said = format!("{} is included and cannot be read: {why}", path.display());
    let fix =
        "write it (`azslurm-conf render --out` writes those of azslurm), or take the line out";
    Finding::error(CHECK, said, fix)
        .because("slurmctld does not start with it, and does not reconfigure")
        .at(Some(place.clone()))
}

/// A key without a value: Slurm refuses the file, or takes the next word for the value.
fn empty(conf: &Conf) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in &conf.lines {
        let first = std::iter::once((&line.key, &line.value));
        for (key, value) in first.chain(line.more.iter().map(|(key, value)| (key, value))) {
            let inner = value.split_once('=').map(|(key, _)| key.to_ascii_lowercase());
            let is_swallowed = inner.is_some_and(|inner| INNER.contains(&inner.as_str()));
            let finding = if value.is_empty() {
                Finding::error(CHECK, format!("{key} has no value"), "take the key out")
                    .because("Slurm refuses the whole file: slurmctld does not start again")
            } else if is_swallowed {
                let said = format!("{key} has no value, and Slurm takes {value:?} for it");
                Finding::error(CHECK, said, "take the key out")
            } else {
                continue;
            };
            findings.push(finding.at(Some(line.place())));
        }
    }
    findings
}

/// A setting that two lines make differently: only the last counts.
fn twice(conf: &Conf) -> Vec<Finding> {
    let mut known: BTreeMap<String, (&str, String)> = BTreeMap::new();
    let mut findings = Vec::new();
    for line in &conf.lines {
        let key = line.key.to_ascii_lowercase();
        if REPEATED.contains(&key.as_str()) {
            continue;
        }
        let before = known.insert(key, (line.value.as_str(), line.place()));
        let Some((value, place)) = before.filter(|(value, _)| *value != line.value) else {
            continue;
        };
        let said = format!("{} is set here again: {place} says {value}", line.key);
        let finding = Finding::warning(CHECK, said, "keep one of the two lines")
            .because("only the last counts, and whoever changes the other changes nothing");
        findings.push(finding.at(Some(line.place())).of(Pitfall::StaticThinking));
    }
    findings
}
