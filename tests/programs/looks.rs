//! What people look at: `status`, `nodes`, `vms` and `holds`, also while nobody answers.

use std::fs;
use std::time::{Duration, Instant};

use azslurm_core::attempt::AttemptState;
use serde_json::{Value, json};

use crate::bench::{Bench, all, assert_names, said, wait_longer_for};
use crate::verbs::{json, sync};

/// n1 and n2 have VMs; slurmctld uses n1 and wants n2 no more.
fn bench() -> Bench {
    let bench = Bench::start();
    bench.scontrol(
        "NodeName=n1 State=IDLE+CLOUD Partitions=p\n\
         NodeName=n2 State=IDLE+CLOUD+POWERED_DOWN Partitions=p\n",
    );
    said(&bench.run("azslurm-resume", &["n[1-2]"]), 0);
    bench.attempts("the VMs", all(AttemptState::Running));
    bench.wait_for_the_driver();
    bench
}

fn row<'v>(value: &'v Value, node: &str) -> &'v Value {
    value["rows"].as_array().unwrap().iter().find(|row| row["node"] == node).unwrap()
}

fn source<'v>(value: &'v Value, name: &str) -> &'v Value {
    value["sources"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

#[test]
fn status_counts_and_says_what_the_next_pass_does_without_asking_azure() {
    let bench = bench();
    bench.emulator.reset_calls().unwrap();
    let status = json(&bench, &["status"], 1);
    assert_eq!(bench.emulator.calls().unwrap().total, 0);
    assert_eq!(status["slurm"]["IDLE+CLOUD"], 1, "{status}");
    assert_eq!(status["slurm"]["not in slurm.conf"], 998, "{status}");
    assert_eq!((&status["vms"]["running"], &status["vms_not_in_use"]), (&json!(2), &json!(1)));
    let next = json!({ "action": "Delete", "reason": "NobodyWaits", "nodes": "n2" });
    assert_eq!(status["next"], json!([next]), "{status}");
    assert_eq!(source(&status, "azure")["unknown"], "no pass has listed it yet");
    assert_eq!(status["last_pass_seconds"], Value::Null);
    sync(&bench, &["hold", "add", "node:n7"], 0);
    sync(&bench, &["pass"], 0);
    let text = sync(&bench, &["status"], 0);
    assert_names(
        &text,
        &["cluster bench", "azure      as of ", "1000 nodes", "2 VMs  1 deleting, 1 running"],
    );
    assert_names(
        &text,
        &["last pass  ", "1 holds keep n7 from coming", "DeletionIsUnfollowed: n2"],
    );
    assert_eq!(json(&bench, &["holds"], 0), json(&bench, &["hold", "list"], 0));
}

#[test]
fn vms_shows_what_costs_money_for_nobody_and_how_azure_differs() {
    let bench = bench();
    let vms = json(&bench, &["vms", "--azure"], 0);
    assert_eq!(row(&vms, "n1")["is_in_use"], true, "{vms}");
    assert_eq!(row(&vms, "n2")["is_in_use"], false, "{vms}");
    assert_eq!(row(&vms, "n2")["azure"], "Succeeded/running", "{vms}");
    assert_eq!(row(&vms, "n2")["difference"], Value::Null, "{vms}");
    assert_names(&sync(&bench, &["vms", "n2"], 0), &["n2-", "running", "Slurm does not use it"]);
    let vms = json(&bench, &["vms", "--azure", "n1"], 0);
    assert_eq!(vms["rows"].as_array().unwrap().len(), 1, "{vms}");
    // The ledger is lost: Azure alone has them.
    for ending in ["", "-wal", "-shm"] {
        let _may_be_absent = fs::remove_file(format!("{}{ending}", bench.ledger_path().display()));
    }
    drop(azslurm_ledger::Ledger::open(&bench.ledger_path()).unwrap());
    let vms = json(&bench, &["vms", "--azure"], 0);
    assert_eq!(row(&vms, "n2")["difference"], "only-in-azure", "{vms}");
    assert_eq!(row(&vms, "n2")["state"], Value::Null, "{vms}");
    let nodes = sync(&bench, &["nodes", "--azure", "n[1-2]"], 0);
    assert_names(&nodes, &["not in the ledger", "IDLE+CLOUD+POWERED_DOWN"]);
}

#[test]
fn an_ended_vm_is_shown_to_whoever_asks_for_all() {
    let bench = bench();
    wait_longer_for("n2 to be gone", || {
        sync(&bench, &["pass"], 0);
        let attempts = bench.ledger().attempts_latest().unwrap();
        attempts.iter().any(|one| one.state == AttemptState::Gone)
    });
    let rows = |vms: Value| vms["rows"].as_array().unwrap().len();
    assert_eq!(rows(json(&bench, &["vms"], 0)), 1);
    let vms = json(&bench, &["vms", "--all"], 0);
    assert_eq!(row(&vms, "n2")["state"], "gone");
    assert_eq!(row(&vms, "n2")["is_in_use"], Value::Null);
    assert_eq!(rows(vms), 2);
}

#[test]
fn whoever_looks_while_nobody_answers_is_told_so_and_waits_a_bounded_time() {
    let bench = bench();
    sync(&bench, &["pass"], 0);
    let text = fs::read_to_string(bench.config_path()).unwrap();
    let arm = bench.emulator.endpoints().resource_graph.clone();
    // Nothing listens on port 1.
    let text = ["resource_graph", "resource_manager"].iter().fold(text, |text, key| {
        let there = format!("{key} = \"{arm}\"");
        text.replace(&there, &format!("{key} = \"http://127.0.0.1:1\""))
    });
    bench.write_config(&text);
    let hangs = "#!/bin/sh\nexec /bin/sleep 600\n";
    fs::write(bench.dir.path().join("bin/scontrol"), hangs).unwrap();
    for words in [&["status"][..], &["vms", "--azure"]] {
        let begun = Instant::now();
        let shown = json(&bench, words, 1);
        // Fifteen seconds for each source; a minute of `command_timeout_seconds` is not waited.
        assert!(begun.elapsed() < Duration::from_secs(55), "{words:?}");
        let slurm = source(&shown, "slurmctld");
        assert_names(slurm["unknown"].as_str().unwrap(), &["no answer within 15 s"]);
        assert!(slurm["age_seconds"].is_u64(), "a pass has known it: {slurm}");
        assert_eq!(source(&shown, "ledger")["age_seconds"], 0);
        if words.contains(&"--azure") {
            assert_names(source(&shown, "azure")["unknown"].as_str().unwrap(), &["azure"]);
        }
    }
    fs::remove_file(bench.dir.path().join("bin/scontrol")).unwrap();
    let story = sync(&bench, &["explain", "n1"], 0);
    assert_names(&story, &["slurmctld  last complete", "since then: cannot run", "No such file"]);
    let nodes = sync(&bench, &["nodes", "n1"], 1);
    assert_names(&nodes, &["slurmctld  last complete", "n1-", "running"]);
    sync(&bench, &["holds"], 0);
    sync(&bench, &["events", "--node", "n1"], 0);
    sync(&bench, &["plan", "n3"], 0);
}
