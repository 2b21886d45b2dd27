//! Placement groups and availability sets of blocks that the ledger does not know as unfinished,
//! because it was lost or put back: looked for seldom, written into the ledger as such that are to
//! go, and removed with all other empty blocks.

use std::collections::BTreeSet;
use std::time::Duration;

use azslurm_azure::{Answer, Place};
use azslurm_core::SiteName;
use azslurm_core::block::{Block, BlockState, Incarnation};
use azslurm_core::config::Interconnect;
use azslurm_core::forgotten::{
    Age, ForgottenAction, ForgottenReason, Inside, Written, decide_forgotten,
};
use azslurm_core::takeover::Trust;
use azslurm_ledger::{Fact, LedgerError};
use azslurm_program::exit::{Stop, chain_of};
use azslurm_program::{Session, now};

use crate::lives::{self, Life};
use crate::report::Forgotten;

/// They cost no money, and only a lost ledger forgets them.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// A program whose ledger was taken away from under it may have just begun one, and puts its VMs
/// into it for minutes.
const YOUNG_FOR: Duration = Duration::from_secs(60 * 60);
/// So many are decided by one pass, as many as one pass removes; each costs a call. The next pass
/// goes on.
const DOOMED_MAX: usize = 25;
/// The fact that says when it was looked for them.
const LOOKED: &str = "forgotten-looked";

/// What was found.
#[derive(Debug, Default)]
pub struct Taken {
    /// For the report.
    pub lines: Vec<Forgotten>,
    /// How many stand in the ledger now as such that are to go.
    pub doomed: usize,
}

/// Looks for them, if it is time, and decides the end of those that may go. What a ledger that has
/// slept does not know is no reason for anything: the look waits.
pub async fn take(session: &mut Session, trust: Trust, is_dry_run: bool) -> Result<Taken, Stop> {
    let sites = sites_of_blocks(session);
    if sites.is_empty() || trust != Trust::Settled || !is_due(session).map_err(Stop::failed)? {
        return Ok(Taken::default());
    }
    // The ledger first: what ends while Azure is asked was known.
    let known = session.ledger.blocks_unfinished().map_err(Stop::failed)?;
    let known: BTreeSet<Incarnation> = known.into_iter().map(|block| block.life).collect();
    let found = lives::list(session, |site| sites.contains(site)).await;
    for why in &found.missing {
        tracing::warn!("not all blocks are known: {why}; the next look asks again");
    }
    let mut taken = Taken::default();
    for one in &found.odd {
        tracing::warn!("{}: {}: delete it in Azure if it has no VMs", one.id, lives::ODD);
        taken.lines.push(Forgotten {
            block: None,
            name: one.name.clone(),
            action: format!("{:?}", ForgottenAction::Leave),
            reason: "BlockIsNotKnown".to_owned(),
        });
    }
    let mut doomed = Vec::new();
    for life in &found.lives {
        let (action, reason) = judge(session, &known, life).map_err(Stop::failed)?;
        // What is in use is nobody's news.
        let is_in_use = [ForgottenReason::LedgerKnows, ForgottenReason::HasMembers];
        if !is_in_use.contains(&reason) {
            taken.lines.push(line(&life.block, action, reason));
        }
        if action == ForgottenAction::Delete {
            doomed.push(&life.block);
        }
    }
    if !is_dry_run {
        taken.doomed = doom(session, &doomed).await.map_err(Stop::failed)?;
    }
    Ok(taken)
}

fn line(block: &Block, action: ForgottenAction, reason: ForgottenReason) -> Forgotten {
    Forgotten {
        block: Some(block.life.block.to_string()),
        name: block.name.clone(),
        action: format!("{action:?}"),
        reason: format!("{reason:?}"),
    }
}

/// Nobody else has a block.
fn sites_of_blocks(session: &Session) -> BTreeSet<SiteName> {
    let sets = session.config.nodesets.values();
    let with_blocks = sets.filter(|set| set.interconnect == Interconnect::Infiniband);
    with_blocks.flat_map(|set| set.sites.iter().cloned()).collect()
}

fn is_due(session: &Session) -> Result<bool, LedgerError> {
    let last = session.ledger.fact(LOOKED)?;
    Ok(last.is_none_or(|fact| now() >= fact.at.plus(LOOK_EVERY)))
}

fn judge(
    session: &Session,
    known: &BTreeSet<Incarnation>,
    life: &Life,
) -> Result<(ForgottenAction, ForgottenReason), LedgerError> {
    let id = &life.block.life;
    let written = match session.ledger.block(id)? {
        _ if known.contains(id) => Written::Unfinished,
        Some(block) if block.state != BlockState::Gone => Written::Unfinished,
        Some(_) => Written::Ended,
        None => Written::Unknown,
    };
    let inside = if life.is_empty { Inside::Nothing } else { Inside::Something };
    let is_old = now() >= id.number.began_at().plus(YOUNG_FOR);
    let age = if is_old { Age::Old } else { Age::Young };
    Ok(decide_forgotten(written, inside, age))
}

/// Asks for each once more, and writes its end. How many.
async fn doom(session: &mut Session, blocks: &[&Block]) -> Result<usize, LedgerError> {
    let mut doomed = 0;
    for block in blocks.iter().take(DOOMED_MAX) {
        if !is_empty(session, block).await {
            continue;
        }
        if session.ledger.write(|writer| writer.doom_block(block, now()))? {
            doomed += 1;
            tracing::warn!(
                site = %block.site,
                "the ledger does not know placement group and availability set {}, and no VM is \
                in them: they are removed",
                block.name
            );
        }
    }
    // Where nothing can be learned of so many, it will not in half a minute either.
    if blocks.len() <= DOOMED_MAX || doomed == 0 {
        let fact = Fact { key: LOOKED.to_owned(), text: "\"ok\"".to_owned(), at: now() };
        session.ledger.write(|writer| writer.set_fact(&fact))?;
    } else {
        tracing::warn!(
            "the ledger does not know {} blocks: {DOOMED_MAX} of them are removed now, the others \
            by the next passes",
            blocks.len()
        );
    }
    Ok(doomed)
}

/// No list's word: whether its set has no VM, or is not there.
async fn is_empty(session: &Session, block: &Block) -> bool {
    let Some(arm) = session.clients.of(&block.site) else { return false };
    let (site, name) = (&block.site, &block.name);
    match arm.get_availability_set(&Place::from(block), name).await {
        Ok(reply) => match reply.answer {
            Answer::Done(members) => members.is_none_or(|members| members == 0),
            Answer::Refused(no) => {
                tracing::warn!(%site, "Azure does not show {name}: {}: {}", no.code, no.text);
                false
            }
        },
        Err(error) => {
            tracing::warn!(%site, "cannot tell whether {name} is empty: {}", chain_of(&error));
            false
        }
    }
}
