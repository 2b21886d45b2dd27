//! This machine's clock against Azure's.

use std::time::Duration;

use azslurm_core::Timestamp;

use super::Finding;

const CHECK: &str = "clock";
/// Less than this is the way of an answer and its rounding to a second.
const EXACT: Duration = Duration::from_secs(10);
/// Microsoft Entra takes tokens and assertions that are so far off, and no more.
const SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// `azure`: the `Date` of an answer that has just come, at `ours` of this machine's clock.
pub fn check(ours: Timestamp, azure: Timestamp) -> Finding {
    let (skew, side) = match ours > azure {
        true => (ours.since(azure), "ahead of"),
        false => (azure.since(ours), "behind"),
    };
    let text = format!("this machine's clock is {} s {side} Azure's", skew.as_secs());
    let fix = "let chrony or systemd-timesyncd set it: `timedatectl` shows whether one does";
    if skew >= SKEW_MAX {
        return Finding::error(CHECK, format!("{text}: tokens are refused"), fix);
    }
    if skew >= EXACT {
        let text = format!("{text}: from {} s on tokens are refused", SKEW_MAX.as_secs());
        return Finding::warning(CHECK, text, fix);
    }
    Finding::ok(CHECK, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn a_clock_that_is_minutes_off_breaks_tokens() {
        let azure = Timestamp::from_millis(1_795_225_985_000);
        let level = |seconds: u64| {
            let off = Duration::from_secs(seconds);
            let (ahead, behind) = (check(azure.plus(off), azure), check(azure.minus(off), azure));
            assert_eq!(ahead.level, behind.level);
            ahead.level
        };
        assert_eq!(level(9), Level::Ok);
        assert_eq!(level(10), Level::Warning);
        assert_eq!(level(299), Level::Warning);
        assert_eq!(level(300), Level::Error);
        let text = check(azure.minus(Duration::from_secs(400)), azure).text;
        assert!(text.contains("400 s behind Azure's"), "{text}");
    }
}
