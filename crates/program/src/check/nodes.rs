//! Nodes of the config against nodes of slurm.conf.

use std::collections::BTreeMap;

use azslurm_core::config::Config;
use azslurm_core::node::NodeFlag;
use azslurm_core::{NodeName, hostlist};
use azslurm_slurm::Node;

use super::{Finding, Pitfall};

const CHECK: &str = "nodes";

/// Slurm's nodes by name, and whether each is a CLOUD node.
pub type Known = BTreeMap<NodeName, bool>;

/// The nodes of slurmctld.
pub fn known(slurm: &[Node]) -> Known {
    let of = |node: &Node| (node.name.clone(), node.state.has(&NodeFlag::Cloud));
    slurm.iter().map(of).collect()
}

/// Every nodeset's nodes must be Slurm's, and every CLOUD node of Slurm's some nodeset's.
pub fn check(config: &Config, known: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, nodeset) in &config.nodesets {
        let is_missing = |node: &&NodeName| !known.contains_key(node);
        let missing: Vec<NodeName> = nodeset.nodes.iter().filter(is_missing).cloned().collect();
        if !missing.is_empty() {
            let nodes = hostlist::fold_sorted(&missing);
            findings.push(Finding::error(
                CHECK,
                format!("nodeset {name} has {nodes}, and slurmctld does not know them"),
                "add them to slurm.conf with State=CLOUD, or take them out of the config; with \
                 Slurm 22.05 and older nodes that are off are only shown with PrivateData=cloud",
            ));
        }
    }
    let is_strange =
        |(node, is_cloud): &(&NodeName, &bool)| **is_cloud && config.nodeset_of(node).is_none();
    let strange: Vec<NodeName> =
        known.iter().filter(is_strange).map(|(node, _)| node.clone()).collect();
    if !strange.is_empty() {
        let finding = Finding::warning(
            CHECK,
            format!("{} are CLOUD nodes in no nodeset", hostlist::fold_sorted(&strange)),
            "add a [nodeset.NAME] for them: a job that slurmctld gives them waits until \
             ResumeTimeout",
        );
        findings.push(finding.of(Pitfall::Autoscaling));
    }
    if findings.is_empty() {
        let count: usize = config.nodesets.values().map(|nodeset| nodeset.nodes.len()).sum();
        findings.push(Finding::ok(CHECK, format!("all {count} are in slurm.conf")));
    }
    findings
}
