//! An attempt: one try to make one VM for one node, and the states that it passes through.
//!
//! ```text
//! Intended ──PUT accepted──► Accepted ──operation succeeded──► Running
//!    │ │                        │                                 │
//!    │ └─PUT refused──► Refused │ operation failed,               │ suspended, timed out,
//!    │   (nothing exists)       │ superseded, suspended           │ evicted, superseded
//!    └──────────────► DeleteIntended ◄──────────────┘─────────────┘
//!                        │      ▲
//!       DELETE accepted  ▼      │ the deletion failed
//!                      Deleting ┘──confirmed gone──► Gone
//! ```
//!
//! The state says what we know, and names what is to be done next: whoever finds an attempt that no
//! living lease covers goes on from there. `Refused` and `Gone` are ends; only a VM that Azure
//! shows all the same reopens them, for its deletion (the ledger's `adopt`).

use serde::{Deserialize, Serialize};

use crate::block::Incarnation;
use crate::config::{Region, Sku, Zone};
use crate::{AttemptId, JobId, NodeName, NodesetName, SiteName, Timestamp, VmName};

/// What we know of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptState {
    /// Committed to the ledger; the PUT may or may not have been sent.
    Intended,
    /// Azure has taken the PUT; the VM is being made.
    Accepted,
    /// Azure says that the VM is provisioned. Nothing is said about slurmd.
    Running,
    /// Azure refused the PUT; nothing exists. An end.
    Refused,
    /// To be deleted; the DELETE may or may not have been sent.
    DeleteIntended,
    /// Azure has taken the DELETE.
    Deleting,
    /// Confirmed absent. An end.
    Gone,
}

impl AttemptState {
    /// Every state, in the order of the life.
    pub const ALL: [AttemptState; 7] = [
        AttemptState::Intended,
        AttemptState::Accepted,
        AttemptState::Running,
        AttemptState::Refused,
        AttemptState::DeleteIntended,
        AttemptState::Deleting,
        AttemptState::Gone,
    ];

    /// The word in the ledger and in reports.
    pub fn word(self) -> &'static str {
        match self {
            AttemptState::Intended => "intended",
            AttemptState::Accepted => "accepted",
            AttemptState::Running => "running",
            AttemptState::Refused => "refused",
            AttemptState::DeleteIntended => "delete-intended",
            AttemptState::Deleting => "deleting",
            AttemptState::Gone => "gone",
        }
    }

    /// The state with that word.
    pub fn from_word(word: &str) -> Option<AttemptState> {
        AttemptState::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether the attempt has ended: no VM of it exists and nothing is to be done.
    pub fn is_ended(self) -> bool {
        match self {
            AttemptState::Refused | AttemptState::Gone => true,
            AttemptState::Intended
            | AttemptState::Accepted
            | AttemptState::Running
            | AttemptState::DeleteIntended
            | AttemptState::Deleting => false,
        }
    }

    /// Whether the attempt's VM is wanted: it exists or is being made, and nobody asked for its
    /// deletion.
    pub fn is_wanted(self) -> bool {
        match self {
            AttemptState::Intended | AttemptState::Accepted | AttemptState::Running => true,
            AttemptState::Refused
            | AttemptState::DeleteIntended
            | AttemptState::Deleting
            | AttemptState::Gone => false,
        }
    }
}

/// Why a VM is deleted, or why its creation was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// SuspendProgram asked.
    Suspended,
    /// The node missed ResumeTimeout.
    ResumeTimeout,
    /// Azure failed the creation after it had taken the PUT.
    CreateFailed,
    /// A newer request for the node replaces this VM.
    Superseded,
    /// Nobody wants it: slurmctld does not expect the node, or the program that made it lost its
    /// lease.
    Orphaned,
    /// Azure took it (Spot).
    Evicted,
    /// A person asked.
    Operator,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [EndReason; 7] = [
        EndReason::Suspended,
        EndReason::ResumeTimeout,
        EndReason::CreateFailed,
        EndReason::Superseded,
        EndReason::Orphaned,
        EndReason::Evicted,
        EndReason::Operator,
    ];

    /// The word in the ledger and in reports.
    pub fn word(self) -> &'static str {
        match self {
            EndReason::Suspended => "suspended",
            EndReason::ResumeTimeout => "resume-timeout",
            EndReason::CreateFailed => "create-failed",
            EndReason::Superseded => "superseded",
            EndReason::Orphaned => "orphaned",
            EndReason::Evicted => "evicted",
            EndReason::Operator => "operator",
        }
    }

    /// The reason with that word.
    pub fn from_word(word: &str) -> Option<EndReason> {
        EndReason::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// An error of Azure as we keep it: enough for a person to ask Azure's support.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AzureSays {
    /// The innermost error code; empty if there was none.
    pub code: String,
    /// The message, cut to a sane length.
    pub text: String,
    /// `x-ms-request-id` of the answer that said it.
    pub request_id: Option<String>,
}

