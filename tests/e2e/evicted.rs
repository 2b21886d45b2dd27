//! VMs are taken while their nodes are in use: the jobs are requeued, and run again.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::{Cluster, ClusterSpec};

use crate::story::{CYCLE, check, end, holds_end, passes_until, spec};

/// A job that runs until a file is there, and says how often it was begun before.
fn waiting_job(cluster: &Cluster) -> (String, PathBuf) {
    let go_on = cluster.dir().join("go-on");
    let wait = format!("while [ ! -e {} ]; do sleep 1; done", go_on.display());
    let script = format!("#!/bin/bash\necho began $SLURM_RESTART_COUNT\n{wait}\necho done\n");
    (script, go_on)
}

fn spot(name: &str, nodes: u32, policy: &str) -> ClusterSpec {
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
