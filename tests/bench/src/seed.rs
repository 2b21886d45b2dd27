//! VMs that run already: in the emulator and in the ledger alike, without a PUT for each.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use azslurm_core::attempt::{Attempt, AttemptPlace, NewAttempt};
use azslurm_core::config::{Region, Sku};
use azslurm_core::{AttemptId, NodeName, Timestamp, VmName};
use azslurm_ledger::{Holder, LeaseAsk, Ledger, LedgerError, Recorded, Take};
use serde_json::{Value, json};

use crate::bed::{Bed, SKU, SUBSCRIPTION};

/// How long they have run: longer than everything that waits for young ones.
const AGE: Duration = Duration::from_secs(30 * 60);
const IMAGE: &str = "microsoft-dsvm:ubuntu-hpc:2204:latest";
/// The emulator reads no longer body.
const VMS_PER_SEED: usize = 5000;

fn now() -> Result<Timestamp> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Timestamp::from_millis(i64::try_from(since.as_millis())?))
}

/// Nodes `n1` … with a VM each, idle for slurmctld; the names of nodes and VMs.
pub fn run(bed: &Bed, nodes: u32) -> Result<Vec<(NodeName, VmName)>> {
    let at = now()?;
    let made: Vec<(NodeName, AttemptId)> = (1..=nodes)
        .map(|number| Ok((format!("n{number}").parse()?, AttemptId::next(at.minus(AGE), None))))
        .collect::<Result<_>>()?;
    for some in made.chunks(VMS_PER_SEED) {
        let vms: Vec<Value> = some.iter().map(|(node, attempt)| seed_of(node, *attempt)).collect();
        bed.emulator.post("/seed", &json!({ "template": template(), "vms": vms }))?;
    }
    know(bed, (&made, at))?;
    let mut lines = String::new();
    for (node, _) in &made {
        writeln!(
            lines,
            "NodeName={node} Arch=x86_64 CoresPerSocket=1 CPUAlloc=0 CPUEfctv=4 CPUTot=4 \
             CPULoad=0.01 AvailableFeatures=cloud ActiveFeatures=cloud Gres=(null) \
             NodeAddr={node} NodeHostName={node} Version=22.05.8 OS=Linux 5.15.0-1053-azure #61 \
             RealMemory=15000 AllocMem=0 FreeMem=14211 Sockets=4 Boards=1 State=IDLE+CLOUD \
             ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=p \
             BootTime=2026-11-27T10:00:00 SlurmdStartTime=2026-11-27T10:01:00 \
             LastBusyTime=2026-11-27T10:05:00 CfgTRES=cpu=4,mem=15000M,billing=4 AllocTRES= \
             CapWatts=n/a CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 \
             ExtSensorsTemp=n/s"
        )?;
    }
    bed.slurm_says(&lines)?;
    Ok(made.into_iter().map(|(node, attempt)| (node.clone(), VmName::of(&node, attempt))).collect())
}

fn seed_of(node: &NodeName, attempt: AttemptId) -> Value {
    let vm = VmName::of(node, attempt);
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc");
    json!({
        "id": format!("{group}/providers/Microsoft.Compute/virtualMachines/{vm}"),
        "words": {"vm": vm.as_str(), "node": node.as_str()},
        "tags": {"azslurm-cluster": "bench", "azslurm-node": node.as_str(),
            "azslurm-nodeset": "n", "azslurm-attempt": attempt.to_string()},
    })
}

/// As a program would have asked for it.
fn template() -> Value {
    let subnet = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network/\
         virtualNetworks/vnet/subnets/compute"
    );
    json!({
        "location": "westeurope",
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
                        "keyData": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 x"}]}}},
            "networkProfile": {"networkApiVersion": "2020-11-01",
                "networkInterfaceConfigurations": [{"name": "{vm}-nic", "properties": {
                    "primary": true, "deleteOption": "Delete",
                    "ipConfigurations": [{"name": "ipconfig1", "properties": {
                        "primary": true, "subnet": {"id": subnet}}}]}}]},
        },
    })
}

/// Writes VMs into the ledger.
fn know(bed: &Bed, (made, at): (&[(NodeName, AttemptId)], Timestamp)) -> Result<()> {
    let mut ledger = Ledger::open(&bed.ledger_path())?;
    let holder = Holder::new("bench", at, 1);
    let known: Vec<Attempt> =
        made.iter().map(|(node, attempt)| attempt_of(node, *attempt)).collect::<Result<_>>()?;
    let written: Result<usize, LedgerError> = ledger.write(|writer| {
        let mut adopted = 0;
        for attempt in &known {
            let until = at.plus(AGE);
            let ask = LeaseAsk { holder: &holder, take: Take::Seize, now: at, until };
            let lease = writer.lease(&attempt.is.node, &ask)?.granted();
            if let Some(lease) = lease {
                let recorded = writer.adopt(&lease, attempt, at)?;
                adopted += usize::from(matches!(recorded, Recorded::Done(_)));
                writer.release(&lease)?;
            }
        }
        Ok(adopted)
    });
    let adopted = written.context("the ledger")?;
    anyhow::ensure!(adopted == known.len(), "only {adopted} of {} were written", known.len());
    Ok(())
}

fn attempt_of(node: &NodeName, attempt: AttemptId) -> Result<Attempt> {
    let is = NewAttempt {
        vm: VmName::of(node, attempt),
        node: node.clone(),
        attempt,
        nodeset: "n".parse()?,
        place: AttemptPlace {
            site: "west".parse()?,
            subscription: SUBSCRIPTION.to_owned(),
            resource_group: "hpc".to_owned(),
            region: Region::new("westeurope").context("a region")?,
            zone: None,
            block: None,
        },
        sku: Sku::new(SKU).context("a size")?,
        image: IMAGE.to_owned(),
        is_spot: false,
        body_hash: String::new(),
        jobs: Vec::new(),
    };
    Ok(Attempt::running_since(is, attempt.began_at()))
}
