//! The check before slurmd: does this VM share an InfiniBand partition with the nodes of its block
//! that are up? Nodes tell each other their keys in the `Comment` of their records, which every
//! version of Slurm keeps, and which neither states nor reasons depend on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use azslurm_core::decide::SlurmView;
use azslurm_core::infiniband::{PartitionKeys, differing, telling, told};
use azslurm_core::node::NodeBase;
use azslurm_core::{NodeName, block, hostlist};
use azslurm_program::exit::{self, Stop, chain_of};
use azslurm_program::view;
use azslurm_slurm::{Node, NodeVerb, Slurm, SlurmError, reason};
use clap::Args;
use tokio::time::{Instant, sleep};

use super::NodeArguments;

/// Code of the reasons.
const CODE: &str = "infiniband";
/// Between two looks at what is not there yet.
const POLL: Duration = Duration::from_secs(1);
/// A slurmctld that is restarted or overloaded answers within that; without one slurmd could not
/// register either.
const SLURM_TIME_MAX: Duration = Duration::from_secs(300);

/// Why slurmd must not start.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("node {node} is not among --nodes {nodes}: compare azslurm.toml")]
    NotOfNodes { node: NodeName, nodes: String },
    #[error("slurmctld does not know node {node}: compare slurm.conf, or name it with --node")]
    NotInSlurm { node: NodeName },
    #[error("{text}: InfiniBand would not reach, and slurmd must not start{kept}")]
    Refused { text: String, kept: &'static str },
}

/// The command line of `check-infiniband`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: NodeArguments,
    /// `nodes` of this node's nodeset in azslurm.toml; without it nothing is checked
    #[arg(long, value_name = "HOSTLIST", requires = "block_nodes")]
    nodes: Option<String>,
    /// `block_nodes` of this node's nodeset in azslurm.toml
    #[arg(long, value_name = "NUMBER", requires = "nodes",
        value_parser = clap::value_parser!(u32).range(1..=200))]
    block_nodes: Option<u32>,
    /// Where sysfs is
    #[arg(long, value_name = "DIR", default_value = "/sys")]
    sysfs: PathBuf,
    /// How long to wait for the InfiniBand devices, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// Checks, and tells slurmctld what it found.
pub(super) async fn check(arguments: &Arguments) -> Result<u8, Stop> {
    let (Some(nodes), Some(size)) = (&arguments.nodes, arguments.block_nodes) else {
        tracing::info!("no --nodes and --block-nodes: this node needs no InfiniBand check");
        return Ok(exit::DONE);
    };
    let node = arguments.node.name()?;
    let nodes = hostlist::expand(nodes).map_err(Stop::cannot_start)?;
    let block = block_of(&node, nodes, size).map_err(Stop::cannot_start)?;
    let slurm = arguments.node.slurm();
    let keys = keys(&arguments.sysfs, Duration::from_secs(arguments.wait)).await;
    let told = block_told(&slurm, &block).await.map_err(Stop::failed)?;
    let Some(own) = told.iter().find(|one| one.name == node) else {
        return Err(Stop::failed(CheckError::NotInSlurm { node }));
    };
    let Some(keys) = keys else {
        let devices = arguments.sysfs.join("class/infiniband");
        let text = format!("{node} has no partition key of a tenant in {}", devices.display());
        return refuse(&slurm, own, &text).await;
    };
    if let Some((other, its)) = differing(&keys, &peers(&told, &node)) {
        let text = format!("{node} has partition key {keys} and {other} of its block has {its}");
        return refuse(&slurm, own, &text).await;
    }
    let comment = telling(own.comment.as_deref(), &keys);
    if own.comment.as_deref() != Some(comment.as_str()) {
        slurm.comment_node(&node, &comment).await.map_err(Stop::failed)?;
    }
    tracing::info!(%node, %keys, "the InfiniBand partition is that of the block");
    Ok(exit::DONE)
}

/// The nodes of this node's block, itself among them.
fn block_of(
    node: &NodeName,
    mut nodes: Vec<NodeName>,
    size: u32,
) -> Result<Vec<NodeName>, CheckError> {
    nodes.sort();
    nodes.dedup();
    let blocks = block::numbers(&nodes, size);
    let own = nodes.iter().zip(&blocks).find(|(one, _)| *one == node).map(|(_, block)| *block);
    let Some(own) = own else {
        let nodes = hostlist::fold_sorted(&nodes);
        return Err(CheckError::NotOfNodes { node: node.clone(), nodes });
    };
    let of_block = nodes.into_iter().zip(blocks).filter(|(_, block)| *block == own);
    Ok(of_block.map(|(node, _)| node).collect())
}

/// Keys of the others that are up: what a node tells that is off or booting is of an earlier VM.
fn peers(told_nodes: &[Node], node: &NodeName) -> Vec<(NodeName, PartitionKeys)> {
    let is_up = |one: &&Node| one.name != *node && view::of(one) == SlurmView::Up;
    let with_keys = told_nodes.iter().filter(is_up);
    with_keys.filter_map(|one| Some((one.name.clone(), told(one.comment.as_deref())?))).collect()
}

async fn block_told(slurm: &Slurm, block: &[NodeName]) -> Result<Vec<Node>, SlurmError> {
    let until = Instant::now() + SLURM_TIME_MAX;
    loop {
        match slurm.nodes_named(block).await {
            Err(error) if error.is_passing() && Instant::now() < until => {
                tracing::warn!("{}; asked again", chain_of(&error));
                sleep(POLL).await;
            }
            answer => return answer,
        }
    }
}

/// Sets the node down: the next pass deletes the VM and gives the node back. A person's word stays.
async fn refuse(slurm: &Slurm, own: &Node, text: &str) -> Result<u8, Stop> {
    let node = std::slice::from_ref(&own.name);
    let is_closed = own.state.base == NodeBase::Down || view::is_closing_by_person(own);
    if !is_closed {
        let reason = reason::reason(CODE, text, None);
        slurm.update(node, NodeVerb::Down, Some(&reason)).await.map_err(Stop::failed)?;
    }
    let kept = if is_closed { "; the node is closed already and stays as it is" } else { "" };
    Err(Stop::failed(CheckError::Refused { text: text.to_owned(), kept }))
}

/// The keys of all ports, once there are any.
async fn keys(sysfs: &Path, wait: Duration) -> Option<PartitionKeys> {
    let until = Instant::now() + wait;
    loop {
        let texts = texts(&sysfs.join("class/infiniband"));
        let keys = PartitionKeys::of_tenant(texts.iter().map(String::as_str));
        if keys.is_some() || Instant::now() >= until {
            return keys;
        }
        sleep(POLL).await;
    }
}

/// What the files of partition keys hold, of the first port of every device: it has no other in
/// Azure.
fn texts(devices: &Path) -> Vec<String> {
    let devices = fs::read_dir(devices).into_iter().flatten().flatten();
    let files = devices
        .flat_map(|device| ["0", "1"].map(|index| device.path().join("ports/1/pkeys").join(index)));
    files.filter_map(|file| fs::read_to_string(file).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_that_of_the_config() {
        let nodes = hostlist::expand("hb-[1-10]").unwrap();
        let of = |name: &str| {
            let block = block_of(&name.parse().unwrap(), nodes.clone(), 4);
            block.map(|block| hostlist::fold_sorted(&block))
        };
        assert_eq!(of("hb-2").unwrap(), "hb-[1-4]");
        assert_eq!(of("hb-10").unwrap(), "hb-[9-10]");
        assert!(of("hb-11").unwrap_err().to_string().contains("hb-11"));
    }
}
