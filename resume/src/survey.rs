//! Looking before sending: what Azure says of sizes and quotas is asked for where it is not known
//! or too old, and intents that it would refuse are changed before anything of them is sent.
//!
//! It fails open: what cannot be learned in time refuses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_azure::{Answer, Arm, AzureError, Reply};
use azslurm_core::attempt::{Attempt, AttemptState, AzureSays, Change};
use azslurm_core::config::Sku;
use azslurm_core::facts::{Ground, SkuFacts, Usage};
use azslurm_core::plan::{Why, ahead};
use azslurm_core::{NodeName, SiteName, hostlist};
use azslurm_ledger::{Holder, Lease, LedgerError, Recorded, Writer};
use azslurm_program::exit::chain_of;
use azslurm_program::facts::{self, USAGES_FRESH, USAGES_TRUSTED};
use azslurm_program::sight::Seen;
use azslurm_program::{Session, now, texts};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::front::{Intending, intend_within};
use crate::request::{ResumeRequest, jobs_of};

/// How long a driver waits for usages before it goes on without: they are a small answer.
const USAGES_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long it waits for the list of sizes: 20 MB, once a week.
const SKUS_WAIT_MAX: Duration = Duration::from_secs(15);

/// A part of a region, and what is to be known of it.
#[derive(Debug, Clone)]
struct Wanted {
    ground: Ground,
    site: SiteName,
    skus: BTreeSet<Sku>,
}

/// Asks what the intents of `holder` need, and changes those that Azure would refuse: to another
/// place, or to none. Only attempts that nobody can have sent.
pub async fn look_ahead(session: &mut Session, holder: &Holder) -> Result<(), LedgerError> {
    let fresh = fresh(session, holder)?;
    if fresh.is_empty() {
        return Ok(());
    }
    let mut tight = BTreeMap::new();
    for age_max in [USAGES_TRUSTED, USAGES_FRESH] {
        ask(session, &wanted(session, &fresh), age_max).await?;
        tight = refused_ahead(session, &fresh)?;
        if tight.is_empty() {
            return Ok(());
        }
        // Nothing is refused for numbers that are minutes old.
    }
    change(session, holder, (&fresh, &tight))
}

fn fresh(session: &Session, holder: &Holder) -> Result<Vec<(Lease, Attempt)>, LedgerError> {
    let mut work = session.ledger.attempts_of_holder_in(holder, AttemptState::Intended)?;
    work.retain(|(lease, attempt)| attempt.generation == lease.generation());
    Ok(work)
}

/// The sites that the intents are for, and those that their nodesets may go on to.
fn wanted(session: &Session, fresh: &[(Lease, Attempt)]) -> Vec<Wanted> {
    let mut wanted: BTreeMap<Ground, Wanted> = BTreeMap::new();
    let nodesets: BTreeSet<_> = fresh.iter().map(|(_, attempt)| &attempt.is.nodeset).collect();
    let nodesets = nodesets.into_iter().filter_map(|name| session.config.nodesets.get(name));
    for nodeset in nodesets {
        for name in nodeset.open_sites() {
            let Some(site) = session.config.sites.get(name) else { continue };
            let ground = Ground::new(&site.subscription, &site.region);
            let one = wanted.entry(ground.clone()).or_insert_with(|| Wanted {
                ground,
                site: name.clone(),
                skus: BTreeSet::new(),
            });
            one.skus.insert(nodeset.sku.clone());
        }
    }
    wanted.into_values().collect()
}

fn refused_ahead(
    session: &Session,
    fresh: &[(Lease, Attempt)],
) -> Result<BTreeMap<NodeName, Why>, LedgerError> {
    let attempts: Vec<&Attempt> = fresh.iter().map(|(_, attempt)| attempt).collect();
    let seen = Seen::read(&session.ledger, &session.config, (USAGES_TRUSTED, now()))?;
    Ok(ahead(&attempts, &jobs_of(attempts.iter().copied()), &seen.sight(&session.config)))
}

enum Said {
    Usages(Ground, Vec<Usage>),
    Skus(Ground, BTreeSet<Sku>, Option<BTreeMap<Sku, SkuFacts>>),
    Nothing,
}

