//! Azure's list is empty, refused, and behind, while a job runs and while one of its VMs is taken;
//! what that VM leaves behind goes later.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use azslurm_test_cluster::{Cluster, ClusterSpec};
use serde_json::{Value, json};

use crate::story::{
    CYCLE, SOON, check, end, holds_end, pass, passes_until, restarts, spec, vms_grow_old,
    waiting_job,
};

const GRAPH: &str = "Microsoft.ResourceGraph";

/// Whatever Resource Graph is asked, it answers so.
fn graph_answers(cluster: &Cluster, status: u16, body: &Value) -> Result<()> {
    cluster.emulator().clear_faults()?;
    cluster.emulator().add_fault(&json!({
        "method": "POST", "path_contains": GRAPH, "kind": "answer", "times": 10_000,
        "status": status, "body": body,
    }))?;
    Ok(())
}

/// A pass that says this of its sight, and changes nothing.
fn pass_leaves_all(cluster: &Cluster, key: &str, words: &str) -> Result<()> {
    let report = pass(cluster)?;
    let is_said = report[key].to_string().contains(words);
    check(cluster, &format!("{key} says {words:?}: {report}"), is_said)?;
    let is_still = report["lines"] == json!([]) && report["orphans"] == json!([]);
    check(cluster, &format!("and nothing is done: {report}"), is_still)?;
    check(cluster, "both VMs are there", cluster.emulator().vms()?.len() == 2)
}

/// An hour passes for what was left behind.
fn an_hour_later(cluster: &Cluster) -> Result<()> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    let sql = "DELETE FROM facts WHERE key = 'leftovers-looked';
        UPDATE attempts SET ended_at = ended_at - 3600000 WHERE ended_at IS NOT NULL;";
    Ok(ledger.execute_batch(sql)?)
}

#[test]
fn a_job_outlives_every_blindness_of_resource_graph_and_nothing_is_left_behind() -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec {
        slurmd_timeout: Duration::from_secs(900),
        nodeset_lines: vec!["priority = \"spot\"\neviction_policy = \"delete\"".to_owned()],
        // Each refusal of the graph would be waited out for half a minute.
        config_text: "[limits]\ntries = 1\n".to_owned(),
        ..spec("sight", 2)
    })?;
    let (script, go_on) = waiting_job(&cluster);
    let job = cluster.sbatch(&["-N2", "--requeue"], &script)?;
    cluster.wait_for_job(CYCLE, job, "RUNNING")?;
    vms_grow_old(&cluster)?;
    let empty = json!({"totalRecords": 0, "count": 0, "data": [], "resultTruncated": "false"});
    graph_answers(&cluster, 200, &empty)?;
    pass_leaves_all(&cluster, "azure_incomplete", "shows 0 of 2")?;
    let busy = json!({"error": {"code": "ServiceUnavailable", "message": "busy"}});
    graph_answers(&cluster, 503, &busy)?;
    pass_leaves_all(&cluster, "azure_instead", "listed group by group")?;
    check(&cluster, "the job runs on", cluster.job_state(job)? == "RUNNING")?;

    let taken = cluster.emulator().vms()?.first().context("no VM")?.name.clone();
    cluster.emulator().post("/vms", &json!({"vm": taken, "leaves": ["nic", "disk"]}))?;
    cluster.emulator().evict(&taken)?;
    passes_until(&cluster, "the job to be requeued", |_| Ok(restarts(&cluster, job)? == 1))?;
    cluster.emulator().clear_faults()?;
    cluster.emulator().set_graph_lag(Duration::from_secs(60))?;
    holds_end(&cluster)?;
    fs::write(&go_on, "")?;
    passes_until(&cluster, "the job to be completed", |report| {
        check(&cluster, "a VM that is gone is no orphan", report["orphans"] == json!([]))?;
        Ok(cluster.job_state(job)? == "COMPLETED")
    })?;
    let output = cluster.job_output(job).context("the job has no output")?;
    check(&cluster, &output, output.contains("began 1") && output.contains("done"))?;
    cluster.emulator().set_graph_lag(Duration::ZERO)?;
    an_hour_later(&cluster)?;
    passes_until(&cluster, "what the VM left behind to be gone", |_| {
        let alive = cluster.emulator().alive()?;
        Ok(!alive.iter().any(|one| one.name.starts_with(&taken)))
    })?;
    end(&cluster)
}
