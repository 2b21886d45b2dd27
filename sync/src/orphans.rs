//! VMs with our tags that the ledger does not know, or takes for ended: found in Azure's list,
//! asked for one by one, and written into the ledger, as their node's VM or as one to be deleted.
//!
//! What follows is as for every other VM: the same pass sends the deletion.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use azslurm_azure::{ProvisioningState, VmRow};
use azslurm_core::attempt::{Attempt, AttemptState, EndReason};
use azslurm_core::listing::may_still_show;
use azslurm_core::orphan::{OrphanAction, OrphanReason, OrphanSight, decide_orphan};
use azslurm_core::{NodeName, Timestamp, VmName};
use azslurm_ledger::{Holder, LedgerError, Recorded};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, now};
use azslurm_suspend::search::{attempt_of, block_of, doomed, look};
use tokio::task::JoinSet;

use crate::act;
use crate::listing::{self, Listing, Source};
use crate::observe::Observation;
use crate::takeover;

/// A VM is no orphan that is deleted before this: whoever makes it, with whatever ledger, has that
/// long to say so.
const YOUNG_FOR: Duration = Duration::from_secs(2 * 60);
/// So many orphans are deleted by one pass at most, unless a person says otherwise: when everything
/// looks like an orphan, something else is wrong.
pub const DELETED_MAX: usize = 20;

/// An orphan, and what is decided about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Orphan {
    /// Its node.
    pub node: NodeName,
    /// Its name.
    pub vm: VmName,
    /// As the ledger would have it; `None` if its node or its site is not in the config.
    pub attempt: Option<Attempt>,
    /// What is done.
    pub action: OrphanAction,
    /// Why.
    pub reason: OrphanReason,
}

/// Decides about every VM that is listed and not followed.
pub fn decide(session: &Session, seen: &Observation, listing: &Listing) -> Vec<Orphan> {
    let mut known: Vec<(Cow<'_, str>, Option<Timestamp>)> = seen
        .attempts
        .iter()
        .map(|attempt| (listing::key_of(attempt.is.vm.as_str()), attempt.ended_at))
        .collect();
    known.sort();
    // A thousand VMs that are just gone are no orphans.
    let is_unknown = |(source, row): &(&Source, &VmRow)| {
        let key = listing::key_of(&row.name);
        known.binary_search_by(|(vm, _)| vm.cmp(&key)).map_or(true, |at| {
            let ended_at = known[at].1;
            ended_at.is_some_and(|ended_at| !may_still_show(source.way, ended_at, source.at))
        })
    };
    let mut orphans: Vec<Orphan> = listing
        .rows()
        .filter(is_unknown)
        .filter_map(|(source, row)| decide_one(session, seen, (source, row)))
        .collect();
    // Of several VMs of one node the newest is the node's.
    orphans.sort_by(|a, b| (&a.node, &b.vm).cmp(&(&b.node, &a.vm)));
    let mut adopted = BTreeSet::new();
    for orphan in &mut orphans {
        if orphan.action == OrphanAction::Adopt && !adopted.insert(orphan.node.clone()) {
            (orphan.action, orphan.reason) = (OrphanAction::Leave, OrphanReason::WhichVmIsNotKnown);
        }
    }
    orphans
}

fn decide_one(
    session: &Session,
    seen: &Observation,
    (source, row): (&Source, &VmRow),
) -> Option<Orphan> {
    if row.provisioning_state == ProvisioningState::Deleting {
        return None;
    }
    let vm: VmName = row.name.parse().ok()?;
    let (node, id) = vm.split()?;
    let attempt = attempt_of(&session.config, row);
    let sight = match (seen.at < id.began_at().plus(YOUNG_FOR), source.extent.is_whole()) {
        (true, _) => OrphanSight::Young,
        (false, false) => OrphanSight::InPart,
        (false, true) => OrphanSight::Clear,
    };
    let (slurm, lease) = (seen.slurm_view(&node), seen.lease_view(&node));
    let (mut action, mut reason) = decide_orphan(slurm, lease, seen.standing(&node), sight);
    if attempt.is_none() {
        (action, reason) = (OrphanAction::Leave, OrphanReason::NodeNotInSlurm);
    }
    // What the ledger has is older, and so is the ledger: another head node made this one.
    if reason == OrphanReason::Superseded && !takeover::is_replaced(seen.attempts_of(&node), &vm) {
        (action, reason) = (OrphanAction::Leave, OrphanReason::WhichVmIsNotKnown);
    }
    let is_ended = seen.attempts_of(&node).iter().any(|attempt| attempt.is.vm == vm);
    if is_ended && action == OrphanAction::Adopt {
        (action, reason) = (OrphanAction::Leave, OrphanReason::NodeIsUp);
    }
    Some(Orphan { node, vm, attempt, action, reason })
}

/// What came of the orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Written as the VM of their node.
    pub adopted: usize,
    /// Written as to be deleted.
    pub doomed: usize,
    /// Not looked at, because the pass deletes no more.
    pub beyond: usize,
}

