//! A world for passes: VMs that run, in the emulator and in the ledger alike, without a PUT for
//! each, and a slurmctld of files: a script in the place of `scontrol` that says what a test wrote
//! and writes down what it was asked.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use azslurm_core::attempt::{Attempt, AttemptPlace, AttemptState, NewAttempt};
use azslurm_core::config::{Region, Sku};
use azslurm_core::{AttemptId, NodeName, Timestamp, VmName};
use azslurm_ledger::{Holder, LeaseAsk, Ledger, Take};
use serde_json::{Value, json};

use crate::bench::{Bench, said};

pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
const SKU: &str = "Standard_D4s_v5";
const MINUTE: Duration = Duration::from_secs(60);

/// A VM to be.
pub struct Made {
    pub node: String,
    pub vm: VmName,
    pub tags: Value,
    pub is_spot: bool,
    pub eviction: &'static str,
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// The VM of a node, made so long ago.
pub fn made(node: &str, ago: Duration) -> Made {
    let attempt = AttemptId::next(now().minus(ago), None);
    let name: NodeName = node.parse().unwrap();
    Made {
        node: node.to_owned(),
        vm: VmName::of(&name, attempt),
        tags: json!({"azslurm-cluster": "bench", "azslurm-node": node, "azslurm-nodeset": "n",
            "azslurm-attempt": attempt.to_string()}),
        is_spot: false,
        eviction: "Delete",
    }
}

/// Half an hour ago: older than everything that waits.
pub fn old(node: &str) -> Made {
    made(node, 30 * MINUTE)
}

pub fn spot(node: &str, eviction: &'static str) -> Made {
    Made { is_spot: true, eviction, ..old(node) }
}

/// As a program would have asked for it.
pub fn template() -> Value {
    json!({
        "location": "westeurope",
        "tags": "{tags}",
        "properties": {
            "hardwareProfile": {"vmSize": SKU},
            "storageProfile": {
                "imageReference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc",
                    "sku": "2204", "version": "latest"},
                "osDisk": {"name": "{vm}-os", "createOption": "FromImage",
                    "caching": "ReadWrite", "deleteOption": "Delete",
                    "managedDisk": {"storageAccountType": "StandardSSD_LRS"}}},
            "osProfile": {"computerName": "{node}", "adminUsername": "azslurm",
                "linuxConfiguration": {"disablePasswordAuthentication": true,
                    "ssh": {"publicKeys": [{"path": "/home/azslurm/.ssh/authorized_keys",
                        "keyData": crate::bench::KEY}]}}},
            "networkProfile": {"networkApiVersion": "2020-11-01",
                "networkInterfaceConfigurations": [{"name": "{vm}-nic", "properties": {
                    "primary": true, "deleteOption": "Delete",
                    "ipConfigurations": [{"name": "ipconfig1", "properties": {
                        "primary": true, "subnet": {"id": crate::bench::SUBNET}}}]}}]},
        },
    })
}

/// Puts VMs into the emulator.
pub fn seed(bench: &Bench, vms: &[Made]) {
    for (is_spot, eviction) in [(false, "Delete"), (true, "Delete"), (true, "Deallocate")] {
        let some = vms
            .iter()
            .filter(|one| one.is_spot == is_spot && (!is_spot || one.eviction == eviction));
        let mut template = template();
        if is_spot {
            template["properties"]["priority"] = json!("Spot");
            template["properties"]["evictionPolicy"] = json!(eviction);
            template["properties"]["billingProfile"] = json!({"maxPrice": -1.0});
        }
        // The tags are an object, and words are replaced in text.
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc");
        let one = |one: &Made| {
            json!({
                "id": format!("{group}/providers/Microsoft.Compute/virtualMachines/{}", one.vm),
                "words": {"vm": one.vm, "node": one.node},
                "tags": one.tags,
            })
        };
        let vms: Vec<Value> = some.map(one).collect();
        template.as_object_mut().unwrap().remove("tags");
        if !vms.is_empty() {
            let seed = json!({"template": template, "vms": vms});
            let answer = bench.emulator.post("/seed", &seed).unwrap();
            assert_eq!(answer["made"], vms.len());
        }
    }
}

