//! A driver killed with SIGKILL in the middle of a gang's move to the next site: passes bring all
//! of the gang together, and leave nothing elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::{Cluster, Resource, infiniband};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::story::{CYCLE, SOON, check, end, passes_until};

const SKU: &str = "Standard_HB120rs_v3";
const SCRIPT: &str = "#!/bin/bash\nsrun -l bash -c 'echo ran on $SLURMD_NODENAME'\nsleep 20\n";

/// What of a kind is there, in a region.
fn there(cluster: &Cluster, kind: &str, region: &str) -> Result<Vec<Resource>> {
    let mut alive = cluster.emulator().alive()?;
    alive.retain(|seen| seen.is_a(kind) && seen.location.as_deref() == Some(region));
    Ok(alive)
}

/// Drivers of azslurm-resume that work for this cluster.
fn drivers(cluster: &Cluster) -> Result<Vec<Pid>> {
    let conf = format!("SLURM_CONF={}", cluster.slurm_conf().display());
    let has = |dir: &Path, file: &str, word: &str| {
        let bytes = fs::read(dir.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).split('\0').any(|found| found == word)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let is_ours = has(&entry.path(), "environ", &conf);
        if is_ours && has(&entry.path(), "cmdline", "--drive") {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// One VM per node, all of them in one set, at one site.
fn is_together(cluster: &Cluster) -> Result<bool> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    let sql = "SELECT node, site, block || incarnation FROM attempts WHERE ended_at IS NULL";
    let mut statement = ledger.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let rows: Vec<(String, String, String)> = rows.collect::<Result<_, _>>()?;
    let nodes: BTreeSet<&String> = rows.iter().map(|(node, ..)| node).collect();
    let sets: BTreeSet<&String> = rows.iter().map(|(.., set)| set).collect();
    let is_north = rows.iter().all(|(_, site, _)| site == "north");
    Ok(rows.len() == 4 && nodes.len() == 4 && sets.len() == 1 && is_north)
}

/// The gang of four lacks one place in the west. While it moves, `fault` stops its driver, which is
/// killed when `is_there`; the fault is over then.
fn killed(name: &str, fault: &Value, is_there: impl Fn(&Cluster) -> Result<bool>) -> Result<()> {
    let cluster = Cluster::start(&infiniband(name, 4, 4))?;
    cluster.emulator().set_capacity("westeurope", SKU, Some(3))?;
    // Slow enough that the refusal is known before any VM of the west works.
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 6000 }))?;
    cluster.emulator().add_fault(fault)?;
    let job = cluster.sbatch(&["-N4", "--requeue"], SCRIPT)?;
    cluster.wait_for(SOON, "the driver to be at the point", || is_there(&cluster))?;
    let found = drivers(&cluster)?;
    ensure!(!found.is_empty(), "there is nothing to kill");
    for pid in found {
        kill(pid, Signal::SIGKILL).context("kill")?;
    }
    cluster.wait_for(SOON, "it to be dead", || Ok(drivers(&cluster)?.is_empty()))?;
    cluster.emulator().clear_faults()?;
    passes_until(&cluster, "the job to be completed by four VMs together", |_| {
        let vms = there(&cluster, "virtualMachines", "northeurope")?.len();
        let state = cluster.job_state(job)?;
        let is_whole = vms == 4 && is_together(&cluster)?;
        let west = there(&cluster, "virtualMachines", "westeurope")?.len();
        Ok(state == "RUNNING" && is_whole && west == 0)
    })?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let output = cluster.job_output(job).unwrap_or_default();
    check(&cluster, &output, output.lines().filter(|line| line.contains("ran on")).count() == 4)?;
    let record = cluster.scontrol(&["show", "job", &job.to_string()])?;
    check(&cluster, &record, record.contains("Restarts=0"))?;
    let set = there(&cluster, "availabilitySets", "westeurope")?;
    check(&cluster, &format!("nothing is left in the west: {set:?}"), set.is_empty())?;
    end(&cluster)
}

fn fault(method: &str, path: &str, kind: &str) -> Value {
    // Longer than the story needs to come to its point.
    json!({ "method": method, "path_contains": path, "kind": kind, "latency_ms": 120_000,
        "times": 100 })
}

#[test]
fn a_driver_killed_before_its_new_placement_group_is_made_up_for() -> Result<()> {
    let group = "/resourceGroups/hpc-north/providers/Microsoft.Compute/proximityPlacementGroups/";
    killed("gang-group", &fault("PUT", group, "delay"), |cluster| {
        // Nothing shows a call that is under way, but its block is written before it is sent.
        let ledger = cluster.ledger_path();
        if !ledger.exists() {
            return Ok(false);
        }
        let ledger = rusqlite::Connection::open(ledger)?;
        ledger.busy_timeout(SOON)?;
        // Between the making of the file and that of its tables.
        if !ledger.table_exists(None, "blocks")? {
            return Ok(false);
        }
        let sql = "SELECT count(*) FROM blocks WHERE site = 'north'";
        Ok(ledger.query_row(sql, [], |row| row.get::<_, u32>(0))? == 1)
    })
}

#[test]
fn a_driver_killed_before_the_answer_to_its_new_set_is_carried_on() -> Result<()> {
    let set = "/resourceGroups/hpc-north/providers/Microsoft.Compute/availabilitySets/";
    let mut lost = fault("PUT", set, "lost-answer");
    lost["latency_ms"] = json!(0);
    killed("gang-set", &lost, |cluster| {
        Ok(!there(cluster, "availabilitySets", "northeurope")?.is_empty())
    })
}

#[test]
fn a_driver_killed_before_the_answer_to_its_first_vm_of_the_next_site_is_carried_on() -> Result<()>
{
    let vm = "/resourceGroups/hpc-north/providers/Microsoft.Compute/virtualMachines/";
    let mut lost = fault("PUT", vm, "lost-answer");
    lost["latency_ms"] = json!(0);
    killed("gang-vm", &lost, |cluster| {
        Ok(!there(cluster, "virtualMachines", "northeurope")?.is_empty())
    })
}

#[test]
fn a_driver_killed_before_its_deletions_are_taken_leaves_them_to_a_pass() -> Result<()> {
    let vm = "/resourceGroups/hpc/providers/Microsoft.Compute/virtualMachines/";
    killed("gang-delete", &fault("DELETE", vm, "delay"), |cluster| {
        let north = there(cluster, "virtualMachines", "northeurope")?.len();
        Ok(north == 4 && there(cluster, "virtualMachines", "westeurope")?.len() == 3)
    })
}
