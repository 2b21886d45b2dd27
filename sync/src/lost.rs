//! VMs of ours that somebody took: evicted Spot VMs, and VMs that were deallocated or deleted
//! without us. Seen in Azure's list, asked for one by one, and written into the ledger; what
//! follows (slurmctld is told, the remains are deleted) is the pass's.

use std::collections::BTreeSet;

use azslurm_azure::{Arm, ProvisioningState, Vm, VmPower, VmRow};
use azslurm_core::Timestamp;
use azslurm_core::attempt::{Attempt, AttemptState, AzureSays, Change, EndReason};
use azslurm_core::decide::{LeaseView, SlurmView};
use azslurm_core::failure::{CODE_EVICTED, CODE_VANISHED, Moment, hold_of};
use azslurm_core::hold::{Candidate, Hold};
use azslurm_ledger::{Holder, LedgerError, Recorded};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, holds, now, view};
use azslurm_suspend::search::ask;
use tokio::task::JoinSet;

use crate::act;
use crate::listing::{Listed, Listing};
use crate::observe::Observation;
use crate::takeover;
use crate::unexplained;

/// One pass asks for so many VMs that are missing from the list: one that an identity without the
/// right to read it gets is empty, and is called whole.
const MISSING_MAX: usize = 200;

/// Asks Azure for every VM that seems lost, and writes what is lost. How many were.
pub async fn take(
    session: &mut Session,
    seen: &Observation,
    listing: &Listing,
) -> Result<usize, Stop> {
    let mut looks = JoinSet::new();
    for attempt in suspects(seen, listing) {
        if let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() {
            looks.spawn(look(arm, attempt));
        }
    }
    let lost: Vec<(Attempt, AzureSays)> = looks.join_all().await.into_iter().flatten().collect();
    if lost.is_empty() {
        return Ok(0);
    }
    let (replaced, lost): (Vec<_>, Vec<_>) = lost
        .into_iter()
        .partition(|(attempt, _)| takeover::may_be_replaced(seen, listing, attempt));
    act::as_holder(session, |session, holder| {
        let written = write(session, holder, (seen, &lost))?;
        Ok(written + write_replaced(session, holder, (seen, &replaced))?)
    })
}

/// VMs that should run, and of which the list says otherwise.
pub(crate) fn suspects(seen: &Observation, listing: &Listing) -> Vec<Attempt> {
    let is_followed = |attempt: &&Attempt| {
        let node = seen.node(&attempt.is.node);
        let is_closing = node.is_some_and(view::is_closing_by_person);
        is_watched(seen.view_of(node), is_closing)
            && seen.lease_view(&attempt.is.node) == LeaseView::Free
            && (attempt.state == AttemptState::Running
                || takeover::may_be_replaced(seen, listing, attempt))
    };
    let (mut released, mut lacking, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for attempt in seen.attempts.iter().filter(is_followed) {
        match listing.says(attempt) {
            Listed::There(row) if is_released_row(row) => released.push(attempt.clone()),
            // A list of Resource Manager without power states does not show an eviction that
            // leaves the VM behind.
            Listed::There(row) if row.power.is_none() && attempt.is.is_spot => {
                unclear.push(attempt.clone());
            }
            Listed::Lacking => lacking.push(attempt.clone()),
            Listed::There(_) => {}
            Listed::NotSaid if takeover::may_be_replaced(seen, listing, attempt) => {
                unclear.push(attempt.clone());
            }
            Listed::NotSaid => {}
        }
    }
    if lacking.len() > MISSING_MAX {
        tracing::warn!(
            "Azure's list lacks {} VMs that should run: {MISSING_MAX} of them are asked for now, \
            others by the next passes. Can the identity read all VMs?",
            lacking.len()
        );
    }
    released.extend(some_of(lacking, seen.at));
    released.extend(some_of(unclear, seen.at));
    released
}

/// At most [`MISSING_MAX`] of what is to be asked for, others in each pass.
fn some_of(mut missing: Vec<Attempt>, now: Timestamp) -> Vec<Attempt> {
    if missing.len() > MISSING_MAX {
        let seconds = usize::try_from(now.as_millis() / 1000).unwrap_or(0);
        let first = seconds % missing.len();
        missing.rotate_left(first);
        missing.truncate(MISSING_MAX);
    }
    missing
}

/// Whether a VM that is lost is the pass's to tell and to clear away. Of a node that a person has
/// closed nothing is touched, and what slurmctld does not want goes anyway.
fn is_watched(slurm: SlurmView, is_closing: bool) -> bool {
    match slurm {
        SlurmView::Up | SlurmView::Booting | SlurmView::Dead => !is_closing,
        // By a person, or not dead for long.
        SlurmView::Down => false,
        SlurmView::Unknown
        | SlurmView::Absent
        | SlurmView::Off
        | SlurmView::AboutToBoot
        | SlurmView::BootingRefused
        | SlurmView::BootingByPerson
        | SlurmView::PoweringDown
        | SlurmView::PoweringDownByPerson
        | SlurmView::OffFailed
        | SlurmView::OffCompleting
        | SlurmView::OffByPerson => false,
    }
}

fn is_released_row(row: &VmRow) -> bool {
    is_released(&row.provisioning_state, row.power.as_ref())
}

/// An eviction with the policy Deallocate leaves the model as it was: only the power state tells
/// (FACTS §2).
fn is_released(state: &ProvisioningState, power: Option<&VmPower>) -> bool {
    let is_off = matches!(power, Some(VmPower::Deallocated | VmPower::Deallocating));
    is_off || *state == ProvisioningState::Deleting
}

/// The attempt and what became of its VM, if Azure itself says that it does not run and will not.
async fn look(arm: Arm, attempt: Attempt) -> Option<(Attempt, AzureSays)> {
    let what = fate(ask(&arm, &attempt).await?.as_ref())?;
    let (code, who) = match attempt.is.is_spot {
        true => (CODE_EVICTED, "Azure took the Spot VM back"),
        false => (CODE_VANISHED, "somebody took the VM"),
    };
    // Without the VM's name: many that are taken at once are told in one call.
    let says =
        AzureSays { code: code.to_owned(), text: format!("{who}: it {what}"), request_id: None };
    Some((attempt, says))
}

/// What became of a VM that does not run any more; `None` if it does.
fn fate(found: Option<&Vm>) -> Option<&'static str> {
    match found {
        None => Some("is not there any more"),
        Some(vm) if vm.provisioning_state == ProvisioningState::Deleting => {
            Some("is being deleted")
        }
        Some(vm) if is_released(&vm.provisioning_state, vm.power.as_ref()) => {
            Some("is deallocated")
        }
        Some(_runs) => None,
    }
}

