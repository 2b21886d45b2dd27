//! A node as slurmctld describes it (`scontrol -a show nodes -o`).

use std::sync::Arc;

use azslurm_core::node::NodeState;
use azslurm_core::{NodeName, Timestamp};

use crate::record::{Grammar, Parser, split, timestamp};

/// A node of the cluster, ours or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `NodeName`.
    pub name: NodeName,
    /// `State`.
    pub state: NodeState,
    /// `Reason`, without the `[user@time]` behind it.
    pub reason: Option<String>,
    /// `Comment`: an administrator's words, or ours.
    pub comment: Option<String>,
    /// When the reason was set.
    pub reason_at: Option<Timestamp>,
    /// `Partitions`; nodes that are in the same ones share the list.
    pub partitions: Arc<[String]>,
    /// `CPUTot`.
    pub cpus: Option<u64>,
    /// `RealMemory`, in MB.
    pub real_memory_mb: Option<u64>,
    /// `Weight`.
    pub weight: Option<u64>,
}

/// What an output of `show nodes` held.
#[derive(Debug, Default)]
pub(crate) struct NodeListing {
    pub(crate) nodes: Vec<Node>,
    /// Records that could not be read, as they were, and lines that belong to none.
    pub(crate) odd: Vec<String>,
}

/// Free text comes from people and from other machines; the keys that may follow each are those of
/// `slurm_sprint_node_table()`, 22.05 to 26.05.
const GRAMMAR: Grammar = Grammar {
    free: &["OS", "Gres", "GresDrain", "GresUsed", "Comment", "Extra", "Reason", "InstanceId"],
    known: &[
        "RealMemory",
        "NodeAddr",
        "NodeHostName",
        "Port",
        "Version",
        "State",
        "Comment",
        "Extra",
        "InstanceId",
        "InstanceType",
        "Reason",
        "ExtSensorsJoules",
        "CurrentWatts",
        "AveWatts",
        "Reservation",
        "ReservationName",
        "ResumeAfterTime",
        "Partitions",
        "GresDrain",
        "GresUsed",
        "OS",
        "Topology",
    ],
    wanted: &[
        "NodeName",
        "State",
        "Reason",
        "Comment",
        "Partitions",
        "CPUTot",
        "RealMemory",
        "Weight",
    ],
};

/// scontrol's words when there is nothing to show.
const NO_NODES: &str = "No nodes in the system";

pub(crate) fn read(output: &str) -> NodeListing {
    let (records, before) = split(output, "NodeName");
    let mut listing = NodeListing::default();
    let is_odd = |line: &&str| {
        line.trim() != NO_NODES && !(line.starts_with("Node ") && line.ends_with(" not found"))
    };
    listing.odd.extend(before.into_iter().filter(is_odd).map(str::to_owned));
    listing.nodes.reserve(records.len());
    let mut reader = Reader::new();
    for record in &records {
        match reader.read(record) {
            Some(node) => listing.nodes.push(node),
            None => listing.odd.push(record.to_string()),
        }
    }
    listing
}

/// Reads the nodes of one output.
struct Reader<'a> {
    parser: Parser<'a>,
    /// The partitions of the node before.
    partitions: (&'a str, Arc<[String]>),
}

impl<'a> Reader<'a> {
    fn new() -> Reader<'a> {
        Reader { parser: Parser::new(&GRAMMAR), partitions: ("", Arc::default()) }
    }

    /// A node needs a name and a state to be of use; all else may be missing.
    fn read(&mut self, line: &'a str) -> Option<Node> {
        let record = self.parser.parse(line);
        let Ok(state) = record.get("State")?.parse::<NodeState>();
        let (reason, stamp) = split_stamp(record.get("Reason").unwrap_or(""));
        let number = |key: &str| record.get(key)?.parse().ok();
        let partitions = record.get("Partitions").unwrap_or("");
        if partitions != self.partitions.0 {
            let words = partitions.split(',').filter(|word| !word.is_empty());
            self.partitions = (partitions, words.map(str::to_owned).collect());
        }
        Some(Node {
            name: record.get("NodeName")?.parse().ok()?,
            state,
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            comment: record.get("Comment").map(str::to_owned),
            reason_at: stamp.and_then(|(_, at)| timestamp(at)),
            partitions: Arc::clone(&self.partitions.1),
            cpus: number("CPUTot"),
            real_memory_mb: number("RealMemory"),
            weight: number("Weight"),
        })
    }
}

/// A reason, and the `user@time` that scontrol prints behind it in brackets.
pub(crate) fn split_stamp(reason: &str) -> (&str, Option<(&str, &str)>) {
    let reason = reason.trim();
    let stamp = reason.strip_suffix(']').and_then(|rest| rest.rsplit_once('['));
    match stamp.and_then(|(text, stamp)| Some((text, stamp.rsplit_once('@')?))) {
        Some((text, stamp)) => (text.trim_end(), Some(stamp)),
        None => (reason, None),
    }
}

#[cfg(test)]
mod tests {
    use azslurm_core::node::{NodeBase, NodeFlag};

    use super::*;

    const CAPTURES: [(&str, &str); 3] = [
        ("22.05.8", include_str!("../testdata/22.05.8/scontrol-show-nodes-o.txt")),
        ("24.11.5", include_str!("../testdata/24.11.5/scontrol-show-nodes-o.txt")),
        ("26.05.5", include_str!("../testdata/26.05.5/scontrol-show-nodes-o.txt")),
    ];

