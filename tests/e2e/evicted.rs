//! VMs are taken while their nodes are in use: the jobs are requeued, and run again.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::{Cluster, ClusterSpec};

use crate::story::{
    CYCLE, check, end, holds_end, passes_until, power_down_idle, restarts, spec, told,
    vms_grow_old, waiting_job,
};

pub fn spot(name: &str, nodes: u32, policy: &str) -> ClusterSpec {
    let mut spec = spec(name, nodes);
    // slurmctld itself would notice that slurmd is dead, after minutes.
    spec.slurmd_timeout = Duration::from_secs(900);
    spec.nodeset_lines =
        vec!["priority = \"spot\"".to_owned(), format!("eviction_policy = \"{policy}\"")];
    spec
}

/// One VM of a running job of two nodes is taken; the job runs again and completes.
fn story(cluster: &Cluster) -> Result<()> {
    cluster.emulator().set_graph_lag(Duration::ZERO)?;
    let (script, go_on) = waiting_job(cluster);
    let job = cluster.sbatch(&["-N2", "--requeue"], &script)?;
    cluster.wait_for_job(CYCLE, job, "RUNNING")?;
    vms_grow_old(cluster)?;
    let taken = cluster.emulator().vms()?.first().map(|vm| vm.name.clone());
    let Some(taken) = taken else { anyhow::bail!("a job runs without VMs") };
    cluster.emulator().evict(&taken)?;
    passes_until(cluster, "a pass to give the node back", |report| {
        Ok(report["lines"].to_string().contains("VmIsLost"))
    })?;
    cluster
        .wait_for(CYCLE, "the job to be requeued", || Ok(cluster.job_state(job)? != "RUNNING"))?;
    let holds = cluster.run_program("azslurm-sync", &["--json", "hold", "list"])?;
    let holds: serde_json::Value = serde_json::from_slice(&holds.stdout)?;
    check(cluster, &format!("Spot is held: {holds}"), holds[0]["code"] == "Evicted")?;
    holds_end(cluster)?;
    fs::write(&go_on, "")?;
    passes_until(cluster, "the job to be completed", |_| {
        Ok(cluster.job_state(job)? == "COMPLETED")
    })?;
    let output = cluster.job_output(job).context("the job has no output")?;
    ensure!(output.contains("began 1") && output.contains("done"), "it ran again: {output}");
    check(
        cluster,
        "the taken VM is gone",
        !cluster.emulator().vms()?.iter().any(|vm| vm.name == taken),
    )?;
    end(cluster)
}

#[test]
fn a_job_runs_again_after_an_eviction_that_deallocates() -> Result<()> {
    story(&Cluster::start(&spot("evict-off", 2, "deallocate"))?)
}

#[test]
fn a_job_runs_again_after_an_eviction_that_deletes() -> Result<()> {
    story(&Cluster::start(&spot("evict-del", 2, "delete"))?)
}

const MANY: u32 = 60;

/// Every other VM of 60 that run tasks of one array is taken within a second.
#[test]
fn thirty_of_sixty_are_evicted_at_once_and_their_tasks_run_again() -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec {
        suspend_time: Duration::from_secs(600),
        ..spot("evict-many", MANY, "deallocate")
    })?;
    let (script, go_on) = waiting_job(&cluster);
    let tasks = format!("--array=1-{MANY}");
    let array = cluster.sbatch(&["-N1", "--requeue", &tasks], &script)?;
    let are = |state: &str| -> Result<usize> {
        Ok(cluster.task_states(array)?.iter().filter(|seen| *seen == state).count())
    };
    cluster.wait_for(CYCLE, "all tasks to run", || Ok(are("RUNNING")? == MANY as usize))?;
    cluster.emulator().reset_calls()?;
    let vms = cluster.emulator().vms()?;
    let taken: Vec<&str> = vms.iter().step_by(2).map(|vm| vm.name.as_str()).collect();
    for vm in &taken {
        cluster.emulator().evict(vm)?;
    }
    let mut lost = BTreeSet::new();
    passes_until(&cluster, "passes to give all nodes back", |report| {
        let lines = report["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lines = lines.iter().filter(|line| line["reason"] == "VmIsLost");
        lost.extend(lines.filter_map(|line| line["node"].as_str().map(str::to_owned)));
        Ok(lost.len() == taken.len())
    })?;
    // Two calls for all that a pass finds, and SuspendProgram is asked once or twice.
    let calls = told(&cluster, "power_down_force");
    check(&cluster, &format!("slurmctld is told in few calls: {calls}"), calls <= 4)?;
    cluster.wait_for(CYCLE, "the tasks to be requeued", || {
        Ok(restarts(&cluster, array)? as usize == taken.len() && are("COMPLETING")? == 0)
    })?;
    check(&cluster, "the others run on", are("RUNNING")? >= MANY as usize - taken.len())?;
    holds_end(&cluster)?;
    fs::write(&go_on, "")?;
    passes_until(
        &cluster,
        "all tasks to be completed",
        |_| Ok(are("COMPLETED")? == MANY as usize),
    )?;
    check(
        &cluster,
        "no task was requeued twice",
        restarts(&cluster, array)? as usize == taken.len(),
    )?;
    power_down_idle(&cluster)?;
    end(&cluster)?;
    // For each VM (the tasks may have needed 30 new ones) a PUT, a DELETE, and looks at both.
    let calls = cluster.emulator().calls()?;
    let is_throttled = calls.by.iter().any(|call| call.status == 429);
    let is_spare = !is_throttled && calls.total < u64::from(MANY + MANY / 2) * 6;
    check(&cluster, &format!("Azure is asked sparingly: {calls:?}"), is_spare)
}
