//! The driver: carries on whatever stands in the ledger for the nodes that it holds.
//!
//! ```text
//! look around: a block that has VMs already is not made a second time      (neighbours.rs)
//! look ahead: what Azure would refuse is changed before it is sent         (survey.rs)
//! round: an errand for each attempt and block ─► findings, in batches      (round.rs)
//!   refused, failed ─► hold ─► another place, with its gang  (digest.rs, failover.rs)
//!   no place ─► told to slurmctld, at once                   (tell.rs)
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use azslurm_core::attempt::{Attempt, AttemptState};
use azslurm_core::{NodeName, VmName};
use azslurm_ledger::{Holder, Lease, LedgerError, Recorded};
use azslurm_program::{Session, now};
use azslurm_suspend::blocks;
use tokio::time::Instant;

use crate::digest::digest;
use crate::failover::{Story, again, fail_over};
use crate::front::SETTLES_AFTER;
use crate::neighbours::look_around;
use crate::round::Round;
use crate::survey::look_ahead;
use crate::tell;

/// A PUT must still have this much time when a driver takes an attempt up, else its time is renewed
/// first.
const SETTLE_LEFT_MIN: Duration = Duration::from_secs(3 * 60);

/// Before intents that could not be sent, or of which nothing could be learned, are taken up again.
const RETAKE_PAUSE: Duration = Duration::from_secs(10);

/// What a driver has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Driven {
    /// VMs that Azure has taken.
    pub accepted: usize,
    /// VMs that are provisioned.
    pub running: usize,
    /// VMs that were refused or failed.
    pub failed: usize,
    /// Nodes that began again at another place, or once more at the same.
    pub moved: usize,
    /// Deletions that Azure has taken.
    pub deleting: usize,
    /// VMs that are confirmed gone.
    pub gone: usize,
    /// Deletions that Azure refused, or that failed.
    pub undeleted: usize,
}

/// What a driver is to do beside carrying on.
#[derive(Debug, Clone)]
pub struct Orders {
    /// When to end at the latest.
    pub until: Instant,
    /// Whether nodes that are leased and have no VM are told to slurmctld as refused: so does the
    /// driver of a request. A pass leases nodes for other reasons, and tells what it decided.
    pub tells_refusals: bool,
    /// Intents that are not to be touched.
    pub leave: BTreeSet<VmName>,
    /// Intents that are not to be sent: only whether their VM exists is of interest.
    pub look: BTreeSet<VmName>,
    /// Nodes that slurmctld waits for: when their VM fails they begin again elsewhere. `None`: all
    /// of them.
    pub awaited: Option<BTreeSet<NodeName>>,
}

impl Orders {
    /// Those of the driver of a request.
    pub fn of_request(until: Instant) -> Orders {
        let (leave, look) = (BTreeSet::new(), BTreeSet::new());
        Orders { until, tells_refusals: true, leave, look, awaited: None }
    }
}

/// Drives all attempts of the nodes that `holder` has leased, until they are where they should be
/// or the time is over. The leases stay: the caller ends the session.
pub async fn drive(
    session: &mut Session,
    holder: &Holder,
    orders: &Orders,
) -> Result<Driven, LedgerError> {
    look_around(session, holder, orders).await?;
    look_ahead(session, holder).await?;
    let leases = session.leases_renewed(holder)?;
    if orders.tells_refusals {
        let without = without_vm(session, holder)?;
        tell::refused(session, (&without, false)).await?;
    }
    let mut driven = Driven::default();
    let mut story = Story::new(holder.clone(), orders.awaited.clone());
    let mut is_first = true;
    loop {
        let work = resettled(session, holder)?;
        let mut round = Round::begin(session, (work, &leases, orders), is_first)?;
        is_first = false;
        blocks::add_empty(&mut round.errands, session)?;
        run(session, (&mut round, &mut story), (orders, &mut driven)).await?;
        if driven.gone > 0 && blocks::add_empty(&mut round.errands, session)? > 0 {
            // The last VMs of a block have gone meanwhile.
            run(session, (&mut round, &mut story), (orders, &mut driven)).await?;
        }
        // Gangs that waited for answers that did not come any more.
        let late = again(session, &mut round, &mut story).await?;
        tell::refused(session, (&late.failed, true)).await?;
        // Intents whose turn did not come in time, or of which nothing could be learned.
        let intended = session.ledger.attempts_of_holder_in(holder, AttemptState::Intended)?;
        let is_left = intended.iter().any(|(_, attempt)| !orders.leave.contains(&attempt.is.vm));
        if late.begun > 0 {
            driven.moved += late.begun;
            continue;
        }
        if !is_left || Instant::now() + RETAKE_PAUSE >= orders.until {
            return Ok(driven);
        }
        tokio::time::sleep(RETAKE_PAUSE).await;
    }
}

/// Until every errand has ended.
async fn run(
    session: &mut Session,
    (round, story): (&mut Round, &mut Story),
    (orders, driven): (&Orders, &mut Driven),
) -> Result<(), LedgerError> {
    while let Some(batch) = round.errands.next(&mut session.ledger, orders.until).await? {
        blocks::record_gone(session, &batch.blocks)?;
        let failed = digest(session, round, batch, driven)?;
        let moved = fail_over(session, round, story, failed).await?;
        driven.moved += moved.begun;
        tell::refused(session, (&moved.failed, true)).await?;
    }
    Ok(())
}

/// Leased nodes that no VM is wanted for.
fn without_vm(session: &Session, holder: &Holder) -> Result<BTreeSet<NodeName>, LedgerError> {
    let wanted: Vec<AttemptState> =
        AttemptState::ALL.into_iter().filter(|state| state.is_wanted()).collect();
    Ok(session.ledger.leased_without(holder, &wanted)?.into_iter().collect())
}

/// All work of `holder`; intents that are about to become too old for a PUT get another span.
fn resettled(session: &mut Session, holder: &Holder) -> Result<Vec<(Lease, Attempt)>, LedgerError> {
    let mut work = session.ledger.attempts_of_holder(holder)?;
    let (at, until) = (now(), now().plus(SETTLES_AFTER));
    let is_old = |attempt: &Attempt| {
        attempt.state == AttemptState::Intended && attempt.settles_at.since(at) < SETTLE_LEFT_MIN
    };
    if !work.iter().any(|(_, attempt)| is_old(attempt)) {
        return Ok(work);
    }
    session.ledger.write(|writer| {
        for (lease, attempt) in work.iter_mut().filter(|(_, attempt)| is_old(attempt)) {
            // Lost leases are seen later.
            if let Recorded::Done(_) = writer.resettle(lease, &attempt.is.vm, at, until)? {
                attempt.settles_at = until;
            }
        }
        Ok(work)
    })
}
