//! The daemon beside a job whose driver is killed, whose VM is taken, and whose slurmctld goes
//! away: nobody makes a pass by hand.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::{Cluster, JobId};
use nix::sys::signal::{Signal, kill};

use crate::evicted::spot;
use crate::story::{CYCLE, SOON, check, holds_end, resumes, vms_grow_old, waiting_job};

/// The daemon's words, and those of all other programs.
fn log(cluster: &Cluster) -> String {
    fs::read_to_string(cluster.log_path()).unwrap_or_default()
}

fn wait_for_log(cluster: &Cluster, words: &str) -> Result<()> {
    let what = format!("the log to say {words:?}");
    cluster.wait_for(CYCLE, &what, || Ok(log(cluster).contains(words)))
}

/// The driver of a job of two nodes dies when it has asked for the VMs; the job runs.
fn the_driver_is_killed(cluster: &Cluster, job: JobId) -> Result<()> {
    cluster
        .wait_for(SOON, "both VMs to be asked for", || Ok(cluster.emulator().vms()?.len() == 2))?;
    let drivers = resumes(cluster, true)?;
    ensure!(!drivers.is_empty(), "the driver has ended already");
    drivers.into_iter().try_for_each(|pid| kill(pid, Signal::SIGKILL).context("kill"))?;
    cluster.wait_for_job(CYCLE, job, "RUNNING")
}

/// A VM under the running job is taken, and slurmctld is stopped for a while; the job runs again
/// and completes.
fn a_vm_is_taken_and_slurmctld_goes_away(cluster: &Cluster, job: JobId) -> Result<()> {
    vms_grow_old(cluster)?;
    let taken = cluster.emulator().vms()?.first().map(|vm| vm.name.clone());
    cluster.emulator().evict(&taken.context("a job runs without VMs")?)?;
    let is_requeued = || Ok(cluster.job_state(job)? != "RUNNING");
    cluster.wait_for(CYCLE, "the job to be requeued", is_requeued)?;
    cluster.stop_slurmctld()?;
    wait_for_log(cluster, "slurmctld does not answer: ")?;
    cluster.start_slurmctld()?;
    wait_for_log(cluster, "slurmctld answers again; it was away since 20")?;
    holds_end(cluster)
}

/// Every node is off and usable, no VM is left, and the ledger knows it.
fn is_over(cluster: &Cluster) -> Result<bool> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    let sql = "SELECT count(*) FROM attempts WHERE state NOT IN ('gone', 'refused')";
    let unfinished: i64 = ledger.query_row(sql, [], |row| row.get(0))?;
    let is_off = |state: &String| state.starts_with("IDLE") && state.contains("POWERED_DOWN");
    let are_off = cluster.node_states()?.values().all(is_off);
    Ok(unfinished == 0 && are_off && cluster.emulator().vms()?.is_empty())
}

#[test]
fn the_daemon_repairs_what_befalls_a_job_and_nobody_makes_a_pass() -> Result<()> {
    let mut spec = spot("daemon", 2, "delete");
    spec.config_text = "[sync]\ninterval_seconds = 5\n".to_owned();
    let cluster = Cluster::start(&spec)?;
    cluster.emulator().set_graph_lag(Duration::ZERO)?;
    cluster.emulator().set_delays(&serde_json::json!({ "vm_create_ms": 5000 }))?;
    cluster.start_daemon()?;
    let (script, go_on) = waiting_job(&cluster);
    let job = cluster.sbatch(&["-N2", "--requeue"], &script)?;
    the_driver_is_killed(&cluster, job)?;
    a_vm_is_taken_and_slurmctld_goes_away(&cluster, job)?;
    fs::write(&go_on, "")?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let output = cluster.job_output(job).unwrap_or_default();
    check(&cluster, &output, output.contains("began 1") && output.contains("done"))?;
    cluster.wait_for(CYCLE, "every node to be off, without a VM", || is_over(&cluster))?;
    cluster.stop_daemon()?;
    check(&cluster, "it acts beside one slurmctld", !log(&cluster).contains("standing by"))?;
    cluster.audit()
}
