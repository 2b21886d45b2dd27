//! Boot failures: VMs that Azure makes, and on which slurmd does not register before ResumeTimeout
//! (a wrong image, a broken user data, another munge key).
//!
//! ```text
//! missed ResumeTimeout ─┬► judge ──counts──► hold boot:<nodeset>/<image>: one strike a request
//! its set-up has failed ┘    └─ else: it is somebody else's fault, or the node's alone
//! first strike: counted only    second and later: closed, half open, one tries   (hold.rs)
//! slurmd registers on a VM that was made after the last strike ──► the hold is gone
//! ```
//!
//! Two strikes close it: each is a request of which no VM at all came, and the second was begun
//! after the first was known. A third would cost another ResumeTimeout of every VM of a gang.
//! Strikes and successes are those of one nodeset and one image; a VM that has been up for long
//! shows nothing about those that are made now.

use std::time::Duration;

use crate::Timestamp;
use crate::attempt::{Attempt, AzureSays};
use crate::failure::CODE_BOOT_FAILURE;
use crate::hostlist;

/// VMs of one request are intended within this: a thousand rows are written in less.
const TOGETHER: Duration = Duration::from_secs(10);

/// The code of the reason that a node gives slurmctld when a step between its boot and slurmd fails
/// (`azslurm-conf node-init`).
pub const CODE_NODE_INIT: &str = "node-init";

/// A node that has not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Its VM.
    pub attempt: Attempt,
    /// What Azure says of that.
    pub fate: VmFate,
    /// What the node itself says: which step of its set-up failed, and why. `None`: it was not
    /// heard of until ResumeTimeout.
    pub told: Option<String>,
}

/// What Azure says of a VM whose node missed ResumeTimeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VmFate {
    /// It is provisioned and runs.
    Runs,
    /// Azure has not finished it, or failed: that has rows of its own (`failure`).
    NotProvisioned,
    /// It is deallocated, or not there: somebody took it.
    Taken,
}

impl VmFate {
    const ALL: [VmFate; 3] = [VmFate::Runs, VmFate::NotProvisioned, VmFate::Taken];
}

/// Whether a node that missed ResumeTimeout says something about its nodeset and image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does.
    Counts,
    /// slurmd had registered: the VM has booted.
    HasRegistered,
    /// Azure was slow, or failed.
    AzureHasNotMadeIt,
    /// Somebody took the VM.
    VmWasTaken,
    /// slurmd registered on another VM that was made with it or after it: it is this VM's fault.
    OthersCame,
    /// The VM was adopted, and the image that it was made with is not known.
    ImageIsNotKnown,
}

/// Judges an attempt whose node missed ResumeTimeout. `newest_registered`: when the newest of the
/// VMs of its nodeset and image was intended on which slurmd has registered.
pub fn judge(attempt: &Attempt, fate: VmFate, newest_registered: Option<Timestamp>) -> Verdict {
    let others_came =
        newest_registered.is_some_and(|newest| newest.plus(TOGETHER) >= attempt.intended_at);
    verdict((attempt.registered_at.is_some(), attempt.is.image.is_empty()), fate, others_came)
}

fn verdict(
    (has_registered, is_image_unknown): (bool, bool),
    fate: VmFate,
    others_came: bool,
) -> Verdict {
    match (has_registered, fate) {
        (true, VmFate::Runs | VmFate::NotProvisioned | VmFate::Taken) => Verdict::HasRegistered,
        (false, VmFate::NotProvisioned) => Verdict::AzureHasNotMadeIt,
        (false, VmFate::Taken) => Verdict::VmWasTaken,
        (false, VmFate::Runs) if is_image_unknown => Verdict::ImageIsNotKnown,
        (false, VmFate::Runs) if others_came => Verdict::OthersCame,
        (false, VmFate::Runs) => Verdict::Counts,
    }
}

/// What is said of nodes that count, as if Azure had said it: in the words of the first that has
/// any.
pub fn says(missed: &[&Missed]) -> AzureSays {
    let nodes = hostlist::fold_set(missed.iter().map(|one| &one.attempt.is.node));
    let text = match missed.iter().find_map(|one| one.told.as_deref()) {
        Some(told) => format!("the set-up of {nodes} failed: {told}"),
        None => format!(
            "slurmd did not register on {nodes}: look at image, user data, munge key, network"
        ),
    };
    AzureSays { code: CODE_BOOT_FAILURE.to_owned(), text, request_id: None }
}

type Cell = (VmFate, bool, bool, bool);

fn cells() -> impl Iterator<Item = Cell> {
    let registered = |fate| [false, true].map(|is| (fate, is));
    let unknown = |(fate, registered)| [false, true].map(|is| (fate, registered, is));
    let others =
        |(fate, registered, unknown)| [false, true].map(|is| (fate, registered, unknown, is));
    VmFate::ALL.into_iter().flat_map(registered).flat_map(unknown).flat_map(others)
}

/// The verdicts as text, for the golden file.
pub(crate) fn matrix() -> Vec<String> {
    let line = |(fate, registered, unknown, others): Cell| {
        let verdict = verdict((registered, unknown), fate, others);
        let (fate, image) = (format!("{fate:?}"), if unknown { "unknown" } else { "known" });
        format!("{fate:14} {registered:10} {image:7} {others:6} {verdict:?}")
    };
    let head = "\nvm missed      registered image   others verdict".to_owned();
    [head].into_iter().chain(cells().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_vm_that_runs_alone_in_vain_with_a_known_image_counts() {
        for (fate, registered, unknown, others) in cells() {
            let counts = verdict((registered, unknown), fate, others) == Verdict::Counts;
            let expected = fate == VmFate::Runs && !registered && !unknown && !others;
            assert_eq!(counts, expected, "{fate:?} {registered} {unknown} {others}");
        }
    }
}
