//! A ledger that is lost or cannot be trusted, and VMs that a person has to say something of:
//! `azslurm-sync rebuild`, `adopt` and `forget`.

use std::collections::BTreeMap;
use std::fs::{self, File};

use azslurm_core::attempt::AttemptState;
use azslurm_core::block::BlockState;
use azslurm_ledger::{Holder, LeaseAsk, Ledger, Take};
use serde_json::{Value, json};

use crate::bench::{Bench, all, assert_names, infiniband, said, wait_for};

const UP: &str = "MIXED+CLOUD";
const OFF: &str = "IDLE+CLOUD+POWERED_DOWN";

fn bench() -> Bench {
    let bench = Bench::start();
    bench.write_config(&bench.config(&infiniband(8, 4)));
    bench
}

fn resume(bench: &Bench, nodes: &str) {
    said(&bench.run("azslurm-resume", &[nodes]), 0);
    bench.wait_for_the_driver();
    bench.attempts("the VMs", all(AttemptState::Running));
}

fn lose_ledger(bench: &Bench) {
    for ending in ["", "-wal", "-shm"] {
        // What SQLite has closed well has no log beside it.
        let _absent = fs::remove_file(format!("{}{ending}", bench.ledger_path().display()));
    }
}

fn sync(bench: &Bench, words: &[&str], code: i32) -> Value {
    let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
    let output = bench.run("azslurm-sync", &words);
    said(&output, code);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(bench: &Bench, words: &[&str], code: i32, named: &[&str]) {
    let output = bench.run("azslurm-sync", words);
    assert_names(&said(&output, code), named);
    assert!(output.stdout.is_empty(), "{words:?}");
}

fn count(bench: &Bench, kind: &str) -> usize {
    bench.emulator.alive().unwrap().iter().filter(|seen| seen.is_a(kind)).count()
}

/// The life of each VM's block, by node.
fn lives(bench: &Bench) -> BTreeMap<String, Option<String>> {
    let unfinished = bench.ledger().attempts_unfinished().unwrap();
    let life = |block: &azslurm_core::block::Incarnation| block.to_string();
    let of =
        unfinished.iter().map(|one| (one.is.vm.to_string(), one.is.place.block.as_ref().map(life)));
    of.collect()
}

#[test]
fn a_lost_ledger_is_written_anew_with_its_vms_and_the_lives_of_its_blocks() {
    let bench = bench();
    resume(&bench, "hb[1-3],n1");
    resume(&bench, "hb5");
    let before = lives(&bench);
    let empty: Vec<&String> = before.keys().filter(|vm| vm.starts_with("hb5-")).collect();
    bench.emulator.vanish(empty[0]).unwrap();
    lose_ledger(&bench);
    let up = [("hb1", UP), ("hb2", UP), ("hb3", UP), ("n1", UP), ("hb5", OFF)];
    bench.slurmctld_says(&up);
    let dry = sync(&bench, &["rebuild", "--dry-run"], 0);
    assert_eq!(dry["vms"].as_array().unwrap().len(), 4, "{dry}");
    assert!(!bench.ledger_path().exists(), "a dry run makes no ledger");
    let told = sync(&bench, &["rebuild"], 0);
    assert_eq!((&told["is_new"], &told["written"]), (&json!(true), &json!(4)), "{told}");
    let blocks = told["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 2, "the block in use and the empty one: {told}");
    let mut expected = before.clone();
    expected.retain(|vm, _| !vm.starts_with("hb5-"));
    assert_eq!(lives(&bench), expected, "every VM is in the life of its block that it was in");
    let known = bench.ledger().blocks_unfinished().unwrap();
    assert!(known.len() == 2 && known.iter().all(|block| block.state == BlockState::Made));
    let again = sync(&bench, &["rebuild"], 0);
    assert_eq!((&again["is_new"], &again["vms"]), (&json!(false), &json!([])), "{again}");
    assert_eq!(again["blocks"], json!([]), "{again}");
    // The empty block goes, the one in use stays.
    wait_for("one set to be left", || {
        said(&bench.run("azslurm-sync", &["pass", "--wait", "1"]), 0);
        count(&bench, "availabilitySets") == 1
    });
    assert_eq!(count(&bench, "virtualMachines"), 4);
    bench.slurmctld_says(&up.map(|(node, _)| (node, OFF)));
    wait_for("nothing to be left", || {
        bench.run("azslurm-sync", &["pass", "--wait", "1"]);
        count(&bench, "virtualMachines") == 0 && count(&bench, "proximityPlacementGroups") == 0
    });
}

#[test]
fn what_is_not_seen_whole_or_is_worked_on_is_refused_and_nothing_is_changed() {
    let bench = bench();
    resume(&bench, "n1");
    lose_ledger(&bench);
    refused(&bench, &["rebuild"], 1, &["not everything can be seen", "slurmctld: "]);
    bench.slurmctld_says(&[("n1", UP)]);
    for (path, named) in [("/providers/", "azure ("), ("availabilitySets", "sets")] {
        bench
            .emulator
            .add_fault(&json!({
                "path_contains": path, "kind": "answer", "status": 403, "times": 100,
                "body": { "error": { "code": "AuthorizationFailed", "message": "no" } },
            }))
            .unwrap();
        refused(&bench, &["rebuild"], 1, &["not everything can be seen", named, "no"]);
        bench.emulator.clear_faults().unwrap();
    }
    let folder = bench.dir.path().join("ledger.db.holders");
    fs::create_dir_all(&folder).unwrap();
    let proof = File::create(folder.join("azslurm-resume-0abcdefg-1")).unwrap();
    proof.lock().unwrap();
    refused(&bench, &["rebuild"], 2, &["azslurm-resume-0abcdefg-1 still works", "systemctl stop"]);
    drop(proof);
    let left = |name: &str| bench.dir.path().join(name).exists();
    assert!(!left("ledger.db") && !left("ledger.db.rebuilt"), "nothing is left behind");
    fs::write(bench.ledger_path(), "NodeName=n1\n".repeat(1000)).unwrap();
    refused(&bench, &["rebuild"], 2, &["is not a ledger"]);
}

#[test]
fn a_ledger_that_is_not_trusted_is_kept_beside_and_one_in_use_is_not_replaced() {
    let bench = bench();
    resume(&bench, "n[1-2]");
    bench.slurmctld_says(&[("n1", UP), ("n2", UP)]);
    let used = bench.ledger();
    refused(&bench, &["rebuild", "--anew"], 1, &["is in use", "fuser"]);
    drop(used);
    let told = sync(&bench, &["rebuild", "--anew"], 0);
    assert_eq!((&told["is_new"], &told["written"]), (&json!(true), &json!(2)), "{told}");
    let kept = Ledger::open_existing(told["kept"].as_str().unwrap().as_ref()).unwrap();
    let now = bench.ledger();
    let names = |ledger: &Ledger| -> Vec<String> {
        ledger.attempts_unfinished().unwrap().iter().map(|one| one.is.vm.to_string()).collect()
    };
    assert_eq!(names(&kept), names(&now));
    let has_body = |ledger: &Ledger| !ledger.attempts_latest().unwrap()[0].is.body_hash.is_empty();
    assert!(has_body(&kept) && !has_body(&now), "the new one is made of what Azure says");
}

#[test]
fn a_vm_is_forgotten_and_adopted_again_by_a_person() {
    let bench = bench();
    resume(&bench, "n1");
    bench.slurmctld_says(&[("n1", UP)]);
    let first = bench.ledger().attempts_latest().unwrap().remove(0).is.vm.to_string();
    let state = |vm: &str| bench.ledger().attempt(&vm.parse().unwrap()).unwrap().unwrap().state;
    refused(&bench, &["forget", "n2"], 2, &["\"n2\"", "azslurm-sync vms"]);
    assert_eq!(sync(&bench, &["forget", "n1", "--dry-run"], 0)[0]["vm"], first.as_str());
    assert_eq!(state(&first), AttemptState::Running);
    let output = bench.run("azslurm-sync", &["forget", &first]);
    said(&output, 0);
    let id = format!("resourceGroups/hpc/providers/Microsoft.Compute/virtualMachines/{first}");
    assert_names(&String::from_utf8_lossy(&output.stdout), &["forgot", "it is billed", &id]);
    assert_eq!(state(&first), AttemptState::Gone);
    assert_eq!(count(&bench, "virtualMachines"), 1, "Azure was not asked");
    // The node gets another one: which of the two it runs on only a person knows.
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    bench.wait_for_the_driver();
    let second = bench.attempts("another VM", all(AttemptState::Running)).remove(0);
    let second = second.is.vm.to_string();
    assert_ne!(first, second);
    refused(&bench, &["adopt", &first], 2, &["node n1 has VM", &second, "forget"]);
    refused(&bench, &["adopt", &first, "--node", "n2"], 2, &["is a VM of node n1", "n2"]);
    refused(&bench, &["adopt", "n1-zzzzzzzz"], 2, &["n1-zzzzzzzz: Azure lists no VM"]);
    sync(&bench, &["forget", &second], 0);
    assert_eq!(sync(&bench, &["adopt", &first, "--dry-run"], 0)[0]["was"], "gone");
    assert_eq!(state(&first), AttemptState::Gone);
    sync(&bench, &["adopt", &first, "--node", "n1"], 0);
    assert_eq!((state(&first), state(&second)), (AttemptState::Running, AttemptState::Gone));
}

#[test]
fn nothing_is_said_about_a_node_that_a_living_program_works_on() {
    let bench = bench();
    resume(&bench, "n1");
    let vm = bench.ledger().attempts_latest().unwrap().remove(0).is.vm.to_string();
    let holder: Holder = "azslurm-suspend-0abcdefg-1".parse().unwrap();
    let folder = bench.dir.path().join("ledger.db.holders");
    fs::create_dir_all(&folder).unwrap();
    let proof = File::create(folder.join(holder.as_str())).unwrap();
    proof.lock().unwrap();
    let at = bench.ledger().attempts_latest().unwrap().remove(0).changed_at;
    let until = at.plus(std::time::Duration::from_secs(600));
    let lease = |until| {
        let ask = LeaseAsk { holder: &holder, take: Take::Seize, now: at, until };
        let mut ledger = bench.ledger();
        let lease = ledger.write(|writer| writer.lease(&"n1".parse().unwrap(), &ask));
        lease.unwrap().granted().unwrap()
    };
    lease(until);
    for words in [["forget", "n1"], ["adopt", &vm]] {
        refused(&bench, &words, 2, &["azslurm-suspend-0abcdefg-1 works on node n1 until"]);
    }
    drop(proof);
    sync(&bench, &["forget", "n1"], 0);
}
