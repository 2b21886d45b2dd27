//! Telling slurmctld, at once, about nodes that cannot come: a job starts only when all its nodes
//! are up, so every refused VM of a thousand blocks it until somebody says so.
//!
//! ```text
//! refused nodes ─► state=down with the reason: their jobs are requeued
//!   ├─► the jobs' AdminComment says why they wait, and srun's and salloc's people are told
//!   └─► nodes that could not be had now either are kept from being chosen        (withhold.rs)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::attempt::{Attempt, AzureSays};
use azslurm_core::config::Config;
use azslurm_core::decide::SlurmView;
use azslurm_core::failure::{CODE_GANG, Moment, advice, understand};
use azslurm_core::hold::Hold;
use azslurm_core::plan::{Sight, held_everywhere};
use azslurm_core::{NodeName, Timestamp, hostlist};
use azslurm_ledger::LedgerError;
use azslurm_program::exit::chain_of;
use azslurm_program::facts::USAGES_TRUSTED;
use azslurm_program::sight::Seen;
use azslurm_program::{Session, now, view};
use azslurm_slurm::reason::reason;
use azslurm_slurm::{Job, JobState, NodeVerb};

use crate::withhold;

/// Jobs that are told why they wait, of one batch of refusals: each costs a run of scontrol.
const JOBS_TOLD_MAX: usize = 20;
/// From so many refusals in a row on the words say so.
const STRIKES_SAID: u32 = 3;

/// Sets those of `nodes` down that slurmctld waits for and that have no VM to come, each with its
/// reason, nodes of one reason in one call. Their jobs are requeued. What cannot be told now
/// azslurm-sync tells.
pub async fn refused(
    session: &mut Session,
    (nodes, just_failed): (&BTreeSet<NodeName>, bool),
) -> Result<(), LedgerError> {
    if nodes.is_empty() {
        return Ok(());
    }
    let names: Vec<NodeName> = nodes.iter().cloned().collect();
    let seen = Seen::read(&session.ledger, &session.config, (USAGES_TRUSTED, now()))?;
    let reasons = reasons(session, &seen.sight(&session.config), (&names, just_failed))?;
    let waiting = match session.slurm.nodes_named(&names).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(
                "cannot ask slurmctld about {}: {}; azslurm-sync tells it later",
                hostlist::fold_sorted(&names),
                chain_of(&error)
            );
            return Ok(());
        }
    };
    let mut by_reason: BTreeMap<&str, Vec<NodeName>> = BTreeMap::new();
    for node in waiting.iter().filter(|node| view::of(node) == SlurmView::Booting) {
        if let Some(reason) = reasons.get(&node.name) {
            by_reason.entry(reason).or_default().push(node.name.clone());
        }
    }
    if by_reason.is_empty() {
        return Ok(());
    }
    // Before the nodes are set down: a requeued job has none any more, and srun's job ends.
    let jobs = jobs_of(session, &by_reason).await;
    let (batch, interactive): (Vec<_>, Vec<_>) =
        waits(&by_reason, &jobs).into_iter().partition(|(job, _)| job.is_batch);
    notify(session, &interactive).await;
    comment(session, &interactive).await;
    for (reason, nodes) in &by_reason {
        tell(session, nodes, (NodeVerb::Down, reason)).await;
    }
    comment(session, &batch).await;
    let told: Vec<NodeName> = by_reason.into_values().flatten().collect();
    withhold::withhold(session, &told).await
}

/// Says `verb` about `nodes`; a failure is a line in the log, and the next pass says it again.
pub async fn tell(session: &Session, nodes: &[NodeName], (verb, reason): (NodeVerb, &str)) {
    let folded = hostlist::fold_sorted(nodes);
    match session.slurm.update(nodes, verb, Some(reason)).await {
        Ok(()) => tracing::info!(nodes = folded, "told slurmctld: state={verb}: {reason}"),
        Err(error) => tracing::error!(
            nodes = folded,
            "cannot tell slurmctld state={verb}: {}; azslurm-sync tells it later",
            chain_of(&error)
        ),
    }
}

/// The jobs that wait for nodes that are told about.
async fn jobs_of(session: &Session, by_reason: &BTreeMap<&str, Vec<NodeName>>) -> Vec<Job> {
    let jobs = match session.slurm.jobs().await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::warn!("cannot ask slurmctld which jobs wait: {}", chain_of(&error));
            return Vec::new();
        }
    };
    let nodes: BTreeSet<&NodeName> = by_reason.values().flatten().collect();
    let waits = |job: &Job| {
        let is_new = matches!(job.state, JobState::Configuring | JobState::Running);
        is_new && job.node_names().unwrap_or_default().iter().any(|node| nodes.contains(node))
    };
    jobs.into_iter().filter(waits).collect()
}

/// What each of `jobs` waits for, and why; as many as are told.
fn waits<'a>(by_reason: &BTreeMap<&str, Vec<NodeName>>, jobs: &'a [Job]) -> Vec<(&'a Job, String)> {
    if jobs.len() > JOBS_TOLD_MAX {
        let rest = jobs.len() - JOBS_TOLD_MAX;
        tracing::info!("{rest} more jobs wait for the same reasons; their nodes say why");
    }
    let text = |job: &'a Job| {
        let of_job = job.node_names().unwrap_or_default().into_iter().collect();
        let (reason, missing) = cause(by_reason, &of_job)?;
        Some((job, format!("waits for {missing}: {reason}")))
    };
    jobs.iter().take(JOBS_TOLD_MAX).filter_map(text).collect()
}

