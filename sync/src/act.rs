//! Doing what was decided, under leases, through the halves of resume and suspend.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::NodeName;
use azslurm_core::attempt::{Attempt, Change, EndReason};
use azslurm_core::decide::{AttemptAction, NodeAction, NodeReason, SlurmView, Standing};
use azslurm_core::plan::held_everywhere;
use azslurm_ledger::{Holder, Lease, LeaseAsk, LeaseRow, LedgerError, Reader, Take, Writer};
use azslurm_program::alive::Alive;
use azslurm_program::errands::LEASE_FOR;
use azslurm_program::exit::Stop;
use azslurm_program::facts::USAGES_TRUSTED;
use azslurm_program::sight::Seen;
use azslurm_program::{Session, holds, now};
use azslurm_resume::front;
use azslurm_resume::request::ResumeRequest;
use azslurm_slurm::{NodeVerb, SlurmError, reason};

use crate::boots;
use crate::observe::Observation;
use crate::pass::Decided;

/// Writes under leases of its own, which end with it.
pub(crate) fn as_holder<T>(
    session: &mut Session,
    work: impl FnOnce(&mut Session, &Holder) -> Result<T, LedgerError>,
) -> Result<T, Stop> {
    let holder = Holder::new("azslurm-sync", now(), std::process::id());
    let alive = Alive::begin(&session.config.ledger.path, &holder).map_err(Stop::failed)?;
    let done = work(session, &holder).map_err(Stop::failed)?;
    session.end(&holder).map_err(Stop::failed)?;
    drop(alive);
    Ok(done)
}

/// Takes the leases of every node that something is to be done about in Azure, writes deletions
/// that were decided, and asks for VMs that were lost. Nodes that have changed since they were
/// observed are left out and returned.
pub fn take(
    session: &mut Session,
    holder: &Holder,
    (seen, decided): (&Observation, &[Decided]),
) -> Result<Vec<NodeName>, LedgerError> {
    let config = session.config.clone();
    let touched: Vec<&Decided> = decided.iter().filter(|one| one.touches_azure()).collect();
    let is_asked_for = |one: &&Decided| one.node_action == NodeAction::Resume;
    let asked_for: Vec<NodeName> =
        decided.iter().filter(is_asked_for).map(|one| one.node.clone()).collect();
    let passed_over = session.ledger.write(|writer| {
        let nodes = touched.iter().map(|one| &one.node).chain(&asked_for).cloned().collect();
        let changed = changed(writer, seen, &nodes)?;
        for decided in touched.iter().filter(|one| !changed.contains(&one.node)) {
            if let Some(lease) = lease(writer, holder, &decided.node)? {
                write_deletions(writer, &lease, decided)?;
            }
        }
        let touched: Vec<&Decided> =
            touched.iter().filter(|one| !changed.contains(&one.node)).copied().collect();
        let missed = boots::missed(seen, &touched);
        boots::events(&missed, now()).iter().try_for_each(|event| writer.event(event))?;
        holds::strike_boots(writer, &config, (&missed, now()))?;
        Ok::<_, LedgerError>(changed)
    })?;
    let nodes: Vec<NodeName> =
        asked_for.into_iter().filter(|node| !passed_over.contains(node)).collect();
    if !nodes.is_empty() {
        let request = ResumeRequest { nodes, jobs: Vec::new(), replace_running: false };
        front::intend(session, holder, &request)?;
    }
    Ok(passed_over)
}

/// Nodes whose lease or attempts are not as they were observed: whoever changes an attempt has a
/// lease, and a lease that changes hands grows in generation.
pub(crate) fn changed(
    reader: &Reader,
    seen: &Observation,
    nodes: &BTreeSet<NodeName>,
) -> Result<Vec<NodeName>, LedgerError> {
    let nodes: Vec<NodeName> = nodes.iter().cloned().collect();
    let leases: BTreeMap<NodeName, LeaseRow> =
        reader.leases()?.into_iter().map(|row| (row.node.clone(), row)).collect();
    let mut attempts: BTreeMap<NodeName, Vec<Attempt>> = BTreeMap::new();
    for attempt in reader.attempts_of(&nodes)? {
        attempts.entry(attempt.is.node.clone()).or_default().push(attempt);
    }
    let generation = |row: Option<&LeaseRow>| row.map(|row| row.generation);
    let is_changed = |node: &NodeName| {
        generation(leases.get(node)) != generation(seen.leases.get(node))
            || attempts.get(node).map_or(&[][..], Vec::as_slice) != seen.attempts_of(node)
    };
    Ok(nodes.into_iter().filter(is_changed).collect())
}

pub(crate) fn lease(
    writer: &mut Writer<'_>,
    holder: &Holder,
    node: &NodeName,
) -> Result<Option<Lease>, LedgerError> {
    let at = now();
    // The holder, if there is one, was seen dead or expired.
    let ask = LeaseAsk { holder, take: Take::Seize, now: at, until: at.plus(LEASE_FOR) };
    Ok(writer.lease(node, &ask)?.granted())
}

fn write_deletions(
    writer: &mut Writer<'_>,
    lease: &Lease,
    decided: &Decided,
) -> Result<(), LedgerError> {
    for (vm, action, _) in &decided.attempts {
        if *action == AttemptAction::Delete {
            let change = Change::DeleteIntended { why: EndReason::Orphaned, says: None };
            let recorded = writer.record(lease, vm, &change, now())?;
            tracing::info!(node = %decided.node, %vm, ?recorded, "to be deleted: nobody waits");
        }
    }
    Ok(())
}

