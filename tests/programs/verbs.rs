//! What people ask and set: `azslurm-sync plan` and `azslurm-sync hold`.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use azslurm_core::attempt::AttemptState;
use azslurm_ledger::Ledger;
use serde_json::Value;

use crate::bench::{Bench, KEY, all, assert_names, infiniband, said};

const ZONE_1: &str = "sku-zone:west/1/Standard_D4s_v5";

/// Two sites, a nodeset with InfiniBand in blocks of 4, and one with zones. The ledger is there.
fn bench() -> Bench {
    let bench = Bench::start();
    let zones = "[nodeset.z]\nnodes = \"z[1-4]\"\nsites = [\"west\", \"north\"]\n\
        spill = \"next-site\"\nzones = [\"1\", \"2\"]\nsku = \"Standard_D4s_v5\"\n\
        image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\n";
    let more = format!("{}{zones}ssh_public_key = \"{KEY}\"\n", infiniband(8, 4));
    bench.write_config(&bench.config(&more));
    drop(Ledger::open(&bench.ledger_path()).unwrap());
    bench
}

/// All rows of all tables.
pub fn dump(bench: &Bench) -> Vec<String> {
    let ledger = rusqlite::Connection::open(bench.ledger_path()).unwrap();
    let list = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let mut tables = ledger.prepare(list).unwrap();
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut rows = Vec::new();
    for table in tables.map(Result::unwrap) {
        let mut all = ledger.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = all.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let values = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap()));
            Ok(format!("{table}: {}", values.collect::<Vec<_>>().join(" ")))
        };
        rows.extend(all.query_map([], row).unwrap().map(Result::unwrap));
    }
    rows
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn sync(bench: &Bench, words: &[&str], code: i32) -> String {
    let output = bench.run("azslurm-sync", words);
    said(&output, code);
    text_of(&output)
}

pub fn json(bench: &Bench, words: &[&str], code: i32) -> Value {
    let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
    serde_json::from_str(&sync(bench, &words, code)).unwrap()
}

/// Nothing was asked of Azure, not even a token.
fn assert_no_calls(bench: &Bench) {
    let calls = bench.emulator.calls().unwrap();
    assert_eq!(calls.total, 0, "{calls:?}");
}

#[test]
fn a_plan_shows_each_place_and_why_others_are_passed_over_and_changes_nothing() {
    let bench = bench();
    let why = ["--for", "30m", "--reason", "rack 7 is replaced"];
    sync(&bench, &[&["hold", "add", ZONE_1][..], &why].concat(), 0);
    let before = dump(&bench);
    let text = sync(&bench, &["plan", "z1,hb[1-4]"], 0);
    assert_names(
        &text,
        &[
            "z1: would create z1-",
            "(Standard_D4s_v5) at west in westeurope zone 2",
            "    passed over west zone 1: held (sku-zone:west/1/Standard_D4s_v5) until ",
            "rack 7 is replaced",
            "hb4: would create hb4-",
            "block hb-b1 at west in westeurope as bench-hb-b1-",
        ],
    );
    let plan = json(&bench, &["plan", "z1,hb[1-4]"], 0);
    let rows = plan["nodes"].as_array().unwrap();
    assert_eq!(rows.len(), 5, "{plan}");
    assert_eq!((&rows[0]["node"], &rows[0]["zone"]), (&"z1".into(), &"2".into()));
    assert_eq!(rows[0]["passed"].as_array().unwrap().len(), 1, "{plan}");
    assert!(rows[1..].iter().all(|row| row["block"] == "hb-b1" && row["step"] == "create"));
    assert_eq!(plan["blocks"].as_array().unwrap().len(), 1, "one block, once: {plan}");
    assert_eq!(dump(&bench), before);
    assert_no_calls(&bench);
}

#[test]
fn a_gang_that_lacks_a_place_is_refused_as_a_whole_and_nothing_changes() {
    let bench = bench();
    sync(&bench, &["hold", "add", "block:hb-b1/west"], 0);
    let file = bench.resume_file("hb[1-4]").display().to_string();
    let before = dump(&bench);
    // The next site has room for all of it.
    let plan = json(&bench, &["plan", "hb[1-4]", "--job-file", &file], 0);
    let rows = plan["nodes"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["site"] == "north" && row["passed"] != Value::Null));
    assert_eq!(dump(&bench), before);
    sync(&bench, &["hold", "add", "site:north"], 0);
    let before = dump(&bench);
    let plan = json(&bench, &["plan", "hb[1-4]", "--job-file", &file], 1);
    let rows = plan["nodes"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["step"] == "refuse" && row["vm"] == Value::Null), "{plan}");
    assert_eq!(plan["blocks"].as_array().unwrap().len(), 0, "{plan}");
    let text = sync(&bench, &["plan", "hb[1-4]", "--job-file", &file], 1);
    assert_names(&text, &["hb1: cannot come now", "passed over west", "passed over north"]);
    assert_eq!(dump(&bench), before);
    assert_no_calls(&bench);
}

