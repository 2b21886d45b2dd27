//! Giving up a whole request because Azure cannot be spoken to at all: a CA bundle that is not
//! there, an endpoint that cannot be one.

use std::collections::BTreeSet;
use std::time::Duration;

use azslurm_core::NodeName;
use azslurm_core::attempt::{AttemptState, AzureSays, Change};
use azslurm_core::failure::CODE_UNREACHABLE;
use azslurm_core::hold::{Hold, HoldScope};
use azslurm_ledger::{Holder, LedgerError};
use azslurm_program::{Session, holds, now};

use crate::tell;

/// Until then a person may have mended it; the next try shows.
const HOLD_FOR: Duration = Duration::from_secs(5 * 60);

/// Refuses the intents that nobody can have sent, holds their sites, and tells slurmctld.
pub async fn all(session: &mut Session, holder: &Holder, text: &str) -> Result<(), LedgerError> {
    let leases = session.leases_renewed(holder)?;
    let work = session.ledger.attempts_of_holder(holder)?;
    let at = now();
    let says =
        AzureSays { code: CODE_UNREACHABLE.to_owned(), text: text.to_owned(), request_id: None };
    session.ledger.write(|writer| {
        for (lease, attempt) in &work {
            let is_fresh = attempt.generation == lease.generation();
            if attempt.state != AttemptState::Intended || !is_fresh {
                continue;
            }
            let _lost_leases_are_others =
                writer.record(lease, &attempt.is.vm, &Change::Refused(says.clone()), at)?;
            let hold = Hold {
                scope: HoldScope::Site(attempt.is.place.site.clone()),
                code: says.code.clone(),
                text: says.text.clone(),
                strikes: 1,
                struck_at: at,
                until: at.plus(HOLD_FOR),
            };
            holds::strike(writer, &hold, attempt.intended_at)?;
        }
        Ok::<_, LedgerError>(())
    })?;
    let nodes: BTreeSet<NodeName> = leases.iter().map(|lease| lease.node().clone()).collect();
    tell::refused(session, (&nodes, true)).await
}
