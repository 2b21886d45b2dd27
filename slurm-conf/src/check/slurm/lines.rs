//! Lines of slurm.conf that define nodes and partitions, with the defaults that apply to them.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::{NodeName, hostlist};
use azslurm_slurm::{Conf, ConfLine};

/// `NodeName=DEFAULT` holds for all lines below it.
const DEFAULT: &str = "DEFAULT";

/// A line and what holds for it.
#[derive(Debug, Clone)]
pub struct Line<'c> {
    /// The line.
    pub line: &'c ConfLine,
    /// The names in it, as far as they can be read.
    pub names: Vec<NodeName>,
    values: BTreeMap<String, &'c str>,
}

impl Line<'_> {
    /// A value of it, or of its defaults.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(&key.to_ascii_lowercase()).copied()
    }

    /// Every key of it in lower case, defaults too.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), *value))
    }

    /// Whether its nodes are names that are kept ready, and no nodes yet.
    pub fn is_future(&self) -> bool {
        self.get("State").is_some_and(|state| state.eq_ignore_ascii_case("FUTURE"))
    }

    /// A number of it.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }
}

/// All lines of a key, with their defaults.
pub fn lines<'c>(conf: &'c Conf, key: &'c str) -> Vec<Line<'c>> {
    let mut defaults: BTreeMap<String, &'c str> = BTreeMap::new();
    let mut lines = Vec::new();
    for line in conf.all(key) {
        let own = line.more.iter().map(|(key, value)| (key.to_ascii_lowercase(), value.as_str()));
        if line.value.eq_ignore_ascii_case(DEFAULT) {
            defaults.extend(own);
            continue;
        }
        let mut values = defaults.clone();
        values.extend(own);
        let names = hostlist::expand(&line.value).unwrap_or_default();
        lines.push(Line { line, names, values });
    }
    lines
}

/// All nodes that a conf defines, each with the places of its lines.
pub fn places_of_nodes(lines: &[Line<'_>]) -> BTreeMap<NodeName, Vec<String>> {
    let mut places: BTreeMap<NodeName, Vec<String>> = BTreeMap::new();
    for line in lines {
        for name in &line.names {
            places.entry(name.clone()).or_default().push(line.line.place());
        }
    }
    places
}

/// The nodes that a partition's `Nodes` means: host lists, `ALL`, and names of NodeSets.
pub fn nodes_of(conf: &Conf, defined: &BTreeSet<NodeName>, list: &str) -> BTreeSet<NodeName> {
    let mut nodes = BTreeSet::new();
    for name in hostlist::expand(list).unwrap_or_default() {
        if name.as_str().eq_ignore_ascii_case("ALL") {
            nodes.extend(defined.iter().cloned());
            continue;
        }
        let set = conf.all("NodeSet").find(|line| line.value == name.as_str());
        match set {
            Some(set) => {
                let list = set.get("Nodes").unwrap_or_default();
                nodes.extend(hostlist::expand(list).unwrap_or_default());
                nodes.extend(with_feature(conf, set.get("Feature")));
            }
            None => {
                nodes.insert(name);
            }
        }
    }
    nodes
}

fn with_feature(conf: &Conf, feature: Option<&str>) -> Vec<NodeName> {
    let Some(feature) = feature else { return Vec::new() };
    let has_it = |line: &Line<'_>| {
        let features = line.get("Features").or(line.get("Feature")).unwrap_or_default();
        features.split(',').any(|one| one == feature)
    };
    lines(conf, "NodeName").into_iter().filter(has_it).flat_map(|line| line.names).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn defaults_hold_below_their_line_and_sets_are_their_nodes() {
        let text = "NodeName=a1 CPUs=2\nNodeName=DEFAULT CPUs=4 State=CLOUD\nNodeName=b[1-2] \
            Features=x,y\nNodeSet=s Nodes=a1\nNodeSet=t Feature=y\n";
        let conf = Conf::of_text(Path::new("/s.conf"), text);
        let lines = lines(&conf, "nodename");
        assert_eq!((lines[0].number("cpus"), lines[0].get("State")), (Some(2), None));
        assert_eq!((lines[1].number("CPUs"), lines[1].get("state")), (Some(4), Some("CLOUD")));
        let places = places_of_nodes(&lines);
        let defined: BTreeSet<NodeName> = places.keys().cloned().collect();
        let of = |list: &str| hostlist::fold_set(&nodes_of(&conf, &defined, list));
        assert_eq!(of("ALL"), "a1,b[1-2]");
        assert_eq!(of("s,b2"), "a1,b2");
        assert_eq!(of("t"), "b[1-2]");
    }
}
