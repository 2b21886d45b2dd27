//! One pass.

use std::collections::BTreeSet;
use std::time::Duration;

use azslurm_core::attempt::{Attempt, AttemptState};
use azslurm_core::block::{Block, Incarnation};
use azslurm_core::config::Ledger as Settings;
use azslurm_core::dead::spare_the_dead;
use azslurm_core::decide::{
    AttemptAction, AttemptReason, NodeAction, NodeReason, SlurmView, decide_attempt, decide_node,
};
use azslurm_core::{NodeName, Timestamp, VmName};
use azslurm_ledger::{Holder, Ledger, LedgerError};
use azslurm_program::alive::{self, Alive};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, now, view};
use azslurm_resume::drive::Orders;
use tokio::time::Instant;

use crate::act;
use crate::boots;
use crate::forgotten;
use crate::leftovers;
use crate::listing::{self, Listing};
use crate::lost;
use crate::observe::{Observation, observe, observe_again, standing_of};
use crate::orphans::{self, Orphan};
use crate::report::{Calls, Line, Report};
use crate::sources::LastPass;
use crate::takeover;
use crate::unexplained;

/// Attempts that ended this long ago are forgotten, but never a node's newest.
const ATTEMPTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Holds that ended this long ago are forgotten with their strikes.
const HOLDS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// A pass sends what it has to send, however short it may follow: so long at least.
const WAIT_MIN: Duration = Duration::from_secs(15);

/// What was seen is acted upon within this time: a pass without trouble takes less.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// What was decided about a node and each of its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The node.
    pub node: NodeName,
    /// What slurmctld says of it.
    pub slurm: SlurmView,
    /// About the node.
    pub node_action: NodeAction,
    /// Why.
    pub node_reason: NodeReason,
    /// About its attempts.
    pub attempts: Vec<(VmName, AttemptAction, AttemptReason)>,
    /// Whether its reason says what of ours keeps it down.
    pub has_our_reason: bool,
    /// The states of those.
    pub states: Vec<AttemptState>,
}

impl Decided {
    /// Whether anything is done in Azure.
    pub fn touches_azure(&self) -> bool {
        self.attempts.iter().any(|(_, action, _)| *action != AttemptAction::Leave)
    }

    /// What is to be done about the node and its VMs, and why, in our words.
    pub fn steps(&self) -> Vec<(String, String)> {
        let of_vms = self.attempts.iter().filter(|(_, action, _)| *action != AttemptAction::Leave);
        let of_vms =
            of_vms.map(|(_, action, reason)| (format!("{action:?}"), format!("{reason:?}")));
        let of_node = (self.node_action != NodeAction::Leave)
            .then(|| (format!("{:?}", self.node_action), format!("{:?}", self.node_reason)));
        of_node.into_iter().chain(of_vms).collect()
    }
}

/// How a pass is to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Decide and report, and do nothing.
    pub dry_run: bool,
    /// How long to follow what is under way.
    pub wait: Duration,
    /// Delete all orphans, however many there are.
    pub force: bool,
}

/// Decides about everything that was observed, in the order of the nodes' names.
pub fn decide(session: &Session, seen: &Observation) -> Vec<Decided> {
    let mut holding = seen.holding(session);
    let decide_one = |node: &NodeName| {
        let told = seen.node(node);
        let (slurm, lease) = (seen.view_of(told), seen.lease_view(node));
        let attempts = seen.attempts_of(node);
        let is_held = holding.is_held(node, slurm);
        let (node_action, node_reason) = decide_node(slurm, lease, standing_of(attempts), is_held);
        let decide_it = |attempt: &Attempt| {
            let (action, reason) = decide_attempt(slurm, lease, attempt.state);
            (attempt.is.vm.clone(), action, reason)
        };
        Decided {
            slurm,
            node_action,
            node_reason,
            attempts: attempts.iter().map(decide_it).collect(),
            states: attempts.iter().map(|attempt| attempt.state).collect(),
            has_our_reason: told.is_some_and(view::has_our_reason),
            node: node.clone(),
        }
    };
    let mut decided: Vec<Decided> = seen.nodes(session).into_iter().map(decide_one).collect();
    takeover::spare(seen, &mut decided);
    spare_the_dead(decided.iter_mut().map(|one| (&mut one.node_action, &mut one.node_reason)));
    decided
}

