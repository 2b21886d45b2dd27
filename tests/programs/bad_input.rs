//! Bad input: one clear error that names file, line, key, what was found and what is allowed; an
//! exit code; and nothing changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use azslurm_core::attempt::AttemptState;

use crate::bench::{Bench, all, assert_names, program, said};

/// Nothing was asked of Azure, and no ledger was made.
fn assert_untouched(bench: &Bench) {
    assert_eq!(bench.emulator.calls().unwrap().total, 0);
    assert!(!bench.ledger_path().exists(), "a ledger was made");
}

#[test]
fn no_config_names_the_path_and_the_ways_to_name_another() {
    let bench = Bench::start();
    fs::remove_file(bench.config_path()).unwrap();
    for name in ["azslurm-resume", "azslurm-suspend", "azslurm-resume-fail"] {
        let text = said(&bench.run(name, &["n1"]), 2);
        let path = bench.config_path();
        assert_names(&text, &[name, path.to_str().unwrap(), "--config", "AZSLURM_CONFIG"]);
    }
    said(&bench.run("azslurm-sync", &["pass"]), 2);
    assert_untouched(&bench);
}

#[test]
fn every_error_of_a_config_is_told_at_once_with_its_place() {
    let bench = Bench::start();
    let text = bench
        .config("")
        .replace("sku = ", "skuu = ")
        .replace("region = \"westeurope\"", "region = \"West Europe\"");
    bench.write_config(&text);
    let line = |word: &str| text.lines().position(|line| line.contains(word)).unwrap() + 1;
    let text = said(&bench.run("azslurm-resume", &["n1"]), 2);
    let path = bench.config_path().display().to_string();
    assert_names(
        &text,
        &[
            &format!("{path}:{}:", line("skuu")),
            "skuu",
            "did you mean",
            &format!("{path}:{}:", line("West Europe")),
            "West Europe",
        ],
    );
    assert_untouched(&bench);
}

#[test]
fn a_config_that_is_wrong_shows_no_value_of_a_secret() {
    for line in [
        "client_secret = \"hunter2",
        "client_secret = \"hunter2\" x",
        "client_secret = hunter2",
        "client_secret = 5hunter2",
        "client_sekret = \"hunter2\"",
        "client_secret = [\"hunter2\"]",
        "client_secret = \"\"\"\nhunter2",
        "client_secret = \"hunter2\"\nclient_secret = \"hunter2\"",
    ] {
        let bench = Bench::start();
        let credential = "[credential]\ntype = \"client-secret\"\ntenant_id = \"t\"\n\
            client_id = \"c\"\n";
        bench.write_config(&bench.config(&format!("{credential}{line}\n")));
        let mut seen = said(&bench.run("azslurm-resume", &["n1"]), 2);
        seen += &said(&bench.run("azslurm-sync", &["status"]), 2);
        let checked = bench.run_conf(&["check"]);
        seen += &String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat());
        assert_names(&seen, &["azslurm.toml:"]);
        assert!(!seen.contains("hunter2"), "{line}: {seen}");
    }
}

#[test]
fn a_bad_host_list_is_refused_whole() {
    let bench = Bench::start();
    for list in ["n[1-", "n[3-1]", "n1,n[2", "n[1-99999999]", "n 1;rm", "../n1"] {
        for name in ["azslurm-resume", "azslurm-suspend", "azslurm-resume-fail"] {
            let text = said(&bench.run(name, &[list]), 2);
            assert_names(&text, &[name]);
        }
    }
    let text = said(&bench.run("azslurm-resume", &["n1", "n2"]), 2);
    assert_names(&text, &["unexpected argument", "n2"]);
    assert_untouched(&bench);
}

#[test]
fn a_node_in_no_nodeset_is_named_and_the_others_go() {
    let bench = Bench::start();
    let text = said(&bench.run("azslurm-resume", &["n1,login7,n2"]), 1);
    assert_names(&text, &["not in any nodeset", "login7"]);
    let attempts = bench.attempts("two VMs", |attempts| {
        attempts.len() == 2 && all(AttemptState::Running)(attempts)
    });
    assert_eq!(attempts[0].is.node.as_str(), "n1");
    bench.wait_for_the_driver();
    let text = said(&bench.run("azslurm-suspend", &["n1,login7,n2"]), 1);
    assert_names(&text, &["login7"]);
    bench.attempts("both to be deleted", |attempts| attempts.iter().all(|a| !a.state.is_wanted()));
}

#[test]
fn a_config_that_others_may_write_is_refused() {
    let bench = Bench::start();
    fs::set_permissions(bench.config_path(), Permissions::from_mode(0o666)).unwrap();
    let text = said(&bench.run("azslurm-resume", &["n1"]), 2);
    assert_names(&text, &["may be written by others", "0666", "chmod"]);
    assert_untouched(&bench);
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    let bench = Bench::start();
    let secret = "[credential]\ntype = \"client-secret\"\n\
        tenant_id = \"00000000-0000-0000-0000-00000000000a\"\n\
        client_id = \"00000000-0000-0000-0000-00000000000b\"\nclient_secret = \"hunter2\"\n";
    bench.write_config(&bench.config(secret));
    fs::set_permissions(bench.config_path(), Permissions::from_mode(0o644)).unwrap();
    let text = said(&bench.run("azslurm-resume", &["n1"]), 2);
    assert_names(&text, &["holds a secret", "0644", "chmod o-r"]);
    assert!(!text.contains("hunter2"), "{text}");
    assert_untouched(&bench);
}

