//! The driver: carries on whatever stands in the ledger for the nodes that it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_azure::{Place, body_hash, body_of};
use azslurm_core::attempt::{Attempt, AttemptState, AzureSays, Change};
use azslurm_core::failure::{Moment, hold_of};
use azslurm_core::hold::Candidate;
use azslurm_core::plan::{NodesetTexts, VmWish};
use azslurm_core::vm::VmSpec;
use azslurm_core::{NodeName, NodesetName, VmName};
use azslurm_ledger::{Hold, Holder, Lease, LedgerError, Recorded};
use azslurm_program::errands::{Errands, Noted};
use azslurm_program::{Session, now, texts};
use tokio::time::Instant;

use crate::create::{Order, create, find};
use crate::follow::{Creation, follow};
use crate::front::SETTLES_AFTER;
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
}

impl Orders {
    /// Those of the driver of a request.
    pub fn of_request(until: Instant) -> Orders {
        Orders { until, tells_refusals: true, leave: BTreeSet::new(), look: BTreeSet::new() }
    }
}

/// Drives all attempts of the nodes that `holder` has leased, until they are where they should be
/// or the time is over. The leases stay: the caller ends the session.
pub async fn drive(
    session: &mut Session,
    holder: &Holder,
    orders: &Orders,
) -> Result<Driven, LedgerError> {
    let leases = session.leases_renewed(holder)?;
    if orders.tells_refusals {
        let without = without_vm(session, holder, &leases)?;
        tell::refused(session, (&without, false)).await?;
    }
    let mut driven = Driven::default();
    let mut is_first = true;
    loop {
        resettle(session, holder)?;
        let mut round = Round::begin(session, (holder, &leases, orders), is_first)?;
        is_first = false;
        while let Some(noted) = round.errands.next(&mut session.ledger, orders.until).await? {
            let failed = digest(session, &mut round, noted, &mut driven)?;
            tell::refused(session, (&failed, true)).await?;
        }
        // Intents whose turn did not come in time, or of which nothing could be learned.
        let is_left = session.ledger.attempts_of_holder(holder)?.iter().any(|(_, attempt)| {
            attempt.state == AttemptState::Intended && !orders.leave.contains(&attempt.is.vm)
        });
        if !is_left || Instant::now() + RETAKE_PAUSE >= orders.until {
            return Ok(driven);
        }
        tokio::time::sleep(RETAKE_PAUSE).await;
    }
}

/// One round over all attempts.
struct Round {
    errands: Errands,
    attempts: BTreeMap<VmName, Attempt>,
}

impl Round {
    fn begin(
        session: &Session,
        (holder, leases, orders): (&Holder, &[Lease], &Orders),
        is_first: bool,
    ) -> Result<Round, LedgerError> {
        let work = session.ledger.attempts_of_holder(holder)?;
        let (texts, _logged_by_the_front) = texts::load(&session.config);
        let mut errands = Errands::new(leases.iter().cloned(), &session.clients);
        for (lease, attempt) in &work {
            let may_exist = !is_first || attempt.generation != lease.generation();
            add(&mut errands, session, (lease, attempt, may_exist), (orders, &texts));
        }
        let attempts =
            work.into_iter().map(|(_, attempt)| (attempt.is.vm.clone(), attempt)).collect();
        Ok(Round { errands, attempts })
    }
}

fn without_vm(
    session: &Session,
    holder: &Holder,
    leases: &[Lease],
) -> Result<BTreeSet<NodeName>, LedgerError> {
    let work = session.ledger.attempts_of_holder(holder)?;
    let has_vm: BTreeSet<&NodeName> = work
        .iter()
        .filter(|(_, attempt)| attempt.state.is_wanted())
        .map(|(lease, _)| lease.node())
        .collect();
    let nodes = leases.iter().map(Lease::node);
    Ok(nodes.filter(|node| !has_vm.contains(node)).cloned().collect())
}

/// Gives intents that are about to become too old for a PUT another span.
fn resettle(session: &mut Session, holder: &Holder) -> Result<(), LedgerError> {
    let at = now();
    let old: Vec<(Lease, VmName)> = session
        .ledger
        .attempts_of_holder(holder)?
        .into_iter()
        .filter(|(_, attempt)| attempt.state == AttemptState::Intended)
        .filter(|(_, attempt)| attempt.settles_at.since(at) < SETTLE_LEFT_MIN)
        .map(|(lease, attempt)| (lease, attempt.is.vm))
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    session.ledger.write(|writer| {
        for (lease, vm) in &old {
            let _lost_leases_are_seen_later =
                writer.resettle(lease, vm, at, at.plus(SETTLES_AFTER))?;
        }
        Ok(())
    })
}