/// Observes, decides, acts, and says what it did.
pub async fn pass(session: &mut Session, options: Options) -> Result<Report, Stop> {
    // Azure first: what it lists and the ledger does not know then, nobody has just begun.
    let begun = now();
    let before = asked(session);
    let mut listing = listing::list(session).await;
    let mut seen = observe(session).await.map_err(Stop::failed)?;
    listing.judge(seen.attempts.iter());
    seen.trust = takeover::trust(session, &seen, &listing).map_err(Stop::failed)?;
    if options.dry_run {
        let mut report = foresee(session, &seen, listing.clone());
        report.leftovers = leftovers::take(session, &listing, true).await?;
        report.forgotten = forgotten::take(session, seen.trust, true).await?.lines;
        return Ok(report);
    }
    let looked = look_closer(session, (seen, &mut listing)).await.map_err(Stop::failed)?;
    let (mut seen, mut decided) = looked;
    let known = known(begun, &seen, &listing);
    listing::remember(session, &listing).map_err(Stop::failed)?;
    takeover::remember(session, seen.trust).map_err(Stop::failed)?;
    // What is gone first: a node's other VM can be taken for the node's only then.
    if lost::take(session, &seen, &listing).await? > 0 {
        (seen, decided) = decide_again(session, &seen).await.map_err(Stop::failed)?;
    }
    (seen, decided) = fresh(session, (seen, decided)).await.map_err(Stop::failed)?;
    let found = orphans::decide(session, &seen, &listing);
    let taken = orphans::take(session, (&seen, &found), options.force).await?;
    if taken.adopted + taken.doomed > 0 {
        (seen, decided) = decide_again(session, &seen).await.map_err(Stop::failed)?;
    }
    warn_of_the_dead(&decided);
    act::tell_lost(session, &decided).await.map_err(Stop::failed)?;
    let leftovers = leftovers::take(session, &listing, false).await?;
    let forgotten = forgotten::take(session, seen.trust, false).await?;
    (seen, decided) = fresh(session, (seen, decided)).await.map_err(Stop::failed)?;
    let mut report = report_of(&seen, &decided);
    report.orphans = found.iter().map(orphan_line).collect();
    report.orphans_left = taken.beyond;
    report.azure_incomplete = listing.incomplete();
    report.azure_instead = listing.instead();
    (report.leftovers, report.forgotten) = (leftovers, forgotten.lines);
    let is_work = |d: &Decided| d.touches_azure() || d.node_action == NodeAction::Resume;
    let unfinished = seen.attempts.iter().filter(|a| !a.state.is_ended());
    let empty = empty_blocks(&seen.seen.blocks, unfinished) + forgotten.doomed;
    if decided.iter().any(is_work) || empty > 0 {
        carry_out(session, (&seen, &decided), options.wait, &mut report).await?;
        let (_, decided) = decide_again(session, &seen).await.map_err(Stop::failed)?;
        finish(session, &decided, &mut report).await?;
    } else {
        finish(session, &decided, &mut report).await?;
    }
    boots::note(session, &seen)?;
    unexplained::ask(session).await.map_err(Stop::failed)?;
    tidy(session, known).map_err(Stop::failed)?;
    report.left = left(session).map_err(Stop::failed)?;
    report.calls = asked(session).since(before);
    Ok(report)
}

/// The same, or what is seen now if that was long ago. Where each answer of Azure takes half a
/// minute a node may be up by then whose VM nobody seemed to want.
async fn fresh(
    session: &Session,
    (seen, decided): (Observation, Vec<Decided>),
) -> Result<(Observation, Vec<Decided>), LedgerError> {
    if now().since(seen.at) < SEEN_FOR {
        return Ok((seen, decided));
    }
    decide_again(session, &seen).await
}

/// Observes once more, and decides.
async fn decide_again(
    session: &Session,
    before: &Observation,
) -> Result<(Observation, Vec<Decided>), LedgerError> {
    let seen = observe_again(session, before).await?;
    let decided = decide(session, &seen);
    Ok((seen, decided))
}

/// A request of slurmctld's that no ledger knows may have been carried out already, by a program
/// whose ledger was taken away: what Azure has now is asked for before its VMs are made once more.
async fn look_closer(
    session: &Session,
    (seen, listing): (Observation, &mut Listing),
) -> Result<(Observation, Vec<Decided>), LedgerError> {
    let is_lost = |one: &Decided| one.node_reason == NodeReason::ResumeWasLost;
    let decided = decide(session, &seen);
    if !decided.iter().any(is_lost) {
        return Ok((seen, decided));
    }
    listing::list_now(session, listing).await;
    // Again Azure first.
    let (seen, decided) = decide_again(session, &seen).await?;
    listing.judge(seen.attempts.iter());
    Ok((seen, decided))
}

