//! What changes between two standings, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use azslurm_core::NodeName;
use azslurm_core::hostlist::fold_set;
use serde_json::{Value, json};

use super::standing::{PartitionWords, Standing};

/// What a key of some nodes was and becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// In lower case.
    pub key: String,
    /// `None`: it was not there.
    pub old: Option<String>,
    /// `None`: it goes.
    pub new: Option<String>,
    /// Whose.
    pub nodes: Vec<NodeName>,
}

/// A partition that changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionChange {
    /// Key, old and new value.
    pub keys: Vec<(String, Option<String>, Option<String>)>,
    /// Nodes that come into it.
    pub gained: Vec<NodeName>,
    /// Nodes that leave it.
    pub lost: Vec<NodeName>,
}

/// Everything that changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Names that were not there, not even as spares.
    pub added: Vec<NodeName>,
    /// Names that go altogether, spares not counted.
    pub removed: Vec<NodeName>,
    /// Spares that become nodes.
    pub opened: Vec<NodeName>,
    /// Nodes that become spares.
    pub closed: Vec<NodeName>,
    /// New spares.
    pub spares_added: Vec<NodeName>,
    /// Spares whose names go.
    pub spares_removed: Vec<NodeName>,
    /// Changed values of nodes that stay.
    pub keys: Vec<KeyChange>,
    /// Nodes that move from one switch or block to another: old, new, who.
    pub moved: Vec<(String, String, Vec<NodeName>)>,
    /// New partitions with the number of their nodes.
    pub partitions_added: Vec<(String, usize)>,
    /// Partitions that go.
    pub partitions_removed: Vec<String>,
    /// Partitions that change.
    pub partitions: BTreeMap<String, PartitionChange>,
    /// Key, old and new value.
    pub settings: Vec<(String, Option<String>, Option<String>)>,
}

impl Words {
    /// What changes from one to the other.
    pub fn between(old: &Standing, new: &Standing) -> Words {
        let mut words = Words::default();
        let names: BTreeSet<&NodeName> = old.nodes.keys().chain(new.nodes.keys()).collect();
        for name in names {
            let is_spare = |of: &Standing| of.nodes.get(name).map(|node| node.is_spare);
            let list = match (is_spare(old), is_spare(new)) {
                (None, Some(false)) => &mut words.added,
                (None, Some(true)) => &mut words.spares_added,
                (Some(false), None) => &mut words.removed,
                (Some(true), None) => &mut words.spares_removed,
                (Some(true), Some(false)) => &mut words.opened,
                (Some(false), Some(true)) => &mut words.closed,
                (Some(_), Some(_)) | (None, None) => continue,
            };
            list.push(name.clone());
        }
        words.keys = node_keys(old, new);
        words.moved = moved(old, new);
        words.take_partitions(old, new);
        words.settings = pairs(&folded(&old.settings), &folded(&new.settings));
        words
    }

    /// Whether nothing changes for Slurm.
    pub fn is_empty(&self) -> bool {
        *self == Words::default()
    }

    fn take_partitions(&mut self, old: &Standing, new: &Standing) {
        for (name, words) in &new.partitions {
            match old.partitions.get(name) {
                None => self.partitions_added.push((name.clone(), words.nodes.len())),
                Some(before) => {
                    let change = partition(before, words);
                    if change != PartitionChange::default() {
                        self.partitions.insert(name.clone(), change);
                    }
                }
            }
        }
        let gone = old.partitions.keys().filter(|name| !new.partitions.contains_key(*name));
        self.partitions_removed.extend(gone.cloned());
    }

    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (what, nodes) in self.lists() {
            if !nodes.is_empty() {
                lines.push(format!("{what}: {} ({})", fold_set(nodes), nodes.len()));
            }
        }
        for change in &self.keys {
            let (old, new) = (shown(&change.old), shown(&change.new));
            lines.push(format!("{}: {} {old} -> {new}", fold_set(&change.nodes), change.key));
        }
        for (old, new, nodes) in &self.moved {
            lines.push(format!("{}: from switch {old} to {new}", fold_set(nodes)));
        }
        for (name, count) in &self.partitions_added {
            lines.push(format!("partition {name}: added, {count} nodes"));
        }
        for name in &self.partitions_removed {
            lines.push(format!("partition {name}: removed"));
        }
        lines.extend(self.partitions.iter().map(|(name, change)| partition_line(name, change)));
        for (key, old, new) in &self.settings {
            lines.push(format!("{key}: {} -> {}", shown(old), shown(new)));
        }
        lines
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let lists: serde_json::Map<String, Value> = self
            .lists()
            .into_iter()
            .map(|(what, nodes)| (what.replace(' ', "_"), json!(fold_set(nodes))))
            .collect();
        let keys = self.keys.iter().map(|change| {
            json!({
                "nodes": fold_set(&change.nodes), "key": change.key,
                "old": change.old, "new": change.new,
            })
        });
        let moved = self
            .moved
            .iter()
            .map(|(old, new, nodes)| json!({ "nodes": fold_set(nodes), "old": old, "new": new }));
        let partitions = self.partitions.iter().map(|(name, change)| {
            json!({
                "name": name, "gained": fold_set(&change.gained), "lost": fold_set(&change.lost),
                "keys": change.keys,
            })
        });
        let added: Vec<&String> = self.partitions_added.iter().map(|(name, _)| name).collect();
        json!({
            "nodes": lists,
            "node_keys": keys.collect::<Vec<_>>(),
            "moved": moved.collect::<Vec<_>>(),
            "partitions_added": added,
            "partitions_removed": self.partitions_removed,
            "partitions": partitions.collect::<Vec<_>>(),
            "settings": self.settings,
        })
    }

    fn lists(&self) -> [(&'static str, &Vec<NodeName>); 6] {
        [
            ("nodes added", &self.added),
            ("spares that become nodes", &self.opened),
            ("nodes removed", &self.removed),
            ("nodes that become spares", &self.closed),
            ("spares added", &self.spares_added),
            ("spares removed", &self.spares_removed),
        ]
    }
}

