//! slurmd has registered: what a pass sees of it, and what it means for the boot-failure guard
//! (`azslurm_core::boot`).

use std::collections::BTreeSet;

use azslurm_core::attempt::{Attempt, Change};
use azslurm_core::boot::VmFate;
use azslurm_core::decide::{AttemptAction, LeaseView, SlurmView};
use azslurm_core::hold::Success;
use azslurm_ledger::LedgerError;
use azslurm_program::exit::Stop;
use azslurm_program::{Session, holds, now, view};

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
    for (node, attempts) in &seen.attempts {
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

/// VMs that a pass deletes because their nodes missed ResumeTimeout: azslurm-resume-fail was not
/// called for them.
pub(crate) fn missed(seen: &Observation, decided: &[&Decided]) -> Vec<(Attempt, VmFate)> {
    let mut missed = Vec::new();
    for one in decided {
        let node = seen.node(&one.node);
        let is_off = matches!(one.slurm, SlurmView::OffFailed | SlurmView::OffCompleting);
        if !is_off || !node.is_some_and(view::missed_resume_timeout) {
            continue;
        }
        let is_deleted = |attempt: &&Attempt| {
            let mut of_one = one.attempts.iter();
            of_one.any(|(vm, action, _)| *vm == attempt.is.vm && *action == AttemptAction::Delete)
        };
        let deleted = seen.attempts_of(&one.node).iter().filter(is_deleted);
        missed.extend(deleted.map(|attempt| (attempt.clone(), fate(attempt))));
    }
    missed
}

fn fate(attempt: &Attempt) -> VmFate {
    if attempt.running_at.is_some() { VmFate::Runs } else { VmFate::NotProvisioned }
}
