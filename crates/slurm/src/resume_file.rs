//! `SLURM_RESUME_FILE`: what slurmctld tells ResumeProgram about the jobs that wait for the nodes.
//!
//! It exists only where slurmctld was built with JSON-C, its keys were renamed in 23.02, and later
//! versions added some: every field is optional, unknown ones are passed over, and an entry that
//! cannot be read is put aside. The file is in slurmctld's memory and gone soon after: read it
//! first thing.

use azslurm_core::hostlist::{self, NAMES_MAX};
use azslurm_core::{JobId, NodeName};
use serde_json::{Map, Value};

/// The names of all lists of a file together: all nodes, and those of jobs up to twice. Where jobs
/// share nodes there may be more, but a controller must survive the file.
const NAMES_OF_A_FILE_MAX: usize = 3 * NAMES_MAX;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResumeFile {
    /// All nodes of this call; some may belong to no job (powered up by hand).
    pub nodes: Vec<NodeName>,
    /// The jobs that wait for them. A node may be in several.
    pub jobs: Vec<ResumeJob>,
    /// What could not be read, in words for the log.
    pub odd: Vec<String>,
}

/// One job of the file. Array tasks and the parts of a heterogeneous job are jobs of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeJob {
    /// `job_id`.
    pub job_id: JobId,
    /// Its nodes that are resumed in this call (22.05: `nodes`).
    pub nodes_resume: Vec<NodeName>,
    /// All nodes of the job, the ones that are up already included. 22.05 does not tell: as
    /// `nodes_resume`.
    pub nodes_alloc: Vec<NodeName>,
    /// `features`: the constraint, `f1&spot`.
    pub features: Option<String>,
    /// `extra`: what the user gave with `--extra`.
    pub extra: Option<String>,
    /// `partition`.
    pub partition: Option<String>,
    /// `reservation`.
    pub reservation: Option<String>,
    /// `oversubscribe`: `OK`, `NO`, `YES` …
    pub oversubscribe: Option<String>,
    /// `exclusive` (26.05): `NO`, `NODE`, `USER` …
    pub exclusive: Option<String>,
    /// `priority` (26.05).
    pub priority: Option<u64>,
}

/// Why nothing of the file can be used.
#[derive(Debug, thiserror::Error)]
#[error("the resume file is not the JSON that slurmctld writes ({length} bytes)")]
pub struct ResumeFileError {
    length: usize,
    source: serde_json::Error,
}

/// Reads the text of the file, in the spelling of any version.
pub fn read(text: &str) -> Result<ResumeFile, ResumeFileError> {
    read_within(text, NAMES_OF_A_FILE_MAX)
}

fn read_within(text: &str, names_max: usize) -> Result<ResumeFile, ResumeFileError> {
    let wire: Map<String, Value> = serde_json::from_str(text)
        .map_err(|source| ResumeFileError { length: text.len(), source })?;
    let all = wire.get("all_nodes_resume").or_else(|| wire.get("all_nodes"));
    let mut lists = Lists { odd: Vec::new(), names_left: names_max };
    let nodes = lists.nodes(all.unwrap_or(&Value::Null), "all nodes");
    let jobs = match wire.get("jobs") {
        Some(Value::Array(jobs)) => jobs.as_slice(),
        None | Some(Value::Null) => &[],
        Some(other) => {
            lists.odd.push(format!("jobs: not a list: {other}"));
            &[]
        }
    };
    let mut read = Vec::new();
    for job in jobs {
        match read_job(job, &mut lists) {
            Some(job) => read.push(job),
            None => lists.odd.push(format!("job without a number: {job}")),
        }
    }
    Ok(ResumeFile { nodes, jobs: read, odd: lists.odd })
}

fn read_job(job: &Value, lists: &mut Lists) -> Option<ResumeJob> {
    let number = job.get("job_id")?.as_u64()?;
    let job_id = JobId(u32::try_from(number).ok()?);
    let text = |key: &str| job.get(key).and_then(Value::as_str).map(str::to_owned);
    let field = |key: &str| job.get(key).unwrap_or(&Value::Null);
    let resume = job.get("nodes_resume").unwrap_or_else(|| field("nodes"));
    let nodes_resume = lists.nodes(resume, &format!("nodes of job {job_id}"));
    let alloc = field("nodes_alloc");
    let nodes_alloc = if alloc.is_null() {
        nodes_resume.clone()
    } else {
        lists.nodes(alloc, &format!("allocation of job {job_id}"))
    };
    Some(ResumeJob {
        job_id,
        nodes_resume,
        nodes_alloc,
        features: text("features"),
        extra: text("extra"),
        partition: text("partition"),
        reservation: text("reservation"),
        oversubscribe: text("oversubscribe"),
        exclusive: text("exclusive"),
        priority: field("priority").as_u64(),
    })
}

/// What the host lists of a file have shown so far.
struct Lists {
    odd: Vec<String>,
    names_left: usize,
}

