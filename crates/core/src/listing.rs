//! What a list of Azure's VMs may be taken for: how it was had, whether it is whole, and so what it
//! says of a VM that it does not show. Total functions of small values; asking is not done here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Resource Graph lags by about a minute (FACTS §8): for twice that long its list says nothing
/// about a VM that has just come or gone.
pub const LISTED_AFTER: Duration = Duration::from_secs(2 * 60);

/// How a list was had. It decides how old the list may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Way {
    /// Resource Graph: an index that follows Azure by up to about a minute (FACTS §8).
    Graph,
    /// Resource Manager's lists: as things are now.
    Lists,
}

impl Way {
    /// For how long the list says nothing about a VM that has just come or gone.
    pub const fn lag(self) -> Duration {
        match self {
            Way::Graph => LISTED_AFTER,
            Way::Lists => Duration::ZERO,
        }
    }
}

/// Whether a list is all that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// Read to its end, and as long as was to be expected.
    Whole,
    /// Read to its end, and it shows less than half of the VMs that should run: either Azure has
    /// taken them, or the caller may not see them any more (rows that may not be read are missing
    /// without a word, FACTS §8).
    Shrunk {
        /// VMs of the ledger that should run and are shown.
        shown: usize,
        /// VMs of the ledger that should run.
        expected: usize,
    },
    /// Not read to its end, or not at all: why.
    Part(String),
}

/// What a list says of a VM that it does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// It should show the VM: a reason to ask for the VM itself, and never more than that.
    Asks,
    /// Nothing: the list is not whole, or older than what is known of the VM.
    SaysNothing,
}

impl Extent {
    /// A list that was read, beside what the ledger expects of it. An empty one where VMs should
    /// run is the extreme of a shrunken one.
    pub fn judged(self, shown: usize, expected: usize) -> Extent {
        match self {
            Extent::Whole | Extent::Shrunk { .. } if shown.saturating_mul(2) < expected => {
                Extent::Shrunk { shown, expected }
            }
            Extent::Whole | Extent::Shrunk { .. } => Extent::Whole,
            Extent::Part(why) => Extent::Part(why),
        }
    }

    /// Whether VMs that this list shows may be deleted for what it shows.
    pub fn is_whole(&self) -> bool {
        match self {
            Extent::Whole => true,
            Extent::Shrunk { .. } | Extent::Part(_) => false,
        }
    }

    /// What the list says of a VM that it does not show, and that is known to exist since
    /// `known_since`. `listed_at`: when the list was begun.
    pub fn silence(&self, way: Way, known_since: Timestamp, listed_at: Timestamp) -> Silence {
        let is_old_enough = known_since.plus(way.lag()) < listed_at;
        match self {
            Extent::Whole | Extent::Shrunk { .. } if is_old_enough => Silence::Asks,
            Extent::Whole | Extent::Shrunk { .. } | Extent::Part(_) => Silence::SaysNothing,
        }
    }
}

/// Whether a list may still show a VM that ended at `ended_at` without anything being wrong.
pub fn may_still_show(way: Way, ended_at: Timestamp, listed_at: Timestamp) -> bool {
    listed_at <= ended_at.plus(way.lag())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn part() -> Extent {
        Extent::Part("500".to_owned())
    }

    #[test]
    fn a_list_that_shows_less_than_half_of_what_should_run_has_shrunk() {
        for (shown, expected, is_whole) in [
            (0, 0, true),
            (0, 1, false),
            (1, 2, true),
            (1, 3, false),
            (30, 60, true),
            (29, 60, false),
            (60, 60, true),
        ] {
            let judged = Extent::Whole.judged(shown, expected);
            assert_eq!(judged.is_whole(), is_whole, "{shown} of {expected}");
            let shrunk = (!is_whole).then_some(Extent::Shrunk { shown, expected });
            assert_eq!(judged.clone(), shrunk.unwrap_or(Extent::Whole));
            assert_eq!(judged.clone().judged(shown, expected), judged, "twice is once");
        }
        assert_eq!(part().judged(60, 60), part(), "what was not read is not there by luck");
    }

    #[test]
    fn silence_is_a_question_only_in_a_list_that_was_read_and_is_young_enough() {
        let shrunk = Extent::Shrunk { shown: 0, expected: 3 };
        for extent in [Extent::Whole, shrunk, part()] {
            for known_since in [0, 79, 80, 199, 200, 300] {
                let asks =
                    |way: Way| extent.silence(way, at(known_since), at(200)) == Silence::Asks;
                let may = extent != part();
                assert_eq!(asks(Way::Graph), may && known_since < 80, "{extent:?} {known_since}");
                assert_eq!(asks(Way::Lists), may && known_since < 200, "{extent:?} {known_since}");
            }
        }
    }

    #[test]
    fn a_vm_that_is_just_gone_may_still_be_shown_while_the_index_lags() {
        assert!(may_still_show(Way::Graph, at(100), at(220)));
        assert!(!may_still_show(Way::Graph, at(100), at(221)));
        assert!(may_still_show(Way::Lists, at(100), at(100)));
        assert!(!may_still_show(Way::Lists, at(100), at(101)));
    }
}
