//! The programs' log where journald is: its lines and its fields, as they reach journald's socket.
//!
//! The socket is the tests' own. Each program is started in a mount namespace of its own in which
//! a folder of the test covers `/run`; so neither the machine's journald nor anything else of it
//! is touched, and a machine without journald does as well. That needs root.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[expect(dead_code, reason = "shared with tests/programs, which uses all of it")]
#[path = "programs/bench.rs"]
mod bench;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use azslurm_core::attempt::AttemptState;

use crate::bench::{Bench, all, assert_names, said, wait_for};

/// Covers /run with its first argument and becomes the program that the others name.
const COVER: &str = r#"mount --bind "$1" /run && shift && exec "$@""#;
/// Longer than every datagram: what does not fit into one (200 KB) comes as a memfd, and no line
/// here is near that.
const DATAGRAM_MAX: usize = 1 << 20;
/// `PRIORITY` of a warning; a smaller number is worse.
const WARNING: u32 = 4;

/// One line of the journal: its fields by name.
#[derive(Debug, Clone)]
struct Entry(BTreeMap<String, String>);

impl Entry {
    /// Reads journald's native protocol: `NAME=value`, or `NAME`, the value's length as 8 bytes,
    /// little-endian, and the value; each ended by a newline.
    fn read(mut rest: &[u8]) -> Entry {
        let mut fields = BTreeMap::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end + 1..];
            if let Some((name, value)) = line.split_once('=') {
                fields.insert(name.to_owned(), value.to_owned());
                continue;
            }
            let (length, after) = rest.split_first_chunk::<8>().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(line, String::from_utf8(after[..length].to_vec()).unwrap());
            assert_eq!(after[length], b'\n');
            rest = &after[length + 1..];
        }
        assert!(rest.is_empty(), "{rest:?}");
        Entry(fields)
    }

    /// A field; empty if the line does not have it.
    fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn message(&self) -> &str {
        self.field("MESSAGE")
    }
}

/// A folder to cover /run with, and what was sent to the journal's socket in it.
struct Journal {
    run: PathBuf,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Journal {
    fn listen(scratch: &Path) -> Journal {
        let run = scratch.join("run");
        fs::create_dir_all(run.join("systemd/journal")).unwrap();
        let socket = UnixDatagram::bind(run.join("systemd/journal/socket")).unwrap();
        let entries = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&entries);
        // Ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = vec![0; DATAGRAM_MAX];
            while let Ok(length) = socket.recv(&mut buffer) {
                // The question whether somebody is there is an empty datagram.
                if length > 0 {
                    heard.lock().unwrap().push(Entry::read(&buffer[..length]));
                }
            }
        });
        Journal { run, entries }
    }

    /// All lines until now, oldest first.
    fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    /// The lines with this message, once there are `count`.
    fn wait_for(&self, message: &str, count: usize) -> Vec<Entry> {
        let mut found = Vec::new();
        wait_for(&format!("{count} lines {message:?} in the journal"), || {
            found = self.entries();
            found.retain(|entry| entry.message() == message);
            found.len() == count
        });
        found
    }
}

