//! May a change be made now? Total over what is done to a node, what slurmctld says of it and what
//! the ledger says of its VM; every cell is in `decide_matrix.txt`. What is unknown is never
//! touched.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::NodeName;
use azslurm_core::hostlist::fold_set;
use azslurm_core::node::{NodeBase, NodeFlag, NodeState};
use azslurm_slurm::SlurmVersion;

use super::standing::Standing;
use super::words::Words;
use crate::render::TAKES_NEW_NAMES;

/// A node that slurmctld describes, reduced to what a decision needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeSight {
    /// slurmctld has no such name.
    Absent,
    /// It has the name only.
    Spare,
    /// Powered down, or down without a job.
    Off,
    /// Up, without a job, and gets none.
    Drained,
    /// Up, without a job.
    Idle,
    /// It has a job, or one is being cleaned up.
    Busy,
    /// It is being powered up.
    Starting,
    /// It is being powered down.
    Stopping,
    /// slurmctld was not asked, because a person says that it is stopped.
    NotAsked,
    /// A state that we do not know.
    Odd,
}

/// What the ledger says of the VMs of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VmSight {
    /// None is left.
    None,
    /// At least one is there, is coming, or is being deleted.
    Living,
    /// The ledger cannot be read.
    Unknown,
}

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// It leaves, or becomes a spare.
    Leave,
    /// Another number of CPUs, sockets, cores, threads or Gres.
    Reshape,
    /// More memory than before.
    Enlarge,
    /// Another switch or block.
    Move,
}

/// Why not. The order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It has a job.
    HasJob,
    /// It is powering up for a job.
    IsStarting,
    /// It is powering down.
    IsStopping,
    /// It is up and may get a job at any moment.
    IsUp,
    /// Its VM is there.
    HasVm,
    /// What the ledger would say is not known.
    LedgerUnknown,
    /// What slurmctld says is not understood.
    StateUnknown,
    /// This slurmctld takes it at its start only.
    NeedsRestart,
    /// This slurmctld ends when it meets the name.
    NameIsNew,
    /// This slurmctld ends when it misses the name.
    NameIsMissing,
}

/// A node's state, reduced.
pub fn sight(state: &NodeState) -> NodeSight {
    let has = |flag: NodeFlag| state.has(&flag);
    match &state.base {
        NodeBase::Future => NodeSight::Spare,
        NodeBase::Unknown(_) => NodeSight::Odd,
        NodeBase::Allocated | NodeBase::Mixed => NodeSight::Busy,
        NodeBase::Idle | NodeBase::Down if has(NodeFlag::Completing) => NodeSight::Busy,
        NodeBase::Idle | NodeBase::Down if has(NodeFlag::PoweringUp) || has(NodeFlag::PowerUp) => {
            NodeSight::Starting
        }
        NodeBase::Idle | NodeBase::Down if has(NodeFlag::PoweringDown) => NodeSight::Stopping,
        NodeBase::Idle | NodeBase::Down if has(NodeFlag::PoweredDown) => NodeSight::Off,
        NodeBase::Down => NodeSight::Off,
        NodeBase::Idle if has(NodeFlag::Drain) => NodeSight::Drained,
        NodeBase::Idle => NodeSight::Idle,
    }
}

/// May this be done to a node? `is_old`: slurmctld takes names and numbers of CPUs at its start
/// only.
pub fn may(act: Act, is_old: bool, node: NodeSight, vm: VmSight) -> Option<Why> {
    let is_stopped = node == NodeSight::NotAsked;
    if act == Act::Reshape && is_old && !is_stopped && node != NodeSight::Absent {
        return Some(Why::NeedsRestart);
    }
    match (node, vm) {
        (NodeSight::Busy, _) => Some(Why::HasJob),
        (NodeSight::Starting, _) => Some(Why::IsStarting),
        (NodeSight::Stopping, _) => Some(Why::IsStopping),
        (NodeSight::Idle, _) => Some(Why::IsUp),
        (NodeSight::Odd, _) => Some(Why::StateUnknown),
        (NodeSight::Absent | NodeSight::Spare, VmSight::Unknown) if act != Act::Leave => None,
        (_, VmSight::Unknown) => Some(Why::LedgerUnknown),
        (_, VmSight::Living) => Some(Why::HasVm),
        (
            NodeSight::Absent
            | NodeSight::Spare
            | NodeSight::Off
            | NodeSight::Drained
            | NodeSight::NotAsked,
            VmSight::None,
        ) => None,
    }
}

