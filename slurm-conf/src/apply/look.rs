//! Asking slurmctld and the ledger what a decision needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use azslurm_core::NodeName;
use azslurm_core::node::NodeFlag;
use azslurm_ledger::Ledger;
use azslurm_slurm::{Job, JobState, Node, Slurm, SlurmError, SlurmVersion};

use crate::change::Seen;
use crate::change::decide::sight;

/// Asks both. A ledger that is not there or cannot be read is one that says nothing.
///
/// # Errors
/// slurmctld does not answer.
pub async fn look(slurm: &Slurm, ledger: &Path) -> Result<Seen, SlurmError> {
    let nodes = slurm.nodes_with_spares().await?;
    let jobs = slurm.jobs().await?;
    let version = slurm.version().await?;
    let unused = nodes.iter().filter(|node| node.partitions.is_empty());
    Ok(Seen {
        version,
        unused: unused.map(|node| node.name.clone()).collect(),
        nodes: Some(sights(&nodes)),
        jobs: by_partition(&jobs),
        vms: vms(ledger),
    })
}

/// Of a slurmctld that is stopped.
pub fn look_without(version: SlurmVersion, ledger: &Path) -> Seen {
    Seen { version, nodes: None, unused: BTreeSet::new(), jobs: BTreeMap::new(), vms: vms(ledger) }
}

/// Nodes that files define: those from `scontrol create` stay whatever the files say.
fn sights(nodes: &[Node]) -> BTreeMap<NodeName, crate::change::decide::NodeSight> {
    let of_files = nodes.iter().filter(|node| !node.state.has(&NodeFlag::Dynamic));
    of_files.map(|node| (node.name.clone(), sight(&node.state))).collect()
}

/// Jobs that have not ended; one that may run in several partitions is in each of them.
fn by_partition(jobs: &[Job]) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for job in jobs.iter().filter(|job| !has_ended(&job.state)) {
        let partitions = job.partition.as_deref().unwrap_or_default().split(',');
        for partition in partitions.filter(|name| !name.is_empty()) {
            *count.entry(partition.to_owned()).or_default() += 1;
        }
    }
    count
}

fn has_ended(state: &JobState) -> bool {
    match state {
        JobState::Completed
        | JobState::Cancelled
        | JobState::Failed
        | JobState::Timeout
        | JobState::NodeFail => true,
        JobState::Pending | JobState::Configuring | JobState::Running | JobState::Completing => {
            false
        }
        // Those that have ended stay for MinJobAge, those that are suspended have not.
        JobState::Other(word) => ["OUT_OF_MEMORY", "PREEMPTED", "DEADLINE", "BOOT_FAIL", "REVOKED"]
            .contains(&word.as_str()),
    }
}

fn vms(ledger: &Path) -> Option<BTreeSet<NodeName>> {
    let unfinished = Ledger::open_existing(ledger).and_then(|ledger| ledger.attempts_unfinished());
    Some(unfinished.ok()?.into_iter().map(|attempt| attempt.is.node).collect())
}
