//! The ledger is lost: VMs that only Azure knows are taken for their nodes', or deleted.

use std::fs;

use anyhow::{Context, Result};
use azslurm_test_cluster::{Cluster, infiniband};
use serde_json::{Value, json};

use crate::story::{CYCLE, SOON, SRUN, check, end, orphans, pass, passes_until, resumes, spec};

fn lose_ledger(cluster: &Cluster) -> Result<()> {
    for ending in ["", "-wal", "-shm"] {
        let file = format!("{}{ending}", cluster.ledger_path().display());
        if fs::exists(&file)? {
            fs::remove_file(&file).with_context(|| file.clone())?;
        }
    }
    Ok(())
}

/// Lives of blocks that have VMs.
fn blocks(cluster: &Cluster) -> Result<i64> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    let sql = "SELECT count(DISTINCT a.incarnation) FROM attempts AS a JOIN blocks AS b
               ON a.block = b.block AND a.incarnation = b.incarnation
               WHERE a.ended_at IS NULL AND b.state = 'made'";
    Ok(ledger.query_row(sql, [], |row| row.get(0))?)
}

#[test]
fn a_job_outlives_the_ledger_and_its_vms_are_deleted_after_it() -> Result<()> {
    let cluster = Cluster::start(&infiniband("orphan-up", 4, 4))?;
    // The driver works for a while.
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 8_000, "retry_after_s": 1 }))?;
    let go_on = cluster.dir().join("go-on");
    let wait = format!("while [ ! -e {} ]; do sleep 1; done", go_on.display());
    let job = cluster.sbatch(&["-N2"], &format!("#!/bin/bash\n{wait}\necho done\n"))?;
    cluster.wait_for(SOON, "both VMs", || Ok(cluster.emulator().vms()?.len() == 2))?;
    lose_ledger(&cluster)?;
    let early = cluster.run_program("azslurm-sync", &["rebuild"])?;
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    let is_refused = early.status.code() == Some(2) && said.contains("azslurm-resume");
    check(&cluster, &format!("not while a driver works: {said}"), is_refused)?;
    cluster.wait_for(SOON, "the driver to notice", || Ok(resumes(&cluster, true)?.is_empty()))?;
    let rebuilt = cluster.run_program("azslurm-sync", &["--json", "rebuild"])?;
    let rebuilt: Value = serde_json::from_slice(&rebuilt.stdout)?;
    check(&cluster, &format!("both VMs are known: {rebuilt}"), rebuilt["written"] == 2)?;
    check(&cluster, "in the life of their block", blocks(&cluster)? == 1)?;
    cluster.wait_for_job(CYCLE, job, "RUNNING")?;
    // And once more, with no driver at work: a pass takes them, in their block too.
    lose_ledger(&cluster)?;
    let dry = cluster.run_program("azslurm-sync", &["--json", "pass", "--dry-run"])?;
    let dry: Value = serde_json::from_slice(&dry.stdout)?;
    check(
        &cluster,
        &format!("a dry run says what a pass would do: {dry}"),
        orphans(&dry, "Adopt") == 2,
    )?;
    let record = cluster.dir().join("record").display().to_string();
    let recorded = cluster.run_program("azslurm-sync", &["--json", "record", &record])?;
    let recorded: Value = serde_json::from_slice(&recorded.stdout)?;
    check(&cluster, &format!("a record says the same: {recorded}"), recorded["report"] == dry)?;
    let first = pass(&cluster)?;
    check(&cluster, &format!("both VMs are taken: {first}"), orphans(&first, "Adopt") == 2)?;
    let second = pass(&cluster)?;
    check(
        &cluster,
        &format!("a second pass has no orphans: {second}"),
        second["orphans"] == json!([]),
    )?;
    check(&cluster, "both VMs are known", second["vms"] == 2 && blocks(&cluster)? == 1)?;
    let replayed = cluster.run_program("azslurm-sync", &["--json", "replay", &record])?;
    let replayed: Value = serde_json::from_slice(&replayed.stdout)?;
    check(&cluster, &format!("and a replay still does: {replayed}"), replayed == dry)?;
    fs::write(&go_on, "")?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    end(&cluster)
}

#[test]
fn a_vm_that_no_ledger_knows_and_nobody_waits_for_is_deleted() -> Result<()> {
    let cluster = Cluster::start(&spec("orphan-off", 1))?;
    let job = cluster.sbatch(&["-N1"], SRUN)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    // SuspendProgram finds nothing in the ledger, and its search fails.
    lose_ledger(&cluster)?;
    for (method, path) in [("POST", "Microsoft.ResourceGraph"), ("GET", "/virtualMachines")] {
        cluster.emulator().add_fault(&json!({
            "method": method, "path_contains": path,
            "kind": "answer", "status": 503, "times": 10_000,
            "body": { "error": { "code": "ServiceUnavailable", "message": "busy" } },
        }))?;
    }
    cluster.wait_for(CYCLE, "the node to be off", || {
        let state = cluster.node_state("hpc-001")?;
        Ok(state.contains("POWERED_DOWN") && !state.contains("POWERING_DOWN"))
    })?;
    check(&cluster, "its VM is there", cluster.emulator().vms()?.len() == 1)?;
    let blind = pass(&cluster)?;
    let is_said = blind["azure_incomplete"].as_array().is_some_and(|why| !why.is_empty());
    check(&cluster, &format!("a pass says that it does not see: {blind}"), is_said)?;
    check(&cluster, "and deletes nothing", cluster.emulator().vms()?.len() == 1)?;
    cluster.emulator().clear_faults()?;
    passes_until(&cluster, "the VM to be gone", |_| Ok(cluster.emulator().vms()?.is_empty()))?;
    cluster.wait_for(SOON, "no second VM of it", || Ok(cluster.emulator().vms()?.is_empty()))?;
    end(&cluster)
}
