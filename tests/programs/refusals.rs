//! What Azure refuses, and what it does not answer.

use azslurm_core::attempt::AttemptState;
use serde_json::json;

use crate::bench::{Bench, all, assert_names, said};

#[test]
fn arm_that_cannot_be_reached_refuses_the_nodes_and_holds_the_site() {
    let bench = Bench::start();
    let arm = bench.emulator.endpoints().arm_http.clone();
    // Nothing listens on port 1. Two tries, so that the test need not wait for five.
    let text = bench.config("[limits]\ntries = 2\n");
    bench.write_config(&text.replace(
        &format!("resource_manager = \"{arm}\""),
        "resource_manager = \"http://127.0.0.1:1\"",
    ));
    said(&bench.run("azslurm-resume", &["n[1-3]"]), 0);
    let attempts = bench.attempts("refusals", all(AttemptState::Refused));
    assert_eq!(attempts.len(), 3);
    let says = attempts[0].says.clone().unwrap();
    assert_eq!(says.code, "AzureUnreachable");
    assert_names(&says.text, &["127.0.0.1", "nothing was sent", "Connection refused"]);
    bench.wait_for_the_driver();
    assert_names(&bench.log(), &["AzureUnreachable"]);
    // The site is held: the next request is refused without a call.
    let output = bench.run("azslurm-resume", &["--dry-run", "n9"]);
    assert_names(&String::from_utf8_lossy(&output.stdout), &["n9: cannot come now", "next try"]);
    let status = bench.run("azslurm-sync", &["status"]);
    assert_eq!(status.status.code(), Some(1));
}

#[test]
fn a_refused_token_refuses_the_nodes_without_showing_the_secret() {
    let bench = Bench::start();
    let secret = "[credential]\ntype = \"client-secret\"\n\
        tenant_id = \"00000000-0000-0000-0000-00000000000a\"\n\
        client_id = \"00000000-0000-0000-0000-00000000000b\"\nclient_secret = \"hunter2\"\n";
    bench.write_config(&bench.config(secret));
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    let attempts = bench.attempts("a refusal", all(AttemptState::Refused));
    let says = attempts[0].says.clone().unwrap();
    assert_eq!(says.code, "NoToken");
    assert_names(&says.text, &["AADSTS"]);
    bench.wait_for_the_driver();
    assert!(!format!("{says:?}{}", bench.log()).contains("hunter2"));
    assert_eq!(
        bench.emulator.resources().unwrap().iter().filter(|r| r.is_a("virtualMachines")).count(),
        0
    );
}

#[test]
fn a_403_on_one_site_costs_the_other_nothing() {
    let bench = Bench::start();
    let north = "[site.north]\nsubscription = \"00000000-0000-0000-0000-000000000001\"\n\
        region = \"northeurope\"\nresource_group = \"hpc-north\"\n\
        subnet = \"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net-north/\
        providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute\"\n\
        [nodeset.m]\nnodes = \"m[1-2]\"\nsites = [\"north\"]\nsku = \"Standard_D4s_v5\"\n\
        image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\n";
    let more = format!("{north}ssh_public_key = \"{}\"\n", crate::bench::KEY);
    bench.write_config(&bench.config(&more));
    let denied = json!({ "error": { "code": "AuthorizationFailed",
        "message": "The client does not have authorization to perform action write" } });
    bench
        .emulator
        .add_fault(&json!({
            "method": "PUT", "path_contains": "/resourceGroups/hpc-north/", "times": 100,
            "status": 403, "body": denied, "kind": "answer", "headers": { "x-ms-request-id": "r1" },
        }))
        .unwrap();
    said(&bench.run("azslurm-resume", &["n[1-2],m[1-2]"]), 0);
    let attempts = bench.attempts("two VMs and two refusals", |attempts| {
        let of = |state| attempts.iter().filter(|a| a.state == state).count();
        of(AttemptState::Running) == 2 && of(AttemptState::Refused) == 2
    });
    let refused = attempts.iter().find(|a| a.is.node.as_str() == "m1").unwrap();
    assert_eq!(refused.says.as_ref().unwrap().code, "AuthorizationFailed");
    assert_eq!(refused.says.as_ref().unwrap().request_id.as_deref(), Some("r1"));
    bench.wait_for_the_driver();
    let holds = bench.ledger().holds(azslurm_core::Timestamp::from_millis(0)).unwrap();
    let scopes: Vec<&str> = holds.iter().map(|hold| hold.scope.as_str()).collect();
    assert_eq!(scopes, ["site:north"]);
}

