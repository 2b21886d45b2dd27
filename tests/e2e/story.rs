//! What stories share.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use azslurm_test_cluster::{Cluster, ClusterSpec, JobId};
use nix::unistd::Pid;
use serde_json::Value;

/// A power cycle takes up to 30 s of slurmctld's own clock (SLURM.md §1.4), and these machines may
/// be busy.
pub const CYCLE: Duration = Duration::from_secs(180);
/// Something that happens at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A cluster that is fit for most stories.
pub fn spec(name: &str, nodes: u32) -> ClusterSpec {
    ClusterSpec { name: name.to_owned(), nodes, ..ClusterSpec::default() }
}

/// One pass of azslurm-sync, as its JSON.
pub fn pass(cluster: &Cluster) -> Result<Value> {
    let output = cluster.run_program("azslurm-sync", &["--json", "pass", "--wait", "5"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("azslurm-sync ended with {}: {text:?} {said:?}", output.status)
    })
}

/// How many orphans a pass has decided so about.
pub fn orphans(report: &Value, action: &str) -> usize {
    let lines = report["orphans"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.iter().filter(|line| line["action"] == action).count()
}

/// Between two passes: Azure counts polls of one VM by the minute (FACTS §3.2).
const PASS_EVERY: Duration = Duration::from_secs(4);

/// Passes until `is_so`, as the daemon would make them.
pub fn passes_until(
    cluster: &Cluster,
    what: &str,
    mut is_so: impl FnMut(&Value) -> Result<bool>,
) -> Result<()> {
    let mut last = Value::Null;
    let mut next_at = Instant::now();
    let waited = cluster.wait_for(CYCLE, what, || {
        if Instant::now() < next_at {
            return Ok(false);
        }
        next_at = Instant::now() + PASS_EVERY;
        last = pass(cluster)?;
        is_so(&last)
    });
    waited.with_context(|| format!("the last pass: {last}"))
}

/// The time of all holds passes: they end as their own time would end them, and their strikes
/// stay.
pub fn holds_end(cluster: &Cluster) -> Result<()> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    ledger.execute("UPDATE holds SET until = min(until, unixepoch() * 1000 - 1000)", [])?;
    Ok(())
}

/// The time passes in which a PUT that nobody saw the answer of may still arrive.
pub fn puts_settle(cluster: &Cluster) -> Result<()> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    let sql = "UPDATE attempts SET settles_at = min(settles_at, unixepoch() * 1000 - 1000)";
    ledger.execute(sql, [])?;
    Ok(())
}

/// Every VM has been there for longer than Azure's list may lag: an absence from it counts.
pub fn vms_grow_old(cluster: &Cluster) -> Result<()> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    ledger.execute(
        "UPDATE attempts SET intended_at = intended_at - 150000, \
         accepted_at = accepted_at - 150000, running_at = running_at - 150000",
        [],
    )?;
    Ok(())
}

/// A job that runs until a file is there, and says how often it was begun before.
pub fn waiting_job(cluster: &Cluster) -> (String, PathBuf) {
    let go_on = cluster.dir().join("go-on");
    let wait = format!("while [ ! -e {} ]; do sleep 1; done", go_on.display());
    let script = format!("#!/bin/bash\necho began $SLURM_RESTART_COUNT\n{wait}\necho done\n");
    (script, go_on)
}

/// Powers the idle nodes down now, instead of waiting for SuspendTime.
pub fn power_down_idle(cluster: &Cluster) -> Result<()> {
    let states = cluster.node_states()?;
    let idle = states.iter().filter(|(_, state)| *state == "IDLE+CLOUD");
    let idle: Vec<&str> = idle.map(|(node, _)| node.as_str()).collect();
    if idle.is_empty() {
        return Ok(());
    }
    let idle = format!("nodename={}", idle.join(","));
    cluster.scontrol(&["update", &idle, "state=power_down"]).map(drop)
}

