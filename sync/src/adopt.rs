//! `azslurm-sync adopt` and `forget`: what a person says of VMs that a pass leaves alone because it
//! cannot know.

use std::collections::BTreeSet;

use azslurm_azure::{Place, ProvisioningState, vm_id};
use azslurm_core::attempt::{Attempt, AttemptState, Change, EndReason};
use azslurm_core::decide::LeaseView;
use azslurm_core::{NodeName, Timestamp, VmName};
use azslurm_ledger::{Holder, Lease, LedgerError, Recorded, Writer};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, now};
use azslurm_suspend::search::{as_found, ask, attempt_of, block_of, is_of};
use clap::Args;
use serde::Serialize;

use crate::act;
use crate::listing::{self, Listing};
use crate::observe::{Observation, observe};

/// Which VMs are whose.
#[derive(Debug, Args)]
pub struct AdoptOf {
    /// Names of VMs in Azure
    #[arg(value_name = "VM", required = true)]
    vms: Vec<VmName>,
    /// The node that all of them must be made for: a safeguard, a VM cannot be another node's
    #[arg(long, value_name = "NODE")]
    node: Option<NodeName>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What is to be forgotten.
#[derive(Debug, Args)]
pub struct ForgetOf {
    /// Names of VMs, or nodes: all of their VMs
    #[arg(value_name = "VM|NODE", required = true)]
    words: Vec<String>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What was done about one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The node.
    pub node: NodeName,
    /// The VM.
    pub vm: VmName,
    /// Its resource id.
    pub id: String,
    /// What stands in the ledger of it before.
    pub was: String,
    /// What follows.
    pub next: String,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}: Azure lists no VM of this name with the tags of this cluster{1}")]
    NotListed(VmName, String),
    #[error(
        "{0}: its node, or the site that it is in, is not in azslurm.toml: put it back there, or \
         delete the VM in Azure"
    )]
    NotInConfig(VmName),
    #[error("{0} is a VM of node {1}, and a VM cannot be another node's ({2} was named)")]
    OfAnotherNode(VmName, NodeName, NodeName),
    #[error("{0}: Azure does not say how it is; see the log, and try again")]
    NotSeen(VmName),
    #[error("{0}: Azure has it no more, or is deleting it")]
    Gone(VmName),
    #[error("{0}: its tags are not those of this cluster and of node {1}: it is left alone")]
    Foreign(VmName, NodeName),
    #[error("{0}: its deletion was decided before: it cannot be kept")]
    IsDeleted(VmName),
    #[error(
        "node {0} has VM {1} in the ledger: if the node does not run on that one, \
         `azslurm-sync forget {1}` first"
    )]
    HasAnother(NodeName, VmName),
    #[error("{holder} works on node {node} until {until}: wait for it, or stop it")]
    HolderIsAlive { node: NodeName, holder: Holder, until: Timestamp },
    #[error(
        "{0:?}: the ledger has no VM of this name that has not ended, and no node of this name \
         with one; `azslurm-sync vms` shows all"
    )]
    NotKnown(String),
    #[error("{0} was changed by somebody else meanwhile: look again")]
    Changed(VmName),
}

/// Makes VMs their nodes' after Azure was asked for each. All of them, or none.
pub async fn adopt(session: &mut Session, of: &AdoptOf) -> Result<Vec<Row>, Stop> {
    let listing = listing::list(session).await;
    let seen = observe(session).await.map_err(Stop::failed)?;
    let mut found = Vec::new();
    for vm in &of.vms {
        let known = session.ledger.attempt(vm).map_err(Stop::failed)?;
        let attempt = wanted(session, of, (vm, &listing)).map_err(Stop::cannot_start)?;
        let attempt = look(session, attempt).await.map_err(Stop::cannot_start)?;
        check(&seen, &attempt, known.as_ref()).map_err(Stop::cannot_start)?;
        found.push((attempt, known.map_or("unknown", |known| known.state.word())));
    }
    let rows = found
        .iter()
        .map(|(attempt, was)| row(attempt, was, "the ledger has it as its node's VM".to_owned()));
    let rows = rows.collect();
    if of.dry_run {
        return Ok(rows);
    }
    let attempts: Vec<Attempt> = found.into_iter().map(|(attempt, _)| attempt).collect();
    let config = session.config.clone();
    write(session, (&seen, &attempts), &|writer, lease, attempt| {
        if let Some(block) = block_of(attempt, &config.cluster) {
            writer.adopt_block(&block, now())?;
        }
        writer.adopt_by_person(lease, attempt, now())
    })?;
    Ok(rows)
}

