//! Taking over from another head node: whether this machine's ledger has slept, kept in the ledger
//! until it is settled, and attempts that other head nodes have replaced meanwhile. What follows
//! from it is core's (`azslurm_core::takeover`).

use azslurm_core::attempt::Attempt;
use azslurm_core::takeover::{Followed, Look, Trust, hold_back, hold_back_attempt, settles};
use azslurm_core::{NodeName, Timestamp, VmName};
use azslurm_ledger::{Fact, LedgerError, Reader};
use azslurm_program::{Session, now};
use serde::{Deserialize, Serialize};

use crate::listing::{Listed, Listing};
use crate::observe::Observation;
use crate::pass::Decided;
use crate::sources::LastPass;

/// The fact that says when another head node was last seen to act.
const STOOD_BY: &str = "takeover/stood-by";
/// The fact that says since when the ledger is not to be believed in all.
const SLEPT: &str = "takeover/slept";

/// The value of [`SLEPT`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Slept {
    since: Timestamp,
    is_settled: bool,
}

/// The daemon does not act, or has just been started: others may have acted.
pub(crate) fn note_standing_by(session: &mut Session) -> Result<(), LedgerError> {
    let fact = Fact { key: STOOD_BY.to_owned(), text: "true".to_owned(), at: now() };
    session.ledger.write(|writer| writer.set_fact(&fact))
}

/// How far the ledger is to be believed, by what a pass has listed.
pub(crate) fn trust(
    session: &Session,
    seen: &Observation,
    listing: &Listing,
) -> Result<Trust, LedgerError> {
    let followed = Followed {
        has_several_heads: seen.controllers > 1,
        passed_at: LastPass::read(&session.ledger)?.map(|last| last.ended_at),
        stood_by_at: session.ledger.fact(STOOD_BY)?.map(|fact| fact.at),
        interval: session.config.sync.interval,
    };
    let before = slept(&session.ledger)?.filter(|slept| !slept.is_settled);
    // From slurmctld alone is it known whether there are others.
    let since = match (&seen.slurm, before) {
        (Ok(_), _) if followed.has_slept(seen.at) => seen.at,
        (_, Some(Slept { since, .. })) => since,
        (_, None) => return Ok(Trust::Settled),
    };
    let looks = listing.sources.iter().map(|source| Look {
        way: source.way,
        at: source.at,
        is_whole: source.extent.is_whole(),
    });
    Ok(if settles(since, looks) { Trust::Settled } else { Trust::Slept { since } })
}

/// How far the ledger is to be believed, by what the last pass found out.
pub(crate) fn known(reader: &Reader) -> Result<Trust, LedgerError> {
    let before = slept(reader)?.filter(|slept| !slept.is_settled);
    Ok(before.map_or(Trust::Settled, |slept| Trust::Slept { since: slept.since }))
}

fn slept(reader: &Reader) -> Result<Option<Slept>, LedgerError> {
    let fact = reader.fact(SLEPT)?;
    Ok(fact.and_then(|fact| serde_json::from_str(&fact.text).ok()))
}

/// Keeps it for the passes that follow, and says when it begins and ends.
pub(crate) fn remember(session: &mut Session, trust: Trust) -> Result<(), LedgerError> {
    let before = slept(&session.ledger)?.filter(|slept| !slept.is_settled);
    let next = match (trust, before) {
        (Trust::Slept { since }, Some(before)) if since == before.since => return Ok(()),
        (Trust::Slept { since }, _) => {
            tracing::warn!(
                "another head node may have acted since the last pass with this ledger: what it \
                did is looked up in Azure, and until that is done no VM is made again and no node \
                is taken from its jobs because of what stands in the ledger"
            );
            Slept { since, is_settled: false }
        }
        (Trust::Settled, Some(before)) => {
            tracing::info!("what other head nodes did before {} is known now", before.since);
            Slept { is_settled: true, ..before }
        }
        (Trust::Settled, None) => return Ok(()),
    };
    let text = serde_json::to_string(&next).expect("a time and a boolean are JSON");
    let fact = Fact { key: SLEPT.to_owned(), text, at: now() };
    session.ledger.write(|writer| writer.set_fact(&fact))
}

/// What was decided, without what a ledger that has slept is no reason for.
pub(crate) fn spare(seen: &Observation, decided: &mut [Decided]) {
    let Trust::Slept { since } = seen.trust else { return };
    for one in decided {
        (one.node_action, one.node_reason) = hold_back((one.node_action, one.node_reason));
        for (vm, action, reason) in &mut one.attempts {
            if is_of_before(vm, since) {
                (*action, *reason) = hold_back_attempt((*action, *reason));
            }
        }
    }
}

fn is_of_before(vm: &VmName, since: Timestamp) -> bool {
    vm.split().is_some_and(|(_, attempt)| attempt.began_at() < since)
}

/// Whether an attempt may have been replaced by another head node: it is to be asked for, and if it
/// is gone that is no loss.
pub(crate) fn may_be_replaced(seen: &Observation, listing: &Listing, attempt: &Attempt) -> bool {
    if !attempt.state.is_wanted() {
        return false;
    }
    let is_shown = matches!(listing.says(attempt), Listed::There(_));
    let is_slept = match seen.trust {
        Trust::Settled => false,
        Trust::Slept { since } => is_of_before(&attempt.is.vm, since),
    };
    !is_shown && (is_slept || has_newer(listing, &attempt.is.node, &attempt.is.vm))
}

/// Whether Azure lists a VM of the node that was begun later.
pub(crate) fn has_newer(listing: &Listing, node: &NodeName, vm: &VmName) -> bool {
    listing.rows().any(|(_, row)| {
        let Ok(other) = row.name.parse::<VmName>() else { return false };
        other.split().is_some_and(|(of, _)| of == *node) && began(&other) > began(vm)
    })
}

/// Whether one of a node's wanted attempts is newer than a VM: only then it stands for the node.
pub(crate) fn is_replaced(attempts: &[Attempt], vm: &VmName) -> bool {
    attempts.iter().any(|attempt| attempt.state.is_wanted() && began(&attempt.is.vm) > began(vm))
}

fn began(vm: &VmName) -> Option<Timestamp> {
    vm.split().map(|(_, attempt)| attempt.began_at())
}
