//! The decision matrices as sums: which cells passes met, which cannot be met here and why, and
//! which answers of the matrices were given.

use std::collections::{BTreeMap, BTreeSet};
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

/// Why a simulated cluster never shows a cell.
type Cannot = Option<&'static str>;

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
    /// Cells that cannot be met, by the reason.
    pub cannot: BTreeMap<&'static str, usize>,
    /// Cells that could be and were not met, and answers that were not given, in words.
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
    sum(all, met, (answer, |cell| cannot_attempt(cell)))
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
    sum(all, met, (answer, |cell| cannot_node(cell)))
}

fn sum<C: Ord + Debug, A: Ord + Debug>(
    all: impl Iterator<Item = C>,
    met: &BTreeSet<C>,
    (answer, cannot): (impl Fn(&C) -> A, impl Fn(&C) -> Cannot),
) -> Sum {
    let mut sum = Sum::default();
    let (mut possible, mut given) = (BTreeSet::new(), BTreeSet::new());
    for cell in all {
        sum.cells += 1;
        possible.insert(answer(&cell));
        if met.contains(&cell) {
            sum.met += 1;
            given.insert(answer(&cell));
        } else if let Some(why) = cannot(&cell) {
            *sum.cannot.entry(why).or_default() += 1;
        } else {
            sum.missing.push(format!("cell {cell:?} -> {:?}", answer(&cell)));
        }
    }
    (sum.answers, sum.given) = (possible.len(), given.len());
    sum.missing.extend(possible.difference(&given).map(|answer| format!("answer {answer:?}")));
    sum
}

fn cannot_attempt((slurm, lease, state): &AttemptCell) -> Cannot {
    let is_ended = matches!(state, AttemptState::Refused | AttemptState::Gone);
    cannot(*slurm, *lease, is_ended)
}

fn cannot_node((slurm, lease, _, _): &NodeCell) -> Cannot {
    cannot(*slurm, *lease, false)
}

fn cannot(_slurm: SlurmView, _lease: LeaseView, _is_ended: bool) -> Cannot {
    None
}
