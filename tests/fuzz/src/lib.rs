//! Hostile input: what must hold for any bytes that azslurm reads, whoever wrote them.
//!
//! ```text
//! corpus/<target>/*  ──► tests/short.rs: each input and seeded changes of it  `make test`, seconds
//!        │               (changes.rs)  │
//!        │                             ▼
//!        │                       Target::run: reads, and checks what must hold
//!        │                             ▲
//!        └──► libFuzzer (engine/) ─────┘                                      `make fuzz`, hours
//! ```
//!
//! A target is a function of bytes. It panics when something does not hold; to return is to pass.
//! It knows nothing of who drives it and takes no other input. The engine is a crate of its own
//! outside of the workspace, so that nothing else is built with its counters.
//!
//! An input that once broke something stays in the corpus of its target, under a name that says
//! what it broke.

pub mod azure;
pub mod changes;
pub mod config;
pub mod ledger;
pub mod names;
pub mod slurm;

use std::path::{Path, PathBuf};

/// One kind of input with all that must hold for it.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Words that mean something to the reader: changes put them in.
    pub words: &'static [&'static str],
    /// How many changed inputs a short run tries: fewer where one costs more.
    pub short_runs: u32,
    check: fn(&[u8]),
}

impl Target {
    /// Reads an input.
    ///
    /// # Panics
    /// Something does not hold.
    pub fn run(&self, bytes: &[u8]) {
        (self.check)(bytes);
    }

    /// The folder of its inputs.
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }
}

/// Texts of a few hundred bytes: a run takes a fraction of a millisecond.
const RUNS_OF_TEXT: u32 = 1_000;
/// An input makes an SQLite file on disk and reads all of it.
const RUNS_OF_A_FILE: u32 = 60;

const fn of_text(name: &'static str, words: &'static [&'static str], check: fn(&[u8])) -> Target {
    Target { name, words, short_runs: RUNS_OF_TEXT, check }
}

const fn of_a_file(name: &'static str, words: &'static [&'static str], check: fn(&[u8])) -> Target {
    Target { name, words, short_runs: RUNS_OF_A_FILE, check }
}

/// All targets.
pub const TARGETS: [Target; 15] = [
    of_text("hostlist", names::WORDS, names::host_list),
    of_text("resume_file", slurm::RESUME_WORDS, slurm::resume_file),
    of_text("nodes", slurm::NODE_WORDS, slurm::nodes),
    of_text("jobs", slurm::JOB_WORDS, slurm::jobs),
    of_text("controller", slurm::CONTROLLER_WORDS, slurm::controller),
    of_text("slurm_conf", slurm::CONF_WORDS, slurm::conf),
    of_text("config", config::WORDS, config::config),
    of_text("refusal", azure::REFUSAL_WORDS, azure::refusal),
    of_text("headers", azure::HEADER_WORDS, azure::headers),
    of_text("rows", azure::ROW_WORDS, azure::rows),
    of_text("graph", azure::GRAPH_WORDS, azure::graph),
    of_text("operation", azure::REFUSAL_WORDS, azure::operation),
    of_text("scheduled", azure::SCHEDULED_WORDS, azure::scheduled),
    of_a_file("ledger_file", &[], ledger::file),
    of_a_file("ledger_rows", ledger::WORDS, ledger::rows),
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    static ALL: [Target; TARGETS.len()] = TARGETS;
    ALL.iter().find(|target| target.name == name)
}
