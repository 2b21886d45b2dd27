//! `azslurm-sync record` and `replay`: what a pass would do, on another day and another machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use azslurm_core::attempt::AttemptState;
use serde_json::Value;

use crate::bench::{Bench, all, assert_names, said};
use crate::verbs::{json, sync};

/// A slurmctld in whose words n1 is up, n2 is off, n3 boots and n4 is not known.
fn with_slurmctld(bench: &Bench) {
    bench.scontrol(
        "NodeName=n1 State=IDLE+CLOUD Partitions=p\n\
         NodeName=n2 State=IDLE+CLOUD+POWERED_DOWN Partitions=p\n\
         NodeName=n3 State=ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP Partitions=p\n",
    );
}

fn files(dir: &PathBuf) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_recorded_pass_replays_to_the_same_report_when_everything_has_changed() {
    let bench = Bench::start();
    with_slurmctld(&bench);
    said(&bench.run("azslurm-resume", &["n[1-2],n4"]), 0);
    bench.attempts("the VMs", all(AttemptState::Running));
    bench.wait_for_the_driver();
    let dry = json(&bench, &["pass", "--dry-run"], 0);
    let actions: Vec<&str> = dry["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line["action"].as_str())
        .collect();
    assert!(actions.contains(&"Delete") && actions.contains(&"Resume"), "{dry}");
    let dir = bench.dir.path().join("record");
    let dir_text = dir.display().to_string();
    let recorded = json(&bench, &["record", &dir_text], 0);
    assert_eq!(recorded["report"], dry);
    let before: Vec<Vec<u8>> = files(&dir).iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(before.len(), 5);
    for file in files(&dir) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Nothing of what was recorded is left, and no config is read.
    said(&bench.run("azslurm-suspend", &["n[1-4]"]), 0);
    bench.attempts("no VM", |attempts| attempts.iter().all(|one| !one.state.is_wanted()));
    bench.wait_for_the_driver();
    fs::remove_file(bench.config_path()).unwrap();
    bench.emulator.reset_calls().unwrap();
    assert_eq!(json(&bench, &["replay", &dir_text], 0), dry);
    assert_names(&sync(&bench, &["replay", &dir_text], 0), &["dry run: 1000 nodes, 3 VMs"]);
    let after: Vec<Vec<u8>> = files(&dir).iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(after, before, "a replay changes nothing");
    assert_eq!(bench.emulator.calls().unwrap().total, 0);
}

#[test]
fn a_record_says_what_could_not_be_asked_and_holds_no_secret() {
    let bench = Bench::start();
    let secret = "[credential]\ntype = \"client-secret\"\n\
        tenant_id = \"00000000-0000-0000-0000-00000000000a\"\n\
        client_id = \"00000000-0000-0000-0000-00000000000b\"\nclient_secret = \"hunter2\"\n";
    bench.write_config(&bench.config(secret));
    drop(azslurm_ledger::Ledger::open(&bench.ledger_path()).unwrap());
    let dir = bench.dir.path().join("record");
    fs::create_dir(&dir).unwrap();
    let dir_text = dir.display().to_string();
    let recorded = json(&bench, &["record", &dir_text], 0);
    assert_ne!(recorded["report"]["slurm_unknown"], Value::Null);
    assert_eq!(recorded["report"]["azure_incomplete"].as_array().unwrap().len(), 1);
    for file in files(&dir) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("hunter2"), "{}", file.display());
    }
    assert_eq!(json(&bench, &["replay", &dir_text], 1), recorded["report"]);
}

#[test]
fn a_folder_that_is_not_empty_and_one_that_is_no_record_are_refused() {
    let bench = Bench::start();
    let dir = bench.dir.path().join("record");
    fs::create_dir(&dir).unwrap();
    let dir_text = dir.display().to_string();
    let text = said(&bench.run("azslurm-sync", &["replay", &dir_text]), 2);
    assert_names(&text, &["record.json", "is its folder a record of `azslurm-sync record`?"]);
    fs::write(dir.join("notes"), "mine").unwrap();
    let text = said(&bench.run("azslurm-sync", &["record", &dir_text]), 2);
    assert_names(&text, &[&dir_text, "is not empty"]);
    assert_eq!(files(&dir).len(), 1);
    let newer = r#"{"format": 9, "version": "7.0.0", "at": 0, "at_text": "", "alive": [],
        "slurm_unknown": null, "azure_incomplete": []}"#;
    fs::write(dir.join("record.json"), newer).unwrap();
    let text = said(&bench.run("azslurm-sync", &["replay", &dir_text]), 2);
    assert_names(&text, &["record.json", "format 9", "7.0.0", "knows 1"]);
}
