//! Every verb of `azslurm-sync`, as its help lists them: what `--json` prints is JSON, and what
//! changes something can be tried without.

use azslurm_core::attempt::AttemptState;
use serde_json::Value;

use crate::bench::{Bench, all, said};
use crate::verbs::sync;

/// A call of every verb that ends by itself. A verb that is missing here fails the test.
const CALLS: [&[&str]; 19] = [
    &["rebuild", "--dry-run"],
    &["forget", "VM", "--dry-run"],
    &["adopt", "VM", "--dry-run"],
    &["pass", "--dry-run"],
    &["pass"],
    &["plan", "n1"],
    &["hold", "add", "node:n7", "--dry-run"],
    &["hold", "add", "node:n7"],
    &["hold", "list"],
    &["holds"],
    &["explain", "n1"],
    &["events"],
    &["status"],
    &["nodes", "n[1-3]"],
    &["vms", "--all", "--azure"],
    &["record", "RECORD"],
    &["replay", "RECORD"],
    &["doctor"],
    &["hold", "clear", "--all"],
];
/// Verbs that go on until they are told to end.
const ENDLESS: [&str; 2] = ["daemon", "node-agent"];
/// Verbs that change Slurm, Azure or the ledger.
const CHANGES: [&[&str]; 6] =
    [&["pass"], &["hold", "add"], &["hold", "clear"], &["rebuild"], &["adopt"], &["forget"]];

/// The verbs that help names.
fn listed(bench: &Bench, below: &[&str]) -> Vec<String> {
    let help = sync(bench, &[below, &["--help"]].concat(), 0);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let of_verbs = lines.take_while(|line| !line.is_empty());
    let names = of_verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

fn is_called(verbs: &[&str]) -> bool {
    CALLS.iter().any(|call| call.starts_with(verbs))
}

#[test]
fn every_verb_prints_json_when_asked_to() {
    let bench = Bench::start();
    bench.scontrol("NodeName=n1 State=IDLE+CLOUD Partitions=p\n");
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    let vm = bench.attempts("the VM", all(AttemptState::Running))[0].is.vm.to_string();
    bench.wait_for_the_driver();
    let record = bench.dir.path().join("record").display().to_string();
    for call in CALLS {
        let words = call.iter().map(|word| match *word {
            "RECORD" => record.as_str(),
            "VM" => vm.as_str(),
            word => word,
        });
        let words: Vec<&str> = std::iter::once("--json").chain(words).collect();
        let output = bench.run("azslurm-sync", &words);
        assert_ne!(output.status.code(), Some(2), "{call:?}: {output:?}");
        let parsed = serde_json::from_slice::<Value>(&output.stdout);
        assert!(parsed.is_ok(), "{call:?}: {parsed:?} {output:?}");
    }
    // What cannot start prints no half of an answer.
    let output = bench.run("azslurm-sync", &["--json", "explain", "nobody"]);
    said(&output, 2);
    assert!(output.stdout.is_empty());
}

#[test]
fn no_verb_is_forgotten_and_what_changes_something_has_a_dry_run() {
    let bench = Bench::start();
    let verbs = listed(&bench, &[]);
    assert!(verbs.len() >= 12, "{verbs:?}");
    for verb in verbs.iter().filter(|verb| !ENDLESS.contains(&verb.as_str())) {
        assert!(is_called(&[verb]), "azslurm-sync {verb} is not walked: add it to CALLS");
    }
    for verb in listed(&bench, &["hold"]) {
        assert!(is_called(&["hold", &verb]), "azslurm-sync hold {verb} is not walked");
    }
    for change in CHANGES {
        let help = sync(&bench, &[change, &["--help"]].concat(), 0);
        assert!(help.contains("--dry-run"), "{change:?}: {help}");
    }
}
