//! `azslurm-sync node-agent` and the emulator's metadata service; what is said to slurmctld is only
//! written down (the stories in `tests/e2e/agent.rs` have a real one).

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::bench::{Bench, assert_names, said, wait_for};

/// scontrol of the tests runs what stands in SLURM_CONF.
const SCONTROL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/slurm/testdata/bin");

/// Node `n1` in a state that `update` changes, and a running job on it.
const BEHAVIOUR: &str = r#"
echo "$*" >> $here/said
case "$*" in
*"show nodes"*) cat $here/nodes ;;
*"-O JobID"*) cat $here/jobs ;;
*state=drain*) echo "NodeName=n1 State=MIXED+CLOUD+DRAIN Reason=${4#*=} [root@T]" > $here/nodes ;;
*requeue*) : > $here/jobs ;;
esac
"#;

struct Agent {
    bench: Bench,
    vm: String,
    process: Option<Child>,
}

impl Agent {
    /// With these words in the place of slurmctld's about the nodes.
    fn new(nodes: &str) -> Agent {
        let bench = Bench::start();
        let agent = Agent { bench, vm: String::new(), process: None };
        fs::write(agent.file("slurm.conf"), BEHAVIOUR).unwrap();
        fs::write(agent.file("nodes"), nodes).unwrap();
        fs::write(agent.file("jobs"), "7|7|N/A|RUNNING|p|1|1|n1|\n").unwrap();
        agent
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bench.dir.path().join(name)
    }

    /// Makes the Spot VM that the agent is on, as Slurm would.
    fn make_vm(&mut self) {
        let spot = "priority = \"spot\"\neviction_policy = \"delete\"\n";
        self.bench.write_config(&self.bench.config(spot));
        said(&self.bench.run("azslurm-resume", &["n1"]), 0);
        self.bench.wait_for_the_driver();
        self.vm.clone_from(&self.bench.emulator.vms().unwrap()[0].name);
        self.bench.emulator.reset_calls().unwrap();
    }

    fn start(&mut self, options: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.file("agent.log"));
        let imds = format!("{}/vm/{}", self.bench.emulator.endpoints().imds, self.vm);
        let mut command = self.bench.command("azslurm-sync");
        command.args(["node-agent", "--node", "n1", "--slurm-bin-dir", SCONTROL, "--imds", &imds]);
        let command = command.args(options).stdout(Stdio::null()).stderr(log.unwrap());
        self.process = Some(command.spawn().unwrap());
    }

    fn check_infiniband(&self, options: &[&str]) -> Output {
        let words = ["node-agent", "check-infiniband", "--node", "n1", "--slurm-bin-dir", SCONTROL];
        let sysfs = self.file("sys").display().to_string();
        let words = [&words[..], &["--sysfs", &sysfs, "--wait", "0"], options].concat();
        self.bench.run("azslurm-sync", &words)
    }

    fn set_key(&self, key: &str) {
        self.set_key_of("mlx5_0", key);
    }

    fn set_key_of(&self, device: &str, key: &str) {
        let device = self.file("sys").join("class/infiniband").join(device);
        let port = device.join("ports/1/pkeys");
        fs::create_dir_all(&port).unwrap();
        fs::write(port.join("0"), "0xffff\n").unwrap();
        fs::write(port.join("1"), format!("{key}\n")).unwrap();
    }

    fn said(&self) -> String {
        fs::read_to_string(self.file("said")).unwrap_or_default()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("agent.log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _gone = process.kill();
            let _reaped = process.wait();
        }
    }
}

const OPEN: &str = "NodeName=n1 State=MIXED+CLOUD\n";