#[test]
fn an_answer_that_is_lost_makes_one_vm_and_no_second() {
    for kind in ["drop-after", "lost-answer", "drop-before"] {
        let bench = Bench::start();
        bench
            .emulator
            .add_fault(&json!({
                "method": "PUT", "path_contains": "/virtualMachines/", "times": 1, "kind": kind,
            }))
            .unwrap();
        bench.write_config(&bench.config("[limits]\nrequest_timeout_seconds = 2\n"));
        said(&bench.run("azslurm-resume", &["n1"]), 0);
        bench.attempts("the VM", all(AttemptState::Running));
        bench.wait_for_the_driver();
        let resources = bench.emulator.resources().unwrap();
        let vms = resources.iter().filter(|r| r.is_a("virtualMachines")).count();
        assert_eq!(vms, 1, "{kind}");
    }
}

#[test]
fn a_throttle_is_waited_for_and_refuses_nobody() {
    let bench = Bench::start();
    bench
        .emulator
        .add_fault(&json!({
            "method": "PUT", "path_contains": "/virtualMachines/", "times": 1, "kind": "answer",
            "status": 429, "headers": { "Retry-After": "2" },
            "body": { "error": { "code": "OperationNotAllowed", "message": "throttled",
                "details": [{ "code": "TooManyRequests", "message": "{}" }] } },
        }))
        .unwrap();
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    bench.attempts("the VM", all(AttemptState::Running));
    bench.wait_for_the_driver();
    assert!(bench.ledger().holds(azslurm_core::Timestamp::from_millis(0)).unwrap().is_empty());
    assert_eq!(bench.calls("PUT", "/virtualMachines/{name}"), 2);
}

#[test]
fn suspend_finds_a_vm_that_the_ledger_has_lost() {
    let bench = Bench::start();
    said(&bench.run("azslurm-resume", &["n[1-2]"]), 0);
    bench.attempts("two VMs", |attempts| {
        attempts.len() == 2 && all(AttemptState::Running)(attempts)
    });
    bench.wait_for_the_driver();
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", bench.ledger_path().display());
        if std::path::Path::new(&file).exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
    said(&bench.run("azslurm-suspend", &["n[1-2]"]), 0);
    crate::bench::wait_for("both VMs to be gone", || bench.emulator.vms().unwrap().is_empty());
    assert_names(&bench.log(), &["the ledger did not know"]);
}

