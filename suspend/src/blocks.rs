//! Removing blocks that are empty: availability set, then placement group. Whoever sees that a
//! block is empty removes it; that several do so at once does no harm.

use std::time::Duration;

use azslurm_azure::{Answer, Arm, AzureError, Place, Reply};
use azslurm_core::block::Block;
use azslurm_core::failure::{FailureKind, Moment, understand};
use azslurm_ledger::LedgerError;
use azslurm_program::errands::{BlockFate, BlockNews, Errands};
use azslurm_program::exit::chain_of;
use azslurm_program::{Session, now};

/// A deletion that meets another operation, or VMs that Azure has not quite forgotten, is sent
/// again so often at most; then it is the next pass's.
const TRIES_MAX: u32 = 3;
/// How long to wait before the next try when Azure does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(3);
/// Deletions of one pass: each costs two of the 200 deletes that Azure lets through at once, and
/// the VMs' own come first (FACTS §3.1).
const BLOCKS_MAX: usize = 25;

/// Decides which blocks are empty, and adds an errand for each that is to go. How many were added.
pub fn add_empty(errands: &mut Errands, session: &mut Session) -> Result<usize, LedgerError> {
    if session.ledger.blocks_unfinished()?.is_empty() {
        return Ok(0);
    }
    let empty = session.ledger.write(|writer| writer.retire_blocks(now()))?;
    let mut added = 0;
    for block in empty.into_iter().take(BLOCKS_MAX) {
        let Some(arm) = session.clients.of(&block.site).cloned() else {
            tracing::error!(site = %block.site, "the config no longer has the site of {}: put it \
                back until it is gone, or delete placement group and availability set by hand",
                block.name);
            continue;
        };
        errands.add_block(&block.life.clone(), remove(arm, block));
        added += 1;
    }
    Ok(added)
}

/// Records what became of blocks that were to go.
pub fn record_gone(session: &mut Session, news: &[BlockNews]) -> Result<usize, LedgerError> {
    let gone: Vec<&BlockNews> = news.iter().filter(|news| news.fate == BlockFate::Gone).collect();
    if gone.is_empty() {
        return Ok(0);
    }
    session.ledger.write(|writer| {
        for news in &gone {
            if let Some(block) = writer.block(&news.life)? {
                writer.block_gone(&block, now())?;
            }
        }
        Ok(gone.len())
    })
}

async fn remove(arm: Arm, block: Block) -> BlockFate {
    let place = Place::from(&block);
    for tried in 1..=TRIES_MAX {
        let set = arm.delete_availability_set(&place, &block.name).await;
        let done = match judge(&block, "availability set", set) {
            Done::Yes => {
                let group = arm.delete_placement_group(&place, &block.name).await;
                judge(&block, "placement group", group)
            }
            other @ (Done::No | Done::Again(_)) => other,
        };
        match done {
            Done::Yes => {
                tracing::info!(site = %block.site, "block {}: placement group and availability \
                    set {} are gone", block.life.block, block.name);
                return BlockFate::Gone;
            }
            Done::No => return BlockFate::NotKnown,
            Done::Again(wait) if tried < TRIES_MAX => tokio::time::sleep(wait).await,
            Done::Again(_) => {}
        }
    }
    BlockFate::NotKnown
}

enum Done {
    Yes,
    No,
    Again(Duration),
}

fn judge(block: &Block, what: &str, reply: Result<Reply<()>, AzureError>) -> Done {
    let (site, name) = (&block.site, &block.name);
    let (refusal, request_id) = match reply {
        Ok(Reply { answer: Answer::Done(()), .. }) => return Done::Yes,
        Ok(Reply { answer: Answer::Refused(refusal), request_id, .. }) => (refusal, request_id),
        Err(error) => {
            tracing::warn!(%site, "cannot delete {what} {name}: {}; the next pass tries again",
                chain_of(&error));
            return Done::No;
        }
    };
    let says = refusal.says(request_id);
    match understand(Moment::Put(refusal.status), &says).kind {
        FailureKind::Throttled | FailureKind::Conflict => {
            Done::Again(refusal.retry_after.unwrap_or(WAIT_DEFAULT))
        }
        FailureKind::Capacity
        | FailureKind::Quota
        | FailureKind::Configuration
        | FailureKind::Azure
        | FailureKind::Unknown => {
            tracing::warn!(%site, request_id = says.request_id, "Azure refuses to delete {what} \
                {name}, which costs nothing: {}: {}; the next pass tries again", says.code,
                says.text);
            Done::No
        }
    }
}
