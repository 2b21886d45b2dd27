//! Nodesets with InfiniBand: blocks, and gangs that move as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use azslurm_test_cluster::{Cluster, JobId, Resource, infiniband};
use serde_json::json;

use crate::story::{
    CYCLE, SOON, SRUN, check, down_for, end, holds_end, passes_until, ran_on, restarts,
};

const SKU: &str = "Standard_HB120rs_v3";

fn sets(cluster: &Cluster) -> Result<Vec<Resource>> {
    let resources = cluster.emulator().resources()?;
    Ok(resources.into_iter().filter(|seen| seen.is_a("availabilitySets")).collect())
}

/// The set of each living VM, as Azure shows it: by node.
fn set_of_each(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    let sql = "SELECT a.node, b.name FROM attempts AS a JOIN blocks AS b
               ON a.block = b.block AND a.incarnation = b.incarnation WHERE a.ended_at IS NULL";
    let mut statement = ledger.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[test]
fn two_jobs_over_several_nodes_never_share_a_block() -> Result<()> {
    let cluster = Cluster::start(&infiniband("blocks", 8, 4))?;
    let script = "#!/bin/bash\nsrun -l bash -c 'echo ran on $SLURMD_NODENAME'\nsleep 10\n";
    let jobs = [cluster.sbatch(&["-N4"], script)?, cluster.sbatch(&["-N3"], script)?];
    cluster.wait_for(SOON, "seven VMs", || Ok(cluster.emulator().vms()?.len() == 7))?;
    let sets_of = set_of_each(&cluster)?;
    let used: BTreeSet<&String> = sets_of.values().collect();
    check(&cluster, &format!("two sets: {sets_of:?}"), used.len() == 2)?;
    for (node, set) in &sets_of {
        let number: u32 = node.rsplit('-').next().unwrap_or_default().parse()?;
        let of_block = sets_of.iter().filter(|(other, _)| {
            let other: u32 = other.rsplit('-').next().unwrap_or_default().parse().unwrap_or(0);
            (other - 1) / 4 == (number - 1) / 4
        });
        check(&cluster, "one set for each block", of_block.into_iter().all(|(_, s)| s == set))?;
    }
    for job in jobs {
        cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    }
    check(&cluster, "all ran", ran_on(&cluster, jobs[0]) == 4 && ran_on(&cluster, jobs[1]) == 3)?;
    end(&cluster)?;
    let made = sets(&cluster)?;
    check(&cluster, "each set was made once and is gone", made.len() == 2)
}

#[test]
fn a_gang_of_sixteen_moves_to_the_next_site_when_the_first_is_full() -> Result<()> {
    let cluster = Cluster::start(&infiniband("gang", 16, 16))?;
    cluster.emulator().set_capacity("westeurope", SKU, Some(9))?;
    let job = cluster.sbatch(&["-N16", "--requeue"], SRUN)?;
    cluster.wait_for(SOON, "sixteen VMs in the north and none in the west", || {
        let vms = cluster.emulator().vms()?;
        let north = vms.iter().filter(|vm| vm.location.as_deref() == Some("northeurope")).count();
        Ok(north == 16 && vms.len() == 16)
    })?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    check(&cluster, "it ran on all", ran_on(&cluster, job) == 16)?;
    let restarts =
        cluster.client("squeue", &["-h", "-t", "all", "-o", "%r", "-j", &job.to_string()])?;
    check(&cluster, &format!("it was not requeued: {restarts}"), restarts.trim() == "None")?;
    end(&cluster)?;
    let sets = sets(&cluster)?;
    check(&cluster, "a set at each site, both gone", sets.len() == 2)
}

/// All of a gang's VMs are asked for in the west. Four come, and the others are refused only when
/// the test says so ([`refuse_the_rest`]).
fn half_a_gang(name: &str, is_booted: bool) -> Result<(Cluster, JobId)> {
    let mut spec = infiniband(name, 8, 8);
    spec.resume_timeout = Duration::from_secs(180);
    let cluster = Cluster::start(&spec)?;
    let azure = cluster.emulator();
    azure.set_delays(&json!({ "retry_after_s": 1, "first_poll_retry_after_s": 1 }))?;
    let late = json!({ "region": "westeurope", "sku": SKU, "vms": 4, "late": true });
    azure.post("/capacity", &late)?;
    if !is_booted {
        let names: Vec<String> = (1..=8).map(|number| spec.node(number)).collect();
        azure.never_boot(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    // The last four PUTs are put off.
    azure.add_fault(&json!({
        "method": "PUT",
        "path_contains": "/resourceGroups/hpc/providers/Microsoft.Compute/virtualMachines/",
        "status": 429, "headers": { "Retry-After": "1" }, "skip": 4, "times": 1000,
        "body": { "error": { "code": "OperationNotAllowed", "message": "too many calls" } },
    }))?;
    let job = cluster.sbatch(&["-N8", "--requeue"], SRUN)?;
    cluster.wait_for(SOON, "four VMs to be provisioned", || Ok(provisioned(&cluster)? == 4))?;
    // Whether there is a place for them shows after an hour.
    azure.set_delays(&json!({ "vm_create_ms": 2 * 3_600_000, "allocated_at": 0.5 }))?;
    azure.clear_faults()?;
    cluster.wait_for(SOON, "eight VMs to be there", || Ok(azure.vms()?.len() == 8))?;
    Ok((cluster, job))
}

fn provisioned(cluster: &Cluster) -> Result<usize> {
    let is_made = |vm: &Resource| vm.provisioning_state.as_deref() == Some("Succeeded");
    Ok(cluster.emulator().vms()?.iter().filter(|vm| is_made(vm)).count())
}

/// The VMs that are not provisioned fail; those of later PUTs come at once.
fn refuse_the_rest(cluster: &Cluster) -> Result<()> {
    let azure = cluster.emulator();
    azure.never_boot(&[])?;
    azure.set_delays(&json!({ "preset": "quick", "retry_after_s": 1 }))?;
    azure.advance(Duration::from_secs(3600))
}

fn count_in(cluster: &Cluster, region: &str) -> Result<usize> {
    let vms = cluster.emulator().vms()?;
    Ok(vms.iter().filter(|vm| vm.location.as_deref() == Some(region)).count())
}

/// The gang is whole in the north, and nothing of it is left in the west; it runs.
fn runs_in_the_north(cluster: &Cluster, job: JobId) -> Result<()> {
    cluster.wait_for(CYCLE, "eight VMs in the north and none in the west", || {
        Ok(count_in(cluster, "northeurope")? == 8 && count_in(cluster, "westeurope")? == 0)
    })?;
    passes_until(cluster, "no set to be left in the west", |_| {
        let alive = cluster.emulator().alive()?;
        let mut sets = alive.iter().filter(|seen| seen.is_a("availabilitySets"));
        Ok(sets.all(|set| set.location.as_deref() == Some("northeurope")))
    })?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    check(cluster, "it ran on all", ran_on(cluster, job) == 8)
}

#[test]
fn a_gang_that_is_half_up_when_the_rest_is_refused_is_requeued_as_a_whole() -> Result<()> {
    let (cluster, job) = half_a_gang("half-up", true)?;
    cluster.wait_for(SOON, "slurmd of four nodes to register", || {
        let states = cluster.node_states()?;
        Ok(states.values().filter(|state| !state.contains("POWERING_UP")).count() == 4)
    })?;
    check(&cluster, "the job waits", cluster.job_state(job)? == "CONFIGURING")?;
    refuse_the_rest(&cluster)?;
    cluster.wait_for(SOON, "slurmctld to be told to give them all back", || {
        let log = std::fs::read_to_string(cluster.log_path()).unwrap_or_default();
        Ok(log.contains("state=power_down_force") && log.contains("the whole gang begins anew"))
    })?;
    runs_in_the_north(&cluster, job)?;
    check(&cluster, "it was requeued once", restarts(&cluster, job)? == 1)?;
    end(&cluster)
}

#[test]
fn a_gang_of_which_no_slurmd_has_registered_moves_and_its_job_is_not_requeued() -> Result<()> {
    let (cluster, job) = half_a_gang("half-made", false)?;
    refuse_the_rest(&cluster)?;
    runs_in_the_north(&cluster, job)?;
    check(&cluster, "it was not requeued", restarts(&cluster, job)? == 0)?;
    end(&cluster)
}

#[test]
fn a_block_that_is_in_use_fails_by_node() -> Result<()> {
    let cluster = Cluster::start(&infiniband("in-use", 4, 4))?;
    let room = |vms: Option<u32>| {
        let room = json!({ "region": "*", "sku": SKU, "in_set": true, "late": true, "vms": vms });
        cluster.emulator().post("/capacity", &room)
    };
    room(Some(3))?;
    cluster.emulator().set_delays(&json!({ "retry_after_s": 1, "first_poll_retry_after_s": 1 }))?;
    // It runs until the test has seen enough.
    let go = cluster.dir().join("home/go");
    let script = format!("{SRUN}until [ -e {} ]; do sleep 0.3; done\n", go.display());
    let first = cluster.sbatch(&["-N2"], &script)?;
    cluster.wait_for_job(CYCLE, first, "RUNNING")?;
    let second = cluster.sbatch(&["-N2", "--requeue"], SRUN)?;
    cluster.wait_for(SOON, "the refused node to be down with the reason", || {
        Ok(!down_for(&cluster, "azslurm: capacity")?.is_empty())
    })?;
    cluster
        .wait_for(SOON, "the second job to wait", || Ok(cluster.job_state(second)? == "PENDING"))?;
    let down = down_for(&cluster, "azslurm")?;
    check(&cluster, &format!("one node is down: {down:?}"), down.len() == 1)?;
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    let sql = "SELECT count(*) FROM attempts WHERE why = 'superseded'";
    let moved: i64 = ledger.query_row(sql, [], |row| row.get(0))?;
    drop(ledger);
    check(&cluster, "no VM that came was given up", moved == 0)?;
    check(&cluster, "the first job runs on", cluster.job_state(first)? == "RUNNING")?;
    room(None)?;
    holds_end(&cluster)?;
    passes_until(&cluster, "the second job to be completed", |_| {
        Ok(cluster.job_state(second)? == "COMPLETED")
    })?;
    check(&cluster, "it ran on both", ran_on(&cluster, second) == 2)?;
    check(&cluster, "beside the first", cluster.job_state(first)? == "RUNNING")?;
    std::fs::write(&go, "")?;
    cluster.wait_for_job(SOON, first, "COMPLETED")?;
    let is_undisturbed = restarts(&cluster, first)? == 0 && ran_on(&cluster, first) == 2;
    check(&cluster, "the first was not disturbed", is_undisturbed)?;
    check(&cluster, "one set stood at one place", sets(&cluster)?.len() == 1)?;
    end(&cluster)
}
