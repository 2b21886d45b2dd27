//! Slurm's topology: whether a job is kept within an InfiniBand block, and whether other nodes can
//! still work together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use azslurm_core::NodeName;
use azslurm_core::block::BlockName;
use azslurm_core::config::Topology;
use azslurm_core::hostlist::{self, fold_set};
use azslurm_program::check::{Finding, Pitfall};
use azslurm_slurm::{Conf, SlurmVersion};

use super::lines;
use crate::check::scene::Scene;

const CHECK: &str = "topology";
const PLUGIN: &str = "TopologyPlugin";
/// From here on there is topology/block.
const BLOCK: SlurmVersion = SlurmVersion::new(23, 11, 0);
const RENDER: &str = "`azslurm-conf render` writes the lines of the blocks (azslurm-topology.conf)";

/// Where topology.conf is.
pub fn conf(conf: &Conf) -> PathBuf {
    conf.path.with_file_name("topology.conf")
}

/// Where topology.yaml is, which goes before topology.conf.
pub fn yaml(conf: &Conf) -> PathBuf {
    conf.path.with_file_name("topology.yaml")
}

/// The blocks of the config that a job must stay within.
fn blocks(scene: &Scene<'_>) -> BTreeMap<String, BTreeSet<NodeName>> {
    let mut blocks: BTreeMap<String, BTreeSet<NodeName>> = BTreeMap::new();
    for (name, nodeset) in &scene.config.nodesets {
        for (node, number) in nodeset.nodes.iter().zip(&nodeset.blocks) {
            let block = BlockName::new(name.clone(), *number).to_string();
            blocks.entry(block).or_default().insert(node.clone());
        }
    }
    blocks
}

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let blocks = blocks(scene);
    let plugin = scene.settings.value(PLUGIN);
    let mut findings = self::plugin(scene, plugin, blocks.len());
    if !["topology/tree", "topology/block"].contains(&plugin) || !findings.is_empty() {
        return findings;
    }
    let Some(conf) = scene.conf() else { return findings };
    let yaml = yaml(conf);
    if scene.seen.file(&yaml).is_some_and(|seen| seen.itself().is_some()) {
        let said = format!("{} is there, and is not checked", yaml.display());
        let fix = "see that each block is a leaf of its own there, with nothing above";
        findings.push(Finding::note(CHECK, said, fix));
        return findings;
    }
    let Some(topology) = &scene.seen.topology else {
        let said = format!("{plugin} needs a topology.conf, and there is none");
        let finding = Finding::error(CHECK, said, format!("make one: {RENDER}"))
            .because("slurmctld does not start without it");
        findings.push(finding.at(scene.settings.place(PLUGIN)));
        return findings;
    };
    let leaves = Leaves::of(topology);
    findings.extend(topology.unreadable.iter().map(|(place, path, why)| {
        let said = format!("{} is included and cannot be read: {why}", path.display());
        Finding::error(CHECK, said, RENDER).at(Some(place.clone()))
    }));
    findings.extend(of_blocks(&blocks, &leaves, topology));
    findings.extend(of_others(conf, &leaves, (plugin, topology)));
    findings
}

fn plugin(scene: &Scene<'_>, plugin: &str, blocks: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let at = scene.settings.place(PLUGIN);
    let is_without = ["", "topology/none", "topology/flat", "topology/default"].contains(&plugin);
    let why = "a job may get nodes of two blocks, which do not reach each other by InfiniBand";
    let wanted = match scene.config.slurm.topology {
        Topology::Tree => "topology/tree",
        Topology::Block => "topology/block",
    };
    let is_old = scene.version().is_some_and(|version| version < BLOCK);
    if plugin == "topology/block" && is_old {
        let said = "topology/block is there from Slurm 23.11 on";
        let fix = "set TopologyPlugin=topology/tree, and topology = \"tree\" in [slurm]";
        findings.push(Finding::error(CHECK, said, fix).at(at));
    } else if blocks > 1 && is_without {
        let said = format!("there are {blocks} InfiniBand blocks, and no topology plugin");
        let finding = Finding::error(CHECK, said, format!("set TopologyPlugin={wanted}"));
        findings.push(finding.because(why).at(at).of(Pitfall::StaticThinking));
    } else if blocks > 1 && plugin != wanted {
        let said = format!("TopologyPlugin is {plugin}, and [slurm] topology wants {wanted}");
        let fix = "set both to the same: render writes topology.conf for one of them";
        findings.push(Finding::error(CHECK, said, fix).because(why).at(at));
    }
    let key = "TopologyParam";
    if blocks > 1 && scene.settings.has_word(key, "TopoOptional") {
        let said = "TopoOptional: only jobs with --switches are kept within a block";
        let finding = Finding::error(CHECK, said, "take it out of TopologyParam").because(why);
        findings.push(finding.at(scene.settings.place(key)));
    }
    findings
}

/// Switches or blocks of topology.conf.
struct Leaves {
    /// What each node is directly in, with the place of the line.
    of: BTreeMap<NodeName, Vec<(String, String)>>,
    /// The nodes of each.
    nodes: BTreeMap<String, BTreeSet<NodeName>>,
    /// The switches directly above each.
    above: BTreeMap<String, Vec<(String, String)>>,
}

impl Leaves {
    fn of(conf: &Conf) -> Leaves {
        let mut leaves =
            Leaves { of: BTreeMap::new(), nodes: BTreeMap::new(), above: BTreeMap::new() };
        for line in conf.all("SwitchName").chain(conf.all("BlockName")) {
            let place = (line.value.clone(), line.place());
            let nodes = hostlist::expand(line.get("Nodes").unwrap_or_default());
            for node in nodes.unwrap_or_default() {
                leaves.of.entry(node.clone()).or_default().push(place.clone());
                leaves.nodes.entry(line.value.clone()).or_default().insert(node);
            }
            let below = hostlist::expand(line.get("Switches").unwrap_or_default());
            for below in below.unwrap_or_default() {
                leaves.above.entry(below.to_string()).or_default().push(place.clone());
            }
        }
        leaves
    }

