//! What a pass does about a node and its attempts: total functions of small views, cell by cell in
//! `decide_matrix.txt`.
//!
//! The ledger is read before slurmctld is asked. So an attempt that a pass sees was asked for
//! before slurmctld answered, and a node that slurmctld then calls powered down is one that nobody
//! waits for.

use crate::Timestamp;
use crate::attempt::{AttemptState, EndReason};
use crate::node::{NodeBase, NodeFlag, NodeState};

/// A node as slurmctld sees it, reduced to what decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlurmView {
    /// slurmctld could not be asked, or not completely: never leads to an action that destroys.
    Unknown,
    /// slurmctld answered and does not know the node.
    Absent,
    /// Powered down, not wanted.
    Off,
    /// ResumeProgram was called for it, and slurmd has not registered yet.
    Booting,
    /// Still powered down, and allocated or asked for: slurmctld is about to call ResumeProgram, as
    /// fast as its ResumeRate allows.
    AboutToBoot,
    /// Powering up, and set down with a reason of ours.
    BootingRefused,
    /// Powering up, and set down or draining by a person.
    BootingByPerson,
    /// slurmd has registered; also when it is draining or does not answer for a moment.
    Up,
    /// SuspendProgram was called for it.
    PoweringDown,
    /// SuspendProgram was called for it, and a person has set it down or draining: it must not be
    /// set back, which would undo the person's word.
    PoweringDownByPerson,
    /// Powered down and DOWN, with a reason of ours or slurmctld's ResumeTimeout.
    OffFailed,
    /// As `OffFailed` or `PoweringDown`, and slurmctld is still cleaning up after a job on it: a
    /// node that is set back now would get the same job again while its first end is under way,
    /// and lose it (seen with 22.05).
    OffCompleting,
    /// DOWN or draining while powered down, by a person.
    OffByPerson,
    /// DOWN while it should run: set so by a person, or not answering since a moment.
    Down,
    /// DOWN while it should run, because slurmctld itself gave it up long enough ago: slurmd does
    /// not answer. Its jobs were requeued then.
    Dead,
}

/// Whose word a node's DOWN or DRAIN is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// A person's, or whoever else's: it stands.
    Person,
    /// Ours, or slurmctld's own "ResumeTimeout reached": ours to take back.
    Ours,
    /// slurmctld's own "Not responding", said so long ago that slurmd will hardly answer again.
    SilentForLong,
}

impl SlurmView {
    /// Every view.
    pub const ALL: [SlurmView; 15] = [
        SlurmView::Unknown,
        SlurmView::Absent,
        SlurmView::Off,
        SlurmView::Booting,
        SlurmView::AboutToBoot,
        SlurmView::BootingRefused,
        SlurmView::BootingByPerson,
        SlurmView::Up,
        SlurmView::PoweringDown,
        SlurmView::PoweringDownByPerson,
        SlurmView::OffFailed,
        SlurmView::OffCompleting,
        SlurmView::OffByPerson,
        SlurmView::Down,
        SlurmView::Dead,
    ];

