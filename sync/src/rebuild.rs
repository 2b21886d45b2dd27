//! `azslurm-sync rebuild`: a ledger from what Azure and slurmctld say.
//!
//! ```text
//! no living holder ─► VMs, then groups and sets, then the ledger, then slurmctld: each whole?
//!    ├─ the ledger can be read ─► what it does not know is written into it
//!    └─ it is lost or damaged, or --anew ─► a new one is built beside and put in its place;
//!                                           the old one is kept under a name with the time
//! ```
//!
//! A ledger that can be read is completed and not replaced: it knows what neither Azure nor
//! slurmctld does (holds, strikes, who works until when), and by the time that somebody notices
//! that a ledger was lost, some program has made a new one. Nothing in Azure is changed: what
//! nobody waits for is a pass's, with its limit.

use std::path::{Path, PathBuf};

use azslurm_azure::Placement;
use azslurm_core::orphan::{OrphanAction, OrphanReason};
use azslurm_core::{NodeName, VmName};
use azslurm_ledger::{Ledger, LedgerError, discard};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, alive, config_file, logs, now};
use clap::Args;
use serde::Serialize;

use crate::cli::PROGRAM;
use crate::listing;
use crate::lives;
use crate::observe::observe;
use crate::orphans::{self, Orphan};

/// How it is to be done.
#[derive(Debug, Args)]
pub struct RebuildOf {
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace the ledger also if it can be read; it is kept beside, and its history and holds are
    /// not taken over
    #[arg(long)]
    anew: bool,
}

/// A VM that was taken for its node's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The node.
    pub node: NodeName,
    /// The VM.
    pub vm: VmName,
    /// Why.
    pub reason: String,
}

/// Something of ours in Azure that was not written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Its name.
    pub name: String,
    /// Its node, if it is a VM.
    pub node: Option<NodeName>,
    /// Why.
    pub reason: String,
    /// What becomes of it, or what a person can do.
    pub next: String,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Nothing was written.
    pub dry_run: bool,
    /// The ledger.
    pub ledger: PathBuf,
    /// Whether it is a new file; else the one that was there was completed.
    pub is_new: bool,
    /// Where the old one is.
    pub kept: Option<PathBuf>,
    /// VMs that were listed for it.
    pub vms: Vec<Taken>,
    /// How many of them Azure has when asked for them, and were written.
    pub written: usize,
    /// Lives of blocks that are in Azure, and that the ledger did not know.
    pub blocks: Vec<String>,
    /// What was left out.
    pub left: Vec<Left>,
}

#[derive(Debug, thiserror::Error)]
enum RebuildError {
    #[error(
        "{0} still works with the ledger: wait for it, or stop it (the daemon with `systemctl stop \
         azslurm-sync`), and try again; nothing was changed"
    )]
    HolderIsAlive(String),
    #[error("not everything can be seen: {0}; nothing was changed, try again")]
    Incomplete(String),
}

/// Rebuilds.
pub fn run(flag: Option<&Path>, of: &RebuildOf) -> Result<Rebuilt, Stop> {
    let loaded = config_file::load(flag).map_err(Stop::cannot_start)?;
    logs::direct(PROGRAM, &loaded.config.log);
    let path = loaded.config.ledger.path.clone();
    if !of.dry_run {
        refuse_living(&path)?;
    }
    let (ledger, built) = base(&path, of).map_err(Stop::cannot_start)?;
    let is_new = built.is_some() || (of.dry_run && !is_readable(&path));
    let mut session = Session::of(loaded.config, loaded.path, ledger);
    let filled = azslurm_program::driver::block_on(fill(&mut session, of.dry_run));
    // The last connection takes its log away with it: the file is then whole by itself.
    drop(session);
    let filled = filled.and_then(|filled| filled).and_then(|mut rebuilt| {
        rebuilt.is_new = is_new || of.anew;
        rebuilt.ledger.clone_from(&path);
        if let Some(built) = &built {
            refuse_living(&path)?;
            rebuilt.kept = install(built, &path).map_err(Stop::failed)?;
        }
        Ok(rebuilt)
    });
    if let Some(built) = &built {
        discard(built);
    }
    filled
}

fn refuse_living(path: &Path) -> Result<(), Stop> {
    let living = alive::living(path);
    if living.is_empty() {
        return Ok(());
    }
    Err(Stop::cannot_start(RebuildError::HolderIsAlive(living.join(", "))))
}

fn is_readable(path: &Path) -> bool {
    Ledger::open_existing(path).is_ok()
}

/// The ledger to write to, and where it is if it is a new one.
fn base(path: &Path, of: &RebuildOf) -> Result<(Ledger, Option<PathBuf>), LedgerError> {
    match Ledger::open_existing(path) {
        Ok(ledger) if !of.anew => return Ok((ledger, None)),
        Ok(_)
        | Err(
            LedgerError::Missing { .. } | LedgerError::Corrupt { .. } | LedgerError::Damaged { .. },
        ) => {}
        // Another program's file, a newer azslurm's, or one that cannot be read now.
        Err(error) => return Err(error),
    }
    if of.dry_run {
        return Ok((Ledger::in_memory()?, None));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rebuilt");
    let built = path.with_file_name(name);
    // Of one who was killed.
    discard(&built);
    Ok((Ledger::open(&built)?, Some(built)))
}

/// Puts the new ledger in its place. Where the old one is.
fn install(built: &Path, path: &Path) -> Result<Option<PathBuf>, LedgerError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", now().to_string().replace(':', "-")));
    let aside = path.with_file_name(name);
    Ok(Ledger::install(built, path, &aside)?.then_some(aside))
}

