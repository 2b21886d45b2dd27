//! Azure throttles in the middle of one large job: everybody waits as long as it says, and no node
//! suffers from it.

use std::time::Duration;

use anyhow::{Context, Result};
use azslurm_test_cluster::{Cluster, ClusterSpec};
use serde_json::{Value, json};

use crate::story::{CYCLE, SRUN, check, end, spec};

const NODES: u32 = 500;
/// Creates before Azure has enough of them.
const BEFORE: usize = 200;
const RETRY_AFTER: Duration = Duration::from_secs(8);

/// Every PUT of a VM in the emulator's log: when it was answered, in milliseconds, and its status.
fn puts(cluster: &Cluster) -> Result<Vec<(i64, u64)>> {
    let mut log = cluster.emulator().log(0)?;
    let entries: Vec<Value> = serde_json::from_value(log["entries"].take())?;
    let is_put = |entry: &&Value| {
        entry["method"] == "PUT"
            && entry["path"].as_str().is_some_and(|path| path.contains("/virtualMachines/"))
    };
    let read = |entry: &Value| {
        let at: jiff::Timestamp = entry["at"].as_str().context("no time")?.parse()?;
        Ok((at.as_millisecond(), entry["status"].as_u64().context("no status")?))
    };
    entries.iter().filter(is_put).map(read).collect()
}

/// VMs that Azure has taken, by the ledger.
fn taken(cluster: &Cluster) -> Result<u32> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(CYCLE)?;
    // The file is there a moment before its tables.
    if !ledger.table_exists(None, "attempts")? {
        return Ok(0);
    }
    let sql = "SELECT count(*) FROM attempts WHERE accepted_at IS NOT NULL AND ended_at IS NULL";
    Ok(ledger.query_row(sql, [], |row| row.get(0))?)
}

fn holds(cluster: &Cluster) -> Result<u32> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    Ok(ledger.query_row("SELECT count(*) FROM holds", [], |row| row.get(0))?)
}

fn is_down(state: &str) -> bool {
    state.starts_with("DOWN")
}

#[test]
fn a_throttle_in_the_middle_of_500_creates_is_waited_for_and_fails_no_node() -> Result<()> {
    let spec = ClusterSpec {
        resume_timeout: Duration::from_secs(300),
        // One call at a time: none can be under way when the answer comes.
        config_text: "[limits]\nrequests_in_flight = 1\n".to_owned(),
        ..spec("throttle", NODES)
    };
    let cluster = Cluster::start(&spec)?;
    let nodes: Vec<String> = (1..=NODES).map(|number| spec.node(number)).collect();
    let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
    cluster.emulator().never_boot(&names)?;
    // Only the one throttle is what the story is about.
    let wide = json!({ "max": 100_000.0, "refill_per_s": 10_000.0 });
    cluster.emulator().post("/throttle", &json!({ "arm_writes": wide, "arm_reads": wide }))?;
    cluster.emulator().add_fault(&json!({
        "method": "PUT", "path_contains": "/virtualMachines/", "kind": "answer",
        "skip": BEFORE, "status": 429,
        "headers": { "Retry-After": RETRY_AFTER.as_secs().to_string() },
        "body": { "code": "OperationNotAllowed", "message": "too many requests",
            "details": [{ "code": "TooManyRequests", "target": "PutVMSubscriptionMaximum",
                "message": "{\"operationGroup\":\"PutVMSubscriptionMaximum\"}" }] },
    }))?;
    let job = cluster.sbatch(&[&format!("-N{NODES}"), "--requeue"], SRUN)?;
    cluster.wait_for(CYCLE, "all VMs to be taken", || {
        Ok(cluster.ledger_path().exists() && taken(&cluster)? == NODES)
    })?;
    let puts = puts(&cluster)?;
    let closed = puts.iter().position(|(_, status)| *status == 429).context("no 429")?;
    check(&cluster, &format!("answer {closed} is the 429"), closed == BEFORE)?;
    check(&cluster, "each VM was asked for once, and one again", {
        puts.len() == nodes.len() + 1
    })?;
    let waited = puts[closed + 1].0 - puts[closed].0;
    check(&cluster, &format!("nothing was sent for {waited} ms"), {
        u128::try_from(waited)? >= RETRY_AFTER.as_millis()
    })?;
    check(&cluster, "no place is held for it", holds(&cluster)? == 0)?;
    let down: Vec<String> = cluster
        .node_states()?
        .into_iter()
        .filter(|(_, state)| is_down(state))
        .map(|(node, _)| node)
        .collect();
    check(&cluster, &format!("no node is down: {down:?}"), down.is_empty())?;
    let state = cluster.job_state(job)?;
    check(
        &cluster,
        &format!("the job still waits: {state}"),
        state == "CONFIGURING" || { state == "RUNNING" },
    )?;
    check(&cluster, "all VMs are there", cluster.emulator().vms()?.len() == nodes.len())?;
    cluster.scancel(job)?;
    let all = format!("NodeName={}", spec.node_list());
    cluster.scontrol(&["update", &all, "State=POWER_DOWN_FORCE"])?;
    end(&cluster)
}
