//! The quiet time: nothing is disturbed any more, and passes made one after the other bring
//! everything to rest. What the run cannot wait for (holds of minutes to hours) is made to pass.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use azslurm_test_cluster::interrupted;
use serde_json::Value;

use crate::bed::Bed;
use crate::diary::Diary;
use crate::jobs;
use crate::trouble::{holds_end, puts_settle, things_grow_old};

/// Between two passes: Azure counts polls of one VM by the minute.
const PAUSE: Duration = Duration::from_secs(4);
/// Enough for a node that slurmctld calls dead (ten minutes) and one more life of it.
const PASSES_MAX: u32 = 180;
/// Holds are ended so often: jobs that wait for them are tried again.
const HOLDS_END_EVERY: u32 = 8;
/// After so many passes no driver of the disturbed time is there any more: three quarters of
/// ResumeTimeout, and a margin.
const SETTLES_AFTER: u32 = 20;

/// How it ended.
#[derive(Debug)]
pub struct Rest {
    /// Passes until rest.
    pub passes: u32,
    /// Why it is no rest.
    pub unrest: Option<String>,
}

impl Rest {
    /// What is wrong with it.
    pub fn findings(&self) -> Vec<String> {
        let text = |unrest: &String| {
            format!("after {} passes without any trouble there is no rest: {unrest}", self.passes)
        };
        self.unrest.iter().map(text).collect()
    }
}

/// Passes until nothing is left to do.
pub fn wait(bed: &Bed, diary: &mut Diary) -> Result<Rest> {
    diary.say("the quiet time begins");
    println!("chaos: the quiet time begins: passes until nothing is left to do");
    let began = Instant::now();
    let mut unrest = None;
    for passes in 1..=PASSES_MAX {
        if interrupted() {
            bail!("interrupted");
        }
        if passes % HOLDS_END_EVERY == 1 {
            let_holds_end(bed, diary);
        }
        if passes % SETTLES_AFTER == 0 {
            puts_settle(bed)?;
            things_grow_old(bed)?;
        }
        jobs::release_held(bed, diary)?;
        let report = pass(bed)?;
        unrest = why_not_at_rest(bed, &report)?;
        diary.say(&format!("pass {passes}: {unrest:?} {report}"));
        if unrest.is_none() && passes >= SETTLES_AFTER {
            println!("chaos: at rest after {passes} passes, {} s", began.elapsed().as_secs());
            return Ok(Rest { passes, unrest: None });
        }
        if passes % 5 == 0 {
            let text = unrest.as_deref().unwrap_or("at rest; looking once more");
            println!("chaos: pass {passes}: {text}");
        }
        thread::sleep(PAUSE);
    }
    Ok(Rest { passes: PASSES_MAX, unrest })
}

fn let_holds_end(bed: &Bed, diary: &mut Diary) {
    // A ledger that nobody has made yet has no holds.
    if let Err(error) = holds_end(bed) {
        diary.miss(&format!("end the holds: {error:#}"));
    }
}

fn pass(bed: &Bed) -> Result<Value> {
    let output = bed.cluster.run_program("azslurm-sync", &["--json", "pass", "--wait", "5"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("azslurm-sync ended with {}: {text:?} {said:?}", output.status)
    })
}

fn why_not_at_rest(bed: &Bed, report: &Value) -> Result<Option<String>> {
    let jobs = jobs::states(bed)?;
    let open: Vec<String> = jobs
        .iter()
        .filter(|(_, _, state)| !jobs::is_ended(state))
        .map(|(id, _, state)| format!("{id} {state}"))
        .collect();
    if !open.is_empty() {
        return Ok(Some(format!("jobs: {}", open.join(", "))));
    }
    let states = bed.cluster.node_states()?;
    let on: Vec<String> = states
        .iter()
        .filter(|(_, state)| !(state.starts_with("IDLE") && state.contains("POWERED_DOWN")))
        .map(|(node, state)| format!("{node} {state}"))
        .collect();
    if !on.is_empty() {
        return Ok(Some(format!("nodes: {}", on.join(", "))));
    }
    let counts = ["left", "vms", "orphans_left"].map(|key| (key, &report[key]));
    let is_zero = |value: &Value| value.as_u64() == Some(0);
    let not: Vec<String> = counts
        .iter()
        .filter(|(_, value)| !is_zero(value))
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    Ok((!not.is_empty()).then(|| format!("the pass: {}", not.join(", "))))
}