fn write(
    session: &mut Session,
    holder: &Holder,
    (seen, lost): (&Observation, &[(Attempt, AzureSays)]),
) -> Result<usize, LedgerError> {
    let facts = azslurm_program::facts::read(&session.ledger)?;
    let config = session.config.clone();
    let nodes: BTreeSet<_> = lost.iter().map(|(attempt, _)| attempt.is.node.clone()).collect();
    session.ledger.write(|writer| {
        let changed = act::changed(writer, seen, &nodes)?;
        let mut written = 0;
        let mut evicted = Vec::new();
        for (attempt, says) in lost.iter().filter(|(one, _)| !changed.contains(&one.is.node)) {
            let (node, vm) = (&attempt.is.node, &attempt.is.vm);
            let Some(lease) = act::lease(writer, holder, node)? else { continue };
            let change =
                Change::DeleteIntended { why: EndReason::Evicted, says: Some(says.clone()) };
            let Recorded::Done(_) = writer.record(&lease, vm, &change, now())? else { continue };
            written += 1;
            if attempt.is.is_spot {
                evicted.push(attempt.clone());
            }
            tracing::warn!(%node, %vm, site = %attempt.is.place.site, "{}: slurmctld is told, its \
                jobs are requeued, and what is left is deleted", says.text);
            let hold: Option<Hold> = Candidate::of(&attempt.is, (&config, &facts), |candidate| {
                hold_of(Moment::Operation, says, candidate, now())
            });
            // A regular VM that somebody deleted says nothing about its place.
            if let Some(hold) = hold.filter(|_| attempt.is.is_spot) {
                let hold = holds::strike(writer, &hold, attempt.intended_at)?;
                tracing::warn!(scope = %hold.scope, "held until {}", hold.until);
            }
        }
        unexplained::add(writer, &evicted)?;
        Ok(written)
    })
}

/// VMs that another head node has deleted are no loss: nobody is told, and their place is not held.
fn write_replaced(
    session: &mut Session,
    holder: &Holder,
    (seen, replaced): (&Observation, &[(Attempt, AzureSays)]),
) -> Result<usize, LedgerError> {
    let nodes: BTreeSet<_> = replaced.iter().map(|(one, _)| one.is.node.clone()).collect();
    session.ledger.write(|writer| {
        let changed = act::changed(writer, seen, &nodes)?;
        let mut written = 0;
        for (attempt, _) in replaced.iter().filter(|(one, _)| !changed.contains(&one.is.node)) {
            let (node, vm) = (&attempt.is.node, &attempt.is.vm);
            let Some(lease) = act::lease(writer, holder, node)? else { continue };
            let change = Change::DeleteIntended { why: EndReason::Superseded, says: None };
            if let Recorded::Done(_) = writer.record(&lease, vm, &change, now())? {
                written += 1;
                tracing::warn!(%node, %vm, "this VM is not there any more, and another head node \
                    may have deleted it: it is not the node's");
            }
        }
        Ok(written)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_a_person_has_closed_keeps_what_is_left_of_its_vm() {
        for slurm in SlurmView::ALL {
            let is_in_use = matches!(slurm, SlurmView::Up | SlurmView::Booting | SlurmView::Dead);
            assert_eq!(is_watched(slurm, false), is_in_use, "{slurm:?}");
            assert!(!is_watched(slurm, true), "{slurm:?}");
        }
    }

    #[test]
    fn only_a_vm_that_is_deleted_or_deallocated_is_lost() {
        let released = |state: &str, power: Option<VmPower>| {
            let Ok(state) = state.parse::<ProvisioningState>();
            is_released(&state, power.as_ref())
        };
        assert!(released("Succeeded", Some(VmPower::Deallocated)));
        assert!(released("Succeeded", Some(VmPower::Deallocating)));
        assert!(released("Deleting", None));
        for power in [None, Some(VmPower::Running), Some(VmPower::Stopped), Some(VmPower::Starting)]
        {
            assert!(!released("Succeeded", power.clone()), "{power:?}");
            assert!(!released("Failed", power.clone()), "{power:?}");
        }
    }
}