    const STATES: [&str; 3] = [
        include_str!("../testdata/22.05.8/states.log"),
        include_str!("../testdata/24.11.5/states.log"),
        include_str!("../testdata/26.05.5/states.log"),
    ];

    fn one(line: &str) -> Node {
        Reader::new().read(line).unwrap_or_else(|| panic!("unreadable: {line}"))
    }

    #[test]
    fn captures_of_three_versions_say_the_same() {
        for (version, text) in CAPTURES {
            let listing = read(text);
            assert!(listing.odd.is_empty(), "{version}: {:?}", listing.odd);
            let nodes = listing.nodes;
            assert_eq!(nodes.len(), 16, "{version}");
            let up = &nodes[0];
            assert_eq!(up.name.as_str(), "n1");
            assert_eq!(up.state.to_string(), "MIXED+CLOUD");
            assert_eq!(up.reason, None);
            assert_eq!(*up.partitions, ["debug"]);
            assert!(up.cpus.is_some() && up.real_memory_mb.is_some() && up.weight.is_some());
            let booting = &nodes[1];
            assert!(booting.state.has(&NodeFlag::PoweringUp));
            let down = &nodes[4];
            assert_eq!(down.state.base, NodeBase::Down);
            assert_eq!(down.reason.as_deref(), Some("azure quota"));
            assert!(down.reason_at.unwrap().to_string().starts_with("2026-11-21T01:51:1"));
        }
    }

    #[test]
    fn every_state_that_was_ever_measured_is_understood() {
        let mut seen = 0;
        for log in STATES {
            for line in log.lines() {
                let Some(state) = line.split('|').nth(1).filter(|word| word.contains("CLOUD"))
                else {
                    continue;
                };
                let node = one(&format!("NodeName=n1 Arch=x State={state} ThreadsPerCore=1"));
                assert_eq!(node.state.unknown_words(), Vec::<&str>::new(), "{line}");
                seen += 1;
            }
        }
        assert!(seen > 90, "{seen}");
    }

    /// T21: a `=` inside a node's field, a node that is not ours and an extra partition stopped a
    /// daemon.
    #[test]
    fn foreign_nodes_and_equal_signs_stop_nothing() {
        let listing = read(
            "NodeName=login.example Gres=gpu:a100:4(S:0-1) NodeAddr=login.example \
             State=IDLE Partitions=extra,debug Extra={\"a\":\"k=v State=DOWN\"} \
             Reason=see http://x/?id=1 [bob@2026-11-21T01:51:12]\n\
             NodeName=n2 Comment=was DOWN, State=IDLE+DRAIN later State=DOWN+CLOUD Reason=a=b c=d\n\
             NodeName=n3 State=IDLE+CLOUD Weight=1\n",
        );
        assert!(listing.odd.is_empty(), "{:?}", listing.odd);
        let [login, n2, n3] = listing.nodes.as_slice() else { panic!("{listing:?}") };
        assert_eq!(login.state.to_string(), "IDLE");
        assert_eq!(*login.partitions, ["extra", "debug"]);
        assert_eq!(login.reason.as_deref(), Some("see http://x/?id=1"));
        assert!(login.reason_at.is_some());
        assert_eq!(n2.reason.as_deref(), Some("a=b c=d"));
        assert_eq!(n3.state.to_string(), "IDLE+CLOUD");
    }

    /// T22: columns out of step moved states to the next node.
    #[test]
    fn a_node_without_a_state_does_not_take_its_neighbours() {
        let listing = read(
            "NodeName=n1 State=IDLE+CLOUD Reason=two\nlines [root@2026-11-21T01:51:12]\n\
             NodeName=n2 CPUTot=2\n\
             NodeName= State=IDLE\n\
             NodeName=n3 State=DOWN+CLOUD\n",
        );
        let seen: Vec<(&str, String)> =
            listing.nodes.iter().map(|node| (node.name.as_str(), node.state.to_string())).collect();
        assert_eq!(seen, [("n1", "IDLE+CLOUD".to_owned()), ("n3", "DOWN+CLOUD".to_owned())]);
        assert_eq!(listing.nodes[0].reason.as_deref(), Some("two lines"));
        assert_eq!(listing.odd, ["NodeName=n2 CPUTot=2", "NodeName= State=IDLE"]);
    }

    #[test]
    fn words_and_keys_of_a_future_version_are_kept_or_passed_over() {
        let node =
            one("NodeName=n1 Shiny=yes State=IDLE+CLOUD+HIBERNATED NewKey=a b c Partitions=p");
        assert_eq!(node.state.unknown_words(), ["HIBERNATED"]);
        assert_eq!(*node.partitions, ["p"]);
    }

    #[test]
    fn no_nodes_are_no_nodes() {
        let listing = read("No nodes in the system\n");
        assert!(listing.nodes.is_empty() && listing.odd.is_empty());
        assert!(read("Node n9 not found\n").odd.is_empty());
        assert_eq!(read("what is this\n").odd, ["what is this"]);
    }

    #[test]
    fn a_bracket_in_a_reason_is_not_a_stamp() {
        assert_eq!(split_stamp("a [b]"), ("a [b]", None));
        assert_eq!(split_stamp("n[1-2] bad [root@T]"), ("n[1-2] bad", Some(("root", "T"))));
    }
}
