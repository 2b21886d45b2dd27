//! Network cards and disks that VMs of ours left behind: looked for seldom, asked for one by one,
//! and deleted. They are named by the attempt, so that no other VM ever gets them: no lease is
//! needed to let them go.

use std::collections::BTreeSet;
use std::time::Duration;

use azslurm_azure::{Answer, Arm, AzureError, Leftover, PartKind, Place};
use azslurm_core::attempt::Attempt;
use azslurm_core::config::{Config, Site};
use azslurm_core::leftover::{
    LeftoverAction, LeftoverReason, MadeWith, Use, Whose, decide_leftover,
};
use azslurm_core::listing::Way;
use azslurm_core::vm::TAG_CLUSTER;
use azslurm_core::{SiteName, Timestamp, VmName};
use azslurm_ledger::{Event, Fact, LedgerError};
use azslurm_program::exit::{Stop, chain_of};
use azslurm_program::{Session, now};
use tokio::time::timeout;

use crate::listing::Listing;
use crate::report::Left;

/// They cost little, and Azure mostly takes them along.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// The search does not hold a pass up for longer.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// So many are deleted by one pass at most; each costs three calls. The next pass goes on.
const DELETED_MAX: usize = 30;
/// Azure keeps a card for its VM for 3 minutes after a failed creation, and an address for 10 after
/// a forced deletion (FACTS §1.1, §1.2).
const ENDED_FOR: Duration = Duration::from_secs(10 * 60);
/// What the ledger does not know may be another ledger's: it has this long to be attached.
const UNKNOWN_FOR: Duration = Duration::from_secs(60 * 60);
/// The fact that says when it was looked for them.
const LOOKED: &str = "leftovers-looked";

/// One of ours.
#[derive(Debug)]
struct Candidate {
    kind: PartKind,
    part: Leftover,
    vm: VmName,
    site: SiteName,
    action: LeftoverAction,
    reason: LeftoverReason,
}

/// Looks for them, if it is time, and deletes those that may go.
pub async fn take(
    session: &mut Session,
    listing: &Listing,
    is_dry_run: bool,
) -> Result<Vec<Left>, Stop> {
    if !is_due(session).map_err(Stop::failed)? {
        return Ok(Vec::new());
    }
    let mut candidates = Vec::new();
    for (arm, sites, way) in doors(session, listing) {
        let found = match timeout(LOOK_MAX, find(session, &arm, (&sites, way))).await {
            Ok(found) => found,
            Err(_elapsed) => {
                tracing::warn!(
                    "no list of network cards and disks within {} s: the next look \
                    asks again",
                    LOOK_MAX.as_secs()
                );
                continue;
            }
        };
        for part in found {
            candidates.extend(judge(session, part).map_err(Stop::failed)?);
        }
    }
    let doomed: Vec<&Candidate> =
        candidates.iter().filter(|one| one.action == LeftoverAction::Delete).collect();
    if !is_dry_run {
        let mut deleted = 0;
        for one in doomed.iter().take(DELETED_MAX) {
            if let Some(event) = delete(session, one).await {
                deleted += 1;
                session.ledger.write(|writer| writer.event(&event)).map_err(Stop::failed)?;
            }
        }
        // Where Azure deletes none of so many, it will not in half a minute either.
        if doomed.len() <= DELETED_MAX || deleted == 0 {
            looked(session).map_err(Stop::failed)?;
        } else {
            tracing::warn!(
                "{} network cards and disks are left behind: {DELETED_MAX} of them are deleted \
                now, the others by the next passes",
                doomed.len()
            );
        }
    }
    Ok(candidates.iter().map(line).collect())
}

fn line(one: &Candidate) -> Left {
    Left {
        what: one.kind.to_string(),
        name: one.part.name.clone(),
        vm: one.vm.clone(),
        action: format!("{:?}", one.action),
        reason: format!("{:?}", one.reason),
    }
}

