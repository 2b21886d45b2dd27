//! `azslurm-sync explain`: the story of a node, a VM or a job: how it stands, what the next pass
//! does and why, what is held, and what happened. From the ledger and slurmctld; Azure is not
//! asked.

use azslurm_core::attempt::Attempt;
use azslurm_core::plan::{half_open, held_everywhere};
use azslurm_core::{JobId, NodeName, VmName};
use azslurm_ledger::EventFilter;
use azslurm_program::Session;
use azslurm_program::exit::Stop;
use serde::Serialize;

use crate::events::Row;
use crate::observe::Observation;
use crate::pass::{Decided, decide};
use crate::sources::{self, Source, look};

/// How many events of one thing are told.
const EVENTS_MAX: usize = 100;

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A job of Slurm's.
    Job(JobId),
    /// A VM: its node's story.
    Vm(VmName),
    /// A node.
    Node(NodeName),
}

/// A word that names nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no node of the config, and the ledger knows no VM of that name; a job is a number. \
     `azslurm-sync nodes` shows all nodes"
)]
pub struct UnknownSubject(String);

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStory {
    /// The node.
    pub node: NodeName,
    /// slurmctld's state and reason, or why it is not known.
    pub slurm: String,
    /// Its VMs: those that have not ended, and the newest that has.
    pub vms: Vec<String>,
    /// What the next pass does, and why, as words of ours.
    pub next: Vec<String>,
    /// The hold that keeps it from all of its places.
    pub held: Option<String>,
}

/// The whole story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Story {
    /// When it was told, RFC 3339.
    pub at: String,
    /// Who was asked, and what is not known.
    pub sources: Vec<Source>,
    /// The nodes that it is about.
    pub nodes: Vec<NodeStory>,
    /// What happened, oldest first.
    pub events: Vec<Row>,
}

/// Which thing a word names.
fn subject(session: &Session, word: &str) -> Result<Subject, Stop> {
    let unknown = || Stop::cannot_start(UnknownSubject(word.to_owned()));
    if let Ok(number) = word.parse() {
        return Ok(Subject::Job(JobId(number)));
    }
    if let Ok(node) = word.parse::<NodeName>() {
        let is_known = session.config.nodeset_of(&node).is_some()
            || !session
                .ledger
                .attempts_of(std::slice::from_ref(&node))
                .map_err(Stop::failed)?
                .is_empty();
        if is_known {
            return Ok(Subject::Node(node));
        }
    }
    let vm: VmName = word.parse().map_err(|_| unknown())?;
    match session.ledger.attempt(&vm).map_err(Stop::failed)? {
        Some(attempt) => Ok(Subject::Vm(attempt.is.vm)),
        None => Err(unknown()),
    }
}

/// Tells the story of what `word` names.
pub async fn explain(session: &mut Session, word: &str) -> Result<Story, Stop> {
    let subject = subject(session, word)?;
    let (seen, sources) = look(session).await?;
    let mut filter = EventFilter { limit: EVENTS_MAX, ..EventFilter::default() };
    match &subject {
        Subject::Job(job) => filter.job = Some(*job),
        Subject::Vm(vm) => filter.vm = Some(vm.clone()),
        Subject::Node(node) => filter.node = Some(node.clone()),
    }
    let events = session.ledger.events(&filter).map_err(Stop::failed)?;
    let mut nodes: Vec<NodeName> = match &subject {
        Subject::Job(_) => events.iter().filter_map(|event| event.node.clone()).collect(),
        Subject::Vm(vm) => vm.split().map(|(node, _)| node).into_iter().collect(),
        Subject::Node(node) => vec![node.clone()],
    };
    nodes.sort();
    nodes.dedup();
    let decided = decide(session, &seen);
    let told = nodes.iter().map(|node| node_story(session, (&seen, &decided), node)).collect();
    Ok(Story {
        at: seen.at.to_string(),
        sources,
        nodes: told,
        events: events.into_iter().map(Row::from).collect(),
    })
}

fn node_story(
    session: &Session,
    (seen, decided): (&Observation, &[Decided]),
    node: &NodeName,
) -> NodeStory {
    let slurm = match &seen.slurm {
        Err(why) => format!("not known: {why}"),
        Ok(nodes) => nodes.get(node).map_or_else(
            || "not in slurm.conf".to_owned(),
            |node| match &node.reason {
                Some(reason) => format!("{} ({reason})", node.state),
                None => node.state.to_string(),
            },
        ),
    };
    let next = decided.iter().find(|one| one.node == *node).map(next).unwrap_or_default();
    let sight = seen.seen.sight(&session.config);
    let held = held_everywhere(node, &sight).or_else(|| half_open(node, &sight));
    NodeStory {
        node: node.clone(),
        slurm,
        vms: seen.attempts_of(node).iter().map(vm_line).collect(),
        next,
        held: held.map(|hold| {
            format!("{} until {}: {}: {}", hold.scope, hold.until, hold.code, hold.text)
        }),
    }
}

fn next(decided: &Decided) -> Vec<String> {
    let of_vms = decided.attempts.iter();
    let of_vms = of_vms.map(|(vm, action, reason)| format!("{vm}: {action:?}: {reason:?}"));
    let of_node = format!("{:?}: {:?}", decided.node_action, decided.node_reason);
    std::iter::once(of_node).chain(of_vms).collect()
}

fn vm_line(attempt: &Attempt) -> String {
    let is = &attempt.is;
    let zone = is.place.zone.as_ref().map(|zone| format!(" zone {zone}")).unwrap_or_default();
    let block = is.place.block.as_ref().map(|life| format!(", block {life}")).unwrap_or_default();
    let why = attempt.why.map(|why| format!(", {}", why.word())).unwrap_or_default();
    let says = attempt.says.as_ref();
    let says = says.map(|says| format!(", Azure: {}: {}", says.code, says.text));
    format!(
        "{} {} since {}: {} at {} in {}{zone}{block}{why}{}",
        is.vm,
        attempt.state.word(),
        attempt.changed_at,
        is.sku,
        is.place.site,
        is.place.region,
        says.unwrap_or_default(),
    )
}

impl Story {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in sources::complaints(&self.sources) {
            text += &format!("{line}\n");
        }
        for story in &self.nodes {
            text += &format!("{}\n  slurmctld  {}\n", story.node, story.slurm);
            for vm in &story.vms {
                text += &format!("  VM         {vm}\n");
            }
            if let Some(held) = &story.held {
                text += &format!("  held       {held}\n");
            }
            for next in &story.next {
                text += &format!("  next pass  {next}\n");
            }
        }
        if self.events.is_empty() {
            return text + "the ledger has no events about it\n";
        }
        text += "\nwhat happened\n";
        for event in &self.events {
            text += &format!("  {}\n", event.line());
        }
        text
    }
}
