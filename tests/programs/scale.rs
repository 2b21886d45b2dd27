//! The largest cluster: what one pass over it asks, and that a second one changes nothing.

use std::time::Instant;

use azslurm_core::attempt::AttemptState;

use crate::bench::Bench;
use crate::verbs::dump;
use crate::world::{alive, old, pass, run, slurm_says, told};

const NODES: u32 = 10_000;
/// Pages of Resource Graph, the leftovers, and what is left for tokens.
const AZURE_CALLS_MAX: u64 = 14;

/// A subnet that has room for all of them.
const AZURE: &str = "[[vnets]]\ngroup = \"net\"\nname = \"vnet\"\nprefix = \"10.0.0.0/8\"\n\
    subnets = { compute = \"10.0.0.0/16\" }\n[[quota]]\nregion = \"westeurope\"\n\
    name = \"cores\"\nlimit = 1000000\n[[quota]]\nregion = \"westeurope\"\n\
    name = \"virtualMachines\"\nlimit = 1000000\n[[quota]]\nregion = \"westeurope\"\n\
    name = \"standardDSv5Family\"\nlimit = 1000000\n";

/// User and system time of our children so far, in seconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = text.rsplit_once(')').unwrap().1;
    let fields: Vec<f64> =
        after.split_whitespace().map(|word| word.parse().unwrap_or(0.0)).collect();
    // cutime and cstime are the 16th and 17th of all, in hundredths.
    (fields[13] + fields[14]) / 100.0
}

/// All of the ledger but its facts, which say when the last pass was.
fn ledger(bench: &Bench) -> Vec<String> {
    dump(bench).into_iter().filter(|row| !row.starts_with("facts: ")).collect()
}

#[test]
fn a_pass_over_ten_thousand_nodes_asks_azure_fourteen_times_and_slurmctld_twice() {
    let bench = Bench::start_in(AZURE);
    let text = std::fs::read_to_string(bench.config_path()).unwrap();
    bench.write_config(&text.replace("n[1-1000]", &format!("n[1-{NODES}]")));
    let names: Vec<String> = (1..=NODES).map(|number| format!("n{number}")).collect();
    let nodes: Vec<(String, &str)> =
        names.iter().map(|name| (name.clone(), "IDLE+CLOUD")).collect();
    slurm_says(&bench, &nodes);
    let vms: Vec<_> = names.iter().map(|name| old(name)).collect();
    run(&bench, &vms);
    assert_eq!(alive(&bench, "virtualMachines").len(), vms.len());
    bench.emulator.reset_calls().unwrap();
    let (begin, cpu_before) = (Instant::now(), cpu());
    let report = pass(&bench, &[], 0);
    println!(
        "a pass over {NODES} nodes and VMs: {:.1} s, {:.1} s of CPU",
        begin.elapsed().as_secs_f64(),
        cpu() - cpu_before
    );
    assert_eq!((&report["nodes"], &report["vms"]), (&NODES.into(), &NODES.into()), "{report}");
    assert_eq!(report["lines"].as_array().map(Vec::len), Some(0), "{report}");
    let calls = bench.emulator.calls().unwrap();
    assert!(calls.total <= AZURE_CALLS_MAX, "{calls:?}");
    assert_eq!(report["calls"]["slurm"], 2, "{report}");
    assert_eq!(told(&bench).len(), 2, "{:?}", told(&bench));
    assert!(
        report["calls"]["azure"].as_u64().is_some_and(|count| count <= calls.total),
        "{report}"
    );
    let before = ledger(&bench);
    bench.emulator.reset_calls().unwrap();
    pass(&bench, &[], 0);
    assert!(ledger(&bench) == before, "a second pass changes nothing");
    let calls = bench.emulator.calls().unwrap();
    assert!(calls.total <= AZURE_CALLS_MAX, "{calls:?}");
    assert_eq!(told(&bench).len(), 4);
    let states = bench.ledger().attempts_latest().unwrap();
    assert!(states.iter().all(|attempt| attempt.state == AttemptState::Running));
}
