//! What slurmctld asks: the host list of its argument, and the resume file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use azslurm_core::attempt::Attempt;
use azslurm_core::hostlist::{self, HostlistError};
use azslurm_core::plan::JobNodes;
use azslurm_core::{JobId, NodeName};
use azslurm_slurm::resume_file;

/// slurmctld names the resume file in it.
const VARIABLE: &str = "SLURM_RESUME_FILE";
/// A resume file of 10,000 nodes and jobs has about 2 MB; more than this is not one.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Nodes to bring up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeRequest {
    /// The nodes, as they were named.
    pub nodes: Vec<NodeName>,
    /// Jobs that wait for them, each with all of its nodes, as far as slurmctld said.
    pub jobs: Vec<JobNodes>,
    /// Whether a node whose VM is provisioned gets a new one (see `azslurm_core::plan::Known`).
    pub replace_running: bool,
}

impl ResumeRequest {
    /// From the argument and the text of the resume file. The argument is the order; the file only
    /// adds which jobs wait, and a file that cannot be read costs no more than that.
    pub fn new(argument: &str, file: Option<&str>) -> Result<ResumeRequest, HostlistError> {
        let nodes = hostlist::expand(argument)?;
        let of_job = |job: resume_file::ResumeJob| JobNodes {
            job: job.job_id,
            nodes: job.nodes_alloc.into_iter().chain(job.nodes_resume).collect(),
        };
        let jobs = file.map(read).unwrap_or_default().into_iter().map(of_job).collect();
        // Whether a VM that is there already has to be replaced, only slurmctld can say: the driver
        // asks it.
        Ok(ResumeRequest { nodes, jobs, replace_running: false })
    }
}

/// The jobs of each node.
pub fn jobs_by_node(jobs: &[JobNodes]) -> BTreeMap<&NodeName, Vec<JobId>> {
    let mut by_node: BTreeMap<&NodeName, Vec<JobId>> = BTreeMap::new();
    for job in jobs {
        for node in &job.nodes {
            by_node.entry(node).or_default().push(job.job);
        }
    }
    by_node
}

/// Jobs with the nodes that attempts were made for, in the order of their numbers: what the ledger
/// still knows of a request.
pub fn jobs_of<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> Vec<JobNodes> {
    let mut jobs: BTreeMap<JobId, BTreeSet<NodeName>> = BTreeMap::new();
    for attempt in attempts {
        for job in &attempt.is.jobs {
            jobs.entry(*job).or_default().insert(attempt.is.node.clone());
        }
    }
    jobs.into_iter().map(|(job, nodes)| JobNodes { job, nodes }).collect()
}

fn read(text: &str) -> Vec<resume_file::ResumeJob> {
    match resume_file::read(text) {
        Ok(file) => {
            for odd in &file.odd {
                tracing::warn!("{VARIABLE}: {odd}");
            }
            file.jobs
        }
        Err(error) => {
            tracing::warn!("{VARIABLE}: {}", azslurm_program::exit::chain_of(&error));
            Vec::new()
        }
    }
}

/// The text of the resume file, if there is one. **First thing in the program**: the file is in
/// slurmctld's memory and gone when the program ends or slurmctld stops.
pub fn take_resume_file() -> Option<String> {
    let path = PathBuf::from(std::env::var_os(VARIABLE)?);
    let length = fs::metadata(&path).map(|file| file.len());
    if length.as_ref().is_ok_and(|length| *length > BYTES_MAX) {
        tracing::warn!("{VARIABLE}: {} is too long for a resume file", path.display());
        return None;
    }
    match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            tracing::warn!("{VARIABLE}: cannot read {}: {error}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_orders_and_the_file_says_who_waits() {
        let file = r#"{"all_nodes_resume":"n[1-3]","jobs":[
            {"job_id":7,"nodes_resume":"n[1-2]","nodes_alloc":"n[1-2]"},
            {"job_id":8,"nodes_resume":"n2"}]}"#;
        let request = ResumeRequest::new("n[1-3]", Some(file)).unwrap();
        assert_eq!(request.nodes.len(), 3);
        let by_node = jobs_by_node(&request.jobs);
        let jobs = |node: &str| by_node.get(&node.parse::<NodeName>().unwrap()).cloned();
        assert_eq!(jobs("n1"), Some(vec![JobId(7)]));
        assert_eq!(jobs("n2"), Some(vec![JobId(7), JobId(8)]));
        assert_eq!(jobs("n3"), None);
    }

    #[test]
    fn a_broken_resume_file_costs_only_the_job_numbers() {
        for broken in ["", "{", "[]", "null"] {
            let request = ResumeRequest::new("n[1-3]", Some(broken)).unwrap();
            assert_eq!((request.nodes.len(), request.jobs.len()), (3, 0), "{broken}");
        }
        assert!(ResumeRequest::new("n[1-", None).is_err());
    }
}
