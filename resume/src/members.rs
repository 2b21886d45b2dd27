//! How the members of a block stand: from the ledger, and from slurmctld where a VM is there
//! already.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::attempt::{Attempt, AttemptState};
use azslurm_core::decide::SlurmView;
use azslurm_core::gang::{Member, MemberStanding};
use azslurm_core::{JobId, NodeName, VmName};
use azslurm_ledger::Lease;
use azslurm_program::exit::chain_of;
use azslurm_program::{Session, view};
use azslurm_slurm::{Job, JobState};

/// What slurmctld says of nodes whose VM is provisioned.
struct Use {
    /// slurmd has not registered.
    booting: BTreeSet<NodeName>,
    /// Jobs that have their nodes and wait for all of them to be up.
    configuring: BTreeSet<JobId>,
    /// Nodes that jobs run on.
    busy: BTreeSet<NodeName>,
}

/// All members of one life of a block: the attempts in it that are wanted, and the refused nodes.
pub(crate) async fn members(
    session: &Session,
    (of_life, refused): (&[Attempt], &BTreeSet<NodeName>),
    known: &BTreeMap<VmName, (Lease, Attempt)>,
) -> Vec<Member> {
    let wanted: Vec<&Attempt> = of_life
        .iter()
        .filter(|attempt| attempt.state.is_wanted() && !refused.contains(&attempt.is.node))
        .collect();
    let provisioned: Vec<NodeName> = wanted
        .iter()
        .filter(|attempt| attempt.state == AttemptState::Running)
        .map(|attempt| attempt.is.node.clone())
        .collect();
    let used = ask(session, &provisioned).await;
    let mut members: Vec<Member> = wanted
        .into_iter()
        .map(|attempt| Member {
            node: attempt.is.node.clone(),
            jobs: attempt.is.jobs.clone(),
            standing: standing(attempt, used.as_ref()),
        })
        .collect();
    let jobs_of = |node: &NodeName| {
        let of_node = known.values().filter(|(_, attempt)| attempt.is.node == *node);
        let newest = of_node.max_by_key(|(_, attempt)| attempt.is.attempt);
        newest.map(|(_, attempt)| attempt.is.jobs.clone()).unwrap_or_default()
    };
    members.extend(refused.iter().map(|node| Member {
        node: node.clone(),
        jobs: jobs_of(node),
        standing: MemberStanding::Refused,
    }));
    members
}

/// `used`: `None` where slurmctld could not be asked; then whatever is provisioned may be in use.
fn standing(attempt: &Attempt, used: Option<&Use>) -> MemberStanding {
    let node = &attempt.is.node;
    match (attempt.state, used) {
        (AttemptState::Intended, _) => MemberStanding::Unanswered,
        (AttemptState::Accepted, _) => MemberStanding::Made,
        (AttemptState::Running, Some(used)) if used.booting.contains(node) => MemberStanding::Made,
        (AttemptState::Running, Some(used)) => {
            let waits = attempt.is.jobs.iter().any(|job| used.configuring.contains(job));
            if waits && !used.busy.contains(node) {
                MemberStanding::Waiting
            } else {
                MemberStanding::InUse
            }
        }
        (
            AttemptState::Running
            | AttemptState::Refused
            | AttemptState::DeleteIntended
            | AttemptState::Deleting
            | AttemptState::Gone,
            _,
        ) => MemberStanding::InUse,
    }
}

async fn ask(session: &Session, nodes: &[NodeName]) -> Option<Use> {
    if nodes.is_empty() {
        return Some(Use {
            booting: BTreeSet::new(),
            configuring: BTreeSet::new(),
            busy: BTreeSet::new(),
        });
    }
    let found = match session.slurm.nodes_named(nodes).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(
                "cannot ask slurmctld whether a gang is in use: {}; it stays where it \
                is",
                chain_of(&error)
            );
            return None;
        }
    };
    let booting: BTreeSet<NodeName> = found
        .into_iter()
        .filter(|node| view::of(node) == SlurmView::Booting)
        .map(|node| node.name)
        .collect();
    let jobs = if booting.len() == nodes.len() { Vec::new() } else { jobs(session).await? };
    let configuring =
        jobs.iter().filter(|job| job.state == JobState::Configuring).map(|job| job.id).collect();
    let busy = jobs
        .iter()
        .filter(|job| keeps_its_nodes(&job.state))
        .flat_map(|job| job.node_names().unwrap_or_default())
        .collect();
    Some(Use { booting, configuring, busy })
}

/// Whether a job in this state, which is not about to begin, has its nodes still.
fn keeps_its_nodes(state: &JobState) -> bool {
    match state {
        JobState::Running | JobState::Completing | JobState::Other(_) => true,
        JobState::Pending
        | JobState::Configuring
        | JobState::Completed
        | JobState::Cancelled
        | JobState::Failed
        | JobState::Timeout
        | JobState::NodeFail => false,
    }
}

async fn jobs(session: &Session) -> Option<Vec<Job>> {
    match session.slurm.jobs().await {
        Ok(jobs) => Some(jobs),
        Err(error) => {
            tracing::warn!(
                "cannot ask slurmctld for its jobs: {}; a gang stays where it is",
                chain_of(&error)
            );
            None
        }
    }
}
