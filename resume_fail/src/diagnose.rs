//! Why a node did not come, as far as can be known from outside.

use azslurm_azure::{Answer, Arm, Place, ProvisioningState, Vm, VmPower};
use azslurm_core::attempt::Attempt;
use azslurm_core::boot::VmFate;
use azslurm_ledger::Event;
use azslurm_program::exit::chain_of;
use azslurm_program::{Session, now};
use futures::future::join_all;

/// Diagnoses are for people; more than this many of one call would say the same.
const DIAGNOSED_MAX: usize = 64;

/// Looks at the VMs of `attempts`; what became of each, with an event for people.
pub async fn diagnose(session: &Session, attempts: &[Attempt]) -> Vec<(Event, VmFate, Attempt)> {
    let looks = attempts.iter().take(DIAGNOSED_MAX).map(|attempt| async move {
        let arm = session.clients.of(&attempt.is.place.site)?;
        let found = look(arm, attempt).await;
        let mut event = Event::new(now(), "boot-failed", sentence(attempt, &found));
        event.node = Some(attempt.is.node.clone());
        event.vm = Some(attempt.is.vm.clone());
        event.job = attempt.is.jobs.first().copied();
        event.site = Some(attempt.is.place.site.clone());
        tracing::warn!(node = %attempt.is.node, vm = %attempt.is.vm, "{}", event.text);
        Some((event, fate(attempt, &found), attempt.clone()))
    });
    join_all(looks).await.into_iter().flatten().collect()
}

enum Found {
    Vm(Box<Vm>),
    Absent,
    Unknown(String),
}

async fn look(arm: &Arm, attempt: &Attempt) -> Found {
    let place = Place::from(&attempt.is.place);
    match arm.get_vm(&place, &attempt.is.vm).await {
        Ok(reply) => match reply.answer {
            Answer::Done(Some(vm)) => Found::Vm(Box::new(vm)),
            Answer::Done(None) => Found::Absent,
            Answer::Refused(refusal) => {
                Found::Unknown(format!("{}: {}", refusal.code, refusal.text))
            }
        },
        Err(error) => Found::Unknown(chain_of(&error)),
    }
}

/// Where Azure does not say, what the driver that made it has seen counts.
fn fate(attempt: &Attempt, found: &Found) -> VmFate {
    let vm = match found {
        Found::Absent => return VmFate::Taken,
        Found::Unknown(_) if attempt.running_at.is_some() => return VmFate::Runs,
        Found::Unknown(_) => return VmFate::NotProvisioned,
        Found::Vm(vm) => vm,
    };
    let is_off = matches!(vm.power, Some(VmPower::Deallocated | VmPower::Deallocating));
    if is_off || vm.provisioning_state == ProvisioningState::Deleting {
        VmFate::Taken
    } else if vm.provisioning_state == ProvisioningState::Succeeded {
        VmFate::Runs
    } else {
        VmFate::NotProvisioned
    }
}

fn sentence(attempt: &Attempt, found: &Found) -> String {
    let missed = format!("{} missed ResumeTimeout", attempt.is.node);
    match found {
        Found::Absent => format!("{missed}: its VM is not there"),
        Found::Unknown(why) => format!("{missed}: its VM cannot be looked at: {why}"),
        Found::Vm(vm) => {
            let statuses: Vec<&str> =
                vm.statuses.iter().map(|status| status.code.as_str()).collect();
            let hint = if attempt.running_at.is_some() {
                "slurmd did not register: check the image, slurm.conf on the node, munge and the \
                 network between node and controller; user data of node-init says on the serial \
                 console and in /var/log/cloud-init-output.log which step failed"
            } else {
                "Azure needed longer than ResumeTimeout: raise it"
            };
            format!(
                "{missed}: Azure says {} ({}); {hint}",
                vm.provisioning_state,
                statuses.join(", ")
            )
        }
    }
}
