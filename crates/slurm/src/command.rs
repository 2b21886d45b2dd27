//! The only place that starts a program of Slurm's.
//!
//! The child gets nothing of our environment: slurmctld gives its programs neither PATH nor HOME,
//! and an operator's shell may hold `SLURM_TIME_FORMAT`, `SLURM_CLUSTERS` or a locale that change
//! the output. Rust's `Command` empties the signal mask of the child, which matters because 22.05
//! starts our programs with nearly all signals blocked; a test holds it to that.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azslurm_core::config::Slurm as Config;
use azslurm_core::plain;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::SlurmError;

/// More than `scontrol show nodes` says about the most nodes that Slurm can have (65,536 nodes of
/// about 600 bytes are 40 MB); beyond it something is wrong, and memory is not spent on it.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// So much of a command line or of scontrol's words is enough to know which it was.
const SHOWN_CHARS_MAX: usize = 300;

/// Runs Slurm's clients: as processes, or by the model of slurmctld that a simulation asks.
#[async_trait]
pub trait Clients: Debug + Send + Sync {
    /// Runs `client` (`scontrol`, `scancel`) to its end. Dropping the future kills it.
    async fn run(&self, client: &str, conf: Option<&Path>, arguments: &[&str]) -> Ran;
}

/// What a run of a client came to.
#[derive(Debug)]
pub enum Ran {
    /// It ended, with this status and these words.
    Ended(ExitStatus, String, String),
    /// It could not be started.
    NotStarted(PathBuf, io::Error),
    /// What it said could not be read.
    NotRead(io::Error),
}

/// Slurm's clients in a folder.
#[derive(Debug)]
struct Installed {
    bin_dir: PathBuf,
}

#[async_trait]
impl Clients for Installed {
    async fn run(&self, client: &str, conf: Option<&Path>, arguments: &[&str]) -> Ran {
        let program = self.bin_dir.join(client);
        let child = match command_of(&program, conf, arguments).spawn() {
            Ok(child) => child,
            Err(error) => return Ran::NotStarted(program, error),
        };
        match collect(child).await {
            Ok((status, stdout, stderr)) => Ran::Ended(status, stdout, stderr),
            Err(error) => Ran::NotRead(error),
        }
    }
}

/// Runs `scontrol`, and `scancel` for what only that can.
#[derive(Debug)]
pub(crate) struct Scontrol {
    clients: Arc<dyn Clients>,
    conf: Option<PathBuf>,
    timeout: Duration,
    runs: AtomicU64,
}

