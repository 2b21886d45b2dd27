//! slurmd has registered: what a pass sees of it, and what it means for the boot-failure guard
//! (`azslurm_core::boot`).

use std::collections::BTreeSet;

use azslurm_core::Timestamp;
use azslurm_core::attempt::{Attempt, Change};
use azslurm_core::boot::{Missed, VmFate};
use azslurm_core::decide::{AttemptAction, LeaseView, SlurmView};
use azslurm_core::hold::Success;
use azslurm_ledger::{Event, LedgerError};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, holds, now, view};
use azslurm_slurm::Node;

use crate::act;
use crate::observe::Observation;
use crate::pass::Decided;

/// Writes down which nodes are up on a VM of theirs for the first time, and ends the holds that
/// this disproves. How many are.
pub fn note(session: &mut Session, seen: &Observation) -> Result<usize, Stop> {
    let up = just_up(seen);
    if up.is_empty() {
        return Ok(0);
    }
    act::as_holder(session, |session, holder| {
        let config = session.config.clone();
        let nodes: BTreeSet<_> = up.iter().map(|attempt| attempt.is.node.clone()).collect();
        session.ledger.write(|writer| {
            let changed = act::changed(writer, seen, &nodes)?;
            let mut noted = up;
            noted.retain(|attempt| !changed.contains(&attempt.is.node));
            for attempt in &noted {
                let (node, vm) = (&attempt.is.node, &attempt.is.vm);
                let Some(lease) = act::lease(writer, holder, node)? else { continue };
                let _late_for_one_that_goes =
                    writer.record(&lease, vm, &Change::Registered, now())?;
            }
            holds::end(writer, &config, (&noted, Success::Registered))?;
            Ok::<_, LedgerError>(noted.len())
        })
    })
}

/// VMs whose nodes slurmctld has up, and of which the ledger does not say so yet. Where a node has
/// several VMs it is not known which one it runs on.
fn just_up(seen: &Observation) -> Vec<Attempt> {
    let mut up = Vec::new();
    for attempts in seen.attempts.by_node() {
        let node = &attempts[0].is.node;
        let mut wanted = attempts.iter().filter(|attempt| attempt.state.is_wanted());
        let (Some(attempt), None) = (wanted.next(), wanted.next()) else { continue };
        let is_news = attempt.registered_at.is_none()
            && seen.slurm_view(node) == SlurmView::Up
            && seen.lease_view(node) == LeaseView::Free;
        if is_news {
            up.push(attempt.clone());
        }
    }
    up
}

/// VMs that a pass deletes because their nodes missed ResumeTimeout (azslurm-resume-fail was not
/// called for them), or because a step of their set-up failed, as they say themselves.
pub(crate) fn missed(seen: &Observation, decided: &[&Decided]) -> Vec<Missed> {
    let mut missed = Vec::new();
    for one in decided {
        let Some(told) = seen.node(&one.node).and_then(|node| not_come(one.slurm, node)) else {
            continue;
        };
        let is_deleted = |attempt: &&Attempt| {
            let mut of_one = one.attempts.iter();
            of_one.any(|(vm, action, _)| *vm == attempt.is.vm && *action == AttemptAction::Delete)
        };
        let deleted = seen.attempts_of(&one.node).iter().filter(is_deleted).cloned();
        missed.extend(deleted.map(|attempt| {
            let fate = fate(&attempt, told.is_some());
            Missed { attempt, fate, told: told.clone() }
        }));
    }
    missed
}

/// Whether a node has not come, and then what it says itself.
fn not_come(slurm: SlurmView, node: &Node) -> Option<Option<String>> {
    let told = view::failed_set_up(node);
    let is_off = matches!(slurm, SlurmView::OffFailed | SlurmView::OffCompleting);
    let has_told = told.is_some() && (is_off || slurm == SlurmView::BootingRefused);
    let is_late = is_off && view::missed_resume_timeout(node);
    (has_told || is_late).then_some(told)
}

/// A node that speaks runs, also if nobody has written down that Azure has made it.
fn fate(attempt: &Attempt, has_told: bool) -> VmFate {
    if has_told || attempt.running_at.is_some() { VmFate::Runs } else { VmFate::NotProvisioned }
}

/// What nodes have told, for whoever asks later.
pub(crate) fn events(missed: &[Missed], at: Timestamp) -> Vec<Event> {
    let one = |missed: &Missed| {
        let is = &missed.attempt.is;
        let text = format!("the set-up of {} failed: {}", is.node, missed.told.as_ref()?);
        let mut event = Event::new(at, "boot-failed", text);
        event.node = Some(is.node.clone());
        event.vm = Some(is.vm.clone());
        event.job = is.jobs.first().copied();
        event.site = Some(is.place.site.clone());
        Some(event)
    };
    missed.iter().filter_map(one).collect()
}
