//! How large the shipped programs are.

use std::fs;

use anyhow::{Context as _, Result};

use super::Bench;
use crate::row::Row;

const PROGRAMS: [&str; 5] =
    ["azslurm-resume", "azslurm-suspend", "azslurm-resume-fail", "azslurm-sync", "azslurm-conf"];
/// In MB of a million bytes.
const SIZE_MAX: f64 = 8.0;

/// One row for each program.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let row = |name: &&str| {
        let path = bench.programs.join(name);
        let length = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        let mut row = Row::new(name, length);
        row.judge("size", length as f64 / 1e6, (SIZE_MAX, "MB"));
        Ok(row)
    };
    PROGRAMS.iter().map(row).collect()
}
