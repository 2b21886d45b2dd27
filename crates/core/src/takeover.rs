//! A ledger that has slept: of a cluster with several head nodes each machine has its own, and one
//! that takes control knows nothing of what was done from the others meanwhile.
//!
//! ```text
//! no pass for long, or another head node was seen to act ──► Slept
//!                                                              │ a whole list of Azure's that
//!                                                              │ all that was made before is in
//!                                                              ▼
//!                                                           Settled
//! ```
//!
//! While it has slept, what it does not know is no reason to make a second VM, and what it believes
//! is no reason to take a node from its jobs.

use std::time::Duration;

use crate::Timestamp;
use crate::decide::{AttemptAction, AttemptReason, NodeAction, NodeReason};
use crate::listing::{LISTED_AFTER, Way};

/// A pass that ended so long ago is no proof that this ledger has followed since, at least.
const AWAKE_FOR_MIN: Duration = LISTED_AFTER;
/// So many pauses between passes may lie between two that follow each other.
const PAUSES: u32 = 2;

/// How far the ledger is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// It has followed what was done, or knows it again.
    #[default]
    Settled,
    /// Until a time other head nodes may have acted, and not all that they did is known.
    Slept {
        /// The first pass after that.
        since: Timestamp,
    },
}

/// What tells whether a ledger has slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Whether slurm.conf names several `SlurmctldHost`.
    pub has_several_heads: bool,
    /// When the last pass with this ledger ended.
    pub passed_at: Option<Timestamp>,
    /// When the daemon of this machine last saw another head node act, or was started.
    pub stood_by_at: Option<Timestamp>,
    /// Between two passes.
    pub interval: Duration,
}

impl Followed {
    /// Whether another head node may have acted since the last pass.
    pub fn has_slept(&self, now: Timestamp) -> bool {
        let Some(passed_at) = self.passed_at else { return self.has_several_heads };
        let awake_for = self.interval.saturating_mul(PAUSES).max(AWAKE_FOR_MIN);
        let stood_by = self.stood_by_at.is_some_and(|stood_by_at| stood_by_at > passed_at);
        self.has_several_heads && (stood_by || now.since(passed_at) > awake_for)
    }
}

/// One list of Azure's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How it was had.
    pub way: Way,
    /// When it was begun.
    pub at: Timestamp,
    /// Whether it is whole.
    pub is_whole: bool,
}

/// Whether these lists show everything that was made before `since`.
pub fn settles(since: Timestamp, looks: impl IntoIterator<Item = Look>) -> bool {
    looks.into_iter().all(|look| look.is_whole && since.plus(look.way.lag()) <= look.at)
}

/// What is decided about a node, with a ledger that has slept: a VM that it does not know may be
/// on its way, and of the VM that it knows as lost the node may have another by now.
pub fn hold_back(decided: (NodeAction, NodeReason)) -> (NodeAction, NodeReason) {
    match decided.1 {
        NodeReason::ResumeWasLost | NodeReason::VmIsLost => {
            (NodeAction::Leave, NodeReason::LedgerHasSlept)
        }
        NodeReason::Agreement
        | NodeReason::HolderIsAlive
        | NodeReason::SlurmUnknown
        | NodeReason::EveryPlaceIsHeld
        | NodeReason::HoldIsOver
        | NodeReason::HoldLasts
        | NodeReason::VmIsGone
        | NodeReason::VmIsDying
        | NodeReason::SlurmdIsDead
        | NodeReason::TooManyAreDead
        | NodeReason::JobIsCompleting
        | NodeReason::PersonDecides
        | NodeReason::LedgerHasSlept
        | NodeReason::NodeNotInSlurm => decided,
    }
}

/// The same of an attempt from before: an intent is no reason to make what another head node may
/// have made long ago.
pub fn hold_back_attempt(
    decided: (AttemptAction, AttemptReason),
) -> (AttemptAction, AttemptReason) {
    match decided.0 {
        AttemptAction::Create => (AttemptAction::Leave, AttemptReason::LedgerHasSlept),
        AttemptAction::Leave
        | AttemptAction::Follow
        | AttemptAction::Delete
        | AttemptAction::SendDelete
        | AttemptAction::Confirm => decided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn followed(passed_at: Option<i64>, stood_by_at: Option<i64>) -> Followed {
        Followed {
            has_several_heads: true,
            passed_at: passed_at.map(at),
            stood_by_at: stood_by_at.map(at),
            interval: Duration::from_secs(30),
        }
    }

    #[test]
    fn a_ledger_has_slept_when_another_head_node_may_have_acted_since_its_last_pass() {
        let now = at(10_000);
        for (passed_at, stood_by_at, has_slept) in [
            (None, None, true),
            (Some(9_990), None, false),
            (Some(9_990), Some(9_000), false),
            (Some(9_990), Some(9_995), true),
            (Some(9_880), None, false),
            (Some(9_879), None, true),
        ] {
            let mut followed = followed(passed_at, stood_by_at);
            assert_eq!(followed.has_slept(now), has_slept, "{passed_at:?} {stood_by_at:?}");
            followed.has_several_heads = false;
            assert!(!followed.has_slept(now), "there is nobody else: {passed_at:?}");
        }
        let mut slow = followed(Some(9_500), None);
        slow.interval = Duration::from_secs(300);
        assert!(!slow.has_slept(now), "passes are rarer by the config");
    }

    #[test]
    fn it_is_settled_by_whole_lists_that_no_vm_of_before_can_be_missing_from() {
        let look = |way, seconds, is_whole| Look { way, at: at(seconds), is_whole };
        assert!(!settles(at(100), [look(Way::Graph, 219, true)]), "the index lags");
        assert!(settles(at(100), [look(Way::Graph, 220, true)]));
        assert!(settles(at(100), [look(Way::Lists, 100, true)]));
        assert!(!settles(at(100), [look(Way::Graph, 220, false)]), "not whole");
        let both = [look(Way::Graph, 300, true), look(Way::Lists, 99, true)];
        assert!(!settles(at(100), both), "one is of before");
    }

    #[test]
    fn what_is_held_back_is_what_the_ledger_alone_says() {
        use NodeAction::{Leave, PowerDown, Resume, Return};
        let slept = (Leave, NodeReason::LedgerHasSlept);
        assert_eq!(hold_back((Resume, NodeReason::ResumeWasLost)), slept);
        assert_eq!(hold_back((PowerDown, NodeReason::VmIsLost)), slept);
        let gone = (Return, NodeReason::VmIsGone);
        assert_eq!(hold_back(gone), gone);
        let create = (AttemptAction::Create, AttemptReason::IntentWasNotSent);
        assert_eq!(hold_back_attempt(create).0, AttemptAction::Leave);
        let delete = (AttemptAction::Delete, AttemptReason::NobodyWaits);
        assert_eq!(hold_back_attempt(delete), delete);
    }
}