#[test]
fn a_gang_that_a_cap_has_room_for_in_part_is_refused_as_a_whole() {
    let bench = bench();
    // One runs: from its driver on it is known how many vCPUs the size has. Three more may come.
    said(&bench.run("azslurm-resume", &["hb5"]), 0);
    bench.attempts("the VM", all(AttemptState::Running));
    bench.wait_for_the_driver();
    let text = std::fs::read_to_string(bench.config_path()).unwrap();
    let capped = text.replace("block_nodes = 4\n", "block_nodes = 4\ncores_max = 480\n");
    bench.write_config(&capped);
    bench.emulator.reset_calls().unwrap();
    let file = bench.resume_file("hb[1-4]").display().to_string();
    let plan = json(&bench, &["plan", "hb[1-4]", "--job-file", &file], 1);
    let rows = plan["nodes"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["step"] == "refuse"), "{plan}");
    // Nodes that no job wants together are taken one by one.
    let plan = json(&bench, &["plan", "hb[1-4]"], 1);
    let rows = plan["nodes"].as_array().unwrap();
    assert_eq!(rows.iter().filter(|row| row["step"] == "create").count(), 3, "{plan}");
    assert_no_calls(&bench);
}

#[test]
fn a_held_nodeset_is_refused_without_a_call_until_its_hold_is_cleared() {
    let bench = bench();
    let before = dump(&bench);
    let text = sync(&bench, &["hold", "add", "nodeset:z", "--dry-run"], 0);
    assert_names(&text, &["would hold nodeset:z until "]);
    assert_eq!(dump(&bench), before, "a dry run changes nothing");
    assert_names(&sync(&bench, &["hold", "list"], 0), &["no holds"]);
    sync(&bench, &["hold", "add", "nodeset:z", "--for", "2h", "--reason", "bad image"], 0);
    let holds = json(&bench, &["hold", "list"], 0);
    assert_eq!(holds.as_array().unwrap().len(), 1, "{holds}");
    let hold = &holds[0];
    assert_eq!((&hold["scope"], &hold["nodes"]), (&"nodeset:z".into(), &"z[1-4]".into()));
    assert_eq!((&hold["standing"], &hold["text"]), (&"closed".into(), &"bad image".into()));
    assert_names(&sync(&bench, &["hold", "list"], 0), &["nodeset:z", "z[1-4]", "bad image"]);
    let dry = bench.run("azslurm-resume", &["--dry-run", "z1"]);
    said(&dry, 1);
    assert_names(&text_of(&dry), &["z1: cannot come now", "bad image", "next try "]);
    said(&bench.run("azslurm-resume", &["z1"]), 1);
    bench.wait_for_the_driver();
    assert_no_calls(&bench);
    let before = dump(&bench);
    let text = sync(&bench, &["hold", "clear", "nodeset:z", "--dry-run"], 0);
    assert_names(&text, &["would end nodeset:z"]);
    assert_eq!(dump(&bench), before, "a dry run changes nothing");
    let ended = json(&bench, &["hold", "clear", "nodeset:z"], 0);
    assert_eq!(ended[0]["scope"], "nodeset:z");
    assert_eq!(json(&bench, &["hold", "list"], 0).as_array().unwrap().len(), 0);
    said(&bench.run("azslurm-resume", &["z1"]), 0);
    bench.attempts("the VM", all(AttemptState::Running));
    bench.wait_for_the_driver();
}

