//! A job as slurmctld describes it (`scontrol -a show jobs -o`).
//!
//! A user chooses the name of a job, and the text does not quote it: a name that contains `
//! UserId=` can spoil what we read about that very job. So nothing may be decided on these words
//! that its owner must not decide; whether a node is busy is told by the node's own state.

use azslurm_core::hostlist::{self, HostlistError};
use azslurm_core::{JobId, NodeName, Timestamp};

use crate::record::{Grammar, Record, split, timestamp};

/// A job that slurmctld still knows (finished ones for MinJobAge).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// `JobId`.
    pub id: JobId,
    /// `ArrayJobId` and `ArrayTaskId`: the array that it belongs to, and its task or the range of
    /// tasks that have not been taken apart yet.
    pub array: Option<(JobId, String)>,
    /// `JobName`.
    pub name: String,
    /// `JobState`.
    pub state: JobState,
    /// `Reason`: why it waits.
    pub reason: Option<String>,
    /// `Partition`.
    pub partition: Option<String>,
    /// `NodeList`: host list of what it is allocated.
    pub nodes: Option<String>,
    /// `BatchHost`.
    pub batch_host: Option<String>,
    /// `BatchFlag`: `false` for salloc and srun, where somebody waits at a terminal. Batch where it
    /// is not said.
    pub is_batch: bool,
    /// `Requeue`: it may be requeued. Not where it is not said.
    pub can_requeue: bool,
    /// `Restarts`: how often it was requeued.
    pub restarts: u32,
    /// `StartTime`: when it started, or may start.
    pub start_time: Option<Timestamp>,
}

impl Job {
    /// The nodes that it is allocated.
    pub fn node_names(&self) -> Result<Vec<NodeName>, HostlistError> {
        self.nodes.as_deref().map_or(Ok(Vec::new()), hostlist::expand)
    }

    /// How an update names this job and no other. One task of an array has the number of the whole
    /// array as its own: by that number all tasks would be changed.
    pub fn address(&self) -> String {
        let is_task = |task: &str| !task.is_empty() && task.bytes().all(|b| b.is_ascii_digit());
        match &self.array {
            Some((array, task)) if is_task(task) => format!("{array}_{task}"),
            Some(_) | None => self.id.to_string(),
        }
    }
}

/// `JobState`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waiting for resources, or to be requeued.
    Pending,
    /// Has its nodes, and waits for them to be up.
    Configuring,
    /// Runs.
    Running,
    /// Has ended, and is being cleaned up.
    Completing,
    /// Has ended with exit code 0.
    Completed,
    /// Was cancelled.
    Cancelled,
    /// Has ended with another exit code.
    Failed,
    /// Its time was up.
    Timeout,
    /// A node failed under it.
    NodeFail,
    /// Another state: SUSPENDED, PREEMPTED, OUT_OF_MEMORY, or one that is new to us.
    Other(String),
}

impl JobState {
    fn of_word(word: &str) -> JobState {
        match word {
            "PENDING" => JobState::Pending,
            "CONFIGURING" => JobState::Configuring,
            "RUNNING" => JobState::Running,
            "COMPLETING" => JobState::Completing,
            "COMPLETED" => JobState::Completed,
            "CANCELLED" => JobState::Cancelled,
            "FAILED" => JobState::Failed,
            "TIMEOUT" => JobState::Timeout,
            "NODE_FAIL" => JobState::NodeFail,
            other => JobState::Other(other.to_owned()),
        }
    }

    /// Slurm's word.
    pub fn as_str(&self) -> &str {
        match self {
            JobState::Pending => "PENDING",
            JobState::Configuring => "CONFIGURING",
            JobState::Running => "RUNNING",
            JobState::Completing => "COMPLETING",
            JobState::Completed => "COMPLETED",
            JobState::Cancelled => "CANCELLED",
            JobState::Failed => "FAILED",
            JobState::Timeout => "TIMEOUT",
            JobState::NodeFail => "NODE_FAIL",
            JobState::Other(word) => word,
        }
    }
}

/// What an output of `show jobs` held.
#[derive(Debug, Default)]
pub(crate) struct JobListing {
    pub(crate) jobs: Vec<Job>,
    /// Records that could not be read, as they were, and lines that belong to none.
    pub(crate) odd: Vec<String>,
}

const GRAMMAR: Grammar = Grammar {
    free: &[
        "JobName",
        "Comment",
        "AdminComment",
        "SystemComment",
        "Command",
        "SubmitLine",
        "WorkDir",
        "StdErr",
        "StdIn",
        "StdOut",
        "Extra",
        "Features",
        "Licenses",
        "Account",
        "MailUser",
    ],
    // Behind a name stands UserId, in every version. Behind the other free texts nothing stands
    // that we read.
    known: &[
        "UserId",
        "QOS",
        "DelayBoot",
        "Network",
        "SubmitLine",
        "WorkDir",
        "StdErr",
        "StdIn",
        "StdOut",
    ],
};

