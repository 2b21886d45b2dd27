//! `azslurm-sync record` and `azslurm-sync replay`: a pass's three inputs in a folder, and what a
//! pass decides about them, on any machine and on any day.
//!
//! ```text
//! record: ledger, slurmctld, Azure ─► files ─► replay: files ─► the pass's own decisions ─► report
//! ```
//!
//! A record is complete before anything is decided about it, and what `record` shows is what
//! `replay` reads from the files. Replay asks nobody and changes nothing.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use azslurm_core::{Timestamp, config};
use azslurm_ledger::{Holder, Ledger};
use azslurm_program::exit::{Stop, chain_of};
use azslurm_program::{Session, now};
use azslurm_slurm::Slurm;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::listing::{self, Listing};
use crate::observe::{self, Memory, Observation};
use crate::pass::foresee;
use crate::report::Report;

/// What the files mean; a record of another format is refused.
const FORMAT: u32 = 1;
/// When it was, and what is in no other file.
const RECORD: &str = "record.json";
/// The config without credentials and comments.
const CONFIG: &str = "azslurm.toml";
/// slurmctld's words.
const NODES: &str = "slurm-nodes.txt";
/// Azure's list, source by source.
const VMS: &str = "azure-vms.json";
/// A copy of the ledger.
const LEDGER: &str = "ledger.db";

/// What a record holds, for whoever attaches it to a bug report.
pub const CONTENTS: &str = "DIR gets: azslurm.toml (the config without credentials and \
    comments), slurm-nodes.txt (slurmctld's words about all nodes), azure-vms.json (Azure's list \
    of this cluster's VMs with their tags), ledger.db (a copy of the ledger with its newest \
    10,000 events and without addresses of operations) and record.json (when it was, and what \
    could not be asked). They name nodes, jobs, partitions, subscriptions, resource groups and \
    reasons that people wrote, and hold no secret. Exit code 0: saved; 1: something could not be \
    read or written; 2: it could not start.";

/// Where to.
#[derive(Debug, Args)]
pub struct RecordTo {
    /// A folder that is not there yet, or empty
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// From where.
#[derive(Debug, Args)]
pub struct ReplayOf {
    /// A folder that `azslurm-sync record` has written
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// `record.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Circumstances {
    format: u32,
    /// The azslurm that wrote it.
    version: String,
    /// Milliseconds since 1970: the moment about which everything is decided.
    at: Timestamp,
    /// The same for people.
    at_text: String,
    /// Holders of leases that lived.
    alive: Vec<String>,
    /// Why slurmctld's nodes are not known, if so.
    slurm_unknown: Option<String>,
    /// Whether slurmctld had run for long enough to be believed.
    #[serde(default)]
    slurm_memory: Memory,
    /// How many controllers there are.
    #[serde(default)]
    controllers: usize,
}

/// What cannot be recorded or replayed.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("{} is not empty: name a folder that is not there yet, or an empty one", .0.display())]
    NotEmpty(PathBuf),
    #[error("cannot write {}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("cannot read {}: is its folder a record of `azslurm-sync record`?", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not as `azslurm-sync record` writes it: {why}", path.display())]
    Odd { path: PathBuf, why: String },
}

/// What was saved, and what a pass would do about it.
#[derive(Debug, Serialize)]
pub struct Recorded {
    /// Where it is.
    pub dir: PathBuf,
    /// The report of a dry run, as `replay` gives it.
    pub report: Report,
}

impl Recorded {
    /// For people.
    pub fn text(&self) -> String {
        format!(
            "{}saved in {}: read it before you send it on; `azslurm-sync replay` shows the above\n",
            self.report.text(),
            self.dir.display()
        )
    }
}

