//! Nodesets and sites that fit the config and not one another, or not the size.

use std::collections::BTreeMap;

use azslurm_core::config::{
    EvictionPolicy, ImageReference, Interconnect, Nodeset, Priority, Site, Spill,
};
use azslurm_core::hostlist::fold_set;
use azslurm_core::{NodeName, NodesetName, SiteName};
use azslurm_program::check::{Finding, Pitfall};

use crate::check::scene::Scene;

const CHECK: &str = "nodeset";
/// The guest sees at least this much less than Azure says of the size.
const MEMORY_MARGIN_MIN: u32 = 2;

/// A nodeset with its name.
pub(super) type Named<'a> = (&'a NodesetName, &'a Nodeset);

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = sites(scene);
    for named in &scene.config.nodesets {
        findings.extend(spot(scene, named));
        findings.extend(places(scene, named));
        findings.extend(blocks(scene, named));
        findings.extend(disk_and_network(scene, named));
        findings.extend(image(scene, named));
        findings.extend(line(scene, named));
        findings.extend(names(scene, named));
    }
    findings
}

fn sites(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_used = |name| scene.config.nodesets.values().any(|set| set.sites.contains(name));
    for name in scene.config.sites.keys().filter(|name| !is_used(name)) {
        let said = format!("no nodeset uses site {name}");
        let finding =
            Finding::warning("site", said, "add it to the sites of a nodeset, or remove it")
                .because("its region looks like a place to go to, and nothing ever goes there");
        findings.push(finding.at(scene.at(&format!("site.{name}"))).of(Pitfall::StaticThinking));
    }
    let mut known: BTreeMap<[String; 4], &SiteName> = BTreeMap::new();
    for (name, site) in &scene.config.sites {
        let Site { subscription, region, resource_group, subnet, .. } = site;
        let texts = [subscription.as_str(), region.as_str(), resource_group, subnet];
        let first = *known.entry(texts.map(str::to_ascii_lowercase)).or_insert(name);
        if first != name {
            let said = format!("site {name} is the same place as {first}");
            let finding = Finding::warning("site", said, "keep one, or give it another region")
                .because("when one is full the other is full as well");
            findings
                .push(finding.at(scene.at(&format!("site.{name}"))).of(Pitfall::StaticThinking));
        }
    }
    findings
}

fn spot(scene: &Scene<'_>, (name, nodeset): Named<'_>) -> Option<Finding> {
    let eviction = match nodeset.priority {
        Priority::Regular => return None,
        Priority::Spot { eviction, .. } => eviction,
    };
    match eviction {
        EvictionPolicy::Delete => None,
        EvictionPolicy::Deallocate => Some(
            Finding::warning(
                CHECK,
                format!("VMs of {name} that Azure takes are kept, switched off"),
                "leave eviction_policy out: \"delete\" is the default",
            )
            .because(
                "their disks are paid for and count against quota until azslurm-sync deletes them",
            )
            .at(scene.at_nodeset(name, "eviction_policy"))
            .of(Pitfall::Preemption),
        ),
    }
}

fn places(scene: &Scene<'_>, (name, nodeset): Named<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_closed = match nodeset.spill {
        Spill::Never => nodeset.sites.len() > 1,
        Spill::NextSite => false,
    };
    if is_closed {
        let rest: Vec<&str> = nodeset.sites[1..].iter().map(SiteName::as_str).collect();
        let said = format!("{name} never goes to {}: spill is \"never\"", rest.join(", "));
        let fix = "set spill = \"next-site\" if the jobs' data is there too, or name one site only";
        let finding = Finding::note(CHECK, said, fix)
            .because("when the first site is full its jobs wait, however empty the others are");
        findings.push(finding.at(scene.at_nodeset(name, "spill")).of(Pitfall::StaticThinking));
    }
    if let [zone] = nodeset.zones.as_slice() {
        let said = format!("all VMs of {name} must be in zone {zone}");
        let fix = "name all zones that the region has, or none, unless a disk or file system is in \
                   this one";
        let finding = Finding::note(CHECK, said, fix)
            .because("sizes are short in one zone long before they are in the region");
        findings.push(finding.at(scene.at_nodeset(name, "zones")).of(Pitfall::StaticThinking));
    }
    findings
}

