//! azslurm-nodes.conf: NodeName, NodeSet and PartitionName.

use std::fmt::Write as _;

use azslurm_core::config::{Config, Nodeset, Partition, Spill};
use azslurm_core::hostlist::fold_set;
use azslurm_core::{NodeName, NodesetName};

use super::{Around, NODES, NodeShape, Shapes, TAKES_NEW_NAMES, header, names};

/// Between two weights, so that a person has room for nodes of their own.
const WEIGHT_STEP: u64 = 10;
/// USD with as many decimals as Azure's list has for the cheapest sizes.
const PRICE_DECIMALS: usize = 4;

pub(super) fn text(config: &Config, shapes: &Shapes<'_>, around: &Around) -> String {
    let mut text = header(NODES);
    for (name, nodeset) in &config.nodesets {
        let shape = &shapes[name];
        let weight = nodeset.line.weight.unwrap_or_else(|| weight(config, shapes, name));
        text.push('\n');
        text.push_str(&comment((name, nodeset), shape));
        text.push_str(&node_line((name, nodeset), shape, weight));
        if around.version < TAKES_NEW_NAMES {
            text.push_str(&spare_line((name, nodeset), shape, weight));
        }
        writeln!(text, "NodeSet={name} Nodes={}", fold_set(&nodeset.nodes)).expect(TO_STRING);
    }
    text.push('\n');
    for (name, partition) in &config.partitions {
        writeln!(text, "PartitionName={name} {}", partition_line(config, partition))
            .expect(TO_STRING);
    }
    text
}

/// Why `write!` cannot fail.
const TO_STRING: &str = "a string takes everything";

fn comment((name, nodeset): (&NodesetName, &Nodeset), shape: &NodeShape) -> String {
    let spot = if nodeset.is_spot() { "Spot " } else { "" };
    let places = match (nodeset.spill, nodeset.sites.len()) {
        (Spill::Never, _) | (Spill::NextSite, 1) => names(nodeset.open_sites()),
        (Spill::NextSite, _) => format!("{}, in this order", names(nodeset.open_sites())),
    };
    let price = match shape.price {
        Some(price) => format!(", {price:.PRICE_DECIMALS$} USD an hour each"),
        None => String::new(),
    };
    format!(
        "# {name}: {} × {spot}{} with {} MB at {places}{price}\n",
        nodeset.nodes.len(),
        nodeset.sku,
        shape.memory_of_size_mb
    )
}

fn node_line((name, nodeset): (&NodesetName, &Nodeset), shape: &NodeShape, weight: u64) -> String {
    let mut line = line_of((name, nodeset), &nodeset.nodes, shape, weight) + " State=CLOUD";
    for option in &nodeset.line.options {
        write!(line, " {option}").expect(TO_STRING);
    }
    line + "\n"
}

/// Names that Slurm knows ahead. The values must be those that the nodes will have: a slurmctld
/// that cannot take names cannot take another number of CPUs either. Options that list something
/// for each node cannot be known for them.
fn spare_line((name, nodeset): (&NodesetName, &Nodeset), shape: &NodeShape, weight: u64) -> String {
    let spares: Vec<NodeName> =
        nodeset.line.spares.iter().filter(|node| !nodeset.nodes.contains(node)).cloned().collect();
    if spares.is_empty() {
        return String::new();
    }
    let mut line = line_of((name, nodeset), &spares, shape, weight) + " State=FUTURE";
    for option in nodeset.line.options.iter().filter(|option| !option.contains('[')) {
        write!(line, " {option}").expect(TO_STRING);
    }
    line + "\n"
}

