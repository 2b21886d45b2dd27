//! What a pass does about a VM with our tags that the ledger does not know, or takes for ended: a
//! total function, cell by cell in `decide_matrix.txt`.
//!
//! Azure is asked before the ledger is read, and an intent is committed before its PUT is sent. So
//! a VM that Azure shows and the ledger does not know was made from a ledger that is lost.

use crate::decide::{LeaseView, SlurmView, Standing};

/// What is done about an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrphanAction {
    /// Nothing.
    Leave,
    /// Write it into the ledger as the VM of its node, after Azure was asked for it.
    Adopt,
    /// Write it into the ledger as one to be deleted, after Azure was asked for it.
    Delete,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrphanReason {
    /// A living program works on the node.
    HolderIsAlive,
    /// slurmctld could not be asked.
    SlurmUnknown,
    /// slurmctld or the config does not have the node; a person decides.
    NodeNotInSlurm,
    /// A person has set the node down or draining: nothing of it is touched.
    PersonDecides,
    /// slurmctld is about to call ResumeProgram, which decides about it.
    ResumeIsAboutToBeCalled,
    /// The node is in use and no other VM is known for it.
    NodeIsUp,
    /// slurmctld waits for the node and no other VM is known for it.
    NodeIsBooting,
    /// The node is in use, and which of its VMs it runs on is not known.
    WhichVmIsNotKnown,
    /// Another VM is made for the node.
    Superseded,
    /// slurmctld does not want the node.
    NobodyWaits,
    /// Azure made it a moment ago: the next pass decides.
    TooYoung,
    /// The list that shows it is not whole, or has shrunk: nothing is deleted for it.
    ListIsNotWhole,
}

/// How well an orphan is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrphanSight {
    /// Azure made it a moment ago: whoever makes it has some time to say so.
    Young,
    /// In a list that is not whole: something is wrong, and it is not known what.
    InPart,
    /// Clearly.
    Clear,
}

impl OrphanSight {
    /// Every sight.
    pub const ALL: [OrphanSight; 3] = [OrphanSight::Young, OrphanSight::InPart, OrphanSight::Clear];
}

/// Decides about one orphan.
pub fn decide_orphan(
    slurm: SlurmView,
    lease: LeaseView,
    standing: Standing,
    sight: OrphanSight,
) -> (OrphanAction, OrphanReason) {
    use OrphanAction as A;
    use OrphanReason as R;
    let delete = |reason| match sight {
        OrphanSight::Young => (A::Leave, R::TooYoung),
        OrphanSight::InPart => (A::Leave, R::ListIsNotWhole),
        OrphanSight::Clear => (A::Delete, reason),
    };
    match lease {
        LeaseView::Held => return (A::Leave, R::HolderIsAlive),
        LeaseView::Free => {}
    }
    match slurm {
        SlurmView::Unknown => (A::Leave, R::SlurmUnknown),
        SlurmView::Absent => (A::Leave, R::NodeNotInSlurm),
        SlurmView::AboutToBoot => (A::Leave, R::ResumeIsAboutToBeCalled),
        SlurmView::BootingByPerson | SlurmView::OffByPerson => (A::Leave, R::PersonDecides),
        SlurmView::Up | SlurmView::Down | SlurmView::Dead => match standing {
            Standing::Wanted => (A::Leave, R::WhichVmIsNotKnown),
            Standing::Nothing
            | Standing::Dying
            | Standing::Gone
            | Standing::Lost
            | Standing::LostGone => (A::Adopt, R::NodeIsUp),
        },
        SlurmView::Booting => match standing {
            Standing::Wanted => delete(R::Superseded),
            Standing::Nothing
            | Standing::Dying
            | Standing::Gone
            | Standing::Lost
            | Standing::LostGone => (A::Adopt, R::NodeIsBooting),
        },
        SlurmView::Off
        | SlurmView::BootingRefused
        | SlurmView::PoweringDown
        | SlurmView::PoweringDownByPerson
        | SlurmView::OffFailed
        | SlurmView::OffCompleting => delete(R::NobodyWaits),
    }
}

type Cell = (SlurmView, LeaseView, Standing, OrphanSight);

fn cells() -> impl Iterator<Item = Cell> {
    let slurm = SlurmView::ALL.into_iter();
    let lease = |slurm| [LeaseView::Free, LeaseView::Held].map(|lease| (slurm, lease));
    let standing = |(slurm, lease)| Standing::ALL.map(|standing| (slurm, lease, standing));
    let sight =
        |(slurm, lease, standing)| OrphanSight::ALL.map(|sight| (slurm, lease, standing, sight));
    slurm.flat_map(lease).flat_map(standing).flat_map(sight)
}

/// The matrix as text.
pub(crate) fn matrix() -> Vec<String> {
    let line = |(slurm, lease, standing, sight): Cell| {
        let (action, reason) = decide_orphan(slurm, lease, standing, sight);
        let (slurm, lease) = (format!("{slurm:?}"), format!("{lease:?}"));
        let (standing, action) = (format!("{standing:?}"), format!("{action:?}"));
        let sight = format!("{sight:?}");
        format!("{slurm:20} {lease:5} {standing:8} {sight:6} {action:9} {reason:?}")
    };
    let head = "\nslurm                lease node     sight  orphan    reason".to_owned();
    [head].into_iter().chain(cells().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_is_deleted_only_where_slurmctld_does_not_want_its_node_or_has_another_vm() {
        for (slurm, lease, standing, sight) in cells() {
            let (action, _) = decide_orphan(slurm, lease, standing, sight);
            let may = match slurm {
                SlurmView::Off
                | SlurmView::BootingRefused
                | SlurmView::PoweringDown
                | SlurmView::PoweringDownByPerson
                | SlurmView::OffFailed
                | SlurmView::OffCompleting => true,
                SlurmView::Booting => standing == Standing::Wanted,
                SlurmView::Unknown
                | SlurmView::Absent
                | SlurmView::AboutToBoot
                | SlurmView::BootingByPerson
                | SlurmView::Up
                | SlurmView::OffByPerson
                | SlurmView::Down
                | SlurmView::Dead => false,
            };
            let may = may && lease == LeaseView::Free && sight == OrphanSight::Clear;
            assert_eq!(action == OrphanAction::Delete, may, "{slurm:?} {lease:?} {standing:?}");
        }
    }

    #[test]
    fn a_node_never_gets_a_second_vm_by_adoption() {
        for (slurm, lease, standing, sight) in cells() {
            let (action, _) = decide_orphan(slurm, lease, standing, sight);
            let is_second = standing == Standing::Wanted && action == OrphanAction::Adopt;
            assert!(!is_second, "{slurm:?} {lease:?} {sight:?}");
        }
    }
}
