//! What slurmctld says: its resume file, its nodes and jobs, its settings, and its own files. A
//! record that cannot be read costs that record and never another.

use std::io;
use std::path::Path;

use azslurm_core::hostlist::NAMES_MAX;
use azslurm_resume::request::{ResumeRequest, jobs_by_node};
use azslurm_slurm::reason::{self, REASON_CHARS_MAX};
use azslurm_slurm::{Conf, Node, Slurm, SlurmVersion, resume_file};

/// Words of the resume file.
pub const RESUME_WORDS: &[&str] = &[
    "{\"jobs\":[",
    "\"job_id\":",
    "\"nodes_resume\":",
    "\"nodes_alloc\":",
    "\"all_nodes_resume\":",
    "\"n[0-65535]\"",
    "\"a[0-999]b[0-999]\"",
    "4294967296",
    "-1",
    "1e400",
    "null",
    "[[[[[[[[",
    "},{",
    "\\u0000",
    "\\ud800",
];
/// Words of `scontrol show nodes`.
pub const NODE_WORDS: &[&str] = &[
    "NodeName=",
    "\nNodeName=n1 ",
    " State=",
    "IDLE+CLOUD+POWERED_DOWN",
    " Reason=",
    "[root@2026-11-21T01:51:12]",
    "azslurm: quota: ",
    ", next try 2026-11-21T01:53:05Z",
    " : ResumeTimeout reached",
    "2026-13-41T25:61:61",
    "-009999-01-01T00:00:00",
    "9999-12-31T23:59:59",
    "(null)",
    "=",
    "+",
    "\0",
    "18446744073709551616",
];
/// Words of `scontrol show jobs`.
pub const JOB_WORDS: &[&str] = &[
    "JobId=",
    "\nJobId=7 JobName=x ",
    " JobState=",
    "RUNNING",
    " NodeList=n[1-3]",
    " ArrayJobId=",
    " ArrayTaskId=",
    "1-10%2",
    " UserId=root(0)",
    " BatchFlag=",
    " Restarts=",
    "4294967296",
    " StartTime=",
    "(null)",
    "\0",
];
/// Words of `scontrol show config` and `scontrol ping`.
pub const CONTROLLER_WORDS: &[&str] = &[
    "Slurmctld(primary) at ",
    " is UP",
    " is DOWN",
    "SLURM_VERSION = 22.05.8",
    "65536.65536.65536",
    " = ",
    "SlurmctldHost[0] = ",
    "BOOT_TIME = ",
    "(null)",
    ")",
];
/// Words of slurm.conf.
pub const CONF_WORDS: &[&str] = &[
    "include slurm.conf",
    "include \"",
    "Include /",
    "\\\n",
    "#",
    "\\#",
    "NodeName=n[1-2] State=CLOUD",
    "=",
    "+=",
    "\"",
    " ",
    "\r\n",
];

/// The least that stands before and behind an odd text, and must be read whatever it says.
const FIRST_NODE: &str = "NodeName=first-1 State=DOWN+CLOUD Reason=x\n";
const LAST_NODE: &str = "\nNodeName=last-1 State=IDLE+CLOUD\n";
const FIRST_JOB: &str = "4000000001|4000000001|N/A|RUNNING|p|1|1|n1|\n";
const LAST_JOB: &str = "\n4000000002|4000000002|N/A|PENDING|p|0|1||\n";

/// As many names as a whole resume file may make, twice where it does not tell a job's whole
/// allocation; more would exhaust a controller.
const NAMES_OF_A_FILE_MAX: usize = 6 * NAMES_MAX;

/// The resume file, with the argument that came beside it.
pub fn resume_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let request = ResumeRequest::new("n[1-3]", Some(&text)).expect("the argument is good");
    assert_eq!(request.nodes.len(), 3, "the file changed the order");
    let by_node = jobs_by_node(&request.jobs);
    assert!(by_node.values().all(|jobs| !jobs.is_empty()));
    let Ok(file) = resume_file::read(&text) else {
        assert!(request.jobs.is_empty(), "jobs of a file that cannot be read");
        return;
    };
    assert_eq!(file.jobs.len(), request.jobs.len());
    let of_jobs = file.jobs.iter().map(|job| job.nodes_resume.len() + job.nodes_alloc.len());
    let names = file.nodes.len() + of_jobs.sum::<usize>();
    assert!(names <= NAMES_OF_A_FILE_MAX, "{names} names of {} bytes", bytes.len());
    // One job that is in order is read, whatever else the file holds.
    let good = r#"{"job_id":4000000001,"nodes_resume":"good-1"}"#;
    if let Some(rest) = text.strip_prefix("{\"jobs\":[{") {
        let with = resume_file::read(&format!("{{\"jobs\":[{good},{{{rest}"));
        let is_read = |file: &resume_file::ResumeFile| {
            file.jobs.iter().any(|job| job.job_id.0 == 4_000_000_001)
        };
        assert!(
            with.is_ok_and(|file| is_read(&file) || file.jobs.is_empty()),
            "a good job is lost"
        );
    }
}