/// The VM as an attempt, by Azure's list.
fn wanted(
    session: &Session,
    of: &AdoptOf,
    (vm, listing): (&VmName, &Listing),
) -> Result<Attempt, Refused> {
    let Some(row) = listing.row(&vm.as_str().to_ascii_lowercase()) else {
        let why = listing.incomplete().join("; ");
        let why = if why.is_empty() { why } else { format!("; not all is seen: {why}") };
        return Err(Refused::NotListed(vm.clone(), why));
    };
    let attempt = attempt_of(&session.config, row).ok_or(Refused::NotInConfig(vm.clone()))?;
    match &of.node {
        Some(node) if *node != attempt.is.node => {
            Err(Refused::OfAnotherNode(vm.clone(), attempt.is.node, node.clone()))
        }
        Some(_) | None => Ok(attempt),
    }
}

/// A list may be a minute old: the VM itself is asked for.
async fn look(session: &Session, attempt: Attempt) -> Result<Attempt, Refused> {
    let (vm, node) = (attempt.is.vm.clone(), attempt.is.node.clone());
    let arm = session.clients.of(&attempt.is.place.site).cloned();
    let arm = arm.ok_or(Refused::NotInConfig(vm.clone()))?;
    let found = ask(&arm, &attempt).await.ok_or(Refused::NotSeen(vm.clone()))?;
    let Some(found) = found.filter(|it| it.provisioning_state != ProvisioningState::Deleting)
    else {
        return Err(Refused::Gone(vm));
    };
    if !is_of(&found, &session.config.cluster, &node) {
        return Err(Refused::Foreign(vm, node));
    }
    Ok(as_found(attempt, &found, &session.config))
}

fn check(seen: &Observation, attempt: &Attempt, known: Option<&Attempt>) -> Result<(), Refused> {
    let (vm, node) = (&attempt.is.vm, &attempt.is.node);
    let is_dying = |state| matches!(state, AttemptState::DeleteIntended | AttemptState::Deleting);
    if known.is_some_and(|known| is_dying(known.state)) {
        return Err(Refused::IsDeleted(vm.clone()));
    }
    let mut others = seen.attempts_of(node).iter().filter(|other| other.is.vm != *vm);
    if let Some(other) = others.find(|other| other.state.is_wanted()) {
        return Err(Refused::HasAnother(node.clone(), other.is.vm.clone()));
    }
    free(seen, node)
}

/// Whether no living program works on the node.
fn free(seen: &Observation, node: &NodeName) -> Result<(), Refused> {
    match (seen.lease_view(node), seen.leases.get(node)) {
        (LeaseView::Held, Some(row)) => Err(Refused::HolderIsAlive {
            node: node.clone(),
            holder: row.holder.clone(),
            until: row.until,
        }),
        (LeaseView::Held | LeaseView::Free, _) => Ok(()),
    }
}

