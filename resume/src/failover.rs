//! What follows when Azure refuses a VM or fails it: a hold, and another place, or none.
//!
//! ```text
//! refused ─► once more at the same place (a fault of Azure's, the first time)
//!        └─► hold ─► alone: planned anew
//!                └─► in a block: core's judge over all of its members
//!                      ├─ move:    one transaction: given up here, intended elsewhere
//!                      ├─ requeue: Slurm gives all of them back; SuspendProgram deletes them
//!                      ├─ fail:    the refused nodes are told to slurmctld
//!                      └─ wait:    until Azure has answered for the others
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_core::attempt::{Attempt, AttemptState, AzureSays, Change, EndReason};
use azslurm_core::block::Incarnation;
use azslurm_core::failure::{CODE_NO_PLACE, CODE_RECALLED, Reach, Retry, hold_as, understand};
use azslurm_core::gang::{Verdict, judge};
use azslurm_core::hold::{Candidate, Hold};
use azslurm_core::{NodeName, VmName, hostlist};
use azslurm_ledger::{Holder, Lease, LeaseAsk, LedgerError, Take, Writer};
use azslurm_program::errands::LEASE_FOR;
use azslurm_program::exit::chain_of;
use azslurm_program::facts::USAGES_TRUSTED;
use azslurm_program::{Session, facts, holds, now, texts};
use azslurm_slurm::{NodeVerb, reason};
use tokio::time::Instant;

use crate::digest::Failed;
use crate::front::{Intended, Intending, intend_within};
use crate::members::members;
use crate::request::{ResumeRequest, jobs_of};
use crate::round::Round;

/// How long a refused gang waits for Azure's answers about the others of its block.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How often one node begins again within one run of a driver. There are fewer places than this;
/// whatever goes round longer is our own mistake.
const BEGINS_MAX: u32 = 12;

/// What a driver remembers of its failures.
pub(crate) struct Story {
    holder: Holder,
    /// Nodes that slurmctld waits for; `None`: all.
    awaited: Option<BTreeSet<NodeName>>,
    /// Nodes that had their second try at the same place.
    retried: BTreeSet<NodeName>,
    begun: BTreeMap<NodeName, u32>,
    /// Refused nodes of blocks about which nothing is decided yet, and since when.
    open: BTreeMap<Incarnation, (Instant, BTreeSet<NodeName>)>,
}

/// What came of failures.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Nodes that began again.
    pub begun: usize,
    /// Nodes that cannot come now.
    pub failed: BTreeSet<NodeName>,
}

impl Story {
    pub(crate) fn new(holder: Holder, awaited: Option<BTreeSet<NodeName>>) -> Story {
        let (retried, begun, open) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Story { holder, awaited, retried, begun, open }
    }

    fn awaits(&self, node: &NodeName) -> bool {
        self.awaited.as_ref().is_none_or(|awaited| awaited.contains(node))
    }
}

/// Holds what has failed, and decides about its nodes; also about those that wait still.
pub(crate) async fn fail_over(
    session: &mut Session,
    round: &mut Round,
    story: &mut Story,
    mut failed: Vec<Failed>,
) -> Result<Moved, LedgerError> {
    // What was decided otherwise has not failed.
    failed.retain(|one| one.says.code != CODE_RECALLED);
    let mut anew = learn(session, story, &failed)?;
    anew.retain(|node| story.awaits(node));
    for one in failed {
        let node = one.attempt.is.node.clone();
        if !story.awaits(&node) {
            continue;
        }
        match (&one.attempt.is.place.block, anew.contains(&node)) {
            (_, true) => {}
            (None, false) => {
                anew.insert(node);
            }
            (Some(life), false) => {
                let open = story.open.entry(life.clone());
                open.or_insert_with(|| (Instant::now(), BTreeSet::new())).1.insert(node);
            }
        }
    }
    let mut moved = Moved::default();
    begin(session, (round, story), (&anew, &[]), &mut moved)?;
    settle(session, (round, story), true, &mut moved).await?;
    Ok(moved)
}

/// Decides about gangs that have waited long enough.
pub(crate) async fn again(
    session: &mut Session,
    round: &mut Round,
    story: &mut Story,
) -> Result<Moved, LedgerError> {
    let mut moved = Moved::default();
    settle(session, (round, story), false, &mut moved).await?;
    Ok(moved)
}

