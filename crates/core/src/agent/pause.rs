//! Pauses between tries of something that fails.

use std::time::Duration;

use crate::Timestamp;

/// Before the first try again; the interval of the polls.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Pauses double this often at most: 1, 2, 4, 8 s and then the longest.
const DOUBLINGS_MAX: u32 = 4;
/// The longest: a third of the notice of an eviction.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A thing that is tried again and again, less often while it fails.
#[derive(Debug, Clone, Default)]
pub struct Pause {
    failures: u32,
    until: Option<Timestamp>,
    said: String,
}

impl Pause {
    /// Whether it may be tried.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// It failed as `text` says. It is not tried before `at_least` has passed, nor so late that
    /// `deadline` would be missed. Whether this is worth a line: the first failure, and any that is
    /// another than the one before.
    pub fn fail(
        &mut self,
        (now, text): (Timestamp, &str),
        at_least: Option<Duration>,
        deadline: Option<Timestamp>,
    ) -> bool {
        let pause = (PAUSE_MIN * 2_u32.pow(self.failures.min(DOUBLINGS_MAX))).min(PAUSE_MAX);
        let left = deadline.map_or(PAUSE_MAX, |deadline| deadline.since(now) / 2);
        let pause = pause.min(left).max(PAUSE_MIN).max(at_least.unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus(pause));
        let is_new = self.said != text;
        text.clone_into(&mut self.said);
        is_new
    }

    /// It worked. How often it had failed before, if it had.
    pub fn succeed(&mut self) -> Option<u32> {
        let before = std::mem::take(self).failures;
        (before > 0).then_some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn waits(pause: &Pause) -> Duration {
        pause.until.unwrap().since(NOW)
    }

    #[test]
    fn pauses_grow_to_ten_seconds_and_end_with_the_first_success() {
        let mut pause = Pause::default();
        let mut seconds = Vec::new();
        let mut lines = Vec::new();
        for text in ["410", "410", "500", "500", "500", "500"] {
            lines.push(pause.fail((NOW, text), None, None));
            seconds.push(waits(&pause).as_secs());
            assert!(!pause.is_over(NOW));
        }
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
        assert_eq!(lines, [true, false, true, false, false, false]);
        assert_eq!(pause.succeed(), Some(6));
        assert_eq!(pause.succeed(), None);
        assert!(pause.is_over(NOW));
    }

    #[test]
    fn what_was_asked_for_is_waited_for_and_a_deadline_shortens_the_rest() {
        let mut pause = Pause::default();
        pause.fail((NOW, "429"), Some(Duration::from_secs(70)), Some(NOW));
        assert_eq!(waits(&pause), Duration::from_secs(70));
        for _ in 0..10 {
            pause.fail((NOW, "x"), None, Some(NOW.plus(Duration::from_secs(6))));
        }
        assert_eq!(waits(&pause), Duration::from_secs(3));
        pause.fail((NOW, "x"), None, Some(NOW));
        assert_eq!(waits(&pause), Duration::from_secs(1));
    }
}
