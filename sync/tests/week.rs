//! Weeks of passes leave the ledger bounded in size: nodes that come and go, holds, facts and
//! evictions are written as the programs write them, at virtual time, and forgotten as a pass
//! forgets.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::time::Duration;

use azslurm_core::attempt::{
    Attempt, AttemptPlace, AttemptState, AzureSays, Change, EndReason, NewAttempt,
};
use azslurm_core::config::{Ledger as Settings, Region, Sku};
use azslurm_core::{AttemptId, JobId, NodeName, Timestamp, VmName};
use azslurm_ledger::{
    Event, EventFilter, Fact, Hold, Holder, LeaseAsk, Ledger, LedgerError, Recorded, Take, Writer,
};
use azslurm_sync::pass::forget;

const NODES: usize = 200;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Twice a day each node comes and goes.
const CYCLE: Duration = Duration::from_secs(12 * 3600);
const CYCLES_PER_WEEK: u32 = 14;
/// Between two passes. More often would write no more, and forget the same.
const PASS_EVERY: Duration = Duration::from_secs(3600);
/// What ended is kept for 30 days: from then on nothing may grow.
const WEEKS: u32 = 6;
/// 2026-11-21.
const BEGIN: Timestamp = Timestamp::from_millis(1_795_225_985_000);

fn node(number: usize) -> NodeName {
    format!("n{number}").parse().unwrap()
}

fn new_attempt(node: &NodeName, at: Timestamp) -> NewAttempt {
    let attempt = AttemptId::next(at, None);
    NewAttempt {
        vm: VmName::of(node, attempt),
        node: node.clone(),
        attempt,
        nodeset: "hpc".parse().unwrap(),
        place: AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: "00000000-0000-0000-0000-000000000001".to_owned(),
            resource_group: "rg-hpc".to_owned(),
            region: Region::new("westeurope").unwrap(),
            zone: None,
            block: None,
        },
        sku: Sku::new("Standard_D4s_v5").unwrap(),
        image: "microsoft-dsvm:ubuntu-hpc:2204:latest".to_owned(),
        is_spot: true,
        body_hash: "0f1e".repeat(16),
        jobs: vec![JobId(7)],
    }
}

/// What becomes of one VM, each with the seconds after its intent.
fn life(number: usize) -> Vec<(u64, Change)> {
    let (operation, request_id) = (Some("https://management.azure.com/x".repeat(10)), None);
    let says = AzureSays {
        code: "ZonalAllocationFailed".to_owned(),
        text: "Allocation failed. We do not have sufficient capacity. ".repeat(4),
        request_id: Some("r".repeat(36)),
    };
    let accepted = Change::Accepted { operation: operation.clone(), request_id: None };
    if number.is_multiple_of(10) {
        return vec![(2, Change::Refused(says))];
    }
    let (why, says) = match number % 7 {
        0 => (EndReason::Evicted, Some(says)),
        _ => (EndReason::Suspended, None),
    };
    vec![
        (2, accepted),
        (80, Change::Running),
        (7200, Change::DeleteIntended { why, says }),
        (7203, Change::DeleteAccepted { operation, request_id }),
        (7260, Change::Gone),
    ]
}

/// One node comes and goes.
fn cycle(writer: &mut Writer<'_>, (number, at): (usize, Timestamp)) -> Result<(), LedgerError> {
    let node = node(number);
    let new = new_attempt(&node, at);
    let holder = Holder::new("azslurm-resume", at, u32::try_from(number).unwrap());
    let until = at.plus(CYCLE);
    let ask = LeaseAsk { holder: &holder, take: Take::Seize, now: at, until };
    let lease = writer.lease(&node, &ask)?.granted().unwrap();
    let intended = writer.intend(&lease, &new, at, at)?;
    assert_eq!(intended, Recorded::Done(AttemptState::Intended));
    for (after, change) in life(number) {
        let recorded =
            writer.record(&lease, &new.vm, &change, at.plus(Duration::from_secs(after)))?;
        assert!(matches!(recorded, Recorded::Done(_)), "{recorded:?} {change:?}");
        if let Change::Refused(says) = &change {
            writer.hold(&Hold {
                scope: format!("sku-zone:west/{}/Standard_D4s_v5", number / 10),
                code: says.code.clone(),
                text: says.text.clone(),
                strikes: 1,
                since: at,
                until: at.plus(Duration::from_secs(600)),
                struck_at: at,
            })?;
        }
    }
    writer.release(&lease)
}

