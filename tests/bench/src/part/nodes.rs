//! Resume and suspend of 1 to 10,000 nodes.

use anyhow::{Context as _, Result};

use super::{Bench, growth, start};
use crate::bed::{Bed, Wanted, at};
use crate::measure::{Cost, middle};
use crate::replay::Step;
use crate::row::Row;
use crate::strace::Counts;

/// The large ones are long enough to be measured once.
const RUNS: usize = 3;
const RUNS_OF_MANY: usize = 1;
const MANY: u64 = 10_000;
/// The size that promises are about.
const JUDGED: u64 = 1000;
const ABOVE_MAX_MS: f64 = 60.0;
const RSS_MAX_MIB: f64 = 20.0;
const TRANSACTIONS_MAX: f64 = 20.0;
const CALLS_BESIDE_MAX: f64 = 4.0;
const POLLS_MAX: f64 = 3.0;
const FIRST_DELETE_MAX_MS: f64 = 20.0;
const EXPONENT_MAX: f64 = 1.05;
/// Smaller ones are what a start costs.
const GROWTH_FROM: u64 = 100;

/// What one resume and the suspend after it came to.
struct Once {
    resume: Cost,
    suspend: Cost,
    calls: (u64, u64),
    polls: u64,
    scontrol: (u64, u64),
    transactions: (u64, u64),
    first_delete_ms: f64,
}

/// Rows of both works, then how they grow.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let put = start::first_put(bench)?;
    let mut rows = Vec::new();
    for size in bench.sizes(&[1, 100, 1000, 10_000]) {
        let runs = if size < MANY { RUNS } else { RUNS_OF_MANY };
        let ours: Vec<Once> = (0..runs).map(|_| once(bench, size)).collect::<Result<_>>()?;
        let last = ours.last().context("no run")?;
        let polls = last.polls.div_ceil(size);
        let bounds: Vec<(Cost, Cost)> =
            (0..runs).map(|_| bound(bench, (size, polls), &put)).collect::<Result<_>>()?;
        let counts = counts(bench, size)?;
        let mut resume = Row::new("resume", size);
        resume.cost = middle(ours.iter().map(|once| once.resume).collect());
        resume.bound = middle(bounds.iter().map(|(resume, _)| *resume).collect());
        (resume.calls, resume.scontrol) = (Some(last.calls.0), Some(last.scontrol.0));
        let mut suspend = Row::new("suspend", size);
        suspend.cost = middle(ours.iter().map(|once| once.suspend).collect());
        suspend.bound = middle(bounds.iter().map(|(_, suspend)| *suspend).collect());
        (suspend.calls, suspend.scontrol) = (Some(last.calls.1), Some(last.scontrol.1));
        (resume.counts, suspend.counts) = counts.unzip();
        for row in [&mut resume, &mut suspend] {
            if let Some(counts) = &row.counts {
                let text = format!("connections begun: {}", counts.connections);
                row.note(text);
            }
        }
        if size == JUDGED {
            judge(&mut resume, last, (last.calls.0, last.transactions.0));
            judge(&mut suspend, last, (last.calls.1, last.transactions.1));
            let polls = last.polls as f64 / size as f64;
            resume.judge("polls of each operation", polls, (POLLS_MAX, "polls"));
            let firsts = ours.iter().map(|once| once.first_delete_ms);
            let first = firsts.fold(f64::INFINITY, f64::min);
            suspend.judge("start to first DELETE", first, (FIRST_DELETE_MAX_MS, "ms"));
        }
        rows.extend([resume, suspend]);
    }
    let grown = ["resume", "suspend"].map(|work| growth(work, &rows, (GROWTH_FROM, EXPONENT_MAX)));
    rows.extend(grown.into_iter().flatten());
    Ok(rows)
}

