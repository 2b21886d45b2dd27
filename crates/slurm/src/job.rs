//! A job as slurmctld describes it, in the columns of `squeue` that hold no text of a user's.
//!
//! `scontrol show jobs` quotes nothing: a job whose name or comment has a newline in it writes as
//! many records of other people's jobs as its owner likes, and whoever acts on those, as root, does
//! it to them. So it is not asked.

use azslurm_core::hostlist::{self, HostlistError};
use azslurm_core::{JobId, NodeName};

/// What `squeue` is asked for, in this order. A suffix without a width: nothing is padded or cut.
pub(crate) const COLUMNS: &str =
    "JobID:|,ArrayJobID:|,ArrayTaskID:|,State:|,Partition:|,BatchFlag:|,Requeue:|,NodeList:|";

/// A job that slurmctld still knows (finished ones for MinJobAge).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// The array that it belongs to, and its task or the range of tasks that have not been taken
    /// apart yet.
    pub array: Option<(JobId, String)>,
    /// Its state.
    pub state: JobState,
    /// Its partition, or those that it may run in.
    pub partition: Option<String>,
    /// Host list of what it is allocated.
    pub nodes: Option<String>,
    /// `false` for salloc and srun, where somebody waits at a terminal. Batch where it is not said.
    pub is_batch: bool,
    /// It may be requeued. Not where it is not said.
    pub can_requeue: bool,
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

/// What an output of `squeue` held.
#[derive(Debug, Default)]
pub(crate) struct JobListing {
    pub(crate) jobs: Vec<Job>,
    /// Lines that could not be read, as they were.
    pub(crate) odd: Vec<String>,
}

pub(crate) fn read(output: &str) -> JobListing {
    let mut listing = JobListing::default();
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        match read_one(line) {
            Some(job) => listing.jobs.push(job),
            None => listing.odd.push(line.to_owned()),
        }
    }
    listing
}

fn read_one(line: &str) -> Option<Job> {
    let columns: Vec<&str> = line.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [id, array, task, state, partition, batch, requeue, nodes] = columns[..] else {
        return None;
    };
    let text = |text: &str| (!is_nothing(text)).then(|| text.to_owned());
    let array = (!is_nothing(task)).then(|| Some((JobId(array.parse().ok()?), task.to_owned())));
    Some(Job {
        id: JobId(id.parse().ok()?),
        array: array.flatten(),
        state: JobState::of_word((!state.is_empty()).then_some(state)?),
        partition: text(partition),
        nodes: text(nodes),
        is_batch: batch != "0",
        can_requeue: requeue == "1",
    })
}

/// Slurm's words for what is not there.
fn is_nothing(text: &str) -> bool {
    matches!(text, "" | "(null)" | "None" | "Unknown" | "N/A" | "n/a")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 22.05.8 and 24.11.5 write it.
    #[test]
    fn a_line_is_a_job_and_says_nothing_that_is_not_known() {
        let listing = read(
            "1|1|N/A|CONFIGURING|debug|1|1|n[2-3,5]|\n\
             2|2|1-400:3%7|PENDING|debug,big|1|1||\n\
             3|3|N/A|RUNNING|debug|0|0|n1|\n\
             4|4|N/A|PURRING||1|0|(null)|\n",
        );
        assert!(listing.odd.is_empty(), "{:?}", listing.odd);
        let [one, two, three, four] = listing.jobs.as_slice() else { panic!("{listing:?}") };
        assert_eq!((one.id, &one.array, &one.state), (JobId(1), &None, &JobState::Configuring));
        assert_eq!(one.node_names().unwrap().len(), 3);
        assert!(one.is_batch && one.can_requeue);
        assert_eq!(two.array, Some((JobId(2), "1-400:3%7".to_owned())));
        assert_eq!((two.partition.as_deref(), two.nodes.as_deref()), (Some("debug,big"), None));
        assert!(two.node_names().unwrap().is_empty());
        assert!(!three.is_batch && !three.can_requeue);
        assert_eq!((four.state.as_str(), four.partition.as_deref()), ("PURRING", None));
        assert_eq!(four.nodes, None);
        assert!(read("").jobs.is_empty() && read("").odd.is_empty());
    }

    #[test]
    fn a_line_that_is_not_whole_is_odd() {
        let lines = [
            "1|1|N/A|RUNNING|debug|1|1|n1",
            "1|1|N/A|RUNNING|debug|1|n1|",
            "1|1|N/A|RUNNING|debug|1|1|n1|more|",
            "x|1|N/A|RUNNING|debug|1|1|n1|",
            "1|1|N/A||debug|1|1|n1|",
            "slurm_load_jobs error: x",
        ];
        for line in lines {
            let listing = read(line);
            assert_eq!((listing.jobs.len(), listing.odd.len()), (0, 1), "{line:?}");
        }
    }

    #[test]
    fn a_task_is_addressed_by_its_array_and_never_as_the_whole_array() {
        let listing = read(
            "4|4|8|RUNNING|p|1|1|n1|\n5|4|1|RUNNING|p|1|1|n1|\n4|4|2-7|PENDING|p|1|1||\n\
             9|9|N/A|RUNNING|p|1|1|n1|\n",
        );
        let addresses: Vec<String> = listing.jobs.iter().map(Job::address).collect();
        assert_eq!(addresses, ["4_8", "4_1", "4", "9"]);
    }
}
