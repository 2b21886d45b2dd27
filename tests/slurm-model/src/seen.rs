//! What a test may see of the model beyond the words of scontrol.

use crate::node::{Flags, Slurmd};

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Its script ran to its end.
    Completed,
    /// Somebody cancelled it.
    Cancelled,
    /// A node failed under it, and it may not be requeued.
    NodeFail,
    /// 22.05 started it again while its first end was under way, and that end took it.
    LostToFirstEnd,
    /// slurmctld lost its state.
    LostWithState,
}

impl Exit {
    /// Whether the job was lost: nobody asked for its end and nobody is told of it.
    pub fn is_lost(self) -> bool {
        match self {
            Exit::LostToFirstEnd | Exit::LostWithState => true,
            Exit::Completed | Exit::Cancelled | Exit::NodeFail => false,
        }
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Waits for nodes or for its begin time.
    Pending,
    /// Has nodes, and waits for them to be up.
    Configuring,
    /// Its script runs.
    Running,
    /// Its nodes are being cleaned up; it is requeued or ends then.
    Completing,
    /// It is over.
    Ended(Exit),
}

/// What took a job from its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequeueWhy {
    /// `state=down`.
    SetDown,
    /// `state=drain` while powering up.
    Drained,
    /// `state=fail` while powering up.
    SetFail,
    /// `state=power_down_force`.
    PoweredDown,
    /// ResumeTimeout.
    ResumeTimeout,
    /// SlurmdTimeout.
    NotResponding,
    /// slurmd registered after a boot, without the job.
    Rebooted,
    /// `scontrol requeue`.
    Asked,
}

/// One requeue, or one end by a failed node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requeue {
    /// When.
    pub at: i64,
    /// Why.
    pub why: RequeueWhy,
    /// On which node; `None` if the job was named.
    pub node: Option<String>,
    /// Whether its script was running.
    pub was_running: bool,
}

/// A signal that a job got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// When.
    pub at: i64,
    /// `USR1`, `10`.
    pub name: String,
    /// `--batch`.
    pub to_batch: bool,
    /// `--full`.
    pub to_all: bool,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSeen {
    /// `JobId`.
    pub id: u32,
    /// Where it is.
    pub state: JobState,
    /// The nodes that it has, or had last.
    pub nodes: Vec<String>,
    /// How often it was requeued, and why.
    pub requeues: Vec<Requeue>,
    /// When it was submitted.
    pub submitted_at: i64,
    /// When its script began last.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// `AdminComment`.
    pub admin_comment: Option<String>,
    /// What `scontrol notify` wrote to its terminal.
    pub notices: Vec<String>,
    /// Signals that it got.
    pub signals: Vec<Signal>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// `NodeName`.
    pub name: String,
    /// `State=` as scontrol writes it.
    pub state: String,
    /// Base state DOWN.
    pub is_down: bool,
    /// The flags of the state.
    pub flags: Flags,
    /// `Reason`, without who and when.
    pub reason: Option<String>,
    /// `Comment`.
    pub comment: Option<String>,
    /// Jobs that have it.
    pub jobs: Vec<u32>,
    /// Jobs that are being cleaned up on it.
    pub completing: Vec<u32>,
    /// When ResumeProgram was called for it; `None` once it has registered or timed out.
    pub boot_asked_at: Option<i64>,
    /// Its daemon, as it is.
    pub slurmd: Slurmd,
}
