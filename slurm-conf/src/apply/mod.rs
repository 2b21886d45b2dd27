//! `azslurm-conf diff` and `azslurm-conf apply`: show what the config changes in Slurm's files, and
//! make Slurm take it, without a restart and without a job lost.
//!
//! ```text
//! prepare ─► show ─► faults? decide? ─► ask ─► drain what leaves, decide again (wait for it)
//!    ─► write (old kept beside) ─► reconfigure ─► does slurmctld know it? ─► done
//!                                         └─ no: put the old back, reconfigure, say so
//! ```

pub mod disk;
mod leave;
mod look;
mod prepare;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use azslurm_core::plain;
use azslurm_program::exit;
use azslurm_slurm::SlurmError;

use crate::change::{Refusal, Seen, decide, differences};
use crate::make::MakeError;
use disk::DiskError;
use prepare::{Prepared, prepare};

/// slurmctld takes 10,000 nodes within seconds; 24.11 answers nothing while one of its programs
/// runs, and ours are gone long before.
const TAKEN_WITHIN: Duration = Duration::from_secs(120);
const TAKEN_POLL: Duration = Duration::from_millis(500);

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// No files.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// No slurm.conf to put our lines into.
    #[error(
        "there is no {path}: write one for your cluster first (https://slurm.schedmd.com/configurator.html), \
         or say in [slurm] conf where it is; azslurm adds its own lines and changes none"
    )]
    NoSlurmConf {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Slurm's folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// slurmctld does not answer.
    #[error(
        "slurmctld cannot be asked what runs on the nodes, so nothing is changed; if it is stopped \
         on purpose, say --slurmctld-stopped"
    )]
    Silent(#[source] SlurmError),
    /// slurmctld answers and should not.
    #[error("slurmctld runs: leave --slurmctld-stopped out, or stop it first")]
    NotStopped,
    /// Nobody can be asked.
    #[error("there is no terminal to ask at: say --yes to apply, or --dry-run to look only")]
    Nobody,
    /// slurmctld could not be told.
    #[error("cannot keep new jobs from {nodes}, so nothing is changed")]
    NotDrained {
        /// Host list.
        nodes: String,
        /// Why.
        source: SlurmError,
    },
    /// It was tried, and the old files are back.
    #[error("slurmctld has not taken the change: {why}. The old files are back{then}")]
    NotTaken {
        /// What slurmctld said, or still says.
        why: String,
        /// How slurmctld is now.
        then: String,
    },
}

impl ApplyError {
    /// 2 for what nothing can begin with, 1 for what failed on the way.
    pub fn exit_code(&self) -> u8 {
        match self {
            ApplyError::Make(error) => error.exit_code(),
            ApplyError::NoSlurmConf { .. } | ApplyError::NotStopped | ApplyError::Nobody => {
                exit::CANNOT_START
            }
            ApplyError::Disk(_)
            | ApplyError::Silent(_)
            | ApplyError::NotDrained { .. }
            | ApplyError::NotTaken { .. } => exit::FAILED,
        }
    }
}

/// How it was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Nobody is asked.
    pub is_yes: bool,
    /// Nothing is changed.
    pub is_dry_run: bool,
    /// Files of ours that a person has changed are written over.
    pub is_forced: bool,
    /// slurmctld is stopped and will be started with it.
    pub is_stopped: bool,
    /// How long what leaves is waited for; zero: it must be free now.
    pub wait: Duration,
}

/// Prints what would change; 0: nothing would, 1: something would.
///
/// # Errors
/// [`ApplyError`].
pub async fn diff(flag: Option<&Path>, is_json: bool) -> Result<u8, ApplyError> {
    let prepared = prepare(flag, &Asked::default()).await?;
    match is_json {
        true => println!("{}", plain::json(&format!("{:#}", prepared.json()))),
        false => print!("{}", plain::text(&prepared.text())),
    }
    let changes = !prepared.files.after.is_empty();
    Ok(if changes { exit::FAILED } else { exit::DONE })
}

/// Shows the change, asks, and makes Slurm take it.
///
/// # Errors
/// [`ApplyError`].
pub async fn apply(flag: Option<&Path>, asked: Asked) -> Result<u8, ApplyError> {
    let prepared = prepare(flag, &asked).await?;
    print!("{}", plain::text(&prepared.text()));
    let seen = look(&prepared, &asked).await?;
    let mut against = prepared.faults(&asked).await;
    let is_written = against.is_empty() && prepared.files.steps.is_empty();
    if is_written && is_known(&prepared, &asked).await? {
        return Ok(exit::DONE);
    }
    let refusals = refusals(&prepared, &seen);
    let stands = refusals.iter().filter(|refusal| asked.wait.is_zero() || !refusal.passes());
    against.extend(stands.map(Refusal::text));
    if !against.is_empty() {
        return Ok(refused(&against));
    }
    if asked.is_dry_run {
        println!("\n{}; nothing was changed", prospect(&refusals));
        return Ok(exit::DONE);
    }
    if !asked.is_yes && !said_yes()? {
        println!("nothing was changed");
        return Ok(exit::FAILED);
    }
    let _lock = disk::lock(&prepared.folder.path)?;
    if asked.is_stopped {
        prepared.folder.check_as_it_was()?;
        prepared.folder.write(&prepared.files)?;
        prepared.folder.done(&prepared.files)?;
        println!("\nwritten; start slurmctld: `systemctl start slurmctld`");
        return Ok(exit::DONE);
    }
    let freed = leave::free(&prepared, &asked).await;
    let done = match freed {
        Ok(against) if against.is_empty() => carry_out(&prepared).await,
        Ok(against) => Ok(refused(&against)),
        Err(error) => Err(error),
    };
    leave::release(&prepared).await;
    done
}

