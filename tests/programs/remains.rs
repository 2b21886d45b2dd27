//! What VMs leave behind: network cards and disks, and the question why Azure took them.

use azslurm_core::attempt::AttemptState;
use azslurm_ledger::EventFilter;
use serde_json::json;

use crate::bench::{Bench, assert_names};
use crate::world::{Made, alive, all_are, change, old, pass, run, seed, spot, updates};

const LEAVES: [&str; 2] = ["nic", "disk"];

fn leave(bench: &Bench, vm: &str) {
    bench.emulator.post("/vms", &json!({"vm": vm, "leaves": LEAVES})).unwrap();
}

fn parts(bench: &Bench) -> usize {
    alive(bench, "disks").len() + alive(bench, "networkInterfaces").len()
}

/// The next pass looks again, an hour later as far as it can see.
fn an_hour_later(bench: &Bench) {
    change(
        bench,
        "DELETE FROM facts WHERE key = 'leftovers-looked';
         UPDATE attempts SET ended_at = ended_at - 3600000 WHERE ended_at IS NOT NULL;",
    );
}

#[test]
fn a_network_card_and_a_disk_that_a_vm_left_behind_go_and_all_others_stay() {
    for graph_is_refused in [false, true] {
        let bench = Bench::start();
        let nodes =
            [("n1".to_owned(), "IDLE+CLOUD+POWERING_DOWN"), ("n2".to_owned(), "IDLE+CLOUD")];
        crate::world::slurm_says(&bench, &nodes);
        run(&bench, &[old("n1"), old("n2")]);
        // Named as ours, without a tag, and of a VM that no ledger of ours knows.
        let stranger = Made { tags: json!({}), ..old("n3") };
        let name = stranger.vm.to_string();
        seed(&bench, &[stranger]);
        leave(&bench, &name);
        bench.emulator.post("/vms", &json!({"vm": name, "vanish": true})).unwrap();
        leave(&bench, "n1");
        if graph_is_refused {
            let fault = json!({"path_contains": "ResourceGraph", "times": 1000, "status": 403,
                "body": {"error": {"code": "AuthorizationFailed", "message": "no"}}});
            bench.emulator.add_fault(&fault).unwrap();
        }
        pass(&bench, &[], 0);
        pass(&bench, &[], 0);
        let states = bench.attempts("n1's end", |all| all[0].state == AttemptState::Gone);
        assert_eq!(states[1].state, AttemptState::Running);
        assert_eq!(parts(&bench), 6, "of n1, n2 and the stranger");
        change(&bench, "DELETE FROM facts WHERE key = 'leftovers-looked'");
        let report = pass(&bench, &[], 0);
        assert_names(
            &report["leftovers"].to_string(),
            &["Leave", "TooYoung", "disk", "network card"],
        );
        assert_eq!(parts(&bench), 6, "Azure may still be at work on them");
        an_hour_later(&bench);
        let dry = pass(&bench, &["--dry-run"], 0);
        assert_names(&dry["leftovers"].to_string(), &["Delete", "VmIsGone"]);
        assert_eq!(parts(&bench), 6, "a dry run changes nothing");
        pass(&bench, &[], 0);
        let left = [alive(&bench, "disks"), alive(&bench, "networkInterfaces")].concat();
        assert_eq!(left.len(), 4, "{left:?}");
        assert!(!left.iter().any(|part| part.starts_with("n1-")), "{left:?}");
        let events = bench.ledger().events(&EventFilter::default()).unwrap();
        let told: Vec<_> = events.iter().filter(|event| event.kind == "leftover").collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|event| event.node.is_some() && event.text.contains("is gone")));
        assert_names(&bench.log(), &["network card n1-", "disk n1-"]);
        // Looked for once an hour.
        let report = pass(&bench, &[], 0);
        assert_eq!(report["leftovers"], json!([]), "{report}");
    }
}

/// An eviction of three Spot VMs, after which the activity log is so late or refused; what it said
/// then, and how often it was asked.
fn evicted(late_ms: i64, is_refused: bool) -> (Bench, Vec<String>, u64) {
    let bench = Bench::start();
    let nodes = ["n1", "n2", "n3"];
    all_are(&bench, &nodes, "IDLE+CLOUD");
    bench.emulator.post("/habits", &json!({"activity_late_ms": late_ms})).unwrap();
    run(&bench, &nodes.map(|node| spot(node, "Delete")));
    if is_refused {
        let fault = json!({"path_contains": "Microsoft.Insights", "times": 1000, "status": 403,
            "body": {"error": {"code": "AuthorizationFailed", "message": "no"}}});
        bench.emulator.add_fault(&fault).unwrap();
    }
    nodes.iter().for_each(|node| bench.emulator.evict(node).unwrap());
    let output = bench.run("azslurm-sync", &["pass", "--wait", "5"]);
    assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
    assert_names(&updates(&bench).join("\n"), &["nodename=n[1-3]", "state=power_down_force"]);
    let says = explained(&bench);
    let asked = bench.calls("GET", "/eventtypes/management/values");
    (bench, says, asked)
}

fn explained(bench: &Bench) -> Vec<String> {
    let events = bench.ledger().events(&EventFilter::default()).unwrap();
    let of_log = events.into_iter().filter(|event| event.kind == "eviction-explained");
    of_log.map(|event| event.text).collect()
}

fn waits(bench: &Bench) -> String {
    let facts = bench.ledger().facts().unwrap();
    let of_log = facts.into_iter().find(|fact| fact.key == "evictions-unexplained");
    of_log.map(|fact| fact.text).unwrap_or_default()
}

#[test]
fn an_eviction_carries_what_the_activity_log_says_of_it_by_one_call_for_all() {
    let (bench, says, asked) = evicted(0, false);
    assert_eq!((says.len(), asked), (3, 1), "{says:?}");
    assert!(says.iter().all(|text| text.contains("evictSpotVM/action Succeeded at ")), "{says:?}");
    assert_eq!(waits(&bench), "[]");
}

#[test]
fn a_log_that_is_late_is_asked_again_in_minutes_and_one_that_is_refused_never() {
    let (bench, says, asked) = evicted(10_000_000, false);
    assert_eq!((says.len(), asked), (0, 1), "{says:?}");
    assert_names(&waits(&bench), &["n1-", "n2-", "n3-"]);
    let again = || drop(bench.run("azslurm-sync", &["pass", "--wait", "5"]));
    again();
    assert_eq!(bench.calls("GET", "/eventtypes/management/values"), 1, "not before its time");
    bench.emulator.post("/habits", &json!({"activity_late_ms": 0})).unwrap();
    change(
        &bench,
        "UPDATE facts SET text = replace(text, '\"asked_at\":1', '\"asked_at\":0')
        WHERE key = 'evictions-unexplained'",
    );
    change(
        &bench,
        "UPDATE facts SET text = replace(text, '\"asked_at\":0', '\"asked_at\":')
        WHERE key = 'evictions-unexplained'",
    );
    again();
    assert_eq!(explained(&bench).len(), 3);
    assert_eq!(waits(&bench), "[]");
    let (bench, says, asked) = evicted(0, true);
    assert_eq!((says.len(), asked), (0, 1), "{says:?}");
    assert_eq!(waits(&bench), "[]", "what may not be read is not asked again");
}
