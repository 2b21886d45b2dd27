//! Starting a driver: the same binary again, in a session of its own, with nothing of slurmctld's
//! left open.
//!
//! slurmctld (23.02 and newer) kills what is left of a program's process group the moment the
//! program ends, and waits while its output is open; so the driver calls setsid(2) and gives up its
//! output *before* the front ends. It says "ready" on a pipe when that is done (SLURM.md §2.2).

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use azslurm_ledger::Holder;
use nix::sys::signal::SigSet;

use crate::alive::Alive;

/// The hidden option that makes a program its own driver.
pub const OPTION: &str = "--drive";
const READY: &[u8] = b"ready\n";

/// Why no driver runs. The intents are in the ledger: a pass of azslurm-sync goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// It could not be started.
    #[error("cannot start the driver; azslurm-sync will carry on from the ledger")]
    NotStarted(#[source] io::Error),
    /// It ended before it was ready.
    #[error("the driver ended before it was ready; azslurm-sync will carry on from the ledger")]
    NotReady,
}

/// Starts the driver of `holder` and waits until it stands on its own.
pub fn start(
    program: &'static str,
    config: &Path,
    holder: &Holder,
    alive: &Alive,
) -> Result<(), DriverError> {
    let lock = alive.hand_on().map_err(DriverError::NotStarted)?;
    // /proc/self/exe is this very binary, also when a package upgrade has just replaced the file.
    let mut child = Command::new("/proc/self/exe")
        .arg0(program)
        .arg("--config")
        .arg(config)
        .arg(OPTION)
        .arg(holder.as_str())
        .current_dir("/")
        .stdin(Stdio::from(lock))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(DriverError::NotStarted)?;
    let mut said = Vec::new();
    let pipe = child.stdout.take().ok_or(DriverError::NotReady)?;
    // Ends when the driver has closed its output: at "ready", or with its life.
    let _broken = pipe.take(READY.len() as u64).read_to_end(&mut said);
    if said == READY { Ok(()) } else { Err(DriverError::NotReady) }
}

/// First thing in a driver: own session, no output. Standard input stays: it is the holder's lock.
pub fn stand_alone(program: &str) -> io::Result<()> {
    nix::unistd::setsid()?;
    // `top` and `ps` would call it "exe", after the path that it was started by.
    if let Ok(name) = CString::new(program) {
        nix::sys::prctl::set_name(&name)?;
    }
    let mut stdout = io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let null: File = OpenOptions::new().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// First thing in every program that slurmctld starts: 22.05 starts them with nearly every signal
/// blocked, and that would pass on to every child (SLURM.md §2.1).
pub fn unblock_signals() {
    if let Err(error) = SigSet::all().thread_unblock() {
        tracing::warn!("cannot unblock signals: {error}");
    }
}

/// Runs a driver's work: one thread is enough, its work is waiting.
pub fn block_on<F: Future>(work: F) -> Result<F::Output, crate::exit::Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(crate::exit::Stop::cannot_start)?.block_on(work))
}