fn shown(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("(not set)")
}

fn partition_line(name: &str, change: &PartitionChange) -> String {
    let mut line = format!("partition {name}:");
    for (sign, nodes) in [('+', &change.gained), ('-', &change.lost)] {
        if !nodes.is_empty() {
            write!(line, " {sign}{}", fold_set(nodes)).expect("a string takes everything");
        }
    }
    for (key, old, new) in &change.keys {
        write!(line, " {key} {} -> {}", shown(old), shown(new)).expect("a string takes everything");
    }
    line
}

/// Settings in the spelling of the first that is met: Slurm takes any case.
fn folded(settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    settings.iter().map(|(key, value)| (key.to_ascii_lowercase(), value.clone())).collect()
}

fn pairs(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<(String, Option<String>, Option<String>)> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    changed.map(|key| (key.clone(), old.get(key).cloned(), new.get(key).cloned())).collect()
}

/// Values of nodes that stay or become nodes, those with the same change together.
fn node_keys(old: &Standing, new: &Standing) -> Vec<KeyChange> {
    let mut changes: BTreeMap<(String, Option<String>, Option<String>), Vec<NodeName>> =
        BTreeMap::new();
    for (name, words) in new.nodes.iter().filter(|(_, words)| !words.is_spare) {
        let Some(before) = old.nodes.get(name) else { continue };
        for change in pairs(&before.keys, &words.keys) {
            changes.entry(change).or_default().push(name.clone());
        }
    }
    let of = |((key, old, new), nodes)| KeyChange { key, old, new, nodes };
    changes.into_iter().map(of).collect()
}

fn moved(old: &Standing, new: &Standing) -> Vec<(String, String, Vec<NodeName>)> {
    let mut moves: BTreeMap<(&String, &String), Vec<NodeName>> = BTreeMap::new();
    for (name, to) in &new.switches {
        if let Some(from) = old.switches.get(name).filter(|from| *from != to) {
            moves.entry((from, to)).or_default().push(name.clone());
        }
    }
    moves.into_iter().map(|((from, to), nodes)| (from.clone(), to.clone(), nodes)).collect()
}

fn partition(old: &PartitionWords, new: &PartitionWords) -> PartitionChange {
    PartitionChange {
        keys: pairs(&old.keys, &new.keys),
        gained: new.nodes.difference(&old.nodes).cloned().collect(),
        lost: old.nodes.difference(&new.nodes).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use azslurm_slurm::Conf;

    use super::*;

    fn standing(text: &str, topology: &str) -> Standing {
        let conf = Conf::of_text(Path::new("slurm.conf"), text);
        Standing::of(&conf, Some(&Conf::of_text(Path::new("topology.conf"), topology)))
    }

    #[test]
    fn every_kind_of_change_is_a_line() {
        let old = standing(
            "NodeName=a[1-4] CPUs=4\nNodeName=s[1-2] State=FUTURE\nPartitionName=p Nodes=a[1-4]\n\
             PartitionName=q Nodes=a1\nResumeTimeout=60\nTreeWidth=9\n",
            "SwitchName=x Nodes=a[1-2]\nSwitchName=y Nodes=a[3-4]\n",
        );
        let new = standing(
            "NodeName=a[1-2] CPUs=8\nNodeName=a3 State=FUTURE\nNodeName=s1,b[1-3]\n\
             NodeName=t1 State=FUTURE\nPartitionName=p Nodes=a[1-2],b1 MaxTime=5\n\
             PartitionName=r Nodes=b[1-3]\nresumetimeout=90\n",
            "SwitchName=x Nodes=a1\nSwitchName=y Nodes=a2\n",
        );
        let words = Words::between(&old, &new);
        assert_eq!(
            words.lines(),
            [
                "nodes added: b[1-3] (3)",
                "spares that become nodes: s1 (1)",
                "nodes removed: a4 (1)",
                "nodes that become spares: a3 (1)",
                "spares added: t1 (1)",
                "spares removed: s2 (1)",
                "a[1-2]: cpus 4 -> 8",
                "a2: from switch x to y",
                "partition r: added, 3 nodes",
                "partition q: removed",
                "partition p: +b1 -a[3-4] maxtime (not set) -> 5",
                "resumetimeout: 60 -> 90",
                "treewidth: 9 -> (not set)",
            ]
        );
        assert_eq!(words.json()["nodes"]["nodes_added"], "b[1-3]");
        assert!(Words::between(&new, &new).is_empty());
    }
}
