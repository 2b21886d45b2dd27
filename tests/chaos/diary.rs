//! What the run has done, for people (`log/chaos.log`) and for the audit, which must know what was
//! taken by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

/// Seconds since 1970, as `date +%s.%N` of a job says them.
pub type Seconds = f64;

/// Now.
pub fn now() -> Seconds {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The run's own log.
#[derive(Debug)]
pub struct Diary {
    file: File,
    /// VMs that the run took, as Azure or as somebody else would, and when.
    pub taken: BTreeMap<String, Seconds>,
    /// From when to when slurmctld was not itself.
    pub controller_away: Vec<(Seconds, Seconds)>,
    /// When it was killed, with what it had not saved.
    pub controller_killed: Vec<Seconds>,
    /// How often each trouble came.
    pub troubles: BTreeMap<&'static str, u32>,
    /// What the run could not do, by its words, once each.
    pub could_not: BTreeSet<String>,
}

impl Diary {
    /// A diary in the cluster's `log`.
    pub fn begin(dir: &Path) -> Result<Diary> {
        let path = dir.join("log/chaos.log");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Diary {
            file: file.with_context(|| path.display().to_string())?,
            taken: BTreeMap::new(),
            controller_away: Vec::new(),
            controller_killed: Vec::new(),
            troubles: BTreeMap::new(),
            could_not: BTreeSet::new(),
        })
    }

    /// Writes a line.
    pub fn say(&mut self, text: &str) {
        // A log that cannot be written must not end the run; the audit does not read it.
        let _written = writeln!(self.file, "{:.3} {text}", now());
    }

    /// Something of the run's own did not come about.
    pub fn miss(&mut self, text: &str) {
        self.say(&format!("could not: {text}"));
        self.could_not.insert(text.lines().next().unwrap_or_default().to_owned());
    }
}
