//! The driver: deletes what the front has written down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_core::NodeName;
use azslurm_core::attempt::{Attempt, AttemptState, EndReason};
use azslurm_ledger::{Holder, Lease, LedgerError};
use azslurm_program::Session;
use azslurm_program::errands::Errands;
use tokio::time::Instant;

use crate::confirm::confirm;
use crate::delete::{Deletion, delete};
use crate::search;

/// A driver of deletions ends after this long at the latest; what is left is azslurm-sync's. Longer
/// than 1,000 deletions take at Azure's slowest refill (FACTS §3.1: 200 at once, then 10 a second).
const DRIVE_MAX: Duration = Duration::from_secs(10 * 60);

/// What a driver has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Driven {
    /// Deletions that Azure took, or that found nothing.
    pub sent: usize,
    /// VMs whose deletion is still to be sent.
    pub left: usize,
}

/// Deletes all VMs of the nodes that `holder` has leased and that are to go, also those that the
/// ledger does not know. Ends without waiting for Azure to finish. The leases stay: the caller ends
/// the session.
pub async fn drive(
    session: &mut Session,
    holder: &Holder,
    why: EndReason,
) -> Result<Driven, LedgerError> {
    let leases: BTreeMap<NodeName, Lease> = session
        .leases_renewed(holder)?
        .into_iter()
        .map(|lease| (lease.node().clone(), lease))
        .collect();
    let mut driven = send(session, holder, &leases).await?;
    let known: BTreeSet<NodeName> =
        session.ledger.attempts_of_holder(holder)?.into_iter().map(|(_, a)| a.is.node).collect();
    let unknown: BTreeMap<NodeName, Lease> =
        leases.into_iter().filter(|(node, _)| !known.contains(node)).collect();
    if !unknown.is_empty() && search::adopt_unknown(session, &unknown, why).await? > 0 {
        let more = send(session, holder, &unknown).await?;
        driven = Driven { sent: driven.sent + more.sent, left: driven.left + more.left };
    }
    Ok(driven)
}

async fn send(
    session: &mut Session,
    holder: &Holder,
    leases: &BTreeMap<NodeName, Lease>,
) -> Result<Driven, LedgerError> {
    let mut errands = Errands::new(leases.values().cloned(), &session.clients);
    let mut asked = 0;
    for (lease, attempt) in session.ledger.attempts_of_holder(holder)? {
        if attempt.state == AttemptState::DeleteIntended && leases.contains_key(lease.node()) {
            add(&mut errands, session, &lease, &attempt);
            asked += 1;
        }
    }
    let until = Instant::now() + DRIVE_MAX;
    let mut sent = 0;
    while let Some(noted) = errands.next(&mut session.ledger, until).await? {
        sent += noted.len();
    }
    Ok(Driven { sent, left: asked - sent.min(asked) })
}

/// Adds the errand that a VM which is to go needs next: its deletion, or a look whether that has
/// ended. An attempt in another state, or at a site that the config no longer has, gets none.
pub fn add(errands: &mut Errands, session: &Session, lease: &Lease, attempt: &Attempt) {
    let vm = &attempt.is.vm;
    let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() else {
        tracing::error!(node = %attempt.is.node, %vm, site = %attempt.is.place.site,
            "the config no longer has the site of this VM: put it back, or delete the VM by hand");
        return;
    };
    let deletion = Deletion::from(attempt);
    match attempt.state {
        AttemptState::DeleteIntended => {
            errands.add(lease, vm, |report| delete(arm, deletion, report));
        }
        AttemptState::Deleting => {
            let operation = attempt.operation.clone();
            errands.add(lease, vm, |report| confirm(arm, deletion, operation, report));
        }
        AttemptState::Intended
        | AttemptState::Accepted
        | AttemptState::Running
        | AttemptState::Refused
        | AttemptState::Gone => {}
    }
}
