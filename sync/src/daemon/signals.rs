//! SIGTERM, SIGINT and SIGHUP, waited for by a thread of their own: the loop may be in the middle
//! of something that cannot be dropped (a transaction that another program holds up), and must end
//! within a second all the same.

use std::thread;
use std::time::Duration;

use azslurm_program::exit::{self, Stop};
use nix::sys::signal::{SigSet, Signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::notify::Notifier;

/// A loop that has not ended by itself so long after SIGTERM is left where it stands: everything is
/// made for a death at any moment.
const END_MAX: Duration = Duration::from_millis(700);

/// What somebody wants of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM, SIGINT.
    End,
    /// SIGHUP.
    Reload,
}

/// Wishes, in their order.
#[derive(Debug)]
pub(super) struct Signals {
    wishes: UnboundedReceiver<Wish>,
}

impl Signals {
    /// Blocks the signals and waits for them. Must come before any other thread begins: each
    /// inherits what is blocked. Children do not: `scontrol` starts with an empty mask.
    pub(super) fn begin(notifier: Notifier) -> Result<Signals, Stop> {
        let ours = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        ours.thread_block().map_err(Stop::cannot_start)?;
        let (sender, wishes) = unbounded_channel();
        let wait = move || {
            loop {
                match ours.wait() {
                    Ok(Signal::SIGHUP) => {
                        // A closed channel: the loop has ended already.
                        let _ended = sender.send(Wish::Reload);
                    }
                    Ok(_terminates) => {
                        notifier.stopping();
                        let _ended = sender.send(Wish::End);
                        thread::sleep(END_MAX);
                        tracing::warn!("the pass does not end by itself: it is left as it is");
                        std::process::exit(i32::from(exit::DONE));
                    }
                    Err(error) => tracing::warn!("cannot wait for signals: {error}"),
                }
            }
        };
        let named = thread::Builder::new().name("signals".to_owned());
        named.spawn(wait).map_err(Stop::cannot_start)?;
        Ok(Signals { wishes })
    }

    /// The next wish. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Wish {
        // The thread ends with the process only.
        self.wishes.recv().await.unwrap_or(Wish::End)
    }
}
