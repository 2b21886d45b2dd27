//! Azure's buckets: who sends how much, shared by all programs of the machine.

use azslurm_core::attempt::{Attempt, AttemptState};
use serde_json::{Value, json};

use crate::bench::{Bench, KEY, all, said, wait_for, wait_longer_for};

/// A second site, in another region of the same subscription, and the nodeset `m` in it.
const NORTH: &str = "[site.north]\nsubscription = \"00000000-0000-0000-0000-000000000001\"\n\
    region = \"northeurope\"\nresource_group = \"hpc-north\"\n\
    subnet = \"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net-north/\
    providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute\"\n\
    [nodeset.m]\nnodes = \"m[1-20]\"\nsites = [\"north\"]\nsku = \"Standard_D4s_v5\"\n\
    image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\n";

fn wide() -> Value {
    json!({ "max": 100_000.0, "refill_per_s": 10_000.0 })
}

/// Every PUT of a VM in the emulator's log, in order.
fn puts(bench: &Bench) -> Vec<Value> {
    let mut log = bench.emulator.log(0).unwrap();
    let Value::Array(entries) = log["entries"].take() else { panic!("{log}") };
    let is_put = |entry: &Value| {
        entry["method"] == "PUT" && entry["path"].as_str().unwrap().contains("/virtualMachines/")
    };
    entries.into_iter().filter(is_put).collect()
}

fn is_taken(put: &Value) -> bool {
    put["status"] == 200 || put["status"] == 201
}

fn is_of(put: &Value, node: &str) -> bool {
    put["path"].as_str().unwrap().contains(&format!("/virtualMachines/{node}-"))
}

/// Answers of 429, all kinds of calls together.
fn throttled(bench: &Bench) -> u64 {
    let calls = bench.emulator.calls().unwrap();
    calls.by.iter().filter(|call| call.status == 429).map(|call| call.count).sum()
}

/// 429 of compute, as it says it (FACTS §3.2).
fn computes_429(path: &str, seconds: &str) -> Value {
    json!({
        "method": "PUT", "path_contains": path, "kind": "answer",
        "status": 429, "headers": { "Retry-After": seconds },
        "body": { "code": "OperationNotAllowed", "message": "too many requests",
            "details": [{ "code": "TooManyRequests", "target": "PutVMSubscriptionMaximum",
                "message": "{\"operationGroup\":\"PutVMSubscriptionMaximum\"}" }] },
    })
}

fn accepted(attempts: &[Attempt]) -> usize {
    let is_made = |state| matches!(state, AttemptState::Accepted | AttemptState::Running);
    attempts.iter().filter(|attempt| is_made(attempt.state)).count()
}

#[test]
fn after_a_429_in_the_middle_of_500_nothing_is_sent_before_its_end_and_no_node_is_refused() {
    let bench = Bench::start();
    // One call at a time: none can be under way when the answer comes.
    bench.write_config(&bench.config("[limits]\nrequests_in_flight = 1\n"));
    let buckets = json!({ "arm_writes": wide(), "arm_reads": wide(),
        "compute": { "PutVM": wide() } });
    bench.emulator.post("/throttle", &buckets).unwrap();
    bench.emulator.set_delays(&json!({ "vm_create_ms": 0, "retry_after_s": 30 })).unwrap();
    let mut fault = computes_429("/virtualMachines/", "4");
    fault["skip"] = json!(250);
    bench.emulator.add_fault(&fault).unwrap();
    said(&bench.run("azslurm-resume", &["n[1-500]"]), 0);
    wait_longer_for("500 VMs to be taken", || {
        let attempts = bench.ledger().attempts_latest().unwrap();
        let is_no = |attempt: &Attempt| attempt.state == AttemptState::Refused;
        assert!(!attempts.iter().any(is_no), "a throttle refused a node");
        accepted(&attempts) == 500
    });
    let puts = puts(&bench);
    assert_eq!(puts.len(), 501);
    let at = |put: &Value| put["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let closed = puts.iter().position(|put| put["status"] == 429).unwrap();
    assert_eq!(closed, 250);
    let waited = at(&puts[closed + 1]).as_millisecond() - at(&puts[closed]).as_millisecond();
    assert!(waited >= 4000, "{waited} ms");
}

#[test]
fn one_node_is_not_kept_waiting_behind_a_request_of_400() {
    let bench = Bench::start();
    let narrow = json!({ "arm_writes": { "max": 40.0, "refill_per_s": 10.0 } });
    bench.emulator.post("/throttle", &narrow).unwrap();
    bench.emulator.set_delays(&json!({ "vm_create_ms": 0, "retry_after_s": 30 })).unwrap();
    said(&bench.run("azslurm-resume", &["n[1-400]"]), 0);
    wait_for("the front door to be worn out", || {
        puts(&bench).iter().filter(|put| is_taken(put)).count() > 60
    });
    said(&bench.run("azslurm-resume", &["n1000"]), 0);
    let before = puts(&bench).iter().filter(|put| is_taken(put)).count();
    wait_for("the one node's VM", || {
        puts(&bench).iter().any(|put| is_taken(put) && is_of(put, "n1000"))
    });
    let taken: Vec<Value> = puts(&bench).into_iter().filter(is_taken).collect();
    let place = taken.iter().position(|put| is_of(put, "n1000")).unwrap() - before;
    let after = 401 - before;
    println!(
        "the one node's PUT is number {place} of {after}; {} answers of 429",
        throttled(&bench)
    );
    assert!(place < after / 3, "number {place} of {after}");
}

#[test]
fn a_429_of_compute_in_one_region_does_not_keep_the_other_waiting() {
    let bench = Bench::start();
    bench.write_config(&bench.config(&format!("{NORTH}ssh_public_key = \"{KEY}\"\n")));
    bench.emulator.add_fault(&computes_429("/resourceGroups/hpc-north/", "600")).unwrap();
    said(&bench.run("azslurm-resume", &["m1"]), 0);
    wait_for("the throttle to be in the ledger", || {
        let budgets = bench.ledger().budgets().unwrap();
        budgets.iter().any(|budget| budget.bucket.closed_until.is_some())
    });
    said(&bench.run("azslurm-resume", &["n[1-20],m[2-20]"]), 0);
    let of = |attempts: &[Attempt], set: &str| -> Vec<Attempt> {
        let is_in = |attempt: &&Attempt| attempt.is.node.as_str().starts_with(set);
        attempts.iter().filter(is_in).cloned().collect()
    };
    let attempts = bench.attempts("the other region's VMs", |attempts| {
        attempts.len() == 40 && all(AttemptState::Running)(&of(attempts, "n"))
    });
    assert!(all(AttemptState::Intended)(&of(&attempts, "m")), "{attempts:?}");
    let north = puts(&bench).iter().filter(|put| is_of(put, "m1")).count();
    assert_eq!(north, 1, "nothing is sent into the closed bucket");
}

#[test]
fn two_requests_make_300_vms_within_azures_buckets_without_one_429() {
    let bench = Bench::start();
    bench.emulator.set_delays(&json!({ "vm_create_ms": 0, "retry_after_s": 10 })).unwrap();
    said(&bench.run("azslurm-resume", &["n[1-150]"]), 0);
    said(&bench.run("azslurm-resume", &["n[151-300]"]), 0);
    wait_longer_for("300 VMs", || {
        let attempts = bench.ledger().attempts_latest().unwrap();
        attempts.len() == 300 && all(AttemptState::Running)(&attempts)
    });
    bench.wait_for_the_driver();
    assert_eq!(puts(&bench).len(), 300);
    assert_eq!(throttled(&bench), 0);
}
