//! The front: plans, and writes down what is going to be done before anything of it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_azure::{body_hash, body_of};
use azslurm_core::attempt::{Change, EndReason, NewAttempt};
use azslurm_core::config::Priority;
use azslurm_core::failure::CODE_CONFIG_UNREADABLE;
use azslurm_core::hold::HoldScope;
use azslurm_core::plan::{Create, Known, NodesetTexts, Step, plan};
use azslurm_core::{NodeName, NodesetName};
use azslurm_ledger::{
    Event, Hold, Holder, Lease, LeaseAsk, LedgerError, Reader, Recorded, Take, Writer,
};
use azslurm_program::errands::LEASE_FOR;
use azslurm_program::exit::chain_of;
use azslurm_program::{Session, alive, holds, now, texts};

use crate::request::ResumeRequest;

/// How long after its intent (or its renewal) a PUT may be sent: longer than 1,000 creates take at
/// Azure's slowest refill (FACTS §3.4: 80 s). An attempt that is given up is only believed absent
/// after this.
pub const SETTLES_AFTER: Duration = Duration::from_secs(5 * 60);
/// A nodeset whose files cannot be read is tried again after this.
const HOLD_UNREADABLE: Duration = Duration::from_secs(2 * 60);

/// What a front has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intended {
    /// Nodes that get a new VM.
    pub created: Vec<NodeName>,
    /// Nodes whose VM is on its way or there, with nobody following it: ours now.
    pub taken_over: Vec<NodeName>,
    /// Nodes whose VM is on its way or there, in good hands.
    pub kept: Vec<NodeName>,
    /// Nodes that cannot come now: slurmctld is to be told.
    pub refused: Vec<NodeName>,
    /// Nodes in no nodeset: slurmctld is to be told.
    pub unknown: Vec<NodeName>,
}

impl Intended {
    /// Whether a driver has anything to do.
    pub fn has_work(&self) -> bool {
        let Intended { created, taken_over, kept: _, refused, unknown } = self;
        [created, taken_over, refused, unknown].into_iter().any(|nodes| !nodes.is_empty())
    }
}

/// Plans `request` without doing anything, for `--dry-run` and for people.
pub fn look(session: &Session, request: &ResumeRequest) -> Result<Vec<Step>, LedgerError> {
    let (texts, _errors) = texts::load(&session.config);
    steps(&session.ledger, &session.config, (request, &texts))
}

/// One transaction: holds and attempts are read, the plan is made, leases are taken and intents
/// written.
pub fn intend(
    session: &mut Session,
    holder: &Holder,
    request: &ResumeRequest,
) -> Result<Intended, LedgerError> {
    let (texts, errors) = texts::load(&session.config);
    let config = session.config.clone();
    session.ledger.write(|writer| {
        for error in &errors {
            tracing::error!("{}", chain_of(error));
            hold_unreadable(writer, error)?;
        }
        let steps = steps(writer, &config, (request, &texts))?;
        let dead = dead_holders(writer, &config, &steps)?;
        let mut intended = Intended::default();
        for step in steps {
            take_step(writer, (holder, request, &dead), step, &mut intended)?;
        }
        writer.event(&Event::new(now(), "resume-asked", said(request, &intended)))?;
        Ok(intended)
    })
}

fn steps(
    reader: &Reader,
    config: &azslurm_core::config::Config,
    (request, texts): (&ResumeRequest, &BTreeMap<NodesetName, NodesetTexts>),
) -> Result<Vec<Step>, LedgerError> {
    let now = now();
    let attempts = reader.attempts_of(&request.nodes)?;
    let holds = holds::in_force(reader, now)?;
    let replace_running = request.replace_running;
    let known = Known { config, texts, attempts: &attempts, holds: &holds, replace_running, now };
    Ok(plan(&request.nodes, &known))
}

/// Nodes that somebody holds whose process is gone: it does not go on, whatever its lease says.
/// Looked at only when the plan relies on a holder.
fn dead_holders(
    reader: &Reader,
    config: &azslurm_core::config::Config,
    steps: &[Step],
) -> Result<BTreeSet<NodeName>, LedgerError> {
    if !steps.iter().any(|step| matches!(step, Step::Keep { .. })) {
        return Ok(BTreeSet::new());
    }
    let mut alive: BTreeMap<Holder, bool> = BTreeMap::new();
    let mut dead = BTreeSet::new();
    for row in reader.leases()? {
        let is_alive = alive
            .entry(row.holder)
            .or_insert_with_key(|holder| alive::is_alive(&config.ledger.path, holder));
        if !*is_alive {
            dead.insert(row.node);
        }
    }
    Ok(dead)
}

