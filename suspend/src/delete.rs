//! The one place that deletes a VM.

use std::time::Duration;

use azslurm_azure::{Answer, Arm, Place, Started};
use azslurm_core::Timestamp;
use azslurm_core::attempt::{Attempt, AzureSays, Change};
use azslurm_core::decide::is_settled;
use azslurm_core::failure::{Moment, Retry, understand};
use azslurm_program::errands::Reporter;
use azslurm_program::exit::chain_of;
use azslurm_program::logs::operation_name;
use azslurm_program::now;

/// A deletion that meets another operation on the VM, or a throttle, is sent again so often at
/// most; then it is azslurm-sync's.
const TRIES_MAX: u32 = 5;
/// How long to wait before the next try when Azure does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// A VM to delete.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// Where it is.
    pub place: Place,
    /// Whether its PUT was ever answered; if not, it may still arrive.
    pub was_accepted: bool,
    /// Until when it may.
    pub settles_at: Timestamp,
}

impl From<&Attempt> for Deletion {
    fn from(attempt: &Attempt) -> Deletion {
        Deletion {
            place: Place::from(&attempt.is.place),
            was_accepted: attempt.accepted_at.is_some(),
            settles_at: attempt.settles_at,
        }
    }
}

impl Deletion {
    /// What an absence of the VM means now.
    pub fn when_absent(&self) -> Change {
        if is_settled(self.settles_at, self.was_accepted, now()) {
            Change::Gone
        } else {
            // Absent, but its PUT may still be on its way: azslurm-sync looks again when that is
            // over.
            Change::DeleteAccepted { operation: None, request_id: None }
        }
    }
}

/// Sends the deletion and says what came of it. Nodes are stateless: their shutdown is not waited
/// for.
pub async fn delete(arm: Arm, deletion: Deletion, report: Reporter) {
    for tried in 1..=TRIES_MAX {
        match send_once(&arm, &deletion, &report).await {
            Sent::Said(change) => return report.say(change),
            Sent::Nothing => return,
            Sent::Again(wait) if tried < TRIES_MAX => tokio::time::sleep(wait).await,
            Sent::Again(_) => {}
        }
    }
    tracing::warn!(node = %report.node(), vm = %report.vm(),
        "the deletion could not be sent in {TRIES_MAX} tries; azslurm-sync sends it again");
}

enum Sent {
    Said(Change),
    Nothing,
    Again(Duration),
}

async fn send_once(arm: &Arm, deletion: &Deletion, report: &Reporter) -> Sent {
    let (node, vm) = (report.node(), report.vm());
    let reply = match arm.delete_vm(&deletion.place, vm, true).await {
        Ok(reply) => reply,
        Err(error) => {
            let why = chain_of(&error);
            tracing::warn!(%node, %vm, "cannot delete: {why}; azslurm-sync tries again");
            return Sent::Nothing;
        }
    };
    let request_id = reply.request_id;
    match reply.answer {
        Answer::Done(Started::Done) => {
            tracing::info!(%node, %vm, request_id, "the VM is not there any more");
            Sent::Said(deletion.when_absent())
        }
        Answer::Done(Started::Operation { url, .. }) => {
            let operation = operation_name(&url);
            tracing::info!(%node, %vm, request_id, operation, "Azure deletes the VM");
            Sent::Said(Change::DeleteAccepted { operation: Some(url), request_id })
        }
        Answer::Refused(refusal) => {
            let says = refusal.says(request_id);
            match understand(Moment::Put(refusal.status), &says).retry {
                Retry::Wait | Retry::Here => {
                    Sent::Again(refusal.retry_after.unwrap_or(WAIT_DEFAULT))
                }
                Retry::Elsewhere | Retry::Once | Retry::Never => Sent::Said(refused(report, says)),
            }
        }
    }
}

fn refused(report: &Reporter, says: AzureSays) -> Change {
    tracing::error!(node = %report.node(), vm = %report.vm(), request_id = says.request_id,
        "Azure refuses to delete the VM, which goes on costing money: {}: {}; \
         azslurm-sync tries again, see `azslurm-sync vms`", says.code, says.text);
    Change::DeleteFailed(says)
}