/// How often the programs have told slurmctld this of nodes, one call each.
pub fn told(cluster: &Cluster, verb: &str) -> usize {
    let log = fs::read_to_string(cluster.log_path()).unwrap_or_default();
    let words = format!("told slurmctld: state={verb}");
    log.lines().filter(|line| line.contains(&words)).count()
}

/// After a story: every cloud node is off and usable, no work is left, and the audit is clean.
pub fn end(cluster: &Cluster) -> Result<()> {
    let prefix = format!("{}-", cluster.spec().prefix);
    passes_until(cluster, "nothing to be left to do", |report| {
        let states = cluster.node_states()?;
        let are_off = states
            .iter()
            .filter(|(node, _)| node.starts_with(&prefix))
            .all(|(_, state)| state.starts_with("IDLE") && state.contains("POWERED_DOWN"));
        Ok(are_off && report["left"] == 0 && report["vms"] == 0)
    })?;
    cluster.audit()
}

/// Calls of a method that the emulator answered, on VMs.
pub fn vm_calls(cluster: &Cluster, method: &str) -> Result<u64> {
    let calls = cluster.emulator().calls()?;
    let is_it = |route: &str| route.to_ascii_lowercase().contains("/virtualmachines/{");
    let of_method = calls.by.iter().filter(|call| call.method == method && is_it(&call.route));
    Ok(of_method.map(|call| call.count).sum())
}

/// Lists that were asked for: a create path must do without.
pub fn vm_lists(cluster: &Cluster) -> Result<u64> {
    let calls = cluster.emulator().calls()?;
    let is_list = |route: &str| route.to_ascii_lowercase().ends_with("/virtualmachines");
    Ok(calls
        .by
        .iter()
        .filter(|call| call.method == "GET" && is_list(&call.route))
        .map(|c| c.count)
        .sum())
}

/// A job's script: one line per task.
pub const SRUN: &str = "#!/bin/bash\nsrun -l bash -c 'echo ran on $SLURMD_NODENAME'\n";

/// Fails with the programs' log when `is_so` is false.
pub fn check(cluster: &Cluster, what: &str, is_so: bool) -> Result<()> {
    if is_so {
        return Ok(());
    }
    let log = std::fs::read_to_string(cluster.log_path()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    bail!("{what}\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
}

/// Processes of azslurm-resume that work with this cluster's ledger: the front has SLURM_CONF of it
/// in its environment, the driver inherits that.
pub fn resumes(cluster: &Cluster, is_driver: bool) -> Result<Vec<Pid>> {
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

/// Nodes that are down with these words in their reason, with the whole reason.
pub fn down_for(cluster: &Cluster, words: &str) -> Result<Vec<(String, String)>> {
    let told = cluster.client("sinfo", &["-h", "-N", "-a", "-o", "%N %T %E"])?;
    let read = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let (node, state, reason) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = state.starts_with("down") && reason.contains(words);
        is_it.then(|| (node.to_owned(), reason.trim().to_owned()))
    };
    Ok(told.lines().filter_map(read).collect())
}

/// `AdminComment` of the records of a job: one, or one for each task of an array that has one.
pub fn admin_comments(cluster: &Cluster, job: JobId) -> Result<Vec<String>> {
    let records = cluster.scontrol(&["-a", "show", "job", &job.to_string()])?;
    let comments = records.lines().filter_map(|line| line.trim().strip_prefix("AdminComment="));
    Ok(comments.map(str::to_owned).collect())
}

/// How often a job was requeued, all tasks of an array together.
pub fn restarts(cluster: &Cluster, job: JobId) -> Result<u32> {
    let records = cluster.scontrol(&["-a", "show", "job", &job.to_string(), "-o"])?;
    let restarts = records.split_whitespace().filter_map(|word| word.strip_prefix("Restarts="));
    restarts.map(|count| count.parse::<u32>().context("Restarts")).sum()
}

/// Lines of a job's output that its tasks have written.
pub fn ran_on(cluster: &Cluster, job: JobId) -> usize {
    let output = cluster.job_output(job).unwrap_or_default();
    output.lines().filter(|line| line.contains("ran on")).count()
}
