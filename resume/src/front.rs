//! The front: plans, and writes down what is going to be done before anything of it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_azure::VmBody;
use azslurm_core::attempt::{AzureSays, Change, EndReason, NewAttempt};
use azslurm_core::config::Config;
use azslurm_core::failure::{CODE_CONFIG_UNREADABLE, Moment, understand};
use azslurm_core::hold::{Hold, HoldScope};
use azslurm_core::plan::{
    Create, JobNodes, Known, NodesetTexts, Plan, Refuse, Step, blocks_of, plan,
};
use azslurm_core::{JobId, NodeName, NodesetName, Timestamp, VmName};
use azslurm_ledger::{Event, Holder, Lease, LeaseAsk, LedgerError, Reader, Recorded, Take, Writer};
use azslurm_program::errands::LEASE_FOR;
use azslurm_program::exit::chain_of;
use azslurm_program::sight::Seen;
use azslurm_program::{Session, alive, facts, holds, now, texts};

use crate::request::{ResumeRequest, jobs_by_node};

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

/// Who intends, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Intending<'a> {
    /// For whom leases are taken.
    pub holder: &'a Holder,
    /// The config.
    pub config: &'a Config,
    /// The files of its nodesets.
    pub texts: &'a BTreeMap<NodesetName, NodesetTexts>,
    /// How old a quota's numbers may be to refuse something.
    pub usages_age_max: Duration,
}

/// Plans `request` without doing anything, for `--dry-run` and for people.
pub fn look(session: &Session, request: &ResumeRequest) -> Result<Plan, LedgerError> {
    let (texts, _errors) = texts::load(&session.config);
    let age = facts::USAGES_TRUSTED;
    plan_of(&session.ledger, &session.config, (request, &texts, age))
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
    // A front cannot ask Azure. Numbers that are not of this moment refuse nothing here: its driver
    // asks before it sends anything.
    let usages_age_max = facts::USAGES_FRESH;
    let intending = Intending { holder, config: &config, texts: &texts, usages_age_max };
    session.ledger.write(|writer| {
        for error in &errors {
            tracing::error!("{}", chain_of(error));
            hold_unreadable(writer, error)?;
        }
        intend_within(writer, &intending, request)
    })
}

/// Within a transaction: plans, takes leases, writes intents.
pub fn intend_within(
    writer: &mut Writer<'_>,
    intending: &Intending<'_>,
    request: &ResumeRequest,
) -> Result<Intended, LedgerError> {
    let Intending { config, texts, usages_age_max, .. } = *intending;
    let Plan { steps, blocks } = plan_of(writer, config, (request, texts, usages_age_max))?;
    request.jobs.iter().for_each(|job| warn_if_parted(job, config));
    let dead = dead_holders(writer, config, &steps)?;
    for block in &blocks {
        writer.intend_block(block, now())?;
    }
    let jobs = jobs_by_node(&request.jobs);
    let mut intended = Intended::default();
    // One time for the whole plan: what is refused together is tried again together.
    let at = now();
    for step in steps {
        take_step(writer, (intending, &jobs, &dead, at), step, &mut intended)?;
    }
    writer.event(&Event::new(now(), "resume-asked", said(request, &intended)))?;
    Ok(intended)
}

/// Slurm was told of blocks by topology.conf, and its word counts; but such a job seldom runs well.
fn warn_if_parted(job: &JobNodes, config: &Config) {
    let blocks = blocks_of(job, config);
    if blocks.len() > 1 {
        let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
        tracing::warn!(
            job = job.job.0,
            "its nodes are of the blocks {}, which InfiniBand does not \
            connect. They are made all the same. Give each block its own switch in topology.conf, \
            without a common root, and slurmctld keeps jobs within one",
            blocks.join(" and ")
        );
    }
}

fn plan_of(
    reader: &Reader,
    config: &Config,
    (request, texts, usages_age_max): (
        &ResumeRequest,
        &BTreeMap<NodesetName, NodesetTexts>,
        Duration,
    ),
) -> Result<Plan, LedgerError> {
    let attempts = reader.attempts_of(&request.nodes)?;
    let seen = Seen::read(reader, config, (usages_age_max, now()))?;
    let known = Known {
        sight: seen.sight(config),
        texts,
        attempts: &attempts,
        jobs: &request.jobs,
        replace_running: request.replace_running,
    };
    Ok(plan(&request.nodes, &known))
}