/// `scontrol show nodes`.
pub fn nodes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for node in Slurm::nodes_of_text(&text).unwrap_or_default() {
        reason_is_readable(&node);
    }
    let around = format!("{FIRST_NODE}{text}{LAST_NODE}");
    let nodes = Slurm::nodes_of_text(&around).expect("two records are good");
    let of = |name: &str| nodes.iter().find(|node| node.name.as_str() == name);
    let first = of("first-1").expect("the first record");
    assert_eq!(first.state.to_string(), "DOWN+CLOUD", "another record changed it");
    let is_last = nodes.last().is_some_and(|node| node.name.as_str() == "last-1");
    assert!(is_last, "the last record is hidden");
}

/// What we read of a reason, and what we write, is one harmless line.
fn reason_is_readable(node: &Node) {
    let Some(reason) = &node.reason else { return };
    let Some(ours) = reason::parse_ours(reason) else { return };
    assert!(!ours.code.is_empty());
    let again = reason::reason(&ours.code, &ours.text, ours.next_try);
    assert!(again.len() <= REASON_CHARS_MAX, "{again}");
    let read = reason::parse_ours(&again).unwrap_or_else(|| panic!("{again:?} is ours"));
    assert_eq!(read.next_try, ours.next_try, "{again:?}");
}

/// `squeue` in the columns that we ask for.
pub fn jobs(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let around = format!("{FIRST_JOB}{text}{LAST_JOB}");
    let jobs = Slurm::jobs_of_text(&around).expect("two records are good");
    for job in &jobs {
        assert!(job.node_names().map_or(0, |names| names.len()) <= NAMES_MAX);
        let address = job.address();
        let is_a_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        assert!(address.split('_').all(is_a_number), "{address:?} is no job's address");
    }
    let first = jobs.iter().find(|job| job.id.0 == 4_000_000_001).expect("the first record");
    assert_eq!(first.state.as_str(), "RUNNING", "another record changed it");
    assert!(jobs.last().is_some_and(|job| job.id.0 == 4_000_000_002), "the last one is hidden");
}

/// `scontrol show config`, `scontrol ping` and a version.
pub fn controller(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let config = Slurm::config_of_text(&text);
    assert!(config.len() <= text.lines().count());
    assert!(config.keys().all(|key| !key.is_empty() && !key.contains(char::is_whitespace)));
    let up = "Slurmctld(backup9) at good-1 is UP";
    let controllers = Slurm::controllers_of_text(&format!("{text}\n{up}\n"));
    let last = controllers.last().expect("a good line is read");
    assert!(last.is_up && last.role == "backup9" && last.host == "good-1", "{last:?}");
    if let Ok(version) = text.parse::<SlurmVersion>() {
        assert_eq!(version.to_string().parse(), Ok(version), "a version reads back");
    }
}

/// A longer text is not included in itself.
const INCLUDED_LENGTH_MAX: usize = 120;

/// slurm.conf, alone and as a file that includes itself under every name.
pub fn conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let path = Path::new("/etc/slurm/slurm.conf");
    let conf = Conf::of_text(path, &text);
    for line in &conf.lines {
        assert!((1..=text.lines().count()).contains(&line.line), "{} is not there", line.place());
        assert!(!line.text.contains('\n'));
    }
    // Its lines come up to a thousand times then.
    if text.len() > INCLUDED_LENGTH_MAX {
        return;
    }
    let reads = std::cell::Cell::new(0);
    let read = |_: &Path| {
        reads.set(reads.get() + 1);
        Ok::<String, io::Error>(text.clone())
    };
    let with_itself = Conf::read_by(path, &read).expect("it can be read");
    assert!(reads.get() <= 1_000, "{} files were read", reads.get());
    assert!(with_itself.lines.len() <= 1_000 * (text.len() + 1));
}