/// A line on the terminal of those who sit before one.
async fn notify(session: &Session, waits: &[(&Job, String)]) {
    for (job, text) in waits {
        match session.slurm.notify(job.id, text).await {
            Ok(()) => tracing::info!(job = job.id.0, "notified: {text}"),
            Err(error) => {
                tracing::info!(job = job.id.0, "nobody was notified: {}", chain_of(&error));
            }
        }
    }
}

/// `AdminComment`, for those who ask.
async fn comment(session: &Session, waits: &[(&Job, String)]) {
    for (job, text) in waits {
        match session.slurm.comment(job, text).await {
            Ok(()) => tracing::info!(job = job.id.0, "AdminComment: {text}"),
            // It has ended, or was cancelled.
            Err(error) => {
                tracing::info!(job = job.id.0, "no AdminComment: {}", chain_of(&error));
            }
        }
    }
}

/// The reason that a job is told, and its nodes that are missing for it. A node that is missing
/// only because another of its gang is explains nothing.
fn cause<'a>(
    by_reason: &BTreeMap<&'a str, Vec<NodeName>>,
    of_job: &BTreeSet<NodeName>,
) -> Option<(&'a str, String)> {
    let missing = by_reason.iter().filter_map(|(reason, nodes)| {
        let missing: Vec<&NodeName> = nodes.iter().filter(|n| of_job.contains(n)).collect();
        (!missing.is_empty()).then(|| (*reason, hostlist::fold_set(missing)))
    });
    missing.min_by_key(|(reason, _)| reason.contains(CODE_GANG))
}

/// Why each node cannot come: the hold that covers all its places, else what Azure said about its
/// last VM.
fn reasons(
    session: &Session,
    sight: &Sight<'_>,
    (nodes, just_failed): (&[NodeName], bool),
) -> Result<BTreeMap<NodeName, String>, LedgerError> {
    let mut last: BTreeMap<NodeName, Attempt> = BTreeMap::new();
    for attempt in session.ledger.attempts_of(nodes)? {
        last.insert(attempt.is.node.clone(), attempt);
    }
    let mut reasons = BTreeMap::new();
    for node in nodes {
        let attempt = last.get(node);
        if attempt.is_some_and(|attempt| attempt.state.is_wanted()) {
            continue;
        }
        let says = attempt.and_then(|attempt| attempt.says.as_ref());
        let reason = match (held_everywhere(node, sight), says) {
            (Some(hold), _) => of_hold(hold),
            (None, Some(says)) if just_failed => worded(&says.code, &says.text, None),
            (None, _) => match unknown(node, sight.config) {
                Some(reason) => reason,
                // Nothing says that it cannot come: then nothing is said.
                None => continue,
            },
        };
        reasons.insert(node.clone(), reason);
    }
    Ok(reasons)
}

fn unknown(node: &NodeName, config: &Config) -> Option<String> {
    config.nodeset_of(node).is_none().then(|| {
        let text = "in no nodeset of azslurm.toml; add it there or take it out of slurm.conf";
        reason("not-in-config", text, None)
    })
}

/// The reason that a hold gives.
pub fn of_hold(hold: &Hold) -> String {
    let text = match hold.strikes {
        strikes if strikes >= STRIKES_SAID => {
            format!("{} times in a row: {}", strikes, hold.text)
        }
        _fewer => hold.text.clone(),
    };
    worded(&hold.code, &text, Some(hold.until))
}

fn worded(code: &str, text: &str, until: Option<Timestamp>) -> String {
    let says = AzureSays { code: code.to_owned(), text: text.to_owned(), request_id: None };
    let kind = understand(Moment::Operation, &says).kind;
    let text = match advice(&says) {
        Some(advice) => format!("{code}: {advice}: {text}"),
        None => format!("{code}: {text}"),
    };
    reason(kind.word(), &text, until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<NodeName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_job_is_told_the_cause_and_not_that_its_gang_is_incomplete() {
        let gang = worded(CODE_GANG, "node hpc-3 of job 1 cannot come", None);
        let quota = worded("QuotaWouldBeExceeded", "8 of 8 cores used", None);
        let other = worded("AllocationFailed", "no room", None);
        let by_reason: BTreeMap<&str, Vec<NodeName>> = [
            (gang.as_str(), nodes(&["hpc-1", "hpc-2", "hpc-5"])),
            (quota.as_str(), nodes(&["hpc-3"])),
            (other.as_str(), nodes(&["hpc-4"])),
        ]
        .into();
        let told = |of_job: &[&str]| cause(&by_reason, &nodes(of_job).into_iter().collect());
        assert_eq!(told(&["hpc-1", "hpc-2", "hpc-3"]), Some((&*quota, "hpc-3".to_owned())));
        assert_eq!(told(&["hpc-1", "hpc-2"]), Some((&*gang, "hpc-[1-2]".to_owned())));
        assert_eq!(told(&["hpc-9"]), None);
    }
}
