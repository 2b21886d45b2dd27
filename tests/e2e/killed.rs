//! Front and driver of azslurm-resume killed with SIGKILL at each point that matters; passes of
//! azslurm-sync finish the work.

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::{Cluster, infiniband};
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::story::{CYCLE, SOON, SRUN, check, end, passes_until, resumes, spec, vm_calls};

fn kill_all(cluster: &Cluster, is_driver: bool) -> Result<()> {
    let found = resumes(cluster, is_driver)?;
    ensure!(!found.is_empty(), "there is nothing to kill");
    for pid in found {
        kill(pid, Signal::SIGKILL).context("kill")?;
    }
    cluster.wait_for(SOON, "it to be dead", || Ok(resumes(cluster, is_driver)?.is_empty()))
}

/// The job runs and everything is gone, by passes alone.
fn finish(cluster: &Cluster, job: azslurm_test_cluster::JobId) -> Result<()> {
    passes_until(cluster, "the job to be completed", |_| {
        Ok(cluster.job_state(job)? == "COMPLETED")
    })?;
    let output = cluster.job_output(job).unwrap_or_default();
    check(cluster, &output, output.lines().filter(|line| line.contains("ran on")).count() == 3)?;
    end(cluster)
}

#[test]
fn a_front_killed_before_its_intents_is_made_up_for_by_a_pass() -> Result<()> {
    let cluster = Cluster::start(&spec("killed-front", 3))?;
    // The ledger exists, and somebody holds its write lock: the front waits before its intents.
    cluster.run_program("azslurm-sync", &["pass"])?;
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.execute_batch("BEGIN IMMEDIATE")?;
    let job = cluster.sbatch(&["-N3"], SRUN)?;
    cluster
        .wait_for(SOON, "the front to be started", || Ok(!resumes(&cluster, false)?.is_empty()))?;
    kill_all(&cluster, false)?;
    ledger.execute_batch("ROLLBACK")?;
    let intents: i64 = ledger.query_row("SELECT count(*) FROM attempts", [], |row| row.get(0))?;
    check(&cluster, "it was killed before its intents", intents == 0)?;
    check(&cluster, "no VM was asked for", vm_calls(&cluster, "PUT")? == 0)?;
    drop(ledger);
    finish(&cluster, job)
}

#[test]
fn a_driver_killed_right_after_its_first_put_is_carried_on_by_a_pass() -> Result<()> {
    let mut spec = spec("killed-first", 3);
    spec.config_text = "[limits]\nrequests_in_flight = 1\n".to_owned();
    let cluster = Cluster::start(&spec)?;
    // The first PUT is done, and its answer is on its way; the others have not been sent.
    cluster.emulator().add_fault(&json!({
        "method": "PUT", "path_contains": "/virtualMachines/",
        "kind": "delay", "latency_ms": 30_000,
        "skip": 1, "times": 100,
    }))?;
    let job = cluster.sbatch(&["-N3"], SRUN)?;
    cluster.wait_for(SOON, "the first VM to be asked for", || {
        Ok(!cluster.emulator().vms()?.is_empty())
    })?;
    kill_all(&cluster, true)?;
    cluster.emulator().clear_faults()?;
    let made = cluster.emulator().vms()?.len();
    check(&cluster, &format!("{made} VMs were made before it was killed"), made < 3)?;
    finish(&cluster, job)
}

#[test]
fn a_driver_killed_after_its_last_put_is_carried_on_by_a_pass() -> Result<()> {
    let cluster = Cluster::start(&spec("killed-last", 3))?;
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 5000 }))?;
    let job = cluster.sbatch(&["-N3"], SRUN)?;
    cluster
        .wait_for(SOON, "three VMs to be asked for", || Ok(cluster.emulator().vms()?.len() == 3))?;
    kill_all(&cluster, true)?;
    finish(&cluster, job)?;
    Ok(())
}

#[test]
fn a_driver_killed_while_a_job_is_cancelled_leaves_no_vm() -> Result<()> {
    let cluster = Cluster::start(&spec("killed-cancelled", 3))?;
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 5000 }))?;
    let job = cluster.sbatch(&["-N3"], SRUN)?;
    cluster
        .wait_for(SOON, "three VMs to be asked for", || Ok(cluster.emulator().vms()?.len() == 3))?;
    kill_all(&cluster, true)?;
    cluster.scancel(job)?;
    cluster.wait_for(CYCLE, "the VMs to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    end(&cluster)
}

#[test]
fn a_driver_killed_when_its_gang_has_just_moved_is_carried_on_by_a_pass() -> Result<()> {
    let mut spec = infiniband("killed-moved", 3, 3);
    spec.resume_timeout = 3 * SOON;
    let cluster = Cluster::start(&spec)?;
    cluster.emulator().set_capacity("westeurope", "Standard_HB120rs_v3", Some(1))?;
    // The VM that the west has room for is not in use when the gang moves.
    cluster.emulator().never_boot(&["hpc-001", "hpc-002", "hpc-003"])?;
    // Whatever is made in the north waits.
    cluster.emulator().add_fault(&json!({
        "method": "PUT", "path_contains": "/resourceGroups/hpc-north/",
        "kind": "delay", "latency_ms": 600_000, "times": 100,
    }))?;
    // The ledger exists.
    cluster.run_program("azslurm-sync", &["pass"])?;
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    let job = cluster.sbatch(&["-N3", "--requeue"], SRUN)?;
    let sql = "SELECT count(*) FROM attempts WHERE site = 'north' AND state = 'intended'";
    cluster.wait_for(SOON, "the move to be committed", || {
        let moved: i64 = ledger.query_row(sql, [], |row| row.get(0))?;
        Ok(moved == 3)
    })?;
    drop(ledger);
    kill_all(&cluster, true)?;
    cluster.emulator().clear_faults()?;
    cluster.emulator().never_boot(&[])?;
    let alive = cluster.emulator().alive()?;
    let is_north = |region: &Option<String>| region.as_deref() == Some("northeurope");
    let made = alive.iter().filter(|seen| seen.is_a("virtualMachines") && is_north(&seen.location));
    check(&cluster, "it was killed before its PUTs in the north", made.count() == 0)?;
    finish(&cluster, job)?;
    let made = cluster.emulator().resources()?;
    let regions: Vec<_> = made
        .iter()
        .filter(|seen| seen.is_a("availabilitySets"))
        .map(|seen| seen.location.clone())
        .collect();
    check(&cluster, &format!("a set at each site, once: {regions:?}"), regions.len() == 2)
}
