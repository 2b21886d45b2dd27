//! slurmctld's troubles.

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

use crate::bed::Bed;
use crate::diary::{Diary, now};

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

/// It ends as it is asked to.
pub fn end(bed: &Bed, diary: &mut Diary) -> Result<()> {
    is_away(diary);
    bed.cluster.stop_slurmctld()
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