fn blocks(scene: &Scene<'_>, (name, nodeset): Named<'_>) -> Option<Finding> {
    let key = "block_nodes";
    let last = match nodeset.interconnect {
        Interconnect::None => return idle_infiniband(scene, (name, nodeset)),
        Interconnect::Infiniband => nodeset.blocks.iter().max().copied().unwrap_or(1),
    };
    let first = nodeset.nodes_of_block(1).count();
    let rest = nodeset.nodes_of_block(last).count();
    if first == 1 && nodeset.nodes.len() > 1 {
        let said = format!("each node of {name} is a block of its own");
        let fix = "set block_nodes to the nodes of the largest job, or interconnect = \"none\"";
        let finding = Finding::warning(CHECK, said, fix)
            .because("no job can use InfiniBand, which is paid for");
        return Some(finding.at(scene.at_nodeset(name, key)).of(Pitfall::InstanceTypes));
    }
    (rest < first).then(|| {
        let said = format!("the last block of {name} has {rest} nodes, and the others {first}");
        let fix = "choose a number of nodes that block_nodes divides";
        Finding::note(CHECK, said, fix)
            .because("a job of a whole block never runs there")
            .at(scene.at_nodeset(name, key))
    })
}

/// InfiniBand that is paid for and not used.
fn idle_infiniband(scene: &Scene<'_>, (name, nodeset): Named<'_>) -> Option<Finding> {
    let size = nodeset.sku.as_str();
    let has_it = match scene.size(nodeset) {
        Some(size) => size.is_rdma,
        None => ["Standard_HB", "Standard_HC", "Standard_HX"].iter().any(|family| {
            size.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family))
        }),
    };
    (has_it && nodeset.nodes.len() > 1).then(|| {
        let said = format!("{size} of {name} has InfiniBand, and interconnect is \"none\"");
        let fix = "set interconnect = \"infiniband\", unless every job runs on one node";
        Finding::warning(CHECK, said, fix)
            .because("VMs that are made one by one have no InfiniBand between them")
            .at(scene.at_nodeset(name, "sku"))
            .of(Pitfall::InstanceTypes)
    })
}

fn disk_and_network(scene: &Scene<'_>, (name, nodeset): Named<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if nodeset.os_disk.storage == "Standard_LRS" && nodeset.os_disk.ephemeral.is_none() {
        let said = format!("the OS disks of {name} are hard disks");
        let fix = "set type = \"StandardSSD_LRS\", or an ephemeral disk, which is free of charge";
        let finding = Finding::warning(CHECK, said, fix)
            .because("nodes boot minutes later, and programs load slowly");
        findings.push(finding.at(scene.at_nodeset(name, "os_disk.type")).of(Pitfall::Storage));
    }
    if !nodeset.accelerated_networking {
        let said = format!("{name} has no accelerated networking");
        let fix = "leave accelerated_networking out, unless the image has no driver for it";
        let finding = Finding::warning(CHECK, said, fix)
            .because("storage and MPI over Ethernet are several times slower");
        let at = scene.at_nodeset(name, "accelerated_networking");
        findings.push(finding.at(at).of(Pitfall::Network));
    }
    findings
}

fn image(scene: &Scene<'_>, (name, nodeset): Named<'_>) -> Option<Finding> {
    let is_latest = match &nodeset.image.reference {
        ImageReference::Urn { version, .. } => version.eq_ignore_ascii_case("latest"),
        ImageReference::SharedGallery(id) | ImageReference::CommunityGallery(id) => {
            let id = id.to_ascii_lowercase();
            id.ends_with("/versions/latest") || !id.contains("/versions/")
        }
        // A managed image has no versions.
        ImageReference::Id(id) => {
            let id = id.to_ascii_lowercase();
            id.contains("/galleries/") && !id.contains("/versions/")
        }
    };
    is_latest.then(|| {
        let said = format!("{name} takes the latest version of its image");
        Finding::note(CHECK, said, "name a version, and change it when it is tested")
            .because("a new one comes without notice, and nodes of one job may differ")
            .at(scene.at_nodeset(name, "image"))
            .of(Pitfall::StaticThinking)
    })
}

