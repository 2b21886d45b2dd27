//! Does slurmctld know what the files say? Asked after every reconfigure: one that was heard and
//! not done looks like success.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::NodeName;
use azslurm_core::hostlist::fold_set;
use azslurm_core::node::{NodeBase, NodeFlag};
use azslurm_slurm::Node;

use super::standing::{NodeWords, Standing};

/// What slurmctld says otherwise than the files, a line for each kind; none: it has taken all of
/// it.
pub fn differences(new: &Standing, known: &[Node]) -> Vec<String> {
    let mut found: BTreeMap<String, BTreeSet<NodeName>> = BTreeMap::new();
    let mut say = |what: String, node: &NodeName| {
        found.entry(what).or_default().insert(node.clone());
    };
    let by_name: BTreeMap<&NodeName, &Node> = known.iter().map(|node| (&node.name, node)).collect();
    let partitions = partitions_of(new);
    let nothing = BTreeSet::new();
    for (name, words) in &new.nodes {
        let node = by_name.get(name).copied();
        match (words.is_spare, node) {
            (true, _) => {}
            (false, None) => say("is not known to slurmctld".to_owned(), name),
            (false, Some(node)) if node.state.base == NodeBase::Future => {
                say("is only a name to slurmctld (FUTURE)".to_owned(), name);
            }
            (false, Some(node)) => {
                for what in of_node(words, node) {
                    say(what, name);
                }
            }
        }
        let Some(node) = node else { continue };
        let has: BTreeSet<&str> = node.partitions.iter().map(String::as_str).collect();
        let wanted = partitions.get(name).unwrap_or(&nothing);
        if has != *wanted && node.state.base != NodeBase::Future {
            let list = |set: &BTreeSet<&str>| Vec::from_iter(set.iter().copied()).join(",");
            say(format!("is in the partitions {:?}, not {:?}", list(&has), list(wanted)), name);
        }
    }
    for node in known.iter().filter(|node| !node.state.has(&NodeFlag::Dynamic)) {
        if !new.nodes.contains_key(&node.name) {
            say("is in no file and slurmctld knows it".to_owned(), &node.name);
        }
    }
    found.into_iter().map(|(what, nodes)| format!("{} {what}", fold_set(&nodes))).collect()
}

fn of_node(words: &NodeWords, node: &Node) -> Vec<String> {
    let values =
        [("cpus", node.cpus), ("realmemory", node.real_memory_mb), ("weight", node.weight)];
    let differs = |(key, has): &(&str, Option<u64>)| {
        let wanted = words.keys.get(*key)?.parse::<u64>().ok()?;
        let has = (*has)?;
        (has != wanted).then(|| format!("has {key} {has}, not {wanted}"))
    };
    values.iter().filter_map(differs).collect()
}

fn partitions_of(new: &Standing) -> BTreeMap<&NodeName, BTreeSet<&str>> {
    let mut partitions: BTreeMap<&NodeName, BTreeSet<&str>> = BTreeMap::new();
    for (name, words) in &new.partitions {
        for node in &words.nodes {
            partitions.entry(node).or_default().insert(name);
        }
    }
    partitions
}