fn take_step(
    writer: &mut Writer<'_>,
    (holder, request, dead): (&Holder, &ResumeRequest, &BTreeSet<NodeName>),
    step: Step,
    intended: &mut Intended,
) -> Result<(), LedgerError> {
    match step {
        Step::Create(create) => {
            let jobs = request.jobs.get(&create.node).cloned().unwrap_or_default();
            // slurmctld's latest word counts: whoever still works on the node, for a suspend that
            // is over or for an earlier resume, is relieved of it. What it has not done yet is
            // ours.
            let lease = lease(writer, holder, &create.node, Take::Seize)?;
            match lease {
                Some(lease) if intend_one(writer, &lease, &create, jobs)? => {
                    intended.created.push(create.node);
                }
                Some(_) | None => intended.kept.push(create.node),
            }
        }
        Step::Keep { node, vm, state } => {
            tracing::info!(%node, %vm, "the VM is {}: nothing to do", state.word());
            let take = if dead.contains(&node) { Take::Seize } else { Take::IfFree };
            match lease(writer, holder, &node, take)? {
                Some(_) => intended.taken_over.push(node),
                None => intended.kept.push(node),
            }
        }
        Step::Refuse { node, code, text, until } => {
            let until = until.map_or_else(|| "not known".to_owned(), |until| until.to_string());
            tracing::warn!(%node, code, "cannot come now: {text}; next try {until}");
            lease(writer, holder, &node, Take::Seize)?;
            intended.refused.push(node);
        }
        Step::Unknown { node } => {
            tracing::error!(%node, "in no nodeset of the config: add it to [nodeset], or take it \
                out of slurm.conf");
            lease(writer, holder, &node, Take::Seize)?;
            intended.unknown.push(node);
        }
    }
    Ok(())
}

fn lease(
    writer: &mut Writer<'_>,
    holder: &Holder,
    node: &NodeName,
    take: Take,
) -> Result<Option<Lease>, LedgerError> {
    let at = now();
    let ask = LeaseAsk { holder, take, now: at, until: at.plus(LEASE_FOR) };
    Ok(writer.lease(node, &ask)?.granted())
}

fn intend_one(
    writer: &mut Writer<'_>,
    lease: &Lease,
    create: &Create,
    jobs: Vec<azslurm_core::JobId>,
) -> Result<bool, LedgerError> {
    let at = now();
    for vm in &create.replaces {
        let change = Change::DeleteIntended { why: EndReason::Superseded, says: None };
        let recorded = writer.record(lease, vm, &change, at)?;
        tracing::info!(node = %create.node, %vm, ?recorded, "replaced: slurmctld only counts a \
            VM that boots after its request");
    }
    let new = NewAttempt {
        vm: create.spec.name.clone(),
        node: create.node.clone(),
        attempt: create.attempt,
        nodeset: create.nodeset.clone(),
        place: create.place.clone(),
        sku: create.spec.sku.clone(),
        is_spot: matches!(create.spec.priority, Priority::Spot { .. }),
        body_hash: body_hash(&body_of(&create.spec)),
        jobs,
    };
    let recorded = writer.intend(lease, &new, at, at.plus(SETTLES_AFTER))?;
    let job = new.jobs.first().map(|job| job.0);
    tracing::info!(node = %create.node, vm = %new.vm, site = %new.place.site, job, ?recorded,
        "to be created");
    Ok(matches!(recorded, Recorded::Done(_)))
}

fn hold_unreadable(writer: &mut Writer<'_>, error: &texts::TextError) -> Result<(), LedgerError> {
    let at = now();
    let (texts::TextError::Unreadable { nodeset, .. } | texts::TextError::TooLong { nodeset, .. }) =
        error;
    writer.hold(&Hold {
        scope: HoldScope::Nodeset(nodeset.clone()).to_string(),
        code: CODE_CONFIG_UNREADABLE.to_owned(),
        text: chain_of(error),
        strikes: 1,
        since: at,
        struck_at: at,
        until: at.plus(HOLD_UNREADABLE),
    })
}

fn said(request: &ResumeRequest, intended: &Intended) -> String {
    let fold = |nodes: &[NodeName]| match nodes {
        [] => "none".to_owned(),
        nodes => azslurm_core::hostlist::fold_sorted(nodes),
    };
    format!(
        "asked for {}: to create {}, taken over {}, kept {}, refused {}, unknown {}",
        fold(&request.nodes),
        fold(&intended.created),
        fold(&intended.taken_over),
        fold(&intended.kept),
        fold(&intended.refused),
        fold(&intended.unknown),
    )
}