#[test]
fn a_secret_file_that_cannot_be_used_fails_the_nodes_with_its_name() {
    let bench = Bench::start();
    let file = bench.dir.path().join("secret");
    let secret = format!(
        "[credential]\ntype = \"client-secret\"\n\
         tenant_id = \"00000000-0000-0000-0000-00000000000a\"\n\
         client_id = \"00000000-0000-0000-0000-00000000000b\"\nclient_secret_file = \"{}\"\n",
        file.display()
    );
    bench.write_config(&bench.config(&secret));
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    let attempts = bench.attempts("a refusal", all(AttemptState::Refused));
    let says = attempts[0].says.clone().unwrap();
    assert_eq!(says.code, "NoToken");
    assert_names(&says.text, &["secret", file.to_str().unwrap()]);
    bench.wait_for_the_driver();
    fs::write(&file, "hunter2").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    said(&bench.run("azslurm-resume", &["n2"]), 1);
    assert_eq!(bench.calls("PUT", "/virtualMachines/{name}"), 0);
    assert!(!bench.log().contains("hunter2"));
}

#[test]
fn a_file_of_a_nodeset_that_cannot_be_read_refuses_its_nodes_only() {
    let bench = Bench::start();
    let more = format!(
        "user_data_file = \"/nonexistent/user-data\"\n[nodeset.m]\nnodes = \"m1\"\n\
         sites = [\"west\"]\nsku = \"Standard_D4s_v5\"\n\
         image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\nssh_public_key = \"{}\"\n",
        crate::bench::KEY
    );
    bench.write_config(&bench.config(&more));
    said(&bench.run("azslurm-resume", &["n1,m1"]), 1);
    let attempts = bench.attempts("one VM", all(AttemptState::Running));
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].is.node.as_str(), "m1");
    assert_names(&bench.log(), &["user_data_file", "/nonexistent/user-data"]);
}

#[test]
fn a_ledger_that_is_not_ours_is_refused_and_left_alone() {
    let bench = Bench::start();
    let foreign = rusqlite::Connection::open(bench.ledger_path()).unwrap();
    foreign.execute_batch("CREATE TABLE cats (name TEXT); PRAGMA application_id = 77;").unwrap();
    drop(foreign);
    let before = fs::read(bench.ledger_path()).unwrap();
    let text = said(&bench.run("azslurm-resume", &["n1"]), 2);
    assert_names(&text, &["ledger.db"]);
    assert_eq!(fs::read(bench.ledger_path()).unwrap(), before);
    fs::write(bench.ledger_path(), "no database at all, but long enough to be read as one")
        .unwrap();
    let text = said(&bench.run("azslurm-resume", &["n1"]), 2);
    assert_names(&text, &["ledger.db"]);
    assert_eq!(bench.emulator.calls().unwrap().total, 0);
}

#[test]
fn a_ledger_from_the_future_is_refused_with_what_to_do() {
    let bench = Bench::start();
    said(&bench.run("azslurm-sync", &["pass"]), 1);
    let ledger = rusqlite::Connection::open(bench.ledger_path()).unwrap();
    ledger.execute_batch("PRAGMA user_version = 4711").unwrap();
    drop(ledger);
    bench.emulator.reset_calls().unwrap();
    let text = said(&bench.run("azslurm-resume", &["n1"]), 2);
    assert_names(&text, &["ledger.db", "newer", "4711"]);
    assert_eq!(bench.emulator.calls().unwrap().total, 0);
}

#[test]
fn status_without_a_ledger_says_so_and_makes_none() {
    let bench = Bench::start();
    let text = said(&bench.run("azslurm-sync", &["status"]), 2);
    assert_names(&text, &["ledger.db"]);
    assert!(!bench.ledger_path().exists());
}

#[test]
fn help_and_version_need_nothing() {
    for name in ["azslurm-resume", "azslurm-suspend", "azslurm-resume-fail", "azslurm-sync"] {
        for option in ["--help", "--version"] {
            let output = std::process::Command::new(program(name)).arg(option).output().unwrap();
            assert!(output.status.success(), "{name} {option}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("azslurm"), "{name} {option}");
        }
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let bench = Bench::start();
    let output = bench.run("azslurm-resume", &["--dry-run", "n[1-2],x"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "x is unknown");
    assert_names(
        &text,
        &["n1: would create n1-", "n2: would create", "westeurope", "x: in no nodeset"],
    );
    assert_eq!(bench.emulator.calls().unwrap().total, 0);
    for arguments in [&["pass", "--dry-run"][..], &["hold", "add", "nodeset:n", "--dry-run"]] {
        bench.run("azslurm-sync", arguments);
    }
    bench.run("azslurm-suspend", &["--dry-run", "n1"]);
    assert!(!bench.ledger_path().exists(), "a dry run makes no ledger");
}
