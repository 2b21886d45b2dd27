//! `azslurm-sync daemon`, as systemd runs it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;

use crate::bench::{Bench, SOON, assert_names, program, said, wait_for};

/// What `scontrol ping` says where slurm.conf names one controller.
const ONE: &str = "Slurmctld(primary) at head is UP";
/// Far less than the 30 s that a pass waits for Azure's list or for the ledger, and more than a
/// busy machine needs to end a process.
const AT_ONCE: Duration = Duration::from_secs(15);

/// A bench whose slurmctld answers, and whose daemon makes a pass about every five seconds.
fn bench() -> Bench {
    let bench = Bench::start();
    slurmctld_answers(&bench, ONE);
    bench.write_config(&config(&bench, "interval_seconds = 5"));
    bench
}

/// A slurmctld that knows no node of the config's.
fn slurmctld_answers(bench: &Bench, ping: &str) {
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in\nping) echo '{ping}';;\n\
         *nodes*) echo 'NodeName=login State=IDLE';;\nesac\n"
    );
    // Moved over the one that may be running now.
    let new = bench.dir.path().join("scontrol.new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, bench.dir.path().join("scontrol")).unwrap();
}

fn config(bench: &Bench, sync: &str) -> String {
    let dir = bench.dir.path().display().to_string();
    let text = bench.config("");
    text.replace("\"/nonexistent\"", &format!("{dir:?}"))
        .replace("[log]", &format!("[sync]\n{sync}\n[log]"))
}

/// A daemon, and what it tells systemd.
struct Daemon {
    child: Child,
    heard: Receiver<String>,
}

/// Hears all that is sent to the socket, until nobody wants to know any more.
fn listen(path: &Path) -> Receiver<String> {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (sender, heard) = channel();
    let (first, mut buffer) = (Instant::now(), [0; 4096]);
    std::thread::spawn(move || {
        while first.elapsed() < SOON * 20 {
            let Ok(length) = socket.recv(&mut buffer) else { continue };
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if sender.send(said).is_err() {
                return;
            }
        }
    });
    heard
}

impl Daemon {
    fn start(bench: &Bench, name: &str) -> Daemon {
        let path = bench.dir.path().join(name);
        let heard = listen(&path);
        let mut command = bench.command("azslurm-sync");
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
        let child = command.arg("daemon").spawn().unwrap();
        Daemon { child, heard }
    }

