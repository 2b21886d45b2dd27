//! The cells: what each combination of views leads to.

use crate::agent::{Event, Mark, Memory};
use crate::node::{NodeBase, NodeFlag, NodeState};

/// What Azure has announced for this VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Announced {
    /// The metadata service has not answered yet.
    Unknown,
    /// Nothing.
    Nothing,
    /// Something after which the VM is there again, or that its owner has asked for.
    Maintenance,
    /// The VM is taken back.
    Eviction,
}

/// This node as slurmctld tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeView {
    /// Not asked yet.
    Unknown,
    /// slurmctld does not know it.
    Absent,
    /// It takes jobs.
    Open,
    /// It is powering up, and takes jobs then.
    Booting,
    /// Drained by an agent for the event that stands.
    Marked,
    /// Drained by an agent for another event.
    MarkedBefore,
    /// Down or draining by somebody else: neither state nor reason is ours to change.
    Closed,
    /// slurmctld powers it down, or the head node's azslurm has given it up.
    Leaving,
}

impl NodeView {
    const ALL: [NodeView; 8] = [
        NodeView::Unknown,
        NodeView::Absent,
        NodeView::Open,
        NodeView::Booting,
        NodeView::Marked,
        NodeView::MarkedBefore,
        NodeView::Closed,
        NodeView::Leaving,
    ];

    /// Reduces what is remembered of the node.
    pub fn of(memory: &Memory, event: Option<&Event>) -> NodeView {
        match &memory.node {
            None if memory.is_absent => NodeView::Absent,
            None => NodeView::Unknown,
            Some(told) => NodeView::of_state(&told.state, &told.mark, event),
        }
    }

    fn of_state(state: &NodeState, mark: &Mark, event: Option<&Event>) -> NodeView {
        let has = |flag: NodeFlag| state.has(&flag);
        if has(NodeFlag::PoweringDown) || has(NodeFlag::PoweredDown) {
            return NodeView::Leaving;
        }
        let is_down = state.base == NodeBase::Down;
        if !is_down && !has(NodeFlag::Drain) && !has(NodeFlag::Fail) {
            return if has(NodeFlag::PoweringUp) { NodeView::Booting } else { NodeView::Open };
        }
        match mark {
            Mark::Event { .. } if !has(NodeFlag::Drain) => NodeView::Closed,
            Mark::Event { .. } if event.is_some_and(|event| mark.is_of(event)) => NodeView::Marked,
            Mark::Event { .. } => NodeView::MarkedBefore,
            Mark::Ours => NodeView::Leaving,
            Mark::None | Mark::Others => NodeView::Closed,
        }
    }
}

/// The jobs on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobsView {
    /// Not asked, or too long ago.
    Unknown,
    /// Some have not got the signal yet.
    ToSignal,
    /// Some can be requeued.
    ToRequeue,
    /// What is left ends, or cannot be requeued.
    Ending,
    /// None.
    Gone,
}

impl JobsView {
    const ALL: [JobsView; 5] = [
        JobsView::Unknown,
        JobsView::ToSignal,
        JobsView::ToRequeue,
        JobsView::Ending,
        JobsView::Gone,
    ];
}

/// What the agent does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing before the next look at the events.
    Rest,
    /// Ask slurmctld about the node.
    LookAtNode,
    /// Set it draining, with the event in the reason.
    Drain,
    /// Ask slurmctld about the jobs on it.
    LookAtJobs,
    /// Send them the signal.
    Signal,
    /// Requeue them.
    Requeue,
    /// Tell Azure that it need not wait.
    Acknowledge,
    /// Take the drain back.
    TakeBack,
}

/// One situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// What Azure has announced.
    pub announced: Announced,
    /// The node.
    pub node: NodeView,
    /// The jobs on it.
    pub jobs: JobsView,
    /// Whether the time has come: to requeue, or without an event to believe its end.
    pub is_due: bool,
    /// Whether an acknowledgement is still to be sent, once no job is left.
    pub acknowledges: bool,
}

/// The step.
pub fn decide(cell: Cell) -> Step {
    match cell.announced {
        Announced::Unknown => Step::Rest,
        Announced::Nothing => decide_nothing(cell),
        Announced::Maintenance => decide_maintenance(cell),
        Announced::Eviction => decide_eviction(cell),
    }
}

/// Once after the start, and after the end of an event: is there a drain of ours to take back?
fn decide_nothing(cell: Cell) -> Step {
    match (cell.node, cell.is_due) {
        (NodeView::Unknown, true) => Step::LookAtNode,
        (NodeView::MarkedBefore, true) => Step::TakeBack,
        (NodeView::Unknown | NodeView::MarkedBefore, false)
        | (NodeView::Absent | NodeView::Open | NodeView::Booting, _)
        | (NodeView::Marked | NodeView::Closed | NodeView::Leaving, _) => Step::Rest,
    }
}

/// Jobs stay; no new ones come.
fn decide_maintenance(cell: Cell) -> Step {
    match cell.node {
        NodeView::Unknown => Step::LookAtNode,
        NodeView::Open | NodeView::MarkedBefore => Step::Drain,
        // A drain now would requeue the job that waits for this node, and lose a VM that stays.
        NodeView::Booting | NodeView::Absent | NodeView::Leaving => Step::Rest,
        NodeView::Marked | NodeView::Closed if !cell.acknowledges => Step::Rest,
        NodeView::Marked | NodeView::Closed => match cell.jobs {
            JobsView::Unknown => Step::LookAtJobs,
            JobsView::ToSignal | JobsView::ToRequeue | JobsView::Ending => Step::Rest,
            JobsView::Gone => Step::Acknowledge,
        },
    }
}

/// No new jobs, then the signal, then the requeue. A node that a person has closed stays as it is,
/// and its jobs are saved all the same.
fn decide_eviction(cell: Cell) -> Step {
    match cell.node {
        NodeView::Unknown => Step::LookAtNode,
        NodeView::Open | NodeView::Booting | NodeView::MarkedBefore => Step::Drain,
        NodeView::Absent | NodeView::Leaving => Step::Rest,
        NodeView::Marked | NodeView::Closed => match (cell.jobs, cell.is_due) {
            (JobsView::Unknown, _) => Step::LookAtJobs,
            (JobsView::ToSignal, _) => Step::Signal,
            (JobsView::ToRequeue, true) => Step::Requeue,
            (JobsView::ToRequeue, false) | (JobsView::Ending, _) => Step::Rest,
            (JobsView::Gone, _) if cell.acknowledges => Step::Acknowledge,
            (JobsView::Gone, _) => Step::Rest,
        },
    }
}

/// The whole matrix as text, for the golden file and for people.
pub fn matrix() -> String {
    let mut text = "announced   node         jobs      due   acknowledges  step\n".to_owned();
    let all = [Announced::Unknown, Announced::Nothing, Announced::Maintenance, Announced::Eviction];
    for (announced, node) in all.iter().flat_map(|one| NodeView::ALL.map(|node| (*one, node))) {
        for jobs in JobsView::ALL {
            for (is_due, acknowledges) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let cell = Cell { announced, node, jobs, is_due, acknowledges };
                let (announced, node) = (format!("{announced:?}"), format!("{node:?}"));
                let (jobs, step) = (format!("{jobs:?}"), decide(cell));
                text.push_str(&format!(
                    "{announced:11} {node:12} {jobs:9} {is_due:5} {acknowledges:13} {step:?}\n"
                ));
            }
        }
    }
    text
}