/// Asks for what is missing or older than `age_max`, all at once, and keeps it in the ledger.
async fn ask(
    session: &mut Session,
    wanted: &[Wanted],
    age_max: Duration,
) -> Result<(), LedgerError> {
    let known = facts::read(&session.ledger)?;
    let at = now();
    let mut questions = JoinSet::new();
    for Wanted { ground, site, skus } in wanted {
        let Some(arm) = session.clients.of(site) else { continue };
        let usages = known.usages.get(ground);
        if usages.is_none_or(|usages| at.since(usages.at) > age_max) {
            questions.spawn(ask_usages(arm.clone(), ground.clone()));
        }
        let mut is_due = false;
        for sku in skus {
            is_due |= facts::is_sku_list_due(&session.ledger, ground, (sku, at))?;
        }
        if is_due {
            questions.spawn(ask_skus(arm.clone(), (ground.clone(), skus.clone())));
        }
    }
    let answers = questions.join_all().await;
    if answers.is_empty() {
        return Ok(());
    }
    session.ledger.write(|writer| {
        for answer in &answers {
            match answer {
                Said::Usages(ground, rows) => facts::keep_usages(writer, ground, (rows, at))?,
                Said::Skus(ground, skus, list) => {
                    let skus: Vec<&Sku> = skus.iter().collect();
                    facts::keep_skus(writer, ground, (list.as_ref(), &skus, at))?;
                }
                Said::Nothing => {}
            }
        }
        Ok(())
    })
}

async fn ask_usages(arm: Arm, ground: Ground) -> Said {
    let asked = timeout(USAGES_WAIT_MAX, arm.usages(&ground.subscription, &ground.region)).await;
    match answered(asked, &ground, "usages") {
        Some(rows) => Said::Usages(ground, rows),
        None => Said::Nothing,
    }
}

async fn ask_skus(arm: Arm, (ground, skus): (Ground, BTreeSet<Sku>)) -> Said {
    let asked = timeout(SKUS_WAIT_MAX, arm.sku_facts(&ground.subscription, &ground.region)).await;
    let list = answered(asked, &ground, "sizes");
    Said::Skus(ground, skus, list)
}

fn answered<T>(
    asked: Result<Result<Reply<T>, AzureError>, tokio::time::error::Elapsed>,
    ground: &Ground,
    what: &str,
) -> Option<T> {
    let why = match asked {
        Ok(Ok(Reply { answer: Answer::Done(done), .. })) => return Some(done),
        Ok(Ok(Reply { answer: Answer::Refused(refusal), .. })) => {
            format!("{} {}: {}", refusal.status, refusal.code, refusal.text)
        }
        Ok(Err(error)) => chain_of(&error),
        Err(_elapsed) => "no answer in time".to_owned(),
    };
    tracing::warn!(region = %ground.region, "cannot learn the {what}: {why}; going on without");
    None
}

/// The intents that would be refused end here, unsent; their nodes are planned anew.
fn change(
    session: &mut Session,
    holder: &Holder,
    (fresh, tight): (&[(Lease, Attempt)], &BTreeMap<NodeName, Why>),
) -> Result<(), LedgerError> {
    let (texts, _logged_by_the_front) = texts::load(&session.config);
    let config = session.config.clone();
    let usages_age_max = USAGES_TRUSTED;
    let intending = Intending { holder, config: &config, texts: &texts, usages_age_max };
    let nodes: Vec<NodeName> = tight.keys().cloned().collect();
    tracing::warn!(nodes = hostlist::fold_sorted(&nodes), "Azure would refuse these: planned anew");
    session.ledger.write(|writer| plan_anew(writer, &intending, (fresh, tight)))
}

/// Within a transaction: intents that nobody has sent end, each for its reason, and their nodes are
/// planned anew, with the jobs of all `fresh` ones. A node that somebody else has taken over
/// meanwhile is left to whoever has.
pub(crate) fn plan_anew(
    writer: &mut Writer<'_>,
    intending: &Intending<'_>,
    (fresh, whys): (&[(Lease, Attempt)], &BTreeMap<NodeName, Why>),
) -> Result<(), LedgerError> {
    let mut nodes = Vec::new();
    for (lease, attempt) in fresh {
        let Some(why) = whys.get(&attempt.is.node) else { continue };
        let (code, text) = why.words();
        let change = Change::Refused(AzureSays { code, text, request_id: None });
        let recorded = writer.record(lease, &attempt.is.vm, &change, now())?;
        if matches!(recorded, Recorded::Done(_)) {
            nodes.push(attempt.is.node.clone());
        }
    }
    if nodes.is_empty() {
        return Ok(());
    }
    let jobs = jobs_of(fresh.iter().map(|(_, attempt)| attempt));
    let request = ResumeRequest { nodes, jobs, replace_running: false };
    intend_within(writer, intending, &request)?;
    Ok(())
}