    /// The next message that begins with `word` and has `words` in it.
    fn hear(&self, word: &str, words: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut last = String::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            last = self.heard.recv_timeout(left).expect("it says something");
            if last.starts_with(word) && last.contains(words) {
                return last;
            }
        }
        panic!("no {word} with {words:?} within {} s; the last is {last:?}", SOON.as_secs());
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// SIGTERM: it says so, and ends at once and well.
    fn end(mut self) {
        let asked_at = Instant::now();
        self.signal(Signal::SIGTERM);
        self.hear("STOPPING=1", "");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(asked_at.elapsed() < AT_ONCE, "{:?}", asked_at.elapsed());
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the daemon to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Which daemon has the seat, and until when, in the ledger that is there now.
fn seat(bench: &Bench) -> Option<(String, i64, i64)> {
    let ledger = Connection::open_with_flags(
        bench.ledger_path(),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    );
    let sql = "SELECT holder, generation, until FROM daemon";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    ledger.ok()?.query_row(sql, [], row).ok()
}

#[test]
fn a_daemon_says_when_it_is_ready_what_it_did_and_that_it_is_not_stuck() {
    let bench = bench();
    let daemon = Daemon::start(&bench, "notify");
    daemon.hear("READY=1", "");
    let status = daemon.hear("STATUS=", "pass at 20");
    assert_names(&status, &["nothing to do (1000 nodes, 0 VMs)", "; next in "]);
    // Between passes and while they are made.
    for _ in 0..3 {
        daemon.hear("WATCHDOG=1", "");
    }
    daemon.hear("STATUS=", "pass at 20");
    daemon.end();
    assert!(!bench.log().contains("ERROR"), "{}", bench.log());
}

#[test]
fn a_daemon_ends_at_once_in_the_middle_of_a_pass() {
    let bench = bench();
    let fault = serde_json::json!({
        "path_contains": "/providers/Microsoft.ResourceGraph/",
        "kind": "delay", "latency_ms": 600_000
    });
    bench.emulator.add_fault(&fault).unwrap();
    let daemon = Daemon::start(&bench, "notify");
    wait_for("the pass to wait for Azure's list", || {
        bench.emulator.get("/faults").unwrap().to_string().find("delay").is_none()
    });
    daemon.end();
}

#[test]
fn a_daemon_ends_at_once_while_another_program_keeps_the_ledger_locked() {
    let bench = bench();
    drop(azslurm_ledger::Ledger::open(&bench.ledger_path()).unwrap());
    let ledger = Connection::open(bench.ledger_path()).unwrap();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let daemon = Daemon::start(&bench, "notify");
    daemon.hear("READY=1", "");
    daemon.hear("STATUS=", "the first pass is being made");
    daemon.end();
}

#[test]
fn a_wrong_config_is_not_used_and_said_until_it_is_put_right() {
    let bench = bench();
    let daemon = Daemon::start(&bench, "notify");
    daemon.hear("STATUS=", "pass at 20");
    bench.write_config(&config(&bench, "interval_seconds = 1"));
    daemon.signal(Signal::SIGHUP);
    daemon.hear("RELOADING=1\nMONOTONIC_USEC=", "");
    daemon.hear("READY=1", "");
    let words =
        ["the config is wrong and not used: ", "azslurm.toml:9:20: sync.interval_seconds: 1"];
    assert_names(&daemon.hear("STATUS=", "the config is wrong"), &words);
    assert_names(&bench.log(), &["ERROR the config is wrong and not used, the one before stays: "]);
    // It goes on by the old one.
    let before = seat(&bench).unwrap().2;
    wait_for("the next pass", || seat(&bench).is_some_and(|(_, _, until)| until > before));
    let status = daemon.hear("STATUS=", "next in");
    assert!(status.contains("the config is wrong"), "{status}");
    bench.write_config(&config(&bench, "interval_seconds = 600"));
    daemon.signal(Signal::SIGHUP);
    daemon.hear("RELOADING=1", "");
    daemon.hear("READY=1", "");
    let status = daemon.hear("STATUS=", "pass at");
    assert!(!status.contains("wrong"), "{status}");
    let pause = |status: &str| {
        let seconds = status.rsplit_once("next in ").and_then(|(_, rest)| rest.strip_suffix(" s"));
        seconds.unwrap().parse::<u64>().unwrap()
    };
    // The new interval, with its jitter.
    while pause(&daemon.hear("STATUS=", "next in ")) < 540 {}
    daemon.end();
}

#[test]
fn a_second_daemon_stands_by_and_acts_when_the_first_is_killed() {
    let bench = bench();
    let mut first = Daemon::start(&bench, "first");
    first.hear("STATUS=", "pass at 20");
    let (holder, generation, _) = seat(&bench).unwrap();
    let second = Daemon::start(&bench, "second");
    second.hear("READY=1", "");
    let status = second.hear("STATUS=", "standing by");
    assert_names(
        &status,
        &[&format!("the daemon {holder} on "), " acts since 20", "; next in 5 s"],
    );
    second.hear("STATUS=", "standing by");
    assert_eq!(seat(&bench).unwrap().0, holder);
    // A pass by hand is nobody's seat.
    said(&bench.run("azslurm-sync", &["pass"]), 0);
    first.signal(Signal::SIGKILL);
    first.wait();
    second.hear("STATUS=", "pass at 20");
    let (now, after, _) = seat(&bench).unwrap();
    assert!(now != holder && after == generation + 1, "{now} {after}");
    let log = bench.log();
    assert_eq!(log.matches("standing by: the daemon").count(), 1, "it is said once: {log}");
    second.end();
}

#[test]
fn a_daemon_acts_only_beside_the_active_slurmctld() {
    let bench = bench();
    let here = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let here = here.trim();
    let ping = |other: &str, ours: &str| {
        format!("Slurmctld(primary) at other is {other}\nSlurmctld(backup) at {here} is {ours}")
    };
    slurmctld_answers(&bench, &ping("UP", "UP"));
    let daemon = Daemon::start(&bench, "notify");
    daemon.hear("READY=1", "");
    let status = daemon.hear("STATUS=", "standing by");
    assert_names(&status, &["slurmctld is active on other, and this is ", here, "; next in "]);
    assert_eq!(seat(&bench), None);
    // Nobody answers: whoever stood by goes on standing by.
    slurmctld_answers(&bench, &ping("DOWN", "DOWN"));
    daemon.hear("STATUS=standing by: no slurmctld answers", "");
    slurmctld_answers(&bench, &ping("DOWN", "UP"));
    daemon.hear("STATUS=pass at 20", "");
    // And whoever acted goes on acting.
    slurmctld_answers(&bench, &ping("DOWN", "DOWN"));
    daemon.hear("STATUS=pass at 20", "");
    daemon.hear("STATUS=pass at 20", "");
    slurmctld_answers(&bench, &ping("UP", "UP"));
    daemon.hear("STATUS=standing by: slurmctld is active on other", "");
    daemon.end();
}

#[test]
fn the_ledger_that_is_there_counts_and_not_the_one_that_was() {
    let bench = bench();
    let daemon = Daemon::start(&bench, "notify");
    daemon.hear("STATUS=", "pass at 20");
    let (holder, ..) = seat(&bench).unwrap();
    // Moved away, with all that is beside it.
    let old = bench.dir.path().join("old");
    fs::create_dir(&old).unwrap();
    let holders = bench.dir.path().join("ledger.db.holders");
    fs::rename(bench.ledger_path(), old.join("ledger.db")).unwrap();
    fs::remove_dir_all(&holders).unwrap();
    wait_for("a pass on a new ledger", || seat(&bench).is_some_and(|(now, ..)| now == holder));
    assert!(holders.exists(), "it shows again that it lives");
    // And back: what came in between is replaced.
    fs::rename(old.join("ledger.db"), bench.ledger_path()).unwrap();
    let until = seat(&bench).unwrap().2;
    wait_for("a pass on the old one", || seat(&bench).is_some_and(|(.., now)| now > until));
    daemon.end();
}

#[test]
fn a_daemon_whose_ledger_goes_away_says_since_when_and_goes_on_when_it_is_back() {
    let bench = bench();
    let folder = bench.dir.path().join("state");
    fs::create_dir(&folder).unwrap();
    let text = config(&bench, "interval_seconds = 5").replace("/ledger.db", "/state/ledger.db");
    bench.write_config(&text);
    let daemon = Daemon::start(&bench, "notify");
    daemon.hear("STATUS=", "pass at 20");
    let away = bench.dir.path().join("away");
    fs::rename(&folder, &away).unwrap();
    let status = daemon.hear("STATUS=the ledger cannot be used since 20", "");
    assert_names(&status, &["state", "pass at 20", "; next in "]);
    fs::rename(&away, &folder).unwrap();
    daemon.hear("STATUS=pass at 20", "");
    assert_names(&bench.log(), &["the ledger can be used again; it was away since 20"]);
    daemon.end();
}

#[test]
fn a_daemon_that_cannot_start_says_why_and_ends() {
    let bench = bench();
    let text = config(&bench, "interval_seconds = 5");
    bench.write_config(&text.replace("/ledger.db", "/nowhere/ledger.db"));
    assert_names(&said(&bench.run("azslurm-sync", &["daemon"]), 2), &["nowhere"]);
    bench.write_config(&config(&bench, "interval = 5"));
    let words = ["azslurm.toml:9:1: sync.interval: is not known"];
    assert_names(&said(&bench.run("azslurm-sync", &["daemon"]), 2), &words);
}

#[test]
fn the_units_are_understood_by_systemd_and_keep_what_they_start_in_bounds() {
    let daemon = include_str!("../../packaging/azslurm-sync.service");
    assert_names(daemon, &["ExecStart=/usr/sbin/azslurm-sync daemon\n", "Type=notify\n"]);
    for unit in [
        daemon,
        include_str!("../../packaging/azslurm-node-agent.service"),
        include_str!("../../packaging/azslurm-check-infiniband.service"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("azslurm-unit.service");
        let built = program("azslurm-sync");
        fs::write(&path, unit.replace("/usr/sbin/azslurm-sync", built.to_str().unwrap())).unwrap();
        match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
            Ok(output) => assert_eq!(said(&output, 0), "", "it warns of nothing"),
            Err(error) => {
                println!("left out: systemd-analyze is not here: {error}");
                return;
            }
        }
        // Tenths of systemd's exposure: "ok" ends at 4.0, and ours were at 1.8 or below in review.
        let judged = ["security", "--offline=true", "--threshold=20", "--no-pager"];
        let judged = Command::new("systemd-analyze").args(judged).arg(&path).output().unwrap();
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    }
}