/// Writes, and has slurmctld take it; else puts the old back.
async fn carry_out(prepared: &Prepared) -> Result<u8, ApplyError> {
    prepared.folder.check_as_it_was()?;
    let why = match prepared.folder.write(&prepared.files) {
        Err(error) => Some(exit::chain_of(&error)),
        Ok(()) => taken(prepared).await.err(),
    };
    if let Some(why) = why {
        let then = back(prepared).await?;
        return Err(ApplyError::NotTaken { why, then });
    }
    prepared.folder.done(&prepared.files)?;
    println!("\napplied: slurmctld knows all of it, and nothing was restarted");
    Ok(exit::DONE)
}

fn prospect(refusals: &[Refusal]) -> &'static str {
    match refusals.is_empty() {
        true => "it may be applied now",
        false => "it may be applied once what leaves is free, which --wait waits for",
    }
}

/// What a decision needs, from whoever can be asked.
async fn look(prepared: &Prepared, asked: &Asked) -> Result<Seen, ApplyError> {
    let ledger = &prepared.loaded.config.ledger.path;
    if !asked.is_stopped {
        return look::look(&prepared.slurm, ledger).await.map_err(ApplyError::Silent);
    }
    // Any that answers would read what is half written.
    match prepared.slurm.ping().await {
        Ok(controllers) if controllers.iter().all(|controller| !controller.is_up) => {
            Ok(look::look_without(prepared.version, ledger))
        }
        Ok(_) => Err(ApplyError::NotStopped),
        Err(error) => Err(ApplyError::Silent(error)),
    }
}

fn refusals(prepared: &Prepared, seen: &Seen) -> Vec<Refusal> {
    decide(&prepared.words, &prepared.aside.standing, seen)
}

/// Prints why not.
fn refused(against: &[String]) -> u8 {
    eprintln!("\nrefused, nothing was changed:");
    for line in against {
        eprintln!("  {}", plain::text(line));
    }
    exit::FAILED
}

/// Whether slurmctld has what the files say already: nothing is to be done then. An apply that was
/// ended before its reconfigure leaves one that has not.
async fn is_known(prepared: &Prepared, asked: &Asked) -> Result<bool, ApplyError> {
    if asked.is_stopped {
        return Ok(true);
    }
    let nodes = prepared.slurm.nodes_with_spares().await.map_err(ApplyError::Silent)?;
    let differences = differences(&prepared.aside.standing, &nodes);
    if !differences.is_empty() {
        println!("slurmctld has not read its files since they were changed:");
        for line in &differences {
            println!("  {line}");
        }
    }
    Ok(differences.is_empty() && !prepared.folder.is_unfinished)
}

fn said_yes() -> Result<bool, ApplyError> {
    if !io::stdin().is_terminal() {
        return Err(ApplyError::Nobody);
    }
    print!("\napply this? [y/N] ");
    // A terminal that cannot be written to will not be read from either.
    let _flushed = io::stdout().flush();
    let mut answer = String::new();
    let is_read = io::stdin().read_line(&mut answer).is_ok();
    Ok(is_read && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Has slurmctld read its files, and waits until it knows what they say.
///
/// # Errors
/// In words, what it does not know, or what it said.
async fn taken(prepared: &Prepared) -> Result<(), String> {
    let deadline = Instant::now() + TAKEN_WITHIN;
    match prepared.slurm.reconfigure().await {
        Ok(()) => {}
        // It may have been heard all the same: what slurmctld knows decides.
        Err(error) if error.is_passing() => {
            eprintln!("{}; looking whether it was heard", exit::chain_of(&error));
        }
        Err(error) => return Err(exit::chain_of(&error)),
    }
    loop {
        let why = match prepared.slurm.nodes_with_spares().await {
            Ok(nodes) => differences(&prepared.aside.standing, &nodes).join("; "),
            Err(error) => exit::chain_of(&error),
        };
        if why.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline || is_down(prepared).await {
            return Err(why);
        }
        tokio::time::sleep(TAKEN_POLL).await;
    }
}

/// Whether every controller is known to be down: waiting longer brings nothing.
async fn is_down(prepared: &Prepared) -> bool {
    let controllers = prepared.slurm.ping().await;
    controllers.is_ok_and(|all| all.iter().all(|controller| !controller.is_up))
}

/// Puts the old files back and has slurmctld read them; how slurmctld is now.
async fn back(prepared: &Prepared) -> Result<String, ApplyError> {
    prepared.folder.put_back(&prepared.files)?;
    Ok(match prepared.slurm.reconfigure().await {
        Ok(()) => ", and slurmctld has read them".to_owned(),
        Err(error) => format!(
            "; slurmctld does not read them ({}): look at its log, and start it if it has ended",
            exit::chain_of(&error)
        ),
    })
}