fn is_due(session: &Session) -> Result<bool, LedgerError> {
    let facts = session.ledger.facts()?;
    let last = facts.iter().find(|fact| fact.key == LOOKED);
    Ok(last.is_none_or(|fact| now() >= fact.at.plus(LOOK_EVERY)))
}

fn looked(session: &mut Session) -> Result<(), LedgerError> {
    let fact = Fact { key: LOOKED.to_owned(), text: "\"ok\"".to_owned(), at: now() };
    session.ledger.write(|writer| writer.set_fact(&fact))
}

/// Each door with its sites, and how it lists.
fn doors(session: &Session, listing: &Listing) -> Vec<(Arm, Vec<SiteName>, Way)> {
    let way_of = |sites: &[&SiteName]| {
        let is_of = |site: &&SiteName| {
            listing
                .sources
                .iter()
                .any(|source| source.way == Way::Lists && source.sites.contains(*site))
        };
        if sites.iter().any(is_of) { Way::Lists } else { Way::Graph }
    };
    session
        .clients
        .doors()
        .map(|(_, arm, sites)| {
            let way = way_of(&sites);
            (arm.clone(), sites.into_iter().cloned().collect(), way)
        })
        .collect()
}

/// All that no VM has, or all there is, whoever made it.
async fn find(session: &Session, arm: &Arm, (sites, way): (&[SiteName], Way)) -> Vec<Leftover> {
    let names: Vec<&SiteName> = sites.iter().collect();
    match way {
        Way::Graph => {
            let subscriptions = session.subscriptions_of(&names);
            items(arm.query_leftovers(&subscriptions).await)
        }
        Way::Lists => {
            let sites = names.iter().filter_map(|name| session.config.sites.get(*name));
            let groups: BTreeSet<(&str, &str)> = sites
                .map(|site| (site.subscription.as_str(), site.resource_group.as_str()))
                .collect();
            let mut found = Vec::new();
            for (subscription, group) in groups {
                found.extend(items(arm.list_nics(subscription, group).await));
                found.extend(items(arm.list_disks(subscription, group).await));
            }
            found
        }
    }
}

/// What a list shows. From what it lacks nothing follows.
fn items(listed: Result<azslurm_azure::Listing<Leftover>, AzureError>) -> Vec<Leftover> {
    match listed {
        Ok(listed) => {
            if let Some(why) = listed.incomplete_because {
                tracing::warn!("not all network cards and disks are known: {why}");
            }
            listed.items
        }
        Err(error) => {
            tracing::warn!("no network cards or disks are known: {}", chain_of(&error));
            Vec::new()
        }
    }
}

/// One that is named as ours are and stands in a group of ours, with what is decided about it.
fn judge(session: &Session, part: Leftover) -> Result<Option<Candidate>, LedgerError> {
    let Some(kind) = PartKind::of(&part.id) else { return Ok(None) };
    let Some(vm) = vm_of(kind, &part) else { return Ok(None) };
    let Some((site, _)) = site_of(&session.config, &part) else { return Ok(None) };
    let known = session.ledger.attempt(&vm)?.filter(|attempt| is_there(attempt, &part));
    let whose = whose(session, &part, known.as_ref());
    let (action, reason) =
        decide_leftover(whose, use_of(kind, &part), made_with(&part, &vm, known));
    let site = site.clone();
    // What is used, and what is others', is nothing to report.
    let is_told = !matches!(reason, LeftoverReason::NotOurs | LeftoverReason::InUse);
    Ok(is_told.then_some(Candidate { kind, part, vm, site, action, reason }))
}

/// The VM that it was made with, by its name: `<vm>-os`, and `<vm>-nic` with what Azure adds.
fn vm_of(kind: PartKind, part: &Leftover) -> Option<VmName> {
    let name = match kind {
        PartKind::Disk => part.name.strip_suffix("-os")?,
        PartKind::Nic => part.name.rsplit_once("-nic").map(|(vm, _)| vm)?,
    };
    let vm: VmName = name.parse().ok()?;
    vm.split().map(|_| vm)
}