/// Writes a hold for each failure, but for those that get a second try at the same place: their
/// nodes are returned.
fn learn(
    session: &mut Session,
    story: &mut Story,
    failed: &[Failed],
) -> Result<BTreeSet<NodeName>, LedgerError> {
    let mut again = BTreeSet::new();
    let mut learned: Vec<(Hold, &Failed)> = Vec::new();
    let facts = facts::read(&session.ledger)?;
    let at = now();
    for one in failed {
        let mut failure = understand(one.moment, &one.says);
        let node = &one.attempt.is.node;
        let may_retry = match failure.retry {
            Retry::Once | Retry::Here | Retry::Wait => true,
            Retry::Elsewhere | Retry::Never => false,
        };
        if may_retry && story.retried.insert(node.clone()) {
            tracing::info!(%node, "once more at the same place");
            again.insert(node.clone());
            continue;
        }
        if may_retry && failure.reach == Reach::Vm {
            // Twice in a row: it is the place, as far as anybody can tell.
            failure.reach = Reach::SkuHere;
        }
        let hold = Candidate::of(&one.attempt.is, (&session.config, &facts), |candidate| {
            hold_as(&failure, &one.says, candidate, at)
        });
        learned.extend(hold.map(|hold| (hold, one)));
    }
    if learned.is_empty() {
        return Ok(again);
    }
    session.ledger.write(|writer| {
        for (hold, one) in &learned {
            let hold = holds::strike(writer, hold, one.attempt.intended_at)?;
            tracing::warn!(node = %one.attempt.is.node, vm = %one.attempt.is.vm,
                request_id = one.says.request_id, scope = %hold.scope, strikes = hold.strikes,
                "held until {}: {}: {}", hold.until, one.says.code, one.says.text);
        }
        Ok(again)
    })
}

/// Decides about every block with refused members.
async fn settle(
    session: &mut Session,
    (round, story): (&mut Round, &mut Story),
    may_wait: bool,
    moved: &mut Moved,
) -> Result<(), LedgerError> {
    let open: Vec<Incarnation> = story.open.keys().cloned().collect();
    for life in open {
        let Some((since, refused)) = story.open.remove(&life) else { continue };
        let living = session.ledger.attempts_unfinished()?;
        let of_life: Vec<Attempt> = living
            .into_iter()
            .filter(|attempt| attempt.is.place.block.as_ref() == Some(&life))
            .collect();
        let members = members(session, (&of_life, &refused), &round.attempts).await;
        let may_wait = may_wait && since.elapsed() < WAIT_MAX;
        match judge(&members, may_wait) {
            Verdict::Wait => {
                story.open.insert(life, (since, refused));
            }
            Verdict::Fail(nodes) => moved.failed.extend(nodes),
            Verdict::Requeue(nodes) => requeue(session, &life, (nodes, refused), moved).await,
            Verdict::Move(nodes) => {
                tracing::warn!(block = %life, nodes = hostlist::fold_set(&nodes),
                    "the gang moves as a whole: what was made of it is deleted");
                let given_up: Vec<Attempt> = of_life
                    .into_iter()
                    .filter(|a| a.state.is_wanted() && nodes.contains(&a.is.node))
                    .collect();
                begin(session, (&mut *round, &mut *story), (&nodes, &given_up), moved)?;
            }
        }
    }
    Ok(())
}

/// Slurm gives the whole gang back: its job is requeued at once, SuspendProgram deletes the VMs,
/// and the next resume finds an empty block.
async fn requeue(
    session: &Session,
    life: &Incarnation,
    (nodes, refused): (BTreeSet<NodeName>, BTreeSet<NodeName>),
    moved: &mut Moved,
) {
    let names: Vec<NodeName> = nodes.iter().cloned().collect();
    let folded = hostlist::fold_sorted(&names);
    let text = format!("a part of block {} was refused, the whole gang begins anew", life.block);
    let reason = reason::reason("capacity", &text, None);
    match session.slurm.update(&names, NodeVerb::PowerDownForce, Some(&reason)).await {
        Ok(()) => {
            tracing::warn!(nodes = folded, "told slurmctld: state=power_down_force: {reason}")
        }
        Err(error) => {
            tracing::error!(
                nodes = folded,
                "cannot tell slurmctld to give them back: {}; those \
                that were refused are told alone",
                chain_of(&error)
            );
            moved.failed.extend(refused);
        }
    }
}

