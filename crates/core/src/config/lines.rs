//! What slurm.conf is to say: `[power]`, `[partition.NAME]` and the keys of `[nodeset.NAME]` for
//! its node line. The programs that slurmctld calls need none of it; `azslurm-conf` writes it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::service::rule;
use super::{across, keys};
use crate::{NodeName, NodesetName, PartitionName};

/// Slurm keeps it as a signed number of seconds; a month of idling is no power saving.
const SUSPEND_TIME_SECONDS: RangeInclusive<u64> = 1..=2_592_000;
/// SuspendTimeout is kept in 16 bits (`slurm_conf_t`, `suspend_timeout`).
const SUSPEND_TIMEOUT_SECONDS: RangeInclusive<u64> = 1..=65_533;
/// Slurm's own range (slurm.conf(5), Weight).
const WEIGHT: RangeInclusive<u64> = 1..=4_294_967_280;
/// No VM has a tenth of it (16 TB).
const REAL_MEMORY_MB: RangeInclusive<u64> = 1..=100_000_000;
/// No VM has as many; Slurm keeps CPUs in 16 bits.
const CPUS: RangeInclusive<u64> = 1..=65_535;
/// More is no margin but another size.
const MARGIN_PERCENT: RangeInclusive<u64> = 0..=50;
/// Slurm's own names and ours: what azslurm writes on the line itself.
const PARTITION_BANNED: [&str; 4] = ["partitionname", "nodes", "default", "suspendtime"];
const NODE_BANNED: [&str; 11] = [
    "nodename",
    "cpus",
    "sockets",
    "corespersocket",
    "threadspercore",
    "realmemory",
    "gres",
    "feature",
    "features",
    "weight",
    "state",
];

/// `[power]`: power saving in slurm.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Power {
    /// `suspend_time_seconds`: SuspendTime of the partitions that say nothing else. Default 600.
    pub suspend_time: Duration,
    /// `suspend_timeout_seconds`: SuspendTimeout. Default 300.
    pub suspend_timeout: Duration,
    /// `program_dir`: where slurmctld finds azslurm-resume and the others. Default `/usr/sbin`.
    pub program_dir: PathBuf,
}

/// `topology` of `[slurm]`: how Slurm is kept from running a job over two InfiniBand blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// `topology/tree`: each block is a leaf switch without a common root.
    Tree,
    /// `topology/block` (Slurm 23.11 and later).
    Block,
}

/// What a nodeset says about its line in slurm.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLine {
    /// `features`: Slurm's Features, behind those that azslurm gives.
    pub features: Vec<String>,
    /// `weight`: Slurm's Weight; `None`: by price and order.
    pub weight: Option<u64>,
    /// `cpus`: fewer than the size has; `None`: all.
    pub cpus: Option<u32>,
    /// `real_memory_mb`: RealMemory; `None`: the size's less the margin.
    pub real_memory_mb: Option<u64>,
    /// `memory_margin_percent`: what the guest sees less than the size has. Default 5.
    pub memory_margin_percent: u32,
    /// `gres`: Slurm's Gres, in place of `gpu:N` of the size; empty: the size's.
    pub gres: Vec<String>,
    /// `node_options`: further `Key=Value` for the line.
    pub options: Vec<String>,
    /// `spare_nodes`: names that Slurm knows ahead, those that are nodes already among them or not.
    pub spares: Vec<NodeName>,
}

/// `[partition.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// `nodesets`.
    pub nodesets: Vec<NodesetName>,
    /// `default`: Slurm's Default=YES.
    pub is_default: bool,
    /// `suspend_time_seconds`; `None`: that of `[power]`.
    pub suspend_time: Option<Duration>,
    /// `options`: further `Key=Value` for the line.
    pub options: Vec<String>,
}

pub(super) fn power(section: &Section<'_>) -> Power {
    Power {
        suspend_time: section.seconds("suspend_time_seconds", 600, SUSPEND_TIME_SECONDS),
        suspend_timeout: section.seconds("suspend_timeout_seconds", 300, SUSPEND_TIMEOUT_SECONDS),
        program_dir: section.path_or("program_dir", "/usr/sbin"),
    }
}

pub(super) fn topology(slurm: &Section<'_>) -> Topology {
    let kinds = [("tree", Topology::Tree), ("block", Topology::Block)];
    slurm.choice("topology", &kinds).unwrap_or(Topology::Tree)
}