/// Everything that was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The Slurm that runs.
    pub version: SlurmVersion,
    /// Every name that slurmctld has, those from `scontrol create` aside; `None`: a person says
    /// that it is stopped.
    pub nodes: Option<BTreeMap<NodeName, NodeSight>>,
    /// Those of them that are in no partition: they get no jobs.
    pub unused: BTreeSet<NodeName>,
    /// Jobs that have not ended, by partition.
    pub jobs: BTreeMap<String, usize>,
    /// Nodes with a VM that is not gone; `None`: the ledger cannot be read.
    pub vms: Option<BTreeSet<NodeName>>,
}

/// One thing that cannot be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Nodes, by what is wrong with them, or a partition.
    pub of: Refused,
    /// Sorted.
    pub nodes: Vec<NodeName>,
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// Nodes.
    Nodes(Act, Why),
    /// A partition that goes, and how many jobs are in it.
    Partition(String, usize),
}

/// The nodes that leave: by the files, or because slurmctld still has them as nodes. A node that an
/// old slurmctld keeps in no partition has left already.
pub fn leaving(words: &Words, new: &Standing, seen: &Seen) -> Vec<NodeName> {
    let mut leaving: BTreeSet<NodeName> = words.removed.iter().cloned().collect();
    leaving.extend(words.closed.iter().cloned());
    let known = seen.nodes.iter().flatten().filter(|(_, sight)| **sight != NodeSight::Spare);
    let goes = |name: &NodeName| match new.nodes.get(name) {
        None => true,
        Some(words) => words.is_spare && !seen.unused.contains(name),
    };
    leaving.extend(known.filter(|(name, _)| goes(name)).map(|(name, _)| name.clone()));
    leaving.into_iter().collect()
}

/// All refusals; none: it may be done now.
pub fn decide(words: &Words, new: &Standing, seen: &Seen) -> Vec<Refusal> {
    let is_old = seen.version < TAKES_NEW_NAMES;
    let mut found: BTreeMap<Refused, BTreeSet<NodeName>> = BTreeMap::new();
    let mut refuse = |act, why, node: &NodeName| {
        found.entry(Refused::Nodes(act, why)).or_default().insert(node.clone());
    };
    for (act, node) in acts(words, new, seen) {
        if let Some(why) = may(act, is_old, node_sight(seen, &node), vm_sight(seen, &node)) {
            refuse(act, why, &node);
        }
    }
    if let Some(known) = seen.nodes.as_ref().filter(|_| is_old) {
        for node in new.nodes.keys().filter(|name| !known.contains_key(*name)) {
            refuse(Act::Leave, Why::NameIsNew, node);
        }
        for node in known.keys().filter(|name| !new.nodes.contains_key(*name)) {
            refuse(Act::Leave, Why::NameIsMissing, node);
        }
    }
    let partitions = words.partitions_removed.iter().filter_map(|name| {
        let jobs = *seen.jobs.get(name)?;
        Some((Refused::Partition(name.clone(), jobs), BTreeSet::new()))
    });
    found.extend(partitions);
    let of = |(of, nodes): (_, BTreeSet<NodeName>)| Refusal { of, nodes: Vec::from_iter(nodes) };
    found.into_iter().map(of).collect()
}

/// What the change does to which node.
fn acts(words: &Words, new: &Standing, seen: &Seen) -> Vec<(Act, NodeName)> {
    let mut acts: Vec<(Act, NodeName)> =
        leaving(words, new, seen).into_iter().map(|node| (Act::Leave, node)).collect();
    for change in &words.keys {
        let act = match change.key.as_str() {
            "cpus" | "boards" | "sockets" | "socketsperboard" | "corespersocket"
            | "threadspercore" | "corespeccount" | "cpuspeclist" | "gres" => Act::Reshape,
            "realmemory" if grows(&change.old, &change.new) => Act::Enlarge,
            _ => continue,
        };
        acts.extend(change.nodes.iter().map(|node| (act, node.clone())));
    }
    let moved = words.moved.iter().flat_map(|(_, _, nodes)| nodes);
    acts.extend(moved.map(|node| (Act::Move, node.clone())));
    acts
}

