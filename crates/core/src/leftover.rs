//! What a pass does about a network card or a disk that no VM has: a total function, cell by cell
//! in `decide_matrix.txt`.
//!
//! Both are made with a VM and go with it. One that stays costs money (a disk) or an address (a
//! network card), and nobody else looks for it.

/// Whose it is, by its tags, its name and the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Named as those of our VMs are, with the tag of this cluster, or without a cluster's tag and
    /// of a VM that the ledger knows at this place.
    Ours,
    /// Anybody's.
    Others,
}

/// Whether something uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A VM has it, or it is not said that none has.
    Used,
    /// Azure says that nothing has it.
    Free,
}

/// The VM that it was made with, in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MadeWith {
    /// A VM that has not ended: its deletion is followed, and takes what belongs to it.
    Unfinished,
    /// One that ended or began a moment ago.
    Recent,
    /// One that ended a while ago.
    Ended,
    /// None that is known, and it began a while ago.
    Forgotten,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftoverAction {
    /// Nothing.
    Leave,
    /// Delete it, after Azure has said that its VM is not there and that nothing has it.
    Delete,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftoverReason {
    /// It is not ours.
    NotOurs,
    /// A VM has it.
    InUse,
    /// Its VM is made, runs or is being deleted.
    VmIsFollowed,
    /// Azure may still be at work on it.
    TooYoung,
    /// Its VM is gone and did not take it along.
    VmIsGone,
}

/// Decides about one.
pub fn decide_leftover(
    whose: Whose,
    in_use: Use,
    made_with: MadeWith,
) -> (LeftoverAction, LeftoverReason) {
    use LeftoverAction as A;
    use LeftoverReason as R;
    match (whose, in_use) {
        (Whose::Others, Use::Used | Use::Free) => return (A::Leave, R::NotOurs),
        (Whose::Ours, Use::Used) => return (A::Leave, R::InUse),
        (Whose::Ours, Use::Free) => {}
    }
    match made_with {
        MadeWith::Unfinished => (A::Leave, R::VmIsFollowed),
        MadeWith::Recent => (A::Leave, R::TooYoung),
        MadeWith::Ended | MadeWith::Forgotten => (A::Delete, R::VmIsGone),
    }
}

fn cells() -> impl Iterator<Item = (Whose, Use, MadeWith)> {
    let vms = [MadeWith::Unfinished, MadeWith::Recent, MadeWith::Ended, MadeWith::Forgotten];
    let uses = |whose| [Use::Used, Use::Free].map(|in_use| (whose, in_use));
    let cell = move |(whose, in_use)| vms.map(|made_with| (whose, in_use, made_with));
    [Whose::Ours, Whose::Others].into_iter().flat_map(uses).flat_map(cell)
}

/// The matrix as text.
pub(crate) fn matrix() -> Vec<String> {
    let line = |(whose, in_use, made_with): (Whose, Use, MadeWith)| {
        let (action, reason) = decide_leftover(whose, in_use, made_with);
        let (whose, in_use) = (format!("{whose:?}"), format!("{in_use:?}"));
        let (made_with, action) = (format!("{made_with:?}"), format!("{action:?}"));
        format!("{whose:6} {in_use:5} {made_with:10} {action:8} {reason:?}")
    };
    let head = "\nwhose  use   made with  leftover reason".to_owned();
    [head].into_iter().chain(cells().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_and_free_and_whose_vm_has_been_gone_for_a_while_is_deleted() {
        for (whose, in_use, made_with) in cells() {
            let (action, _) = decide_leftover(whose, in_use, made_with);
            let is_over = matches!(made_with, MadeWith::Ended | MadeWith::Forgotten);
            let may = whose == Whose::Ours && in_use == Use::Free && is_over;
            assert_eq!(action == LeftoverAction::Delete, may, "{whose:?} {in_use:?} {made_with:?}");
        }
    }
}
