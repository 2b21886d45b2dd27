//! Following the creation of a VM to its end.

use std::time::Duration;

use azslurm_azure::{Answer, Arm, OperationState, Place, ProvisioningState, Vm};
use azslurm_core::attempt::{AzureSays, Change, EndReason};
use azslurm_core::decide::SlurmView;
use azslurm_core::failure::{CODE_VANISHED, FailureKind, Moment, understand};
use azslurm_program::errands::Reporter;
use azslurm_program::exit::chain_of;
use azslurm_program::view;
use azslurm_slurm::Slurm;
use tokio::time::Instant;

/// How long to wait between polls when Azure does not say (FACTS §2: 10 s is safe).
const POLL_DEFAULT: Duration = Duration::from_secs(10);
/// Never ask more often than this, whatever Azure says.
const POLL_MIN: Duration = Duration::from_secs(1);
/// The longest pause of our own: a creation that fails is to go on elsewhere, and half a minute is
/// little beside the minutes that another place takes. A node whose VM comes tells slurmctld
/// itself.
const POLL_MAX: Duration = Duration::from_secs(30);

/// A creation that Azure has accepted.
#[derive(Debug, Clone)]
pub struct Creation {
    /// Where.
    pub place: Place,
    /// The operation to poll; absent: the VM itself is asked.
    pub operation: Option<String>,
    /// When to look first.
    pub first_look: Duration,
    /// Who knows whether a VM that Azure gave up is in use all the same.
    pub slurm: Slurm,
}

impl Creation {
    /// One that Azure has just accepted.
    pub fn just_accepted(
        (place, slurm): (&Place, &Slurm),
        operation: Option<String>,
        retry_after: Option<Duration>,
    ) -> Creation {
        let first_look = match (&operation, retry_after) {
            (None, _) => Duration::ZERO,
            (Some(_), wait) => wait.unwrap_or(POLL_DEFAULT).max(POLL_MIN),
        };
        Creation { place: place.clone(), operation, first_look, slurm: slurm.clone() }
    }
}

/// Follows until the VM is provisioned or has failed; ends with the run at the latest.
pub async fn follow(arm: Arm, creation: Creation, report: Reporter) {
    let Creation { place, mut operation, first_look, slurm } = creation;
    let begun = Instant::now();
    let mut wait = first_look;
    loop {
        tokio::time::sleep(wait).await;
        let seen = match &operation {
            Some(url) => poll(&arm, url, &report).await,
            None => look(&arm, &place, &report).await,
        };
        match seen {
            Seen::End(change) => return report.say(change),
            // Seldom, and its room would be a part of every task.
            Seen::Failed(says) => match Box::pin(judge_failure(&slurm, says, &report)).await {
                Some(change) => return report.say(change),
                None => wait = POLL_DEFAULT,
            },
            Seen::GoesOn(after) => wait = pause(begun.elapsed(), after),
            Seen::AskTheVm => {
                operation = None;
                wait = Duration::ZERO;
            }
        }
    }
}

/// How long to wait before the next look at a creation that has been followed for so long: as Azure
/// says, else as long again. What has taken a minute seldom ends within the next seconds, and
/// reads are what Azure gives back slowest beside what a thousand VMs need of them.
fn pause(followed: Duration, azure_says: Option<Duration>) -> Duration {
    azure_says.unwrap_or(followed.clamp(POLL_DEFAULT, POLL_MAX)).max(POLL_MIN)
}

enum Seen {
    End(Change),
    Failed(AzureSays),
    GoesOn(Option<Duration>),
    AskTheVm,
}

async fn poll(arm: &Arm, url: &str, report: &Reporter) -> Seen {
    match arm.poll(url).await {
        Ok(reply) => match reply.answer {
            Answer::Done(OperationState::Running { retry_after }) => Seen::GoesOn(retry_after),
            Answer::Done(OperationState::Succeeded) => {
                tracing::info!(node = %report.node(), vm = %report.vm(), "the VM is provisioned");
                Seen::End(Change::Running)
            }
            Answer::Done(OperationState::Failed(says)) => Seen::Failed(says),
            Answer::Done(OperationState::Canceled | OperationState::Lost) => Seen::AskTheVm,
            Answer::Refused(refusal) if refusal.is_throttled() => Seen::GoesOn(refusal.retry_after),
            Answer::Refused(_) => Seen::AskTheVm,
        },
        // A poll that fails says nothing about the operation (FACTS §2).
        Err(error) => {
            tracing::warn!(node = %report.node(), vm = %report.vm(), "cannot poll: {}",
                chain_of(&error));
            Seen::GoesOn(None)
        }
    }
}

async fn look(arm: &Arm, place: &Place, report: &Reporter) -> Seen {
    match arm.get_vm(place, report.vm()).await {
        Ok(reply) => match reply.answer {
            Answer::Done(Some(vm)) => judge(&vm, report),
            Answer::Done(None) => Seen::Failed(AzureSays {
                code: CODE_VANISHED.to_owned(),
                text: "the VM is not there any more".to_owned(),
                request_id: reply.request_id,
            }),
            Answer::Refused(refusal) => Seen::GoesOn(refusal.retry_after),
        },
        Err(error) => {
            tracing::warn!(node = %report.node(), vm = %report.vm(), "cannot read the VM: {}",
                chain_of(&error));
            Seen::GoesOn(None)
        }
    }
}