/// Writes VMs into the ledger: they run since shortly after they were asked for.
pub fn know(bench: &Bench, vms: &[Made]) {
    let mut ledger = Ledger::open(&bench.ledger_path()).unwrap();
    let holder = Holder::new("test", now(), 1);
    let written: Result<(), azslurm_ledger::LedgerError> = ledger.write(|writer| {
        for one in vms {
            let node: NodeName = one.node.parse().unwrap();
            let until = now().plus(MINUTE);
            let ask = LeaseAsk { holder: &holder, take: Take::Seize, now: now(), until };
            let lease = writer.lease(&node, &ask)?.granted().unwrap();
            let known = attempt(one, &node);
            assert!(matches!(
                writer.adopt(&lease, &known, now())?,
                azslurm_ledger::Recorded::Done(AttemptState::Running)
            ));
            writer.release(&lease)?;
        }
        Ok(())
    });
    written.unwrap();
}

fn attempt(one: &Made, node: &NodeName) -> Attempt {
    let (_, attempt) = one.vm.split().unwrap();
    let began = attempt.began_at();
    let is = NewAttempt {
        vm: one.vm.clone(),
        node: node.clone(),
        attempt,
        nodeset: "n".parse().unwrap(),
        place: AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: SUBSCRIPTION.to_owned(),
            resource_group: "hpc".to_owned(),
            region: Region::new("westeurope").unwrap(),
            zone: None,
            block: None,
        },
        sku: Sku::new(SKU).unwrap(),
        image: "microsoft-dsvm:ubuntu-hpc:2204:latest".to_owned(),
        is_spot: one.is_spot,
        body_hash: String::new(),
        jobs: Vec::new(),
    };
    Attempt::running_since(is, began)
}

/// Both: VMs that run, and the ledger knows it.
pub fn run(bench: &Bench, vms: &[Made]) {
    bench
        .emulator
        .set_delays(&json!({"vm_create_ms": 0, "vm_delete_ms": 0,
        "vm_force_delete_ms": 0, "retry_after_s": 1}))
        .unwrap();
    seed(bench, vms);
    know(bench, vms);
}

/// Writes what slurmctld says of nodes, each with its state.
pub fn slurm_says(bench: &Bench, nodes: &[(String, &str)]) {
    let line = |(node, state): &(String, &str)| {
        format!(
            "NodeName={node} Arch=x86_64 CoresPerSocket=1 NodeAddr={node} NodeHostName={node} \
             Version=22.05.8 RealMemory=1000 State={state} Partitions=p BootTime=None \
             SlurmdStartTime=None LastBusyTime=Unknown\n"
        )
    };
    bench.scontrol(&nodes.iter().map(line).collect::<String>());
}

/// All nodes in one state.
pub fn all_are(bench: &Bench, nodes: &[&str], state: &str) {
    let nodes: Vec<(String, &str)> = nodes.iter().map(|node| ((*node).to_owned(), state)).collect();
    slurm_says(bench, &nodes);
}

/// What `scontrol` was asked and told.
pub fn told(bench: &Bench) -> Vec<String> {
    let text = fs::read_to_string(bench.dir.path().join("bin/log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What slurmctld was told about nodes.
pub fn updates(bench: &Bench) -> Vec<String> {
    told(bench).into_iter().filter(|line| line.starts_with("update ")).collect()
}

/// One pass; its report.
pub fn pass(bench: &Bench, words: &[&str], code: i32) -> Value {
    let words: Vec<&str> =
        ["--json", "pass", "--wait", "20"].iter().chain(words).copied().collect();
    let output = bench.run("azslurm-sync", &words);
    let text = said(&output, code);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Changes rows of the ledger by hand.
pub fn change(bench: &Bench, sql: &str) {
    let ledger = rusqlite::Connection::open(bench.ledger_path()).unwrap();
    ledger.execute_batch(sql).unwrap();
}

/// Names of what the emulator still has of a type.
pub fn alive(bench: &Bench, kind: &str) -> Vec<String> {
    let all = bench.emulator.alive().unwrap();
    all.into_iter().filter(|one| one.is_a(kind)).map(|one| one.name).collect()
}