/// The keys of a nodeset for its node line; `None`: something is wrong with them.
pub(super) fn node_line(table: &Section<'_>) -> Option<NodeLine> {
    let number = |key, allowed| table.number(key, allowed);
    let small = |key, allowed| number(key, allowed).and_then(|number| u32::try_from(number).ok());
    Some(NodeLine {
        features: table.list("features", feature)?,
        weight: number("weight", WEIGHT),
        cpus: small("cpus", CPUS),
        real_memory_mb: number("real_memory_mb", REAL_MEMORY_MB),
        memory_margin_percent: small("memory_margin_percent", MARGIN_PERCENT).unwrap_or(5),
        gres: table.list("gres", gres)?,
        options: table.list("node_options", |text| option(text, &NODE_BANNED))?,
        spares: across::spares(table)?,
    })
}

/// All partitions; without any, each nodeset is one of its own name. `None`: something is wrong.
pub(super) fn partitions(
    root: &Section<'_>,
    nodesets: &[NodesetName],
) -> Option<BTreeMap<PartitionName, Partition>> {
    let tables = root.named_tables("partition");
    if tables.is_empty() {
        return Some(nodesets.iter().filter_map(of_nodeset).collect());
    }
    let mut partitions = BTreeMap::new();
    let mut default: Option<&str> = None;
    for (name, table) in &tables {
        let partition = partition(table, nodesets);
        let is_default = partition.as_ref().is_some_and(|partition| partition.is_default);
        if let Some(other) = default.filter(|_| is_default) {
            table.fault("default", format!("is true for {other} too: Slurm has one default"));
        }
        default = default.or(is_default.then_some(name.value));
        match (name.value.parse::<PartitionName>(), partition) {
            (Ok(name), Some(partition)) => {
                partitions.insert(name, partition);
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                root.fault_at(&name.place, format!("{:?} {}", name.value, rule(error)));
            }
        }
    }
    (partitions.len() == tables.len()).then_some(partitions)
}

fn of_nodeset(name: &NodesetName) -> Option<(PartitionName, Partition)> {
    let partition = Partition {
        nodesets: vec![name.clone()],
        is_default: false,
        suspend_time: None,
        options: Vec::new(),
    };
    Some((name.as_str().parse().ok()?, partition))
}

fn partition(table: &Section<'_>, nodesets: &[NodesetName]) -> Option<Partition> {
    let names: Vec<&str> = nodesets.iter().map(NodesetName::as_str).collect();
    let known = |text: &str| {
        if let Some(name) = nodesets.iter().find(|name| name.as_str() == text) {
            return Ok(name.clone());
        }
        Err(match keys::nearest(text, names.iter().copied()) {
            Some(meant) => format!("is not a nodeset: did you mean {meant:?}?"),
            None => format!("is not a nodeset: there are {}", names.join(", ")),
        })
    };
    let suspend_time = table.number("suspend_time_seconds", SUSPEND_TIME_SECONDS);
    Some(Partition {
        nodesets: table.needed_list("nodesets", known)?,
        is_default: table.flag("default", false),
        suspend_time: suspend_time.map(Duration::from_secs),
        options: table.list("options", |text| option(text, &PARTITION_BANNED))?,
    })
}

/// A feature goes unquoted into a list that commas separate.
fn feature(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "_-.:=".contains(c);
    match !text.is_empty() && text.len() <= 64 && text.chars().all(is_good) {
        true => Ok(text.to_owned()),
        false => Err("is not a feature: letters, digits and _-.:= at most 64".to_owned()),
    }
}

/// `gpu:h100:8`.
fn gres(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_word = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    let is_counted = parts.last().is_some_and(|count| count.parse::<u32>().is_ok());
    match (2..=3).contains(&parts.len()) && parts.iter().all(is_word) && is_counted {
        true => Ok(text.to_owned()),
        false => Err("is not a gres: NAME:COUNT or NAME:TYPE:COUNT, such as gpu:h100:8".to_owned()),
    }
}

/// `MaxTime=1-00:00:00`. It is one pair of a line, and nothing that azslurm says itself.
fn option(text: &str, banned: &[&str]) -> Result<String, String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("is not Key=Value, such as MaxTime=1-00:00:00".to_owned());
    };
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric());
    let is_value =
        !value.is_empty() && !value.chars().any(|c| c.is_whitespace() || "#\\\"".contains(c));
    if !is_key || !is_value {
        return Err("is not Key=Value without blanks, quotes, # and \\".to_owned());
    }
    match banned.iter().find(|banned| key.eq_ignore_ascii_case(banned)) {
        Some(_) => Err(format!("sets {key}, which azslurm writes itself")),
        None => Ok(text.to_owned()),
    }
}