/// Saves what a pass would see now, and says what it would do about it.
pub async fn record(session: &mut Session, to: &RecordTo) -> Result<Recorded, Stop> {
    let dir = to.dir.as_path();
    make_empty(dir).map_err(Stop::cannot_start)?;
    // As a pass: Azure, then the ledger, then slurmctld.
    let listing = listing::list(session).await;
    let at = now();
    session.ledger.save_copy(&dir.join(LEDGER)).map_err(Stop::failed)?;
    let leases = session.ledger.leases().map_err(Stop::failed)?;
    let holders: BTreeSet<&Holder> = leases.iter().map(|row| &row.holder).collect();
    let alive = holders.into_iter().filter(|holder| session.is_alive(holder));
    let alive = alive.map(ToString::to_string).collect();
    let nodes = session.slurm.nodes_text().await;
    let (slurm_memory, controllers) = match nodes {
        Ok(_) => observe::memory_of(session).await,
        Err(_) => (Memory::Young, 0),
    };
    let circumstances = Circumstances {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at,
        at_text: at.to_string(),
        alive,
        slurm_unknown: nodes.as_ref().err().map(|error| chain_of(error)),
        slurm_memory,
        controllers,
    };
    let files = [
        (CONFIG, config_of(&session.config_path)?),
        (NODES, nodes.unwrap_or_default()),
        (VMS, pretty(&listing)?),
        (RECORD, pretty(&circumstances)?),
    ];
    for (name, text) in files {
        write(&dir.join(name), &text).map_err(Stop::failed)?;
    }
    Ok(Recorded { dir: dir.to_owned(), report: replayed(dir)? })
}

/// Decides about what was recorded.
pub fn replay(of: &ReplayOf) -> Result<Report, Stop> {
    replayed(&of.dir)
}

fn replayed(dir: &Path) -> Result<Report, Stop> {
    let (path, text) = read(dir, RECORD)?;
    let circumstances: Circumstances =
        serde_json::from_str(&text).map_err(|error| odd(&path, error.to_string()))?;
    if circumstances.format != FORMAT {
        let (found, version) = (circumstances.format, &circumstances.version);
        let why =
            format!("it has format {found}, of azslurm {version}, and this program knows {FORMAT}");
        return Err(odd(&path, why));
    }
    let session = session_of(dir)?;
    let listing = listing_of(dir)?;
    let seen = seen_of(dir, &session, &circumstances)?;
    Ok(foresee(&session, &seen, listing))
}

/// Config and ledger of a record; both are read into memory.
fn session_of(dir: &Path) -> Result<Session, Stop> {
    let (path, text) = read(dir, CONFIG)?;
    let config = config::parse(&text)
        .map_err(|errors| odd(&path, errors.render(&path.display().to_string())))?;
    let ledger = Ledger::of_copy(&dir.join(LEDGER)).map_err(Stop::cannot_start)?;
    Ok(Session::of(config, path, ledger))
}

fn listing_of(dir: &Path) -> Result<Listing, Stop> {
    let (path, text) = read(dir, VMS)?;
    serde_json::from_str(&text).map_err(|error| odd(&path, error.to_string()))
}

fn seen_of(
    dir: &Path,
    session: &Session,
    circumstances: &Circumstances,
) -> Result<Observation, Stop> {
    let mut seen = observe::look_up(session, circumstances.at).map_err(Stop::failed)?;
    seen.alive = circumstances.alive.iter().filter_map(|holder| holder.parse().ok()).collect();
    seen.memory = circumstances.slurm_memory;
    seen.controllers = circumstances.controllers;
    seen.slurm = match &circumstances.slurm_unknown {
        Some(why) => Err(why.clone()),
        None => observe::by_name(Slurm::nodes_of_text(&read(dir, NODES)?.1)),
    };
    Ok(seen)
}

fn config_of(path: &Path) -> Result<String, Stop> {
    let unreadable = |source| RecordError::Unreadable { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(unreadable).map_err(Stop::failed)?;
    config::without_credentials(&text).ok_or_else(|| odd(path, "it is not TOML".to_owned()))
}

fn make_empty(dir: &Path) -> Result<(), RecordError> {
    let unwritable = |source| RecordError::Unwritable { path: dir.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unwritable(error)),
    }
    let is_empty = fs::read_dir(dir).map_err(unwritable)?.next().is_none();
    if is_empty { Ok(()) } else { Err(RecordError::NotEmpty(dir.to_owned())) }
}

fn write(path: &Path, text: &str) -> Result<(), RecordError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| RecordError::Unwritable { path: path.to_owned(), source })
}

fn read(dir: &Path, name: &str) -> Result<(PathBuf, String), Stop> {
    let path = dir.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(Stop::cannot_start(RecordError::Unreadable { path, source })),
    }
}

fn pretty(value: &impl Serialize) -> Result<String, Stop> {
    serde_json::to_string_pretty(value).map_err(Stop::failed)
}

fn odd(path: &Path, why: String) -> Stop {
    Stop::cannot_start(RecordError::Odd { path: path.to_owned(), why })
}
