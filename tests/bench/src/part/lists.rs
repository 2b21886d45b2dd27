//! Host lists, in and out.

use std::time::Instant;

use anyhow::Result;
use azslurm_core::hostlist::{expand, fold};

use super::Bench;
use crate::measure::Cost;
use crate::row::Row;

/// The fastest of so many counts: the others were disturbed.
const RUNS: usize = 30;
const MAX_MS: f64 = 0.3;
const JUDGED: u64 = 10_000;

/// Two rows for each size.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in bench.sizes(&[10_000, 100_000]) {
        // Slurm allows 65,536 numbers in one range.
        let half = size / 2;
        let text = format!("a[1-{half}],b[1-{half}]");
        let names = expand(&text)?;
        anyhow::ensure!(names.len() as u64 == size && fold(&names) == text, "the list is wrong");
        let in_one = fastest(|| expand(&text).map_or(0, |names| names.len()));
        let out = fastest(|| fold(&names).len());
        let bound = fastest(|| {
            let names = (1..=size).map(|number| format!("n{number}"));
            names.collect::<Vec<String>>().len()
        });
        for (work, cost) in [("expand", in_one), ("fold", out)] {
            let mut row = Row::new(work, size);
            (row.cost, row.bound) = (Some(cost), Some(bound));
            if size == JUDGED {
                row.judge("time", cost.wall_ms, (MAX_MS, "ms"));
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

fn fastest(mut work: impl FnMut() -> usize) -> Cost {
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let begun = Instant::now();
        std::hint::black_box(work());
        least = least.min(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Cost { cpu_ms: least, wall_ms: least, ..Cost::default() }
}
