//! A gang that moves to the next site: how many calls that takes, and how long.

use azslurm_core::attempt::{Attempt, AttemptState};
use serde_json::{Value, json};

use crate::bench::{Bench, infiniband, said, wait_for};

const SKU: &str = "Standard_HB120rs_v3";
/// Calls between the refusal and the first VM of the next site that are not PUTs of the first wave:
/// placement group, availability set, and the VM itself with a few of its like.
const CALLS_MAX: usize = 10;

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_default()
}

fn is_vm_put(entry: &Value, group: &str) -> bool {
    let path = text(entry, "path").to_ascii_lowercase();
    text(entry, "method") == "PUT"
        && path.contains(&format!("/resourcegroups/{group}/"))
        && path.contains("/virtualmachines/")
}

fn millis(entry: &Value) -> i64 {
    text(entry, "at").parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn is_at(attempt: &Attempt, site: &str) -> bool {
    attempt.is.place.site.as_str() == site
}

/// Azure's own buckets would make it longer, and are not what is measured. VMs are
/// slow: one that may be in use already would keep its gang where it is.
fn calm(bench: &Bench) {
    let wide = json!({ "max": 100_000.0, "refill_per_s": 10_000.0 });
    bench.emulator.post("/throttle", &json!({ "arm_writes": wide, "arm_reads": wide })).unwrap();
    bench.emulator.set_delays(&json!({ "vm_create_ms": 20_000, "retry_after_s": 21 })).unwrap();
}

#[test]
fn a_gang_of_64_that_lacks_one_place_begins_in_the_next_site_within_a_few_calls() {
    let bench = Bench::start();
    bench.write_config(&bench.config(&infiniband(64, 64)));
    calm(&bench);
    bench.emulator.set_capacity("westeurope", SKU, Some(63)).unwrap();
    said(&bench.resume_gang("hb[1-64]"), 0);
    wait_for("64 VMs in the north and none elsewhere", || {
        let attempts = bench.ledger().attempts_latest().unwrap();
        let is_there = |a: &Attempt| a.state == AttemptState::Running && is_at(a, "north");
        attempts.iter().filter(|a| is_there(a)).count() == 64
    });
    bench.wait_for_the_driver();
    let log = bench.log_of_calls();
    let refused = log
        .iter()
        .position(|entry| is_vm_put(entry, "hpc") && entry["status"] == 409)
        .expect("one VM was refused in the west");
    let begun = log.iter().position(|entry| is_vm_put(entry, "hpc-north")).unwrap();
    let between = &log[refused + 1..=begun];
    let others: Vec<String> = between
        .iter()
        .filter(|entry| !is_vm_put(entry, "hpc"))
        .map(|entry| format!("{} {}", text(entry, "method"), text(entry, "path")))
        .collect();
    let took = millis(&log[begun]) - millis(&log[refused]);
    println!("from the refusal to the first VM of the next site: {took} ms, {} calls, of which", {
        between.len()
    });
    println!("{} are not of the first wave:\n{}", others.len(), others.join("\n"));
    assert!(others.len() <= CALLS_MAX, "{} calls: {others:?}", others.len());
    let puts = |group| log.iter().filter(|entry| is_vm_put(entry, group)).count();
    assert_eq!((puts("hpc"), puts("hpc-north")), (64, 64), "no PUT twice");
    nothing_is_left_in_the_west(&bench);
}

/// Passes clean up what the driver has left.
fn nothing_is_left_in_the_west(bench: &Bench) {
    let kinds = ["virtualMachines", "availabilitySets", "proximityPlacementGroups", "disks"];
    wait_for("nothing to be left in the west", || {
        bench.run("azslurm-sync", &["pass", "--wait", "1"]);
        let alive = bench.emulator.alive().unwrap();
        let west = alive.iter().filter(|seen| seen.location.as_deref() == Some("westeurope"));
        !west.into_iter().any(|seen| kinds.iter().any(|kind| seen.is_a(kind)))
    });
    let north = bench.emulator.vms().unwrap();
    assert_eq!(north.len(), 64);
    let sets = bench.emulator.alive().unwrap();
    assert_eq!(sets.iter().filter(|seen| seen.is_a("availabilitySets")).count(), 1);
}

#[test]
fn deletions_do_not_wait_long_for_a_block_of_the_next_site_that_azure_does_not_make() {
    let bench = Bench::start();
    bench.write_config(&bench.config(&infiniband(4, 4)));
    calm(&bench);
    bench.emulator.set_capacity("westeurope", SKU, Some(3)).unwrap();
    // The placement group of the north is never answered.
    let never = json!({ "method": "PUT", "path_contains": "/resourceGroups/hpc-north/",
        "kind": "delay", "latency_ms": 600_000, "times": 100 });
    bench.emulator.add_fault(&never).unwrap();
    said(&bench.resume_gang("hb[1-4]"), 0);
    wait_for("three VMs to be made in the west and to go", || {
        let log = bench.log_of_calls();
        let made = log.iter().filter(|call| is_vm_put(call, "hpc") && call["status"] == 201);
        made.count() == 3 && bench.emulator.vms().unwrap().is_empty()
    });
    let attempts = bench.ledger().attempts_latest().unwrap();
    let waits = attempts.iter().filter(|a| a.state == AttemptState::Intended && is_at(a, "north"));
    assert_eq!(waits.count(), 4, "{attempts:?}");
}
