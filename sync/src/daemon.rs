//! `azslurm-sync daemon`: passes by themselves, for ever.
//!
//! ```text
//! turn:  open the ledger ─► whose turn is it? (seat) ─► pass ─► what is down? (health) ─► pause
//!           SIGHUP: the config is read again        SIGTERM: the turn is dropped where it waits
//! ```
//!
//! Every turn opens the ledger anew, by its path: one that was deleted, replaced or that came back
//! is the next turn's, and between turns none is open, so that it may be moved. That costs 2 ms,
//! and some 25 ms of fsync where the turn has written (measured on two busy cores). Connections to
//! Azure and the token stay from turn to turn: to make them costs a request for a token each time.

mod health;
mod notify;
mod seat;
mod signals;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use azslurm_core::rhythm::pause;
use azslurm_program::exit::{self, Stop, chain_of};
use azslurm_program::{Clients, Loaded, Session, config_file, driver, logs, now};
use futures::FutureExt;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::cli::PROGRAM;
use crate::pass::{Options, pass};
use health::{Health, Outcome};
use notify::{Notifier, watchdog_every};
pub(crate) use seat::acts;
use seat::{Seat, Turn};
use signals::{Signals, Wish};

/// A turn that takes longer hangs: nothing in it waits for so long. It is dropped, and not kept
/// alive before systemd for ever.
const PASS_MAX: Duration = Duration::from_secs(10 * 60);
/// So long a pass follows what is under way. The next one follows the rest, and sees between them
/// what else has happened.
const FOLLOW_FOR: Duration = Duration::from_secs(15);
/// Between two looks of a daemon that waits for another one's seat: a row is read.
const STANDBY_EVERY: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start: config, ledger.
pub fn run(flag: Option<&Path>) -> Result<u8, Stop> {
    let notifier = Notifier::of_environment();
    let signals = Signals::begin(notifier.clone())?;
    let loaded = config_file::load(flag).map_err(Stop::cannot_start)?;
    logs::direct(PROGRAM, &loaded.config.log);
    // Whoever starts the daemon is told at once that the ledger cannot be opened.
    drop(Session::open_loaded(loaded.clone())?);
    let shell = Shell {
        notifier,
        signals,
        flag: flag.map(Path::to_owned),
        loaded: Arc::new(loaded),
        watchdog: None,
        wrong: None,
        said: "the first pass is being made".to_owned(),
    };
    driver::block_on(live(shell))?;
    Ok(exit::DONE)
}

