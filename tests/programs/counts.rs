//! What must not grow unseen: calls, transactions, syncs, connections and runs of Slurm's clients,
//! none of which depends on how fast the machine is.

use std::fs;
use std::process::Command;

use azslurm_core::attempt::AttemptState;
use serde_json::json;

use crate::bench::{Bench, all, said};

const NODES: u64 = 200;
/// As in `crates/program/src/errands.rs`: most findings come in such batches or larger ones on a
/// quiet machine. A loaded one writes more of them, so that only the order of magnitude counts.
const TRANSACTIONS_MAX: u64 = NODES / 5;
/// Usages, the list of sizes, and two that are left for what is asked seldom.
const CALLS_BESIDE_MAX: u64 = 4;
/// A sync for each transaction; the others make the ledger (11 on the first run), copy the log of
/// transactions when it has grown, and end it: two processes, front and driver.
const SYNCS_BESIDE_MAX: u64 = 20;
/// `limits.requests_in_flight`, the metadata service, and some that are begun again.
const CONNECTIONS_MAX: u64 = 64 + 8;

/// A quiet pass without VMs: a page of them, and who we are.
const PAGES_AND_A_TOKEN: u64 = 2;

/// What `strace -f` has seen.
#[derive(Debug, Default)]
struct Seen {
    syncs: u64,
    connections: u64,
    clients: u64,
}

fn seen(log: &str) -> Seen {
    let mut seen = Seen::default();
    for line in log.lines() {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        seen.syncs += u64::from(call.starts_with("fsync(") || call.starts_with("fdatasync("));
        seen.connections += u64::from(call.starts_with("connect(") && call.contains("AF_INET"));
        let is_client = call.contains("/scontrol\"") || call.contains("/squeue\"");
        seen.clients += u64::from(call.starts_with("execve(") && is_client);
    }
    seen
}

/// Runs a program and its driver to their end, under strace if there is one.
fn run(bench: &Bench, name: &str, nodes: &str) -> Option<Seen> {
    let command = bench.command(name);
    let file = bench.dir.path().join("strace.log");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-q", "-e", "trace=execve,connect,fsync,fdatasync", "-o"]).arg(&file);
    traced.arg(command.get_program()).args(command.get_args()).arg(nodes);
    traced.env("SLURM_CONF", bench.dir.path().join("slurm.conf"));
    let found = match traced.output() {
        Ok(output) => {
            said(&output, 0);
            Some(seen(&fs::read_to_string(&file).unwrap()))
        }
        Err(_) => {
            println!("strace is not installed: syncs and connections are not counted");
            said(&bench.run(name, &[nodes]), 0);
            None
        }
    };
    bench.wait_for_the_driver();
    found
}

/// How many transactions the latest driver says that it has made.
fn transactions(bench: &Bench) -> u64 {
    let log = bench.log();
    let found = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("transactions=")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    found.unwrap()
}

fn check(bench: &Bench, seen: Option<Seen>) {
    let transactions = transactions(bench);
    assert!(transactions <= TRANSACTIONS_MAX, "{transactions} transactions of the driver");
    let Some(seen) = seen else { return };
    // The driver's, and the one in which the front writes down what is going to be done.
    assert!(seen.syncs <= transactions + 1 + SYNCS_BESIDE_MAX, "{seen:?}, {transactions}");
    assert!(seen.connections <= CONNECTIONS_MAX, "{seen:?}");
    assert_eq!(seen.clients, 0, "nothing is to be told to slurmctld: {seen:?}");
}

#[test]
fn two_hundred_nodes_cost_a_call_each_and_few_transactions_syncs_and_connections() {
    let bench = Bench::start();
    let wide = json!({ "max": 100_000.0, "refill_per_s": 10_000.0 });
    let limits = json!({ "arm_writes": wide, "arm_reads": wide, "arm_deletes": wide });
    bench.emulator.post("/throttle", &limits).unwrap();
    bench.emulator.set_delays(&json!({ "vm_create_ms": 0, "retry_after_s": 1 })).unwrap();
    let nodes = format!("n[1-{NODES}]");
    let resumed = run(&bench, "azslurm-resume", &nodes);
    let made = bench.attempts("VMs that run", all(AttemptState::Running));
    assert_eq!(made.len() as u64, NODES);
    assert_eq!(bench.calls("PUT", "/virtualMachines/{name}"), NODES);
    let polls = bench.calls("GET", "/operations/{id}");
    assert!(polls <= 3 * NODES, "{polls} polls");
    let calls = bench.emulator.calls().unwrap();
    assert!(calls.total - polls <= NODES + CALLS_BESIDE_MAX, "{calls:?}");
    check(&bench, resumed);
    bench.emulator.reset_calls().unwrap();
    let suspended = run(&bench, "azslurm-suspend", &nodes);
    assert_eq!(bench.calls("DELETE", "/virtualMachines/{name}"), NODES);
    let calls = bench.emulator.calls().unwrap();
    assert!(calls.total <= NODES + CALLS_BESIDE_MAX, "{calls:?}");
    check(&bench, suspended);
}

/// What a pass asks must not depend on how many nodes there are: slurmctld's nodes and settings at
/// once, and Azure's VMs a thousand at a time.
#[test]
fn a_quiet_pass_asks_slurmctld_twice_and_azure_for_one_page() {
    let bench = Bench::start();
    let nodes: String = (1..=1000)
        .map(|number| format!("NodeName=n{number} State=IDLE+CLOUD+POWERED_DOWN Reason=\n"))
        .collect();
    bench.scontrol(&nodes);
    let pass = ["pass", "--wait", "0"];
    // The first one learns what is learned once an hour.
    said(&bench.run("azslurm-sync", &pass), 0);
    let log = bench.dir.path().join("bin/log");
    fs::remove_file(&log).unwrap();
    bench.emulator.reset_calls().unwrap();
    said(&bench.run("azslurm-sync", &pass), 0);
    let asked = fs::read_to_string(&log).unwrap();
    assert_eq!(asked.lines().count(), 2, "{asked}");
    let calls = bench.emulator.calls().unwrap();
    assert!(calls.total <= PAGES_AND_A_TOKEN, "{calls:?}");
    assert_eq!(bench.calls("POST", "/resources"), 1, "{calls:?}");
}
