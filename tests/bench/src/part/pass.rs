//! A pass over nodes and VMs in which nothing is to be done.

use anyhow::Result;

use super::{Bench, growth, start};
use crate::bed::{Bed, Wanted};
use crate::measure::{self, Cost, middle};
use crate::replay::Step;
use crate::row::Row;
use crate::stub::Arrived;
use crate::{scontrol, seed};

const RUNS: usize = 5;
const WORDS: [&str; 3] = ["pass", "--wait", "0"];
/// Milliseconds of CPU, by number of nodes.
const CPU_MAX_MS: [(u64, f64); 2] = [(5000, 50.0), (10_000, 100.0)];
const CALLS_MAX: f64 = 14.0;
const RUNS_OF_SLURM_MAX: f64 = 2.0;
const EXPONENT_MAX: f64 = 1.05;
const GROWTH_FROM: u64 = 1000;

/// One row for each size, then how it grows.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let asked = asked(bench)?;
    let mut rows = Vec::new();
    for size in bench.sizes(&[1000, 5000, 10_000]) {
        let nodes = u32::try_from(size)?;
        let bed = Bed::start(bench.programs, &Wanted::nodes(nodes))?;
        seed::run(&bed, nodes)?;
        // The first one learns what is learned once an hour.
        let first = bed.run("azslurm-sync", &WORDS)?;
        let first_calls = bed.emulator.calls()?.total;
        scontrol::take_log(&bed.bin());
        let mut costs = Vec::new();
        for _ in 0..RUNS {
            scontrol::take_log(&bed.bin());
            bed.emulator.reset_calls()?;
            costs.push(bed.run("azslurm-sync", &WORDS)?);
        }
        let mut row = Row::new("pass", size);
        row.cost = middle(costs);
        row.calls = Some(bed.emulator.calls()?.total);
        row.scontrol = Some(scontrol::take_log(&bed.bin()).0);
        row.counts = bed.count("azslurm-sync", &WORDS)?;
        row.bound = bound(&bed, &asked)?;
        let above = row.above_bound().unwrap_or_default();
        row.note(format!(
            "{above:.1} ms above the same pages; the first pass of an hour: {:.1} ms, \
             {first_calls} calls",
            first.cpu_ms
        ));
        if let Some((_, most)) = CPU_MAX_MS.iter().find(|(of, _)| *of == size) {
            row.judge("CPU", row.cost.unwrap_or_default().cpu_ms, (*most, "ms"));
            row.judge("calls", row.calls.unwrap_or_default() as f64, (CALLS_MAX, "calls"));
            let runs = row.scontrol.unwrap_or_default() as f64;
            row.judge("runs of Slurm's clients", runs, (RUNS_OF_SLURM_MAX, ""));
        }
        rows.push(row);
    }
    let grown = growth("pass", &rows, (GROWTH_FROM, EXPONENT_MAX));
    rows.extend(grown);
    Ok(rows)
}

/// What a quiet pass asks of Azure: the second one against a listener that knows no VM.
fn asked(bench: &Bench<'_>) -> Result<Vec<Arrived>> {
    let bed = Bed::start(bench.programs, &Wanted::nodes(10))?;
    let stub = start::stub_for(&bed)?;
    let mut before = 0;
    for _ in 0..2 {
        before = stub.arrived().len();
        // Nodes that slurmctld does not know make its report a bad one, which is none of ours.
        measure::run_whatever(bed.command("azslurm-sync", &WORDS)?)?;
    }
    let mut asked = stub.arrived();
    asked.drain(..before);
    asked.retain(|arrived| !arrived.is_token());
    Ok(asked)
}

fn bound(bed: &Bed, asked: &[Arrived]) -> Result<Option<Cost>> {
    let mut script = bed.script();
    script.steps = asked
        .iter()
        .map(|arrived| {
            let body = Some(arrived.body.clone()).filter(|body| !body.is_empty());
            Step::once(&arrived.method, bed.arm(&arrived.target), body)
        })
        .collect();
    let costs = (0..RUNS).map(|_| script.run(bed.path())).collect::<Result<_>>()?;
    Ok(middle(costs))
}