#[test]
fn a_metadata_service_that_fails_is_survived_and_said_once_and_asked_no_earlier_than_it_wants() {
    let mut agent = Agent::new(OPEN);
    agent.make_vm();
    let emulator = &agent.bench.emulator;
    let fault = |fault: Value| emulator.add_fault(&fault).unwrap();
    fault(json!({"path_contains": "/metadata/instance", "status": 404, "times": 2}));
    let events = "/metadata/scheduledevents";
    fault(json!({"path_contains": events, "latency_ms": 6000}));
    fault(json!({"path_contains": events, "status": 410, "times": 2}));
    fault(json!({"path_contains": events, "status": 429, "headers": {"Retry-After": 3}}));
    fault(json!({"path_contains": events, "status": 500}));
    fault(json!({"path_contains": events, "status": 200, "body": "<html>"}));
    fault(json!({"path_contains": events, "kind": "drop-before"}));
    agent.start(&[]);
    wait_for("the agent to get over it", || {
        agent.log().contains("the metadata service answers again")
    });
    wait_for("all faults to be met", || {
        agent.bench.emulator.get("/faults").unwrap()["faults"] == json!([])
    });
    let log = agent.log();
    for (what, times) in [(" 404 ", 1), (" 410 ", 1), (" 429 ", 1), (" 500 ", 1)] {
        assert_eq!(log.matches(&format!("answers{what}")).count(), times, "{log}");
    }
    let calls = agent.bench.log_of_calls();
    let at = |call: &Value| call["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let asked: Vec<&Value> =
        calls.iter().filter(|call| call["path"].as_str().unwrap().contains(events)).collect();
    let told = asked.iter().position(|call| call["status"] == 429).unwrap();
    wait_for("the next call", || agent.bench.log_of_calls().len() > calls.len());
    let waited = at(asked[told + 1]).duration_since(at(asked[told]));
    assert!(waited.as_millis() >= 3000, "{waited}");
    // Nothing was announced: slurmctld was asked once.
    wait_for("the look after the start", || !agent.said().is_empty());
    assert_eq!(agent.said(), "-a show nodes n1 -o\n");
}

#[test]
fn an_announced_eviction_is_told_to_slurmctld_and_acknowledged_and_an_agent_ends_when_told() {
    let mut agent = Agent::new(OPEN);
    agent.make_vm();
    agent.start(&["--acknowledge"]);
    agent.bench.emulator.evict_after(&agent.vm, std::time::Duration::from_secs(900)).unwrap();
    wait_for("the acknowledgement", || agent.bench.emulator.vms().unwrap().is_empty());
    let told = agent.said();
    // What it asked with `scontrol show` and with squeue aside.
    let is_question = |line: &&str| line.contains("show ") || line.starts_with("-h -a ");
    let updates: Vec<&str> = told.lines().filter(|line| !is_question(line)).collect();
    assert_eq!(updates.len(), 2, "{told}");
    assert_names(
        updates[0],
        &["update nodename=n1 state=drain reason=azslurm: preempt: event ", " not before "],
    );
    assert_eq!(updates[1], "requeue 7");
    let mut process = agent.process.take().unwrap();
    kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn an_agent_that_starts_takes_back_a_drain_whose_event_is_over_and_no_other() {
    let ours = "Reason=azslurm: reboot: event 1-2: Azure will restart this VM now [root@T]";
    for (reason, expected) in [
        (ours, true),
        ("Reason=azslurm: reboot: event 1-2: x : Kill task failed [root@T]", false),
        ("Reason=azslurm: capacity: no room [root@T]", false),
        ("Reason=bad dimm [bob@T]", false),
    ] {
        let mut agent = Agent::new(&format!("NodeName=n1 State=IDLE+CLOUD+DRAIN {reason}\n"));
        agent.make_vm();
        agent.start(&[]);
        wait_for("the look after the start", || !agent.said().is_empty());
        if expected {
            let word = "update nodename=n1 state=undrain";
            wait_for("the drain to be taken back", || agent.said().contains(word));
        } else {
            let polls = |agent: &Agent| agent.bench.log_of_calls().len();
            let before = polls(&agent);
            wait_for("some more polls", || polls(&agent) > before + 3);
            assert!(!agent.said().contains("update"), "{reason}: {}", agent.said());
        }
    }
}

const BLOCK: [&str; 4] = ["--nodes", "n[1-8]", "--block-nodes", "4"];

#[test]
fn a_node_in_the_partition_of_its_block_tells_its_key_and_may_start() {
    let nodes = "NodeName=n1 State=IDLE+CLOUD+POWERING_UP Comment=rack 7\n\
        NodeName=n2 State=IDLE+CLOUD Comment=azslurm infiniband-key 0x8012\n\
        NodeName=n3 State=IDLE+CLOUD+POWERING_UP Comment=azslurm infiniband-key 0x8099\n\
        NodeName=n4 State=IDLE+CLOUD\n";
    let agent = Agent::new(nodes);
    agent.set_key("0x8012");
    said(&agent.check_infiniband(&BLOCK), 0);
    let told = "-a show nodes n[1-4] -o\n\
        update nodename=n1 comment=rack 7; azslurm infiniband-key 0x8012\n";
    assert_eq!(agent.said(), told);
    // A node without blocks has nothing to check, and asks nobody.
    said(&agent.check_infiniband(&[]), 0);
    assert_eq!(agent.said(), told);
}

#[test]
fn the_key_is_found_whatever_number_the_infiniband_device_has() {
    let other = "NodeName=n2 State=IDLE+CLOUD Comment=azslurm infiniband-key 0x8012\n";
    let agent = Agent::new(&format!("NodeName=n1 State=IDLE+CLOUD+POWERING_UP\n{other}"));
    // Accelerated networking has the first device, which has no tenant's key.
    agent.set_key_of("mlx5_0", "0x7fff");
    agent.set_key_of("mlx5_1", "0x8012");
    said(&agent.check_infiniband(&BLOCK), 0);
    assert!(agent.said().ends_with("comment=azslurm infiniband-key 0x8012\n"), "{}", agent.said());
}

#[test]
fn a_node_in_another_partition_or_in_none_is_set_down_with_the_reason_and_may_not_start() {
    let other = "NodeName=n3 State=ALLOCATED+CLOUD Comment=azslurm infiniband-key 0x8012\n";
    let agent = Agent::new(&format!("NodeName=n1 State=MIXED+CLOUD+POWERING_UP\n{other}"));
    let text = said(&agent.check_infiniband(&BLOCK), 1);
    assert_names(&text, &["n1 has no partition key of a tenant in ", "slurmd must not start"]);
    agent.set_key("0x0013");
    let text = said(&agent.check_infiniband(&BLOCK), 1);
    let found = "n1 has partition key 0x8013 and n3 of its block has 0x8012";
    assert_names(&text, &[found, "slurmd must not start"]);
    let told = format!("update nodename=n1 state=down reason=azslurm: infiniband: {found}\n");
    assert!(agent.said().ends_with(&told), "{}", agent.said());
    assert!(!agent.said().contains("comment="));
    // A person's word stays.
    let closed = "NodeName=n1 State=IDLE+CLOUD+DRAIN Reason=bad dimm [bob@T]\n";
    let agent = Agent::new(&format!("{closed}{other}"));
    agent.set_key("0x8013");
    said(&agent.check_infiniband(&BLOCK), 1);
    assert!(!agent.said().contains("update"), "{}", agent.said());
}