    /// Reduces a node's state. `whose`: whose word its reason is.
    pub fn of(state: &NodeState, whose: Whose) -> SlurmView {
        let has = |flag: NodeFlag| state.has(&flag);
        let is_ours = whose == Whose::Ours;
        let is_down = state.base == NodeBase::Down;
        let is_closed = is_down || has(NodeFlag::Drain) || has(NodeFlag::Fail);
        if has(NodeFlag::PoweringDown) {
            return match (is_closed && !is_ours, has(NodeFlag::Completing)) {
                (true, _) => SlurmView::PoweringDownByPerson,
                (false, true) => SlurmView::OffCompleting,
                (false, false) => SlurmView::PoweringDown,
            };
        }
        if has(NodeFlag::PoweringUp) {
            return match (is_closed, is_ours) {
                (false, _) => SlurmView::Booting,
                (true, true) => SlurmView::BootingRefused,
                (true, false) => SlurmView::BootingByPerson,
            };
        }
        if has(NodeFlag::PoweredDown) {
            return view_of_powered_down(state, is_closed, is_ours);
        }
        // A person who drains a dead node wants to keep it as it is; a reboot ends by itself.
        let is_silent = whose == Whose::SilentForLong && has(NodeFlag::NotResponding);
        let is_spared = [NodeFlag::Drain, NodeFlag::Fail, NodeFlag::Completing, NodeFlag::Reboot]
            .iter()
            .any(|flag| state.has(flag));
        match &state.base {
            NodeBase::Down if is_silent && !is_spared => SlurmView::Dead,
            NodeBase::Down => SlurmView::Down,
            NodeBase::Idle | NodeBase::Allocated | NodeBase::Mixed => SlurmView::Up,
            NodeBase::Future | NodeBase::Unknown(_) => SlurmView::Unknown,
        }
    }
}

fn view_of_powered_down(state: &NodeState, is_closed: bool, is_ours: bool) -> SlurmView {
    if is_closed {
        return match (is_ours, state.has(&NodeFlag::Completing)) {
            (false, _) => SlurmView::OffByPerson,
            (true, false) => SlurmView::OffFailed,
            (true, true) => SlurmView::OffCompleting,
        };
    }
    let is_wanted = state.has(&NodeFlag::PowerUp)
        || matches!(state.base, NodeBase::Allocated | NodeBase::Mixed);
    if is_wanted { SlurmView::AboutToBoot } else { SlurmView::Off }
}

/// Who may change a node's VMs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseView {
    /// Nobody, or a holder whose time is over or whose process is gone.
    Free,
    /// Somebody who lives.
    Held,
}

/// What a pass does about one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptAction {
    /// Nothing.
    Leave,
    /// Send the PUT (again): the same attempt is the same VM.
    Create,
    /// Ask Azure what became of it: the operation, or the VM itself.
    Follow,
    /// Decide its deletion and send it.
    Delete,
    /// Send the deletion that was decided.
    SendDelete,
    /// Ask Azure whether it is gone.
    Confirm,
}

/// Why. The words stand in the log and in `azslurm-sync` as they are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptReason {
    /// A living program works on the node.
    HolderIsAlive,
    /// slurmctld could not be asked.
    SlurmUnknown,
    /// slurmctld does not have the node; a person decides.
    NodeNotInSlurm,
    /// slurmctld waits for the node and its VM may never have been asked for.
    IntentWasNotSent,
    /// slurmctld is about to call ResumeProgram, which decides about it.
    ResumeIsAboutToBeCalled,
    /// slurmctld waits for the node and Azure is making its VM.
    CreationIsUnfollowed,
    /// The VM is there and slurmctld waits for slurmd.
    WaitsForSlurmd,
    /// The node is in use.
    NodeIsUp,
    /// A person has set the node down or draining: nothing of it is touched.
    PersonDecides,
    /// slurmctld does not want the node.
    NobodyWaits,
    /// The deletion was decided and may never have been sent.
    DeletionWasNotSent,
    /// Azure has taken the deletion.
    DeletionIsUnfollowed,
    /// Another head node may have made the node's VM since this ledger's last pass.
    LedgerHasSlept,
    /// It has ended.
    Ended,
}