/// What a pass learns and keeps.
fn facts(writer: &mut Writer<'_>, at: Timestamp) -> Result<(), LedgerError> {
    for key in ["usages/s/westeurope", "leftovers-looked", "evictions-unexplained"] {
        let text = format!("{:?}", "x".repeat(2000));
        writer.set_fact(&Fact { key: key.to_owned(), text, at })?;
    }
    // One that is named by what it is about goes with its age.
    let day = at.as_millis() / i64::try_from(DAY.as_millis()).unwrap();
    let key = format!("graph-out/{day}");
    writer.set_fact(&Fact { key, text: "{}".to_owned(), at })?;
    writer.event(&Event::new(at, "pass", "one pass"))
}

fn week(ledger: &mut Ledger, settings: &Settings, begin: Timestamp) {
    for turn in 0..CYCLES_PER_WEEK {
        let at = begin.plus(CYCLE * turn);
        let done: Result<(), LedgerError> =
            ledger.write(|writer| (1..=NODES).try_for_each(|number| cycle(writer, (number, at))));
        done.unwrap();
        let mut now = at;
        while now < at.plus(CYCLE) {
            ledger.write(|writer| facts(writer, now)).unwrap();
            forget(ledger, settings, now).unwrap();
            now = now.plus(PASS_EVERY);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Size {
    attempts: usize,
    events: usize,
    leases: usize,
    holds: usize,
    facts: usize,
    file: u64,
    log: u64,
}

fn size(ledger: &Ledger, path: &Path) -> Size {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let all = EventFilter { limit: usize::MAX >> 1, ..EventFilter::default() };
    Size {
        attempts: (1..=NODES).map(|number| kept(ledger, number).len()).sum(),
        events: ledger.events(&all).unwrap().len(),
        leases: ledger.leases().unwrap().len(),
        holds: ledger.holds_all().unwrap().len(),
        facts: ledger.facts().unwrap().len(),
        file: bytes(path),
        log: bytes(&path.with_extension("db-wal")),
    }
}

/// A node's newest attempt: what a pass reads of it, however many there were.
fn kept(ledger: &Ledger, number: usize) -> Vec<Attempt> {
    ledger.attempts_of(&[node(number)]).unwrap()
}

#[test]
fn weeks_of_passes_leave_the_ledger_bounded_in_rows_and_in_bytes() {
    // The disk's own speed is not what this is about: where there is memory it is taken.
    let memory = Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let path = dir.as_ref().unwrap().path().join("ledger.db");
    let mut ledger = Ledger::open(&path).unwrap();
    let settings = Settings {
        path: path.clone(),
        events_age_max: DAY * 30,
        // More than a week's and less than a month's: both bounds are met on the way.
        events_max: 40_000,
    };
    let mut sizes = Vec::new();
    for number in 0..WEEKS {
        week(&mut ledger, &settings, BEGIN.plus(DAY * 7 * number));
        sizes.push(size(&ledger, &path));
    }
    println!("{sizes:#?}");
    let [.., before, last] = sizes.as_slice() else { panic!("{sizes:?}") };
    // One per node is read, whatever is kept.
    assert_eq!(last.attempts, NODES);
    assert!(last.events <= 40_000, "{last:?}");
    assert_eq!(last.leases, 0, "all are free");
    assert!(last.holds <= NODES / 10, "ended holds go after a day: {last:?}");
    assert!(last.facts <= 3 + 31, "{last:?}");
    // Pages that are freed are used again: the file is as large as its month, and no larger.
    let grown = last.file.saturating_sub(before.file);
    assert!(grown * 50 < last.file, "grows by {grown} in a week: {sizes:#?}");
    assert!(last.log < 32 * 1024 * 1024, "the log is brought back into the file: {last:?}");
    let per_vm = last.file / u64::from(CYCLES_PER_WEEK * 5) / NODES as u64;
    assert!(per_vm < 16 * 1024, "{per_vm} bytes for each VM of a month");
}
