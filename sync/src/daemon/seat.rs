//! Which daemon acts: the one that sits. One per ledger by its row there, and of several head nodes
//! the one beside the active slurmctld.
//!
//! ```text
//! scontrol ping ──► decide_stand (core) ──act──► row in the ledger: ours, over, or of a dead one?
//!                        │ stand by                  │ no: stand by          │ yes: ours now
//! ```

use std::path::PathBuf;
use std::time::Duration;

use azslurm_core::controllers::{Answer, Before, ControllersView, Stand, decide_stand, first_up};
use azslurm_ledger::{DaemonRow, Holder, LedgerError};
use azslurm_program::alive::{self, Alive};
use azslurm_program::exit::{Stop, chain_of};
use azslurm_program::{Session, now};
use azslurm_slurm::Controller;
use tokio::time::Instant;

use super::PASS_MAX;
use crate::takeover;

/// Longer than the longest pass and the longest pause after it, so that a daemon that works never
/// loses its seat. Only one on another machine, or one that hangs, is waited for so long: that one
/// on this machine is dead is seen at once.
const SEAT_FOR: Duration = PASS_MAX.saturating_add(Duration::from_secs(15 * 60));
/// That slurm.conf names a single `SlurmctldHost` is believed for so long; a second one is added
/// once in a cluster's life.
const ONE_TRUSTED: Duration = Duration::from_secs(300);
/// Where the kernel says what this machine is called; no name service is asked.
const HOST_FILE: &str = "/proc/sys/kernel/hostname";

/// Whether to make a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Yes.
    Act,
    /// No; why, for people.
    StandBy {
        /// In a sentence's middle.
        why: String,
        /// Whether another daemon of this ledger has the seat: it may die at any moment.
        is_for_a_daemon: bool,
    },
}

/// What a daemon knows of itself and the others.
#[derive(Debug)]
pub(super) struct Seat {
    holder: Holder,
    host: String,
    /// The proof that we live, and for which ledger.
    alive: Option<(PathBuf, Alive)>,
    before: Before,
    one_since: Option<Instant>,
}

/// What this machine is called.
fn host() -> String {
    std::fs::read_to_string(HOST_FILE).unwrap_or_default().trim().to_owned()
}

/// Whether the daemon of a row acts: its time is not over, and where it can be seen, it lives.
pub(crate) fn acts(session: &Session, row: &DaemonRow) -> bool {
    now() < row.until && (row.host != host() || session.is_alive(&row.holder))
}

impl Seat {
    /// Of a daemon that has just been started.
    pub(super) fn new() -> Seat {
        let host = host();
        let holder = Holder::new("azslurm-sync-daemon", now(), std::process::id());
        Seat { holder, host, alive: None, before: Before::Nothing, one_since: None }
    }

    /// Looks whether this daemon acts now, and takes the seat if so.
    pub(super) async fn take(&mut self, session: &mut Session) -> Result<Turn, Stop> {
        if let Some(why) = self.stands_by_for_slurmctld(session).await {
            self.before = Before::StoodBy;
            takeover::note_standing_by(session).map_err(Stop::failed)?;
            return Ok(Turn::StandBy { why, is_for_a_daemon: false });
        }
        self.show_alive(session)?;
        if let Some(row) = self.sit(session).map_err(Stop::failed)? {
            let DaemonRow { holder, host, since, .. } = row;
            let why = format!("the daemon {holder} on {host} acts since {since}");
            return Ok(Turn::StandBy { why, is_for_a_daemon: true });
        }
        if self.before == Before::Nothing && self.one_since.is_none() {
            // While no daemon looked, another head node may have acted.
            takeover::note_standing_by(session).map_err(Stop::failed)?;
        }
        self.before = Before::Acted;
        Ok(Turn::Act)
    }

    /// The daemon ends in good order: others need not wait.
    pub(super) fn leave(&mut self) {
        if let Some((_, alive)) = self.alive.take() {
            alive.end();
        }
    }

    async fn stands_by_for_slurmctld(&mut self, session: &Session) -> Option<String> {
        if self.one_since.is_some_and(|since| since.elapsed() < ONE_TRUSTED) {
            return None;
        }
        let asked = session.slurm.ping().await;
        if let Err(error) = &asked {
            tracing::debug!("the controllers are not known: {}", chain_of(error));
        }
        let controllers: Vec<Controller> = asked.unwrap_or_default();
        let answers: Vec<Answer<'_>> =
            controllers.iter().map(|one| Answer { host: &one.host, is_up: one.is_up }).collect();
        let view = ControllersView::of(&answers, &self.host);
        self.one_since = (view == ControllersView::One).then(Instant::now);
        match decide_stand(view, self.before) {
            Stand::Act => None,
            Stand::NotBesideTheActive => {
                let active = first_up(&answers).map_or("elsewhere", |answer| answer.host);
                Some(format!("slurmctld is active on {active}, and this is {}", self.host))
            }
            Stand::NobodyAnswers => {
                Some("no slurmctld answers, and this is not the daemon that acted last".to_owned())
            }
        }
    }

    /// Others see by a locked file that this daemon lives; it goes with the ledger.
    fn show_alive(&mut self, session: &Session) -> Result<(), Stop> {
        let ledger = &session.config.ledger.path;
        let is_seen = |(of, alive): &(PathBuf, Alive)| of == ledger && alive.is_seen();
        if !self.alive.as_ref().is_some_and(is_seen) {
            let alive = Alive::begin(ledger, &self.holder).map_err(Stop::failed)?;
            self.alive = Some((ledger.clone(), alive));
        }
        Ok(())
    }

    /// Takes the seat or keeps it; who has it otherwise.
    fn sit(&self, session: &mut Session) -> Result<Option<DaemonRow>, LedgerError> {
        let at = now();
        let ledger = session.config.ledger.path.clone();
        let is_taken = |row: &DaemonRow| {
            let is_dead = row.host == self.host && !alive::is_alive(&ledger, &row.holder);
            !row.may_be_followed(&self.holder, at, is_dead)
        };
        // Whoever stands by looks often, and writes nothing.
        if let Some(row) = session.ledger.daemon()?.filter(|row| is_taken(row)) {
            return Ok(Some(row));
        }
        session.ledger.write(|writer| {
            let row = writer.daemon()?;
            if let Some(row) = row.as_ref().filter(|row| is_taken(row)) {
                return Ok(Some(row.clone()));
            }
            if let Some(row) = row.filter(|row| row.holder != self.holder) {
                tracing::info!("acts from now on, after the daemon {} on {}", row.holder, row.host);
            }
            writer.set_daemon((&self.holder, &self.host), (at, at.plus(SEAT_FOR)))?;
            Ok(None)
        })
    }
}
