//! How long until all VMs run when a create takes as long as Azure's.

use anyhow::Result;
use serde_json::json;

use super::Bench;
use crate::bed::{Bed, Wanted};
use crate::row::Row;

const VMS: u32 = 100;
/// The median of a create (FACTS §1.4), in seconds.
const CREATE: u32 = 74;
const SCALES: [f64; 2] = [10.0, 1.0];
const POLLS_MAX: f64 = 3.0;

/// One row for each time scale. Azure's pauses between polls are in real time at any of them.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for time_scale in SCALES {
        let wanted = Wanted { time_scale, is_limited: true, ..Wanted::nodes(VMS) };
        let bed = Bed::warm(bench.programs, &wanted)?;
        bed.emulator.set_delays(&json!({ "preset": "real", "vm_create_ms": CREATE * 1000 }))?;
        let mut row = Row::new(&format!("real delays, x{time_scale}"), u64::from(VMS));
        let cost = bed.run("azslurm-resume", &[&format!("n[1-{VMS}]")])?;
        row.cost = Some(cost);
        row.calls = Some(bed.emulator.calls()?.total);
        let polls = bed.calls("GET", "/operations/")? as f64 / f64::from(VMS);
        if time_scale == 1.0 {
            row.judge("polls of each operation", polls, (POLLS_MAX, "polls"));
        }
        let azure = f64::from(CREATE) / time_scale;
        row.note(format!(
            "Azure alone: {azure:.1} s; all known to run after {:.1} s",
            cost.wall_ms / 1000.0
        ));
        rows.push(row);
    }
    Ok(rows)
}
