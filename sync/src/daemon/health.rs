//! Who answers and who does not, and what is said of it: lines of the log when it changes, and
//! `systemctl status` all the time.

use std::collections::BTreeMap;

use azslurm_core::Timestamp;
use azslurm_core::rhythm::Went;
use azslurm_resume::drive::Driven;

use crate::report::Report;

/// How one turn of the daemon went.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A pass, whatever it found.
    Passed(Box<Report>),
    /// It is another daemon's turn.
    StoodBy {
        /// Why, in a sentence's middle.
        why: String,
        /// Whether another daemon of this ledger has the seat.
        is_for_a_daemon: bool,
    },
    /// The ledger cannot be opened, or not be used.
    NoLedger(String),
    /// A mistake of ours, or a pass without an end.
    Broke(String),
}

/// What a pass needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Ledger,
    Slurmctld,
    Azure,
    /// Our own code.
    Pass,
}

impl Source {
    fn is_down_word(self) -> &'static str {
        match self {
            Source::Ledger => "the ledger cannot be used",
            Source::Slurmctld => "slurmctld does not answer",
            Source::Azure => "Azure does not say all",
            Source::Pass => "passes break",
        }
    }

    fn is_back_word(self) -> &'static str {
        match self {
            Source::Ledger => "the ledger can be used again",
            Source::Slurmctld => "slurmctld answers again",
            Source::Azure => "Azure says all again",
            Source::Pass => "passes do not break any more",
        }
    }
}

/// Since when something is down, and why.
#[derive(Debug)]
struct Down {
    since: Timestamp,
    why: String,
}

/// What is known after the last turn.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: BTreeMap<Source, Down>,
    /// Turns in a row that met something down.
    in_a_row: u32,
    /// Turns that met something down, in this life.
    failed: u64,
    /// Why the daemon stands by.
    stands_by: Option<String>,
    /// What the last pass did.
    last: Option<String>,
    is_under_way: bool,
}

impl Health {
    /// Keeps what a turn that ended `at` has shown, and logs what is new.
    pub(super) fn note(&mut self, outcome: &Outcome, at: Timestamp) {
        let stood_by = match outcome {
            Outcome::StoodBy { why, .. } => Some(why.clone()),
            Outcome::Passed(_) | Outcome::NoLedger(_) | Outcome::Broke(_) => None,
        };
        match (&self.stands_by, &stood_by) {
            (before, Some(why)) if before.as_ref() != Some(why) => {
                tracing::info!("standing by: {why}");
            }
            (Some(_), None) => tracing::info!("standing by no longer"),
            (Some(_) | None, Some(_) | None) => {}
        }
        self.stands_by = stood_by;
        match outcome {
            Outcome::Passed(report) => self.note_pass(report, at),
            // What is not asked for is not known to be down.
            Outcome::StoodBy { .. } => {
                *self = Health {
                    stands_by: self.stands_by.take(),
                    failed: self.failed,
                    ..Health::default()
                }
            }
            Outcome::NoLedger(why) => self.set(Source::Ledger, Some(why.clone()), at),
            Outcome::Broke(why) => self.set(Source::Pass, Some(why.clone()), at),
        }
        if self.down.is_empty() {
            self.in_a_row = 0;
        } else {
            self.in_a_row = self.in_a_row.saturating_add(1);
            self.failed += 1;
        }
    }

    fn note_pass(&mut self, report: &Report, at: Timestamp) {
        self.set(Source::Ledger, None, at);
        self.set(Source::Pass, None, at);
        self.set(Source::Slurmctld, report.slurm_unknown.clone(), at);
        let azure = report.azure_unknown.iter().chain(&report.azure_incomplete);
        let azure: Vec<&str> = azure.map(String::as_str).collect();
        self.set(Source::Azure, (!azure.is_empty()).then(|| azure.join("; ")), at);
        self.is_under_way =
            report.left > 0 || report.orphans_left > 0 || !report.passed_over.is_empty();
        let did = did(report);
        self.last = Some(format!("pass at {at}: {did}"));
        if report.lines.is_empty() && report.driven == Driven::default() {
            tracing::debug!("pass: {did}");
        } else {
            tracing::info!("pass: {did}");
        }
    }

