//! The ledger's file after somebody else has been at it. Opening and reading it ends, with rows or
//! with an error that names the file; nothing panics, and a copy can be tried just as well.
//!
//! An input is not the file but what is done to a good one: a whole file would be a hundred
//! kilobytes of corpus, and most changes of one say no more than "not a ledger".

use std::path::Path;
use std::sync::LazyLock;
use std::{env, fs};

use azslurm_core::attempt::{AttemptPlace, Change, EndReason, NewAttempt};
use azslurm_core::block::{Block, BlockState, Incarnation};
use azslurm_core::budget::{Bucket, Size, Waiter};
use azslurm_core::config::{Region, Sku};
use azslurm_core::{AttemptId, JobId, NodeName, Timestamp, VmName};
use azslurm_ledger::{
    Budget, Event, EventFilter, Fact, Hold, Holder, Lease, LeaseAsk, Ledger, LedgerError, Recorded,
    Take, Writer,
};
use rusqlite::Connection;
use rusqlite::types::Value;

/// Words of an input of [`rows`]: lines of table, column and value.
pub const WORDS: &[&str] = &[
    "attempts state ",
    "attempts jobs ",
    "attempts vm ",
    "attempts node ",
    "attempts attempt ",
    "attempts ended_at ",
    "attempts block ",
    "attempts incarnation ",
    "attempts is_spot ",
    "attempts settles_at ",
    "leases generation ",
    "leases until ",
    "leases holder ",
    "daemon generation ",
    "daemon holder ",
    "budgets tokens ",
    "budgets size ",
    "budgets at ",
    "budget_waiters since ",
    "blocks state ",
    "blocks incarnation ",
    "holds strikes ",
    "holds until ",
    "events job ",
    "events id ",
    "facts at ",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "NULL",
    "delete-intended",
    "[4294967296]",
    "\n",
];

/// 2026-11-21T01:53:05Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_225_985_000);
const LATER: Timestamp = Timestamp::from_millis(1_795_226_985_000);
/// Bytes of one change of a file: what, where (three), with what (two).
const CHANGE_LENGTH: usize = 6;
/// More changes say no more.
const CHANGES_MAX: usize = 200;
/// Bytes that one change fills or copies.
const SPAN: usize = 64;
/// What SQLite calls the head of a page, and where its own header counts things.
const PAGE: usize = 4096;
const HEAD: usize = 128;

/// A ledger with at least one row in each table.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in(folder()).expect("a folder in which tests may write");
    let path = folder.path().join("ledger.db");
    let mut ledger = Ledger::open(&path).expect("a new ledger");
    ledger.write(fill).expect("a new ledger takes rows");
    drop(ledger);
    fs::read(&path).expect("it is closed, so that all of it is in one file")
});

/// In memory where there is such a folder: what is written here need not outlive the test.
fn folder() -> &'static Path {
    static FOLDER: LazyLock<Box<Path>> = LazyLock::new(|| {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { memory.into() } else { env::temp_dir().into() }
    });
    &FOLDER
}

fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("{text} is a good name"))
}

fn new_attempt(node: &str, number: i64, block: Option<Incarnation>) -> NewAttempt {
    let node: NodeName = name(node);
    let attempt = AttemptId::from_number(number).expect("a small number");
    NewAttempt {
        vm: VmName::of(&node, attempt),
        node,
        attempt,
        nodeset: name("hpc"),
        place: AttemptPlace {
            site: name("west"),
            subscription: "00000000-0000-0000-0000-000000000001".to_owned(),
            resource_group: "rg-hpc".to_owned(),
            region: Region::new("westeurope").expect("a region"),
            zone: None,
            block,
        },
        sku: Sku::new("Standard_D4s_v5").expect("a size"),
        is_spot: true,
        image: "p:o:s:v".to_owned(),
        body_hash: "0f1e".to_owned(),
        jobs: vec![JobId(7), JobId(9)],
    }
}

fn life() -> Incarnation {
    let number = AttemptId::from_number(7).expect("a small number");
    Incarnation { block: name("hpc-b1"), number }
}

fn lease(
    writer: &mut Writer<'_>,
    node: &str,
    holder: &Holder,
) -> Result<Option<Lease>, LedgerError> {
    let ask = LeaseAsk { holder, take: Take::Seize, now: NOW, until: LATER };
    Ok(writer.lease(&name(node), &ask)?.granted())
}