fn line_of(
    (name, nodeset): (&NodesetName, &Nodeset),
    nodes: &[NodeName],
    shape: &NodeShape,
    weight: u64,
) -> String {
    let mut line = format!("NodeName={} CPUs={}", fold_set(nodes), shape.cpus);
    if let Some((sockets, cores, threads)) = shape.sockets {
        write!(line, " Sockets={sockets} CoresPerSocket={cores} ThreadsPerCore={threads}")
            .expect(TO_STRING);
    }
    write!(line, " RealMemory={}", shape.memory_mb).expect(TO_STRING);
    if !shape.gres.is_empty() {
        write!(line, " Gres={}", shape.gres.join(",")).expect(TO_STRING);
    }
    let features = features((name, nodeset), shape).join(",");
    write!(line, " Features={features} Weight={weight}").expect(TO_STRING);
    line
}

/// What a job can ask for by `--constraint`: the nodeset, the size, the region where there is one,
/// and what the person names.
pub(super) fn features(
    (name, nodeset): (&NodesetName, &Nodeset),
    shape: &NodeShape,
) -> Vec<String> {
    let mut features = vec![name.to_string(), nodeset.sku.as_str().to_ascii_lowercase()];
    if let [region] = shape.regions.as_slice() {
        features.push(region.clone());
    }
    if nodeset.is_spot() {
        features.push("spot".to_owned());
    }
    if !nodeset.blocks.is_empty() {
        features.push("infiniband".to_owned());
    }
    features.extend(nodeset.line.features.iter().cloned());
    let mut known = Vec::new();
    for feature in features {
        if !known.contains(&feature) {
            known.push(feature);
        }
    }
    known
}

/// Cheaper CPUs first; what has no known price comes last, in the order of names.
fn weight(config: &Config, shapes: &Shapes<'_>, name: &NodesetName) -> u64 {
    let per_cpu = |name: &NodesetName| {
        let shape = &shapes[name];
        shape.price.map(|price| price / f64::from(shape.cpus.max(1)))
    };
    let key = |name: &NodesetName| (per_cpu(name).unwrap_or(f64::INFINITY), name.clone());
    let ours = key(name);
    let before = config.nodesets.keys().filter(|other| {
        let theirs = key(other);
        theirs.0.total_cmp(&ours.0).then_with(|| theirs.1.cmp(&ours.1)).is_lt()
    });
    WEIGHT_STEP * (before.count() as u64 + 1)
}

fn partition_line(config: &Config, partition: &Partition) -> String {
    let nodesets: Vec<&str> = partition.nodesets.iter().map(NodesetName::as_str).collect();
    let mut line = format!("Nodes={}", nodesets.join(","));
    if partition.is_default {
        line.push_str(" Default=YES");
    }
    let idle = partition.suspend_time.unwrap_or(config.power.suspend_time);
    write!(line, " SuspendTime={}", idle.as_secs()).expect(TO_STRING);
    if let Some(nodes) = nodes_max(config, partition) {
        write!(line, " MaxNodes={nodes}").expect(TO_STRING);
    }
    for option in &partition.options {
        write!(line, " {option}").expect(TO_STRING);
    }
    line
}

/// A job of a partition of blocks has no more nodes than the smallest block that it might get.
/// Topologies alone do not keep it so: topology/block lets a larger job have several blocks, and
/// topology/tree one that is submitted with --contiguous or --spread-job (measured with 22.05 and
/// 24.11). What the person says counts; nodes without blocks would be limited for nothing.
fn nodes_max(config: &Config, partition: &Partition) -> Option<usize> {
    let is_said = |option: &String| option.to_ascii_lowercase().starts_with("maxnodes=");
    let nodesets = partition.nodesets.iter().map(|name| &config.nodesets[name]);
    let sizes: Vec<Option<usize>> = nodesets.map(largest_block).collect();
    let sizes: Option<Vec<usize>> = sizes.into_iter().collect();
    sizes?.into_iter().min().filter(|_| !partition.options.iter().any(is_said))
}

/// The nodes of a nodeset's largest block; `None` without blocks.
fn largest_block(nodeset: &Nodeset) -> Option<usize> {
    let count = |block: &u32| nodeset.nodes_of_block(*block).count();
    nodeset.blocks.first().map(count)
}
