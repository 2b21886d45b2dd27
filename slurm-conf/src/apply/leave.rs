//! Keeping new jobs from nodes that leave, until they are free: no job begins between the last look
//! and the reconfigure.

use std::time::{Duration, Instant};

use azslurm_core::NodeName;
use azslurm_core::hostlist::fold_set;
use azslurm_core::node::{NodeBase, NodeFlag};
use azslurm_program::exit;
use azslurm_slurm::{Node, NodeVerb};

use super::prepare::Prepared;
use super::{ApplyError, Asked, look, refusals};
use crate::change::decide::{LEAVING, NodeSight, leaving, sight};
use crate::change::{Refusal, Seen};

/// Between two looks at what leaves; a job that ends, a VM that goes take many times that.
const FREE_POLL: Duration = Duration::from_secs(2);
/// Why nodes that leave get no jobs for the moment. It is not one of the reasons that azslurm-sync
/// takes for its own: to it they are a person's, and it leaves them alone.
const OURS: &str = "azslurm-conf apply: leaves the config";

/// Drains what leaves and looks again, until nothing stands against the change or the wait is over;
/// what still stands against it. slurmctld forgets a drain when it powers a node off
/// (idle_on_node_suspend), so every look drains again.
pub(super) async fn free(prepared: &Prepared, asked: &Asked) -> Result<Vec<String>, ApplyError> {
    let deadline = Instant::now() + asked.wait;
    loop {
        let seen = look(prepared, asked).await?;
        drain(prepared, &seen).await?;
        let found = refusals(prepared, &look(prepared, asked).await?);
        let is_over = Instant::now() >= deadline || found.iter().any(|one| !one.passes());
        if found.is_empty() || is_over {
            return Ok(found.iter().map(Refusal::text).collect());
        }
        tokio::time::sleep(FREE_POLL).await;
    }
}

async fn drain(prepared: &Prepared, seen: &Seen) -> Result<(), ApplyError> {
    let leaving = leaving(&prepared.words, &prepared.aside.standing, seen);
    let may = |name: &NodeName| match seen.nodes.as_ref().and_then(|nodes| nodes.get(name)) {
        Some(
            NodeSight::Off
            | NodeSight::Drained
            | NodeSight::Idle
            | NodeSight::Busy
            | NodeSight::Stopping,
        ) => true,
        // A drain of a node that powers up requeues the job that it powers up for.
        Some(NodeSight::Starting) => false,
        Some(NodeSight::Absent | NodeSight::Spare | NodeSight::NotAsked | NodeSight::Odd)
        | None => false,
    };
    let names: Vec<NodeName> = leaving.into_iter().filter(may).collect();
    let nodes = prepared.slurm.nodes_named(&names).await.map_err(ApplyError::Silent)?;
    // A job that began since the look may be powering its node up. What a person has drained keeps
    // the person's reason.
    let is_free = |node: &Node| {
        !node.state.has(&NodeFlag::Drain)
            && !node.state.has(&NodeFlag::PoweringUp)
            && !node.state.has(&NodeFlag::PowerUp)
    };
    let free: Vec<NodeName> = nodes.into_iter().filter(is_free).map(|node| node.name).collect();
    let told = prepared.slurm.update(&free, NodeVerb::Drain, Some(OURS)).await;
    told.map_err(|source| ApplyError::NotDrained { nodes: fold_set(&free), source })
}

/// Takes back every drain of ours, also one that an apply has left which was ended in the middle:
/// before 23.11 nodes that have left are still there, in no partition, and usable when they come
/// back. Those that come back are freed of the drain that we told a person to set, too.
///
/// And frees what a reconfigure has made unusable: when slurmctld reads its files again it gives
/// no job to a node that does not respond, also to one that is off and cannot (22.05.8 measured;
/// read_config.c is the same up to 26.05). `state=idle` makes such a node usable; an undrain would
/// mark it as not responding.
pub(super) async fn release(prepared: &Prepared) {
    let Ok(nodes) = prepared.slurm.nodes_with_spares().await else { return };
    let comes_back = |node: &Node| {
        let words = &prepared.words;
        words.opened.contains(&node.name) || words.added.contains(&node.name)
    };
    let is_ours = |node: &Node| match node.reason.as_deref() {
        Some(OURS) => true,
        Some(reason) => reason == LEAVING && comes_back(node),
        None => false,
    };
    let (mut off, mut up) = (Vec::new(), Vec::new());
    for node in nodes {
        let is_off = sight(&node.state) == NodeSight::Off && node.state.base == NodeBase::Idle;
        let is_held = match node.state.has(&NodeFlag::Drain) {
            true => is_ours(&node),
            false => is_off && node.state.has(&NodeFlag::NotResponding),
        };
        if is_held {
            let list = if is_off { &mut off } else { &mut up };
            list.push(node.name);
        }
    }
    for (nodes, verb) in [(off, NodeVerb::Idle), (up, NodeVerb::Undrain)] {
        if let Err(error) = prepared.slurm.update(&nodes, verb, None).await {
            let nodes = fold_set(&nodes);
            eprintln!(
                "{nodes} get no jobs: {}; `scontrol update nodename={nodes} state={verb}`",
                exit::chain_of(&error)
            );
        }
    }
}
