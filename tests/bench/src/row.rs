//! One line of the benchmark, and what it is judged by.

use serde::Serialize;

use crate::measure::Cost;
use crate::strace::Counts;

/// One line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// What was done: "resume".
    pub work: String,
    /// Of how many.
    pub size: u64,
    /// What it has cost.
    pub cost: Option<Cost>,
    /// What the same requests cost a minimal client.
    pub bound: Option<Cost>,
    /// System calls, bytes, syncs; from a run of its own.
    pub counts: Option<Counts>,
    /// Calls that the emulator has counted.
    pub calls: Option<u64>,
    /// Runs of Slurm's clients.
    pub scontrol: Option<u64>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// What was promised of it.
    pub judged: Vec<Judged>,
}

/// A promise and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// What was measured: "CPU above the minimal client's".
    pub what: String,
    /// How much it was.
    pub measured: f64,
    /// The most that was promised.
    pub most: f64,
    /// Of what.
    pub unit: &'static str,
    /// Whether it was kept.
    pub is_met: bool,
}

impl Row {
    /// A line without anything yet.
    pub fn new(work: &str, size: u64) -> Row {
        Row { work: work.to_owned(), size, ..Row::default() }
    }

    /// At most so much was promised.
    pub fn judge(&mut self, what: &str, measured: f64, (most, unit): (f64, &'static str)) {
        let is_met = measured <= most;
        self.judged.push(Judged { what: what.to_owned(), measured, most, unit, is_met });
    }

    /// Something to be known.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// CPU above the minimal client's, in milliseconds.
    pub fn above_bound(&self) -> Option<f64> {
        Some(self.cost?.cpu_ms - self.bound?.cpu_ms)
    }
}
