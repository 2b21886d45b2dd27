//! What can be made is made; what cannot is told to slurmctld with its reason, and comes when there
//! is room.

use anyhow::Result;
use azslurm_test_cluster::Cluster;
use serde_json::json;

use crate::story::{CYCLE, SOON, check, end, holds_end, passes_until, spec, vm_calls};

const ONE: &str = "#!/bin/bash\necho ran on $SLURMD_NODENAME\nsleep 15\n";

#[test]
fn five_of_eight_jobs_that_fit_run_and_the_others_are_told_why() -> Result<()> {
    let cluster = Cluster::start(&spec("partial", 8))?;
    cluster.emulator().set_capacity("westeurope", "Standard_D4s_v5", Some(5))?;
    let job = cluster.sbatch(&["-N1", "--array=1-8", "--requeue"], ONE)?;
    cluster.wait_for(SOON, "three nodes to be down with a reason", || {
        let told = cluster.client("sinfo", &["-h", "-N", "-a", "-o", "%N %T %E"])?;
        Ok(told.lines().filter(|line| line.contains("azslurm: capacity")).count() == 3)
    })?;
    cluster.wait_for(CYCLE, "five tasks to run or be done", || {
        let states = cluster.task_states(job)?;
        Ok(states.iter().filter(|state| *state == "RUNNING" || *state == "COMPLETED").count() >= 5)
    })?;
    let puts = vm_calls(&cluster, "PUT")?;
    check(&cluster, &format!("a held place is not asked again: {puts} PUTs"), puts <= 8)?;
    let vms = cluster.emulator().vms()?;
    check(&cluster, "no failed VM is left", vms.len() <= 5)?;
    // Room comes back, and the time of the hold passes.
    cluster.emulator().set_capacity("westeurope", "Standard_D4s_v5", None)?;
    holds_end(&cluster)?;
    passes_until(&cluster, "all eight tasks to be completed", |_| {
        let states = cluster.task_states(job)?;
        Ok(states.len() == 8 && states.iter().all(|state| state == "COMPLETED"))
    })?;
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
