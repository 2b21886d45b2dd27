//! The parts of the benchmark, in order; each gives rows.

mod bucket;
mod delays;
mod gang;
mod lists;
mod many;
mod nodes;
mod pass;
mod size;
mod start;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::fit::exponent;
use crate::picture::picture;
use crate::row::Row;
use crate::table;

/// What every part needs.
pub struct Bench<'a> {
    /// Where the shipped programs are.
    pub programs: &'a Path,
    /// The one size that was asked for; none: all.
    pub size: Option<u64>,
}

impl Bench<'_> {
    /// `sizes`, or the one that was asked for.
    pub fn sizes(&self, sizes: &[u64]) -> Vec<u64> {
        self.size.map_or_else(|| sizes.to_vec(), |only| vec![only])
    }
}

type Part = fn(&Bench<'_>) -> Result<Vec<Row>>;

const PARTS: [(&str, Part); 9] = [
    ("size", size::rows),
    ("start", start::rows),
    ("lists", lists::rows),
    ("nodes", nodes::rows),
    ("pass", pass::rows),
    ("many", many::rows),
    ("gang", gang::rows),
    ("bucket", bucket::rows),
    ("delays", delays::rows),
];

/// Their names.
pub fn names() -> Vec<&'static str> {
    PARTS.iter().map(|(name, _)| *name).collect()
}

/// Runs the parts that are named (`nodes`, `nodes:1000`), or all; writes the results to `folder`.
pub fn run(folder: &Path, programs: &Path, only: &[&str]) -> Result<()> {
    let asked: Vec<(&str, Option<u64>)> = only
        .iter()
        .map(|word| match word.split_once(':') {
            Some((name, size)) => Ok((name, Some(size.parse().context("a size")?))),
            None => Ok((*word, None)),
        })
        .collect::<Result<_>>()?;
    if let Some((name, _)) = asked.iter().find(|(name, _)| !names().contains(name)) {
        bail!("there is no part {name}: {}", names().join(", "));
    }
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for (name, part) in PARTS {
        let found = asked.iter().find(|(asked, _)| *asked == name);
        if !asked.is_empty() && found.is_none() {
            continue;
        }
        let begun = Instant::now();
        let bench = Bench { programs, size: found.and_then(|(_, size)| *size) };
        match part(&bench) {
            Ok(found) => rows.extend(found),
            // Minutes of the others' work are not thrown away for it.
            Err(error) => {
                eprintln!("azslurm-bench: {name}: {error:#}");
                failed.push(name);
            }
        }
        eprintln!("{name}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    println!("{}", table::table(&rows));
    fs::create_dir_all(folder)?;
    let cores = std::thread::available_parallelism()?.get();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let all = json!({ "cores": cores, "kernel": kernel.trim(), "rows": rows });
    fs::write(folder.join("bench.json"), serde_json::to_string_pretty(&all)?)?;
    fs::write(folder.join("bench.svg"), picture(&rows))?;
    println!("written: {0}/bench.json, {0}/bench.svg", folder.display());
    anyhow::ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

/// A row that says how the CPU of `work` grows, where there are sizes enough. Small sizes are what
/// a start costs and tell nothing of growth.
pub fn growth(work: &str, rows: &[Row], (least, most): (u64, f64)) -> Option<Row> {
    let points: Vec<(f64, f64)> = rows
        .iter()
        .filter(|row| row.work == work && row.size >= least)
        .filter_map(|row| Some((row.size as f64, row.cost?.cpu_ms)))
        .collect();
    let found = exponent(&points)?;
    let mut row = Row::new(&format!("{work}, growth"), points.len() as u64);
    row.judge("exponent of CPU over size", (found * 1000.0).round() / 1000.0, (most, ""));
    Some(row)
}