/// The keys for slurm.conf against the size.
fn line(scene: &Scene<'_>, (name, nodeset): Named<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let line = &nodeset.line;
    let mut add = |key: &str, finding: Finding| {
        let at = scene.at_nodeset(name, key);
        findings.push(finding.at(at).of(Pitfall::InstanceTypes));
    };
    let drained = "slurmd finds less than slurm.conf says, and Slurm drains the node, every time";
    if line.memory_margin_percent < MEMORY_MARGIN_MIN && line.real_memory_mb.is_none() {
        let said = format!("the memory margin of {name} is {} %", line.memory_margin_percent);
        let fix = "leave memory_margin_percent out: 5 is the default";
        add("memory_margin_percent", Finding::warning(CHECK, said, fix).because(drained));
    }
    let Some(size) = scene.size(nodeset) else { return findings };
    let has = size.memory_mb;
    let fits = has - has * u64::from(MEMORY_MARGIN_MIN) / 100;
    if let Some(memory) = line.real_memory_mb.filter(|memory| *memory > fits) {
        let said = format!("real_memory_mb of {name} is {memory}, and {} has {has}", size.name);
        let fix = format!("set it to {} or less, or leave it out", has - has / 20);
        add("real_memory_mb", Finding::error(CHECK, said, fix).because(drained));
    }
    let all = size.vcpus_available;
    if let Some(cpus) = line.cpus.filter(|cpus| *cpus > all) {
        let said = format!("cpus of {name} is {cpus}, and {} has {all}", size.name);
        add("cpus", Finding::error(CHECK, said, "leave it out").because(drained));
    }
    let gpus = |gres: &String| {
        let mut parts = gres.split(':');
        let is_gpu = parts.next() == Some("gpu");
        parts.next_back().and_then(|count| count.parse::<u32>().ok()).filter(|_| is_gpu)
    };
    let said: u32 = line.gres.iter().filter_map(gpus).sum();
    if !line.gres.is_empty() && said != size.gpus {
        let text = format!("gres of {name} has {said} GPUs, and {} has {}", size.name, size.gpus);
        let finding = match said > size.gpus {
            true => Finding::error(CHECK, text, "say as many as there are").because(drained),
            false => Finding::warning(CHECK, text, "say as many as there are")
                .because("the others are paid for, and no job gets them"),
        };
        add("gres", finding);
    }
    findings
}

/// Nodes that people will take for one another, and for the head node.
fn names(scene: &Scene<'_>, (name, nodeset): Named<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let at = || scene.at_nodeset(name, "nodes");
    let controller = scene.config.slurm.controller.split('.').next().unwrap_or_default();
    if nodeset.nodes.iter().any(|node| node.as_str() == controller) {
        let said = format!("{controller} of {name} is the controller as well");
        let finding = Finding::error(CHECK, said, "take it out of the nodeset, or rename one")
            .because("azslurm would delete its VM when no job runs on it");
        findings.push(finding.at(at()));
    }
    let mut plain: BTreeMap<String, Vec<&NodeName>> = BTreeMap::new();
    for other in scene.config.nodesets.values() {
        for node in &other.nodes {
            plain.entry(without_zeros(node.as_str())).or_default().push(node);
        }
    }
    let alike: Vec<&NodeName> = nodeset
        .nodes
        .iter()
        .filter(|node| plain.get(&without_zeros(node.as_str())).is_some_and(|of| of.len() > 1))
        .collect();
    if !alike.is_empty() {
        let said = format!("{} differ only by zeros from others", fold_set(alike));
        let finding = Finding::warning(CHECK, said, "write all numbers with as many digits")
            .because("Slurm takes n1 and n01 for two nodes, and people do not");
        findings.push(finding.at(at()));
    }
    findings
}

/// `n-007` and `n-7` are `n-7`.
fn without_zeros(name: &str) -> String {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[stem.len()..].trim_start_matches('0');
    format!("{stem}{number}")
}
