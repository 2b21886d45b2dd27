//! Nodes that slurmctld has given up: with a VM that runs, one by one and many at once. A program
//! of the test's own stands in for scontrol, because slurmctld cannot be made to have said so ten
//! minutes ago.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use azslurm_core::attempt::AttemptState;
use serde_json::Value;

use crate::bench::{Bench, all, said};

/// slurmctld's verdict is older than a pass waits for, or younger.
const LONG_AGO: Duration = Duration::from_secs(3600);
const JUST_NOW: Duration = Duration::from_secs(60);

/// Nodes `n1` to `n<count>` have VMs that run.
fn bench(count: u32) -> Bench {
    let bench = Bench::start();
    let dir = bench.dir.path().display();
    let config = bench.config("").replace("/nonexistent", &format!("{dir}"));
    bench.write_config(&config);
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *'show node'*) cat {dir}/nodes ;; \
         *update*) echo \"$*\" >> {dir}/told ;; esac\n"
    );
    let scontrol = bench.dir.path().join("scontrol");
    fs::write(&scontrol, script).unwrap();
    fs::set_permissions(&scontrol, Permissions::from_mode(0o755)).unwrap();
    say(&bench, count, ("IDLE+CLOUD+NOT_RESPONDING+POWERING_UP", ""));
    said(&bench.run("azslurm-resume", &[&format!("n[1-{count}]")]), 0);
    bench.attempts("the VMs", |attempts| {
        attempts.len() == count as usize && all(AttemptState::Running)(attempts)
    });
    bench.wait_for_the_driver();
    bench
}

/// All nodes are in this state from now on.
fn say(bench: &Bench, count: u32, (state, reason): (&str, &str)) {
    let line = |number| format!("NodeName=n{number} State={state} Partitions=p {reason}\n");
    let text: String = (1..=count).map(line).collect();
    fs::write(bench.dir.path().join("nodes"), text).unwrap();
}

fn reason(words: &str, ago: Duration) -> String {
    let at = jiff::Zoned::now().checked_sub(ago).unwrap();
    format!("Reason={words} [slurm@{}]", at.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// What a pass tells slurmctld.
fn told(bench: &Bench) -> String {
    let told = bench.dir.path().join("told");
    drop(fs::remove_file(&told));
    let output = bench.run("azslurm-sync", &["--json", "pass", "--wait", "1"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["slurm_unknown"], Value::Null, "{report}");
    fs::read_to_string(told).unwrap_or_default()
}

#[test]
fn a_node_that_has_been_dead_for_long_is_given_back_and_no_other() {
    let bench = bench(2);
    let dead = "DOWN+CLOUD+NOT_RESPONDING";
    for (state, words, ago) in [
        ("IDLE+CLOUD+NOT_RESPONDING", "Not responding", LONG_AGO),
        (dead, "Not responding", JUST_NOW),
        (dead, "bad dimm", LONG_AGO),
        (dead, "bad dimm : Not responding", LONG_AGO),
        ("DOWN+CLOUD+DRAIN+NOT_RESPONDING", "Not responding", LONG_AGO),
        ("DOWN+CLOUD+COMPLETING+NOT_RESPONDING", "Not responding", LONG_AGO),
    ] {
        say(&bench, 2, (state, &reason(words, ago)));
        assert_eq!(told(&bench), "", "{state} {words}");
    }
    say(&bench, 2, (dead, &reason("Not responding", LONG_AGO)));
    let once = "update nodename=n[1-2] state=power_down \
        reason=azslurm: dead: slurmd does not answer\n";
    assert_eq!(told(&bench), once);
    assert_eq!(bench.emulator.vms().unwrap().len(), 2, "SuspendProgram deletes them");
    // slurmctld has taken it, and calls SuspendProgram.
    say(&bench, 2, (&format!("{dead}+POWER_DOWN"), &reason("azslurm: dead: x", JUST_NOW)));
    assert_eq!(told(&bench), "");
}

#[test]
fn many_nodes_that_are_dead_at_once_keep_their_vms() {
    let bench = bench(21);
    say(&bench, 21, ("DOWN+CLOUD+NOT_RESPONDING", &reason("Not responding", LONG_AGO)));
    assert_eq!(told(&bench), "");
    let log = bench.log();
    assert!(log.contains("n[1-21]") && log.contains("so many are hardly dead"), "{log}");
    assert_eq!(bench.emulator.vms().unwrap().len(), 21);
}