/// Ends VMs in the ledger. Azure is not asked. All of them, or none.
pub async fn forget(session: &mut Session, of: &ForgetOf) -> Result<Vec<Row>, Stop> {
    let seen = observe(session).await.map_err(Stop::failed)?;
    let mut attempts: Vec<Attempt> = Vec::new();
    for word in &of.words {
        let named = named(&seen, word);
        if named.is_empty() {
            return Err(Stop::cannot_start(Refused::NotKnown(word.clone())));
        }
        attempts.extend(named);
    }
    for attempt in &attempts {
        free(&seen, &attempt.is.node).map_err(Stop::cannot_start)?;
    }
    let next = "the ledger has it as gone and Azure was not asked: if it is there, it is billed \
        until somebody deletes it; a pass that sees it takes it for a VM that nobody knows";
    let rows = attempts.iter().map(|attempt| row(attempt, attempt.state.word(), next.to_owned()));
    let rows: Vec<Row> = rows.collect();
    if of.dry_run {
        return Ok(rows);
    }
    write(session, (&seen, &attempts), &|writer, lease, attempt| {
        let change = Change::DeleteIntended { why: EndReason::Operator, says: None };
        match writer.record(lease, &attempt.is.vm, &change, now())? {
            Recorded::Done(_) => writer.record(lease, &attempt.is.vm, &Change::Gone, now()),
            lost @ (Recorded::LeaseLost | Recorded::Superseded(_) | Recorded::NoSuchAttempt) => {
                Ok(lost)
            }
        }
    })?;
    for row in &rows {
        tracing::warn!(node = %row.node, vm = %row.vm, id = row.id, "forgotten: {}", row.next);
    }
    Ok(rows)
}

/// The attempts that have not ended of a VM, or of a node.
fn named(seen: &Observation, word: &str) -> Vec<Attempt> {
    let unfinished = seen.attempts.iter().filter(|attempt| !attempt.state.is_ended());
    let is_named = |attempt: &&Attempt| {
        attempt.is.vm.as_str().eq_ignore_ascii_case(word) || attempt.is.node.as_str() == word
    };
    unfinished.filter(is_named).cloned().collect()
}

/// What is written about one attempt under its node's lease.
type Write<'a> = &'a dyn Fn(&mut Writer<'_>, &Lease, &Attempt) -> Result<Recorded, LedgerError>;

/// Writes about every attempt, in one transaction.
fn write(
    session: &mut Session,
    (seen, attempts): (&Observation, &[Attempt]),
    one: Write<'_>,
) -> Result<(), Stop> {
    let changed = act::as_holder(session, |session, holder| {
        let all = (seen, attempts);
        match session.ledger.write(|writer| write_each(writer, holder, all, one)) {
            Ok(()) => Ok(None),
            Err(Late::Changed(vm)) => Ok(Some(vm)),
            Err(Late::Ledger(error)) => Err(error),
        }
    })?;
    changed.map_or(Ok(()), |vm| Err(Stop::failed(Refused::Changed(vm))))
}

fn write_each(
    writer: &mut Writer<'_>,
    holder: &Holder,
    (seen, attempts): (&Observation, &[Attempt]),
    one: Write<'_>,
) -> Result<(), Late> {
    let nodes: BTreeSet<NodeName> =
        attempts.iter().map(|attempt| attempt.is.node.clone()).collect();
    let changed = act::changed(writer, seen, &nodes)?;
    for attempt in attempts {
        let late = || Late::Changed(attempt.is.vm.clone());
        let lease = act::lease(writer, holder, &attempt.is.node)?;
        let lease = lease.filter(|_| !changed.contains(&attempt.is.node)).ok_or_else(late)?;
        match one(writer, &lease, attempt)? {
            Recorded::Done(_) => {}
            Recorded::LeaseLost | Recorded::Superseded(_) | Recorded::NoSuchAttempt => {
                return Err(late());
            }
        }
    }
    Ok(())
}

/// Why nothing was written.
enum Late {
    Changed(VmName),
    Ledger(LedgerError),
}

impl From<LedgerError> for Late {
    fn from(error: LedgerError) -> Late {
        Late::Ledger(error)
    }
}

fn row(attempt: &Attempt, was: &str, next: String) -> Row {
    Row {
        node: attempt.is.node.clone(),
        vm: attempt.is.vm.clone(),
        id: vm_id(&Place::from(&attempt.is.place), attempt.is.vm.as_str()),
        was: was.to_owned(),
        next,
    }
}

/// For people.
pub fn text(rows: &[Row], (verb, dry_run): (&str, bool)) -> String {
    let verb = if dry_run { format!("would have {verb}") } else { verb.to_owned() };
    let line = |row: &Row| {
        let Row { node, vm, id, was, next } = row;
        format!("{verb} {vm} of node {node} (was {was}): {next}\n    {id}")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
