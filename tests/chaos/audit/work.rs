//! What became of jobs.

use std::collections::BTreeMap;

use anyhow::Result;
use azslurm_test_cluster::Resource;

use crate::bed::Bed;
use crate::diary::{Diary, Seconds};
use crate::evidence::{self, Line, What};
use crate::jobs::{self, Job, Jobs};

/// slurmctld saves what it has confirmed within seconds; one that is killed before forgets it.
const SAVED_AFTER: Seconds = 15.0;
/// What slurmctld did before it went away, or finds out after it is back, shows within this.
const AROUND: Seconds = 90.0;

/// Jobs that are not as they should be.
pub fn findings(bed: &Bed, jobs: &Jobs, diary: &Diary, lines: &[Line]) -> Result<Vec<String>> {
    let states: BTreeMap<String, (u32, String)> =
        jobs::states(bed)?.into_iter().map(|(id, name, state)| (name, (id.0, state))).collect();
    let mut findings = evidence::used_after_its_successor(lines);
    for job in &jobs.all {
        match states.get(&job.name) {
            Some((id, state)) => findings.extend(ended_wrong(bed, job, (*id, state), lines)),
            None => findings.extend(lost(job, diary)),
        }
    }
    Ok(findings)
}

fn ended_wrong(bed: &Bed, job: &Job, (id, state): (u32, &str), lines: &[Line]) -> Option<String> {
    let is_done = lines.iter().any(|line| line.job == id && line.what == What::Done);
    match state {
        "COMPLETED" if is_done => None,
        "COMPLETED" => Some(format!("job {id} ({}) is COMPLETED and never ran", job.name)),
        "CANCELLED" if job.is_cancelled => None,
        _ => {
            let record = bed.cluster.scontrol(&["-a", "show", "job", &id.to_string(), "-o"]);
            let record = record.unwrap_or_default();
            Some(format!("job {id} ({}) ended {state}: {}", job.name, record.trim()))
        }
    }
}

/// A job that slurmctld has confirmed and does not know.
fn lost(job: &Job, diary: &Diary) -> Option<String> {
    let id = job.id?;
    let was_saved = |killed: &Seconds| !(job.at <= *killed && *killed <= job.at + SAVED_AFTER);
    let is_excused = diary.controller_killed.iter().any(|killed| !was_saved(killed));
    (!is_excused).then(|| format!("job {id} ({}) is lost: slurmctld does not know it", job.name))
}

/// Tries of jobs that ended before their time although nobody had taken a VM of theirs and
/// slurmctld was itself.
pub fn interrupted(diary: &Diary, lines: &[Line], resources: &[Resource]) -> Vec<String> {
    let tries = evidence::tries(lines);
    let mut findings = Vec::new();
    for one in tries.iter().filter(|one| !one.is_done) {
        let vms = || resources.iter().filter(|seen| one.vms.contains(&seen.name));
        let ended = vms().filter_map(|vm| vm.deleted_at.as_deref().and_then(seconds));
        let until = ended.fold(one.began, Seconds::max) + AROUND;
        let is_within = |at: &Seconds| one.began - AROUND <= *at && *at <= until;
        // Not every VM of a job has shown itself.
        let is_taken = diary.taken.values().any(is_within);
        let was_away = diary
            .controller_away
            .iter()
            .any(|(from, to)| *from <= until && one.began - AROUND <= *to);
        let has_later =
            tries.iter().any(|other| other.job == one.job && other.restart > one.restart);
        if has_later && !is_taken && !was_away {
            let (job, restart) = (one.job, one.restart);
            let vms = one.vms.join(" ");
            findings.push(format!(
                "job {job} was interrupted in its try {restart} on {vms}, and the run took nothing \
                 and let slurmctld be"
            ));
        }
    }
    findings
}

fn seconds(text: &str) -> Option<Seconds> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(at.as_millisecond() as Seconds / 1000.0)
}

/// The run in one line.
pub fn summary(bed: &Bed, jobs: &Jobs, lines: &[Line], resources: &[Resource]) -> Result<String> {
    let states = jobs::states(bed)?;
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    for (.., state) in &states {
        *count.entry(state).or_default() += 1;
    }
    let count: Vec<String> = count.iter().map(|(state, jobs)| format!("{jobs} {state}")).collect();
    let vms = resources.iter().filter(|one| one.is_a("virtualMachines")).count();
    let vms = vms.saturating_sub(2);
    let tries = evidence::tries(lines).len();
    Ok(format!(
        "{} jobs submitted, {} known to slurmctld ({}), {tries} tries ran, {vms} VMs were made",
        jobs.all.len(),
        states.len(),
        count.join(", "),
    ))
}