impl Lists {
    /// A host list of the file; nothing, and a word about it, when it cannot be read.
    fn nodes(&mut self, list: &Value, what: &str) -> Vec<NodeName> {
        let text = match list {
            Value::Null => return Vec::new(),
            Value::String(text) if text.is_empty() => return Vec::new(),
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.odd.push(format!("{what}: not a host list: {list}"));
                return Vec::new();
            }
        };
        let names = hostlist::expand_within(text, self.names_left).unwrap_or_else(|error| {
            self.odd.push(format!("{what}: {error}"));
            Vec::new()
        });
        self.names_left -= names.len();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> ResumeFile {
        let file = read(text).unwrap();
        assert!(file.odd.is_empty(), "{:?}", file.odd);
        file
    }

    #[test]
    fn both_spellings_say_the_same() {
        let old = good(include_str!("../testdata/22.05.8/resume-file-multi-1.json"));
        let new = good(include_str!("../testdata/24.11.5/resume-file-multi-1.json"));
        let newest = good(include_str!("../testdata/26.05.5/resume-file-multi-1.json"));
        assert_eq!(old.nodes.len(), 12);
        assert_eq!(old.nodes, new.nodes);
        assert_eq!(old.nodes, newest.nodes);
        let of = |file: &ResumeFile, id| {
            file.jobs.iter().find(|job| job.job_id == JobId(id)).unwrap().clone()
        };
        for file in [&old, &new, &newest] {
            let job = of(file, 3);
            assert_eq!(job.nodes_resume.len(), 2);
            assert_eq!(job.nodes_alloc, job.nodes_resume);
            let on_first = file.jobs.iter().filter(|job| job.nodes_resume[0].as_str() == "hpc-001");
            assert_eq!(on_first.count(), 4, "several jobs list the same node");
        }
        assert_eq!(of(&old, 3).features, None);
        assert_eq!(of(&new, 3).features.as_deref(), Some("f1&spot"));
        assert_eq!(of(&new, 11).extra.as_deref(), Some(r#"{"x":1}"#));
        assert_eq!(of(&new, 6).oversubscribe.as_deref(), Some("NO"));
        assert_eq!(of(&newest, 6).exclusive.as_deref(), Some("NODE"));
        assert_eq!(of(&newest, 4).reservation.as_deref(), Some("r1"));
        assert_eq!(of(&newest, 4).priority, Some(1));
    }

    #[test]
    fn ten_thousand_nodes_are_read() {
        let file = good(include_str!("../testdata/26.05.5/resume-file-10000-nodes.json"));
        assert_eq!(file.nodes.len(), 10_000);
        assert_eq!(file.jobs[0].nodes_resume.len(), 10_000);
    }

    #[test]
    fn every_field_may_be_missing_and_new_ones_are_passed_over() {
        assert_eq!(good("{}"), ResumeFile::default());
        assert_eq!(good(r#"{"jobs":null}"#), ResumeFile::default());
        assert_eq!(read(r#"{"jobs":7}"#).unwrap().odd.len(), 1);
        let file = good(r#"{"jobs":[{"job_id":7,"moon":"full"}],"all_nodes_resume":null,"x":[1]}"#);
        assert_eq!(file.jobs[0].job_id, JobId(7));
        assert!(file.jobs[0].nodes_resume.is_empty());
    }

    #[test]
    fn one_unreadable_job_does_not_hide_the_others() {
        let text = r#"{"jobs":[{"nodes":"a"},{"job_id":2,"nodes":"n[1-"},
            {"job_id":3,"nodes":"n[1-2]"},4],"all_nodes":5}"#;
        let file = read(text).unwrap();
        let ids: Vec<u32> = file.jobs.iter().map(|job| job.job_id.0).collect();
        assert_eq!(ids, [2, 3]);
        assert_eq!(file.jobs[1].nodes_resume.len(), 2);
        assert_eq!(file.odd.len(), 4, "{:?}", file.odd);
    }

    /// A kilobyte of lists named more nodes than a controller has memory for.
    #[test]
    fn lists_that_are_too_long_together_are_left_out_before_they_are_made() {
        let job = |number: usize| {
            format!(r#"{{"job_id":{number},"nodes_resume":"n[1-1000]","nodes_alloc":"c"}}"#)
        };
        let jobs: Vec<String> = (1..=5).map(job).collect();
        let file = read_within(&format!(r#"{{"jobs":[{}]}}"#, jobs.join(",")), 2_500).unwrap();
        let counts: Vec<usize> = file.jobs.iter().map(|job| job.nodes_resume.len()).collect();
        assert_eq!(counts, [1000, 1000, 0, 0, 0]);
        assert_eq!(file.jobs.iter().filter(|job| job.nodes_alloc.len() == 1).count(), 5);
        assert_eq!(file.odd.len(), 3, "{:?}", file.odd);
        assert!(read(r#"{"jobs":[{"job_id":1,"nodes":"n[1-60000]"}]}"#).unwrap().odd.is_empty());
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for bad in ["", "[]", "{\"jobs\":", "hello"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
