//! What the node agent does about what Azure announces for its VM: one step at a time, each by a
//! total function of small views, cell by cell in `agent_matrix.txt`.
//!
//! ```text
//! (events, what is known and was done, now, settings) ─ Sight::cell ─► Cell ─ decide ─► Step
//! ```
//!
//! The memory is slurmctld: the reason on the node names the event that it was drained for. So an
//! agent that is killed between any two steps goes on, and taking a step twice changes nothing.
//! Only a job's signal is remembered in the process alone: it comes at least once, and a second
//! time after an agent that was killed.

mod cell;
mod event;
mod pause;

pub use cell::{Announced, Cell, JobsView, NodeView, Step, decide, matrix};
pub use event::{Event, EventKind, Mark, foremost, mark_of, own_events, reason_of};
pub use pause::Pause;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::Timestamp;
use crate::node::NodeState;

/// Agents that are to do the same at the same time (hundreds of VMs are taken at once) spread it
/// over so long, where nothing presses: half of it for a slurmctld that works off 100 calls a
/// second.
const SPREAD: Duration = Duration::from_secs(5);
/// As `SPREAD`, for the requeue of jobs that no signal goes before: a tenth of the notice, this at
/// most.
const SPREAD_PRESSED: Duration = Duration::from_secs(2);
/// A VM that is taken back stops seconds after its event is gone: so long must pass before the end
/// of an event says that the VM stays.
const TAKEN_AFTER: Duration = Duration::from_secs(60);
/// How long a node that is powering up is believed to be.
const BOOTING_TRUSTED: Duration = Duration::from_secs(10);
/// How long what slurmctld said of the jobs is good for while the end of them is waited for.
const JOBS_TRUSTED: Duration = Duration::from_secs(5);

/// What an administrator has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether jobs get a signal before they are requeued.
    pub signals: bool,
    /// Jobs that got a signal are requeued so long before the VM may go.
    pub requeue_before: Duration,
    /// Whether an event is acknowledged once no job is left: Azure then need not wait.
    pub acknowledges: bool,
    /// This agent's place among all of them, in thousandths.
    pub share: u32,
}

impl Settings {
    fn part_of(&self, whole: Duration) -> Duration {
        whole * self.share.min(1000) / 1000
    }
}

/// A job on the node, as far as the agent needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSeen {
    /// How it is named to Slurm: `12`, `12_3`.
    pub address: String,
    /// Whether it has its nodes and has not ended.
    pub is_active: bool,
    /// Whether it is a batch job that may be requeued.
    pub can_requeue: bool,
    /// Whether the agent of another node of this job sends the signal.
    pub is_signalled_elsewhere: bool,
}

/// A node as slurmctld told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTold {
    /// When.
    pub at: Timestamp,
    /// Its state.
    pub state: NodeState,
    /// What its reason says.
    pub mark: Mark,
}

/// What one agent knows and has done.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The event that is dealt with, and since when; `None` with a time: since when there is none.
    pub event: Option<String>,
    /// Since when that is so.
    pub since: Option<Timestamp>,
    /// The node as slurmctld last told it.
    pub node: Option<NodeTold>,
    /// slurmctld does not know the node.
    pub is_absent: bool,
    /// The jobs on the node, and when slurmctld told them.
    pub jobs: Option<(Timestamp, Vec<JobSeen>)>,
    /// Jobs that have got the signal.
    pub signalled: BTreeSet<String>,
    /// Events that were acknowledged.
    pub acknowledged: BTreeSet<String>,
}

impl Memory {
    /// Takes note of the event that stands now. What is known of the node is asked again whenever
    /// that changes.
    pub fn note(&mut self, event: Option<&Event>, now: Timestamp) {
        let id = event.map(|event| event.id.clone());
        if self.since.is_none() || self.event != id {
            self.event = id;
            self.since = Some(now);
            self.forget_node();
            self.signalled.clear();
        }
    }

    /// What slurmctld said holds no longer.
    pub fn forget_node(&mut self) {
        self.node = None;
        self.is_absent = false;
        self.jobs = None;
    }
}

/// All that a step depends on.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The most pressing event for this VM; `Err`: the metadata service has not answered yet.
    pub event: Result<Option<&'a Event>, ()>,
    /// What is known and was done.
    pub memory: &'a Memory,
    /// The administrator's choices.
    pub settings: &'a Settings,
    /// Now.
    pub now: Timestamp,
}