/// What one run said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The command line, for messages.
    pub(crate) command: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Scontrol {
    pub(crate) fn new(config: &Config) -> Scontrol {
        Scontrol::over(Arc::new(Installed { bin_dir: config.bin_dir.clone() }), config)
    }

    pub(crate) fn over(clients: Arc<dyn Clients>, config: &Config) -> Scontrol {
        Scontrol {
            clients,
            conf: config.conf.clone().or_else(|| std::env::var_os("SLURM_CONF").map(PathBuf::from)),
            timeout: config.command_timeout,
            runs: AtomicU64::new(0),
        }
    }

    /// The same commands with another slurm.conf; they are counted by themselves.
    pub(crate) fn with_conf(&self, conf: &Path) -> Scontrol {
        Scontrol {
            clients: Arc::clone(&self.clients),
            conf: Some(conf.to_owned()),
            timeout: self.timeout,
            runs: AtomicU64::new(0),
        }
    }

    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Runs `scontrol arguments` to its end, whatever its exit status is.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Answer, SlurmError> {
        self.run_client("scontrol", arguments).await
    }

    /// As [`Scontrol::run`], any client of Slurm's.
    pub(crate) async fn run_client(
        &self,
        client: &str,
        arguments: &[&str],
    ) -> Result<Answer, SlurmError> {
        self.run_by(client, self.conf.as_deref(), arguments).await
    }

    /// As [`Scontrol::run`], with another slurm.conf.
    pub(crate) async fn run_with(
        &self,
        conf: &Path,
        arguments: &[&str],
    ) -> Result<Answer, SlurmError> {
        self.run_by("scontrol", Some(conf), arguments).await
    }

    async fn run_by(
        &self,
        client: &str,
        conf: Option<&Path>,
        arguments: &[&str],
    ) -> Result<Answer, SlurmError> {
        let command = shown(&format!("{client} {}", arguments.join(" ")));
        self.runs.fetch_add(1, Ordering::Relaxed);
        let run = self.clients.run(client, conf, arguments);
        // Dropping the future at the time limit drops the child, and that kills it.
        match tokio::time::timeout(self.timeout, run).await {
            Ok(Ran::Ended(status, stdout, stderr)) => {
                Ok(Answer { command, status, stdout, stderr })
            }
            Ok(Ran::NotStarted(program, source)) => Err(SlurmError::NotRun { program, source }),
            Ok(Ran::NotRead(source)) => Err(SlurmError::NotRead { command, source }),
            Err(_elapsed) => Err(SlurmError::TimedOut { command, limit: self.timeout }),
        }
    }

    /// As [`Scontrol::run`], and another exit status than 0 is an error.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> Result<Answer, SlurmError> {
        self.run(arguments).await?.if_done()
    }
}

fn command_of(program: &Path, conf: Option<&Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        // scontrol prints local times without a zone: this makes them UTC.
        .env("TZ", "UTC0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(conf) = conf {
        command.env("SLURM_CONF", conf);
    }
    command
}

impl Answer {
    /// Itself, if its exit status is 0.
    pub(crate) fn if_done(self) -> Result<Answer, SlurmError> {
        if self.status.success() { Ok(self) } else { Err(self.into_error()) }
    }

    /// The error that a failed run stands for, by scontrol's words: its exit status is 1 for
    /// everything.
    pub(crate) fn into_error(self) -> SlurmError {
        let said = self.said();
        let command = self.command;
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if has(&NOT_RESPONDING) {
            SlurmError::NotResponding { command, said }
        } else if has(&["Invalid node state"]) {
            SlurmError::NotAllowed { command, said }
        } else if has(&["Invalid user id", "Access/permission denied"]) {
            SlurmError::NotPermitted { command, said }
        } else {
            SlurmError::Failed { command, status: self.status.to_string(), said }
        }
    }

    /// Whether slurmctld refused a list because a name in it is not one of its nodes.
    pub(crate) fn is_unknown_node(&self) -> bool {
        !self.status.success() && self.said().contains("Invalid node name")
    }

    fn said(&self) -> String {
        let words = [self.stderr.as_str(), self.stdout.as_str()].join("\n");
        let lines: Vec<&str> =
            words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() { "nothing".to_owned() } else { shown(&lines.join("; ")) }
    }
}

/// scontrol's words for a controller that is down, starting, in stand-by or overloaded
/// (slurm_errno.c, the same from 22.05 to 26.05).
const NOT_RESPONDING: [&str; 6] = [
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "Slurm backup controller in standby mode",
    "Transport endpoint is not connected",
];

async fn collect(mut child: Child) -> std::io::Result<(ExitStatus, String, String)> {
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    // All three together: a child that fills one pipe while we read the other would never end.
    let (stdout, stderr, status) =
        tokio::try_join!(read_all(stdout), read_all(stderr), child.wait())?;
    Ok((status, stdout, stderr))
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(std::io::Error::other(format!("more than {OUTPUT_BYTES_MAX} bytes of output")));
    }
    // Comments and reasons may hold any bytes; a replaced character harms nobody.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// For messages: cut, and without what a terminal obeys, since users' words may be among Slurm's.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}...", plain::text(&text[..at])),
        None => plain::text(text).into_owned(),
    }
}
