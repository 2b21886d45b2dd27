//! What became of jobs.

use std::collections::BTreeMap;

use anyhow::Result;
use azslurm_test_cluster::Resource;

use crate::bed::Bed;
use crate::diary::{Diary, Seconds};
use crate::evidence::{self, Line, Try, What};
use crate::jobs::{self, Job, Jobs};

/// slurmctld saves what it has confirmed within seconds; one that is killed before forgets it.
const SAVED_AFTER: Seconds = 15.0;
/// What happens to a job's nodes while they boot, before it begins, shows after it has begun.
const AROUND: Seconds = 60.0;

/// How many nodes each job wants, by its number.
pub type NodesOf = BTreeMap<u32, u64>;

/// The same of the run's jobs.
pub fn nodes_of(jobs: &Jobs) -> NodesOf {
    jobs.all.iter().filter_map(|job| Some((job.id?.0, job.nodes))).collect()
}

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
    let is_unsaved = |killed: &Seconds| job.at <= *killed && *killed <= job.at + SAVED_AFTER;
    let is_excused = diary.controller_killed.iter().any(is_unsaved);
    (!is_excused).then(|| format!("job {id} ({}) is lost: slurmctld does not know it", job.name))
}

/// Tries of jobs that ended before their time although the run had taken no VM of theirs, and
/// slurmctld has forgotten nothing.
pub fn interrupted(nodes: &NodesOf, diary: &Diary, lines: &[Line]) -> Vec<String> {
    let tries = evidence::tries(lines);
    let next = |one: &Try| {
        let mut later = tries.iter().filter(|other| other.job == one.job);
        later.find(|other| other.restart > one.restart).map(|other| other.began)
    };
    let mut findings = Vec::new();
    for one in tries.iter().filter(|one| !one.is_done) {
        // One that has no next one was cancelled, or is a finding as a job.
        let Some(until) = next(one) else { continue };
        let is_within = |at: &Seconds| one.began - AROUND <= *at && *at <= until;
        if diary.controller_killed.iter().any(is_within) || is_taken(one, nodes, diary, until) {
            continue;
        }
        findings.push(format!(
            "job {} was interrupted in its try {} on {}, of which the run had taken nothing",
            one.job,
            one.restart,
            one.vms.join(" "),
        ));
    }
    findings
}

/// Whether the run took a VM of it, or may have: not every VM of a job has shown itself.
fn is_taken(one: &Try, nodes: &NodesOf, diary: &Diary, until: Seconds) -> bool {
    let are_all_known = nodes.get(&one.job) == Some(&(one.vms.len() as u64));
    let is_its = |(vm, at): (&String, &Seconds)| {
        *at <= until && (one.vms.contains(vm) || (!are_all_known && one.began - AROUND <= *at))
    };
    diary.taken.iter().any(is_its)
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "began 1 0 n1 n1-0a 1000\nbegan 1 1 n1 n1-0b 1100\ndone 1 1 n1 n1-0b 1120\n\
        began 2 0 n2 n2-0a 1000";

    fn diary() -> (tempfile::TempDir, Diary) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        let diary = Diary::begin(folder.path()).unwrap();
        (folder, diary)
    }

    #[test]
    fn a_job_that_was_interrupted_for_no_reason_is_a_finding() {
        let lines = evidence::lines(TEXT);
        let (_folder, mut diary) = diary();
        let nodes = NodesOf::from([(1, 1), (2, 1)]);
        let found = interrupted(&nodes, &diary, &lines);
        assert!(found.len() == 1 && found[0].contains("job 1 was interrupted"), "{found:?}");
        diary.taken.insert("n9-0a".to_owned(), 1010.0);
        assert_eq!(interrupted(&nodes, &diary, &lines).len(), 1, "another VM");
        let wider = NodesOf::from([(1, 2)]);
        assert_eq!(interrupted(&wider, &diary, &lines).len(), 0, "it may have been its second");
        diary.taken.insert("n1-0a".to_owned(), 1010.0);
        assert_eq!(interrupted(&nodes, &diary, &lines).len(), 0);
    }

    #[test]
    fn a_slurmctld_that_was_killed_excuses_what_it_forgets() {
        let lines = evidence::lines(TEXT);
        let (_folder, mut diary) = diary();
        diary.controller_killed.push(2000.0);
        assert_eq!(interrupted(&NodesOf::from([(1, 1)]), &diary, &lines).len(), 1, "later");
        diary.controller_killed.push(1050.0);
        assert_eq!(interrupted(&NodesOf::from([(1, 1)]), &diary, &lines).len(), 0);
    }
}