async fn live(mut shell: Shell) {
    let mut worker = Worker { seat: Seat::new(), clients: Clients::default(), loaded: None };
    let mut health = Health::default();
    shell.watchdog = watchdog_every().map(interval);
    if let Some(watchdog) = &mut shell.watchdog {
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    shell.notifier.ready();
    shell.say();
    while let Some(outcome) = turn(&mut shell, &mut worker).await {
        health.note(&outcome, now());
        let interval = shell.loaded.config.sync.interval;
        let waits_for_seat = matches!(outcome, Outcome::StoodBy { is_for_a_daemon: true, .. });
        let pause = match waits_for_seat {
            true => STANDBY_EVERY,
            false => pause(interval, health.went(), seed()),
        };
        shell.said = format!("{}; next in {} s", health.text(), pause.as_secs());
        shell.say();
        match shell.attend(pin!(sleep(pause))).await {
            Heard::Done(()) => {}
            Heard::Reload => shell.reload(),
            Heard::End => break,
        }
    }
    worker.seat.leave();
    tracing::info!("ends, as it was told to");
}

/// One turn; `None`: the daemon is to end, and the turn is dropped where it waits. Whoever comes
/// next goes on from the ledger.
async fn turn(shell: &mut Shell, worker: &mut Worker) -> Option<Outcome> {
    let loaded = Arc::clone(&shell.loaded);
    let mut turn = pin!(guarded(worker.turn(&loaded)));
    loop {
        match shell.attend(turn.as_mut()).await {
            Heard::Done(outcome) => return Some(outcome),
            Heard::Reload => shell.reload(),
            Heard::End => return None,
        }
    }
}

/// A panic or a hang of one turn is an outcome like any other.
async fn guarded(turn: impl Future<Output = Outcome>) -> Outcome {
    match timeout(PASS_MAX, AssertUnwindSafe(turn).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Outcome::Broke(format!("a mistake in azslurm: {}", words_of(&panic))),
        Err(_elapsed) => Outcome::Broke(format!("no end within {} s", PASS_MAX.as_secs())),
    }
}

fn words_of(panic: &Box<dyn Any + Send>) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

/// Differs from daemon to daemon and from turn to turn.
fn seed() -> u64 {
    let millis = u64::try_from(now().as_millis()).unwrap_or_default();
    millis ^ (u64::from(std::process::id()) << 32)
}

/// Makes passes.
#[derive(Debug)]
struct Worker {
    seat: Seat,
    /// Kept from pass to pass, with their connections and token.
    clients: Clients,
    /// The config that they were made by.
    loaded: Option<Arc<Loaded>>,
}

impl Worker {
    async fn turn(&mut self, loaded: &Arc<Loaded>) -> Outcome {
        if !self.loaded.as_ref().is_some_and(|made_by| Arc::ptr_eq(made_by, loaded)) {
            self.clients = Clients::default();
            self.loaded = Some(Arc::clone(loaded));
        }
        let mut session = match Session::open_loaded(Loaded::clone(loaded)) {
            Ok(session) => session,
            Err(stop) => return Outcome::NoLedger(stop.text()),
        };
        match self.seat.take(&mut session).await {
            Ok(Turn::Act) => {}
            Ok(Turn::StandBy { why, is_for_a_daemon }) => {
                return Outcome::StoodBy { why, is_for_a_daemon };
            }
            Err(stop) => return Outcome::NoLedger(stop.text()),
        }
        session.clients = std::mem::take(&mut self.clients);
        let options = Options { dry_run: false, wait: FOLLOW_FOR, force: false };
        match pass(&mut session, options).await {
            Ok(report) => {
                // What is wrong with a connection goes with it.
                if report.azure_unknown.is_none() && report.azure_incomplete.is_empty() {
                    self.clients = session.clients;
                }
                Outcome::Passed(Box::new(report))
            }
            Err(stop) => Outcome::NoLedger(stop.text()),
        }
    }
}

/// What a wait ended with.
enum Heard<T> {
    Done(T),
    Reload,
    End,
}

/// Between systemd and the passes.
#[derive(Debug)]
struct Shell {
    notifier: Notifier,
    signals: Signals,
    watchdog: Option<Interval>,
    flag: Option<PathBuf>,
    loaded: Arc<Loaded>,
    /// What is wrong with the config that is there now, and not used.
    wrong: Option<String>,
    said: String,
}

impl Shell {
    /// Waits for `work` or for a signal, and tells systemd meanwhile that it is not stuck.
    async fn attend<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> Heard<T> {
        loop {
            tokio::select! {
                biased;
                wish = self.signals.next() => return match wish {
                    Wish::End => Heard::End,
                    Wish::Reload => Heard::Reload,
                },
                () = tick(&mut self.watchdog) => self.notifier.alive(),
                done = work.as_mut() => return Heard::Done(done),
            }
        }
    }

    /// Reads the config again. One that is wrong is not used: the one before stays.
    fn reload(&mut self) {
        self.notifier.reloading();
        let read = config_file::load(self.flag.as_deref());
        self.wrong = match read {
            Ok(loaded) => {
                self.loaded = Arc::new(loaded);
                None
            }
            Err(error) => Some(chain_of(&error)),
        };
        // The file may have been rotated away.
        logs::direct(PROGRAM, &self.loaded.config.log);
        match &self.wrong {
            None => tracing::info!("the config is read again: the next pass uses it"),
            Some(wrong) => {
                tracing::error!("the config is wrong and not used, the one before stays: {wrong}");
            }
        }
        self.notifier.ready();
        self.say();
    }

    fn say(&self) {
        let wrong = self.wrong.as_ref();
        let wrong = wrong.map(|wrong| format!("the config is wrong and not used: {wrong}; "));
        self.notifier.status(&format!("{}{}", wrong.unwrap_or_default(), self.said));
    }
}

/// The next time to tell systemd; never, if it does not ask.
async fn tick(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(watchdog) => drop(watchdog.tick().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_panics_is_an_outcome_and_its_words_are_kept() {
        let outcome = driver::block_on(guarded(async {
            let nothing: Vec<u8> = Vec::new();
            assert!(!nothing.is_empty(), "a pass that breaks");
            Outcome::NoLedger(String::new())
        }));
        let Ok(Outcome::Broke(why)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(why, "a mistake in azslurm: a pass that breaks");
    }
}
