//! The decision matrices as sums: which cells passes met, and which answers were given. A cell is a
//! coincidence of three or four observations that know nothing of each other, so that none is
//! impossible and some are rare; each answer must be given.

use std::collections::BTreeSet;
use std::fmt::Debug;

use azslurm_core::attempt::AttemptState;
use azslurm_core::decide::{
    AttemptAction, AttemptReason, LeaseView, NodeAction, NodeReason, SlurmView, Standing,
    decide_attempt, decide_node,
};

/// A cell of the matrix of attempts.
pub type AttemptCell = (SlurmView, LeaseView, AttemptState);
/// A cell of the matrix of nodes.
pub type NodeCell = (SlurmView, LeaseView, Standing, bool);

const LEASES: [LeaseView; 2] = [LeaseView::Free, LeaseView::Held];

/// A matrix beside what was met of it.
#[derive(Debug, Default)]
pub struct Sum {
    /// Cells in all.
    pub cells: usize,
    /// Cells that were met.
    pub met: usize,
    /// Answers in all.
    pub answers: usize,
    /// Answers that were given.
    pub given: usize,
    /// Answers that were not given, and cells that were not met, in words.
    pub missing: Vec<String>,
}

/// The matrix of attempts.
pub fn attempts(met: &BTreeSet<AttemptCell>) -> Sum {
    let all = SlurmView::ALL.into_iter().flat_map(|slurm| {
        let of_lease = move |lease| AttemptState::ALL.map(|state| (slurm, lease, state));
        LEASES.into_iter().flat_map(of_lease)
    });
    let answer = |(slurm, lease, state): &AttemptCell| -> (AttemptAction, AttemptReason) {
        decide_attempt(*slurm, *lease, *state)
    };
    sum(all, met, answer)
}

/// The matrix of nodes.
pub fn nodes(met: &BTreeSet<NodeCell>) -> Sum {
    let all = SlurmView::ALL.into_iter().flat_map(|slurm| {
        let of = move |lease| {
            let of_standing =
                move |standing| [false, true].map(|held| (slurm, lease, standing, held));
            Standing::ALL.into_iter().flat_map(of_standing)
        };
        LEASES.into_iter().flat_map(of)
    });
    let answer = |(slurm, lease, standing, held): &NodeCell| -> (NodeAction, NodeReason) {
        decide_node(*slurm, *lease, *standing, *held)
    };
    sum(all, met, answer)
}

fn sum<C: Ord + Debug, A: Ord + Debug>(
    all: impl Iterator<Item = C>,
    met: &BTreeSet<C>,
    answer: impl Fn(&C) -> A,
) -> Sum {
    let mut sum = Sum::default();
    let (mut possible, mut given) = (BTreeSet::new(), BTreeSet::new());
    for cell in all {
        sum.cells += 1;
        possible.insert(answer(&cell));
        if met.contains(&cell) {
            sum.met += 1;
            given.insert(answer(&cell));
        } else {
            sum.missing.push(format!("cell {cell:?} -> {:?}", answer(&cell)));
        }
    }
    (sum.answers, sum.given) = (possible.len(), given.len());
    let never = possible.difference(&given).map(|answer| format!("answer {answer:?}"));
    sum.missing.splice(..0, never);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_met_and_its_answer_given_or_both_are_missing() {
        let none = attempts(&BTreeSet::new());
        assert_eq!((none.met, none.given), (0, 0));
        assert_eq!(none.missing.len(), none.cells + none.answers);
        let cell = (SlurmView::Absent, LeaseView::Free, AttemptState::Running);
        let one = attempts(&BTreeSet::from([cell]));
        assert_eq!((one.met, one.given), (1, 1));
        assert_eq!(one.missing.len(), one.cells + one.answers - 2);
        let cell = (SlurmView::Up, LeaseView::Free, Standing::Lost, false);
        assert_eq!(nodes(&BTreeSet::from([cell])).met, 1);
    }
}
