//! The one place that makes a VM.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use azslurm_azure::{Answer, Arm, AzureError, Place, Refusal, Reply, SentMark, Started, VmDraft};
use azslurm_core::attempt::{AzureSays, Change, EndReason};
use azslurm_core::failure::{
    CODE_NO_TOKEN, CODE_RECALLED, CODE_UNAVAILABLE, CODE_UNREACHABLE, Moment, Retry, understand,
};
use azslurm_program::errands::Reporter;
use azslurm_program::exit::chain_of;
use azslurm_program::logs::operation_name;
use azslurm_slurm::Slurm;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::follow::{Creation, follow, is_in_use, view_of};

/// How long to wait before the next try when Azure does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
/// Never try more often than this, whatever Azure says.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// A PUT that meets a conflict is sent again so often at most: what takes longer than half a minute
/// is no conflict of the moment.
const CONFLICTS_MAX: u32 = 3;
/// Calls without an answer, each of several tries, before the site is given up.
const LOST_MAX: u32 = 2;

/// Calls a PUT back: what has not been sent is not sent any more. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Recall(Arc<Called>);

#[derive(Debug, Default)]
struct Called {
    is_called: AtomicBool,
    news: Notify,
}

impl Recall {
    /// Calls it back.
    pub fn call(&self) {
        self.0.is_called.store(true, Ordering::Relaxed);
        self.0.news.notify_one();
    }

    fn is_called(&self) -> bool {
        self.0.is_called.load(Ordering::Relaxed)
    }

    async fn called(&self) {
        while !self.is_called() {
            self.0.news.notified().await;
        }
    }
}

/// A VM to make.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where.
    pub place: Place,
    /// All of it.
    pub draft: VmDraft,
    /// Nothing is sent after this moment.
    pub settle: Instant,
    /// Whether somebody may have sent this PUT before: then a refusal does not say that nothing
    /// exists.
    pub may_exist: bool,
    /// For following the VM.
    pub slurm: Slurm,
    /// By which it is called back.
    pub recall: Recall,
}

/// What went wrong with an order so far.
#[derive(Debug, Clone, Copy, Default)]
struct Troubles {
    conflicts: u32,
    lost: u32,
}

/// Sends the PUT, says what came of it, and follows the VM to its end. Sending the same PUT again
/// is safe: the same attempt is the same VM. One that is called back says whether it was made all
/// the same.
pub async fn create(arm: Arm, order: Order, report: Reporter) {
    // What a PUT needs is given back before the VM is followed, which takes minutes.
    if let Some(creation) = ask(&arm, order, &report).await {
        follow(arm, creation, report).await;
    }
}

/// Sends the PUT and says what came of it; what is to be followed, if there is something.
async fn ask(arm: &Arm, mut order: Order, report: &Reporter) -> Option<Creation> {
    let mut troubles = Troubles::default();
    let say = |change| {
        report.say(change);
        None
    };
    loop {
        if order.recall.is_called() {
            return say(recalled(order.may_exist));
        }
        let mark = SentMark::default();
        let sent = {
            let mut sending = pin!(send(arm, (&order, &mark), &mut troubles, report));
            tokio::select! {
                biased;
                sent = &mut sending => sent,
                // What is on its way is waited for: its answer says whether there is a VM. What is
                // not, or was throttled, is not sent any more, nor is what gets no answer.
                () = order.recall.called() => {
                    mark.stop();
                    tokio::select! {
                        biased;
                        () = mark.is_clear() => return say(recalled(order.may_exist)),
                        sent = &mut sending => sent,
                    }
                }
            }
        };
        match sent {
            Sent::Accepted(_) if order.recall.is_called() => return None,
            Sent::Accepted(creation) => return Some(creation),
            Sent::Said(change) => return say(change),
            Sent::Nothing if order.recall.is_called() => return say(recalled(true)),
            Sent::Nothing => return None,
            Sent::Again { wait, may_exist } => {
                order.may_exist |= may_exist;
                let wait = wait.max(WAIT_MIN);
                if Instant::now() + wait >= order.settle {
                    tracing::warn!(node = %report.node(), vm = %report.vm(),
                        "the VM could not be asked for yet: it is tried again");
                    return None;
                }
                let _called_or_over = timeout(wait, order.recall.called()).await;
            }
        }
    }
}

/// The word of an order that was called back.
fn recalled(may_exist: bool) -> Change {
    let says = AzureSays {
        code: CODE_RECALLED.to_owned(),
        text: "decided otherwise before it was sent".to_owned(),
        request_id: None,
    };
    if may_exist {
        Change::DeleteIntended { why: EndReason::Superseded, says: Some(says) }
    } else {
        Change::Refused(says)
    }
}

