//! A region that is down: first nothing of Azure can be reached, then one region answers 503, then
//! it is back.

use std::collections::BTreeSet;

use anyhow::Result;
use azslurm_test_cluster::{Cluster, ClusterSpec};
use serde_json::json;

use crate::story::{
    CYCLE, SOON, SRUN, check, end, holds_end, passes_until, puts_settle, spec, vm_calls,
};

/// Nodes that go on to the north when the west is down. Few tries, so that a region that is down
/// is given up within seconds.
fn two_sites(name: &str, nodes: u32) -> ClusterSpec {
    ClusterSpec {
        sites: vec!["west".to_owned(), "north".to_owned()],
        nodeset_lines: vec!["spill = \"next-site\"".to_owned()],
        config_text: "[limits]\ntries = 2\n".to_owned(),
        ..spec(name, nodes)
    }
}

/// Every VM that was ever made, by region.
fn regions_of_all(cluster: &Cluster) -> Result<Vec<String>> {
    let vms = cluster.emulator().resources()?.into_iter();
    Ok(vms.filter(|seen| seen.is_a("virtualMachines")).filter_map(|vm| vm.location).collect())
}

fn hold_scopes(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    let mut statement = ledger.prepare("SELECT scope FROM holds")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn west_answers_503(cluster: &Cluster) -> Result<()> {
    let down = json!({ "error": { "code": "ServiceUnavailable",
        "message": "the region is not available" } });
    for method in ["PUT", "GET"] {
        cluster.emulator().add_fault(&json!({
            "method": method, "path_contains": "/resourceGroups/hpc/", "times": 10_000,
            "kind": "answer", "status": 503, "body": down,
        }))?;
    }
    Ok(())
}

#[test]
fn nodes_are_told_at_once_while_azure_cannot_be_reached_and_come_when_it_can() -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec { has_gate: true, ..two_sites("gate", 2) })?;
    cluster.gate().shut();
    let job = cluster.sbatch(&["-N2", "--requeue"], SRUN)?;
    cluster.wait_for(SOON, "both nodes to be down with the reason", || {
        let told = cluster.client("sinfo", &["-h", "-N", "-a", "-o", "%N %T %E"])?;
        let is_told = |line: &&str| line.contains("azslurm: ") && line.contains("AzureUnreachable");
        Ok(told.lines().filter(is_told).count() == 2)
    })?;
    let scopes = hold_scopes(&cluster)?;
    let both = BTreeSet::from(["site:north".to_owned(), "site:west".to_owned()]);
    check(&cluster, &format!("both sites are held: {scopes:?}"), scopes == both)?;
    let calls = vm_calls(&cluster, "PUT")? + vm_calls(&cluster, "GET")?;
    check(&cluster, &format!("{calls} calls reached Azure"), calls == 0)?;
    cluster.gate().open()?;
    holds_end(&cluster)?;
    passes_until(&cluster, "both nodes to be usable again", |_| {
        Ok(cluster.node_states()?.values().all(|state| state.starts_with("IDLE")))
    })?;
    // Slurm lets a requeued job wait for two minutes.
    cluster.scontrol(&["update", &format!("JobId={job}"), "StartTime=now"])?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let made = regions_of_all(&cluster)?;
    check(&cluster, &format!("each node got one VM in the west: {made:?}"), {
        made == ["westeurope", "westeurope"]
    })?;
    end(&cluster)
}

#[test]
fn a_job_runs_in_the_north_while_the_west_is_down_and_the_next_in_the_west_again() -> Result<()> {
    let cluster = Cluster::start(&two_sites("region", 4))?;
    west_answers_503(&cluster)?;
    let job = cluster.sbatch(&["-N2", "--nodelist=hpc-[001-002]", "--requeue"], SRUN)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let made = regions_of_all(&cluster)?;
    check(&cluster, &format!("both in the north: {made:?}"), {
        made == ["northeurope", "northeurope"]
    })?;
    let scopes = hold_scopes(&cluster)?;
    check(&cluster, &format!("the west is held: {scopes:?}"), scopes.contains("site:west"))?;
    let restarts = cluster.scontrol(&["show", "job", &job.to_string()])?;
    check(&cluster, &restarts, restarts.contains("Restarts=0"))?;
    // The west is back, but nobody knows: it is not asked again while it is held.
    cluster.emulator().clear_faults()?;
    let job = cluster.sbatch(&["-N1", "--nodelist=hpc-003", "--requeue"], SRUN)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let made = regions_of_all(&cluster)?;
    check(&cluster, &format!("held still: {made:?}"), made == ["northeurope"; 3])?;
    holds_end(&cluster)?;
    let job = cluster.sbatch(&["-N1", "--nodelist=hpc-004", "--requeue"], SRUN)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let made = regions_of_all(&cluster)?;
    let west = made.iter().filter(|region| *region == "westeurope").count();
    check(&cluster, &format!("in the west again: {made:?}"), west == 1 && made.len() == 4)?;
    puts_settle(&cluster)?;
    end(&cluster)
}