fn fill(writer: &mut Writer<'_>) -> Result<(), LedgerError> {
    let holder: Holder = name("front");
    let place = new_attempt("n1", 1, None).place;
    writer.intend_block(
        &Block {
            life: life(),
            site: place.site,
            subscription: place.subscription,
            resource_group: place.resource_group,
            region: place.region,
            name: "azslurm-c-hpc-b1".to_owned(),
            sku: Sku::new("Standard_HB120rs_v3").expect("a size"),
            state: BlockState::Intended,
        },
        NOW,
    )?;
    for number in 1..40 {
        let node = format!("n{number}");
        let Some(lease) = lease(writer, &node, &holder)? else { continue };
        let new = new_attempt(&node, number, (number == 2).then(life));
        let _: Recorded = writer.intend(&lease, &new, NOW, LATER)?;
        let ended = Change::DeleteIntended { why: EndReason::Suspended, says: None };
        if number % 3 == 0 {
            let _: Recorded = writer.record(&lease, &new.vm, &ended, NOW)?;
            let _: Recorded = writer.record(&lease, &new.vm, &Change::Gone, NOW)?;
        }
    }
    writer.hold(&Hold {
        scope: "image:x".to_owned(),
        code: "capacity".to_owned(),
        text: "none left".to_owned(),
        strikes: 2,
        since: NOW,
        struck_at: NOW,
        until: LATER,
    })?;
    let size = Size { max: 10.0, refill: 0.5 };
    let bucket = Bucket { tokens: 3.0, at: NOW, size, closed_until: None };
    writer.set_budget(&Budget { name: "b".to_owned(), bucket })?;
    let waiter = Waiter { holder: "front".into(), since: NOW, asked_at: NOW, served_at: None };
    writer.wait_for_budget("b", &waiter)?;
    writer.set_fact(&Fact { key: "k".to_owned(), text: "{}".to_owned(), at: NOW })?;
    writer.set_daemon((&holder, "head-1"), (NOW, LATER))
}

/// The file with some of its bytes changed.
pub fn file(bytes: &[u8]) {
    let mut file = GOOD.clone();
    for change in bytes.chunks_exact(CHANGE_LENGTH).take(CHANGES_MAX) {
        change_file(&mut file, change);
    }
    opens_or_says_why(&file);
}

