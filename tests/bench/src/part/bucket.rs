//! A thousand creates under Resource Manager's real buckets.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Bench;
use crate::bed::{Bed, Wanted, at};
use crate::row::Row;

const VMS: u64 = 1000;
/// Writes of one principal and subscription: a full bucket, and what comes back (FACTS §3.1).
const FULL: f64 = 200.0;
const PER_SECOND: f64 = 10.0;
const SHARE_MAX: f64 = 1.03;

/// One row.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let wanted = Wanted { is_limited: true, ..Wanted::nodes(u32::try_from(VMS)?) };
    let bed = Bed::warm(bench.programs, &wanted)?;
    let since = bed.log_length()?;
    let mut row = Row::new("creates, buckets", VMS);
    row.cost = Some(bed.run("azslurm-resume", &[&format!("n[1-{VMS}]")])?);
    row.calls = Some(bed.emulator.calls()?.total);
    let log = bed.log_since(since)?;
    let is_put = |call: &&Value| call["method"] == "PUT" && call["status"] == 201;
    let times: Vec<i64> = log.iter().filter(is_put).map(at).collect::<Result<_>>()?;
    let (first, last) = (times.iter().min(), times.iter().max());
    let took = (last.context("no PUT")? - first.context("no PUT")?) as f64 / 1000.0;
    let bound = (VMS as f64 - FULL) / PER_SECOND;
    row.judge("first to last PUT, over the bound", took / bound, (SHARE_MAX, "times"));
    let refused = log.iter().filter(|call| call["status"] == 429).count();
    row.judge("429s", refused as f64, (0.0, ""));
    row.note(format!("{took:.1} s; the bucket alone: {bound:.1} s"));
    Ok(vec![row])
}