fn grows(old: &Option<String>, new: &Option<String>) -> bool {
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u64>().ok());
    // Without a value Slurm counts one megabyte.
    number(new).unwrap_or(1) > number(old).unwrap_or(1)
}

fn node_sight(seen: &Seen, node: &NodeName) -> NodeSight {
    match &seen.nodes {
        None => NodeSight::NotAsked,
        Some(nodes) => nodes.get(node).copied().unwrap_or(NodeSight::Absent),
    }
}

fn vm_sight(seen: &Seen, node: &NodeName) -> VmSight {
    match &seen.vms {
        None => VmSight::Unknown,
        Some(vms) if vms.contains(node) => VmSight::Living,
        Some(_) => VmSight::None,
    }
}

impl Refusal {
    /// Whether it passes when new jobs are kept from the nodes, and time goes by.
    pub fn passes(&self) -> bool {
        match &self.of {
            Refused::Partition(..) => false,
            Refused::Nodes(Act::Reshape | Act::Enlarge | Act::Move, _) => false,
            Refused::Nodes(Act::Leave, why) => match why {
                Why::HasJob
                | Why::IsStarting
                | Why::IsStopping
                | Why::IsUp
                | Why::HasVm
                | Why::StateUnknown => true,
                Why::LedgerUnknown | Why::NeedsRestart | Why::NameIsNew | Why::NameIsMissing => {
                    false
                }
            },
        }
    }

    /// What is wrong and what to do.
    pub fn text(&self) -> String {
        let nodes = fold_set(&self.nodes);
        match &self.of {
            Refused::Partition(name, jobs) => format!(
                "partition {name} goes, and has {jobs} jobs, which Slurm would end or leave: \
                 `scontrol update partitionname={name} state=drain`, wait until `squeue -p {name}` \
                 is empty, and apply again"
            ),
            Refused::Nodes(act, why) => nodes_text(*act, *why, &nodes),
        }
    }
}

/// The reason that people are told to drain with. A node that comes back is freed of it.
pub const LEAVING: &str = "leaving";

fn nodes_text(act: Act, why: Why, nodes: &str) -> String {
    let does = match act {
        Act::Leave => "would leave Slurm",
        Act::Reshape => "would get other CPUs or Gres",
        Act::Enlarge => "would get more memory",
        Act::Move => "would move to another switch or block",
    };
    let drain = format!(
        "`scontrol update nodename={nodes} state=drain reason={LEAVING}`, wait until they have no \
         jobs (`squeue -w {nodes}`) and no VMs (they go SuspendTime after the last job), and apply \
         again{}",
        if act == Act::Leave { "; or let --wait do it" } else { "" }
    );
    match why {
        Why::HasJob => format!("{nodes} {does} and have jobs, which would be lost: {drain}"),
        Why::IsStarting => format!("{nodes} {does} and are powering up for jobs: {drain}"),
        Why::IsStopping => {
            format!("{nodes} {does} and are powering down: wait until they are off, apply again")
        }
        Why::IsUp => format!("{nodes} {does} and are up, so that jobs may begin there: {drain}"),
        Why::HasVm => format!(
            "{nodes} {does} and have VMs, or VMs that are not deleted yet: {drain}; `azslurm-sync \
             explain NODE` says what a VM waits for"
        ),
        Why::LedgerUnknown => format!(
            "{nodes} {does}, and the ledger cannot be read, so nobody knows whether they have VMs: \
             `azslurm-sync doctor` says what is wrong with it, `azslurm-sync rebuild` makes a new \
             one; then apply again"
        ),
        Why::StateUnknown => format!(
            "{nodes} {does}, and slurmctld shows them in a state that is unknown here (`scontrol \
             show node {nodes}`): apply again when it has passed"
        ),
        Why::NeedsRestart => format!(
            "{nodes} {does}, which slurmctld before 23.11 takes at its start only (a reconfigure \
             would leave it half done, measured): {STOPPED}"
        ),
        Why::NameIsNew => format!(
            "{nodes}: slurmctld before 23.11 has not begun with these names, and a reconfigure \
             with them would end it: {STOPPED}; `spare_nodes` of the nodeset keeps names ready for \
             the next time"
        ),
        Why::NameIsMissing => format!(
            "{nodes}: slurmctld before 23.11 has begun with these names, they are in no file any \
             more, and a reconfigure without them would end it: put their NodeName lines back with \
             State=FUTURE, or {STOPPED}"
        ),
    }
}

