//! azslurm-sync again and again, as its timer would run it. Must never decide anything of its own.

use std::fs::File;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use azslurm_test_cluster::{Cluster, interrupted};
use serde_json::Value;

/// Between two passes. A timer would wait a minute, which nobody wants to watch.
pub const PAUSE: Duration = Duration::from_secs(3);
/// `--wait` of a pass: how long it follows what is under way.
pub const WAIT: &str = "5";
/// How soon the end of a pass or of the demo is seen.
const POLL: Duration = Duration::from_millis(50);

/// The passes of one demo.
#[derive(Debug, Default)]
pub struct Passes {
    is_over: AtomicBool,
    made: AtomicU32,
    trouble: Mutex<Option<String>>,
}

/// Ends the passes when it is dropped, so that also a panic does not leave them running.
#[derive(Debug)]
pub struct EndOfPasses<'a>(&'a Passes);

impl Drop for EndOfPasses<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

impl Passes {
    /// Makes passes until [`Passes::ends_with`]'s value is dropped.
    pub fn run(&self, cluster: &Cluster) {
        while !self.is_over.load(Ordering::SeqCst) && !interrupted() {
            let trouble = pass(cluster).err().map(|error| format!("{error:#}"));
            self.made.fetch_add(1, Ordering::SeqCst);
            *self.last_trouble() = trouble;
            let next = Instant::now() + PAUSE;
            while Instant::now() < next && !self.is_over.load(Ordering::SeqCst) && !interrupted() {
                thread::sleep(POLL);
            }
        }
    }

    /// What ends them.
    pub fn ends_with(&self) -> EndOfPasses<'_> {
        EndOfPasses(self)
    }

    /// How many there were.
    pub fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }

    /// What went wrong in the last one.
    pub fn trouble(&self) -> Option<String> {
        self.last_trouble().clone()
    }

    fn last_trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        // A text is whole also after a panic elsewhere.
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One pass: an error unless it says that all is well.
fn pass(cluster: &Cluster) -> Result<()> {
    let report = cluster.dir().join("run/pass.json");
    let said = cluster.dir().join("log/azslurm-sync.err");
    let mut command = cluster.program("azslurm-sync")?;
    command.args(["--json", "pass", "--wait", WAIT]).stdin(Stdio::null());
    command.stdout(File::create(&report)?).stderr(File::create(&said)?);
    let status = end_of(command.spawn().context("start azslurm-sync")?)?;
    if !status.success() && !interrupted() {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        anyhow::bail!("azslurm-sync ended with {status}: {}", said.trim());
    }
    if status.success() {
        let text = std::fs::read_to_string(&report)?;
        let _report: Value = serde_json::from_str(&text).context("the report of a pass")?;
    }
    Ok(())
}

/// Waits for the end of a pass. Ctrl-C ends it: a pass may be killed at any time.
fn end_of(mut child: Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupted() {
            child.kill()?;
            return Ok(child.wait()?);
        }
        thread::sleep(POLL);
    }
}