fn site_of<'a>(config: &'a Config, part: &Leftover) -> Option<(&'a SiteName, &'a Site)> {
    let is_in = |site: &Site| {
        part.id.subscription().is_some_and(|it| it.eq_ignore_ascii_case(&site.subscription))
            && part
                .id
                .resource_group()
                .is_some_and(|it| it.eq_ignore_ascii_case(&site.resource_group))
    };
    config.sites.iter().find(|(_, site)| is_in(site))
}

fn is_there(attempt: &Attempt, part: &Leftover) -> bool {
    let place = &attempt.is.place;
    part.id.subscription().is_some_and(|it| it.eq_ignore_ascii_case(&place.subscription))
        && part.id.resource_group().is_some_and(|it| it.eq_ignore_ascii_case(&place.resource_group))
}

fn whose(session: &Session, part: &Leftover, known: Option<&Attempt>) -> Whose {
    let tag = part.tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(TAG_CLUSTER));
    match (tag, known) {
        (Some((_, cluster)), _) if cluster == session.config.cluster.as_str() => Whose::Ours,
        (Some(_), Some(_) | None) | (None, None) => Whose::Others,
        (None, Some(_)) => Whose::Ours,
    }
}

fn use_of(kind: PartKind, part: &Leftover) -> Use {
    let is_unattached = match (kind, part.disk_state.as_deref()) {
        (PartKind::Nic, _) => true,
        (PartKind::Disk, state) => state.is_some_and(|it| it.eq_ignore_ascii_case("Unattached")),
    };
    if is_unattached && part.managed_by.is_none() { Use::Free } else { Use::Used }
}

fn made_with(part: &Leftover, vm: &VmName, known: Option<Attempt>) -> MadeWith {
    let at = now();
    let is_over = |since: Timestamp, wait: Duration| at >= since.plus(wait);
    match known.map(|attempt| attempt.ended_at) {
        Some(None) => MadeWith::Unfinished,
        Some(Some(ended)) if is_over(ended, ENDED_FOR) => MadeWith::Ended,
        None => {
            let began = vm.split().map(|(_, attempt)| attempt.began_at());
            let since = began.max(part.time_created);
            if since.is_some_and(|since| is_over(since, UNKNOWN_FOR)) {
                MadeWith::Forgotten
            } else {
                MadeWith::Recent
            }
        }
        Some(Some(_)) => MadeWith::Recent,
    }
}

/// Asks for its VM and for itself once more, and deletes it. The event, if Azure took it.
async fn delete(session: &Session, one: &Candidate) -> Option<Event> {
    let Candidate { kind, part, vm, site, .. } = one;
    let arm = session.clients.of(site)?;
    let place = Place::from(session.config.sites.get(site)?);
    let what = format!("{kind} {}", part.name);
    let vm_there = arm.get_vm(&place, vm).await;
    let again = arm.get_part(*kind, &part.id).await;
    let (vm_there, again) = match (vm_there, again) {
        (Ok(vm_there), Ok(again)) => (vm_there.answer, again.answer),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%site, "cannot tell whether {what} is free: {}", chain_of(&error));
            return None;
        }
    };
    let (Answer::Done(None), Answer::Done(Some(now_there))) = (vm_there, again) else {
        return None;
    };
    if use_of(*kind, &now_there) != Use::Free {
        return None;
    }
    let reply = match arm.delete_part(*kind, &part.id).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::warn!(%site, "cannot delete {what}: {}", chain_of(&error));
            return None;
        }
    };
    if let Answer::Refused(no) = reply.answer {
        tracing::warn!(%site, "Azure does not delete {what}: {}: {}", no.code, no.text);
        return None;
    }
    let text = format!("{what} is deleted: its VM {vm} is gone and did not take it along");
    tracing::warn!(%site, %vm, "{text}");
    let mut event = Event::new(now(), "leftover", text);
    event.node = vm.split().map(|(node, _)| node);
    (event.vm, event.site) = (Some(vm.clone()), Some(site.clone()));
    event.request_id = reply.request_id;
    Some(event)
}
