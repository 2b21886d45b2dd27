//! Using a cluster: submitting jobs, asking for states, waiting.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::cluster::Cluster;
use crate::interrupt::interrupted;

/// How often a wait looks again: fast enough to see states that last a second, slow enough for 2
/// cores.
pub const WAIT_POLL: Duration = Duration::from_millis(250);

/// A job's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Cluster {
    /// Submits `script` (with its `#!` line) with further `arguments` of sbatch. Its output goes to
    /// `home/<job>.out` unless the arguments say otherwise.
    pub fn sbatch(&self, arguments: &[&str], script: &str) -> Result<JobId> {
        let home = self.dir().join("home");
        let number = fs::read_dir(&home)?.count();
        let path = home.join(format!("script-{number}.sh"));
        fs::write(&path, script)?;
        let mut command = self.command(Path::new("sbatch"));
        command.args(["--parsable", "--output"]).arg(home.join("%j.out"));
        command.args(arguments).arg(path);
        let answer = text("sbatch", &command.output()?)?;
        let number = answer.trim().split(';').next().unwrap_or_default();
        Ok(JobId(number.parse().with_context(|| format!("sbatch says {answer:?}"))?))
    }

    /// Runs `scontrol` and returns what it writes; another exit status than 0 is an error.
    pub fn scontrol(&self, arguments: &[&str]) -> Result<String> {
        self.client("scontrol", arguments)
    }

    /// Runs a command of the shell as root, with the environment that our programs get from a
    /// person here.
    pub fn shell(&self, command: &str) -> Result<()> {
        let mut shell = self.command(Path::new("/bin/sh"));
        shell.env("AZSLURM_CONFIG", self.config_path()).args(["-c", command]);
        let status = shell.status().with_context(|| format!("start `{command}`"))?;
        if !status.success() {
            bail!("`{command}` has ended with {status}");
        }
        Ok(())
    }

    /// Runs a client of Slurm's (`squeue`, `sinfo`, `scancel` …) and returns what it writes.
    pub fn client(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(Path::new(name)).args(arguments).output();
        text(name, &output.with_context(|| format!("run {name}"))?)
    }

    /// Cancels a job.
    pub fn scancel(&self, job: JobId) -> Result<()> {
        self.client("scancel", &[&job.to_string()]).map(drop)
    }

    /// `JobState` of a job: PENDING, CONFIGURING, RUNNING, COMPLETED …
    pub fn job_state(&self, job: JobId) -> Result<String> {
        let record = self.scontrol(&["-a", "show", "job", &job.to_string(), "-o"])?;
        let state = value(&record, "JobState");
        state.with_context(|| format!("job {job} has no state in {record:?}"))
    }

    /// The states of all tasks of an array, or of the one job, as squeue's long names; finished
    /// ones included.
    pub fn task_states(&self, job: JobId) -> Result<Vec<String>> {
        let job = job.to_string();
        let states =
            self.client("squeue", &["-h", "-a", "-r", "-t", "all", "-o", "%T", "-j", &job])?;
        Ok(states.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// `State` of every node, by name: `IDLE+CLOUD+POWERED_DOWN`.
    pub fn node_states(&self) -> Result<BTreeMap<String, String>> {
        let records = self.scontrol(&["-a", "show", "nodes", "-o"])?;
        let pair = |line: &str| Some((value(line, "NodeName")?, value(line, "State")?));
        Ok(records.lines().filter_map(pair).collect())
    }

    /// `State` of one node.
    pub fn node_state(&self, node: &str) -> Result<String> {
        let states = self.node_states()?;
        states.get(node).cloned().with_context(|| format!("no node {node} in {states:?}"))
    }

    /// What a job has written so far; `None` before it has begun.
    pub fn job_output(&self, job: JobId) -> Option<String> {
        fs::read_to_string(self.dir().join(format!("home/{job}.out"))).ok()
    }

    /// slurmctld's log so far.
    pub fn slurmctld_log(&self) -> String {
        let bytes = fs::read(self.dir().join("log/slurmctld.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `is_so`. After `limit` it is an error that tells the states of jobs and nodes; a
    /// daemon that has died ends the wait at once.
    pub fn wait_for(
        &self,
        limit: Duration,
        what: &str,
        mut is_so: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !is_so().with_context(|| format!("waiting for {what}"))? {
            self.check_daemons()?;
            if interrupted() {
                bail!("interrupted while waiting for {what}");
            }
            if Instant::now() > deadline {
                bail!("not within {} s: {what}\n{}", limit.as_secs(), self.picture());
            }
            thread::sleep(WAIT_POLL);
        }
        Ok(())
    }

    /// Waits until a job is in `state`.
    pub fn wait_for_job(&self, limit: Duration, job: JobId, state: &str) -> Result<()> {
        let what = format!("job {job} to be {state}");
        self.wait_for(limit, &what, || Ok(self.job_state(job)? == state))
    }

    /// Waits until every node is off and idle, as they are in the beginning.
    pub fn wait_until_all_off(&self, limit: Duration) -> Result<()> {
        self.wait_for(limit, "all nodes to be powered down", || {
            let states = self.node_states()?;
            Ok(states.values().all(|state| is_off(state)))
        })
    }

    /// Jobs and nodes as Slurm sees them, for people.
    pub fn picture(&self) -> String {
        let ask = |name, arguments: &[&str]| {
            self.client(name, arguments).unwrap_or_else(|error| format!("{error:#}\n"))
        };
        let jobs = ask("squeue", &["-h", "-a", "-t", "all", "-o", "job %i %T %r %N"]);
        let nodes = ask("sinfo", &["-h", "-a", "-N", "-o", "node %N %T %E"]);
        format!("{jobs}{nodes}")
    }
}

/// Powered down, and nothing else besides: a node that can be resumed.
fn is_off(state: &str) -> bool {
    let mut words = state.split('+');
    let is_idle = words.next() == Some("IDLE");
    // 22.05 leaves NOT_RESPONDING behind; it harms nothing.
    let harmless = ["CLOUD", "POWERED_DOWN", "NOT_RESPONDING"];
    is_idle && state.contains("POWERED_DOWN") && words.all(|word| harmless.contains(&word))
}

/// The value of `key` in a line of scontrol's; only for values without blanks that stand before any
/// free text.
fn value(line: &str, key: &str) -> Option<String> {
    let mut words = line.split_whitespace().filter_map(|word| word.split_once('='));
    words.find(|(found, _)| *found == key).map(|(_, value)| value.to_owned())
}

fn text(name: &str, output: &Output) -> Result<String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_that_can_be_resumed_is_off() {
        assert!(is_off("IDLE+CLOUD+POWERED_DOWN"));
        assert!(is_off("IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING"));
        for other in [
            "DOWN+CLOUD+POWERED_DOWN",
            "IDLE+CLOUD",
            "IDLE+CLOUD+POWERED_DOWN+POWER_UP",
            "MIXED+CLOUD+POWERED_DOWN",
        ] {
            assert!(!is_off(other), "{other}");
        }
    }
}