/// Decides about one attempt.
pub fn decide_attempt(
    slurm: SlurmView,
    lease: LeaseView,
    state: AttemptState,
) -> (AttemptAction, AttemptReason) {
    use AttemptAction as A;
    use AttemptReason as R;
    use AttemptState as S;
    match (lease, state) {
        (LeaseView::Free | LeaseView::Held, S::Refused | S::Gone) => (A::Leave, R::Ended),
        (LeaseView::Held, S::Intended | S::Accepted | S::Running) => (A::Leave, R::HolderIsAlive),
        (LeaseView::Held, S::DeleteIntended | S::Deleting) => (A::Leave, R::HolderIsAlive),
        (LeaseView::Free, S::Deleting) => (A::Confirm, R::DeletionIsUnfollowed),
        (LeaseView::Free, S::DeleteIntended) => (A::SendDelete, R::DeletionWasNotSent),
        (LeaseView::Free, S::Intended) => decide_intended(slurm),
        (LeaseView::Free, S::Accepted) => decide_accepted(slurm),
        (LeaseView::Free, S::Running) => decide_running(slurm),
    }
}

fn decide_intended(slurm: SlurmView) -> (AttemptAction, AttemptReason) {
    use AttemptAction as A;
    use AttemptReason as R;
    match slurm {
        SlurmView::Unknown => (A::Leave, R::SlurmUnknown),
        SlurmView::Absent => (A::Follow, R::NodeNotInSlurm),
        SlurmView::Booting => (A::Create, R::IntentWasNotSent),
        SlurmView::AboutToBoot => (A::Leave, R::ResumeIsAboutToBeCalled),
        // slurmd has registered, so the PUT was sent although nobody wrote it down.
        SlurmView::Up | SlurmView::Down | SlurmView::Dead => (A::Follow, R::CreationIsUnfollowed),
        SlurmView::BootingByPerson | SlurmView::OffByPerson => (A::Follow, R::PersonDecides),
        SlurmView::Off
        | SlurmView::BootingRefused
        | SlurmView::PoweringDown
        | SlurmView::PoweringDownByPerson
        | SlurmView::OffFailed
        | SlurmView::OffCompleting => (A::Delete, R::NobodyWaits),
    }
}

fn decide_accepted(slurm: SlurmView) -> (AttemptAction, AttemptReason) {
    use AttemptAction as A;
    use AttemptReason as R;
    match slurm {
        SlurmView::Unknown => (A::Follow, R::SlurmUnknown),
        SlurmView::Absent => (A::Follow, R::NodeNotInSlurm),
        SlurmView::Booting
        | SlurmView::AboutToBoot
        | SlurmView::Up
        | SlurmView::Down
        | SlurmView::Dead => (A::Follow, R::CreationIsUnfollowed),
        SlurmView::BootingByPerson | SlurmView::OffByPerson => (A::Follow, R::PersonDecides),
        SlurmView::Off
        | SlurmView::BootingRefused
        | SlurmView::PoweringDown
        | SlurmView::PoweringDownByPerson
        | SlurmView::OffFailed
        | SlurmView::OffCompleting => (A::Delete, R::NobodyWaits),
    }
}

fn decide_running(slurm: SlurmView) -> (AttemptAction, AttemptReason) {
    use AttemptAction as A;
    use AttemptReason as R;
    match slurm {
        SlurmView::Unknown => (A::Leave, R::SlurmUnknown),
        SlurmView::Absent => (A::Leave, R::NodeNotInSlurm),
        SlurmView::Booting => (A::Leave, R::WaitsForSlurmd),
        SlurmView::AboutToBoot => (A::Leave, R::ResumeIsAboutToBeCalled),
        // What becomes of a dead node's VM is decided with the node.
        SlurmView::Up | SlurmView::Down | SlurmView::Dead => (A::Leave, R::NodeIsUp),
        SlurmView::BootingByPerson | SlurmView::OffByPerson => (A::Leave, R::PersonDecides),
        SlurmView::Off
        | SlurmView::BootingRefused
        | SlurmView::PoweringDown
        | SlurmView::PoweringDownByPerson
        | SlurmView::OffFailed
        | SlurmView::OffCompleting => (A::Delete, R::NobodyWaits),
    }
}

