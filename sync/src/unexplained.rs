//! Evictions that Azure has not explained yet. slurmctld was told at once; afterwards the activity
//! log is asked, once for all VMs of a resource group, until it says why or too much time has
//! passed. Nothing depends on what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_azure::Activity;
use azslurm_core::attempt::Attempt;
use azslurm_core::{NodeName, SiteName, Timestamp, VmName};
use azslurm_ledger::{Event, Fact, LedgerError, Reader, Writer};
use azslurm_program::exit::chain_of;
use azslurm_program::{Session, now};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// The fact that lists them.
const UNEXPLAINED: &str = "evictions-unexplained";
/// The log lags by minutes (FACTS §7).
const ASK_EVERY: Duration = Duration::from_secs(2 * 60);
/// What it has not said by then it never says; simulated evictions are not in it at all.
const ASK_FOR: Duration = Duration::from_secs(20 * 60);
/// A pass does not wait longer for one answer.
const ASK_MAX: Duration = Duration::from_secs(10);
/// Nor does it ask about more resource groups.
const GROUPS_MAX: usize = 4;
/// So many are kept; of more evictions each one's reason is of little use.
const KEPT_MAX: usize = 1000;
/// A pass finds an eviction some time after it happened.
const SEEN_WITHIN: Duration = Duration::from_secs(60 * 60);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Unexplained {
    vm: VmName,
    node: NodeName,
    site: SiteName,
    subscription: String,
    group: String,
    lost_at: Timestamp,
    asked_at: Option<Timestamp>,
}

/// Remembers VMs that Azure took.
pub(crate) fn add(writer: &mut Writer<'_>, evicted: &[Attempt]) -> Result<(), LedgerError> {
    if evicted.is_empty() {
        return Ok(());
    }
    let mut all = read(writer)?;
    all.extend(evicted.iter().map(|attempt| Unexplained {
        vm: attempt.is.vm.clone(),
        node: attempt.is.node.clone(),
        site: attempt.is.place.site.clone(),
        subscription: attempt.is.place.subscription.clone(),
        group: attempt.is.place.resource_group.clone(),
        lost_at: now(),
        asked_at: None,
    }));
    let beyond = all.len().saturating_sub(KEPT_MAX);
    all.drain(..beyond);
    write(writer, &all)
}

fn read(reader: &Reader) -> Result<Vec<Unexplained>, LedgerError> {
    let facts = reader.facts()?;
    let text = facts.into_iter().find(|fact| fact.key == UNEXPLAINED).map(|fact| fact.text);
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn write(writer: &mut Writer<'_>, all: &[Unexplained]) -> Result<(), LedgerError> {
    let text = serde_json::to_string(all).expect("names and times are JSON");
    writer.set_fact(&Fact { key: UNEXPLAINED.to_owned(), text, at: now() })
}

/// What came of a question about one resource group.
enum Said {
    /// What the log has.
    Entries(Vec<Activity>),
    /// Azure does not let us read it.
    Refused,
    /// No answer: later.
    Nothing,
}

/// Asks the activity log about those whose time has come, and writes what it says as events.
pub async fn ask(session: &mut Session) -> Result<(), LedgerError> {
    let before = read(&session.ledger)?;
    let at = now();
    let is_due = |one: &&Unexplained| one.asked_at.is_none_or(|asked| at >= asked.plus(ASK_EVERY));
    let mut groups: BTreeMap<(String, String), Vec<Unexplained>> = BTreeMap::new();
    for one in before.iter().filter(is_due) {
        let key = (one.subscription.clone(), one.group.clone());
        groups.entry(key).or_default().push(one.clone());
    }
    if groups.is_empty() {
        return Ok(());
    }
    let (mut events, mut ended, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for (place, all) in groups.into_iter().take(GROUPS_MAX) {
        let said = ask_group(session, &place, (&all, at)).await;
        for one in all {
            let entry = match &said {
                Said::Entries(entries) => entries.iter().find(|entry| is_about(entry, &one)),
                Said::Refused | Said::Nothing => None,
            };
            events.extend(entry.map(|entry| event(&one, entry)));
            let is_over = at >= one.lost_at.plus(ASK_FOR) || matches!(said, Said::Refused);
            match entry.is_some() || is_over {
                true => ended.push(one.vm),
                false => asked.push(one.vm),
            }
        }
    }
    session.ledger.write(|writer| {
        let mut all = read(writer)?;
        all.retain(|one| !ended.contains(&one.vm));
        for one in all.iter_mut().filter(|one| asked.contains(&one.vm)) {
            one.asked_at = Some(at);
        }
        events.iter().try_for_each(|event| writer.event(event))?;
        write(writer, &all)
    })
}

async fn ask_group(
    session: &Session,
    (subscription, group): &(String, String),
    (all, at): (&[Unexplained], Timestamp),
) -> Said {
    let arm = all.iter().find_map(|one| session.clients.of(&one.site));
    let Some(arm) = arm else { return Said::Refused };
    let first = all.iter().map(|one| one.lost_at).min().unwrap_or(at);
    // To the second, and Azure's clock is not ours.
    let span = (first.minus(SEEN_WITHIN), at.plus(ASK_EVERY));
    match timeout(ASK_MAX, arm.activity((subscription, group), span)).await {
        Ok(Ok(found)) => match found.refusal {
            Some(no) if (400..500).contains(&no.status) && !no.is_throttled() => {
                tracing::info!(group, "the activity log cannot be read: {}: {}", no.code, no.text);
                Said::Refused
            }
            Some(_) | None => Said::Entries(found.items),
        },
        Ok(Err(error)) => {
            tracing::info!(group, "the activity log cannot be read now: {}", chain_of(&error));
            Said::Nothing
        }
        Err(_elapsed) => Said::Nothing,
    }
}

fn is_about(entry: &Activity, one: &Unexplained) -> bool {
    entry.is_eviction() && entry.resource.name().eq_ignore_ascii_case(one.vm.as_str())
}

fn event(one: &Unexplained, entry: &Activity) -> Event {
    let more = if entry.text.is_empty() { String::new() } else { format!(": {}", entry.text) };
    let text = format!(
        "azure's activity log says of {}: {} {} at {}{more}",
        one.vm, entry.operation, entry.status, entry.at
    );
    tracing::info!(node = %one.node, vm = %one.vm, "{text}");
    let mut event = Event::new(now(), "eviction-explained", text);
    (event.node, event.vm) = (Some(one.node.clone()), Some(one.vm.clone()));
    event.site = Some(one.site.clone());
    event.request_id = entry.correlation_id.clone();
    event
}
