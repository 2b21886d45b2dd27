//! Front and driver of azslurm-resume killed with SIGKILL at each point that matters; passes of
//! azslurm-sync finish the work.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::Cluster;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::story::{CYCLE, SOON, SRUN, check, end, passes_until, spec, vm_calls};

/// Processes of azslurm-resume that work with this cluster's ledger: the front has SLURM_CONF of it
/// in its environment, the driver inherits that.
fn resumes(cluster: &Cluster, is_driver: bool) -> Result<Vec<Pid>> {
    let conf = format!("SLURM_CONF={}", cluster.slurm_conf().display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let read = |name: &str| -> String {
            let bytes = fs::read(PathBuf::from("/proc").join(format!("{pid}/{name}")));
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        let arguments = read("cmdline");
        let is_resume =
            arguments.split('\0').next().is_some_and(|name| name.ends_with("azslurm-resume"));
        let drives = arguments.split('\0').any(|word| word == "--drive");
        if is_resume && drives == is_driver && read("environ").split('\0').any(|line| line == conf)
        {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

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