/// What stands in the ledger for a node, as far as its own decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing, and nothing unfinished.
    Nothing,
    /// A VM is wanted.
    Wanted,
    /// No VM is wanted, one is being deleted.
    Dying,
    /// Its last VM was deleted, and that is confirmed.
    Gone,
    /// No VM is wanted: Azure took the last one (or it was not there any more), and what is left of
    /// it is being deleted.
    Lost,
    /// As `Lost`, and confirmed gone.
    LostGone,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Standing; 6] = [
        Standing::Nothing,
        Standing::Wanted,
        Standing::Dying,
        Standing::Gone,
        Standing::Lost,
        Standing::LostGone,
    ];

    /// Reduces a node's attempts, in any order: the state of each, and why it ends.
    pub fn of(attempts: impl IntoIterator<Item = (AttemptState, Option<EndReason>)>) -> Standing {
        let one = |(state, why): (AttemptState, Option<EndReason>)| {
            let is_lost = why == Some(EndReason::Evicted);
            match (state, is_lost) {
                (AttemptState::Intended | AttemptState::Accepted | AttemptState::Running, _) => {
                    Standing::Wanted
                }
                (AttemptState::DeleteIntended | AttemptState::Deleting, false) => Standing::Dying,
                (AttemptState::DeleteIntended | AttemptState::Deleting, true) => Standing::Lost,
                (AttemptState::Gone, false) => Standing::Gone,
                (AttemptState::Gone, true) => Standing::LostGone,
                (AttemptState::Refused, _) => Standing::Nothing,
            }
        };
        let standings = attempts.into_iter().map(one);
        standings.max_by_key(|standing| standing.strength()).unwrap_or(Standing::Nothing)
    }

    /// The liveliest attempt stands for the node.
    fn strength(self) -> u8 {
        match self {
            Standing::Nothing => 0,
            Standing::Gone => 1,
            Standing::LostGone => 2,
            Standing::Dying => 3,
            Standing::Lost => 4,
            Standing::Wanted => 5,
        }
    }
}

/// What a pass does about one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeAction {
    /// Nothing.
    Leave,
    /// Ask for a VM, as ResumeProgram would have.
    Resume,
    /// Tell slurmctld that the node cannot come now.
    Refuse,
    /// `state=power_down_force`: ends POWERING_UP of a refused node whose hold is over, and gives
    /// back a node that has lost its VM, with its jobs requeued. `state=power_down` for a dead
    /// node: should it answer again in this moment, its next job is waited for.
    PowerDown,
    /// `state=resume`: the node is usable at once.
    Return,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeReason {
    /// Slurm and the ledger agree.
    Agreement,
    /// A living program works on the node.
    HolderIsAlive,
    /// slurmctld could not be asked.
    SlurmUnknown,
    /// slurmctld waits for a node that nobody makes.
    ResumeWasLost,
    /// Every place of the node is held.
    EveryPlaceIsHeld,
    /// The hold that the node was refused for is over.
    HoldIsOver,
    /// The hold is not over.
    HoldLasts,
    /// Its VM is confirmed gone: SuspendTimeout need not be waited for.
    VmIsGone,
    /// Its VM is not gone yet.
    VmIsDying,
    /// Azure took the VM that the node runs on, or it is not there any more.
    VmIsLost,
    /// slurmd has not answered for long, and nobody can use the VM that is paid for.
    SlurmdIsDead,
    /// So many nodes are dead at once that it is hardly they that have failed.
    TooManyAreDead,
    /// slurmctld has not finished with a job that ran on it.
    JobIsCompleting,
    /// A person has set it so.
    PersonDecides,
    /// Another head node may have acted since this ledger's last pass, and what it did is not all
    /// known yet.
    LedgerHasSlept,
    /// Not in slurm.conf.
    NodeNotInSlurm,
}

