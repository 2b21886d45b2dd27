//! What conf files say of nodes, partitions, switches and settings, in a form that can be compared,
//! and what in them would end slurmctld.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use azslurm_core::{NodeName, hostlist};
use azslurm_slurm::{Conf, ConfLine};

use crate::render::NODES;

/// Lines that are no settings.
const NO_SETTINGS: [&str; 5] =
    ["nodename", "partitionname", "nodeset", "downnodes", "frontendname"];
/// The line that gives values to those behind it.
const DEFAULT: &str = "DEFAULT";

/// A node's line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeWords {
    /// Its keys in lower case, but `State`; lists that count nodes are left out.
    pub keys: BTreeMap<String, String>,
    /// `State=FUTURE`: Slurm knows the name and nothing else.
    pub is_spare: bool,
    /// `file:line`.
    pub place: String,
    /// It stands in a file of ours.
    pub is_ours: bool,
}

/// A partition's line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionWords {
    /// Its keys in lower case, but `Nodes`.
    pub keys: BTreeMap<String, String>,
    /// Its nodes.
    pub nodes: BTreeSet<NodeName>,
    /// They cannot all be told from the files.
    pub is_vague: bool,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// By node.
    pub nodes: BTreeMap<NodeName, NodeWords>,
    /// By partition.
    pub partitions: BTreeMap<String, PartitionWords>,
    /// The leaf switch or block of each node.
    pub switches: BTreeMap<NodeName, String>,
    /// By key, as written.
    pub settings: BTreeMap<String, String>,
    /// What slurmctld would end for, or what cannot be judged; with its place.
    pub faults: Vec<String>,
}

impl Standing {
    /// Of slurm.conf with its includes, and of topology.conf with its own.
    pub fn of(conf: &Conf, topology: Option<&Conf>) -> Standing {
        let mut standing = Standing::default();
        for (place, file, why) in &conf.unreadable {
            standing.faults.push(unreadable(place, file, why));
        }
        standing.take_nodes(conf);
        standing.take_partitions(conf);
        let settings =
            conf.lines.iter().filter(|line| !NO_SETTINGS.contains(&&*line.key.to_lowercase()));
        standing.settings.extend(settings.map(|line| (line.key.clone(), line.value.clone())));
        if let Some(topology) = topology {
            standing.take_switches(topology);
        }
        standing
    }

    /// The names that are more than spares.
    pub fn real(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().filter(|(_, words)| !words.is_spare).map(|(name, _)| name)
    }

    fn take_nodes(&mut self, conf: &Conf) {
        let mut defaults = BTreeMap::new();
        for line in conf.all("NodeName") {
            let mut keys = keys_of(line, &defaults);
            if line.value.eq_ignore_ascii_case(DEFAULT) {
                defaults = keys;
                continue;
            }
            let place = line.place();
            let state = keys.remove("state").unwrap_or_default();
            keys.retain(|key, value| !counts_nodes(key, value));
            let is_spare = state.eq_ignore_ascii_case("FUTURE");
            let names = match hostlist::expand(&line.value) {
                Ok(names) => names,
                Err(error) => {
                    self.faults.push(format!("{place}: NodeName={}: {error}", line.value));
                    continue;
                }
            };
            let is_ours = line.file.file_name().is_some_and(|name| name == NODES);
            let words = NodeWords { keys, is_spare, place, is_ours };
            self.add_nodes(names, &words);
        }
    }

    fn add_nodes(&mut self, names: Vec<NodeName>, words: &NodeWords) {
        let mut twice: BTreeMap<String, Vec<NodeName>> = BTreeMap::new();
        for name in names {
            if let Some(other) = self.nodes.insert(name.clone(), words.clone()) {
                twice.entry(other.place).or_default().push(name);
            }
        }
        for (other, names) in twice {
            let names = hostlist::fold_set(&names);
            let place = &words.place;
            self.faults.push(format!(
                "{place}: {names} is a NodeName in {other} already, for which slurmctld would end: \
                 remove one of them"
            ));
        }
    }

    fn take_partitions(&mut self, conf: &Conf) {
        let nodesets = self.nodesets(conf);
        let mut defaults = BTreeMap::new();
        for line in conf.all("PartitionName") {
            let mut keys = keys_of(line, &defaults);
            if line.value.eq_ignore_ascii_case(DEFAULT) {
                defaults = keys;
                continue;
            }
            let list = keys.remove("nodes").unwrap_or_default();
            let nodes = self.members(&list, &nodesets, &line.place());
            let words = self.partitions.entry(line.value.clone()).or_default();
            words.keys.extend(keys);
            words.is_vague |= nodes.is_none();
            words.nodes.extend(nodes.unwrap_or_default());
        }
    }

    /// `NodeSet=NAME Nodes=…`, and those by feature.
    fn nodesets(&self, conf: &Conf) -> BTreeMap<String, BTreeSet<NodeName>> {
        let mut nodesets: BTreeMap<String, BTreeSet<NodeName>> = BTreeMap::new();
        for line in conf.all("NodeSet") {
            let set = nodesets.entry(line.value.clone()).or_default();
            if let Some(names) = line.get("Nodes").and_then(|list| hostlist::expand(list).ok()) {
                set.extend(names);
            }
            if let Some(feature) = line.get("Feature") {
                let has = |words: &NodeWords| {
                    let features = words.keys.get("features").map_or("", String::as_str);
                    features.split(',').any(|one| one == feature)
                };
                set.extend(self.nodes.iter().filter(|(_, w)| has(w)).map(|(name, _)| name.clone()));
            }
        }
        nodesets
    }

