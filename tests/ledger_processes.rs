//! The ledger among processes: many at once, opened anew at one moment, killed in the middle.
//! Each test starts this test binary again as its children ([`the_other_process`], which does
//! nothing when it is run by itself) and ends only those.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use azslurm_core::attempt::{AttemptPlace, AttemptState, Change, EndReason, NewAttempt};
use azslurm_core::budget::{self, Ask, Bucket, Size};
use azslurm_core::config::{Region, Sku};
use azslurm_core::{AttemptId, NodeName, Timestamp, VmName};
use azslurm_ledger::{
    Budget, Event, EventFilter, Holder, Lease, LeaseAsk, Ledger, LedgerError, Recorded, Take,
    Writer,
};
use tempfile::TempDir;

/// Says to a child what it is to do; absent when this binary is run by itself.
const ROLE: &str = "AZSLURM_TEST_LEDGER_ROLE";
/// The ledger's path for a child.
const LEDGER: &str = "AZSLURM_TEST_LEDGER_PATH";
/// The child's number.
const NUMBER: &str = "AZSLURM_TEST_LEDGER_NUMBER";

/// Far more than any of these tests needs on a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Nobody's number on Linux.
const NOBODY: u32 = 65_534;
/// Nodes of one transaction of a writer that will be killed.
const BATCH: i64 = 4;
/// Transactions of one writer that is not killed.
const TRANSACTIONS: i64 = 200;

/// What a child does.
fn play(role: &str, path: &Path, number: i64) {
    match role {
        "count" => count(path, number),
        "reserve" => reserve(path, number),
        "batches-for-ever" => batches_for_ever(path, number),
        "open-when-told" => open_when_told(path, number),
        "late-answer" => late_answer(path),
        "say-why-not" => say_why_not(path),
        other => panic!("no such role: {other}"),
    }
}

#[test]
fn the_other_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var(LEDGER).unwrap());
    let number = std::env::var(NUMBER).unwrap().parse().unwrap();
    play(&role, &path, number);
}

/// A child process, ended with this value.
struct Other {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Other {
    fn start(role: &str, path: &Path, number: usize) -> Other {
        let program = std::env::current_exe().unwrap();
        Other::run(Command::new(program), role, (path, number))
    }

