//! What a pass does about a block that Azure has and the ledger does not know as unfinished: total
//! functions, the decision cell by cell in `decide_matrix.txt`.
//!
//! A block's placement group and availability set go when the ledger says that its last VM has
//! gone. A ledger that was lost, or put back to an older copy, says nothing of them: they cost no
//! money, but count against the quota, and nobody else looks for them.

use std::collections::BTreeMap;

use crate::ClusterName;
use crate::block::Incarnation;
use crate::vm::{TAG_BLOCK, TAG_CLUSTER};

/// What a placement group or an availability set is, by its tags and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// Anybody's.
    Others,
    /// It has the tag of this cluster, and no name of ours: a person has made it, or changed it.
    Odd,
    /// Of one life of a block of this cluster.
    Of(Incarnation),
}

/// What one is. Tags and name must say the same: no name alone makes anything ours, because the
/// first letters of two clusters' names may be the same.
pub fn placed(tags: &BTreeMap<String, String>, name: &str, cluster: &ClusterName) -> Placed {
    let tag = |name: &str| tags.get(name).map(String::as_str);
    if tag(TAG_CLUSTER) != Some(cluster.as_str()) {
        return Placed::Others;
    }
    let life = tag(TAG_BLOCK).and_then(|text| text.parse::<Incarnation>().ok());
    let has_its_name = |life: &Incarnation| life.resource_name(cluster).eq_ignore_ascii_case(name);
    life.filter(has_its_name).map_or(Placed::Odd, Placed::Of)
}

/// The life, in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Written {
    /// Not ended: whoever sees its last VM go removes it.
    Unfinished,
    /// Ended, before Azure was asked.
    Ended,
    /// Not there.
    Unknown,
}

/// Whether anything is in its group or its set, but the set itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inside {
    /// VMs that are made, run or are being deleted, or somebody's set.
    Something,
    /// Nothing.
    Nothing,
}

/// How long ago it was begun, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// A program with another ledger may be about to put the first VM into it.
    Young,
    /// Long ago.
    Old,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForgottenAction {
    /// Nothing.
    Leave,
    /// Write its end into the ledger, after Azure has said once more that no VM is in its set; then
    /// it goes as every empty block does.
    Delete,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForgottenReason {
    /// The ledger follows it.
    LedgerKnows,
    /// It has VMs: they are the nodes', or orphans.
    HasMembers,
    /// Somebody may have just begun it.
    TooYoung,
    /// The ledger calls it gone, and Azure has it.
    IsNotGone,
    /// The ledger does not know it.
    LedgerHasLostIt,
}

/// Decides about one.
pub fn decide_forgotten(
    written: Written,
    inside: Inside,
    age: Age,
) -> (ForgottenAction, ForgottenReason) {
    use ForgottenAction as A;
    use ForgottenReason as R;
    match (written, inside, age) {
        (Written::Unfinished, Inside::Something | Inside::Nothing, Age::Young | Age::Old) => {
            (A::Leave, R::LedgerKnows)
        }
        (Written::Ended | Written::Unknown, Inside::Something, Age::Young | Age::Old) => {
            (A::Leave, R::HasMembers)
        }
        (Written::Ended | Written::Unknown, Inside::Nothing, Age::Young) => (A::Leave, R::TooYoung),
        (Written::Ended, Inside::Nothing, Age::Old) => (A::Delete, R::IsNotGone),
        (Written::Unknown, Inside::Nothing, Age::Old) => (A::Delete, R::LedgerHasLostIt),
    }
}

fn cells() -> impl Iterator<Item = (Written, Inside, Age)> {
    let insides = |written| [Inside::Something, Inside::Nothing].map(|inside| (written, inside));
    let cell = |(written, inside)| [Age::Young, Age::Old].map(|age| (written, inside, age));
    let all = [Written::Unfinished, Written::Ended, Written::Unknown];
    all.into_iter().flat_map(insides).flat_map(cell)
}

/// The matrix as text.
pub(crate) fn matrix() -> Vec<String> {
    let line = |(written, inside, age): (Written, Inside, Age)| {
        let (action, reason) = decide_forgotten(written, inside, age);
        let (written, inside) = (format!("{written:?}"), format!("{inside:?}"));
        let (age, action) = (format!("{age:?}"), format!("{action:?}"));
        format!("{written:10} {inside:9} {age:5} {action:6} {reason:?}")
    };
    let head = "\nwritten    inside    age   block  reason".to_owned();
    [head].into_iter().chain(cells().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttemptId;
    use crate::vm::block_tags;

    #[test]
    fn only_what_is_empty_and_old_and_nobody_follows_is_deleted() {
        for (written, inside, age) in cells() {
            let (action, _) = decide_forgotten(written, inside, age);
            let may =
                written != Written::Unfinished && inside == Inside::Nothing && age == Age::Old;
            assert_eq!(action == ForgottenAction::Delete, may, "{written:?} {inside:?} {age:?}");
        }
    }

    #[test]
    fn only_what_has_our_tags_and_the_name_that_they_say_is_of_our_blocks() {
        let cluster: ClusterName = "c".parse().unwrap();
        let number = AttemptId::from_number(7).unwrap();
        let life = Incarnation { block: "hb-b1".parse().unwrap(), number };
        let (name, tags) = (life.resource_name(&cluster), block_tags(&cluster, &life));
        let of = |change: &dyn Fn(&mut BTreeMap<String, String>), name: &str| {
            let mut tags = tags.clone();
            change(&mut tags);
            placed(&tags, name, &cluster)
        };
        let same = |_: &mut BTreeMap<String, String>| {};
        assert_eq!(of(&same, &name), Placed::Of(life.clone()));
        assert_eq!(of(&same, &name.to_uppercase()), Placed::Of(life));
        let all_go = |tags: &mut BTreeMap<String, String>| tags.clear();
        assert_eq!(of(&all_go, &name), Placed::Others, "a name alone");
        let other = |tags: &mut BTreeMap<String, String>| {
            tags.insert(TAG_CLUSTER.to_owned(), "c2".to_owned());
        };
        assert_eq!(of(&other, &name), Placed::Others, "another cluster's");
        assert_eq!(of(&same, "c-hb-b2-00000007"), Placed::Odd, "tags of another");
        let no_life = |tags: &mut BTreeMap<String, String>| drop(tags.remove(TAG_BLOCK));
        assert_eq!(of(&no_life, &name), Placed::Odd);
    }
}
