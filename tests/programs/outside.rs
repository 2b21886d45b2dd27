//! What others may learn from the programs, and what others' words may do to people: no secret and
//! no token leaves memory, nobody of the same user looks into it, and nothing that Azure or a user
//! writes is obeyed by a terminal.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use azslurm_core::attempt::AttemptState;
use azslurm_core::plain::is_plain;
use serde_json::json;

use crate::bench::{Bench, all, program, said, wait_for};

/// Those of the emulator's own application.
const CLIENT: &str = "tenant_id = \"11111111-1111-1111-1111-111111111111\"\n\
    client_id = \"33333333-3333-3333-3333-333333333333\"\n";
const SECRET: &str = "not-a-secret-of-the-emulator";
/// Every token of Entra's, and of the emulator's, is a JWT: `{"` in base64.
const TOKEN: &str = "eyJ";

/// Everything of ours that runs for this bench: command line and environment.
fn processes(bench: &Bench) -> Vec<String> {
    let of_bench = bench.dir.path().display().to_string();
    let read = |path: PathBuf| fs::read(path).unwrap_or_default();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .map(|entry| entry.path())
        .map(|proc| [read(proc.join("cmdline")), read(proc.join("environ"))].concat())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .filter(|text| text.contains("--drive") && text.contains(&of_bench))
        .collect()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn both(output: &Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", of(&output.stdout), of(&output.stderr))
}

/// What a person sees who asks about everything.
fn looks(bench: &Bench) -> String {
    let mut seen = String::new();
    for words in [
        &["pass"][..],
        &["pass", "--json"],
        &["status", "--json"],
        &["nodes"],
        &["vms", "--azure"],
        &["explain", "n1"],
        &["explain", "n1", "--json"],
        &["events"],
        &["events", "--json"],
        &["holds"],
        &["holds", "--json"],
        &["doctor"],
    ] {
        seen += &both(&bench.run("azslurm-sync", words));
    }
    seen
}

/// With the log at its most talkative.
fn debug(config: &str) -> String {
    config.replace("[log]\n", "[log]\nlevel = \"debug\"\n")
}

#[test]
fn no_secret_and_no_token_is_in_anything_that_is_written_printed_or_shown_by_proc() {
    let bench = Bench::start();
    let secret = format!("[credential]\ntype = \"client-secret\"\n{CLIENT}");
    let config = format!("{secret}client_secret = \"{SECRET}\"\n");
    bench.write_config(&debug(&bench.config(&config)));
    bench.slurmctld_says(&[("n1", "MIXED+CLOUD"), ("n2", "MIXED+CLOUD+POWERING_UP")]);
    let mut seen = both(&bench.run("azslurm-resume", &["n[1-3]"]));
    let mut shown = Vec::new();
    wait_for("a look at the driver", || {
        shown = processes(&bench);
        !shown.is_empty()
    });
    bench.attempts("three VMs", |attempts| {
        attempts.len() == 3 && all(AttemptState::Running)(attempts)
    });
    bench.wait_for_the_driver();
    seen += &looks(&bench);
    let record = bench.dir.path().join("record");
    seen += &both(&bench.run("azslurm-sync", &["record", record.to_str().unwrap()]));
    seen += &both(&bench.run_conf(&["check"]));
    seen += &both(&bench.run("azslurm-suspend", &["n[1-3]"]));
    bench.wait_for_the_driver();
    seen += &shown.concat();

    // There was something to see: the secret was used, and the log says what is only said there.
    assert!(bench.log().contains("azure answered"), "the log is not at its most talkative");
    assert!(fs::read_to_string(bench.config_path()).unwrap().contains(SECRET));
    assert!(record.join("ledger.db").exists(), "{seen}");
    for word in [SECRET, TOKEN, "Bearer"] {
        assert!(!seen.contains(word), "{word} was shown");
        for path in files_below(bench.dir.path()) {
            // The config holds the secret; a certificate may hold any letters.
            let is_told = path == bench.config_path() || path.ends_with("ca.pem");
            let bytes = fs::read(&path).unwrap_or_default();
            let has = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(is_told || !has, "{word} is in {}", path.display());
        }
    }
}

#[test]
fn no_word_of_azures_is_obeyed_by_a_terminal_or_begins_a_line_of_the_log() {
    let bench = Bench::start();
    bench.write_config(&debug(&bench.config("")));
    bench.slurmctld_says(&[("n1", "MIXED+CLOUD+POWERING_UP")]);
    let forged = "\u{1b}]0;x\u{7}\u{9b}2J\r\u{202e}\nFORGED entry";
    let body = json!({"error": {"code": format!("Odd{forged}"), "target": forged,
        "message": format!("no{forged} \"; reboot `id` $(id) %2f.. {}", "x".repeat(9000)),
        "details": [{"code": format!("Inner{forged}"), "message": forged}]}});
    let fault = json!({"method": "PUT", "times": 100, "status": 409, "kind": "answer",
        "body": body, "path_contains": "/virtualMachines/"});
    bench.emulator.add_fault(&fault).unwrap();
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    bench.attempts("a refusal", all(AttemptState::Refused));
    bench.wait_for_the_driver();
    let seen = looks(&bench);
    assert!(seen.contains("FORGED"), "the words were not shown at all: {seen}");
    for text in [&seen, &bench.log()] {
        let odd: BTreeSet<char> =
            text.chars().filter(|c| !is_plain(*c) && *c != '\n' && *c != '\t').collect();
        assert!(odd.is_empty(), "{odd:?}");
        let forged = text.lines().find(|line| line.starts_with("FORGED"));
        assert_eq!(forged, None);
    }
    let attempt = &bench.attempts("a refusal", all(AttemptState::Refused))[0];
    let says = attempt.says.clone().unwrap();
    assert!(says.code.len() <= 120 && says.code.chars().all(is_plain), "{says:?}");
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Nobody of importance: what SlurmUser is to a cluster.
const SOME_USER: u32 = 65_534;

fn as_some_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").uid(SOME_USER).gid(SOME_USER);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn may_be_looked_into(process: &Child) -> bool {
    let environ = format!("/proc/{}/environ", process.id());
    as_some_user(Path::new("/bin/cat")).arg(environ).status().unwrap().success()
}

#[test]
fn no_other_program_of_its_user_looks_into_a_running_one() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: only root can run programs as another user");
        return;
    }
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sync = dir.path().join("azslurm-sync");
    fs::copy(program("azslurm-sync"), &sync).unwrap();
    let agent = ["node-agent", "--node", "n1", "--imds", "http://127.0.0.1:1"];
    let ours = Running(as_some_user(&sync).args(agent).spawn().unwrap());
    let sleep = Path::new("/bin/sleep");
    let others = Running(as_some_user(sleep).arg("1000").spawn().unwrap());
    assert!(may_be_looked_into(&others.0), "the look itself works");
    wait_for("that it may not be looked into", || !may_be_looked_into(&ours.0));
    assert!(Path::new(&format!("/proc/{}", ours.0.id())).exists());
}