#[test]
fn a_throttle_that_one_program_gets_is_heeded_by_all_and_holds_after_its_death() {
    let bench = Bench::start();
    bench
        .emulator
        .add_fault(&json!({
            "method": "PUT", "path_contains": "/virtualMachines/", "times": 1, "kind": "answer",
            "status": 429, "headers": { "Retry-After": "12" },
            "body": { "error": { "code": "TooManyRequests", "message": "throttled" } },
        }))
        .unwrap();
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    let closed = || {
        let budgets = bench.ledger().budgets().unwrap();
        budgets.into_iter().find_map(|budget| budget.bucket.closed_until)
    };
    crate::bench::wait_for("the throttle to be in the ledger", || closed().is_some());
    let until = closed().unwrap();
    said(&bench.run("azslurm-resume", &["n2"]), 0);
    bench.attempts("two VMs", |attempts| {
        attempts.len() == 2 && all(AttemptState::Running)(attempts)
    });
    let log = bench.emulator.log(0).unwrap();
    let puts: Vec<_> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["method"] == "PUT" && entry["status"] != 429)
        .map(|entry| entry["at"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(puts.len(), 2, "{puts:?}");
    // `at` is RFC 3339 with milliseconds, as text: seconds suffice.
    let until = until.minus(std::time::Duration::from_secs(1)).to_string();
    let is_after = |at: &String| at[..19] >= until[..19];
    assert!(puts.iter().all(is_after), "{puts:?} before {until}");
}

#[test]
fn a_pass_that_cannot_ask_slurmctld_destroys_nothing() {
    let bench = Bench::start();
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    bench.attempts("the VM", all(AttemptState::Running));
    bench.wait_for_the_driver();
    let output = bench.run("azslurm-sync", &["--json", "pass", "--wait", "1"]);
    assert_eq!(output.status.code(), Some(1), "it says that it could not ask");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["slurm_unknown"].as_str().unwrap().contains("scontrol"), "{report}");
    assert_eq!(report["lines"].as_array().unwrap().len(), 0, "{report}");
    assert_eq!(bench.calls("DELETE", "/virtualMachines/{name}"), 0);
    assert_eq!(bench.emulator.vms().unwrap().len(), 1);
}

#[test]
fn a_deletion_that_was_decided_is_sent_by_a_pass_even_while_slurmctld_is_away() {
    let bench = Bench::start();
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    bench.attempts("the VM", all(AttemptState::Running));
    bench.wait_for_the_driver();
    let refused = json!({ "error": { "code": "InternalServerError", "message": "no" } });
    bench
        .emulator
        .add_fault(&json!({
            "method": "DELETE", "path_contains": "/virtualMachines/", "times": 100,
            "status": 400, "body": refused, "kind": "answer",
        }))
        .unwrap();
    said(&bench.run("azslurm-suspend", &["n1"]), 0);
    bench.wait_for_the_driver();
    let attempts = bench.attempts("the decision", all(AttemptState::DeleteIntended));
    assert_eq!(attempts[0].says.as_ref().unwrap().code, "InternalServerError");
    assert_names(&bench.log(), &["goes on costing money"]);
    bench.emulator.clear_faults().unwrap();
    crate::bench::wait_for("passes to delete it", || {
        bench.run("azslurm-sync", &["pass", "--wait", "1"]);
        bench.emulator.vms().unwrap().is_empty()
    });
    bench.run("azslurm-sync", &["pass", "--wait", "1"]);
    bench.attempts("its end", all(AttemptState::Gone));
}

#[test]
fn a_ca_bundle_that_is_not_there_refuses_the_nodes_at_once() {
    let bench = Bench::start();
    let ca = bench.dir.path().join("ca.pem").display().to_string();
    bench.write_config(&bench.config("").replace(&ca, "/nonexistent/ca.pem"));
    said(&bench.run("azslurm-resume", &["n[1-2]"]), 0);
    let attempts = bench.attempts("two refusals", |attempts| {
        attempts.len() == 2 && all(AttemptState::Refused)(attempts)
    });
    assert_names(&attempts[0].says.as_ref().unwrap().text, &["/nonexistent/ca.pem"]);
    bench.wait_for_the_driver();
    assert_eq!(bench.emulator.calls().unwrap().total, 0);
    // A pass says so too, and goes on with what does not depend on Azure.
    let output = bench.run("azslurm-sync", &["--json", "pass", "--wait", "1"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn nodes_that_are_refused_together_are_tried_again_together() {
    let bench = Bench::start();
    bench.emulator.set_quota("westeurope", "standardDSv5Family", 0).unwrap();
    bench.run("azslurm-resume", &["n[1-40]"]);
    bench.wait_for_the_driver();
    let ledger = rusqlite::Connection::open(bench.ledger_path()).unwrap();
    let counts = "SELECT count(*), count(DISTINCT until) FROM holds WHERE scope LIKE 'node:%'";
    let counts: (i64, i64) =
        ledger.query_row(counts, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(counts, (40, 1));
}
