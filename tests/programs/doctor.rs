//! `azslurm-sync doctor`: a good installation, and each part of it broken.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::bench::{Bench, assert_names, program, said};
use crate::verbs::{json, sync};

/// All is as it should be: nodes, settings, programs, a pass.
fn bench() -> Bench {
    let bench = Bench::start();
    let nodes: String = (1..=1000)
        .map(|number| format!("NodeName=n{number} State=IDLE+CLOUD+POWERED_DOWN Partitions=p\n"))
        .collect();
    bench.scontrol(&nodes);
    let settings = format!(
        "SLURM_VERSION = 23.11.4\nSlurmUser = root(0)\nResumeProgram = {}\n\
         SuspendProgram = {}\nResumeFailProgram = {}\nResumeTimeout = 1800 sec\n\
         SuspendTimeout = 300 sec\nResumeRate = 0 nodes/min\nSuspendRate = 0 nodes/min\n\
         ReturnToService = 2\nSlurmctldParameters = idle_on_node_suspend\n",
        program("azslurm-resume").display(),
        program("azslurm-suspend").display(),
        program("azslurm-resume-fail").display(),
    );
    set(&bench, &settings);
    sync(&bench, &["pass"], 0);
    bench
}

fn set(bench: &Bench, settings: &str) {
    fs::write(bench.dir.path().join("bin/config"), settings).unwrap();
}

fn change_config(bench: &Bench, old: &str, new: &str) {
    let text = fs::read_to_string(bench.config_path()).unwrap();
    assert!(text.contains(old), "{old} is not in {text}");
    bench.write_config(&text.replace(old, new));
}

/// The findings that are not ok, as `check level text`.
fn faults(doctor: &Value) -> Vec<String> {
    let bad = doctor["findings"].as_array().unwrap().iter().filter(|one| one["level"] != "ok");
    let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let line = |one: &Value| {
        assert!(one["fix"].is_string(), "{one}");
        format!("{} {} {}", word(one, "check"), word(one, "level"), word(one, "text"))
    };
    bad.map(line).collect()
}

/// Exactly one fault, with these words.
fn one_fault(bench: &Bench, words: &[&str]) {
    let doctor = json(bench, &["doctor"], 1);
    let faults = faults(&doctor);
    assert_eq!(faults.len(), 1, "{words:?}: {faults:?}");
    assert_names(&faults[0], words);
}

#[test]
fn a_good_installation_is_found_good_and_nothing_is_changed() {
    let bench = bench();
    let before = fs::read(bench.ledger_path()).unwrap();
    let doctor = json(&bench, &["doctor"], 0);
    let checks: Vec<&str> = doctor["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["check"].as_str().unwrap())
        .collect();
    for check in
        ["config", "log", "slurmctld", "slurm-conf", "nodes", "user", "ledger", "passes", "clock"]
    {
        assert!(checks.contains(&check), "{check} {checks:?}");
    }
    let text = sync(&bench, &["doctor"], 0);
    assert_names(
        &text,
        &[
            "a token for west, as the system-assigned managed identity",
            "site west: resource group hpc is there",
            "virtualNetworks/vnet/subnets/compute is there",
            "Resource Graph answers for west",
            "all 1000 are in slurm.conf",
            "all is as it should be",
        ],
    );
    assert_eq!(fs::read(bench.ledger_path()).unwrap(), before);
}

#[test]
fn each_broken_part_of_the_installation_costs_its_own_finding_and_no_other() {
    let bench = bench();
    let good = fs::read_to_string(bench.config_path()).unwrap();
    change_config(&bench, "subnets/compute", "subnets/absent");
    one_fault(&bench, &["azure error site west: subnet /subs", "subnets/absent does not exist"]);
    bench.write_config(&good);
    change_config(&bench, "resource_group = \"hpc\"", "resource_group = \"gone\"");
    one_fault(&bench, &["azure error site west: resource group gone does not exist"]);
    bench.write_config(&good);
    let graph = bench.emulator.endpoints().resource_graph.clone();
    let graph = format!("resource_graph = \"{graph}\"");
    change_config(&bench, &graph, "resource_graph = \"http://127.0.0.1:1\"");
    one_fault(&bench, &["azure error Resource Graph does not answer for west", "127.0.0.1"]);
    bench.write_config(&good);
    let imds = bench.emulator.endpoints().imds.clone();
    change_config(&bench, &format!("imds = \"{imds}\""), "imds = \"http://127.0.0.1:1\"");
    one_fault(&bench, &["azure error no token for west, as the system-assigned managed identity"]);
    bench.write_config(&good);
    change_config(&bench, "nodes = \"n[1-1000]\"", "nodes = \"n[1-999],m1\"");
    let faults = faults(&json(&bench, &["doctor"], 1));
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_names(&faults[0], &["nodes error nodeset n has m1"]);
    assert_names(&faults[1], &["nodes warning n1000 are CLOUD nodes in no nodeset"]);
}

#[test]
fn without_config_ledger_or_slurmctld_all_else_is_checked() {
    let bench = bench();
    let scontrol = bench.dir.path().join("bin/scontrol");
    fs::rename(&scontrol, bench.dir.path().join("bin/away")).unwrap();
    one_fault(&bench, &["slurmctld error cannot run", "bin/scontrol"]);
    fs::rename(bench.dir.path().join("bin/away"), &scontrol).unwrap();
    let settings = fs::read_to_string(bench.dir.path().join("bin/config")).unwrap();
    set(&bench, &settings.replace("ReturnToService = 2", "ReturnToService = 1"));
    one_fault(&bench, &["slurm-conf warning ReturnToService is 1"]);
    set(&bench, &settings);
    for ending in ["-wal", "-shm"] {
        let _may_be_absent = fs::remove_file(format!("{}{ending}", bench.ledger_path().display()));
    }
    fs::write(bench.ledger_path(), "no ledger\n".repeat(1000)).unwrap();
    one_fault(&bench, &["ledger error", "is not a ledger, nor any SQLite file"]);
    change_config(&bench, "/ledger.db\"", "/absent/ledger.db\"");
    one_fault(&bench, &["ledger error the ledger's folder", "absent cannot be used: "]);
    fs::write(bench.config_path(), "[cluster]\nnam = 1\n").unwrap();
    let output: Output = bench.run("azslurm-sync", &["--json", "doctor"]);
    said(&output, 1);
    let doctor: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = faults(&doctor);
    assert_names(&faults[0], &["config error", "azslurm.toml:2", "nam"]);
    // Without a config it is not known where scontrol is; the usual place is tried.
    assert!(faults.iter().all(|fault| !fault.starts_with("azure") && !fault.starts_with("ledger")));
}
