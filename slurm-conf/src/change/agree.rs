//! Does slurmctld know what the files say? Asked after every reconfigure: one that was heard and
//! not done looks like success.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::NodeName;
use azslurm_core::hostlist::fold_set;
use azslurm_core::node::{NodeBase, NodeFlag};
use azslurm_slurm::Node;

use super::standing::{NodeWords, Standing};

/// What slurmctld says otherwise than the files, a line for each kind; none: it has taken all of
/// it. Of a person's own nodes only the names are compared: their values may be told by scontrol.
pub fn differences(new: &Standing, known: &[Node]) -> Vec<String> {
    let mut found: BTreeMap<String, BTreeSet<NodeName>> = BTreeMap::new();
    let mut say = |what: String, node: &NodeName| {
        found.entry(what).or_default().insert(node.clone());
    };
    let by_name: BTreeMap<&NodeName, &Node> = known.iter().map(|node| (&node.name, node)).collect();
    let partitions = Partitions::of(new);
    for (name, words) in &new.nodes {
        match by_name.get(name) {
            None if words.is_spare => {}
            None => say("is not known to slurmctld".to_owned(), name),
            // slurmctld makes FUTURE also of a node whose name does not resolve: where it is a
            // person's own, that is not the change's doing.
            Some(node) if node.state.base == NodeBase::Future => {
                if words.is_ours && !words.is_spare {
                    say("is only a name to slurmctld (FUTURE)".to_owned(), name);
                }
            }
            Some(node) if words.is_ours => {
                let values = if words.is_spare { Vec::new() } else { of_node(words, node) };
                for what in values.into_iter().chain(partitions.differ(node)) {
                    say(what, name);
                }
            }
            Some(_) => {}
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

/// The partitions of each node by the files.
struct Partitions<'s> {
    of: BTreeMap<&'s NodeName, BTreeSet<&'s str>>,
    /// Those whose nodes only slurmctld can tell.
    vague: BTreeSet<&'s str>,
}

impl<'s> Partitions<'s> {
    fn of(new: &'s Standing) -> Partitions<'s> {
        let mut partitions = Partitions { of: BTreeMap::new(), vague: BTreeSet::new() };
        for (name, words) in &new.partitions {
            if words.is_vague {
                partitions.vague.insert(name);
            }
            for node in &words.nodes {
                partitions.of.entry(node).or_default().insert(name);
            }
        }
        partitions
    }

    fn differ(&self, node: &Node) -> Option<String> {
        let has = node.partitions.iter().map(String::as_str);
        let has: BTreeSet<&str> = has.filter(|name| !self.vague.contains(name)).collect();
        let wanted = self.of.get(&node.name).cloned().unwrap_or_default();
        let list = |set: BTreeSet<&str>| Vec::from_iter(set).join(",");
        (has != wanted)
            .then(|| format!("is in the partitions {:?}, not {:?}", list(has), list(wanted)))
    }
}
