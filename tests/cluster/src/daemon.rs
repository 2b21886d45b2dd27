//! A daemon of the cluster, and the guardian that outlives the test.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::install::PATH;

/// The guardian kills and copies a few megabytes.
const GUARDIAN_LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(20);

/// A child in the foreground, with its output in a file.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
    child: Child,
}

impl Daemon {
    /// Starts `command` in the cluster in `dir`; what it writes goes to `log/<name>.out`.
    pub(crate) fn start(name: &str, dir: &Path, command: &mut Command) -> Result<Daemon> {
        Daemon::start_with(name, dir, command, &[])
    }

    /// As [`Daemon::start`], with further variables that name files.
    pub(crate) fn start_with(
        name: &str,
        dir: &Path,
        command: &mut Command,
        variables: &[(&str, &Path)],
    ) -> Result<Daemon> {
        let log = dir.join(format!("log/{name}.out"));
        let log = File::options().create(true).append(true).open(&log)?;
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("AZSLURM_CLUSTER", dir)
            .env("SLURM_CONF", dir.join("etc/slurm.conf"))
            .envs(variables.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the program that shows the cluster, not for its daemons.
            .process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Daemon { name: name.to_owned(), child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGTERM, and its end within `limit`.
    pub(crate) fn stop(&mut self, limit: Duration) -> Result<()> {
        if self.ended().is_none() {
            let pid = Pid::from_raw(i32::try_from(self.pid())?);
            kill(pid, Signal::SIGTERM).with_context(|| format!("end {}", self.name))?;
        }
        let deadline = Instant::now() + limit;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                bail!("{} is still there {} s after SIGTERM", self.name, limit.as_secs());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits for a child that somebody else ends.
    pub(crate) fn reap(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.ended().is_none() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }
}

/// Ends everything of a cluster, also when the test process is no more. See `texts/guardian.sh`.
#[derive(Debug)]
pub(crate) struct Guardian {
    child: Child,
    verdict: Option<ChildStdin>,
}

impl Guardian {
    /// Watches over the cluster in `dir`; logs of a failure go to `keep`.
    pub(crate) fn start(dir: &Path, keep: &Path) -> Result<Guardian> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", include_str!("texts/guardian.sh"), "guardian"])
            .args([dir, keep])
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start the guardian")?;
        let verdict = child.stdin.take();
        Ok(Guardian { child, verdict })
    }

    /// Has everything ended and removed; returns when that is done.
    pub(crate) fn finish(&mut self, passed: bool) -> Result<()> {
        let Some(mut verdict) = self.verdict.take() else { return Ok(()) };
        let word = if passed { "passed\n" } else { "failed\n" };
        // If it cannot be told, the closed pipe says "failed".
        let _told = verdict.write_all(word.as_bytes());
        drop(verdict);
        let deadline = Instant::now() + GUARDIAN_LIMIT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("the guardian did not end within {} s", GUARDIAN_LIMIT.as_secs());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}