/// What the session has asked so far.
fn asked(session: &Session) -> Calls {
    Calls { azure: session.clients.calls().total(), slurm: session.slurm.runs() }
}

/// What a pass would do about what was seen: the report of a dry run. Asks nobody.
pub(crate) fn foresee(session: &Session, seen: &Observation, mut listing: Listing) -> Report {
    listing.judge(seen.attempts.iter());
    let mut report = report_of(seen, &decide(session, seen));
    report.dry_run = true;
    report.orphans = orphans::decide(session, seen, &listing).iter().map(orphan_line).collect();
    let suspects = lost::suspects(seen, &listing);
    report.suspects = suspects.iter().map(|one| suspect_line(seen, one)).collect();
    report.azure_incomplete = listing.incomplete();
    report.azure_instead = listing.instead();
    report
}

fn warn_of_the_dead(decided: &[Decided]) {
    let is_spared = |one: &&Decided| one.node_reason == NodeReason::TooManyAreDead;
    let spared: Vec<NodeName> =
        decided.iter().filter(is_spared).map(|one| one.node.clone()).collect();
    if !spared.is_empty() {
        tracing::error!(
            nodes = azslurm_core::hostlist::fold_sorted(&spared),
            "slurmctld calls {} nodes DOWN because slurmd does not answer, and so many are hardly \
            dead at once: their VMs are kept. Look at the network between slurmctld and them; \
            scontrol update nodename=... state=power_down gives them back",
            spared.len()
        );
    }
}

/// VMs and blocks whose work is not finished.
fn left(session: &Session) -> Result<usize, LedgerError> {
    let vms = session.ledger.attempts_in_motion()?.len();
    let blocks = session.ledger.blocks_unfinished()?;
    if blocks.is_empty() {
        return Ok(vms);
    }
    Ok(vms + empty_blocks(&blocks, &session.ledger.attempts_unfinished()?))
}

/// How many blocks have no VM that has not ended: they are to be removed.
fn empty_blocks<'a>(blocks: &[Block], unfinished: impl IntoIterator<Item = &'a Attempt>) -> usize {
    let lives: BTreeSet<&Incarnation> =
        unfinished.into_iter().filter_map(|attempt| attempt.is.place.block.as_ref()).collect();
    blocks.iter().filter(|block| !lives.contains(&block.life)).count()
}

async fn carry_out(
    session: &mut Session,
    (seen, decided): (&Observation, &[Decided]),
    wait: Duration,
    report: &mut Report,
) -> Result<(), Stop> {
    if let Err(stop) = session.connect() {
        // What slurmctld is to be told does not depend on Azure.
        tracing::error!("{}", stop.text());
        report.azure_unknown = Some(stop.text());
        return Ok(());
    }
    let holder = Holder::new("azslurm-sync", now(), std::process::id());
    let alive = Alive::begin(&session.config.ledger.path, &holder).map_err(Stop::failed)?;
    report.passed_over = act::take(session, &holder, (seen, decided)).map_err(Stop::failed)?;
    let orders = orders(decided, Instant::now() + wait.max(WAIT_MIN));
    report.driven =
        azslurm_resume::drive::drive(session, &holder, &orders).await.map_err(Stop::failed)?;
    session.end(&holder).map_err(Stop::failed)?;
    drop(alive);
    Ok(())
}

/// A driver makes every intent of its nodes; of those that were decided otherwise it keeps its
/// hands off.
fn orders(decided: &[Decided], until: Instant) -> Orders {
    let intents = |wanted: AttemptAction| {
        let of_one = |one: &Decided| -> Vec<VmName> {
            let attempts = one.attempts.iter().zip(&one.states);
            attempts
                .filter(|((_, action, _), state)| {
                    **state == AttemptState::Intended && *action == wanted
                })
                .map(|((vm, ..), _)| vm.clone())
                .collect()
        };
        decided.iter().flat_map(of_one).collect()
    };
    let leave = intents(AttemptAction::Leave);
    let look = intents(AttemptAction::Follow);
    let waits = |one: &&Decided| one.slurm == SlurmView::Booting;
    let awaited = decided.iter().filter(waits).map(|one| one.node.clone()).collect();
    Orders { until, tells_refusals: false, leave, look, awaited: Some(awaited) }
}

