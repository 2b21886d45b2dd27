//! slurmctld is away, hangs, and starts again, while an eviction, two orphans and a deletion that
//! fails are pending: nothing is destroyed meanwhile, and all is repaired afterwards.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use azslurm_test_cluster::{Cluster, ClusterSpec, JobId};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::story::{
    CYCLE, SOON, check, end, holds_end, orphans, pass, passes_until, power_down_idle, spec,
    waiting_job,
};

/// Computer names of the VMs that there are; a deallocated one is there.
fn vms(cluster: &Cluster) -> Result<Vec<String>> {
    let mut names: Vec<String> = cluster.emulator().vms()?.into_iter().map(|vm| vm.name).collect();
    names.iter_mut().for_each(|name| name.truncate("hpc-001".len()));
    names.sort();
    Ok(names)
}

/// The ledger has never heard of the node's VMs.
fn forget(cluster: &Cluster, node: &str) -> Result<()> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    ledger.execute("DELETE FROM attempts WHERE node = ?1", [node])?;
    Ok(())
}

fn attempt_state(cluster: &Cluster, node: &str) -> Result<String> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    let sql = "SELECT state FROM attempts WHERE node = ?1";
    Ok(ledger.query_row(sql, [node], |row| row.get(0))?)
}

/// A pass says that slurmctld is not known, and leaves the VMs about which nothing was decided.
fn knows_nothing(cluster: &Cluster) -> Result<()> {
    let report = pass(cluster)?;
    let is_said = report["slurm_unknown"].as_str().is_some_and(|why| why.contains("scontrol"));
    check(cluster, &format!("slurmctld is not known: {report}"), is_said)?;
    check(cluster, &format!("orphans are left: {report}"), orphans(&report, "Leave") == 2)?;
    let found = vms(cluster)?;
    let has = |node: &&str| found.iter().any(|name| name == node);
    check(
        cluster,
        &format!("no VM is touched: {found:?}"),
        ["hpc-001", "hpc-002", "hpc-004"].iter().all(has),
    )
}

fn signal(cluster: &Cluster, signal: Signal) -> Result<()> {
    let pid = cluster.slurmctld_pid().context("slurmctld does not run")?;
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
}

/// A running job on the first node, a second that is up and a third and fourth that are off, whose
/// VMs Azure has not deleted although it took that. The ledger knows nothing of the second's and
/// the fourth's.
fn prepare(cluster: &Cluster) -> Result<(JobId, PathBuf)> {
    let (script, go_on) = waiting_job(cluster);
    let job = cluster.sbatch(&["-whpc-001", "-N1", "--requeue"], &script)?;
    cluster.scontrol(&["update", "nodename=hpc-[002-004]", "state=power_up"])?;
    cluster.wait_for(CYCLE, "the job to run and three nodes to be idle", || {
        let states = cluster.node_states()?;
        let idle = states.values().filter(|state| *state == "IDLE+CLOUD").count();
        Ok(idle == 3 && cluster.job_state(job)? == "RUNNING")
    })?;
    cluster.emulator().add_fault(&json!({
        "method": "DELETE", "path_contains": "/virtualMachines/", "times": 2,
        "kind": "fail-operation",
        "body": { "error": { "code": "OperationNotAllowed", "message": "busy" } },
    }))?;
    cluster.scontrol(&["update", "nodename=hpc-[003-004]", "state=power_down"])?;
    cluster.wait_for(CYCLE, "two nodes to be off", || {
        let states = cluster.node_states()?;
        Ok(states.values().filter(|state| state.contains("POWERED_DOWN")).count() == 2)
    })?;
    check(cluster, "a deletion is pending", attempt_state(cluster, "hpc-003")? == "deleting")?;
    forget(cluster, "hpc-002")?;
    forget(cluster, "hpc-004")?;
    Ok((job, go_on))
}

/// Azure takes the Spot VM of a node.
fn evict(cluster: &Cluster, node: &str) -> Result<()> {
    let vm = || -> Result<_> {
        let mut vms = cluster.emulator().vms()?.into_iter();
        vms.find(|vm| vm.name.starts_with(node)).context("the node has no VM")
    };
    cluster.emulator().evict(&vm()?.name)?;
    let is_off = || Ok(vm()?.power_state.as_deref() == Some("PowerState/deallocated"));
    cluster.wait_for(SOON, "the VM to be taken", is_off)
}

#[test]
fn nothing_is_destroyed_while_slurmctld_is_away_or_hangs_and_all_is_repaired_afterwards()
-> Result<()> {
    let cluster = Cluster::start(&ClusterSpec {
        suspend_time: Duration::from_secs(600),
        slurmd_timeout: Duration::from_secs(900),
        nodeset_lines: vec!["priority = \"spot\"\neviction_policy = \"deallocate\"".to_owned()],
        ..spec("unknown", 4)
    })?;
    let (job, go_on) = prepare(&cluster)?;
    cluster.stop_slurmctld()?;
    evict(&cluster, "hpc-001")?;
    knows_nothing(&cluster)?;
    passes_until(&cluster, "the deletion that was decided before to be finished", |_| {
        Ok(attempt_state(&cluster, "hpc-003")? == "gone")
    })?;
    cluster.start_slurmctld()?;
    signal(&cluster, Signal::SIGSTOP)?;
    knows_nothing(&cluster)?;
    signal(&cluster, Signal::SIGCONT)?;
    let mut adopted = 0;
    passes_until(&cluster, "all to be repaired", |report| {
        adopted += orphans(report, "Adopt");
        Ok(cluster.job_state(job)? != "RUNNING" && vms(&cluster)? == ["hpc-002"])
    })?;
    check(&cluster, &format!("one VM is adopted: {adopted}"), adopted == 1)?;
    holds_end(&cluster)?;
    fs::write(&go_on, "")?;
    passes_until(&cluster, "the job to be completed", |_| {
        Ok(cluster.job_state(job)? == "COMPLETED")
    })?;
    let output = cluster.job_output(job).unwrap_or_default();
    check(&cluster, &output, !output.contains("began 0") && output.contains("done"))?;
    power_down_idle(&cluster)?;
    end(&cluster)
}