#[test]
fn what_cannot_be_done_names_what_was_found_and_what_is_allowed_and_changes_nothing() {
    let bench = bench();
    sync(&bench, &["hold", "add", "node:z1"], 0);
    let before = dump(&bench);
    let cases: [(&[&str], &[&str]); 13] = [
        (&["hold", "add", "planet:west"], &["planet:west", "sku-site:SITE/SKU", "site:SITE"]),
        (&["hold", "add", "site:moon"], &["site:moon", "site moon", "north, west"]),
        (&["hold", "add", "node:q1"], &["node:q1", "no nodeset", "hb, n, z"]),
        (&["hold", "add", "nodeset:q"], &["nodeset q", "hb, n, z"]),
        (&["hold", "add", "block:hb-b9/west"], &["block hb-b9", "hb-b1, hb-b2"]),
        (&["hold", "add", "block:z-b1/west"], &["block z-b1", "hb-b1, hb-b2"]),
        (&["hold", "add", "sku-site:west/Standard_D9"], &["Standard_D9", "Standard_D4s_v5"]),
        (&["hold", "add", "image:none"], &["image none", "microsoft-dsvm:ubuntu-hpc:2204:latest"]),
        (&["hold", "add", "site:west", "--for", "soon"], &["\"soon\"", "such as 30m"]),
        (&["hold", "add", "site:west", "--for", "0s"], &["\"0s\"", "to 365 days"]),
        (&["hold", "clear", "site:west"], &["site:west", "node:z1"]),
        (
            &["plan", "z1", "--job-file", "/nonexistent/f"],
            &["--job-file /nonexistent/f", "No such"],
        ),
        (&["plan", "z[1-"], &["z[1-"]),
    ];
    for (words, named) in cases {
        let output = bench.run("azslurm-sync", words);
        let text = said(&output, 2);
        assert_names(&text, named);
        assert_eq!(text_of(&output), "", "{words:?}");
        assert_eq!(dump(&bench), before, "{words:?}");
    }
    assert_no_calls(&bench);
}

#[test]
fn help_names_what_each_verb_takes_and_its_exit_codes() {
    let bench = bench();
    for verb in [&["plan"][..], &["hold", "add"], &["hold", "clear"], &["hold", "list"], &["pass"]]
    {
        let help = sync(&bench, &[verb, &["--help"]].concat(), 0);
        assert_names(&help, &["Usage: azslurm-sync ", "--json", "Exit code"]);
        let changes = verb == ["hold", "add"] || verb == ["hold", "clear"] || verb == ["pass"];
        assert_eq!(help.contains("--dry-run"), changes, "{help}");
    }
}

/// The first event that somebody who follows z3 is told.
fn follow(bench: &Bench) -> Value {
    let mut command = bench.command("azslurm-sync");
    command.args(["--json", "events", "--node", "z3", "--follow"]).stdout(Stdio::piped());
    let mut following = command.spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    said(&bench.run("azslurm-resume", &["z3"]), 0);
    let first = lines.next().unwrap().unwrap();
    following.kill().unwrap();
    following.wait().unwrap();
    bench.wait_for_the_driver();
    serde_json::from_str(&first).unwrap()
}

#[test]
fn events_and_explain_tell_the_story_of_a_node_a_vm_and_a_job() {
    let bench = bench();
    said(&bench.resume_gang("z[1-2]"), 0);
    let made = bench.attempts("the VMs", all(AttemptState::Running));
    bench.wait_for_the_driver();
    sync(&bench, &["hold", "add", "site:north", "--reason", "fibre cut"], 0);
    let vm = made[0].is.vm.to_string();
    let events = json(&bench, &["events", "--node", "z1"], 0);
    let kinds: Vec<&str> =
        events.as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["intended", "accepted", "running"], "{events}");
    assert_eq!(events[0]["job"], 7, "{events}");
    let newest = json(&bench, &["events", "--vm", &vm, "--limit", "1", "--since", "1h"], 0);
    assert_eq!(newest.as_array().unwrap().len(), 1);
    assert_eq!(newest[0]["kind"], "running", "{newest}");
    assert_names(&sync(&bench, &["events", "--node", "z3"], 0), &["no events"]);
    let followed = follow(&bench);
    assert_eq!(followed["node"], "z3", "{followed}");
    bench.emulator.reset_calls().unwrap();
    for (word, nodes) in [("z1", 1), (vm.as_str(), 1), ("7", 2)] {
        let story = json(&bench, &["explain", word], 0);
        assert_eq!(story["nodes"].as_array().unwrap().len(), nodes, "{word}: {story}");
        assert!(story["events"].as_array().unwrap().len() >= 3, "{word}: {story}");
    }
    let text = sync(&bench, &["explain", "z1"], 0);
    let parts =
        ["z1\n", "slurmctld  not known", &vm, " running since ", "west in westeurope zone 1"];
    assert_names(&text, &[&parts[..], &["next pass", "SlurmUnknown", "what happened"]].concat());
    let output = bench.run("azslurm-sync", &["explain", "z9"]);
    assert_names(&said(&output, 2), &["z9", "no node of the config", "a job is a number"]);
    assert_no_calls(&bench);
}
