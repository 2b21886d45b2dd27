//! What others may learn from the programs, and what others' words may do to people: no secret and
//! no token leaves memory, nobody of the same user looks into it, and nothing that Azure or a user
//! writes is obeyed by a terminal.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use azslurm_core::attempt::AttemptState;
use azslurm_core::plain::is_plain;
use serde_json::json;

use crate::bench::{Bench, all, program, said, wait_for};
use crate::world;

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

/// Somebody who may write in the subscription, and knows our tags.
#[test]
fn what_a_neighbour_tags_as_ours_is_left_alone_unless_place_and_name_are_ours_too() {
    let bench = Bench::start();
    let off = |number| (format!("n{number}"), "IDLE+CLOUD+POWERED_DOWN");
    let nodes: Vec<(String, &str)> = (1..10).map(off).collect();
    let nodes: Vec<(&str, &str)> = nodes.iter().map(|(name, is)| (name.as_str(), *is)).collect();
    bench.slurmctld_says(&nodes);
    let ours = world::old("n4");
    let attempt = ours.vm.as_str().rsplit('-').next().unwrap().to_owned();
    let tagged = |group: &str, name: String, node: &str, attempt: &str| {
        let tags = json!({"azslurm-cluster": "bench", "azslurm-node": node,
            "azslurm-nodeset": "n", "azslurm-attempt": attempt});
        let id = format!(
            "/subscriptions/{}/resourceGroups/{group}/providers/Microsoft.Compute/\
             virtualMachines/{name}",
            world::SUBSCRIPTION
        );
        json!({"id": id, "words": {"vm": name, "node": "x"}, "tags": tags})
    };
    let named = |node: &str| format!("{node}-{attempt}");
    let vms = [
        tagged("hpc", named("n4"), "n4", &attempt),
        tagged("hpc-north", named("n5"), "n5", &attempt),
        tagged("hpc", "prod-db".to_owned(), "n6", &attempt),
        tagged("hpc", named("n7"), "n8", &attempt),
        tagged("hpc", named("n9"), "n9", "0000000a"),
        tagged("hpc", named("n1"), "n1' or true or '", &attempt),
        tagged("hpc", named("n2"), "../../n2", &attempt),
        tagged("hpc", named("n3"), "n3\u{1b}[2J", &attempt),
        tagged("hpc", named("stranger"), "stranger", &attempt),
    ];
    let mut template = world::template();
    template.as_object_mut().unwrap().remove("tags");
    let made = bench.emulator.post("/seed", &json!({"template": template, "vms": vms})).unwrap();
    assert_eq!(made["made"], vms.len());
    for _pass in 0..2 {
        bench.run("azslurm-sync", &["pass", "--force"]);
    }
    let calls = bench.emulator.calls().unwrap().by;
    let deleted: u64 =
        calls.iter().filter(|call| call.method == "DELETE").map(|call| call.count).sum();
    assert_eq!(deleted, 1, "the one that is wholly ours goes: {}", bench.log());
    let goes = format!("nobody waits for it: it is deleted node=n4 vm={}", named("n4"));
    assert!(bench.log().contains(&goes), "{}", bench.log());
    assert!(bench.log().contains("has a name that is not ours"));
}

/// A proxy that takes every connection, agrees to lead it on, and keeps what it is then sent.
fn proxy() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let keeps = Arc::new(Mutex::new(Vec::new()));
    let into: Arc<Mutex<Vec<u8>>> = Arc::clone(&keeps);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4096];
            for _part in ["CONNECT", "what follows it"] {
                let length = stream.read(&mut bytes).unwrap_or(0);
                into.lock().unwrap().extend_from_slice(&bytes[..length]);
                let _closed = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            }
        }
    });
    (url, keeps)
}

#[test]
fn a_proxy_sees_a_host_and_tls_alone_and_the_metadata_service_is_asked_without_it() {
    let bench = Bench::start();
    let config = bench.config("[limits]\ntries = 1\n");
    let elsewhere = |line: &str| match line.split_once(" = ") {
        Some((key @ ("resource_manager" | "resource_graph"), _)) => {
            format!("{key} = \"https://management.azure.invalid\"\n")
        }
        _ => format!("{line}\n"),
    };
    bench.write_config(&config.lines().map(elsewhere).collect::<String>());
    let (url, seen) = proxy();
    let mut command = bench.command("azslurm-sync");
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, &url);
    }
    let output = command.arg("pass").output().unwrap();
    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    assert!(
        seen.starts_with("CONNECT management.azure.invalid:443 HTTP/1.1\r\n"),
        "{seen:?} {}",
        both(&output)
    );
    for word in ["Bearer", TOKEN, "metadata", "subscriptions"] {
        assert!(!seen.contains(word), "{word}: {seen:?}");
    }
    let asked = bench.emulator.calls().unwrap();
    assert!(format!("{asked:?}").contains("metadata"), "a token was had without it: {asked:?}");
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
