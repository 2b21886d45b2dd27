//! What runs beside slurmctld's calls: the daemon, started again whenever it has ended, as systemd
//! would; and passes that a person or a timer makes, several at once.

use std::fs::OpenOptions;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use azslurm_test_cluster::interrupted;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bed::Bed;
use crate::chance::Chance;

/// How soon an end is seen.
const POLL: Duration = Duration::from_millis(100);
/// As a unit's RestartSec.
const RESTARTS_AFTER: Duration = Duration::from_secs(1);
/// A pass waits for every source, and follows what is under way for seconds.
const PASS_MAX: Duration = Duration::from_secs(240);
/// Seconds after which one that nobody has killed is asked to end: the next is killed elsewhere.
const DAEMON_LIVES: (u64, u64) = (10, 40);
/// It ends within a second wherever it stands (ARCHITECTURE.md, section 9); the machine is busy.
const DAEMON_END_MAX: Duration = Duration::from_secs(30);

/// The daemon and the passes of a run.
#[derive(Debug, Default)]
pub struct Followers {
    is_over: AtomicBool,
    /// How often the daemon was started.
    pub daemons: AtomicU32,
    /// How many passes were made by hand.
    pub passes: AtomicU32,
    /// What was wrong with them.
    findings: Mutex<Vec<String>>,
}

impl Followers {
    /// They end, soon.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// What was wrong.
    pub fn findings(&self) -> Vec<String> {
        self.findings.lock().map(|found| found.clone()).unwrap_or_default()
    }

    fn find(&self, text: String) {
        if let Ok(mut findings) = self.findings.lock() {
            findings.push(text);
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst) || interrupted()
    }

    /// Keeps the daemon alive.
    pub fn keep_daemon(&self, bed: &Bed, seed: u64) {
        let mut chance = Chance::of(seed, 4);
        while !self.is_over() {
            self.daemons.fetch_add(1, Ordering::SeqCst);
            match start(bed, &["daemon"]) {
                Ok(child) => {
                    let lives = Duration::from_secs(chance.between(DAEMON_LIVES.0, DAEMON_LIVES.1));
                    self.follow_daemon(child, Instant::now() + lives);
                }
                Err(error) => self.find(format!("the daemon cannot be started: {error:#}")),
            }
            thread::sleep(RESTARTS_AFTER);
        }
    }

    fn follow_daemon(&self, mut child: Child, until: Instant) {
        let mut ends_by = None;
        while !matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            if (self.is_over() || until < Instant::now()) && ends_by.is_none() {
                ends_by = Some(Instant::now() + DAEMON_END_MAX);
                let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
                // It may be ending already.
                let _asked = kill(pid, Signal::SIGTERM);
            }
            if ends_by.is_some_and(|by| by < Instant::now()) {
                self.find(format!("the daemon did not end within {DAEMON_END_MAX:?} of SIGTERM"));
                let _killed = child.kill();
                ends_by = Some(Instant::now() + PASS_MAX);
            }
            thread::sleep(POLL);
        }
    }

    /// Makes passes, one after the other.
    pub fn make_passes(&self, bed: &Bed, mut chance: Chance) {
        while !self.is_over() {
            self.passes.fetch_add(1, Ordering::SeqCst);
            match start(bed, &["--json", "pass", "--wait", "3"]) {
                Ok(child) => self.follow_pass(child),
                Err(error) => self.find(format!("a pass cannot be started: {error:#}")),
            }
            let next = Instant::now() + Duration::from_millis(chance.between(200, 3000));
            while Instant::now() < next && !self.is_over() {
                thread::sleep(POLL);
            }
        }
    }

    fn follow_pass(&self, mut child: Child) {
        let ends_by = Instant::now() + PASS_MAX;
        while !matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            if Instant::now() > ends_by {
                self.find(format!("a pass did not end within {PASS_MAX:?}"));
                let _killed = child.kill();
                return;
            }
            thread::sleep(POLL);
        }
    }
}

/// azslurm-sync through its wrapper; what it says goes into a file.
fn start(bed: &Bed, arguments: &[&str]) -> Result<Child> {
    let path = bed.cluster.dir().join("log/followers.log");
    let log = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut command: Command = bed.cluster.program("azslurm-sync")?;
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().context("start azslurm-sync")
}