/// Asks whether a VM exists whose PUT may have been sent, and goes on from what is found.
pub async fn find(arm: Arm, (place, slurm): (Place, Slurm), report: Reporter) {
    match existing(&arm, (&place, &slurm), &report).await {
        Existing::Yes(creation) => follow(arm, creation, report).await,
        Existing::No => report.say(Change::DeleteIntended {
            why: EndReason::Orphaned,
            says: Some(AzureSays {
                code: CODE_RECALLED.to_owned(),
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
    Again {
        wait: Duration,
        /// Whether what was sent may have made the VM.
        may_exist: bool,
    },
}

async fn send(
    arm: &Arm,
    (order, mark): (&Order, &SentMark),
    troubles: &mut Troubles,
    report: &Reporter,
) -> Sent {
    match arm.put_vm(&order.place, order.draft.clone(), order.settle, mark).await {
        Ok(Reply { answer: Answer::Done(started), request_id, .. }) => {
            Sent::Accepted(accepted(order, started, (request_id, report)))
        }
        Ok(Reply { answer: Answer::Refused(refusal), request_id, .. }) => {
            // As below: seldom, and its room would be a part of every task.
            Box::pin(refused(arm, (order, troubles), (refusal, request_id), report)).await
        }
        Err(error @ (AzureError::Lost { .. } | AzureError::Body { .. })) => {
            match Box::pin(existing(arm, (&order.place, &order.slurm), report)).await {
                Existing::Yes(creation) => Sent::Accepted(creation),
                Existing::No => lost(troubles, &error, report),
                Existing::NotKnown => Box::pin(unseen(order, troubles, (&error, report))).await,
            }
        }
        Err(AzureError::NoTurn { .. }) => Sent::Again { wait: WAIT_MIN, may_exist: false },
        Err(error @ AzureError::Token { .. }) => {
            nothing_sent(order, (CODE_NO_TOKEN, &error), report)
        }
        Err(error @ (AzureError::Unreachable { .. } | AzureError::Config { .. })) => {
            nothing_sent(order, (CODE_UNREACHABLE, &error), report)
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

/// As [`lost`], and Azure does not say either whether the VM is there. slurmctld may know it: a job
/// may run on it already. While slurmctld does not answer nothing is given up.
async fn unseen(
    order: &Order,
    troubles: &mut Troubles,
    (error, report): (&AzureError, &Reporter),
) -> Sent {
    if troubles.lost + 1 < LOST_MAX {
        return lost(troubles, error, report);
    }
    match view_of(&order.slurm, (CODE_UNAVAILABLE, &chain_of(error)), report).await {
        None => Sent::Again { wait: WAIT_DEFAULT, may_exist: true },
        Some(view) if is_in_use(view) => {
            tracing::warn!(node = %report.node(), vm = %report.vm(),
                "Azure does not answer, and slurmctld uses the node or may yet: the VM stays");
            report.say(Change::Accepted { operation: None, request_id: None });
            Sent::Accepted(Creation::just_accepted((&order.place, &order.slurm), None, None))
        }
        Some(_waits) => lost(troubles, error, report),
    }
}

/// No answer that settles it, after several tries within the call. That again and again means that
/// the site is out of order: its nodes begin elsewhere.
fn lost(troubles: &mut Troubles, error: &AzureError, report: &Reporter) -> Sent {
    troubles.lost += 1;
    if troubles.lost < LOST_MAX {
        return Sent::Again { wait: WAIT_DEFAULT, may_exist: true };
    }
    let text = chain_of(error);
    tracing::warn!(node = %report.node(), vm = %report.vm(),
        "Azure does not answer: {text}; the VM is given up here, and deleted if it comes");
    let says = AzureSays { code: CODE_UNAVAILABLE.to_owned(), text, request_id: None };
    Sent::Said(Change::DeleteIntended { why: EndReason::CreateFailed, says: Some(says) })
}

async fn refused(
    arm: &Arm,
    (order, troubles): (&Order, &mut Troubles),
    (refusal, request_id): (Refusal, Option<String>),
    report: &Reporter,
) -> Sent {
    let says = refusal.says(request_id);
    match understand(Moment::Put(refusal.status), &says).retry {
        Retry::Wait => {
            let wait = refusal.retry_after.unwrap_or(WAIT_DEFAULT);
            return Sent::Again { wait, may_exist: false };
        }
        Retry::Here if troubles.conflicts < CONFLICTS_MAX => {
            troubles.conflicts += 1;
            let wait = refusal.retry_after.unwrap_or(WAIT_DEFAULT);
            return Sent::Again { wait, may_exist: false };
        }
        Retry::Here | Retry::Elsewhere | Retry::Once | Retry::Never => {}
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
fn nothing_sent(order: &Order, (code, error): (&str, &AzureError), report: &Reporter) -> Sent {
    let text = chain_of(error);
    tracing::warn!(vm = %report.vm(), node = %report.node(), "{code}: {text}");
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