/// Sees everything, and writes down what the ledger does not know.
async fn fill(session: &mut Session, dry_run: bool) -> Result<Rebuilt, Stop> {
    let listing = listing::list(session).await;
    let mut missing = listing.incomplete();
    let placed = lives::list(session, |_| true).await;
    missing.extend(placed.missing);
    let seen = observe(session).await.map_err(Stop::failed)?;
    missing.extend(seen.slurm.as_ref().err().map(|why| format!("slurmctld: {why}")));
    if !missing.is_empty() {
        return Err(Stop::failed(RebuildError::Incomplete(missing.join("; "))));
    }
    let found = orphans::decide(session, &seen, &listing);
    let (ours, others): (Vec<Orphan>, Vec<Orphan>) =
        found.into_iter().partition(|one| one.action == OrphanAction::Adopt);
    let unknown =
        placed.lives.iter().map(|life| (session.ledger.block(&life.block.life), &life.block));
    let mut blocks = Vec::new();
    for (known, block) in unknown {
        if known.map_err(Stop::failed)?.is_none() {
            blocks.push(block.clone());
        }
    }
    let mut written = 0;
    if !dry_run {
        // VMs first: a block without any would be taken for empty.
        written = orphans::take(session, (&seen, &ours), false).await?.adopted;
        session
            .ledger
            .write(|writer| {
                blocks.iter().try_for_each(|one| writer.adopt_block(one, now()).map(drop))
            })
            .map_err(|error: LedgerError| Stop::failed(error))?;
    }
    let mut left: Vec<Left> = others.iter().map(left_out).collect();
    left.extend(placed.odd.iter().map(odd));
    Ok(Rebuilt {
        dry_run,
        ledger: PathBuf::new(),
        is_new: false,
        kept: None,
        vms: ours.into_iter().map(taken).collect(),
        written,
        blocks: blocks.iter().map(|block| format!("{} as {}", block.life, block.name)).collect(),
        left,
    })
}

fn taken(orphan: Orphan) -> Taken {
    Taken { node: orphan.node, vm: orphan.vm, reason: format!("{:?}", orphan.reason) }
}

fn left_out(orphan: &Orphan) -> Left {
    let vm = &orphan.vm;
    let next = match orphan.reason {
        OrphanReason::HolderIsAlive => "a program works on its node".to_owned(),
        OrphanReason::SlurmUnknown => "the next pass decides".to_owned(),
        OrphanReason::NodeNotInSlurm => "its node is not in azslurm.toml and slurm.conf: put it \
            back, or delete the VM in Azure"
            .to_owned(),
        OrphanReason::PersonDecides => {
            format!("a person has closed its node; `azslurm-sync adopt {vm}` makes it the node's")
        }
        OrphanReason::ResumeIsAboutToBeCalled => {
            "slurmctld is about to ask for its node: a pass deletes what that does not keep"
                .to_owned()
        }
        OrphanReason::WhichVmIsNotKnown => format!(
            "its node has another VM too: `azslurm-sync forget` that one and `azslurm-sync adopt \
            {vm}`, if the node runs on this one; else a pass deletes it when the node is off"
        ),
        OrphanReason::NodeIsUp | OrphanReason::NodeIsBooting => {
            format!("the ledger has it as gone: `azslurm-sync adopt {vm}` makes it the node's")
        }
        OrphanReason::Superseded
        | OrphanReason::NobodyWaits
        | OrphanReason::TooYoung
        | OrphanReason::ListIsNotWhole => "a pass deletes it".to_owned(),
    };
    Left {
        name: vm.to_string(),
        node: Some(orphan.node.clone()),
        reason: format!("{:?}", orphan.reason),
        next,
    }
}

fn odd(found: &Placement) -> Left {
    Left {
        name: found.name.clone(),
        node: None,
        reason: "BlockIsNotKnown".to_owned(),
        next: format!("{}: delete it in Azure if it has no VMs ({})", lives::ODD, found.id),
    }
}

impl Rebuilt {
    /// For people.
    pub fn text(&self) -> String {
        let would = if self.dry_run { "would be " } else { "" };
        let how = if self.is_new { "written anew" } else { "completed" };
        let mut text = format!("{}: {would}{how}\n", self.ledger.display());
        if let Some(kept) = &self.kept {
            text += &format!("the old ledger is {}\n", kept.display());
        }
        for Taken { node, vm, reason } in &self.vms {
            text += &format!("{node}  {vm}  {would}taken for its VM: {reason}\n");
        }
        for block in &self.blocks {
            text += &format!("block {block}  {would}written down\n");
        }
        for Left { name, reason, next, .. } in &self.left {
            text += &format!("left out: {name}: {reason}: {next}\n");
        }
        let missed = self.vms.len().saturating_sub(self.written);
        if missed > 0 && !self.dry_run {
            text += &format!(
                "{missed} of these VMs were not there, or not to be seen, when they were asked \
                 for: the next pass looks at them again\n"
            );
        }
        if self.vms.is_empty() && self.blocks.is_empty() && self.left.is_empty() {
            text += "Azure has nothing that the ledger does not know\n";
        }
        text
    }
}