impl Sight<'_> {
    /// The next step.
    pub fn step(&self) -> Step {
        decide(self.cell())
    }

    /// Everything reduced to what decides.
    pub fn cell(&self) -> Cell {
        let announced = match self.event {
            Err(()) => Announced::Unknown,
            Ok(None) => Announced::Nothing,
            Ok(Some(event)) => event.kind.announces(),
        };
        let event = self.event.ok().flatten();
        Cell {
            announced,
            node: self.node(event),
            jobs: self.jobs(),
            is_due: self.now >= self.due(event),
            acknowledges: event.is_some_and(|event| self.is_to_acknowledge(event)),
        }
    }

    /// A node that boots is up some time later, and takes jobs then.
    fn node(&self, event: Option<&Event>) -> NodeView {
        let view = NodeView::of(self.memory, event);
        let told_at = self.memory.node.as_ref().map_or(self.now, |told| told.at);
        let is_old = event.is_some() && self.now >= told_at.plus(BOOTING_TRUSTED);
        if view == NodeView::Booting && is_old { NodeView::Unknown } else { view }
    }

    /// An event for several VMs would begin for all of them.
    fn is_to_acknowledge(&self, event: &Event) -> bool {
        self.settings.acknowledges
            && !event.is_started
            && event.resources.len() == 1
            && !self.memory.acknowledged.contains(&event.id)
    }

    /// When the jobs are requeued; without an event, when the end of one is believed.
    fn due(&self, event: Option<&Event>) -> Timestamp {
        let since = self.memory.since.unwrap_or(self.now);
        let settings = self.settings;
        let Some(event) = event else {
            let was_taking = matches!(
                &self.memory.node,
                Some(NodeTold { mark: Mark::Event { kind: EventKind::Preempt, .. }, .. })
            );
            let wait = if was_taking { TAKEN_AFTER } else { Duration::ZERO };
            return since.plus(wait + settings.part_of(SPREAD));
        };
        let Some(not_before) = event.not_before.filter(|_| !event.is_started) else {
            return since;
        };
        let notice = not_before.since(since);
        if settings.signals {
            let spread = settings.part_of(SPREAD.min(notice / 4));
            return not_before.minus(settings.requeue_before + spread).max(since);
        }
        since.plus(settings.part_of(SPREAD_PRESSED.min(notice / 10)))
    }

    fn jobs(&self) -> JobsView {
        let Some((told_at, jobs)) = &self.memory.jobs else { return JobsView::Unknown };
        let due = self.due(self.event.ok().flatten());
        // Asked before the time to requeue: there may be others by now.
        let is_of_before = *told_at < due && self.now >= due;
        // Their end is waited for, to acknowledge the event.
        let event = self.event.ok().flatten();
        let is_awaited = event.is_some_and(|event| self.is_to_acknowledge(event));
        let is_old = self.now >= told_at.plus(JOBS_TRUSTED);
        if is_of_before || (is_awaited && is_old) {
            return JobsView::Unknown;
        }
        let active = || jobs.iter().filter(|job| job.is_active);
        if active().any(|job| self.wants_signal(job)) {
            JobsView::ToSignal
        } else if active().any(|job| job.can_requeue) {
            JobsView::ToRequeue
        } else if jobs.is_empty() {
            JobsView::Gone
        } else {
            JobsView::Ending
        }
    }

    fn wants_signal(&self, job: &JobSeen) -> bool {
        self.settings.signals
            && job.is_active
            && !job.is_signalled_elsewhere
            && !self.memory.signalled.contains(&job.address)
    }

    /// The jobs that a step is about, as Slurm is told them.
    pub fn addresses(&self, step: Step) -> Vec<String> {
        let jobs = self.memory.jobs.as_ref().map_or(&[][..], |(_, jobs)| jobs);
        let is_meant = |job: &&JobSeen| match step {
            Step::Signal => self.wants_signal(job),
            Step::Requeue => job.is_active && job.can_requeue,
            Step::Rest
            | Step::LookAtNode
            | Step::Drain
            | Step::LookAtJobs
            | Step::Acknowledge
            | Step::TakeBack => false,
        };
        jobs.iter().filter(is_meant).map(|job| job.address.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