/// One change: half of them near the head of a page, where all else is found by.
fn change_file(file: &mut Vec<u8>, change: &[u8]) {
    let length = file.len().max(1);
    let at = usize::from(change[1]) << 16 | usize::from(change[2]) << 8 | usize::from(change[3]);
    let at = match change[0] & 0x80 {
        0 => at % length,
        _ => (usize::from(change[1]) * PAGE + at % HEAD) % length,
    };
    let end = (at + SPAN).min(file.len());
    match change[0] % 7 {
        0 => file[at..].iter_mut().zip(&change[4..]).for_each(|(byte, with)| *byte = *with),
        1 => file[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (change[4] % 8)),
        2 => file[at..end].fill(change[4]),
        3 => {
            let from = (usize::from(change[4]) << 8 | usize::from(change[5])) * 37 % length;
            let until = (from + (end - at)).min(length);
            file.copy_within(from..until, at.min(length - SPAN));
        }
        4 => file.truncate(at),
        5 => file.extend_from_slice(&[change[4]; SPAN]),
        _ => file[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
    }
    if file.len() < SPAN {
        file.resize(SPAN, 0);
    }
}

/// Cells with contents that SQLite takes and we would not have written.
pub fn rows(bytes: &[u8]) {
    let folder = tempfile::tempdir_in(folder()).expect("a folder in which tests may write");
    let path = folder.path().join("odd.db");
    fs::write(&path, &*GOOD).expect("it can be written");
    let connection = Connection::open(&path).expect("it is a good ledger");
    for line in String::from_utf8_lossy(bytes).lines().take(CHANGES_MAX) {
        set_cells(&connection, line);
    }
    drop(connection);
    let file = fs::read(&path).expect("it was just written");
    opens_or_says_why(&file);
}

/// `table column value`: the value into all rows of the column, or where SQLite does not take it
/// there, into one.
fn set_cells(connection: &Connection, line: &str) {
    let mut words = line.splitn(3, ' ');
    let (Some(table), Some(column), Some(value)) = (words.next(), words.next(), words.next())
    else {
        return;
    };
    let is_word = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !is_word(table) || !is_word(column) || table.is_empty() || column.is_empty() {
        return;
    }
    let as_number = || value.parse().map(Value::Integer).ok();
    let value = match value {
        "NULL" => Value::Null,
        text => as_number()
            .or_else(|| text.parse().ok().map(Value::Real))
            .unwrap_or_else(|| Value::Text(text.to_owned())),
    };
    for rows in ["", " WHERE rowid = 2", " WHERE node = 'n2'"] {
        let sql = format!("UPDATE {table} SET {column} = ?1{rows}");
        if connection.execute(&sql, (&value,)).is_ok() {
            return;
        }
    }
}

/// Opens and reads it as a program does, then works with it, then reads it as a copy.
fn opens_or_says_why(file: &[u8]) {
    let folder = tempfile::tempdir_in(folder()).expect("a folder in which tests may write");
    let path = folder.path().join("ledger.db");
    fs::write(&path, file).expect("it can be written");
    match Ledger::open_existing(&path) {
        Ok(mut ledger) => {
            read_all(&ledger, &path);
            let worked = ledger.write(work);
            says_where(worked, &path);
            read_all(&ledger, &path);
        }
        Err(error) => says_where(Err(error), &path),
    }
    fs::write(&path, file).expect("it can be written");
    match Ledger::of_copy(&path) {
        Ok(copy) => read_all(&copy, &path),
        Err(error) => says_where(Err(error), &path),
    }
}

fn says_where(result: Result<(), LedgerError>, path: &Path) {
    let Err(error) = result else { return };
    let said = error.to_string();
    assert!(said.contains("ledger.db"), "{said} does not name {}", path.display());
    assert!(!said.contains("locked"), "nobody else has it open: {said}");
}

/// All questions, each on its own: what is wrong with one table hides no other.
fn read_all(ledger: &Ledger, path: &Path) {
    let nodes: Vec<NodeName> = ["n1", "n2"].map(name).to_vec();
    let holder: Holder = name("front");
    let vm: VmName = VmName::of(&nodes[0], AttemptId::from_number(1).expect("a small number"));
    let answers = [
        ledger.attempts_all().map(drop),
        ledger.attempts_of(&nodes).map(drop),
        ledger.attempts_unfinished().map(drop),
        ledger.attempts_of_holder(&holder).map(drop),
        ledger.attempts_latest().map(drop),
        ledger.attempt(&vm).map(drop),
        ledger.leases().map(drop),
        ledger.leases_of_holder(&holder).map(drop),
        ledger.holds_all().map(drop),
        ledger.holds(NOW).map(drop),
        ledger.hold_of("image:x").map(drop),
        ledger.budget("b").map(drop),
        ledger.budgets().map(drop),
        ledger.budget_waiters("b").map(drop),
        ledger.blocks_unfinished().map(drop),
        ledger.block(&life()).map(drop),
        ledger.facts().map(drop),
        ledger.fact("k").map(drop),
        ledger.daemon().map(drop),
        ledger.last_event().map(drop),
        ledger.events(&EventFilter::default()).map(drop),
        ledger.events(&EventFilter { vm: Some(vm), ..EventFilter::default() }).map(drop),
        ledger.quick_check().map(drop),
    ];
    answers.into_iter().for_each(|answer| says_where(answer, path));
}

/// What programs write, all in one transaction.
fn work(writer: &mut Writer<'_>) -> Result<(), LedgerError> {
    let holder: Holder = name("driver");
    for (node, number) in [("n1", 100), ("n2", 101), ("new-1", 102)] {
        let Some(lease) = lease(writer, node, &holder)? else { continue };
        let new = new_attempt(node, number, None);
        let _: Recorded = writer.intend(&lease, &new, NOW, LATER)?;
        let accepted =
            Change::Accepted { operation: Some("https://a/op".into()), request_id: None };
        for change in [accepted, Change::Running, Change::Registered] {
            let _: Recorded = writer.record(&lease, &new.vm, &change, NOW)?;
        }
        let _: bool = writer.renew(&lease, LATER)?;
    }
    writer.set_daemon((&holder, "head-2"), (NOW, LATER))?;
    writer.event(&Event::new(NOW, "test", "more"))?;
    writer.retire_blocks(LATER)?;
    writer.prune_attempts(NOW)?;
    writer.prune_blocks(NOW)?;
    writer.prune_holds(NOW)?;
    writer.prune_facts(NOW)?;
    writer.end_waits("front", NOW)?;
    writer.release_holder(&holder)?;
    Ok(())
}
