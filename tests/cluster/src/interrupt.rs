//! Ctrl-C of a program that shows a cluster: it ends the story early and still cleans up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C, SIGTERM and SIGHUP only make [`interrupted`] true, and every wait for the
/// cluster ends with an error; a second signal ends the program at once (the guardian cleans up all
/// the same). To be called first in `main`, before other threads are there.
pub fn catch_interrupts() -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    thread::Builder::new().name("interrupts".to_owned()).spawn(move || {
        while let Ok(signal) = signals.wait() {
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                // What a shell says about a program that a signal ended.
                std::process::exit(128 + signal as i32);
            }
        }
    })?;
    Ok(())
}

/// Whether somebody wants the program to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