/// scontrol's words when there is nothing to show.
const NO_JOBS: &str = "No jobs in the system";

pub(crate) fn read(output: &str) -> JobListing {
    let (records, before) = split(output, "JobId");
    let mut listing = JobListing::default();
    listing.odd.extend(before.into_iter().filter(|line| line.trim() != NO_JOBS));
    for record in records {
        match read_one(&record) {
            Some(job) => listing.jobs.push(job),
            None => listing.odd.push(record),
        }
    }
    listing
}

fn read_one(line: &str) -> Option<Job> {
    let record = Record::parse(line, &GRAMMAR);
    let text = |key: &str| record.get(key).map(str::to_owned);
    let number = |key: &str| record.get(key).and_then(|value| value.parse::<u32>().ok());
    let array = number("ArrayJobId").map(|id| (JobId(id), text("ArrayTaskId").unwrap_or_default()));
    Some(Job {
        id: JobId(number("JobId")?),
        array,
        name: text("JobName").unwrap_or_default(),
        state: JobState::of_word(record.get("JobState")?),
        is_batch: record.get("BatchFlag") != Some("0"),
        reason: text("Reason"),
        partition: text("Partition"),
        nodes: text("NodeList"),
        batch_host: text("BatchHost"),
        can_requeue: record.get("Requeue") == Some("1"),
        restarts: number("Restarts").unwrap_or(0),
        start_time: record.get("StartTime").and_then(timestamp),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `-o` writes the same words as the captures, on one line.
    fn on_one_line(capture: &str) -> String {
        capture.lines().map(str::trim).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn captures_of_three_versions_say_the_same() {
        for capture in [
            include_str!("../testdata/22.05.8/scontrol-show-job.txt"),
            include_str!("../testdata/24.11.5/scontrol-show-job.txt"),
            include_str!("../testdata/26.05.5/scontrol-show-job.txt"),
        ] {
            let listing = read(&on_one_line(capture));
            assert!(listing.odd.is_empty(), "{:?}", listing.odd);
            let [job] = listing.jobs.as_slice() else { panic!("{listing:?}") };
            assert_eq!((job.id, job.name.as_str()), (JobId(1), "wrap"));
            assert_eq!(job.state, JobState::Configuring);
            assert_eq!(job.nodes.as_deref(), Some("n[2-3]"));
            assert_eq!(job.node_names().unwrap().len(), 2);
            assert_eq!(job.partition.as_deref(), Some("debug"));
            assert!(job.can_requeue && job.is_batch);
            assert_eq!((job.restarts, job.reason.as_deref(), &job.array), (0, None, &None));
            assert!(job.start_time.is_some());
        }
    }

    #[test]
    fn a_waiting_job_has_no_nodes_and_an_array_its_range() {
        let listing = read(
            "JobId=5 ArrayJobId=4 ArrayTaskId=2-19%4 JobName=a b=c JobState=x \
             UserId=root(0) JobState=PENDING Reason=BeginTime Restarts=2 NodeList= \
             BatchHost=(null) NumNodes=1 Command=/x JobState=RUNNING\n\
             JobId=6 JobName=x UserId=root(0) JobState=PURRING NodeList=(null)\n\
             JobId=x JobState=RUNNING\n",
        );
        let [five, six] = listing.jobs.as_slice() else { panic!("{listing:?}") };
        assert_eq!(five.array, Some((JobId(4), "2-19%4".to_owned())));
        assert_eq!(five.name, "a b=c JobState=x");
        assert_eq!((&five.state, five.restarts), (&JobState::Pending, 2));
        assert_eq!((five.nodes.as_deref(), five.node_names().unwrap().len()), (None, 0));
        assert_eq!(six.state.as_str(), "PURRING");
        assert_eq!(listing.odd.len(), 1);
        assert!(read("No jobs in the system\n").odd.is_empty());
    }
    #[test]
    fn a_task_is_addressed_by_its_array_and_never_as_the_whole_array() {
        let listing = read(
            "JobId=4 ArrayJobId=4 ArrayTaskId=8 JobName=x UserId=root(0) JobState=RUNNING\n\
             JobId=5 ArrayJobId=4 ArrayTaskId=1 JobName=x UserId=root(0) JobState=RUNNING\n\
             JobId=4 ArrayJobId=4 ArrayTaskId=2-7 JobName=x UserId=root(0) JobState=PENDING\n\
             JobId=9 JobName=x UserId=root(0) JobState=RUNNING\n",
        );
        let addresses: Vec<String> = listing.jobs.iter().map(Job::address).collect();
        assert_eq!(addresses, ["4_8", "4_1", "4", "9"]);
    }
}
