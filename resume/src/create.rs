//! The one place that makes a VM.

use std::time::Duration;

use azslurm_azure::{Answer, Arm, AzureError, Place, Refusal, Reply, Started};
use azslurm_core::attempt::{AzureSays, Change, EndReason};
use azslurm_core::failure::{CODE_NO_TOKEN, CODE_UNREACHABLE, Moment, Retry, understand};
use azslurm_core::vm::VmSpec;
use azslurm_program::errands::Reporter;
use azslurm_program::exit::chain_of;
use azslurm_program::logs::operation_name;
use azslurm_slurm::Slurm;
use tokio::time::Instant;

use crate::follow::{Creation, follow};

/// How long to wait before the next try when Azure does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
/// Never try more often than this, whatever Azure says.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// A VM to make.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where.
    pub place: Place,
    /// All of it.
    pub spec: VmSpec,
    /// Nothing is sent after this moment.
    pub settle: Instant,
    /// Whether somebody may have sent this PUT before: then a refusal does not say that nothing
    /// exists.
    pub may_exist: bool,
    /// For following the VM.
    pub slurm: Slurm,
}

/// Sends the PUT, says what came of it, and follows the VM to its end. Sending the same PUT again
/// is safe: the same attempt is the same VM.
pub async fn create(arm: Arm, mut order: Order, report: Reporter) {
    loop {
        match send(&arm, &order, &report).await {
            Sent::Accepted(creation) => return follow(arm, creation, report).await,
            Sent::Said(change) => return report.say(change),
            Sent::Nothing => return,
            Sent::Again(wait) => {
                order.may_exist = true;
                let wait = wait.max(WAIT_MIN);
                if Instant::now() + wait >= order.settle {
                    tracing::warn!(node = %report.node(), vm = %report.vm(),
                        "the VM could not be asked for yet: it is tried again");
                    return;
                }
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Asks whether a VM exists whose PUT may have been sent, and goes on from what is found.
pub async fn find(arm: Arm, (place, slurm): (Place, Slurm), report: Reporter) {
    match existing(&arm, (&place, &slurm), &report).await {
        Existing::Yes(creation) => follow(arm, creation, report).await,
        Existing::No => report.say(Change::DeleteIntended {
            why: EndReason::Orphaned,
            says: Some(AzureSays {
                code: "NeverAsked".to_owned(),
                text: "its PUT was never sent, and nobody is to send it any more".to_owned(),
                request_id: None,
            }),
        }),
        Existing::NotKnown => {}
    }
}

enum Sent {
    Accepted(Creation),
    Said(Change),
    /// What became of it is not known: the intent stays, and is taken up again.
    Nothing,
    Again(Duration),
}

async fn send(arm: &Arm, order: &Order, report: &Reporter) -> Sent {
    match arm.put_vm(&order.place, &order.spec, order.settle).await {
        Ok(Reply { answer: Answer::Done(started), request_id, .. }) => {
            Sent::Accepted(accepted(order, started, (request_id, report)))
        }
        Ok(Reply { answer: Answer::Refused(refusal), request_id, .. }) => {
            refused(arm, order, (refusal, request_id), report).await
        }
        Err(AzureError::Lost { .. } | AzureError::Body { .. }) => {
            match existing(arm, (&order.place, &order.slurm), report).await {
                Existing::Yes(creation) => Sent::Accepted(creation),
                Existing::No | Existing::NotKnown => Sent::Again(WAIT_DEFAULT),
            }
        }
        Err(AzureError::NoTurn { .. }) => Sent::Again(WAIT_MIN),
        Err(error @ AzureError::Token { .. }) => nothing_sent(order, CODE_NO_TOKEN, &error),
        Err(error @ (AzureError::Unreachable { .. } | AzureError::Config { .. })) => {
            nothing_sent(order, CODE_UNREACHABLE, &error)
        }
    }
}

fn accepted(
    order: &Order,
    started: Started,
    (request_id, report): (Option<String>, &Reporter),
) -> Creation {
    let (operation, retry_after) = match started {
        Started::Done => (None, None),
        Started::Operation { url, retry_after } => (Some(url), retry_after),
    };
    let named = operation.as_deref().and_then(operation_name);
    tracing::info!(node = %report.node(), vm = %report.vm(), request_id, operation = named,
        "Azure makes the VM");
    report.say(Change::Accepted { operation: operation.clone(), request_id });
    Creation::just_accepted((&order.place, &order.slurm), operation, retry_after)
}

async fn refused(
    arm: &Arm,
    order: &Order,
    (refusal, request_id): (Refusal, Option<String>),
    report: &Reporter,
) -> Sent {
    let says = refusal.says(request_id);
    match understand(Moment::Put(refusal.status), &says).retry {
        Retry::Wait | Retry::Here => {
            return Sent::Again(refusal.retry_after.unwrap_or(WAIT_DEFAULT));
        }
        Retry::Elsewhere | Retry::Once | Retry::Never => {}
    }
    let (node, vm) = (report.node(), report.vm());
    tracing::warn!(%node, %vm, request_id = says.request_id, status = refusal.status,
        "Azure refuses the VM: {}: {}", says.code, says.text);
    if !order.may_exist {
        return Sent::Said(Change::Refused(says));
    }
    match existing(arm, (&order.place, &order.slurm), report).await {
        Existing::Yes(creation) => Sent::Accepted(creation),
        // An earlier PUT may still arrive: the deletion waits until that is over.
        Existing::No => {
            Sent::Said(Change::DeleteIntended { why: EndReason::CreateFailed, says: Some(says) })
        }
        Existing::NotKnown => Sent::Nothing,
    }
}

/// Nothing was sent by us now; an earlier PUT of the same attempt may have been.
fn nothing_sent(order: &Order, code: &str, error: &AzureError) -> Sent {
    let text = chain_of(error);
    tracing::warn!(vm = %order.spec.name, node = %order.spec.computer_name, "{code}: {text}");
    let says = AzureSays { code: code.to_owned(), text, request_id: None };
    if order.may_exist {
        // It may be there and in use: a network that is away for a moment says nothing about it.
        Sent::Nothing
    } else {
        Sent::Said(Change::Refused(says))
    }
}

enum Existing {
    Yes(Creation),
    No,
    NotKnown,
}

async fn existing(arm: &Arm, (place, slurm): (&Place, &Slurm), report: &Reporter) -> Existing {
    match arm.get_vm(place, report.vm()).await {
        Ok(Reply { answer: Answer::Done(Some(_)), request_id, .. }) => {
            report.say(Change::Accepted { operation: None, request_id });
            Existing::Yes(Creation {
                place: place.clone(),
                operation: None,
                first_look: Duration::ZERO,
                slurm: slurm.clone(),
            })
        }
        Ok(Reply { answer: Answer::Done(None), .. }) => Existing::No,
        Ok(Reply { answer: Answer::Refused(_), .. }) => Existing::NotKnown,
        Err(error) => {
            tracing::warn!(node = %report.node(), vm = %report.vm(),
                "cannot tell whether the VM exists: {}", chain_of(&error));
            Existing::NotKnown
        }
    }
}
