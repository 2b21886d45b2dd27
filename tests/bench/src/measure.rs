//! What a program costs, with all that it starts: a process of its own adopts the program's driver
//! and waits for every child, so that the kernel's sum is of this program alone.

use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::{WaitStatus, wait};
use serde::{Deserialize, Serialize};

/// What was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// User and system time of all its processes, in milliseconds.
    pub cpu_ms: f64,
    /// Of that, the kernel's.
    pub kernel_ms: f64,
    /// From the start to the end of the last process.
    pub wall_ms: f64,
    /// From the start to the end of the first process: what slurmctld waits for.
    pub front_ms: f64,
    /// The most memory that one of its processes had.
    pub rss_mib: f64,
    /// When it was started, in milliseconds since 1970.
    pub began_at_ms: f64,
    /// Exit code of the first process.
    pub code: i32,
}

/// Runs `command` and prints its [`Cost`].
pub fn tell(command: &[&str]) -> Result<()> {
    set_child_subreaper(true)?;
    let (begun, began_at) = (Instant::now(), SystemTime::now());
    let child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", command[0]))?;
    let first = i32::try_from(child.id())?;
    let began_at_ms = began_at.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() * 1000.0;
    let mut cost = Cost { began_at_ms, ..Cost::default() };
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == first => {
                cost.front_ms = millis(begun);
                cost.code = code;
            }
            Ok(_) => {}
            Err(Errno::ECHILD) => break,
            Err(error) => bail!("cannot wait for {}: {error}", command[0]),
        }
    }
    cost.wall_ms = millis(begun);
    let spent = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    cost.kernel_ms = spent.system_time().num_microseconds() as f64 / 1000.0;
    cost.cpu_ms = cost.kernel_ms + spent.user_time().num_microseconds() as f64 / 1000.0;
    // The kernel counts in KiB.
    cost.rss_mib = spent.max_rss() as f64 / 1024.0;
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Runs `command` in a process that measures it. Its environment is the program's.
pub fn run(command: Command) -> Result<Cost> {
    let shown = format!("{command:?}");
    let (cost, said) = run_whatever(command)?;
    if cost.code != 0 {
        bail!("{shown} ended with {}: {said}", cost.code);
    }
    Ok(cost)
}

/// The same, whatever its exit code is; and what it said on standard error.
pub fn run_whatever(mut command: Command) -> Result<(Cost, String)> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let cost: Cost = serde_json::from_slice(&output.stdout).with_context(|| said.clone())?;
    Ok((cost, said))
}

/// A command that measures another, which is to be added: `command.arg(PROGRAM).arg(…)`.
pub fn command() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env_clear().arg("measure");
    Ok(command)
}

/// The run in the middle, by CPU: one that was disturbed does not count.
pub fn middle(mut costs: Vec<Cost>) -> Option<Cost> {
    costs.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
    costs.get(costs.len().checked_sub(1)? / 2).copied()
}
