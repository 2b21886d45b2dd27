//! What a pass concludes from Azure's list, and what not: refused, failing, short, empty, behind;
//! and what stands in the same resource group and is not ours.

use serde_json::{Value, json};

use azslurm_core::attempt::AttemptState;

use crate::bench::{Bench, assert_names, said};
use crate::world::{
    Made, alive, all_are, change, made, old, pass, run, seed, slurm_says, spot, updates,
};

const UP: &str = "IDLE+CLOUD";
const OFF: &str = "IDLE+CLOUD+POWERED_DOWN";
const GRAPH: &str = "/providers/Microsoft.ResourceGraph/resources";

/// Calls that change something in Azure, with their paths.
fn writes(bench: &Bench) -> Vec<String> {
    let log = bench.log_of_calls();
    let is_write = |entry: &&Value| {
        let path = entry["path"].as_str().unwrap_or_default();
        entry["method"] != "GET" && !path.contains("ResourceGraph") && !path.contains("oauth2")
    };
    log.iter()
        .filter(is_write)
        .map(|entry| format!("{} {}", entry["method"], entry["path"]))
        .collect()
}

fn states(bench: &Bench) -> Vec<AttemptState> {
    bench.ledger().attempts_latest().unwrap().iter().map(|attempt| attempt.state).collect()
}

fn graph_answers(bench: &Bench, status: u16, times: u32) {
    let code = json!({"error": {"code": "AuthorizationFailed", "message": "not here"}});
    let fault = json!({"path_contains": "ResourceGraph", "times": times, "status": status,
        "body": code});
    bench.emulator.add_fault(&fault).unwrap();
}

/// Without it a failing call is repeated for half a minute.
fn tries_once(bench: &Bench) {
    let text = std::fs::read_to_string(bench.config_path()).unwrap();
    bench.write_config(&format!("{text}[limits]\ntries = 1\n"));
}

#[test]
fn where_resource_graph_is_refused_vms_are_listed_group_by_group_and_nothing_is_missed() {
    for (status, is_asked_again) in [(403, false), (404, false), (500, false)] {
        let bench = Bench::start();
        all_are(&bench, &["n1", "n2", "n3"], UP);
        tries_once(&bench);
        // n3 is young: Resource Graph would say nothing about it for two minutes, a list does.
        run(
            &bench,
            &[old("n1"), spot("n2", "Deallocate"), made("n3", std::time::Duration::from_secs(20))],
        );
        graph_answers(&bench, status, 1000);
        let report = pass(&bench, &[], 0);
        assert_eq!(report["azure_incomplete"], json!([]), "{report}");
        let instead = report["azure_instead"].to_string();
        assert_names(&instead, &["west", "Resource Graph cannot be used", &status.to_string()]);
        assert_eq!(states(&bench), [AttemptState::Running; 3], "{status}: nothing has changed");
        let gone = bench.ledger().attempts_latest().unwrap()[2].is.vm.to_string();
        bench.emulator.post("/vms", &json!({"vm": gone, "vanish": true})).unwrap();
        bench.emulator.evict("n2").unwrap();
        let asked = bench.calls("POST", GRAPH);
        pass(&bench, &[], 0);
        assert_eq!(bench.calls("POST", GRAPH) > asked, is_asked_again, "it is remembered");
        let told = updates(&bench).join("\n");
        assert_names(
            &told,
            &["nodename=n2", "nodename=n3", "state=power_down_force", "deallocated"],
        );
        assert!(!told.contains("n1"), "{told}");
        assert_eq!(states(&bench)[0], AttemptState::Running);
        assert_ne!(states(&bench)[1], AttemptState::Running);
        assert_ne!(states(&bench)[2], AttemptState::Running);
    }
}

#[test]
fn a_list_that_has_shrunk_deletes_nothing_and_says_so_and_one_that_is_whole_again_does() {
    let bench = Bench::start();
    let nodes = [("n1", OFF), ("n2", UP), ("n3", UP), ("n4", UP), ("n5", UP)];
    let nodes: Vec<(String, &str)> = nodes.map(|(node, state)| (node.to_owned(), state)).into();
    slurm_says(&bench, &nodes);
    // An orphan that the list shows, of a node that is off; then the list stands still.
    run(&bench, &[]);
    seed(&bench, &[old("n1")]);
    let report = pass(&bench, &["--dry-run"], 0);
    assert_names(&report["orphans"].to_string(), &["n1", "Delete", "NobodyWaits"]);
    bench.emulator.set_graph_lag(std::time::Duration::from_secs(3600)).unwrap();
    run(&bench, &[old("n2"), old("n3"), old("n4"), old("n5")]);
    let report = pass(&bench, &[], 1);
    assert_names(&report["azure_incomplete"].to_string(), &["shows 0 of 4", "no VM is deleted"]);
    assert_names(&report["orphans"].to_string(), &["n1", "Leave", "ListIsNotWhole"]);
    assert_eq!(writes(&bench), Vec::<String>::new());
    assert_eq!(updates(&bench), Vec::<String>::new());
    assert_eq!(bench.calls("GET", "/virtualMachines/{name}"), 4, "each missing one was asked for");
    // One of them is really gone: that is found all the same, by asking for it.
    bench.emulator.post("/vms", &json!({"vm": "n5", "vanish": true})).unwrap();
    pass(&bench, &[], 1);
    assert_names(&updates(&bench).join("\n"), &["nodename=n5", "state=power_down_force"]);
    bench.emulator.set_graph_lag(std::time::Duration::ZERO).unwrap();
    pass(&bench, &[], 0);
    pass(&bench, &[], 0);
    let left = alive(&bench, "virtualMachines");
    assert_eq!(left.len(), 3, "the orphan has gone: {left:?}");
}

