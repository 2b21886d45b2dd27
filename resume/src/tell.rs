//! Telling slurmctld, at once, about nodes that cannot come: a job starts only when all its nodes
//! are up, so every refused VM of a thousand blocks it until somebody says so.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::attempt::{Attempt, AzureSays};
use azslurm_core::decide::SlurmView;
use azslurm_core::failure::{Moment, advice, understand};
use azslurm_core::hostlist;
use azslurm_core::plan::held_everywhere;
use azslurm_core::{NodeName, Timestamp};
use azslurm_ledger::LedgerError;
use azslurm_program::exit::chain_of;
use azslurm_program::{Session, holds, now, view};
use azslurm_slurm::NodeVerb;
use azslurm_slurm::reason::reason;

/// Sets those of `nodes` down that slurmctld waits for and that have no VM to come, each with its
/// reason, nodes of one reason in one call. Their jobs are requeued. What cannot be told now
/// azslurm-sync tells.
pub async fn refused(
    session: &Session,
    (nodes, just_failed): (&BTreeSet<NodeName>, bool),
) -> Result<(), LedgerError> {
    if nodes.is_empty() {
        return Ok(());
    }
    let names: Vec<NodeName> = nodes.iter().cloned().collect();
    let reasons = reasons(session, (&names, just_failed))?;
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
    for (reason, nodes) in by_reason {
        tell(session, &nodes, (NodeVerb::Down, reason)).await;
    }
    Ok(())
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

/// Why each node cannot come: the hold that covers all its places, else what Azure said about its
/// last VM.
fn reasons(
    session: &Session,
    (nodes, just_failed): (&[NodeName], bool),
) -> Result<BTreeMap<NodeName, String>, LedgerError> {
    let at = now();
    let holds = holds::in_force(&session.ledger, at)?;
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
        let hold = held_everywhere(node, &session.config, &holds, at);
        let reason = match (hold, attempt.and_then(|attempt| attempt.says.as_ref())) {
            (Some(hold), _) => worded(&hold.code, &hold.text, Some(hold.until)),
            (None, Some(says)) if just_failed => worded(&says.code, &says.text, None),
            (None, _) if session.config.nodeset_of(node).is_none() => reason(
                "not-in-config",
                "in no nodeset of azslurm.toml; add it there or take it out of slurm.conf",
                None,
            ),
            // Nothing says that it cannot come: then nothing is said.
            (None, _) => continue,
        };
        reasons.insert(node.clone(), reason);
    }
    Ok(reasons)
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
