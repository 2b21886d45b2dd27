//! The phases of the story, and a few words about each for who watches. Pure.

use crate::look::Picture;

/// How far the story has come. The order is the story's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The job waits, and no VM was asked for.
    Submitted,
    /// VMs are being made.
    Creating,
    /// All VMs run.
    Booting,
    /// All nodes have registered; the job waits for slurmctld.
    Registered,
    /// The job runs.
    Running,
    /// The job is done; its nodes are idle.
    Idle,
    /// VMs are being deleted.
    Deleting,
    /// Azure has nothing left; slurmctld is about to know.
    Gone,
    /// All nodes are off and can be used again, and no work is left.
    Off,
}

impl Phase {
    /// The phase that a picture shows, for a job of `nodes` nodes.
    pub fn of(picture: &Picture, nodes: usize) -> Phase {
        let asked = picture.asked().count();
        let attempts = || picture.ledger.values();
        if picture.job == "COMPLETED" {
            let are_ended = attempts().all(|attempt| attempt.ended_at.is_some());
            return match () {
                () if picture.is_azure_empty() && are_ended && picture.are_all_off() => Phase::Off,
                () if picture.is_azure_empty() => Phase::Gone,
                () if attempts().any(|a| a.delete_intended_at.is_some()) => Phase::Deleting,
                () => Phase::Idle,
            };
        }
        let is_running = |vm: &&azslurm_test_cluster::Resource| {
            vm.power_state.as_deref() == Some("PowerState/running")
        };
        match picture.job.as_str() {
            "RUNNING" | "COMPLETING" if asked >= nodes && is_all_registered(picture) => {
                Phase::Running
            }
            _ if asked < nodes => Phase::Submitted,
            _ if is_all_registered(picture) => Phase::Registered,
            _ if picture.alive("virtualMachines", None).filter(is_running).count() >= nodes => {
                Phase::Booting
            }
            _ => Phase::Creating,
        }
    }

    /// In three words, for the head of the table.
    pub fn title(self) -> &'static str {
        match self {
            Phase::Submitted => "the job is submitted",
            Phase::Creating => "VMs are being made",
            Phase::Booting => "VMs boot",
            Phase::Registered => "waiting for slurmctld's tick",
            Phase::Running => "the job runs",
            Phase::Idle => "nodes are idle",
            Phase::Deleting => "VMs are being deleted",
            Phase::Gone => "nothing is left in Azure",
            Phase::Off => "all nodes are off",
        }
    }

    /// What one is looking at, in lines that fit a terminal.
    pub fn explanation(self) -> &'static [&'static str] {
        match self {
            Phase::Submitted => &[
                "slurmctld gives the job three nodes that are powered down, and calls",
                "azslurm-resume for them within about 3 s.",
            ],
            Phase::Creating => &[
                "azslurm-resume was called: it wrote to its ledger what it was about",
                "to do, sent one PUT per VM, and follows them until they run. A VM",
                "takes 4 s here, and minutes in the real Azure.",
            ],
            Phase::Booting => {
                &["The VMs run. Each boots a real slurmd, which registers with", "slurmctld."]
            }
            Phase::Registered => &[
                "The VMs run, a real slurmd in each, and all three have registered.",
                "Nothing happens now for up to 30 s: slurmctld looks only every 30 s,",
                "by a clock of its own that cannot be configured, whether the nodes",
                "of a waiting job are all up.",
            ],
            Phase::Running => &["The job runs on three VMs that were not there when it was sent."],
            Phase::Idle => &[
                "The job is done and its nodes are idle. After SuspendTime (10 s here)",
                "slurmctld calls azslurm-suspend for them.",
            ],
            Phase::Deleting => &[
                "azslurm-suspend was called: it deletes the VMs, and their NICs and",
                "disks go with them. azslurm-sync follows until Azure says that they",
                "are gone.",
            ],
            Phase::Gone => &[
                "Azure has nothing left. slurmctld has its nodes back as soon as the",
                "programs tell it so, or SuspendTimeout (10 s here) has passed.",
            ],
            Phase::Off => &["All nodes are off and can be used again, and no work is left."],
        }
    }
}

fn is_all_registered(picture: &Picture) -> bool {
    picture.asked().all(|node| picture.is_registered(node))
}

/// Whether a job in that state has failed and will not run.
pub fn is_lost(job: &str) -> bool {
    let going = ["", "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "COMPLETED"];
    !going.contains(&job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::tests::{picture, resource};
    use crate::look::{Attempt, Moment};

    fn phase(job: &str, state: &str, change: impl FnOnce(&mut Picture)) -> Phase {
        let mut picture = picture(&[("hpc-001", state), ("hpc-002", "IDLE+CLOUD+POWERED_DOWN")]);
        picture.job = job.to_owned();
        change(&mut picture);
        Phase::of(&picture, 1)
    }

    fn attempt(picture: &mut Picture) -> &mut Attempt {
        picture.ledger.entry("hpc-001".to_owned()).or_default()
    }

    fn vm(picture: &mut Picture) {
        attempt(picture);
        picture.azure = vec![resource("virtualMachines", "hpc-001-0a", None)];
    }

    #[test]
    fn the_story_goes_on_with_what_is_seen() {
        let off = "IDLE+CLOUD+POWERED_DOWN";
        let up = "ALLOCATED+CLOUD+POWERING_UP+NOT_RESPONDING";
        assert_eq!(phase("PENDING", off, |_| ()), Phase::Submitted);
        assert_eq!(phase("CONFIGURING", up, |p| drop(attempt(p).clone())), Phase::Creating);
        assert_eq!(phase("CONFIGURING", up, vm), Phase::Booting);
        assert_eq!(phase("CONFIGURING", "ALLOCATED+CLOUD", vm), Phase::Registered);
        assert_eq!(phase("RUNNING", "ALLOCATED+CLOUD", vm), Phase::Running);
        assert_eq!(phase("COMPLETED", "IDLE+CLOUD", vm), Phase::Idle);
        let deleting = phase("COMPLETED", "IDLE+CLOUD+POWERING_DOWN", |picture| {
            vm(picture);
            attempt(picture).delete_intended_at = Some(Moment(1));
        });
        assert_eq!(deleting, Phase::Deleting);
        assert_eq!(phase("COMPLETED", off, |p| drop(attempt(p).clone())), Phase::Gone);
        let ended = |p: &mut Picture| attempt(p).ended_at = Some(Moment(2));
        assert_eq!(phase("COMPLETED", "IDLE+CLOUD+POWERING_DOWN", ended), Phase::Gone);
        assert_eq!(phase("COMPLETED", off, ended), Phase::Off);
    }

    #[test]
    fn explanations_fit_80_columns_beside_the_time() {
        let all = [
            Phase::Submitted,
            Phase::Creating,
            Phase::Booting,
            Phase::Registered,
            Phase::Running,
            Phase::Idle,
            Phase::Deleting,
            Phase::Gone,
            Phase::Off,
        ];
        for line in all.iter().flat_map(|phase| phase.explanation()) {
            assert!(line.len() <= 69, "{} columns: {line}", line.len());
        }
    }

    #[test]
    fn a_job_that_cannot_complete_is_lost() {
        assert!(is_lost("CANCELLED") && is_lost("NODE_FAIL"));
        assert!(!is_lost("CONFIGURING") && !is_lost(""));
    }
}
