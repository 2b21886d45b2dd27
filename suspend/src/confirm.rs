//! Whether a deletion that Azure took has come to its end.

use std::time::Duration;

use azslurm_azure::{Answer, Arm, OperationState, ProvisioningState};
use azslurm_core::Timestamp;
use azslurm_core::attempt::{Attempt, AzureSays, Change};
use azslurm_program::errands::Reporter;
use azslurm_program::exit::chain_of;
use azslurm_program::now;

use crate::delete::Deletion;

/// So long after its decision a deletion is believed to go on because its operation says so; then
/// the VM itself is looked at too. An operation that Azure cannot tell about (5xx at every poll)
/// counts as running, and must not hide for ever that the VM is gone. Longer than deletions take.
const OPERATION_TRUSTED_FOR: Duration = Duration::from_secs(10 * 60);

/// How a deletion that Azure took is followed.
#[derive(Debug, Clone)]
pub struct Trail {
    /// The operation, if Azure named one.
    pub operation: Option<String>,
    /// When the deletion was decided.
    pub decided_at: Option<Timestamp>,
}

impl From<&Attempt> for Trail {
    fn from(attempt: &Attempt) -> Trail {
        Trail { operation: attempt.operation.clone(), decided_at: attempt.delete_intended_at }
    }
}

impl Trail {
    fn is_trusted(&self, now: Timestamp) -> bool {
        self.decided_at.is_some_and(|decided_at| now < decided_at.plus(OPERATION_TRUSTED_FOR))
    }
}

/// Looks once: at the operation if there is one, then at the VM itself, whose absence is the only
/// proof. Says nothing while the deletion goes on.
pub async fn confirm(arm: Arm, deletion: Deletion, trail: Trail, report: Reporter) {
    let (node, vm) = (report.node().clone(), report.vm().clone());
    if let Some(url) = &trail.operation {
        match arm.poll(url).await {
            Ok(reply) => match reply.answer {
                Answer::Done(OperationState::Running { .. }) if trail.is_trusted(now()) => return,
                Answer::Done(OperationState::Failed(says)) => {
                    tracing::warn!(%node, %vm, "the deletion failed: {}: {}; it is sent again",
                        says.code, says.text);
                    return report.say(Change::DeleteFailed(says));
                }
                // The VM itself is asked.
                Answer::Done(
                    OperationState::Running { .. }
                    | OperationState::Succeeded
                    | OperationState::Canceled
                    | OperationState::Lost,
                )
                | Answer::Refused(_) => {}
            },
            Err(error) => tracing::debug!(%node, %vm, "cannot poll: {}", chain_of(&error)),
        }
    }
    look(&arm, &deletion, &report).await;
}

async fn look(arm: &Arm, deletion: &Deletion, report: &Reporter) {
    let (node, vm) = (report.node(), report.vm());
    let reply = match arm.get_vm(&deletion.place, vm).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::warn!(%node, %vm, "cannot tell whether the VM is gone: {}", chain_of(&error));
            return;
        }
    };
    match reply.answer {
        Answer::Done(None) => {
            let change = deletion.when_absent();
            if change == Change::Gone {
                tracing::info!(%node, %vm, "the VM is gone");
            }
            report.say(change);
        }
        Answer::Done(Some(found)) => match found.provisioning_state {
            ProvisioningState::Deleting => {}
            ProvisioningState::Creating
            | ProvisioningState::Updating
            | ProvisioningState::Succeeded
            | ProvisioningState::Failed
            | ProvisioningState::Migrating
            | ProvisioningState::Other(_) => report.say(Change::DeleteFailed(AzureSays {
                code: "StillThere".to_owned(),
                text: format!("the VM is {} after its deletion", found.provisioning_state),
                request_id: reply.request_id,
            })),
        },
        Answer::Refused(refusal) => {
            tracing::warn!(%node, %vm, "cannot tell whether the VM is gone: {}: {}",
                refusal.code, refusal.text);
        }
    }
}