/// The way where there is none without a restart: running jobs live on.
const STOPPED: &str = "`systemctl stop slurmctld`, `azslurm-conf apply --slurmctld-stopped`, \
                       `systemctl start slurmctld` (running jobs go on meanwhile)";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use azslurm_slurm::Conf;

    use super::*;

    const SIGHTS: [NodeSight; 10] = [
        NodeSight::Absent,
        NodeSight::Spare,
        NodeSight::Off,
        NodeSight::Drained,
        NodeSight::Idle,
        NodeSight::Busy,
        NodeSight::Starting,
        NodeSight::Stopping,
        NodeSight::NotAsked,
        NodeSight::Odd,
    ];
    const VMS: [VmSight; 3] = [VmSight::None, VmSight::Living, VmSight::Unknown];
    const ACTS: [Act; 4] = [Act::Leave, Act::Reshape, Act::Enlarge, Act::Move];

    /// Every cell; read it in review. A failure prints what it has become.
    #[test]
    fn every_cell_is_as_the_matrix_says() {
        let word = |why: Option<Why>| why.map_or("yes".to_owned(), |why| format!("{why:?}"));
        let row = |(act, node): (Act, NodeSight)| {
            let cells = |is_old| VMS.map(|vm| word(may(act, is_old, node, vm))).join(" ");
            let (new, old) = (cells(false), cells(true));
            let old = if old == new { String::new() } else { format!(" | old: {old}") };
            format!("{act:?} {node:?}: {new}{old}\n")
        };
        let all = ACTS.iter().flat_map(|act| SIGHTS.iter().map(|node| (*act, *node)));
        let table: String = all.map(row).collect();
        let golden = include_str!("decide_matrix.txt");
        let rows = golden.split_inclusive('\n').filter(|line| !line.starts_with('#'));
        let golden: String = rows.collect();
        assert!(table == golden, "{table}");
    }

    #[test]
    fn what_has_a_job_or_a_vm_or_is_not_known_is_never_touched() {
        let pairs = ACTS.iter().flat_map(|act| [(*act, false), (*act, true)]);
        for (act, is_old) in pairs {
            let may = |node, vm| may(act, is_old, node, vm);
            let taken = [NodeSight::Busy, NodeSight::Starting, NodeSight::Odd];
            assert!(taken.iter().all(|node| VMS.iter().all(|vm| may(*node, *vm).is_some())));
            assert!(SIGHTS.iter().all(|node| may(*node, VmSight::Living).is_some()), "{act:?}");
        }
        let unknown = |is_old| move |node| may(Act::Leave, is_old, node, VmSight::Unknown);
        assert!(SIGHTS.into_iter().map(unknown(false)).all(|why| why.is_some()));
        assert!(SIGHTS.into_iter().map(unknown(true)).all(|why| why.is_some()));
    }

    #[test]
    fn states_of_slurm_are_reduced_to_sights() {
        for (state, expected) in [
            ("IDLE+CLOUD+POWERED_DOWN", NodeSight::Off),
            ("IDLE+CLOUD+POWERED_DOWN+DRAIN", NodeSight::Off),
            ("DOWN+CLOUD", NodeSight::Off),
            ("IDLE+CLOUD", NodeSight::Idle),
            ("IDLE+CLOUD+DRAIN", NodeSight::Drained),
            ("IDLE+CLOUD+COMPLETING", NodeSight::Busy),
            ("MIXED+CLOUD+POWERING_UP", NodeSight::Busy),
            ("ALLOCATED+CLOUD", NodeSight::Busy),
            ("IDLE+CLOUD+POWERING_UP", NodeSight::Starting),
            ("IDLE+CLOUD+POWERED_DOWN+POWER_UP", NodeSight::Starting),
            ("IDLE+CLOUD+POWERING_DOWN", NodeSight::Stopping),
            ("FUTURE", NodeSight::Spare),
            ("UNKNOWN+CLOUD", NodeSight::Odd),
        ] {
            let Ok(parsed) = state.parse();
            assert_eq!(sight(&parsed), expected, "{state}");
        }
    }

    fn standing(text: &str) -> Standing {
        Standing::of(&Conf::of_text(Path::new("slurm.conf"), text), None)
    }

    fn seen(version: SlurmVersion, nodes: &[(&str, NodeSight)]) -> Seen {
        let nodes = nodes.iter().map(|(name, sight)| (name.parse().unwrap(), *sight));
        Seen {
            version,
            nodes: Some(nodes.collect()),
            unused: BTreeSet::new(),
            jobs: BTreeMap::new(),
            vms: Some(BTreeSet::new()),
        }
    }

    const OLD: SlurmVersion = SlurmVersion::new(22, 5, 8);
    const NEW: SlurmVersion = SlurmVersion::new(24, 11, 5);

    fn told(old: &str, new: &str, seen: &Seen) -> Vec<String> {
        let (old, new) = (standing(old), standing(new));
        decide(&Words::between(&old, &new), &new, seen).iter().map(Refusal::text).collect()
    }

    #[test]
    fn each_group_of_nodes_is_refused_by_one_text_with_what_to_do() {
        let mut seen = seen(
            NEW,
            &[
                ("a1", NodeSight::Off),
                ("a2", NodeSight::Busy),
                ("a3", NodeSight::Busy),
                ("a4", NodeSight::Off),
                ("x1", NodeSight::Idle),
            ],
        );
        seen.vms.as_mut().unwrap().insert("a4".parse().unwrap());
        seen.jobs.insert("p".to_owned(), 3);
        let text = told(
            "NodeName=a[1-4] CPUs=1\nPartitionName=p Nodes=a[1-4]\nPartitionName=q Nodes=a1\n",
            "NodeName=a1 CPUs=2\n",
            &seen,
        );
        assert_eq!(text.len(), 4, "{text:#?}");
        assert!(text[0].starts_with("a[2-3] would leave Slurm and have jobs"), "{text:#?}");
        assert!(text[0].contains("`scontrol update nodename=a[2-3] state=drain reason=leaving`"));
        assert!(text[1].starts_with("x1 would leave Slurm and are up"), "only slurmctld has it");
        assert!(text[2].starts_with("a4 would leave Slurm and have VMs"), "{text:#?}");
        assert!(text[3].starts_with("partition p goes, and has 3 jobs"), "{text:#?}");
    }

    #[test]
    fn an_old_slurmctld_meets_no_name_that_it_does_not_know_and_misses_none() {
        let nodes = [("a1", NodeSight::Off), ("a2", NodeSight::Spare), ("a3", NodeSight::Off)];
        let now = "NodeName=a[1,3] CPUs=2\nNodeName=a2 CPUs=2 State=FUTURE\n";
        let opened = "NodeName=a[1-2] CPUs=2\nNodeName=a3 CPUs=2 State=FUTURE\n";
        assert_eq!(told(now, opened, &seen(OLD, &nodes)), [""; 0]);
        let text = told(now, "NodeName=a[1-2],a4 CPUs=2\n", &seen(OLD, &nodes));
        assert_eq!(text.len(), 2, "{text:#?}");
        assert!(text[0].starts_with("a4: slurmctld before 23.11 has not begun with these names"));
        assert!(text[1].starts_with("a3: slurmctld before 23.11 has begun with these names"));
        assert!(told(now, "NodeName=a[1-2],a4 CPUs=2\n", &seen(NEW, &nodes)).is_empty());
        let text = told(now, &opened.replace("CPUs=2", "CPUs=4"), &seen(OLD, &nodes));
        assert!(text[0].starts_with("a[1-2] would get other CPUs or Gres, which slurmctld"));
        // A node that has become a spare before is still shown by an old one, and has left.
        let mut later = seen(OLD, &nodes);
        later.unused.insert("a3".parse().unwrap());
        later.vms = None;
        assert_eq!(told(opened, opened, &later), [""; 0]);
    }

    #[test]
    fn more_memory_waits_for_the_vm_and_less_does_not() {
        let busy = seen(NEW, &[("a1", NodeSight::Busy)]);
        let of = |memory: u32| format!("NodeName=a1 RealMemory={memory}\n");
        assert!(told(&of(500), &of(400), &busy).is_empty());
        assert!(told(&of(500), &of(600), &busy)[0].contains("would get more memory and have jobs"));
    }
}