fn judge(vm: &Vm, report: &Reporter) -> Seen {
    match &vm.provisioning_state {
        ProvisioningState::Succeeded => {
            tracing::info!(node = %report.node(), vm = %report.vm(), "the VM is provisioned");
            Seen::End(Change::Running)
        }
        ProvisioningState::Failed => Seen::Failed(says_of(vm)),
        ProvisioningState::Deleting => Seen::Failed(AzureSays {
            code: CODE_VANISHED.to_owned(),
            text: "somebody deletes the VM".to_owned(),
            request_id: None,
        }),
        ProvisioningState::Creating
        | ProvisioningState::Updating
        | ProvisioningState::Migrating
        | ProvisioningState::Other(_) => Seen::GoesOn(None),
    }
}

/// Why a VM is in `Failed`: its instance view repeats the code,
/// `ProvisioningState/failed/AllocationFailed`.
fn says_of(vm: &Vm) -> AzureSays {
    let failed = vm
        .statuses
        .iter()
        .find(|status| status.code.to_ascii_lowercase().starts_with("provisioningstate/failed"));
    AzureSays {
        code: failed
            .and_then(|status| status.code.split('/').nth(2))
            .unwrap_or("ProvisioningFailed")
            .to_owned(),
        text: failed.map(|status| status.text.clone()).unwrap_or_default(),
        request_id: None,
    }
}

/// What follows from a failure. Azure also fails a creation whose VM runs and works (its agent did
/// not report, an extension failed): slurmctld is asked before anything is deleted. `None`: it does
/// not answer, and until it does nothing is destroyed.
async fn judge_failure(slurm: &Slurm, says: AzureSays, report: &Reporter) -> Option<Change> {
    let (node, vm) = (report.node(), report.vm());
    match understand(Moment::Operation, &says).kind {
        // The VM was never placed: nothing can be in use.
        FailureKind::Capacity | FailureKind::Quota => return Some(failed(report, says)),
        FailureKind::Throttled
        | FailureKind::Configuration
        | FailureKind::Conflict
        | FailureKind::Azure
        | FailureKind::Unknown => {}
    }
    if says.code == CODE_VANISHED {
        return Some(failed(report, says));
    }
    let view = view_of(slurm, (&says.code, &says.text), report).await?;
    if is_in_use(view) || (view == SlurmView::Booting && says.code.starts_with("VMExtension")) {
        tracing::warn!(%node, %vm, request_id = says.request_id,
            "Azure says {}: {}, and slurmctld uses the node or may yet: the VM stays",
            says.code, says.text);
        return Some(Change::Running);
    }
    Some(failed(report, says))
}

/// How slurmctld sees the node of a VM that Azure says no good of; `None`: it cannot be asked.
pub(crate) async fn view_of(
    slurm: &Slurm,
    (code, text): (&str, &str),
    report: &Reporter,
) -> Option<SlurmView> {
    let (node, vm) = (report.node(), report.vm());
    match slurm.nodes_named(std::slice::from_ref(node)).await {
        Ok(found) => Some(found.first().map_or(SlurmView::Absent, view::of)),
        Err(error) => {
            tracing::warn!(%node, %vm, "Azure says {code}: {text}, and slurmctld cannot be asked \
                whether the VM is in use: {}", chain_of(&error));
            None
        }
    }
}

/// Whether slurmd has registered, or a person keeps the node.
pub(crate) fn is_in_use(view: SlurmView) -> bool {
    match view {
        SlurmView::Up
        | SlurmView::Down
        | SlurmView::Dead
        | SlurmView::BootingByPerson
        | SlurmView::OffByPerson
        | SlurmView::Unknown
        | SlurmView::Absent => true,
        SlurmView::Off
        | SlurmView::Booting
        | SlurmView::AboutToBoot
        | SlurmView::BootingRefused
        | SlurmView::PoweringDown
        | SlurmView::PoweringDownByPerson
        | SlurmView::OffFailed
        | SlurmView::OffCompleting => false,
    }
}

fn failed(report: &Reporter, says: AzureSays) -> Change {
    tracing::warn!(node = %report.node(), vm = %report.vm(), request_id = says.request_id,
        "Azure could not make the VM: {}: {}; what is left of it is deleted", says.code, says.text);
    Change::DeleteIntended { why: EndReason::CreateFailed, says: Some(says) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a creation is looked at of which Azure says this after the PUT and after each look.
    fn looks(azure_says: &[Option<u64>], until: u64) -> Vec<u64> {
        let said = |look: usize| azure_says.get(look).copied().flatten().map(Duration::from_secs);
        let mut at = said(0).unwrap_or(POLL_DEFAULT);
        let mut looks = Vec::new();
        while at.as_secs() < until {
            looks.push(at.as_secs());
            at += pause(at, said(looks.len()));
        }
        looks
    }

    #[test]
    fn a_creation_of_74_seconds_is_looked_at_three_times_and_a_longer_one_twice_a_minute() {
        // FACTS §2: ten seconds after the PUT, 35 after the first poll, nothing later.
        assert_eq!(looks(&[Some(10), Some(35)], 76), [10, 45, 75]);
        assert_eq!(looks(&[], 200), [10, 20, 40, 70, 100, 130, 160, 190]);
    }

    #[test]
    fn azures_word_counts_within_reason() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(40 * second, Some(2 * second)), 2 * second);
        assert_eq!(pause(40 * second, Some(300 * second)), 300 * second);
        assert_eq!(pause(40 * second, Some(Duration::ZERO)), POLL_MIN);
        assert_eq!(pause(Duration::ZERO, None), POLL_DEFAULT);
    }
}