/// Tells slurmctld what follows from how things stand now.
async fn finish(
    session: &mut Session,
    decided: &[Decided],
    report: &mut Report,
) -> Result<(), Stop> {
    act::tell(session, decided).await.map_err(Stop::failed)?;
    let tells = |d: &&Decided| {
        matches!(d.node_action, NodeAction::Return | NodeAction::PowerDown | NodeAction::Refuse)
    };
    for told in decided.iter().filter(tells) {
        let line = node_line(told);
        let is_it = |said: &Line| said.vm.is_none() && said.node == line.node;
        if !report.lines.iter().any(|said| is_it(said) && said.action == line.action) {
            report.lines.push(line);
        }
    }
    Ok(())
}

/// What the pass came to know, for whoever looks.
fn known(begun: Timestamp, seen: &Observation, listing: &Listing) -> LastPass {
    let incomplete = listing.incomplete();
    LastPass {
        began_at: begun,
        ended_at: begun,
        slurm_at: seen.slurm.is_ok().then_some(seen.at),
        slurm_unknown: seen.slurm.as_ref().err().cloned(),
        azure_at: incomplete.is_empty().then_some(begun),
        azure_incomplete: incomplete,
    }
}

fn tidy(session: &mut Session, known: LastPass) -> Result<(), LedgerError> {
    let (at, settings) = (now(), session.config.ledger.clone());
    forget(&mut session.ledger, &settings, at)?;
    session.ledger.write(|writer| LastPass { ended_at: at, ..known }.keep(writer))?;
    alive::prune(&settings.path);
    Ok(())
}

/// Forgets what is too old to be of use: what keeps the ledger bounded.
pub fn forget(ledger: &mut Ledger, settings: &Settings, at: Timestamp) -> Result<(), LedgerError> {
    ledger.write(|writer| {
        writer.prune_events(at, settings.events_age_max, settings.events_max)?;
        writer.prune_attempts(at.minus(ATTEMPTS_KEPT))?;
        writer.prune_holds(at.minus(HOLDS_KEPT))?;
        writer.prune_blocks(at.minus(ATTEMPTS_KEPT))?;
        writer.prune_facts(at.minus(ATTEMPTS_KEPT))?;
        Ok(())
    })
}

fn report_of(seen: &Observation, decided: &[Decided]) -> Report {
    let mut lines = Vec::new();
    for one in decided {
        let attempts = one.attempts.iter().zip(&one.states);
        for ((vm, action, reason), state) in attempts {
            if *action != AttemptAction::Leave {
                lines.push(Line {
                    node: one.node.clone(),
                    vm: Some(vm.clone()),
                    slurm: format!("{:?}", one.slurm),
                    ledger: state.word().to_owned(),
                    action: format!("{action:?}"),
                    reason: format!("{reason:?}"),
                });
            }
        }
        if one.node_action != NodeAction::Leave {
            lines.push(node_line(one));
        }
    }
    let unfinished = |d: &Decided| d.states.iter().filter(|state| !state.is_ended()).count();
    Report {
        nodes: decided.len(),
        vms: decided.iter().map(unfinished).sum(),
        slurm_unknown: seen.slurm.as_ref().err().cloned(),
        lines,
        ..Report::default()
    }
}

fn orphan_line(orphan: &Orphan) -> Line {
    Line {
        node: orphan.node.clone(),
        vm: Some(orphan.vm.clone()),
        slurm: String::new(),
        ledger: "unknown".to_owned(),
        action: format!("{:?}", orphan.action),
        reason: format!("{:?}", orphan.reason),
    }
}

/// A VM that Azure is asked for by name, because its list says that it does not run.
fn suspect_line(seen: &Observation, attempt: &Attempt) -> Line {
    Line {
        node: attempt.is.node.clone(),
        vm: Some(attempt.is.vm.clone()),
        slurm: format!("{:?}", seen.slurm_view(&attempt.is.node)),
        ledger: attempt.state.word().to_owned(),
        action: "Ask".to_owned(),
        reason: "ListedAsLost".to_owned(),
    }
}

fn node_line(decided: &Decided) -> Line {
    Line {
        node: decided.node.clone(),
        vm: None,
        slurm: format!("{:?}", decided.slurm),
        ledger: decided.states.iter().map(|s| s.word()).collect::<Vec<_>>().join(","),
        action: format!("{:?}", decided.node_action),
        reason: format!("{:?}", decided.node_reason),
    }
}