/// Something became known about an attempt, or was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Azure took the PUT.
    Accepted {
        /// Operation to follow; absent if Azure was done at once.
        operation: Option<String>,
        /// `x-ms-request-id`.
        request_id: Option<String>,
    },
    /// The VM is provisioned.
    Running,
    /// slurmd has registered: slurmctld has the node up.
    Registered,
    /// Azure refused the PUT and nothing exists.
    Refused(AzureSays),
    /// The VM is to be deleted.
    DeleteIntended {
        /// Why.
        why: EndReason,
        /// What Azure said, if that is the reason.
        says: Option<AzureSays>,
    },
    /// Azure took the DELETE.
    DeleteAccepted {
        /// Operation to follow; absent if Azure was done at once.
        operation: Option<String>,
        /// `x-ms-request-id`.
        request_id: Option<String>,
    },
    /// The deletion failed after it had been taken; it is to be sent again.
    DeleteFailed(AzureSays),
    /// Confirmed absent.
    Gone,
}

impl AttemptState {
    /// The state after `change`; `None` where the change makes no sense in this state (a late
    /// answer to something that was decided otherwise in between): it must then change nothing.
    pub fn after(self, change: &Change) -> Option<AttemptState> {
        use AttemptState as S;
        match (change, self) {
            (Change::Accepted { .. }, S::Intended | S::Accepted) => Some(S::Accepted),
            // It was decided otherwise while the PUT was under way: now it has arrived.
            (Change::Accepted { .. }, S::DeleteIntended) => Some(S::DeleteIntended),
            (Change::Accepted { .. }, S::Running | S::Refused) => None,
            (Change::Accepted { .. }, S::Deleting | S::Gone) => None,
            (Change::Running, S::Intended | S::Accepted | S::Running) => Some(S::Running),
            (Change::Running, S::Refused | S::DeleteIntended | S::Deleting | S::Gone) => None,
            (Change::Registered, S::Intended | S::Accepted | S::Running) => Some(self),
            (Change::Registered, S::Refused | S::DeleteIntended | S::Deleting | S::Gone) => None,
            (Change::Refused(_), S::Intended) => Some(S::Refused),
            (Change::Refused(_), S::Accepted | S::Running | S::Refused) => None,
            (Change::Refused(_), S::DeleteIntended | S::Deleting | S::Gone) => None,
            (
                Change::DeleteIntended { .. },
                S::Intended | S::Accepted | S::Running | S::DeleteIntended,
            ) => Some(S::DeleteIntended),
            (Change::DeleteIntended { .. }, S::Deleting) => Some(S::Deleting),
            (Change::DeleteIntended { .. }, S::Refused | S::Gone) => None,
            (Change::DeleteAccepted { .. }, S::DeleteIntended | S::Deleting) => Some(S::Deleting),
            (Change::DeleteAccepted { .. }, S::Intended | S::Accepted | S::Running) => None,
            (Change::DeleteAccepted { .. }, S::Refused | S::Gone) => None,
            (Change::DeleteFailed(_), S::DeleteIntended | S::Deleting) => Some(S::DeleteIntended),
            (Change::DeleteFailed(_), S::Intended | S::Accepted | S::Running) => None,
            (Change::DeleteFailed(_), S::Refused | S::Gone) => None,
            (Change::Gone, S::DeleteIntended | S::Deleting | S::Gone) => Some(S::Gone),
            (Change::Gone, S::Intended | S::Accepted | S::Running | S::Refused) => None,
        }
    }
}

/// What an attempt is when it is written for the first time, as `Intended`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAttempt {
    /// The VM's name, `<node>-<attempt>`.
    pub vm: VmName,
    /// The node.
    pub node: NodeName,
    /// The attempt's number.
    pub attempt: AttemptId,
    /// The node's nodeset.
    pub nodeset: NodesetName,
    /// The place.
    pub place: AttemptPlace,
    /// VM size.
    pub sku: Sku,
    /// Whether it is a Spot VM.
    pub is_spot: bool,
    /// The image that it was asked for with ([`crate::config::Image::reference_text`]); empty if
    /// that is not known.
    pub image: String,
    /// SHA-256 of the PUT's body, in hex: the same attempt always has the same body.
    pub body_hash: String,
    /// Jobs that wait for the node, as far as slurmctld said.
    pub jobs: Vec<JobId>,
}

