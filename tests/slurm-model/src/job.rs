//! A job's record.

use crate::NEVER;
use crate::seen::{Exit, Requeue, Signal};
use crate::settings::JobSpec;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Configuring,
    Running,
    /// Its nodes are being cleaned up; then it is what `Ending` says.
    Completing,
    Ended(Exit),
}

/// What becomes of a job when its nodes have been cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It waits for its credentials to expire, and then for nodes.
    Requeue,
    /// It may begin at once: none of its nodes had come up (22.05).
    RequeueAtOnce,
    Exit(Exit),
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: u32,
    pub(crate) spec: JobSpec,
    pub(crate) phase: Phase,
    pub(crate) ending: Ending,
    /// What it has, or had last while it is completing.
    pub(crate) nodes: Vec<usize>,
    /// Nodes that are being cleaned up, and until when.
    pub(crate) completing: Vec<(usize, i64)>,
    /// Ends of an earlier run that are still under way although it has been started again.
    pub(crate) first_end: Vec<(usize, i64)>,
    /// It was made startable while its end was under way.
    pub(crate) is_trapped: bool,
    pub(crate) begin_at: i64,
    pub(crate) submitted_at: i64,
    pub(crate) allocated_at: Option<i64>,
    pub(crate) started_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    /// When slurmctld will see that all its nodes are up.
    pub(crate) ready_at: i64,
    /// When its script ends.
    pub(crate) ends_at: i64,
    /// Its script has ended and no slurmd says so.
    pub(crate) is_unheard: bool,
    pub(crate) requeues: Vec<Requeue>,
    pub(crate) admin_comment: Option<String>,
    pub(crate) notices: Vec<String>,
    pub(crate) signals: Vec<Signal>,
}

impl Job {
    pub(crate) fn new(id: u32, spec: JobSpec, now: i64) -> Job {
        Job {
            id,
            spec,
            phase: Phase::Pending,
            ending: Ending::Exit(Exit::Completed),
            nodes: Vec::new(),
            completing: Vec::new(),
            first_end: Vec::new(),
            is_trapped: false,
            begin_at: now,
            submitted_at: now,
            allocated_at: None,
            started_at: None,
            ended_at: None,
            ready_at: NEVER,
            ends_at: NEVER,
            is_unheard: false,
            requeues: Vec::new(),
            admin_comment: None,
            notices: Vec::new(),
            signals: Vec::new(),
        }
    }

    pub(crate) fn has_nodes(&self) -> bool {
        match self.phase {
            Phase::Configuring | Phase::Running => true,
            Phase::Pending | Phase::Completing | Phase::Ended(_) => false,
        }
    }

    /// No slurmctld knows of it any more. One that had ended before stays as it ended.
    pub(crate) fn lose(&mut self, now: i64) {
        if self.ended_at.is_none() {
            self.phase = Phase::Ended(Exit::LostWithState);
            self.ended_at = Some(now);
        }
    }

    /// Whether the scheduler looks at it.
    pub(crate) fn is_startable(&self, now: i64) -> bool {
        match self.phase {
            Phase::Pending => self.begin_at <= now,
            Phase::Completing => self.is_trapped,
            Phase::Configuring | Phase::Running | Phase::Ended(_) => false,
        }
    }

    /// Its next event.
    pub(crate) fn due_at(&self) -> i64 {
        let ends = self.completing.iter().chain(&self.first_end).map(|(_, until)| *until);
        ends.chain([self.ready_at, self.ends_at]).min().unwrap_or(NEVER)
    }
}
