//! `cores_max`: whether what it allows is of any use.

use azslurm_core::config::{Interconnect, Nodeset};
use azslurm_program::check::{Finding, Pitfall};

use super::nodesets::Named;
use crate::check::scene::Scene;

const CHECK: &str = "cores";

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, nodeset) in &scene.config.nodesets {
        let Some(size) = scene.size(nodeset) else { continue };
        let each = u64::from(size.vcpus);
        if let Some(most) = nodeset.cores_max {
            let at = scene.at_nodeset(name, "cores_max");
            let found = judge((name, nodeset), each, most);
            findings.extend(found.map(|finding| finding.at(at)));
        }
        let sites = nodeset.open_sites().iter().filter_map(|name| {
            let site = scene.config.sites.get(name)?;
            Some((name, site.cores_max?))
        });
        for (site, most) in sites {
            let at = scene.at(&format!("site.{site}.cores_max"));
            let found = judge((name, nodeset), each, most);
            findings.extend(found.map(|finding| finding.at(at)));
        }
    }
    findings
}

/// `each`: vCPUs of a node; `most`: what is allowed.
fn judge((name, nodeset): Named<'_>, each: u64, most: u64) -> Option<Finding> {
    if most < each {
        let said = format!("cores_max is {most}, and one node of {name} has {each}");
        let finding = Finding::error(CHECK, said, format!("raise it to {each} at least"));
        return Some(finding.because("no node can ever be made").of(Pitfall::Autoscaling));
    }
    let block = block(nodeset);
    if let Some(count) = block.filter(|count| count * each > most) {
        let needed = count * each;
        let said = format!("cores_max is {most}, and one block of {name} has {needed}");
        let fix = format!("raise it to {needed} at least, or lower block_nodes");
        let finding = Finding::error(CHECK, said, fix);
        return Some(
            finding.because("a job of a whole block never starts").of(Pitfall::Autoscaling),
        );
    }
    let all = nodeset.nodes.len() as u64 * each;
    (all > most).then(|| {
        let said = format!("cores_max is {most}, and all nodes of {name} have {all}");
        let fix = format!("raise it, or give the nodeset {} nodes", most / each);
        Finding::note(CHECK, said, fix)
            .because("Slurm gives jobs nodes that cannot be made, and the jobs are requeued")
            .of(Pitfall::Cost)
    })
}

fn block(nodeset: &Nodeset) -> Option<u64> {
    match nodeset.interconnect {
        Interconnect::None => None,
        Interconnect::Infiniband => Some(nodeset.nodes_of_block(1).count() as u64),
    }
}