/// The errand that an attempt needs next.
fn add(
    errands: &mut Errands,
    session: &Session,
    (lease, attempt, may_exist): (&Lease, &Attempt, bool),
    (orders, texts): (&Orders, &BTreeMap<NodesetName, NodesetTexts>),
) {
    let vm = &attempt.is.vm;
    let place = Place::from(&attempt.is.place);
    let slurm = session.slurm.clone();
    let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() else {
        tracing::error!(node = %attempt.is.node, %vm, site = %attempt.is.place.site,
            "the config no longer has the site of this VM: put it back until `azslurm-sync status` \
             shows the VM gone");
        return;
    };
    match attempt.state {
        AttemptState::Intended if orders.leave.contains(vm) => {}
        AttemptState::Intended if orders.look.contains(vm) => {
            errands.add(lease, vm, |report| find(arm, (place, slurm), report));
        }
        AttemptState::Intended => match spec_of(session, attempt, texts) {
            Some(spec) => {
                let settle = Instant::now() + attempt.settles_at.since(now());
                let order = Order { place, spec, settle, may_exist, slurm };
                errands.add(lease, vm, |report| create(arm, order, report));
            }
            None => errands.add(lease, vm, |report| find(arm, (place, slurm), report)),
        },
        AttemptState::Accepted => {
            let operation = attempt.operation.clone();
            let creation = Creation { place, operation, first_look: Duration::ZERO, slurm };
            errands.add(lease, vm, |report| follow(arm, creation, report));
        }
        AttemptState::DeleteIntended | AttemptState::Deleting => {
            azslurm_suspend::drive::add(errands, session, lease, attempt);
        }
        AttemptState::Running | AttemptState::Refused | AttemptState::Gone => {}
    }
}

/// The VM of an intent, as the config has it now; `None` if that is not what was intended: then it
/// must not be sent.
fn spec_of(
    session: &Session,
    attempt: &Attempt,
    texts: &BTreeMap<NodesetName, NodesetTexts>,
) -> Option<VmSpec> {
    let is = &attempt.is;
    let wish =
        VmWish { node: &is.node, nodeset: &is.nodeset, attempt: is.attempt, place: &is.place };
    let spec = wish.spec(&session.config, texts.get(&is.nodeset)?)?;
    (body_hash(&body_of(&spec)) == is.body_hash).then_some(spec)
}

/// Counts what was recorded, sends deletions of what has failed, and writes holds. The nodes that
/// have failed.
fn digest(
    session: &mut Session,
    round: &mut Round,
    noted: Vec<Noted>,
    driven: &mut Driven,
) -> Result<BTreeSet<NodeName>, LedgerError> {
    let Round { errands, attempts } = round;
    let mut failed = BTreeSet::new();
    let mut holds = Vec::new();
    for Noted { lease, vm, change, recorded } in noted {
        let Recorded::Done(state) = recorded else { continue };
        let Some(attempt) = attempts.get_mut(&vm) else { continue };
        attempt.state = state;
        match change {
            Change::Accepted { .. } => {
                driven.accepted += 1;
                attempt.accepted_at.get_or_insert(now());
            }
            Change::Running => driven.running += 1,
            Change::Refused(says) => {
                driven.failed += 1;
                holds.extend(hold(attempt, &says));
                failed.insert(lease.node().clone());
            }
            Change::DeleteIntended { says, .. } => {
                driven.failed += 1;
                holds.extend(says.as_ref().and_then(|says| hold(attempt, says)));
                failed.insert(lease.node().clone());
                azslurm_suspend::drive::add(errands, session, &lease, attempt);
            }
            Change::DeleteAccepted { .. } => driven.deleting += 1,
            Change::DeleteFailed(_) => driven.undeleted += 1,
            Change::Gone => driven.gone += 1,
        }
    }
    if !holds.is_empty() {
        session.ledger.write(|writer| holds.iter().try_for_each(|hold| remember(writer, hold)))?;
    }
    Ok(failed)
}

fn hold(attempt: &Attempt, says: &AzureSays) -> Option<azslurm_core::hold::Hold> {
    let is = &attempt.is;
    let candidate = Candidate {
        node: &is.node,
        place: &is.place,
        sku: &is.sku,
        nodeset: &is.nodeset,
        is_spot: is.is_spot,
        image: "",
        facts: None,
    };
    hold_of(Moment::Operation, says, &candidate, now())
}

/// Writes a hold; of an older one of the same scope the longer end and the strikes stay.
fn remember(
    writer: &mut azslurm_ledger::Writer<'_>,
    hold: &azslurm_core::hold::Hold,
) -> Result<(), LedgerError> {
    let scope = hold.scope.to_string();
    let before = writer.hold_of(&scope)?;
    writer.hold(&Hold {
        scope,
        code: hold.code.clone(),
        text: hold.text.clone(),
        strikes: before.as_ref().map_or(1, |before| before.strikes.saturating_add(1)),
        since: before.as_ref().map_or_else(now, |before| before.since),
        struck_at: hold.struck_at,
        until: before.map_or(hold.until, |before| before.until.max(hold.until)),
    })
}