    fn run(mut command: Command, role: &str, (path, number): (&Path, usize)) -> Other {
        let mut child = command
            .args(["--exact", "the_other_process", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(LEDGER, path)
            .env(NUMBER, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Other { child, stdin, stdout }
    }

    /// Reads until a line with that word; what follows the word.
    fn wait_for(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "ended before {word:?}");
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    fn tell(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    fn ends_well(mut self) {
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }

    /// SIGKILL, and its end.
    fn kill(mut self) {
        self.child.kill().unwrap();
        let _ = self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // A test that failed: whether the child has ended already does not matter any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    assert_eq!(line, "go\n");
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    (directory, path)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_225_985_000 + millis)
}

fn holder(name: &str) -> Holder {
    name.parse().unwrap()
}

fn ask(holder: &Holder, take: Take) -> LeaseAsk<'_> {
    LeaseAsk { holder, take, now: at(0), until: at(1_000_000) }
}

fn new_attempt(node: &NodeName, number: i64) -> NewAttempt {
    let attempt = AttemptId::from_number(number).unwrap();
    NewAttempt {
        vm: VmName::of(node, attempt),
        node: node.clone(),
        attempt,
        nodeset: "hpc".parse().unwrap(),
        place: AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: "s".into(),
            resource_group: "g".into(),
            region: Region::new("westeurope").unwrap(),
            zone: None,
            block: None,
        },
        sku: Sku::new("Standard_D4s_v5").unwrap(),
        is_spot: false,
        image: "p:o:s:v".to_owned(),
        body_hash: "00".into(),
        jobs: vec![],
    }
}

fn write<T>(
    ledger: &mut Ledger,
    work: impl FnOnce(&mut Writer<'_>) -> Result<T, LedgerError>,
) -> T {
    ledger.write(work).unwrap()
}

/// Reads a number and writes it back, increased: what is lost when two do so at once.
fn add(writer: &mut Writer<'_>, name: &str, more: i64) -> Result<(), LedgerError> {
    let tokens = writer.budget(name)?.map_or(0.0, |budget| budget.bucket.tokens);
    let bucket = Bucket { tokens: tokens + more as f64, ..Bucket::full(Size::WRITES, at(0)) };
    writer.set_budget(&Budget { name: name.to_owned(), bucket })
}

fn added(ledger: &Ledger, name: &str) -> i64 {
    ledger.budget(name).unwrap().map_or(0, |budget| budget.bucket.tokens as i64)
}

fn integrity(path: &Path) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap()
}

/// Waits for a condition; fails after [`DEADLINE`].
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Adds one, so many times, in a transaction each; opens anew now and then, as short-lived programs
/// do, so that closing (which checkpoints) happens beside the others' writing.
fn count(path: &Path, number: i64) {
    told();
    let mut ledger = Ledger::open(path).unwrap();
    for round in 0..TRANSACTIONS {
        if round % 16 == number {
            drop(ledger);
            ledger = Ledger::open(path).unwrap();
        }
        write(&mut ledger, |writer| add(writer, "all", 1));
    }
}

#[test]
fn eight_processes_write_at_once_and_nothing_is_lost() {
    let (_directory, path) = place();
    let processes = 8;
    let mut others: Vec<Other> =
        (0..processes).map(|number| Other::start("count", &path, number)).collect();
    others.iter_mut().for_each(Other::tell);
    others.into_iter().for_each(Other::ends_well);
    let ledger = Ledger::open_existing(&path).unwrap();
    assert_eq!(added(&ledger, "all"), processes as i64 * TRANSACTIONS);
    assert_eq!(integrity(&path), "ok");
}

/// Reserves calls at one moment until there are none, and adds up what it got.
fn reserve(path: &Path, number: i64) {
    told();
    let mut ledger = Ledger::open(path).unwrap();
    let ask = Ask { waiting: 3, soon: 0 };
    let mut granted = 1;
    while granted > 0 {
        write(&mut ledger, |writer| {
            let mut budget = writer.budget("writes")?.unwrap();
            let who = number.to_string();
            (granted, budget.bucket) = budget::reserve(&budget.bucket, ask, (&who, &[]), at(0));
            writer.set_budget(&budget)?;
            add(writer, "granted", granted as i64)
        });
    }
}

#[test]
fn processes_that_reserve_at_once_get_what_is_there_and_no_more() {
    let (_directory, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    let bucket = Bucket::full(Size::WRITES, at(0));
    write(&mut ledger, |writer| writer.set_budget(&Budget { name: "writes".into(), bucket }));
    let mut others: Vec<Other> =
        (0..4).map(|number| Other::start("reserve", &path, number)).collect();
    others.iter_mut().for_each(Other::tell);
    others.into_iter().for_each(Other::ends_well);
    assert_eq!(added(&ledger, "granted"), 200);
}

/// Intents of four nodes in one transaction, with their sum beside them, until killed.
fn batches_for_ever(path: &Path, writer_number: i64) {
    let mut ledger = Ledger::open(path).unwrap();
    let pid = std::process::id();
    let own = holder(&format!("writer-{pid}"));
    for batch in 0.. {
        write(&mut ledger, |writer| {
            for member in 0..BATCH {
                let node: NodeName =
                    format!("w{writer_number}p{pid}b{batch}m{member}").parse().unwrap();
                let lease = writer.lease(&node, &ask(&own, Take::IfFree))?.granted().unwrap();
                let recorded = writer.intend(&lease, &new_attempt(&node, 1), at(1), at(2))?;
                assert_eq!(recorded, Recorded::Done(AttemptState::Intended));
                writer.release(&lease)?;
            }
            add(writer, &format!("writer-{writer_number}"), BATCH)
        });
    }
}

/// Every batch is there whole or not at all, in all tables.
fn assert_whole(ledger: &mut Ledger, writers: usize) -> i64 {
    let (attempts, intents, sum) = ledger
        .read(|reader| {
            let filter = EventFilter { limit: usize::MAX, ..EventFilter::default() };
            let events = reader.events(&filter)?;
            let intents = events.iter().filter(|event| event.kind == "intended").count();
            let numbers = 0..writers;
            let sums = numbers.map(|number| reader.budget(&format!("writer-{number}")));
            let sums: Vec<_> = sums.collect::<Result<_, _>>()?;
            let sum: f64 = sums.iter().flatten().map(|budget| budget.bucket.tokens).sum();
            Ok::<_, LedgerError>((reader.attempts_unfinished()?, intents, sum as i64))
        })
        .unwrap();
    assert_eq!(attempts.len() as i64, sum);
    assert_eq!(intents as i64, sum);
    assert_eq!(sum % BATCH, 0);
    assert_eq!(ledger.leases().unwrap(), []);
    sum
}

#[test]
fn writers_killed_in_the_middle_leave_a_whole_ledger() {
    let (_directory, path) = place();
    let (rounds, writers) = (20, 3);
    let mut before = 0;
    for round in 0..rounds {
        let others: Vec<Other> =
            (0..writers).map(|number| Other::start("batches-for-ever", &path, number)).collect();
        // Each round kills at another point: after another number of commits.
        let mut ledger = Ledger::open(&path).unwrap();
        let sum = |ledger: &Ledger| {
            (0..writers).map(|number| added(ledger, &format!("writer-{number}"))).sum::<i64>()
        };
        let wanted = before + 1 + round * BATCH;
        wait_until("the writers write", || sum(&ledger) >= wanted);
        if round % 2 == 0 {
            // Then the writers are the last who have it open, and the next to open must recover.
            drop(ledger);
            others.into_iter().for_each(Other::kill);
            ledger = Ledger::open(&path).unwrap();
        } else {
            others.into_iter().for_each(Other::kill);
        }
        let after = assert_whole(&mut ledger, writers);
        assert!(after >= wanted, "what was seen is never lost: {after} of {wanted}");
        before = after;
        drop(ledger);
        assert_eq!(integrity(&path), "ok", "round {round}");
    }
}

fn open_when_told(path: &Path, number: i64) {
    println!("ready");
    told();
    let mut ledger = Ledger::open(path).unwrap();
    let event = Event::new(at(number), "test", number.to_string());
    write(&mut ledger, |writer| writer.event(&event));
}

#[test]
fn processes_that_open_a_new_file_at_one_moment_share_one_ledger() {
    let (rounds, processes) = (10, 8);
    for _ in 0..rounds {
        let (_directory, path) = place();
        let mut others: Vec<Other> =
            (0..processes).map(|number| Other::start("open-when-told", &path, number)).collect();
        for other in &mut others {
            other.wait_for("ready");
        }
        others.iter_mut().for_each(Other::tell);
        others.into_iter().for_each(Other::ends_well);
        let ledger = Ledger::open_existing(&path).unwrap();
        let events = ledger.events(&EventFilter::default()).unwrap();
        let mut numbers: Vec<usize> =
            events.iter().map(|event| event.text.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..processes).collect::<Vec<_>>());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}

/// A driver whose PUT is answered after its lease was seized.
fn late_answer(path: &Path) {
    let mut ledger = Ledger::open(path).unwrap();
    let own = holder("resume");
    let node: NodeName = "n1".parse().unwrap();
    let new = new_attempt(&node, 1);
    let lease = write(&mut ledger, |writer| {
        let lease = writer.lease(&node, &ask(&own, Take::IfFree))?.granted().unwrap();
        assert_eq!(
            writer.intend(&lease, &new, at(1), at(60))?,
            Recorded::Done(AttemptState::Intended)
        );
        Ok(lease)
    });
    println!("intended");
    told();
    let accepted = Change::Accepted { operation: Some("op".into()), request_id: None };
    let answer = write(&mut ledger, |writer| writer.record(&lease, &new.vm, &accepted, at(3)));
    println!("recorded {answer:?}");
}

#[test]
fn a_late_write_of_another_process_changes_nothing_after_its_lease_was_seized() {
    let (_directory, path) = place();
    let mut other = Other::start("late-answer", &path, 0);
    other.wait_for("intended");
    let mut ledger = Ledger::open(&path).unwrap();
    let suspend = holder("suspend");
    let node: NodeName = "n1".parse().unwrap();
    let vm = new_attempt(&node, 1).vm;
    let lease: Lease =
        write(&mut ledger, |writer| writer.lease(&node, &ask(&suspend, Take::Seize)))
            .granted()
            .unwrap();
    assert_eq!(lease.generation(), 2);
    let change = Change::DeleteIntended { why: EndReason::Suspended, says: None };
    let recorded = write(&mut ledger, |writer| writer.record(&lease, &vm, &change, at(2)));
    assert_eq!(recorded, Recorded::Done(AttemptState::DeleteIntended));
    let before = ledger.attempt(&vm).unwrap();
    other.tell();
    assert_eq!(other.wait_for("recorded "), "LeaseLost");
    other.ends_well();
    assert_eq!(ledger.attempt(&vm).unwrap(), before);
    assert_eq!(ledger.leases().unwrap()[0].holder, suspend);
}

/// How many commits a write-ahead log holds: frames whose header says how large the file is
/// afterwards (sqlite.org/fileformat2.html, 4.2). An oracle that is not our own counting.
fn commits_in(log: &Path) -> usize {
    let bytes = fs::read(log).unwrap();
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let frame = 24 + number(8);
    let salts = &bytes[16..24];
    (32..bytes.len())
        .step_by(frame)
        .filter(|start| start + frame <= bytes.len() && &bytes[start + 8..start + 16] == salts)
        .filter(|start| number(start + 4) != 0)
        .count()
}

#[test]
fn a_thousand_intents_are_one_commit() {
    let (_directory, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    let log = path.with_extension("db-wal");
    let before = commits_in(&log);
    let own = holder("resume");
    let nodes: Vec<NodeName> =
        (1..=1000).map(|number| format!("n{number}").parse().unwrap()).collect();
    let found = write(&mut ledger, |writer| {
        let answers = writer.leases_take(&nodes, &ask(&own, Take::IfFree))?;
        for answer in answers {
            let lease = answer.granted().unwrap();
            let new = new_attempt(lease.node(), 1);
            assert_eq!(
                writer.intend(&lease, &new, at(1), at(60))?,
                Recorded::Done(AttemptState::Intended)
            );
        }
        writer.attempts_unfinished()
    });
    assert_eq!(found.len(), 1000);
    assert_eq!(commits_in(&log), before + 1);
    assert_eq!(ledger.transactions(), 1);
    // Looking and writing nothing costs no commit.
    write(&mut ledger, |writer| writer.leases());
    assert_eq!(commits_in(&log), before + 1);
    write(&mut ledger, |writer| writer.event(&Event::new(at(1), "test", "one more")));
    assert_eq!(commits_in(&log), before + 2);
}

fn say_why_not(path: &Path) {
    let said = |opened: Result<Ledger, LedgerError>| match opened {
        Ok(ledger) => format!("{} attempts", ledger.attempts_latest().unwrap().len()),
        Err(error) => error.to_string(),
    };
    println!("to work: {}", said(Ledger::open(path)));
    println!("to look: {}", said(Ledger::open_existing(path)));
}

/// What `say_why_not` says as a user to whom the ledger does not belong.
fn said_to_a_stranger(directory: &TempDir, path: &Path) -> [String; 2] {
    let is_root = nix::unistd::geteuid().is_root();
    let program = directory.path().join("program");
    // By another process: what this one wrote may still be open for writing in a child that another
    // thread has just begun, and then it cannot be executed.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(program);
    command.current_dir("/");
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut other = Other::run(command, "say-why-not", (path, 0));
    let said = [other.wait_for("to work: "), other.wait_for("to look: ")];
    other.ends_well();
    said
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_stranger_is_told_whose_the_ledger_is() {
    let (directory, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    set_mode(directory.path(), 0o755);
    set_mode(&path, 0o000);
    let [to_work, to_look] = said_to_a_stranger(&directory, &path);
    let words = format!(
        "the ledger {} cannot be opened: it and its directory must belong to SlurmUser",
        path.display()
    );
    assert!(to_work.starts_with(&words), "{to_work}");
    assert!(to_look.starts_with(&words), "{to_look}");
    drop(ledger);
}

#[test]
fn who_may_only_read_can_look_while_a_program_has_it_open() {
    let (directory, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    set_mode(directory.path(), 0o755);
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        set_mode(&directory.path().join(file), 0o444);
    }
    let [to_work, to_look] = said_to_a_stranger(&directory, &path);
    assert!(to_work.contains("cannot be written"), "{to_work}");
    assert_eq!(to_look, "0 attempts");
    drop(ledger);
}

#[test]
fn a_ledger_that_root_makes_belongs_to_the_owner_of_its_directory() {
    use std::os::unix::fs::MetadataExt;
    if !nix::unistd::geteuid().is_root() {
        // Only root can make a file in another's name; anybody else owns the directory.
        return;
    }
    let (directory, path) = place();
    std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut ledger = Ledger::open(&path).unwrap();
    write(&mut ledger, |writer| writer.event(&Event::new(at(1), "test", "mine")));
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let file = fs::metadata(directory.path().join(file)).unwrap();
        assert_eq!((file.uid(), file.gid()), (NOBODY, NOBODY));
    }
}