/// Where an attempt's VM is made. Subscription and group are kept beside the site's name, so that
/// the VM can still be found when the site has left the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptPlace {
    /// The site's name in the config.
    pub site: SiteName,
    /// Subscription id.
    pub subscription: String,
    /// Resource group.
    pub resource_group: String,
    /// Region.
    pub region: Region,
    /// Zone, if any.
    pub zone: Option<Zone>,
    /// The life of the block that the VM is part of, for nodesets with InfiniBand. Never together
    /// with a zone.
    pub block: Option<Incarnation>,
}

/// An attempt as the ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What it was when it began.
    pub is: NewAttempt,
    /// What we know of it.
    pub state: AttemptState,
    /// Why it ended or is to end.
    pub why: Option<EndReason>,
    /// What Azure said last when it refused or failed.
    pub says: Option<AzureSays>,
    /// The create or delete operation that is to be followed, whichever is current.
    pub operation: Option<String>,
    /// `x-ms-request-id` of the last accepted PUT or DELETE.
    pub request_id: Option<String>,
    /// The generation of the lease under which it was last changed.
    pub generation: i64,
    /// When it was intended.
    pub intended_at: Timestamp,
    /// Until when a PUT of it that was sent may still arrive in Azure: a VM that is absent before
    /// this moment may still appear.
    pub settles_at: Timestamp,
    /// When Azure took the PUT.
    pub accepted_at: Option<Timestamp>,
    /// When Azure said that it is provisioned.
    pub running_at: Option<Timestamp>,
    /// When slurmctld was seen to have the node up on it: slurmd has registered.
    pub registered_at: Option<Timestamp>,
    /// When its deletion was decided.
    pub delete_intended_at: Option<Timestamp>,
    /// When it ended (refused or gone).
    pub ended_at: Option<Timestamp>,
    /// When it was changed last.
    pub changed_at: Timestamp,
}

impl Attempt {
    /// A VM that has been running and in use since `at`, of which nothing else is known: neither
    /// who asked for it nor what Azure said.
    pub fn running_since(is: NewAttempt, at: Timestamp) -> Attempt {
        Attempt {
            is,
            state: AttemptState::Running,
            why: None,
            says: None,
            operation: None,
            request_id: None,
            generation: 0,
            intended_at: at,
            settles_at: at,
            accepted_at: Some(at),
            running_at: Some(at),
            registered_at: Some(at),
            delete_intended_at: None,
            ended_at: None,
            changed_at: at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<Change> {
        let says = AzureSays::default();
        vec![
            Change::Accepted { operation: None, request_id: None },
            Change::Running,
            Change::Registered,
            Change::Refused(says.clone()),
            Change::DeleteIntended { why: EndReason::Suspended, says: None },
            Change::DeleteAccepted { operation: None, request_id: None },
            Change::DeleteFailed(says),
            Change::Gone,
        ]
    }

    #[test]
    fn an_attempt_whose_deletion_is_decided_never_becomes_wanted_again() {
        for state in AttemptState::ALL.into_iter().filter(|state| !state.is_wanted()) {
            for change in changes() {
                let after = state.after(&change).unwrap_or(state);
                assert!(!after.is_wanted(), "{state:?} {change:?}");
            }
        }
    }

    #[test]
    fn ends_are_ends() {
        for state in AttemptState::ALL.into_iter().filter(|state| state.is_ended()) {
            for change in changes() {
                assert_eq!(state.after(&change).unwrap_or(state), state, "{change:?}");
            }
        }
    }

    #[test]
    fn a_change_said_twice_is_the_change_said_once() {
        for state in AttemptState::ALL {
            for change in changes() {
                if let Some(after) = state.after(&change) {
                    assert_eq!(
                        after.after(&change).unwrap_or(after),
                        after,
                        "{state:?} {change:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_a_confirmed_absence_or_a_refusal_ends_an_attempt() {
        for state in AttemptState::ALL.into_iter().filter(|state| !state.is_ended()) {
            for change in changes() {
                let ends = state.after(&change).is_some_and(AttemptState::is_ended);
                assert!(!ends || matches!(change, Change::Gone | Change::Refused(_)));
            }
        }
    }

    #[test]
    fn words_come_back() {
        for state in AttemptState::ALL {
            assert_eq!(AttemptState::from_word(state.word()), Some(state));
        }
        for reason in EndReason::ALL {
            assert_eq!(EndReason::from_word(reason.word()), Some(reason));
        }
    }
}