/// Tells slurmctld what was decided about nodes.
pub async fn tell(session: &mut Session, decided: &[Decided]) -> Result<(), LedgerError> {
    let with = |action: NodeAction| -> Vec<NodeName> {
        decided.iter().filter(|d| d.node_action == action).map(|d| d.node.clone()).collect()
    };
    let refused = with(NodeAction::Refuse).into_iter().collect();
    azslurm_resume::tell::refused(session, (&refused, false)).await?;
    say(session, &with(NodeAction::Return), (NodeVerb::Resume, None)).await;
    let over = [
        (NodeReason::HoldIsOver, NodeVerb::PowerDownForce, "hold-over", "it may be used again"),
        (NodeReason::SlurmdIsDead, NodeVerb::PowerDown, "dead", "slurmd does not answer"),
    ];
    for (why, verb, code, text) in over {
        let is_so = |d: &&Decided| (d.node_action, d.node_reason) == (NodeAction::PowerDown, why);
        let nodes: Vec<NodeName> = decided.iter().filter(is_so).map(|d| d.node.clone()).collect();
        say(session, &nodes, (verb, Some(&reason::reason(code, text, None)))).await;
    }
    for (reason, nodes) in silent(session, decided)? {
        say(session, &nodes, (NodeVerb::Down, Some(&reason))).await;
    }
    // Once more: the first word requeues the jobs, and then slurmctld waits until SlurmdTimeout for
    // a dead slurmd to confirm their ends. The second word ends that (seen with 22.05).
    tell_lost(session, decided).await
}

/// Nodes that a hold keeps down and that do not say so (slurmctld took them down for its
/// ResumeTimeout), by the reason that they are to have.
fn silent(
    session: &Session,
    decided: &[Decided],
) -> Result<BTreeMap<String, Vec<NodeName>>, LedgerError> {
    let is_silent = |one: &&Decided| {
        let is_held = one.node_reason == NodeReason::HoldLasts;
        is_held && one.slurm == SlurmView::OffFailed && !one.has_our_reason
    };
    let silent: Vec<&Decided> = decided.iter().filter(is_silent).collect();
    let mut by_reason: BTreeMap<String, Vec<NodeName>> = BTreeMap::new();
    if silent.is_empty() {
        return Ok(by_reason);
    }
    let seen = Seen::read(&session.ledger, &session.config, (USAGES_TRUSTED, now()))?;
    let sight = seen.sight(&session.config);
    for one in silent {
        if let Some(hold) = held_everywhere(&one.node, &sight) {
            let reason = azslurm_resume::tell::of_hold(hold);
            by_reason.entry(reason).or_default().push(one.node.clone());
        }
    }
    Ok(by_reason)
}

/// Tells slurmctld at once of nodes that have lost their VMs: their jobs are requeued, and
/// SuspendProgram is called for them.
pub async fn tell_lost(session: &Session, decided: &[Decided]) -> Result<(), LedgerError> {
    for (reason, nodes) in lost(session, decided)? {
        say(session, &nodes, (NodeVerb::PowerDownForce, Some(&reason))).await;
    }
    Ok(())
}

fn is_lost(decided: &Decided) -> bool {
    (decided.node_action, decided.node_reason) == (NodeAction::PowerDown, NodeReason::VmIsLost)
}

/// Nodes that have lost their VMs, by the reason that slurmctld is given. The ledger is read once
/// more, after slurmctld called them up: a VM that was asked for since then would be there.
fn lost(
    session: &Session,
    decided: &[Decided],
) -> Result<BTreeMap<String, Vec<NodeName>>, LedgerError> {
    let nodes: Vec<NodeName> =
        decided.iter().filter(|one| is_lost(one)).map(|one| one.node.clone()).collect();
    let mut attempts: BTreeMap<NodeName, Vec<Attempt>> = BTreeMap::new();
    for attempt in session.ledger.attempts_of(&nodes)? {
        attempts.entry(attempt.is.node.clone()).or_default().push(attempt);
    }
    let mut lost: BTreeMap<String, Vec<NodeName>> = BTreeMap::new();
    for (node, attempts) in attempts {
        let standing = Standing::of(attempts.iter().map(|attempt| (attempt.state, attempt.why)));
        if !matches!(standing, Standing::Lost | Standing::LostGone) {
            continue;
        }
        let says = attempts.iter().rev().find_map(|attempt| attempt.says.as_ref());
        let text = says.map_or("its VM is not there any more", |says| says.text.as_str());
        lost.entry(reason::reason("evicted", text, None)).or_default().push(node);
    }
    Ok(lost)
}

async fn say(session: &Session, nodes: &[NodeName], (verb, reason): (NodeVerb, Option<&str>)) {
    if nodes.is_empty() {
        return;
    }
    let folded = azslurm_core::hostlist::fold_sorted(nodes);
    match session.slurm.update(nodes, verb, reason).await {
        Ok(()) => tracing::info!(nodes = folded, "told slurmctld: state={verb}"),
        // slurmctld was faster: SuspendTimeout ended, or a person acted.
        Err(error @ SlurmError::NotAllowed { .. }) => {
            tracing::info!(nodes = folded, "state={verb} is not needed any more: {error}");
        }
        Err(error) => tracing::error!(
            nodes = folded,
            "cannot tell slurmctld state={verb}: {}; the next pass does",
            azslurm_program::exit::chain_of(&error)
        ),
    }
}