/// Nodes that somebody holds whose process is gone: it does not go on, whatever its lease says.
/// Looked at only when the plan relies on a holder.
fn dead_holders(
    reader: &Reader,
    config: &Config,
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

type Context<'a> =
    (&'a Intending<'a>, &'a BTreeMap<&'a NodeName, Vec<JobId>>, &'a BTreeSet<NodeName>, Timestamp);

fn take_step(
    writer: &mut Writer<'_>,
    (intending, jobs, dead, at): Context<'_>,
    step: Step,
    intended: &mut Intended,
) -> Result<(), LedgerError> {
    let holder = intending.holder;
    match step {
        Step::Create(create) => {
            let jobs = jobs.get(&create.node).cloned().unwrap_or_default();
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
        Step::Refuse(refuse) => {
            let lease = lease(writer, holder, &refuse.node, Take::Seize)?;
            if let Some(lease) = lease {
                replace(writer, &lease, &refuse.replaces)?;
            }
            let until = hold_refused(writer, &refuse, at)?.or(refuse.until);
            let until = until.map_or_else(|| "not known".to_owned(), |until| until.to_string());
            let Refuse { node, code, text, .. } = *refuse;
            tracing::warn!(%node, code, "cannot come now: {text}; next try {until}");
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

/// What no hold explains yet is held by its node, so that slurmctld does not choose it again at
/// once; until when.
fn hold_refused(
    writer: &mut Writer<'_>,
    refuse: &Refuse,
    at: Timestamp,
) -> Result<Option<Timestamp>, LedgerError> {
    if refuse.is_held() || refuse.code == CODE_CONFIG_UNREADABLE {
        return Ok(None);
    }
    let says = AzureSays { code: refuse.code.clone(), text: refuse.text.clone(), request_id: None };
    let hold = Hold {
        scope: HoldScope::Node(refuse.node.clone()),
        code: says.code.clone(),
        text: says.text.clone(),
        strikes: 1,
        struck_at: at,
        until: refuse.until.unwrap_or(at.plus(understand(Moment::Operation, &says).hold)),
    };
    Ok(Some(holds::strike(writer, &hold, at)?.until))
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

/// VMs that are there and of no use are to go.
fn replace(writer: &mut Writer<'_>, lease: &Lease, vms: &[VmName]) -> Result<(), LedgerError> {
    for vm in vms {
        let change = Change::DeleteIntended { why: EndReason::Superseded, says: None };
        let recorded = writer.record(lease, vm, &change, now())?;
        tracing::info!(node = %lease.node(), %vm, ?recorded, "replaced: slurmctld only counts a \
            VM that boots after its request");
    }
    Ok(())
}

fn intend_one(
    writer: &mut Writer<'_>,
    lease: &Lease,
    create: &Create,
    jobs: Vec<JobId>,
) -> Result<bool, LedgerError> {
    let at = now();
    replace(writer, lease, &create.replaces)?;
    let new = NewAttempt {
        vm: create.spec.name.clone(),
        node: create.node.clone(),
        attempt: create.attempt,
        nodeset: create.nodeset.clone(),
        place: create.place.clone(),
        sku: create.spec.sku.clone(),
        is_spot: matches!(create.spec.priority, azslurm_core::config::Priority::Spot { .. }),
        image: create.spec.image.reference_text(),
        body_hash: VmBody::from(&create.spec).hash(),
        jobs,
    };
    let recorded = writer.intend(lease, &new, at, at.plus(SETTLES_AFTER))?;
    let job = new.jobs.first().map(|job| job.0);
    let block = new.place.block.as_ref().map(ToString::to_string);
    tracing::info!(node = %create.node, vm = %new.vm, site = %new.place.site, job, block,
        ?recorded, "to be created");
    Ok(matches!(recorded, Recorded::Done(_)))
}

fn hold_unreadable(writer: &mut Writer<'_>, error: &texts::TextError) -> Result<(), LedgerError> {
    let at = now();
    let (texts::TextError::Unreadable { nodeset, .. } | texts::TextError::TooLong { nodeset, .. }) =
        error;
    let hold = Hold {
        scope: HoldScope::Nodeset(nodeset.clone()),
        code: CODE_CONFIG_UNREADABLE.to_owned(),
        text: chain_of(error),
        strikes: 1,
        struck_at: at,
        until: at.plus(HOLD_UNREADABLE),
    };
    holds::write(writer, &hold, at)
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