#[test]
fn a_list_that_is_a_minute_behind_makes_no_orphan_of_a_vm_that_is_just_gone() {
    let bench = Bench::start();
    all_are(&bench, &["n1"], "IDLE+CLOUD+POWERING_DOWN");
    run(&bench, &[old("n1")]);
    pass(&bench, &["--dry-run"], 0);
    bench.emulator.set_graph_lag(std::time::Duration::from_secs(60)).unwrap();
    said(&bench.run("azslurm-suspend", &["n1"]), 0);
    bench.wait_for_the_driver();
    for _ in 0..3 {
        let report = pass(&bench, &[], 0);
        assert_eq!(report["orphans"], json!([]), "{report}");
    }
    assert_eq!(states(&bench), [AttemptState::Gone]);
    assert_eq!(alive(&bench, "virtualMachines"), Vec::<String>::new());
    let deletes = writes(&bench).iter().filter(|call| call.contains("DELETE")).count();
    assert_eq!(deletes, 1, "{:?}", writes(&bench));
}

#[test]
fn a_deletion_that_azure_accepted_and_then_failed_is_sent_again_until_the_vm_is_gone() {
    let bench = Bench::start();
    all_are(&bench, &["n1"], "IDLE+CLOUD+POWERING_DOWN");
    run(&bench, &[old("n1")]);
    let error = json!({"error": {"code": "InternalExecutionError", "message": "try again"}});
    let fault = json!({"method": "DELETE", "path_contains": "virtualMachines/n1",
        "kind": "fail-operation", "body": error, "status": 500});
    bench.emulator.add_fault(&fault).unwrap();
    let mut codes = Vec::new();
    for _ in 0..6 {
        let output = bench.run("azslurm-sync", &["pass", "--wait", "20"]);
        codes.push(output.status.code());
        if states(&bench) == [AttemptState::Gone] {
            break;
        }
    }
    assert_eq!(states(&bench), [AttemptState::Gone], "{codes:?}");
    assert_eq!(alive(&bench, "virtualMachines"), Vec::<String>::new());
    let deletes = writes(&bench).iter().filter(|call| call.contains("DELETE")).count();
    assert_eq!(deletes, 2, "{:?}", writes(&bench));
    let text = format!("{:?}", bench.ledger().events(&Default::default()).unwrap());
    assert_names(&text, &["InternalExecutionError"]);
}

#[test]
fn nothing_of_others_in_the_same_group_ever_gets_a_write() {
    let bench = Bench::start();
    let nodes = [("n1", OFF), ("n2", OFF), ("static1", "IDLE"), ("login", "DOWN")];
    slurm_says(&bench, &nodes.map(|(node, state)| (node.to_owned(), state)));
    run(&bench, &[]);
    // Foreign: no tags, and a name as ours. Another cluster's: for a node that we have as well.
    // Ours by tag and by nothing else: a node that does not exist, a name that is no node's, the
    // tag of a node with the name of another; and a static node that has a tag.
    let foreign = Made { tags: json!({}), ..old("n1") };
    let mut other = old("n2");
    other.tags["azslurm-cluster"] = json!("another");
    let mut unknown = old("q9");
    unknown.node = "q9".to_owned();
    let mut odd = old("n1");
    odd.vm = "my-own-vm".parse().unwrap();
    let mut mixed = old("n2");
    mixed.tags["azslurm-node"] = json!("n1");
    let mut fixed = old("static1");
    fixed.node = "static1".to_owned();
    seed(&bench, &[foreign, other, unknown, odd, mixed, fixed]);
    // What they leave behind is theirs as well.
    let before = bench.emulator.alive().unwrap().len();
    pass(&bench, &[], 0);
    said(&bench.run("azslurm-suspend", &["n[1-2]"]), 0);
    bench.wait_for_the_driver();
    pass(&bench, &["--force"], 0);
    said(&bench.run("azslurm-resume-fail", &["n[1-2]"]), 0);
    bench.wait_for_the_driver();
    change_time(&bench);
    pass(&bench, &["--force"], 0);
    assert_eq!(writes(&bench), Vec::<String>::new());
    assert_eq!(bench.emulator.alive().unwrap().len(), before);
    let told = updates(&bench).join("\n");
    assert!(!told.contains("static1") && !told.contains("login"), "{told}");
}

/// The next pass looks for leftovers again.
fn change_time(bench: &Bench) {
    change(bench, "DELETE FROM facts WHERE key = 'leftovers-looked'");
}

#[test]
fn a_slurmctld_that_has_just_begun_is_not_believed_that_a_node_is_off() {
    let bench = Bench::start();
    all_are(&bench, &["n1"], OFF);
    let young = format!("BOOT_TIME               = {}\n", &crate::world::now().to_string()[..19]);
    let config = bench.dir.path().join("bin/config");
    let settled = std::fs::read_to_string(&config).unwrap();
    run(&bench, &[old("n1")]);
    for text in [young.as_str(), "SLURM_VERSION = 22.05.8\n"] {
        std::fs::write(&config, text).unwrap();
        pass(&bench, &[], 0);
        assert_eq!(states(&bench), [AttemptState::Running], "{text}");
        assert_eq!(writes(&bench), Vec::<String>::new());
    }
    std::fs::write(&config, settled).unwrap();
    pass(&bench, &[], 0);
    assert_ne!(states(&bench), [AttemptState::Running]);
}
