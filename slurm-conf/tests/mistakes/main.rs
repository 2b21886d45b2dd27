//! Goal: each mistake is found, at its place, and nothing else is. Method: the good installation,
//! in which nothing is found, is spoiled in one way.

mod config;
mod files;
mod good;
mod nodes;
mod power;
mod program;
mod slurm;
mod topology;

use std::collections::BTreeSet;

use azslurm_program::check::{Finding, Level, Pitfall};

use good::Good;

/// What must be found.
struct Expected {
    level: Level,
    /// Words of the finding.
    text: &'static str,
    /// The file, and how the line begins.
    at: (&'static str, &'static str),
}

/// Exactly one finding, as expected.
fn assert_only(good: &Good, expected: &Expected) {
    let findings = good.findings();
    let [finding] = findings.as_slice() else {
        panic!("{} findings instead of one: {findings:#?}", findings.len())
    };
    assert_eq!(finding.level, expected.level, "{finding:#?}");
    assert!(finding.text.contains(expected.text), "{:?} is not in {finding:#?}", expected.text);
    let (path, words) = expected.at;
    let at = (!path.is_empty()).then(|| good.place(path, words));
    assert_eq!(finding.at, at, "{finding:#?}");
    assert_complete(finding);
}

/// What every finding must have.
fn assert_complete(finding: &Finding) {
    let fix = finding.fix.as_deref().unwrap_or_default();
    assert!(!fix.trim().is_empty(), "no fix: {finding:#?}");
    for text in [&finding.text, fix, finding.why.as_deref().unwrap_or_default()] {
        assert!(!text.replace("#!", "").contains('!') && !text.contains("  "), "{finding:#?}");
    }
}

/// The findings of all mistakes.
fn all() -> Vec<Finding> {
    [config::all(), files::all(), nodes::all(), power::all(), slurm::all(), topology::all()]
        .concat()
}

#[test]
fn every_finding_says_what_to_do_and_each_of_the_ten_pitfalls_has_one() {
    let findings = all();
    assert!(findings.len() >= 150, "{}", findings.len());
    findings.iter().for_each(assert_complete);
    let found: BTreeSet<Option<Pitfall>> = findings.iter().map(|finding| finding.pitfall).collect();
    for pitfall in Pitfall::ALL {
        assert!(found.contains(&Some(pitfall)), "{pitfall:?} is in none of {found:?}");
    }
    let word = serde_json::to_value(Pitfall::SingleHeadNode).expect("a word");
    assert_eq!(word, "single-head-node");
}

/// A test for each mistake, and all of them together as `all()`.
macro_rules! mistakes {
    ($($name:ident: $level:ident, $text:literal, $at:expr, $spoil:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let mut good = crate::good::Good::new();
                let spoil: fn(&mut crate::good::Good) = $spoil;
                spoil(&mut good);
                let level = azslurm_program::check::Level::$level;
                crate::assert_only(&good, &crate::Expected { level, text: $text, at: $at });
            }
        )+

        /// The findings of all of these mistakes.
        pub fn all() -> Vec<azslurm_program::check::Finding> {
            let spoils: Vec<fn(&mut crate::good::Good)> = vec![$($spoil),+];
            let of = |spoil: fn(&mut crate::good::Good)| {
                let mut good = crate::good::Good::new();
                spoil(&mut good);
                good.findings()
            };
            spoils.into_iter().flat_map(of).collect()
        }
    };
}
pub(crate) use mistakes;