/// Runs `inner` where `run` is /run.
fn run_where(run: &Path, inner: &Command) -> Output {
    let mut command = Command::new("unshare");
    command
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .args(["--mount", "--propagation", "private", "sh", "-c", COVER, "sh"])
        .arg(run)
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// Says at once and plainly what these tests cannot do without.
fn assert_may_cover(run: &Path) {
    let output = run_where(run, &Command::new("true"));
    assert!(
        output.status.success(),
        "this test covers /run in a mount namespace of its own, which needs root with \
         CAP_SYS_ADMIN: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_first_line_is_in_the_journal_before_anything_can_fail() {
    let bench = Bench::start();
    let orders = [
        ("azslurm-resume", "n1"),
        ("azslurm-suspend", "n1"),
        ("azslurm-resume-fail", "n1"),
        ("azslurm-sync", "status"),
    ];
    for (name, order) in orders {
        let scratch = bench.dir.path().join(name);
        let journal = Journal::listen(&scratch);
        assert_may_cover(&journal.run);
        fs::remove_file(bench.config_path()).ok();
        let output = run_where(&journal.run, bench.command(name).arg(order));
        let text = said(&output, 2);
        let is_last = |entry: &Entry| entry.field("AZSLURM_EXIT_CODE") == "2";
        wait_for("the reason in the journal", || journal.entries().iter().any(is_last));
        let entries = journal.entries();
        let first = &entries[0];
        assert_eq!(first.message(), format!("{name} started"));
        assert_names(first.field("AZSLURM_ARGUMENTS"), &["--config", order]);
        assert!(first.field("AZSLURM_PID").parse::<u32>().is_ok(), "{first:?}");
        let last = entries.last().unwrap();
        assert_eq!(last.field("PRIORITY"), "3", "{last:?}");
        assert_names(last.message(), &[bench.config_path().to_str().unwrap()]);
        assert_names(&text, &[last.message()]);
        assert!(entries.iter().all(|entry| entry.field("SYSLOG_IDENTIFIER") == name));
    }
}

#[test]
fn a_resume_can_be_followed_by_the_fields_of_its_lines() {
    let bench = Bench::start();
    let journal = Journal::listen(bench.dir.path());
    assert_may_cover(&journal.run);
    let file = bench.dir.path().join("resume.json");
    let jobs = r#"{"all_nodes_resume":"n[1-2]","jobs":[{"job_id":4711,"nodes_resume":"n1"}]}"#;
    fs::write(&file, jobs).unwrap();
    let mut order = bench.command("azslurm-resume");
    order.arg("n[1-2]").env("SLURM_RESUME_FILE", &file);
    said(&run_where(&journal.run, &order), 0);
    let attempts = bench.attempts("two VMs", |attempts| {
        attempts.len() == 2 && all(AttemptState::Running)(attempts)
    });
    bench.wait_for_the_driver();
    journal.wait_for("driven to the end", 1);
    let entries = journal.entries();
    assert_eq!(entries[0].message(), "azslurm-resume started");
    let started = journal.wait_for("azslurm-resume started", 2);
    assert_names(started[1].field("AZSLURM_ARGUMENTS"), &["--drive"]);
    let of_node = |message: &str, node: &str| {
        let found = journal.wait_for(message, 2);
        found.into_iter().find(|entry| entry.field("AZSLURM_NODE") == node).unwrap()
    };
    for attempt in &attempts {
        let (node, vm) = (attempt.is.node.as_str(), attempt.is.vm.as_str());
        let intended = of_node("to be created", node);
        let accepted = of_node("Azure makes the VM", node);
        let provisioned = of_node("the VM is provisioned", node);
        for entry in [&intended, &accepted, &provisioned] {
            assert_eq!(entry.field("AZSLURM_VM"), vm, "{entry:?}");
        }
        assert_eq!(intended.field("AZSLURM_SITE"), "west");
        assert_eq!(intended.field("AZSLURM_JOB"), if node == "n1" { "4711" } else { "" });
        let request = accepted.field("AZSLURM_REQUEST_ID");
        assert_eq!(attempt.request_id.as_deref(), Some(request), "as in the ledger");
        let operation = accepted.field("AZSLURM_OPERATION");
        assert!(!operation.is_empty() && !operation.contains(['/', '?']), "{accepted:?}");
    }
    for entry in entries {
        assert_eq!(entry.field("SYSLOG_IDENTIFIER"), "azslurm-resume");
        let is_ours = entry.field("TARGET").starts_with("azslurm");
        let matters = entry.field("PRIORITY").parse::<u32>().unwrap() <= WARNING;
        assert!(is_ours || matters, "of a library: {entry:?}");
    }
    assert!(bench.log().contains("to be created"), "a file that is named is written all the same");
}

#[test]
fn a_dry_run_says_in_the_journal_that_it_started_and_with_which_arguments() {
    let bench = Bench::start();
    let journal = Journal::listen(bench.dir.path());
    assert_may_cover(&journal.run);
    let mut order = bench.command("azslurm-resume");
    said(&run_where(&journal.run, order.args(["--dry-run", "n1"])), 0);
    let started = journal.wait_for("azslurm-resume started", 1);
    assert_names(started[0].field("AZSLURM_ARGUMENTS"), &["--dry-run", "n1"]);
}

#[test]
fn without_journald_the_lines_are_in_the_file_that_the_config_names() {
    let bench = Bench::start();
    let run = bench.dir.path().join("run");
    fs::create_dir(&run).unwrap();
    assert_may_cover(&run);
    said(&run_where(&run, bench.command("azslurm-resume").arg("n1")), 0);
    bench.attempts("the VM", all(AttemptState::Running));
    bench.wait_for_the_driver();
    wait_for("the driver's last line", || bench.log().contains("driven to the end"));
    let log = bench.log();
    assert_names(log.lines().next().unwrap(), &["azslurm-resume started"]);
    assert_names(&log, &["to be created node=n1", "Azure makes the VM node=n1"]);
}
