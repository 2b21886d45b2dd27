//! What a config changes in Slurm's files, and whether that may be done now. Pure: from texts and
//! from what was seen to steps, words and refusals. Doing it is [`crate::apply`]'s.
//!
//! ```text
//! texts there, texts rendered ──files──► steps in a safe order, what stands in the end
//! conf before, conf after ──Standing, Words──► what changes
//! Words, slurmctld's and the ledger's view ──decide──► refusals, or none
//! ```

pub mod agree;
pub mod decide;
pub mod files;
pub mod standing;
pub mod words;

use std::collections::BTreeMap;

use similar::TextDiff;

pub use agree::differences;
pub use decide::{Refusal, Seen, decide};
pub use files::{Before, Files, Step, files};
pub use standing::Standing;
pub use words::Words;

/// Lines around a change.
const CONTEXT: usize = 3;

/// All changed files as one unified diff, with `folder` before their names.
pub fn unified(folder: &str, before: &BTreeMap<String, String>, files: &Files) -> String {
    let mut diff = String::new();
    for (name, new) in &files.after {
        let path = format!("{folder}/{name}");
        let old = before.get(name);
        let from = if old.is_some() { path.as_str() } else { "/dev/null" };
        let changes = TextDiff::from_lines(old.map_or("", String::as_str), new);
        let mut unified = changes.unified_diff();
        diff.push_str(&unified.context_radius(CONTEXT).header(from, &path).to_string());
    }
    diff
}
