//! Partition lines of slurm.conf: whose nodes they hold, and whether those ever go.

use std::collections::BTreeSet;

use azslurm_core::NodeName;
use azslurm_core::config::Nodeset;
use azslurm_core::hostlist::fold_set;
use azslurm_program::check::{Finding, Pitfall};
use azslurm_slurm::Conf;

use super::lines::{Line, lines, nodes_of};
use crate::check::config::partition_option;
use crate::check::scene::Scene;

const CHECK: &str = "partitions";

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(conf) = scene.conf() else { return Vec::new() };
    let defined: BTreeSet<NodeName> =
        lines(conf, "NodeName").into_iter().flat_map(|line| line.names).collect();
    let partitions = lines(conf, "PartitionName");
    let mut findings = wanted(scene, conf, &partitions, &defined);
    let mut powered: BTreeSet<NodeName> = BTreeSet::new();
    let mut inside: BTreeSet<NodeName> = BTreeSet::new();
    for line in &partitions {
        let nodes = nodes_of(conf, &defined, line.get("Nodes").unwrap_or_default());
        let at = Some(line.line.place());
        let found = of_line(scene, line, (&nodes, &defined));
        findings.extend(found.into_iter().map(|finding| finding.at(at.clone())));
        let ours = nodes.iter().filter(|node| scene.config.nodeset_of(node).is_some());
        let ours: Vec<NodeName> = ours.cloned().collect();
        if line.get("SuspendTime").is_some_and(|time| !is_never(time)) {
            powered.extend(ours.iter().cloned());
        }
        inside.extend(ours);
    }
    findings.extend(never(scene, &powered, &inside));
    findings
}

/// `INFINITE`, `NONE` and -1 are no time.
fn is_never(time: &str) -> bool {
    time.parse::<i64>().map_or(true, |seconds| seconds < 0)
}

/// The partitions of the config.
fn wanted(
    scene: &Scene<'_>,
    conf: &Conf,
    partitions: &[Line<'_>],
    defined: &BTreeSet<NodeName>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let nodesets = &scene.config.nodesets;
    for (name, partition) in &scene.config.partitions {
        let line = partitions.iter().find(|line| line.line.value == name.as_str());
        let Some(line) = line else {
            let said = format!("slurm.conf has no partition {name}");
            let fix = "include azslurm-nodes.conf, which `azslurm-conf render` writes";
            let finding = Finding::error(CHECK, said, fix)
                .because("jobs that name it are refused, and its nodes get none");
            findings.push(finding.at(scene.at(&format!("partition.{name}"))));
            continue;
        };
        let has = nodes_of(conf, defined, line.get("Nodes").unwrap_or_default());
        let all = partition.nodesets.iter().filter_map(|name| nodesets.get(name));
        let missing: Vec<&NodeName> =
            all.flat_map(|nodeset| &nodeset.nodes).filter(|node| !has.contains(node)).collect();
        if !missing.is_empty() {
            let said = format!("partition {name} lacks {}", fold_set(missing));
            let fix = "add them, or `azslurm-conf render`";
            let finding =
                Finding::warning(CHECK, said, fix).because("no job of it gets these nodes");
            findings.push(finding.at(Some(line.line.place())));
        }
    }
    findings
}

fn of_line(
    scene: &Scene<'_>,
    line: &Line<'_>,
    (nodes, defined): (&BTreeSet<NodeName>, &BTreeSet<NodeName>),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = &line.line.value;
    let undefined: Vec<&NodeName> = nodes.difference(defined).collect();
    if !undefined.is_empty() && !defined.is_empty() {
        let said = format!("partition {name} has {}, which no line defines", fold_set(undefined));
        let finding = Finding::error(CHECK, said, "define them, or take them out");
        findings.push(finding.because("slurmctld does not start with it"));
    }
    let (ours, theirs): (Vec<&NodeName>, Vec<&NodeName>) = nodes
        .iter()
        .filter(|node| defined.contains(node))
        .partition(|node| scene.config.nodeset_of(node).is_some());
    if ours.is_empty() {
        return findings;
    }
    if !theirs.is_empty() {
        let said = format!("partition {name} has {} beside nodes of azslurm", fold_set(theirs));
        let fix = "make a partition for each, unless jobs are to run over both";
        let finding = Finding::note(CHECK, said, fix)
            .because("a job over both waits for VMs, and crosses the way between");
        findings.push(finding.of(Pitfall::Network));
    }
    let is_in = |nodeset: &&Nodeset| nodeset.nodes.iter().any(|node| nodes.contains(node));
    let nodesets: Vec<&Nodeset> = scene.config.nodesets.values().filter(is_in).collect();
    findings.extend(line.values().filter_map(|pair| partition_option(&nodesets, pair)));
    findings
}

/// Nodes that nothing powers off: neither SuspendTime of all, nor that of one of their partitions.
fn never(
    scene: &Scene<'_>,
    powered: &BTreeSet<NodeName>,
    inside: &BTreeSet<NodeName>,
) -> Option<Finding> {
    let key = "SuspendTime";
    let all = scene.settings.value(key);
    let all = all.split_whitespace().next().unwrap_or_default();
    let is_known = scene.has_settings && (scene.settings.is_known(key) || scene.seen.conf.is_ok());
    if !is_known || !is_never(all) {
        return None;
    }
    let stuck: Vec<&NodeName> = inside.difference(powered).collect();
    (!stuck.is_empty()).then(|| {
        let said = format!("{} are never powered off: there is no SuspendTime", fold_set(stuck));
        let fix = "set SuspendTime=600, for all or in their partitions";
        Finding::error(CHECK, said, fix)
            .because("power saving is off for them: their VMs are neither made nor deleted")
            .at(scene.settings.place(key))
            .of(Pitfall::Cost)
    })
}