    fn set(&mut self, source: Source, why: Option<String>, at: Timestamp) {
        match (self.down.get_mut(&source), why) {
            (None, None) => {}
            (None, Some(why)) => {
                tracing::error!("{}: {why}", source.is_down_word());
                self.down.insert(source, Down { since: at, why });
            }
            (Some(down), Some(why)) => {
                if down.why != why {
                    tracing::warn!("{} since {}: {why}", source.is_down_word(), down.since);
                }
                down.why = why;
            }
            (Some(down), None) => {
                let since = down.since;
                tracing::info!("{}; it was away since {since}", source.is_back_word());
                self.down.remove(&source);
            }
        }
    }

    /// For the rhythm.
    pub(super) fn went(&self) -> Went {
        match (self.in_a_row, self.is_under_way) {
            (0, true) => Went::UnderWay,
            (0, false) => Went::Quiet,
            (in_a_row, _) => Went::Down { in_a_row },
        }
    }

    /// In a line for people, without what comes next.
    pub(super) fn text(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (source, Down { since, why }) in &self.down {
            parts.push(format!("{} since {since}: {why}", source.is_down_word()));
        }
        parts.extend(self.stands_by.as_ref().map(|why| format!("standing by: {why}")));
        parts.extend(self.last.clone());
        if self.in_a_row > 0 {
            parts.push(format!("{} turns so far met something that is down", self.failed));
        }
        parts.join("; ")
    }
}

/// What a pass did, in few words.
fn did(report: &Report) -> String {
    let Driven { accepted, running, failed, moved, deleting, gone, undeleted } = report.driven;
    let counts = [
        (report.lines.len(), "decisions"),
        (accepted, "VMs accepted"),
        (running, "running"),
        (failed, "failed"),
        (moved, "begun again"),
        (deleting, "deleting"),
        (gone, "gone"),
        (undeleted, "not deleted"),
        (report.orphans.len(), "not in the ledger"),
        (report.left, "unfinished"),
    ];
    let some: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let what = if some.is_empty() { "nothing to do".to_owned() } else { some.join(", ") };
    format!("{what} ({} nodes, {} VMs)", report.nodes, report.vms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn passed(report: Report) -> Outcome {
        Outcome::Passed(Box::new(report))
    }

    #[test]
    fn a_source_that_answers_again_ends_the_growth_at_once() {
        let mut health = Health::default();
        assert_eq!(health.went(), Went::Quiet);
        let away = || Report { slurm_unknown: Some("refused".to_owned()), ..Report::default() };
        for in_a_row in 1..4 {
            health.note(&passed(away()), at(i64::from(in_a_row)));
            assert_eq!(health.went(), Went::Down { in_a_row });
        }
        let text = health.text();
        assert!(
            text.starts_with("slurmctld does not answer since 1970-01-01T00:00:01Z: refused; pass")
        );
        health.note(&passed(Report { left: 2, ..Report::default() }), at(9));
        assert_eq!(health.went(), Went::UnderWay);
        assert!(health.text().starts_with("pass at 1970-01-01T00:00:09Z: 2 unfinished"));
    }

    #[test]
    fn a_pass_that_breaks_or_finds_no_ledger_counts_until_one_does_not() {
        let mut health = Health::default();
        health.note(&Outcome::Broke("index out of bounds".to_owned()), at(1));
        health.note(&Outcome::NoLedger("no such folder".to_owned()), at(2));
        assert_eq!(health.went(), Went::Down { in_a_row: 2 });
        assert!(health.text().contains("the ledger cannot be used since 1970-01-01T00:00:02Z"));
        assert!(health.text().contains("passes break since 1970-01-01T00:00:01Z"));
        health.note(&passed(Report::default()), at(3));
        assert_eq!(health.went(), Went::Quiet);
        assert!(!health.text().contains("since"), "{}", health.text());
    }

    #[test]
    fn azure_is_down_for_each_reason_that_a_report_knows() {
        for report in [
            Report { azure_unknown: Some("no token".to_owned()), ..Report::default() },
            Report { azure_incomplete: vec!["west: 503".to_owned()], ..Report::default() },
        ] {
            let mut health = Health::default();
            health.note(&passed(report), at(1));
            assert_eq!(health.went(), Went::Down { in_a_row: 1 });
        }
    }

    #[test]
    fn a_daemon_that_stands_by_says_for_whom_and_knows_nothing_down() {
        let mut health = Health::default();
        health.note(&Outcome::NoLedger("gone".to_owned()), at(1));
        let why = "the daemon x acts".to_owned();
        health.note(&Outcome::StoodBy { why, is_for_a_daemon: true }, at(2));
        assert_eq!(
            (health.went(), health.text().as_str()),
            (Went::Quiet, "standing by: the daemon x acts")
        );
    }
}