fn judge(row: &mut Row, once: &Once, (calls, transactions): (u64, u64)) {
    let polls = if row.work == "resume" { once.polls } else { 0 };
    if let Some(above) = row.above_bound() {
        row.judge("CPU above the minimal client's", above, (ABOVE_MAX_MS, "ms"));
    }
    let rss = row.cost.map_or(0.0, |cost| cost.rss_mib);
    row.judge("memory", rss, (RSS_MAX_MIB, "MiB"));
    row.judge("transactions of the driver", transactions as f64, (TRANSACTIONS_MAX, ""));
    let most = JUDGED as f64 + CALLS_BESIDE_MAX;
    row.judge("calls beside polls", (calls - polls) as f64, (most, "calls"));
}

fn list(size: u64) -> String {
    if size == 1 { "n1".to_owned() } else { format!("n[1-{size}]") }
}

fn bed(bench: &Bench<'_>, size: u64) -> Result<Bed> {
    Bed::warm(bench.programs, &Wanted::nodes(u32::try_from(size)?))
}

fn once(bench: &Bench<'_>, size: u64) -> Result<Once> {
    let (bed, nodes) = (bed(bench, size)?, list(size));
    let resume = bed.run("azslurm-resume", &[&nodes])?;
    let puts = bed.calls("PUT", "/virtualMachines/")?;
    anyhow::ensure!(puts == size, "{puts} PUTs for {size} nodes");
    let polls = bed.calls("GET", "/operations/")?;
    let calls = bed.emulator.calls()?.total;
    let scontrol = crate::scontrol::take_log(&bed.bin()).0;
    let transactions = transactions(&bed)?;
    bed.emulator.reset_calls()?;
    let since = bed.log_length()?;
    let suspend = bed.run("azslurm-suspend", &[&nodes])?;
    let deletes = bed.calls("DELETE", "/virtualMachines/")?;
    anyhow::ensure!(deletes == size, "{deletes} DELETEs for {size} nodes");
    let first = bed.log_since(since)?.into_iter().find(|call| call["method"] == "DELETE");
    let first = at(&first.context("no DELETE")?)?;
    Ok(Once {
        resume,
        suspend,
        calls: (calls, bed.emulator.calls()?.total),
        polls,
        scontrol: (scontrol, crate::scontrol::take_log(&bed.bin()).0),
        transactions: (transactions, self::transactions(&bed)?),
        first_delete_ms: first as f64 - suspend.began_at_ms,
    })
}

/// What the latest driver says of itself in the log.
fn transactions(bed: &Bed) -> Result<u64> {
    let log = std::fs::read_to_string(bed.path().join("azslurm.log"))?;
    let found = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("transactions=")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    found.context("no driver has said how many transactions it made")
}

/// The same PUTs with their polls, and the same DELETEs, without anything around them.
fn bound(
    bench: &Bench<'_>,
    (size, polls): (u64, u64),
    (path, body): &(String, String),
) -> Result<(Cost, Cost)> {
    let bed = Bed::start(bench.programs, &Wanted::nodes(u32::try_from(size)?))?;
    let name = |number: u64| (format!("n{number}"), format!("n{number}-0minimal"));
    let each: Vec<(String, String)> = (1..=size).map(name).collect();
    let mut script = bed.script();
    script.steps = vec![Step {
        each,
        polls,
        poll_after_ms: 1000,
        ..Step::once("PUT", bed.arm(path), Some(body.clone()))
    }];
    let resume = script.run(bed.path())?;
    let puts = bed.calls("PUT", "/virtualMachines/")?;
    anyhow::ensure!(puts == size, "{puts} PUTs of the minimal client for {size} nodes");
    let step = &mut script.steps[0];
    *step = Step {
        each: std::mem::take(&mut step.each),
        ..Step::once("DELETE", format!("{}&forceDeletion=true", bed.arm(path)), None)
    };
    Ok((resume, script.run(bed.path())?))
}

/// `None` without strace, and for many nodes: under it they take minutes, and a tenth of them has
/// a tenth of the counts.
fn counts(bench: &Bench<'_>, size: u64) -> Result<Option<(Counts, Counts)>> {
    if size >= MANY {
        return Ok(None);
    }
    let (bed, nodes) = (bed(bench, size)?, list(size));
    let resume = bed.count("azslurm-resume", &[&nodes])?;
    Ok(resume.zip(bed.count("azslurm-suspend", &[&nodes])?))
}