    /// All switches above one, with their places.
    fn all_above(&self, switch: &str) -> BTreeSet<(String, String)> {
        let mut found: BTreeSet<(String, String)> = BTreeSet::new();
        let mut waiting = vec![switch.to_owned()];
        while let Some(switch) = waiting.pop() {
            for above in self.above.get(&switch).into_iter().flatten() {
                if found.insert(above.clone()) {
                    waiting.push(above.0.clone());
                }
            }
        }
        found
    }
}

fn of_blocks(
    blocks: &BTreeMap<String, BTreeSet<NodeName>>,
    leaves: &Leaves,
    topology: &Conf,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let why = "a job may get nodes of two blocks, which do not reach each other by InfiniBand";
    let mut owners: BTreeMap<String, &String> = BTreeMap::new();
    for (block, nodes) in blocks {
        let missing: Vec<&NodeName> =
            nodes.iter().filter(|node| !leaves.of.contains_key(node)).collect();
        let of: BTreeSet<&(String, String)> =
            nodes.iter().filter_map(|node| leaves.of.get(node)).flatten().collect();
        if !missing.is_empty() {
            let said = format!("{} of block {block} are in no switch", fold_set(missing));
            let finding = Finding::error(CHECK, said, RENDER)
                .because("Slurm runs no job over several nodes with them")
                .at(Some(topology.path.display().to_string()));
            findings.push(finding);
        }
        if of.len() > 1 {
            let names: Vec<&str> = of.iter().map(|(name, _)| name.as_str()).collect();
            let said = format!("block {block} is divided over {}", names.join(", "));
            let finding = Finding::error(CHECK, said, RENDER)
                .because("a job of a whole block does not start");
            findings.push(finding.at(of.last().map(|(_, place)| place.clone())));
        }
        for (leaf, place) in of {
            let owner = *owners.entry(leaf.clone()).or_insert(block);
            let foreign: Vec<&NodeName> =
                leaves.nodes[leaf].difference(nodes).filter(|_| owner == block).collect();
            if !foreign.is_empty() {
                let said = format!("{leaf} has {} beside block {block}", fold_set(foreign));
                let finding = Finding::error(CHECK, said, RENDER).because(why);
                findings.push(finding.at(Some(place.clone())));
            }
        }
    }
    findings.extend(roots(blocks, leaves).map(|(place, said)| {
        let fix = "take the blocks out of the line: a job must find no switch above them";
        Finding::error(CHECK, said, fix).because(why).at(Some(place))
    }));
    findings
}

/// Switches above several blocks; only the lowest of each, which is the one to change.
fn roots(
    blocks: &BTreeMap<String, BTreeSet<NodeName>>,
    leaves: &Leaves,
) -> impl Iterator<Item = (String, String)> {
    let mut below: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for (block, nodes) in blocks {
        for (leaf, _) in nodes.iter().filter_map(|node| leaves.of.get(node)).flatten() {
            for root in leaves.all_above(leaf) {
                below.entry(root).or_default().insert(block);
            }
        }
    }
    below.retain(|_, blocks| blocks.len() > 1);
    let known = below.clone();
    let is_lowest = move |(name, _): &(String, String)| {
        !known
            .keys()
            .any(|(other, _)| leaves.all_above(other).iter().any(|(above, _)| above == name))
    };
    let lowest: Vec<(String, String)> = below
        .into_iter()
        .filter(|(root, _)| is_lowest(root))
        .map(|((name, place), blocks)| {
            let blocks: Vec<&str> = blocks.into_iter().collect();
            (place, format!("switch {name} stands above {}", blocks.join(", ")))
        })
        .collect();
    lowest.into_iter()
}

/// Nodes that are not InfiniBand blocks, ours and those of others.
fn of_others(conf: &Conf, leaves: &Leaves, (plugin, topology): (&str, &Conf)) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = lines::lines(conf, "NodeName");
    let defined: BTreeSet<&NodeName> = lines.iter().flat_map(|line| &line.names).collect();
    let at = Some(topology.path.display().to_string());
    // A name that is kept ready has no place yet.
    let present = lines.iter().filter(|line| !line.is_future()).flat_map(|line| &line.names);
    let in_none: BTreeSet<&NodeName> =
        present.filter(|node| !leaves.of.contains_key(node)).collect();
    // Slurm warns and goes on; with topology/block single nodes outside of blocks are usual.
    if plugin == "topology/tree" && !in_none.is_empty() {
        let said = format!("{} are in no switch", fold_set(in_none));
        let fix =
            "add a SwitchName line for them (`azslurm-conf render` writes those of azslurm's)";
        let finding = Finding::warning(CHECK, said, fix).because(
            "nodes that are not in topology.conf cannot be used for jobs over several nodes",
        );
        findings.push(finding.at(at));
    }
    let strange: Vec<&NodeName> = leaves.of.keys().filter(|node| !defined.contains(node)).collect();
    if !strange.is_empty() {
        let place = leaves.of[strange[0]].first().map(|(_, place)| place.clone());
        let said =
            format!("{} are in a switch, and slurm.conf does not define them", fold_set(strange));
        let finding = Finding::warning(CHECK, said, RENDER);
        findings.push(finding.at(place).of(Pitfall::StaticThinking));
    }
    findings
}