/// Decides about one node. `is_held`: every place of it is under a hold.
pub fn decide_node(
    slurm: SlurmView,
    lease: LeaseView,
    standing: Standing,
    is_held: bool,
) -> (NodeAction, NodeReason) {
    use NodeAction as A;
    use NodeReason as R;
    match lease {
        LeaseView::Held => return (A::Leave, R::HolderIsAlive),
        LeaseView::Free => {}
    }
    match slurm {
        SlurmView::Unknown => (A::Leave, R::SlurmUnknown),
        SlurmView::Absent => (A::Leave, R::NodeNotInSlurm),
        SlurmView::BootingByPerson | SlurmView::OffByPerson | SlurmView::PoweringDownByPerson => {
            (A::Leave, R::PersonDecides)
        }
        SlurmView::Off | SlurmView::AboutToBoot | SlurmView::Down => (A::Leave, R::Agreement),
        SlurmView::Dead => match standing {
            Standing::Wanted => (A::PowerDown, R::SlurmdIsDead),
            Standing::Lost | Standing::LostGone => (A::PowerDown, R::VmIsLost),
            Standing::Nothing | Standing::Dying | Standing::Gone => (A::Leave, R::Agreement),
        },
        SlurmView::Up => match standing {
            Standing::Lost | Standing::LostGone => (A::PowerDown, R::VmIsLost),
            // Nothing in the ledger says nothing about Azure; a deletion that was decided while
            // the node is up is somebody's who has just told slurmctld.
            Standing::Nothing | Standing::Wanted | Standing::Dying | Standing::Gone => {
                (A::Leave, R::Agreement)
            }
        },
        SlurmView::Booting => decide_booting(standing, is_held),
        SlurmView::BootingRefused => decide_refused(standing, is_held),
        SlurmView::OffFailed => decide_failed(standing, is_held),
        SlurmView::OffCompleting => (A::Leave, R::JobIsCompleting),
        SlurmView::PoweringDown => match standing {
            Standing::Wanted | Standing::Dying | Standing::Lost => (A::Leave, R::VmIsDying),
            // Nothing in the ledger says nothing about Azure: SuspendTimeout is waited for.
            Standing::Nothing => (A::Leave, R::Agreement),
            Standing::Gone | Standing::LostGone => (A::Return, R::VmIsGone),
        },
    }
}

/// slurmctld waits for the node.
fn decide_booting(standing: Standing, is_held: bool) -> (NodeAction, NodeReason) {
    use NodeAction as A;
    use NodeReason as R;
    match standing {
        Standing::Wanted => (A::Leave, R::Agreement),
        // An old VM that is still dying does not stand in the way: the new one has another name.
        Standing::Nothing
        | Standing::Dying
        | Standing::Gone
        | Standing::Lost
        | Standing::LostGone => match is_held {
            true => (A::Refuse, R::EveryPlaceIsHeld),
            false => (A::Resume, R::ResumeWasLost),
        },
    }
}

/// slurmctld was told that the node cannot come, and does not know yet that it is off.
fn decide_refused(standing: Standing, is_held: bool) -> (NodeAction, NodeReason) {
    use NodeAction as A;
    use NodeReason as R;
    match (standing, is_held) {
        (Standing::Wanted, _) | (Standing::Dying | Standing::Lost, false) => {
            (A::Leave, R::VmIsDying)
        }
        (Standing::Dying | Standing::Lost, true)
        | (Standing::Nothing | Standing::Gone | Standing::LostGone, true) => {
            (A::Leave, R::HoldLasts)
        }
        (Standing::Nothing | Standing::Gone | Standing::LostGone, false) => {
            (A::PowerDown, R::HoldIsOver)
        }
    }
}

/// The node is off and down by our word.
fn decide_failed(standing: Standing, is_held: bool) -> (NodeAction, NodeReason) {
    use NodeAction as A;
    use NodeReason as R;
    match (standing, is_held) {
        (Standing::Wanted | Standing::Dying | Standing::Lost, _) => (A::Leave, R::VmIsDying),
        (Standing::Nothing | Standing::Gone | Standing::LostGone, true) => (A::Leave, R::HoldLasts),
        (Standing::Nothing | Standing::Gone | Standing::LostGone, false) => {
            (A::Return, R::HoldIsOver)
        }
    }
}

