//! Many programs at once on one ledger.

use anyhow::{Result, anyhow};

use super::{Bench, start};
use crate::bed::{Bed, Wanted};
use crate::measure::{self, Cost};
use crate::replay::Step;
use crate::row::Row;

const PROGRAMS: u64 = 50;
const NODES_EACH: u64 = 20;

/// One row.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let nodes = PROGRAMS * NODES_EACH;
    let wanted = Wanted::nodes(u32::try_from(nodes)?);
    let bed = Bed::warm(bench.programs, &wanted)?;
    let commands = (0..PROGRAMS).map(|number| {
        let first = number * NODES_EACH + 1;
        bed.command("azslurm-resume", &[&format!("n[{first}-{}]", first + NODES_EACH - 1)])
    });
    let commands: Vec<_> = commands.collect::<Result<_>>()?;
    let costs: Vec<Cost> = std::thread::scope(|scope| {
        let runs: Vec<_> =
            commands.into_iter().map(|command| scope.spawn(|| measure::run(command))).collect();
        let ended = runs.into_iter().map(|run| run.join().map_err(|_| anyhow!("a thread fell"))?);
        ended.collect::<Result<_>>()
    })?;
    let puts = bed.calls("PUT", "/virtualMachines/")?;
    anyhow::ensure!(puts == nodes, "{puts} PUTs for {nodes} nodes");
    let most = |of: fn(&Cost) -> f64| costs.iter().map(of).fold(0.0, f64::max);
    let mut row = Row::new("50 programs", nodes);
    row.cost = Some(Cost {
        cpu_ms: costs.iter().map(|cost| cost.cpu_ms).sum(),
        kernel_ms: costs.iter().map(|cost| cost.kernel_ms).sum(),
        wall_ms: most(|cost| cost.wall_ms),
        front_ms: most(|cost| cost.front_ms),
        rss_mib: most(|cost| cost.rss_mib),
        ..Cost::default()
    });
    row.calls = Some(bed.emulator.calls()?.total);
    row.note(format!("the longest front took {:.0} ms; no node twice", most(|cost| cost.front_ms)));
    let (path, body) = start::first_put(bench)?;
    let fresh = Bed::start(bench.programs, &wanted)?;
    let mut script = fresh.script();
    let each = (1..=nodes).map(|number| (format!("n{number}"), format!("n{number}-0minimal")));
    script.steps = vec![Step {
        each: each.collect(),
        polls: bed.calls("GET", "/operations/")?.div_ceil(nodes),
        poll_after_ms: 1000,
        ..Step::once("PUT", fresh.arm(&path), Some(body))
    }];
    row.bound = Some(script.run(fresh.path())?);
    Ok(vec![row])
}
