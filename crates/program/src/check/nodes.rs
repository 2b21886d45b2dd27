//! Nodes of the config against nodes of slurm.conf.

use std::collections::BTreeSet;

use azslurm_core::config::Config;
use azslurm_core::node::NodeFlag;
use azslurm_core::{NodeName, hostlist};
use azslurm_slurm::Node;

use super::Finding;

const CHECK: &str = "nodes";

/// Every nodeset's nodes must be slurmctld's, and every CLOUD node of slurmctld's some nodeset's.
pub fn check(config: &Config, slurm: &[Node]) -> Vec<Finding> {
    let known: BTreeSet<&NodeName> = slurm.iter().map(|node| &node.name).collect();
    let mut findings = Vec::new();
    for (name, nodeset) in &config.nodesets {
        let is_missing = |node: &&NodeName| !known.contains(node);
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
        |node: &&Node| node.state.has(&NodeFlag::Cloud) && config.nodeset_of(&node.name).is_none();
    let strange: Vec<NodeName> =
        slurm.iter().filter(is_strange).map(|node| node.name.clone()).collect();
    if !strange.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!("{} are CLOUD nodes in no nodeset", hostlist::fold_sorted(&strange)),
            "add a [nodeset.NAME] for them: a job that slurmctld gives them waits until \
             ResumeTimeout",
        ));
    }
    if findings.is_empty() {
        let count: usize = config.nodesets.values().map(|nodeset| nodeset.nodes.len()).sum();
        findings.push(Finding::ok(CHECK, format!("all {count} are in slurm.conf")));
    }
    findings
}
