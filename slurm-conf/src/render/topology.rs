//! azslurm-topology.conf: no job runs over two InfiniBand blocks.

use std::collections::BTreeMap;

use azslurm_core::block::BlockName;
use azslurm_core::config::{Config, Nodeset, Topology};
use azslurm_core::hostlist::fold_set;
use azslurm_core::{NodeName, NodesetName, SiteName};

use super::{TOPOLOGY, has_blocks, header};

/// `None`: there are no blocks, and Slurm needs no topology for us.
pub(super) fn text(config: &Config) -> Option<String> {
    if !has_blocks(config) {
        return None;
    }
    Some(match config.slurm.topology {
        Topology::Tree => tree(config),
        Topology::Block => blocks(config),
    })
}

/// Each block is a leaf without a root. Slurm runs no job over nodes that are in no switch, so all
/// others are in one too: a leaf for each nodeset, and above those that are always at one site a
/// root for the site, so that a job may use several of them.
fn tree(config: &Config) -> String {
    let mut text = header(TOPOLOGY);
    text.push_str(
        "#\n\
         # Each block is a switch of its own, with no common root: so no job spans two. All other\n\
         # nodes of the cluster must be in a switch as well, or Slurm runs no job over several of\n\
         # them; your own lines stay.\n\n",
    );
    let mut at_site: BTreeMap<&SiteName, Vec<&NodesetName>> = BTreeMap::new();
    for (name, nodeset) in &config.nodesets {
        for (number, nodes) in blocks_of(nodeset) {
            let block = BlockName::new(name.clone(), number);
            text.push_str(&format!("SwitchName={block} Nodes={}\n", fold_set(nodes)));
        }
        if nodeset.blocks.is_empty() {
            text.push_str(&format!("SwitchName={name} Nodes={}\n", fold_set(&nodeset.nodes)));
            if let [site] = nodeset.open_sites() {
                at_site.entry(site).or_default().push(name);
            }
        }
    }
    for (site, nodesets) in at_site.into_iter().filter(|(_, nodesets)| nodesets.len() > 1) {
        let leaves: Vec<&str> = nodesets.into_iter().map(NodesetName::as_str).collect();
        text.push_str(&format!("SwitchName=site-{site} Switches={}\n", leaves.join(",")));
    }
    text
}

/// As topology/block wants it: nodes in no block are used by jobs of their own, and BlockSizes is
/// the smallest block, or slurmctld does not start. That no job has several blocks is the work of
/// MaxNodes of the partitions (measured with 24.11).
fn blocks(config: &Config) -> String {
    let mut text = header(TOPOLOGY);
    text.push('\n');
    let mut smallest = usize::MAX;
    for (name, nodeset) in &config.nodesets {
        for (number, nodes) in blocks_of(nodeset) {
            let block = BlockName::new(name.clone(), number);
            smallest = smallest.min(nodes.len());
            text.push_str(&format!("BlockName={block} Nodes={}\n", fold_set(nodes)));
        }
    }
    text.push_str(&format!("BlockSizes={smallest}\n"));
    text
}

fn blocks_of(nodeset: &Nodeset) -> BTreeMap<u32, Vec<&NodeName>> {
    let mut blocks: BTreeMap<u32, Vec<&NodeName>> = BTreeMap::new();
    for (node, block) in nodeset.nodes.iter().zip(&nodeset.blocks) {
        blocks.entry(*block).or_default().push(node);
    }
    blocks
}
