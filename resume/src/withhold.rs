//! Keeping nodes from being chosen that could not be had now: a requeued job would take the next
//! idle node of the nodeset, be refused again, and loop. They are set down with the reason while
//! the hold lasts, and azslurm-sync frees them afterwards.
//!
//! Only nodes that are powered down and idle. Where a quota leaves room for some, so many stay.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_core::NodesetName;
use azslurm_core::decide::SlurmView;
use azslurm_core::failure::{CODE_CAP, CODE_QUOTA_AHEAD};
use azslurm_core::hold::{Hold, HoldScope};
use azslurm_core::plan::{Sight, held_everywhere, room_for};
use azslurm_core::{NodeName, hostlist};
use azslurm_ledger::LedgerError;
use azslurm_program::exit::chain_of;
use azslurm_program::facts::USAGES_TRUSTED;
use azslurm_program::sight::Seen;
use azslurm_program::{Session, holds, now, view};
use azslurm_slurm::NodeVerb;

use crate::tell::{of_hold, tell};

/// Keeps the idle nodes beside `told` from being chosen, as far as they could not be had either.
pub(crate) async fn withhold(session: &mut Session, told: &[NodeName]) -> Result<(), LedgerError> {
    let nodesets: BTreeSet<NodesetName> = told
        .iter()
        .filter_map(|node| session.config.nodeset_of(node))
        .map(|(name, _)| name.clone())
        .collect();
    let seen = Seen::read(&session.ledger, &session.config, (USAGES_TRUSTED, now()))?;
    let config = session.config.clone();
    let sight = seen.sight(&config);
    let shortages = shortages(&sight, told);
    if !nodesets.iter().any(|name| has_more(&sight, name, told) || shortages.contains_key(name)) {
        return Ok(());
    }
    let idle = match session.slurm.nodes().await {
        Ok(nodes) => nodes,
        Err(error) => {
            tracing::warn!(
                "cannot ask slurmctld for idle nodes: {}; a requeued job may be given \
                nodes that cannot come either",
                chain_of(&error)
            );
            return Ok(());
        }
    };
    let idle: Vec<NodeName> = idle
        .into_iter()
        .filter(|node| view::of(node) == SlurmView::Off && !told.contains(&node.name))
        .map(|node| node.name)
        .collect();
    let mut by_reason: BTreeMap<String, Vec<NodeName>> = BTreeMap::new();
    for name in &nodesets {
        let of_nodeset = idle
            .iter()
            .filter(|node| config.nodeset_of(node).is_some_and(|(nodeset, _)| nodeset == name));
        let mut free = Vec::new();
        for node in of_nodeset {
            match held_everywhere(node, &sight) {
                Some(hold) => by_reason.entry(of_hold(hold)).or_default().push(node.clone()),
                None => free.push(node.clone()),
            }
        }
        if let Some(hold) = shortages.get(name) {
            // The last ones, so that the first stay what they always are.
            let surplus = free.split_off(room_for(name, &sight, free.len()));
            hold_each(session, hold, &surplus)?;
            by_reason.entry(of_hold(hold)).or_default().extend(surplus);
        }
    }
    for (reason, nodes) in by_reason.iter().filter(|(_, nodes)| !nodes.is_empty()) {
        tracing::info!(nodes = hostlist::fold_sorted(nodes), "kept from being chosen");
        tell(session, nodes, (NodeVerb::Down, reason)).await;
    }
    Ok(())
}

/// Whether a hold covers other nodes of the nodeset than those that were told.
fn has_more(sight: &Sight<'_>, name: &NodesetName, told: &[NodeName]) -> bool {
    let told: BTreeSet<&NodeName> = told.iter().collect();
    sight.config.nodesets.get(name).is_some_and(|nodeset| {
        let others = nodeset.nodes.iter().filter(|node| !told.contains(node));
        others.into_iter().any(|node| held_everywhere(node, sight).is_some())
    })
}

/// The holds of told nodes that quota or a cap has no room for, one for each nodeset.
fn shortages(sight: &Sight<'_>, told: &[NodeName]) -> BTreeMap<NodesetName, Hold> {
    let mut shortages = BTreeMap::new();
    for node in told {
        let Some((name, _)) = sight.config.nodeset_of(node) else { continue };
        let scope = HoldScope::Node(node.clone());
        let is_it = |hold: &&Hold| {
            hold.scope == scope && [CODE_QUOTA_AHEAD, CODE_CAP].contains(&hold.code.as_str())
        };
        if let Some(hold) = sight.holds.iter().find(is_it) {
            shortages.insert(name.clone(), hold.clone());
        }
    }
    shortages
}

fn hold_each(session: &mut Session, hold: &Hold, nodes: &[NodeName]) -> Result<(), LedgerError> {
    if nodes.is_empty() {
        return Ok(());
    }
    session.ledger.write(|writer| {
        for node in nodes {
            let scope = HoldScope::Node(node.clone());
            holds::write(writer, &Hold { scope, ..hold.clone() }, hold.struck_at)?;
        }
        Ok(())
    })
}
