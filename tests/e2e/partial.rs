//! What can be made is made; what cannot is told to slurmctld with its reason, and comes when there
//! is room.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::Result;
use azslurm_test_cluster::{Cluster, JobId};
use serde_json::json;

use crate::story::{
    CYCLE, SOON, admin_comments, check, down_for, end, holds_end, pass, passes_until, restarts,
    spec, vm_calls,
};

const ONE: &str = "#!/bin/bash\necho ran on $SLURMD_NODENAME\nsleep 15\n";

#[test]
fn five_of_eight_jobs_that_fit_run_and_the_others_are_told_why() -> Result<()> {
    let cluster = Cluster::start(&spec("partial", 12))?;
    cluster.emulator().set_capacity("westeurope", "Standard_D4s_v5", Some(5))?;
    let job = cluster.sbatch(&["-N1", "--array=1-8", "--requeue"], ONE)?;
    // Three that were refused, and four that would be: a requeued job must not choose them.
    cluster.wait_for(SOON, "seven nodes to be down with a reason", || {
        Ok(down_for(&cluster, "azslurm: capacity")?.len() == 7)
    })?;
    check(&cluster, "each was requeued once", restarts(&cluster, job)? == 3)?;
    let comments = admin_comments(&cluster, job)?;
    let says = |comment: &&String| {
        let is_ours = comment.starts_with("waits for hpc-0");
        is_ours && comment.contains("azslurm: capacity: ") && comment.contains(", next try 2")
    };
    let told = comments.iter().filter(says).count();
    check(&cluster, &format!("three jobs say why they wait: {comments:?}"), told == 3)?;
    cluster.wait_for(CYCLE, "five tasks to run or be done", || {
        let states = cluster.task_states(job)?;
        Ok(states.iter().filter(|state| *state == "RUNNING" || *state == "COMPLETED").count() >= 5)
    })?;
    let puts = vm_calls(&cluster, "PUT")?;
    check(&cluster, &format!("a held place is not asked again: {puts} PUTs"), puts <= 8)?;
    let vms = cluster.emulator().vms()?;
    check(&cluster, "no failed VM is left", vms.len() <= 5)?;
    pass(&cluster)?;
    let down = down_for(&cluster, "azslurm: capacity")?;
    check(&cluster, &format!("a pass frees none of them: {down:?}"), down.len() == 7)?;
    // Room comes back, and the time of the hold passes.
    cluster.emulator().set_capacity("westeurope", "Standard_D4s_v5", None)?;
    holds_end(&cluster)?;
    passes_until(&cluster, "the nodes to be free", |_| {
        Ok(down_for(&cluster, "azslurm")?.is_empty())
    })?;
    passes_until(&cluster, "all eight tasks to be completed", |_| {
        let states = cluster.task_states(job)?;
        Ok(states.len() == 8 && states.iter().all(|state| state == "COMPLETED"))
    })?;
    end(&cluster)
}

#[test]
fn whoever_sits_before_a_terminal_is_told_why() -> Result<()> {
    let cluster = Cluster::start(&spec("terminal", 2))?;
    cluster.emulator().set_capacity("westeurope", "Standard_D4s_v5", Some(0))?;
    let home = cluster.dir().join("home");
    let terminal = home.join("srun.txt");
    let written = fs::File::create(&terminal)?;
    let mut srun = Command::new("srun")
        .args(["-N1", "hostname"])
        .env("SLURM_CONF", cluster.slurm_conf())
        .current_dir(&home)
        .stdin(Stdio::null())
        .stdout(written.try_clone()?)
        .stderr(written)
        .spawn()?;
    cluster.wait_for(SOON, "both nodes to be down with a reason", || {
        Ok(down_for(&cluster, "azslurm: capacity")?.len() == 2)
    })?;
    // slurmctld of 22.05 ends an srun whose node is set down, so that it is told before.
    cluster.wait_for(SOON, "srun to end", || Ok(srun.try_wait()?.is_some()))?;
    let said = fs::read_to_string(&terminal)?;
    let is_told = said.contains("waits for hpc-001: azslurm: capacity: SkuNotAvailable");
    check(&cluster, &said, is_told && said.contains(", next try 2"))?;
    let comments = admin_comments(&cluster, JobId(1))?;
    let is_told = comments.len() == 1 && comments[0].contains("azslurm: capacity: SkuNotAv");
    check(&cluster, &format!("its job says why: {comments:?}"), is_told)?;
    holds_end(&cluster)?;
    end(&cluster)
}

#[test]
fn a_vm_that_fails_late_is_deleted_and_its_node_told() -> Result<()> {
    let cluster = Cluster::start(&spec("late", 1))?;
    let late = json!({ "region": "westeurope", "sku": "Standard_D4s_v5", "vms": 0, "late": true });
    cluster.emulator().post("/capacity", &late)?;
    let job = cluster.sbatch(&["-N1", "--requeue"], ONE)?;
    cluster.wait_for(SOON, "the node to be down with the reason", || {
        let told = cluster.client("sinfo", &["-h", "-N", "-a", "-o", "%E"])?;
        Ok(told.contains("AllocationFailed"))
    })?;
    cluster
        .wait_for(SOON, "the failed VM to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    cluster.scancel(job)?;
    rusqlite::Connection::open(cluster.ledger_path())?.execute("DELETE FROM holds", [])?;
    end(&cluster)
}

#[test]
fn a_vm_that_azure_gives_up_late_stays_while_its_node_is_in_use() -> Result<()> {
    let mut spec = spec("agent", 1);
    // It may be idle for a moment before slurmctld starts the job.
    spec.suspend_time = std::time::Duration::from_secs(45);
    let cluster = Cluster::start(&spec)?;
    // slurmd registers while Azure still waits for the guest's agent, and then gives up.
    let delays = json!({ "vm_create_ms": 9000, "retry_after_s": 2, "first_poll_retry_after_s": 2 });
    cluster.emulator().set_delays(&delays)?;
    cluster.emulator().add_fault(&json!({
        "method": "PUT", "path_contains": "/virtualMachines/", "kind": "fail-operation",
        "body": { "error": { "code": "OSProvisioningTimedOut", "message": "no agent" } },
    }))?;
    let job = cluster.sbatch(&["-N1"], ONE)?;
    cluster.wait_for(CYCLE, "the programs to decide about it", || {
        let log = std::fs::read_to_string(cluster.log_path()).unwrap_or_default();
        Ok(log.contains("OSProvisioningTimedOut"))
    })?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    check(&cluster, "the VM stayed", vm_calls(&cluster, "PUT")? == 1)?;
    cluster.wait_for(CYCLE, "the VM to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    end(&cluster)
}