/// Whether a deletion that Azure calls done (or that found nothing) really ends an attempt: a PUT
/// that was sent before may still arrive until `settles_at`.
pub fn is_settled(settles_at: Timestamp, was_accepted: bool, now: Timestamp) -> bool {
    was_accepted || now >= settles_at
}

/// The whole matrix as text, for the golden file and for people.
pub fn matrix() -> String {
    let mut lines =
        vec!["slurm                lease attempt          action      reason".to_owned()];
    for slurm in SlurmView::ALL {
        for lease in [LeaseView::Free, LeaseView::Held] {
            for state in AttemptState::ALL {
                let (action, reason) = decide_attempt(slurm, lease, state);
                let (slurm, lease) = (format!("{slurm:?}"), format!("{lease:?}"));
                let (state, action) = (state.word(), format!("{action:?}"));
                lines.push(format!("{slurm:20} {lease:5} {state:16} {action:11} {reason:?}"));
            }
        }
    }
    lines.push("\nslurm                lease node     held  action    reason".to_owned());
    for slurm in SlurmView::ALL {
        for lease in [LeaseView::Free, LeaseView::Held] {
            lines.extend(matrix_of_nodes(slurm, lease));
        }
    }
    lines.extend(crate::orphan::matrix());
    lines.extend(crate::boot::matrix());
    lines.extend(crate::leftover::matrix());
    lines.extend(crate::forgotten::matrix());
    lines.push(String::new());
    lines.join("\n")
}

