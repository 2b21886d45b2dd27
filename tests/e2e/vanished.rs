//! VMs are deleted by somebody else, under running jobs and under an idle node.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use azslurm_test_cluster::{Cluster, ClusterSpec, JobId};
use serde_json::Value;

use crate::story::{
    CYCLE, check, end, passes_until, power_down_idle, restarts, spec, told, vms_grow_old,
    waiting_job,
};

fn are(cluster: &Cluster, jobs: &[JobId], state: &str) -> Result<bool> {
    let states = jobs.iter().map(|job| cluster.task_states(*job));
    let states: Vec<String> = states.collect::<Result<Vec<_>>>()?.concat();
    Ok(states.iter().all(|seen| seen == state))
}

fn hold_count(cluster: &Cluster) -> Result<usize> {
    let holds = cluster.run_program("azslurm-sync", &["--json", "hold", "list"])?;
    let holds: Value = serde_json::from_slice(&holds.stdout)?;
    Ok(holds.as_array().map_or(0, Vec::len))
}

/// A batch job, an exclusive array, a heterogeneous job and one that must not run twice lose VMs in
/// the same moment, and so do an idle node and one that is booting. A task of the array and a part
/// of the heterogeneous job keep theirs.
#[test]
fn jobs_run_again_after_somebody_deleted_vms_under_them_and_under_idle_nodes() -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec {
        cpus: 2,
        suspend_time: Duration::from_secs(600),
        // slurmctld itself would notice that slurmd is dead, after minutes.
        slurmd_timeout: Duration::from_secs(900),
        ..spec("vanished", 8)
    })?;
    let (script, go_on) = waiting_job(&cluster);
    let plain = cluster.sbatch(&["-whpc-001", "-N1", "--requeue"], &script)?;
    let once = cluster.sbatch(&["-whpc-004", "-N1", "--no-requeue"], &script)?;
    cluster.emulator().never_boot(&["hpc-006"])?;
    cluster.scontrol(&["update", "nodename=hpc-[005-006]", "state=power_up"])?;
    let parts = ["-whpc-007", "-N1", "--requeue", ":", "-whpc-008", "-N1"];
    let both = cluster.sbatch(&parts, &script)?;
    let tasks = ["-xhpc-001,hpc-[004-008]", "-N1", "-n1", "--exclusive", "--array=1-2"];
    let array = cluster.sbatch(&[&tasks[..], &["--requeue"]].concat(), &script)?;
    cluster.wait_for(CYCLE, "all jobs to run and a node to be idle", || {
        let is_idle = cluster.node_state("hpc-005")? == "IDLE+CLOUD";
        Ok(is_idle && are(&cluster, &[plain, once, array, both], "RUNNING")?)
    })?;
    vms_grow_old(&cluster)?;
    let taken = ["hpc-001", "hpc-002", "hpc-004", "hpc-005", "hpc-007"];
    for node in taken.iter().chain(&["hpc-006"]) {
        cluster.emulator().vanish(node)?;
    }
    cluster.emulator().never_boot(&[])?;
    passes_until(&cluster, "a pass to give the nodes back", |report| {
        let lines = report["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lost = lines.iter().filter(|line| line["reason"] == "VmIsLost");
        Ok(lost.filter_map(|line| line["node"].as_str()).eq(taken))
    })?;
    check(&cluster, "all are told together, twice", told(&cluster, "power_down_force") == 2)?;
    check(&cluster, "a regular VM that is gone holds nothing", hold_count(&cluster)? == 0)?;
    cluster.wait_for_job(CYCLE, once, "NODE_FAIL")?;
    cluster.wait_for(CYCLE, "the others to be requeued", || {
        Ok(restarts(&cluster, plain)? == 1 && restarts(&cluster, array)? == 1)
    })?;
    cluster.wait_for(CYCLE, "the node that was booting to have another VM", || {
        Ok(cluster.node_state("hpc-006")? == "IDLE+CLOUD")
    })?;
    fs::write(&go_on, "")?;
    passes_until(&cluster, "the jobs to be completed", |_| {
        are(&cluster, &[plain, array, both], "COMPLETED")
    })?;
    let output = cluster.job_output(plain).unwrap_or_default();
    check(&cluster, &output, output.contains("began 1") && output.contains("done"))?;
    check(&cluster, "no task was requeued twice", restarts(&cluster, array)? == 1)?;
    power_down_idle(&cluster)?;
    end(&cluster)
}
