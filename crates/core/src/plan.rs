//! What to do about the nodes that slurmctld wants to have: which get a new VM, where, and which do
//! not.
//!
//! ```text
//! wanted ─► kept, unknown, unreadable ─► aside
//!   └─► in blocks (InfiniBand): by block, its gangs together ──┐   every place: may it be tried?
//!   └─► alone: by job, node by node ───────────────────────────┼─► site, zone, hold, quota, cap
//!        a job of which one node cannot come is not begun ◄────┘
//! ```
//!
//! Pure and total: every node of the request comes out in exactly one [`Step`], in the order of the
//! request, each with the places that were passed over and why. First come, first served: a node is
//! laid down at the first place that may be tried, and an earlier job before a later one.

mod ahead;
mod begin;
mod lay;
mod reach;
mod room;
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::attempt::{Attempt, AttemptPlace, AttemptState};
use crate::block::Block;
use crate::config::{Config, Zone};
use crate::facts::Facts;
use crate::failure::CODE_GANG;
use crate::hold::Hold;
use crate::vm::VmSpec;
use crate::{AttemptId, JobId, NodeName, NodesetName, SiteName, Timestamp, VmName};

pub use ahead::{ahead, room_for};
pub use reach::{blocks_of, half_open, held_everywhere, places};
pub use room::Shortage;
pub use wish::VmWish;

/// What is known of all places, whoever asks.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The config.
    pub config: &'a Config,
    /// Holds, those too that have ended lately.
    pub holds: &'a [Hold],
    /// What Azure said of sizes and quotas.
    pub facts: &'a Facts,
    /// Usages that Azure said before this moment are too old to refuse anything.
    pub usages_since: Timestamp,
    /// Blocks that are not gone.
    pub blocks: &'a [Block],
    /// All attempts of the ledger that have not ended.
    pub living: &'a [Attempt],
    /// The present moment.
    pub now: Timestamp,
}

/// What is known when a resume is planned.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// All places.
    pub sight: Sight<'a>,
    /// Texts that nodesets name by file, read by the shell.
    pub texts: &'a BTreeMap<NodesetName, NodesetTexts>,
    /// Attempts that the ledger knows of the wanted nodes: all that have not ended, and the newest
    /// that has.
    pub attempts: &'a [Attempt],
    /// Jobs that wait for nodes, in the order in which they are served, each with all nodes of its
    /// allocation as far as slurmctld said. Nodes of one job belong together.
    pub jobs: &'a [JobNodes],
    /// Whether a node whose VM is provisioned already gets a new one. True when slurmctld asked for
    /// the node (it counts a node as resumed only if its kernel booted after the request, SLURM.md
    /// §0.6), false when a pass only completes what is missing.
    pub replace_running: bool,
}

/// A job and all of its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobNodes {
    /// The job.
    pub job: JobId,
    /// `nodes_alloc` of the resume file: those too that are up already or come in a later call.
    pub nodes: BTreeSet<NodeName>,
}

/// The files that a nodeset names, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodesetTexts {
    /// The line of the administrator's public key.
    pub ssh_public_key: String,
    /// The user data before substitution.
    pub user_data: Option<Arc<str>>,
}

/// All of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One for every wanted node, in their order.
    pub steps: Vec<Step>,
    /// Blocks that begin a new life for them.
    pub blocks: Vec<Block>,
}

/// What happens with one wanted node.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A new VM is made.
    Create(Box<Create>),
    /// Nothing is done: a VM of the node is on its way or there.
    Keep {
        /// The node.
        node: NodeName,
        /// That VM.
        vm: VmName,
        /// What is known of it.
        state: AttemptState,
    },
    /// It cannot be had now; slurmctld is told.
    Refuse(Box<Refuse>),
    /// The node is in no nodeset of the config: not ours, left alone, reported.
    Unknown {
        /// The node.
        node: NodeName,
    },
}

impl Step {
    /// The node that it is about.
    pub fn node(&self) -> &NodeName {
        match self {
            Step::Create(create) => &create.node,
            Step::Keep { node, .. } | Step::Unknown { node } => node,
            Step::Refuse(refuse) => &refuse.node,
        }
    }
}

/// A VM to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    /// The node.
    pub node: NodeName,
    /// Its nodeset.
    pub nodeset: NodesetName,
    /// The attempt.
    pub attempt: AttemptId,
    /// Where.
    pub place: AttemptPlace,
    /// All of the VM.
    pub spec: VmSpec,
    /// VMs of the node that this one replaces: wanted until now, to be deleted.
    pub replaces: Vec<VmName>,
    /// Better places, and why they were not taken.
    pub passed: Vec<Passed>,
}

/// A node that cannot come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refuse {
    /// The node.
    pub node: NodeName,
    /// Azure's code, or ours.
    pub code: String,
    /// Words for a person.
    pub text: String,
    /// When it can be tried again, if that is known already.
    pub until: Option<Timestamp>,
    /// A VM of it that is there is of no use to slurmctld, and is deleted.
    pub replaces: Vec<VmName>,
    /// Every place, and why it was not taken.
    pub passed: Vec<Passed>,
}

impl Refuse {
    /// Whether holds that are there already say why it cannot come. If not, whoever refuses it
    /// leaves a hold of its node.
    pub fn is_held(&self) -> bool {
        let is_hold = |passed: &Passed| match passed.why {
            Why::Held(_) | Why::BlockStandsAt(_) => true,
            Why::CanaryIsOut(_)
            | Why::Quota(_)
            | Why::Cap(_)
            | Why::NotOffered
            | Why::NoInfiniband
            | Why::NoSite => false,
        };
        self.code != CODE_GANG && !self.passed.is_empty() && self.passed.iter().all(is_hold)
    }
}

/// A place that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Site.
    pub site: SiteName,
    /// Zone.
    pub zone: Option<Zone>,
    /// Why.
    pub why: Why,
}

/// Why a place is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is under a hold that is closed.
    Held(Box<Hold>),
    /// A hold is open by half, and another tries already.
    CanaryIsOut(Box<Hold>),
    /// Azure's quota is used up.
    Quota(Box<Shortage>),
    /// `cores_max` of the site or the nodeset is reached.
    Cap(Box<Shortage>),
    /// Azure does not sell the size to this subscription here.
    NotOffered,
    /// The size has no InfiniBand.
    NoInfiniband,
    /// The block has VMs at another site: it does not move while they live.
    BlockStandsAt(SiteName),
    /// No site of the nodeset is in the config, or none is allowed.
    NoSite,
}

/// Plans `wanted`; a node that is named twice is planned once.
pub fn plan(wanted: &[NodeName], known: &Known<'_>) -> Plan {
    let mut seen = BTreeSet::new();
    let wanted: Vec<&NodeName> = wanted.iter().filter(|node| seen.insert(*node)).collect();
    let mut steps: BTreeMap<&NodeName, Step> =
        wanted.iter().filter_map(|node| Some((*node, begin::aside(node, known)?))).collect();
    let is_refused = |node: &&NodeName| matches!(steps.get(node), Some(Step::Refuse(_)));
    let refused = wanted.iter().copied().filter(is_refused).collect();
    let open: Vec<&NodeName> =
        wanted.iter().copied().filter(|node| !steps.contains_key(node)).collect();
    let mut lives = begin::Lives::new(known);
    for (node, laid) in lay::Layer::new(known, &seen, refused).lay(&open) {
        steps.insert(node, lives.step(node, laid));
    }
    let steps = wanted.iter().filter_map(|node| steps.remove(node)).collect();
    Plan { steps, blocks: lives.into_new() }
}
