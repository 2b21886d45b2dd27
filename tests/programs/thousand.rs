//! A thousand nodes in one request: what it costs in calls and transactions.

use std::time::{Duration, Instant};

use azslurm_core::attempt::AttemptState;
use serde_json::json;

use crate::bench::{Bench, said, wait_for};

/// As in `crates/program/src/errands.rs`.
const BATCH_WAIT: Duration = Duration::from_millis(150);
/// As in `crates/program/src/throttles.rs`.
const RESERVE_EVERY: Duration = Duration::from_millis(200);

#[test]
fn a_thousand_nodes_are_one_intent_transaction_and_a_thousand_puts_and_no_list() {
    let bench = Bench::start();
    // Azure's own buckets would make it 80 s (FACTS §3.4), which is not what is counted here.
    let wide = json!({ "max": 100_000.0, "refill_per_s": 10_000.0 });
    bench.emulator.post("/throttle", &json!({ "arm_writes": wide, "arm_reads": wide })).unwrap();
    bench.emulator.set_delays(&json!({ "vm_create_ms": 0, "retry_after_s": 1 })).unwrap();
    let begun = Instant::now();
    said(&bench.run("azslurm-resume", &["n[1-1000]"]), 0);
    let times: std::collections::BTreeSet<_> =
        bench.ledger().attempts_latest().unwrap().iter().map(|a| a.generation).collect();
    assert_eq!(times.len(), 1, "all of one request");
    wait_for("a thousand VMs", || {
        let attempts = bench.ledger().attempts_latest().unwrap();
        attempts.len() == 1000 && attempts.iter().all(|a| a.state == AttemptState::Running)
    });
    bench.wait_for_the_driver();
    let took = begun.elapsed();
    let log = bench.log();
    let events = bench
        .ledger()
        .events(&azslurm_ledger::EventFilter { limit: 10_000, ..Default::default() })
        .unwrap();
    let intents = events.iter().filter(|event| event.kind == "intended");
    let first_fact = events.iter().position(|event| event.kind == "accepted").unwrap();
    assert_eq!(intents.count(), 1000);
    let late = events[first_fact..].iter().filter(|event| event.kind == "intended").count();
    assert_eq!(late, 0, "every intent was committed before the first answer of Azure");
    assert_eq!(bench.calls("PUT", "/virtualMachines/{name}"), 1000);
    let calls = bench.emulator.calls().unwrap();
    let lists: Vec<_> = calls
        .by
        .iter()
        .filter(|call| {
            let route = call.route.to_ascii_lowercase();
            route.ends_with("/virtualmachines") || route.contains("resourcegraph")
        })
        .collect();
    assert!(lists.is_empty(), "{lists:?}");
    let transactions = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("transactions=")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    });
    // What is found is gathered for a while before it is written, and tokens are reserved five
    // times a second at most: the slower the machine, the more often. Leases, their release and
    // urgent findings are a few more. One for each VM would be a thousand.
    let times = |every: Duration| took.as_millis() / every.as_millis();
    let most = 22 + times(BATCH_WAIT) + times(RESERVE_EVERY);
    assert!(
        transactions.is_some_and(|count| u128::from(count) <= most),
        "{transactions:?} transactions of the driver, at most {most}"
    );
}