/// One transaction: what stands of the nodes is given up, and they are planned anew. Then their
/// errands.
fn begin(
    session: &mut Session,
    (round, story): (&mut Round, &mut Story),
    (nodes, given_up): (&BTreeSet<NodeName>, &[Attempt]),
    moved: &mut Moved,
) -> Result<(), LedgerError> {
    let nodes = within_bounds(story, nodes, &mut moved.failed);
    if nodes.is_empty() {
        return Ok(());
    }
    let (texts, _logged_by_the_front) = texts::load(&session.config);
    let config = session.config.clone();
    let holder = story.holder.clone();
    let usages_age_max = USAGES_TRUSTED;
    let intending = Intending { holder: &holder, config: &config, texts: &texts, usages_age_max };
    let unsent: BTreeSet<VmName> = given_up
        .iter()
        .filter(|attempt| round.is_unsent(&attempt.is.vm))
        .map(|attempt| attempt.is.vm.clone())
        .collect();
    let begun = session.ledger.write(|writer| {
        for attempt in given_up {
            give_up(writer, &holder, (attempt, unsent.contains(&attempt.is.vm)))?;
        }
        let names: Vec<NodeName> = nodes.iter().cloned().collect();
        let known = writer.attempts_of(&names)?;
        let request = ResumeRequest { nodes: names, jobs: jobs_of(&known), replace_running: false };
        intend_within(writer, &intending, &request)
    })?;
    let Intended { created, refused, unknown, .. } = begun;
    moved.begun += created.len();
    moved.failed.extend(refused.into_iter().chain(unknown));
    // First what begins anew: a job waits for it.
    round.add_new(session, (&holder, &nodes))?;
    for attempt in given_up {
        round.give_up(session, attempt, unsent.contains(&attempt.is.vm));
    }
    Ok(())
}

/// Nodes that have not begun too often.
fn within_bounds(
    story: &mut Story,
    nodes: &BTreeSet<NodeName>,
    failed: &mut BTreeSet<NodeName>,
) -> BTreeSet<NodeName> {
    let mut within = BTreeSet::new();
    for node in nodes {
        let begun = story.begun.entry(node.clone()).or_insert(0);
        *begun += 1;
        if *begun <= BEGINS_MAX {
            within.insert(node.clone());
        } else {
            tracing::error!(%node, code = CODE_NO_PLACE, "began {BEGINS_MAX} times without an \
                end: given up");
            failed.insert(node.clone());
        }
    }
    within
}

fn give_up(
    writer: &mut Writer<'_>,
    holder: &Holder,
    (attempt, is_unsent): (&Attempt, bool),
) -> Result<(), LedgerError> {
    let at = now();
    let ask = LeaseAsk { holder, take: Take::Seize, now: at, until: at.plus(LEASE_FOR) };
    let answer = writer.lease(&attempt.is.node, &ask)?;
    let Some(lease) = answer.granted() else { return Ok(()) };
    let change = if is_unsent {
        let text = "its gang moves, and nothing of it was sent".to_owned();
        let code = CODE_RECALLED.to_owned();
        Change::Refused(AzureSays { code, text, request_id: None })
    } else {
        Change::DeleteIntended { why: EndReason::Superseded, says: None }
    };
    let recorded = writer.record(&lease, &attempt.is.vm, &change, at)?;
    tracing::info!(node = %attempt.is.node, vm = %attempt.is.vm, ?recorded, "given up here");
    Ok(())
}

impl Round {
    /// Whether nothing of an attempt can have been sent: it waits for its block.
    fn is_unsent(&self, vm: &VmName) -> bool {
        let is_intended = |(_, attempt): &(Lease, Attempt)| attempt.state == AttemptState::Intended;
        self.attempts.get(vm).is_some_and(is_intended) && !self.recalls.contains_key(vm)
    }

    /// The errands of an attempt that was given up: a PUT that is under way is called back, what
    /// exists is deleted.
    fn give_up(&mut self, session: &Session, given_up: &Attempt, is_unsent: bool) {
        let vm = &given_up.is.vm;
        let Some((lease, attempt)) = self.attempts.get_mut(vm) else {
            // Another program's until now: whoever passes next finds the decision in the ledger.
            return;
        };
        if is_unsent {
            attempt.state = AttemptState::Refused;
            return;
        }
        let was = attempt.state;
        attempt.state = AttemptState::DeleteIntended;
        match (was, self.recalls.get(vm)) {
            (AttemptState::Intended, Some(recall)) => recall.call(),
            (AttemptState::Intended, None) => {}
            (
                AttemptState::Accepted
                | AttemptState::Running
                | AttemptState::DeleteIntended
                | AttemptState::Deleting
                | AttemptState::Refused
                | AttemptState::Gone,
                _,
            ) => {
                let lease = lease.clone();
                self.errands.stop(&lease, vm);
                self.add_deletion(session, vm);
            }
        }
    }
}
