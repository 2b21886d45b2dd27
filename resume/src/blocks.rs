//! Making blocks: placement group, then availability set. Their names say which life of which block
//! they are, so that making them twice is making them once, by one program or by several.

use std::time::Duration;

use azslurm_azure::{Answer, Arm, AzureError, GroupSpec, Place, Reply, SetSpec, group_id};
use azslurm_core::ClusterName;
use azslurm_core::attempt::AzureSays;
use azslurm_core::block::Block;
use azslurm_core::failure::{
    CODE_NO_TOKEN, CODE_UNAVAILABLE, CODE_UNREACHABLE, FailureKind, Moment, understand,
};
use azslurm_core::vm::block_tags;
use azslurm_program::errands::BlockFate;
use azslurm_program::exit::chain_of;
use tokio::time::Instant;

/// How long to wait before the next try when Azure does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// Answers that are lost, or faults of Azure's, in a row: each is a request that was repeated
/// already.
const LOST_MAX: u32 = 2;

/// Makes both; nothing is sent after `until`.
pub async fn make(arm: Arm, (block, cluster): (Block, ClusterName), until: Instant) -> BlockFate {
    let place = Place::from(&block);
    let tags = block_tags(&cluster, &block.life);
    let group = GroupSpec {
        name: block.name.clone(),
        region: block.region.clone(),
        skus: vec![block.sku.clone()],
        tags: tags.clone(),
    };
    let set = SetSpec {
        name: block.name.clone(),
        region: block.region.clone(),
        placement_group: group_id(&place, &block.name),
        tags,
    };
    let fate =
        again(&block, "placement group", until, || arm.put_placement_group(&place, &group, until));
    match fate.await {
        BlockFate::Made => {}
        other @ (BlockFate::Refused(..) | BlockFate::Gone | BlockFate::NotKnown) => return other,
    }
    let fate =
        again(&block, "availability set", until, || arm.put_availability_set(&place, &set, until));
    let fate = fate.await;
    if fate == BlockFate::Made {
        tracing::info!(site = %block.site, "block {}: placement group and availability set {} are \
            there", block.life.block, block.name);
    }
    fate
}

/// Sends until there is an answer that settles it.
async fn again<F>(block: &Block, what: &str, until: Instant, send: impl Fn() -> F) -> BlockFate
where
    F: Future<Output = Result<Reply<()>, AzureError>>,
{
    let mut lost = 0;
    loop {
        let next = match send().await {
            Ok(Reply { answer: Answer::Done(()), .. }) => return BlockFate::Made,
            Ok(Reply { answer: Answer::Refused(refusal), request_id, .. }) => {
                let (moment, says) = (Moment::Put(refusal.status), refusal.says(request_id));
                match understand(moment, &says).kind {
                    FailureKind::Throttled | FailureKind::Conflict => {
                        refusal.retry_after.unwrap_or(WAIT_DEFAULT)
                    }
                    FailureKind::Capacity
                    | FailureKind::Quota
                    | FailureKind::Configuration
                    | FailureKind::Azure
                    | FailureKind::Unknown => return refused(block, what, (moment, says)),
                }
            }
            Err(error) => {
                lost += 1;
                let code = match &error {
                    AzureError::Lost { .. } | AzureError::Body { .. } => CODE_UNAVAILABLE,
                    AzureError::NoTurn { .. } => return BlockFate::NotKnown,
                    AzureError::Token { .. } => CODE_NO_TOKEN,
                    AzureError::Unreachable { .. } | AzureError::Config { .. } => CODE_UNREACHABLE,
                };
                if lost >= LOST_MAX || code != CODE_UNAVAILABLE {
                    let (code, text) = (code.to_owned(), chain_of(&error));
                    let says = AzureSays { code, text, request_id: None };
                    return refused(block, what, (Moment::Operation, says));
                }
                WAIT_DEFAULT
            }
        };
        if Instant::now() + next >= until {
            return BlockFate::NotKnown;
        }
        tokio::time::sleep(next).await;
    }
}

fn refused(block: &Block, what: &str, (moment, says): (Moment, AzureSays)) -> BlockFate {
    tracing::warn!(site = %block.site, request_id = says.request_id,
        "Azure refuses {what} {}: {}: {}", block.name, says.code, says.text);
    BlockFate::Refused(moment, says)
}
