//! Partitions of the config: which nodes they put together, and what else they say.

use std::collections::BTreeSet;

use azslurm_core::PartitionName;
use azslurm_core::config::{Interconnect, Nodeset, Partition};
use azslurm_program::check::{Finding, Pitfall};

use crate::check::scene::Scene;

const CHECK: &str = "partition";

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let partitions = &scene.config.partitions;
    for name in scene.config.nodesets.keys() {
        if !partitions.values().any(|partition| partition.nodesets.contains(name)) {
            let said = format!("nodeset {name} is in no partition");
            let finding = Finding::warning(CHECK, said, "add it to the nodesets of a partition")
                .because("no job can get its nodes");
            findings.push(finding.at(scene.at(&format!("nodeset.{name}"))));
        }
    }
    if partitions.len() > 1 && !partitions.values().any(|partition| partition.is_default) {
        let said = "no partition is the default";
        let finding = Finding::note(CHECK, said, "set default = true in one of them")
            .because("a job that names no partition is refused");
        findings.push(finding.at(scene.at("partition")));
    }
    for (name, partition) in partitions {
        findings.extend(mixture(scene, name, partition));
        let options = partition.options.iter().filter_map(|option| option.split_once('='));
        let nodesets: Vec<&Nodeset> = of(scene, partition).collect();
        for (key, value) in options {
            let at = || scene.at(&format!("partition.{name}.options"));
            findings.extend(option(&nodesets, (key, value)).map(|finding| finding.at(at())));
        }
    }
    findings
}

fn of<'s>(scene: &'s Scene<'_>, partition: &'s Partition) -> impl Iterator<Item = &'s Nodeset> {
    partition.nodesets.iter().filter_map(|name| scene.config.nodesets.get(name))
}

/// A constructor of findings.
type Rule = fn(&'static str, String, String) -> Finding;

/// Nodes that one job should not get together.
fn mixture(scene: &Scene<'_>, name: &PartitionName, partition: &Partition) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |level: Rule, text: String, (why, pitfall): (&str, Pitfall)| {
        let fix = "make a partition for each".to_owned();
        let finding: Finding = level(CHECK, text, fix);
        let at = scene.at(&format!("partition.{name}.nodesets"));
        findings.push(finding.because(why).of(pitfall).at(at));
    };
    let regions: BTreeSet<&str> = of(scene, partition)
        .filter_map(|nodeset| nodeset.sites.first())
        .filter_map(|site| scene.config.sites.get(site))
        .map(|site| site.region.as_str())
        .collect();
    if regions.len() > 1 {
        let regions = regions.into_iter().collect::<Vec<_>>().join(" and ");
        add(
            Finding::warning,
            format!("partition {name} puts nodes of {regions} together"),
            (
                "a job over several nodes may get some of each, with the ocean between",
                Pitfall::Network,
            ),
        );
    }
    let count = |is_it: &dyn Fn(&Nodeset) -> bool| {
        let all = of(scene, partition).count();
        let some = of(scene, partition).filter(|nodeset| is_it(nodeset)).count();
        some > 0 && some < all
    };
    if count(&|nodeset| is_infiniband(nodeset)) {
        add(
            Finding::warning,
            format!("partition {name} puts nodes with InfiniBand and without together"),
            (
                "a job may get nodes that do not reach each other by InfiniBand",
                Pitfall::InstanceTypes,
            ),
        );
    }
    if count(&Nodeset::is_spot) {
        add(
            Finding::note,
            format!("partition {name} puts Spot nodes and others together"),
            ("a job over both is lost when Azure takes one of its Spot VMs", Pitfall::Preemption),
        );
    }
    findings
}

fn is_infiniband(nodeset: &Nodeset) -> bool {
    match nodeset.interconnect {
        Interconnect::Infiniband => true,
        Interconnect::None => false,
    }
}

/// What a partition's line says beside its nodes, in azslurm.toml or in slurm.conf.
pub(in crate::check) fn option(
    nodesets: &[&Nodeset],
    (key, value): (&str, &str),
) -> Option<Finding> {
    let is_on = ["yes", "true", "1"].contains(&value.to_ascii_lowercase().as_str());
    let is = |name: &str| key.eq_ignore_ascii_case(name);
    if is("PowerDownOnIdle") && is_on && nodesets.iter().any(|nodeset| is_infiniband(nodeset)) {
        let said = "nodes are powered down after each job, and they are InfiniBand blocks";
        return Some(
            Finding::warning(CHECK, said, "leave PowerDownOnIdle out: SuspendTime does it")
                .because("the next job waits until a whole block has gone and come again")
                .of(Pitfall::StartUpTime),
        );
    }
    if is("LLN") && is_on {
        let said = "jobs are spread over as many nodes as there are (LLN)";
        return Some(
            Finding::warning(CHECK, said, "leave LLN out")
                .because("each small job gets a VM of its own, and none of them is ever idle")
                .of(Pitfall::Cost),
        );
    }
    if is("State") && !["up", "drain"].contains(&value.to_ascii_lowercase().as_str()) {
        let said = format!("the partition is {value}");
        return Some(
            Finding::warning(CHECK, said, "set State=UP when jobs are to run")
                .because("jobs are taken, and none of them starts"),
        );
    }
    None
}