    /// `None`: only slurmctld can tell (later versions have functions here).
    fn members(
        &mut self,
        list: &str,
        nodesets: &BTreeMap<String, BTreeSet<NodeName>>,
        place: &str,
    ) -> Option<BTreeSet<NodeName>> {
        if list.eq_ignore_ascii_case("ALL") {
            return Some(self.real().cloned().collect());
        }
        let names = hostlist::expand(list).ok()?;
        let mut members = BTreeSet::new();
        let mut unknown = Vec::new();
        for name in names {
            match nodesets.get(name.as_str()) {
                Some(set) => members.extend(set.iter().cloned()),
                None if self.nodes.contains_key(&name) => {
                    members.insert(name);
                }
                None => unknown.push(name),
            }
        }
        if !unknown.is_empty() {
            let unknown = hostlist::fold_set(&unknown);
            self.faults.push(format!(
                "{place}: {unknown} is neither a NodeName nor a NodeSet, for which slurmctld would \
                 end: take it out of the partition"
            ));
        }
        Some(members)
    }

    fn take_switches(&mut self, topology: &Conf) {
        for (place, file, why) in &topology.unreadable {
            self.faults.push(unreadable(place, file, why));
        }
        for key in ["SwitchName", "BlockName"] {
            for line in topology.all(key) {
                let names = line.get("Nodes").and_then(|list| hostlist::expand(list).ok());
                for name in names.unwrap_or_default() {
                    self.switches.insert(name, line.value.clone());
                }
            }
        }
    }
}

fn unreadable(place: &str, file: &Path, why: &str) -> String {
    format!("{place}: the included file {} cannot be read: {why}", file.display())
}

/// The pairs of a line in lower case, with the words of one meaning as one word.
fn keys_of(line: &ConfLine, defaults: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut keys = defaults.clone();
    keys.extend(line.more.iter().map(|(key, value)| {
        let key = match key.to_ascii_lowercase().as_str() {
            "feature" => "features".to_owned(),
            "procs" => "cpus".to_owned(),
            other => other.to_owned(),
        };
        (key, value.clone())
    }));
    keys
}

/// `Port=[7001-7004]` says something else of each node of the line.
fn counts_nodes(key: &str, value: &str) -> bool {
    ["nodeaddr", "nodehostname", "port", "bcastaddr"].contains(&key) && value.contains(['[', ','])
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn standing(text: &str, topology: &str) -> Standing {
        let conf = Conf::of_text(Path::new("slurm.conf"), text);
        Standing::of(&conf, Some(&Conf::of_text(Path::new("topology.conf"), topology)))
    }

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    #[test]
    fn nodes_partitions_switches_and_settings_are_taken_apart() {
        let standing = standing(
            "TreeWidth=65533\nNodeName=DEFAULT RealMemory=500\n\
             NodeName=a[1-2] Procs=4 Feature=x State=CLOUD Port=[1-2]\nNodeName=s1 State=FUTURE\n\
             NodeSet=aa Nodes=a[1-2]\nNodeSet=xx Feature=x\nPartitionName=DEFAULT MaxTime=1\n\
             PartitionName=p Nodes=aa,s1\nPartitionName=q Nodes=xx\nPartitionName=r Nodes=ALL\n\
             PartitionName=none\n",
            "SwitchName=left Nodes=a1\nSwitchName=root Switches=left\n",
        );
        assert_eq!(standing.faults, [""; 0]);
        let a1 = &standing.nodes[&node("a1")];
        assert_eq!((&*a1.keys["cpus"], &*a1.keys["realmemory"]), ("4", "500"));
        assert!(!a1.keys.contains_key("port") && !a1.is_spare);
        assert!(standing.nodes[&node("s1")].is_spare);
        let of = |name: &str| hostlist::fold_set(&standing.partitions[name].nodes);
        assert_eq!((of("p"), of("q"), of("r")), ("a[1-2],s1".into(), "a[1-2]".into(), of("q")));
        assert!(standing.partitions["none"].nodes.is_empty());
        assert_eq!(standing.partitions["p"].keys["maxtime"], "1");
        assert_eq!(standing.switches, [(node("a1"), "left".to_owned())].into());
        assert_eq!(standing.settings["TreeWidth"], "65533");
    }

    #[test]
    fn what_would_end_slurmctld_is_found_with_its_place() {
        let standing = standing(
            "NodeName=a[1-3]\nNodeName=a[3-4]\nPartitionName=p Nodes=a[1-5]\nNodeName=b[1\n\
             include gone.conf\n",
            "",
        );
        let faults = standing.faults.join("\n");
        assert_eq!(standing.faults.len(), 4, "{faults}");
        assert!(faults.contains("slurm.conf:2: a3 is a NodeName in slurm.conf:1 already"));
        assert!(faults.contains("slurm.conf:3: a5 is neither a NodeName nor a NodeSet"));
        assert!(faults.contains("slurm.conf:4: NodeName=b[1: "));
        assert!(faults.contains("gone.conf cannot be read"));
    }
}
