//! slurmctld's troubles.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

use crate::bed::Bed;
use crate::diary::{Diary, now};

/// slurmctld waits for its threads, and those for names that nobody resolves (systemd's
/// TimeoutStopSec).
const ENDS_WITHIN: Duration = Duration::from_secs(90);
/// How soon its end is seen.
const POLL: Duration = Duration::from_millis(50);

fn pid(bed: &Bed) -> Result<Pid> {
    let pid = bed.cluster.slurmctld_pid().context("slurmctld does not run")?;
    Ok(Pid::from_raw(i32::try_from(pid)?))
}

fn is_away(diary: &mut Diary) {
    diary.controller_away.push((now(), f64::INFINITY));
}

fn is_back(diary: &mut Diary) {
    if let Some((_, until)) = diary.controller_away.last_mut() {
        *until = now();
    }
}

/// It stands still.
pub fn hang(bed: &Bed, diary: &mut Diary) -> Result<()> {
    is_away(diary);
    Ok(send(pid(bed)?, Signal::SIGSTOP)?)
}

/// It goes on.
pub fn go_on(bed: &Bed, diary: &mut Diary) -> Result<()> {
    send(pid(bed)?, Signal::SIGCONT)?;
    is_back(diary);
    Ok(())
}

/// It is asked to end.
pub fn end(bed: &Bed, diary: &mut Diary) -> Result<()> {
    is_away(diary);
    Ok(send(pid(bed)?, Signal::SIGTERM)?)
}

/// It has ended as it was asked to, or is killed when it does not, as systemd would do.
pub fn end_at_last(bed: &Bed, diary: &mut Diary) -> Result<()> {
    let pid = pid(bed)?;
    let limit = Instant::now() + ENDS_WITHIN;
    while is_there(pid) && Instant::now() < limit {
        thread::sleep(POLL);
    }
    if is_there(pid) {
        diary.say("slurmctld has not ended when it was asked to, and is killed");
        diary.controller_killed.push(now());
        send(pid, Signal::SIGKILL)?;
    }
    bed.cluster.stop_slurmctld()?;
    start(bed, diary)
}

/// Whether it has not ended yet; who has ended waits to be asked how.
fn is_there(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// It dies, with all that it has not saved.
pub fn kill(bed: &Bed, diary: &mut Diary) -> Result<()> {
    is_away(diary);
    diary.controller_killed.push(now());
    send(pid(bed)?, Signal::SIGKILL)?;
    bed.cluster.stop_slurmctld()
}

/// It is started again.
pub fn start(bed: &Bed, diary: &mut Diary) -> Result<()> {
    let started = bed.cluster.start_slurmctld();
    is_back(diary);
    started
}