/// Asks Azure for each orphan about which something is to be done, and writes those that are there.
/// `has_no_limit`: a person has said that all may be deleted.
pub async fn take(
    session: &mut Session,
    (seen, orphans): (&Observation, &[Orphan]),
    has_no_limit: bool,
) -> Result<Taken, Stop> {
    let most = if has_no_limit { usize::MAX } else { DELETED_MAX };
    let with = |action: OrphanAction| orphans.iter().filter(move |one| one.action == action);
    let beyond = with(OrphanAction::Delete).count().saturating_sub(most);
    if beyond > 0 {
        tracing::error!(
            "{} VMs with our tags are not in the ledger and nobody waits for them: \
            {most} are deleted now and {beyond} are left. Look at `azslurm-sync pass --dry-run`; \
            `azslurm-sync pass --force` deletes all",
            most + beyond
        );
    }
    let doomed_ones = with(OrphanAction::Delete).take(most);
    let doomed_ones = doomed_ones.filter_map(|one| one.attempt.clone());
    let doomed_ones = doomed_ones.map(|attempt| doomed(attempt, EndReason::Orphaned));
    let adopted_ones = with(OrphanAction::Adopt).filter_map(|one| one.attempt.clone());
    let mut looks = JoinSet::new();
    for attempt in adopted_ones.chain(doomed_ones) {
        if let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() {
            looks.spawn(look(arm, attempt, session.config.clone()));
        }
    }
    let there: Vec<Attempt> = looks.join_all().await.into_iter().flatten().collect();
    if there.is_empty() {
        return Ok(Taken { beyond, ..Taken::default() });
    }
    let mut taken =
        act::as_holder(session, |session, holder| write(session, holder, (seen, &there)))?;
    taken.beyond = beyond;
    Ok(taken)
}

fn write(
    session: &mut Session,
    holder: &Holder,
    (seen, there): (&Observation, &[Attempt]),
) -> Result<Taken, LedgerError> {
    let config = session.config.clone();
    let nodes: BTreeSet<NodeName> = there.iter().map(|attempt| attempt.is.node.clone()).collect();
    session.ledger.write(|writer| {
        let changed = act::changed(writer, seen, &nodes)?;
        let mut taken = Taken::default();
        for attempt in there.iter().filter(|attempt| !changed.contains(&attempt.is.node)) {
            let (node, vm) = (&attempt.is.node, &attempt.is.vm);
            // One that has ended was to go: it is opened again only for that.
            let known = writer.attempt(vm)?;
            if known.is_some() && attempt.state != AttemptState::DeleteIntended {
                continue;
            }
            let Some(lease) = act::lease(writer, holder, node)? else { continue };
            if let Some(block) = block_of(attempt, &config.cluster) {
                writer.adopt_block(&block, now())?;
            }
            let Recorded::Done(state) = writer.adopt(&lease, attempt, now())? else { continue };
            if state == AttemptState::DeleteIntended {
                taken.doomed += 1;
                tracing::warn!(%node, %vm, "Azure has this VM, the ledger did not know it, and \
                    nobody waits for it: it is deleted");
            } else {
                taken.adopted += 1;
                tracing::warn!(%node, %vm, "Azure has this VM and the ledger did not know it: it \
                    is taken for the node's");
            }
        }
        Ok(taken)
    })
}