fn matrix_of_nodes(slurm: SlurmView, lease: LeaseView) -> Vec<String> {
    let mut lines = Vec::new();
    for standing in Standing::ALL {
        for is_held in [false, true] {
            let (action, reason) = decide_node(slurm, lease, standing, is_held);
            let (slurm, lease) = (format!("{slurm:?}"), format!("{lease:?}"));
            let (standing, action) = (format!("{standing:?}"), format!("{action:?}"));
            lines.push(format!(
                "{slurm:20} {lease:5} {standing:8} {is_held:5} {action:9} {reason:?}"
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: &str, is_ours: bool) -> SlurmView {
        let whose = if is_ours { Whose::Ours } else { Whose::Person };
        SlurmView::of(&state.parse().unwrap(), whose)
    }

    #[test]
    fn the_matrix_is_the_golden_file() {
        assert!(
            matrix() == include_str!("decide_matrix.txt"),
            "decide_matrix.txt differs; `make golden` rewrites it:\n{}",
            matrix()
        );
    }

    #[test]
    fn states_of_slurm_reduce_as_measured() {
        for (state, is_ours, expected) in [
            ("IDLE+CLOUD+POWERED_DOWN", false, SlurmView::Off),
            ("IDLE+CLOUD+POWERED_DOWN", true, SlurmView::Off),
            ("IDLE+CLOUD+POWER_UP+POWERED_DOWN", false, SlurmView::AboutToBoot),
            ("MIXED+CLOUD+POWERED_DOWN", false, SlurmView::AboutToBoot),
            ("IDLE+CLOUD+NOT_RESPONDING+POWERING_UP", false, SlurmView::Booting),
            ("ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP", false, SlurmView::Booting),
            ("DOWN+CLOUD+NOT_RESPONDING+POWERING_UP", true, SlurmView::BootingRefused),
            ("DOWN+CLOUD+NOT_RESPONDING+POWERING_UP", false, SlurmView::BootingByPerson),
            ("MIXED+CLOUD", false, SlurmView::Up),
            ("IDLE+CLOUD+DRAIN", false, SlurmView::Up),
            ("ALLOCATED+CLOUD+POWER_DOWN", false, SlurmView::Up),
            ("IDLE+CLOUD+POWERING_DOWN", false, SlurmView::PoweringDown),
            ("IDLE+CLOUD+DRAIN+POWERING_DOWN", false, SlurmView::PoweringDownByPerson),
            ("DOWN+CLOUD+POWERING_DOWN", false, SlurmView::PoweringDownByPerson),
            ("DOWN+CLOUD+POWERING_DOWN", true, SlurmView::PoweringDown),
            ("IDLE+CLOUD+FAIL+POWERING_DOWN", false, SlurmView::PoweringDownByPerson),
            ("IDLE+CLOUD+COMPLETING+DRAIN+POWERING_DOWN", false, SlurmView::PoweringDownByPerson),
            ("DOWN+CLOUD+COMPLETING+POWERING_DOWN", true, SlurmView::OffCompleting),
            ("IDLE+CLOUD+COMPLETING+POWERING_DOWN", false, SlurmView::OffCompleting),
            ("DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING", true, SlurmView::OffFailed),
            ("DOWN+CLOUD+COMPLETING+POWERED_DOWN", true, SlurmView::OffCompleting),
            ("DOWN+CLOUD+POWERED_DOWN", false, SlurmView::OffByPerson),
            ("IDLE+CLOUD+DRAIN+POWERED_DOWN", false, SlurmView::OffByPerson),
            ("DOWN+CLOUD+NOT_RESPONDING", false, SlurmView::Down),
            ("BLESSED+CLOUD", false, SlurmView::Unknown),
        ] {
            assert_eq!(view(state, is_ours), expected, "{state} {is_ours}");
        }
    }

    #[test]
    fn only_slurmctlds_own_verdict_makes_a_node_dead() {
        let dead = "DOWN+CLOUD+NOT_RESPONDING";
        let of = |state: &str, whose| SlurmView::of(&state.parse().unwrap(), whose);
        assert_eq!(of(dead, Whose::SilentForLong), SlurmView::Dead);
        for whose in [Whose::Person, Whose::Ours] {
            assert_eq!(of(dead, whose), SlurmView::Down, "{whose:?}");
        }
        // It answers (again); a person keeps it; slurmctld cleans up; it is rebooted.
        assert_eq!(of("DOWN+CLOUD", Whose::SilentForLong), SlurmView::Down);
        assert_eq!(of("MIXED+CLOUD+NOT_RESPONDING", Whose::SilentForLong), SlurmView::Up);
        for flag in ["DRAIN", "FAIL", "COMPLETING", "REBOOT_ISSUED"] {
            let state = format!("{dead}+{flag}");
            assert_eq!(of(&state, Whose::SilentForLong), SlurmView::Down, "{flag}");
        }
        // Off: as with every word that is not ours.
        for state in ["DOWN+CLOUD+POWERED_DOWN", "DOWN+CLOUD+POWERING_DOWN"] {
            assert_eq!(of(state, Whose::SilentForLong), of(state, Whose::Person), "{state}");
        }
    }

    #[test]
    fn a_dead_node_is_given_back_only_with_a_vm() {
        for standing in Standing::ALL {
            let said = decide_node(SlurmView::Dead, LeaseView::Free, standing, false);
            let has_vm = matches!(standing, Standing::Wanted | Standing::Lost | Standing::LostGone);
            assert_eq!(said.0 == NodeAction::PowerDown, has_vm, "{standing:?}");
        }
    }

    #[test]
    fn a_node_that_is_up_is_given_back_only_when_its_vm_is_known_to_be_lost() {
        for standing in Standing::ALL {
            for slurm in [SlurmView::Up, SlurmView::Down] {
                let (action, _) = decide_node(slurm, LeaseView::Free, standing, false);
                let is_lost = matches!(standing, Standing::Lost | Standing::LostGone);
                let given_back = action == NodeAction::PowerDown;
                assert_eq!(given_back, is_lost && slurm == SlurmView::Up, "{slurm:?} {standing:?}");
            }
        }
    }

    fn destroys(action: AttemptAction) -> bool {
        matches!(action, AttemptAction::Delete)
    }

    #[test]
    fn what_is_not_known_never_destroys_and_a_node_that_is_up_keeps_its_vm() {
        for slurm in [
            SlurmView::Unknown,
            SlurmView::Absent,
            SlurmView::Up,
            SlurmView::Down,
            SlurmView::Dead,
            SlurmView::OffByPerson,
            SlurmView::BootingByPerson,
            SlurmView::AboutToBoot,
        ] {
            for state in AttemptState::ALL {
                let (action, _) = decide_attempt(slurm, LeaseView::Free, state);
                assert!(!destroys(action), "{slurm:?} {state:?}");
            }
        }
    }

    #[test]
    fn a_node_that_a_person_closed_is_never_set_back_while_its_vm_goes() {
        let slurm = view("IDLE+CLOUD+DRAIN+POWERING_DOWN", false);
        for standing in Standing::ALL {
            for is_held in [false, true] {
                let said = decide_node(slurm, LeaseView::Free, standing, is_held);
                assert_eq!(said, (NodeAction::Leave, NodeReason::PersonDecides), "{standing:?}");
            }
        }
        for state in [AttemptState::Intended, AttemptState::Accepted, AttemptState::Running] {
            let said = decide_attempt(slurm, LeaseView::Free, state);
            assert_eq!(said, (AttemptAction::Delete, AttemptReason::NobodyWaits), "{state:?}");
        }
    }

    #[test]
    fn a_living_holder_is_never_disturbed() {
        for slurm in SlurmView::ALL {
            for state in AttemptState::ALL {
                let (action, _) = decide_attempt(slurm, LeaseView::Held, state);
                assert_eq!(action, AttemptAction::Leave, "{slurm:?} {state:?}");
            }
            for standing in Standing::ALL {
                let (action, _) = decide_node(slurm, LeaseView::Held, standing, false);
                assert_eq!(action, NodeAction::Leave);
            }
        }
    }

    #[test]
    fn every_attempt_that_has_not_ended_is_carried_on_once_its_holder_is_gone() {
        for slurm in SlurmView::ALL {
            for state in [AttemptState::DeleteIntended, AttemptState::Deleting] {
                let (action, _) = decide_attempt(slurm, LeaseView::Free, state);
                assert_ne!(action, AttemptAction::Leave, "{slurm:?} {state:?}");
            }
        }
    }

    #[test]
    fn an_absence_counts_only_when_no_put_can_arrive_any_more() {
        let at = Timestamp::from_millis;
        assert!(!is_settled(at(10), false, at(9)));
        assert!(is_settled(at(10), false, at(10)));
        assert!(is_settled(at(10), true, at(0)));
    }

    #[test]
    fn a_standing_names_the_liveliest_attempt() {
        use AttemptState as S;
        let of = |states: &[S]| Standing::of(states.iter().map(|state| (*state, None)));
        assert_eq!(of(&[S::Gone, S::Running, S::Deleting]), Standing::Wanted);
        assert_eq!(of(&[S::Gone, S::Deleting, S::Refused]), Standing::Dying);
        assert_eq!(of(&[S::Refused, S::Gone]), Standing::Gone);
        assert_eq!(of(&[S::Refused]), Standing::Nothing);
        assert_eq!(of(&[]), Standing::Nothing);
        let (lost, not) = (Some(EndReason::Evicted), Some(EndReason::Suspended));
        assert_eq!(Standing::of([(S::Deleting, lost), (S::Gone, not)]), Standing::Lost);
        assert_eq!(Standing::of([(S::Gone, lost), (S::Refused, None)]), Standing::LostGone);
        assert_eq!(Standing::of([(S::Gone, lost), (S::Running, None)]), Standing::Wanted);
    }
}
