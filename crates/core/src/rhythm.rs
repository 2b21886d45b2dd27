//! When the daemon makes its next pass.
//!
//! ```text
//! quiet        the interval
//! under way    a third of it, at least 5 s
//! down, n-th   interval × 2^(n − 1), at most 2 minutes (or the interval, if that is longer)
//! jitter       0.9 … 1.1 of each
//! ```
//!
//! A source that answers again ends the growth at once: the pass that finds out is not a failure.

use std::time::Duration;

use crate::chance::{splitmix64, thousandths};

/// What is under way is looked at so much more often than what is quiet.
const UNDER_WAY_PARTS: u32 = 3;
/// Azure allows twelve polls of one VM per minute (FACTS §3.2), and a pass makes up to two.
const UNDER_WAY_LEAST: Duration = Duration::from_secs(5);
/// Whoever brings slurmctld or the network back waits no longer for the repair. A pass while they
/// are away costs a few calls that fail.
const DOWN_MOST: Duration = Duration::from_secs(120);
/// The least that jitter leaves, in thousandths: the daemons of clusters that were started together
/// do not ask Azure together for ever.
const JITTER_LEAST: u64 = 900;
/// So many thousandths more than the least at most: up to 1100.
const JITTER_STEPS: u64 = 201;

/// How the last pass went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Nothing is left to be done.
    Quiet,
    /// VMs are being made or deleted.
    UnderWay,
    /// slurmctld, Azure or the ledger did not answer, or the pass failed.
    Down {
        /// How often in a row, this time included: from 1.
        in_a_row: u32,
    },
}

/// The pause before the next pass. `seed`: a number drawn by the caller.
pub fn pause(interval: Duration, went: Went, seed: u64) -> Duration {
    let length = match went {
        Went::Quiet => interval,
        Went::UnderWay => (interval / UNDER_WAY_PARTS).max(UNDER_WAY_LEAST),
        Went::Down { in_a_row } => {
            // 2^16 times five seconds is days; the most cuts it long before.
            let factor = 1_u32 << in_a_row.saturating_sub(1).min(16);
            interval.saturating_mul(factor).min(DOWN_MOST.max(interval))
        }
    };
    thousandths(length, JITTER_LEAST + splitmix64(seed) % JITTER_STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    /// The shortest and the longest of many, in seconds.
    fn spread(interval: Duration, went: Went) -> (f64, f64) {
        let all = (0..2_000).map(|seed| pause(interval, went, seed).as_secs_f64());
        all.fold((f64::MAX, 0.0), |(least, most), one| (least.min(one), most.max(one)))
    }

    fn assert_about(interval: Duration, went: Went, seconds: f64) {
        let (least, most) = spread(interval, went);
        let is_near = |one: f64, wanted: f64| (one - wanted).abs() < seconds * 0.005;
        let is_good = is_near(least, seconds * 0.9) && is_near(most, seconds * 1.1);
        assert!(is_good, "{went:?}: {least} to {most}");
    }

    #[test]
    fn a_quiet_cluster_is_looked_at_once_in_the_interval_and_a_busy_one_more_often() {
        assert_about(INTERVAL, Went::Quiet, 30.0);
        assert_about(INTERVAL, Went::UnderWay, 10.0);
        let shortest = Duration::from_secs(5);
        assert_about(shortest, Went::Quiet, 5.0);
        assert_about(shortest, Went::UnderWay, 5.0);
        assert_about(Duration::from_secs(600), Went::UnderWay, 200.0);
    }

    #[test]
    fn the_pauses_grow_while_a_source_is_down_and_end_growing_at_two_minutes() {
        let after = [30.0, 60.0, 120.0, 120.0];
        for (in_a_row, seconds) in (1..).zip(after) {
            assert_about(INTERVAL, Went::Down { in_a_row }, seconds);
        }
        for in_a_row in [0, 1_000, u32::MAX] {
            let seconds = if in_a_row == 0 { 30.0 } else { 120.0 };
            assert_about(INTERVAL, Went::Down { in_a_row }, seconds);
        }
    }

    #[test]
    fn an_interval_beyond_the_most_is_kept_while_a_source_is_down() {
        let interval = Duration::from_secs(600);
        for in_a_row in [1, 2, 50] {
            assert_about(interval, Went::Down { in_a_row }, 600.0);
        }
    }
}
