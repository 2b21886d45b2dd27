//! `cores_max` that no longer lets all nodes come up. That not even one node or block does is said
//! with the sizes ([`crate::check::azure`]).

use azslurm_core::config::{Interconnect, Nodeset};
use azslurm_program::check::{Finding, Pitfall};

use crate::check::scene::Scene;

const CHECK: &str = "cores";

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, nodeset) in &scene.config.nodesets {
        let (Some(size), Some(most)) = (scene.size(nodeset), nodeset.cores_max) else { continue };
        let each = u64::from(size.vcpus);
        let all = nodeset.nodes.len() as u64 * each;
        if !(unit(nodeset) * each..all).contains(&most) {
            continue;
        }
        let said = format!("cores_max is {most}, and all nodes of {name} have {all}");
        let fix = format!("raise it, or give the nodeset {} nodes", most / each);
        findings.push(
            Finding::note(CHECK, said, fix)
                .because("Slurm gives jobs nodes that cannot be made, and the jobs are requeued")
                .at(scene.at_nodeset(name, "cores_max"))
                .of(Pitfall::Cost),
        );
    }
    findings
}

/// Nodes that come up together.
fn unit(nodeset: &Nodeset) -> u64 {
    match nodeset.interconnect {
        Interconnect::None => 1,
        Interconnect::Infiniband => nodeset.nodes_of_block(1).count() as u64,
    }
}
