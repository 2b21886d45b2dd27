//! The cluster that is disturbed: three nodesets, a file system of its own for the ledger, and
//! resources of others in the same group.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use azslurm_test_cluster::{Cluster, ClusterSpec, NodesetSpec};
use serde_json::{Value, json};

use crate::arguments::Wish;
use crate::killer::Killer;

/// Name of nodeset and partition, nodes, the largest job, and what stands in the config.
pub const NODESETS: [(&str, u32, u32, &[&str]); 3] = [
    (
        "htc",
        12,
        3,
        &["sites = [\"west\", \"north\"]", "sku = \"Standard_D4s_v5\"", "spill = \"next-site\""],
    ),
    (
        "hb",
        8,
        4,
        &[
            "sites = [\"west\", \"north\"]",
            "sku = \"Standard_HB120rs_v3\"",
            "spill = \"next-site\"",
            "interconnect = \"infiniband\"",
            "block_nodes = 4",
        ],
    ),
    (
        "spot",
        6,
        2,
        &[
            "sites = [\"west\"]",
            "sku = \"Standard_D4s_v5\"",
            "priority = \"spot\"",
            "eviction_policy = \"delete\"",
        ],
    ),
];

/// Passes often, and gives up soon: a run is short.
const CONFIG: &str = "\
[sync]
interval_seconds = 5

[limits]
tries = 3
request_timeout_seconds = 10
";

/// Long enough that a program is killed while Azure works.
const EMULATOR: &str = "\
[delays]
vm_create_ms = 2000
vm_delete_ms = 1500
vm_force_delete_ms = 1500
retry_after_s = 1
first_poll_retry_after_s = 2
";

/// A ledger of such a run has less than a megabyte, its WAL not much more.
const DISK: &str = "size=24m,mode=0755";

/// What others have there: name and tags.
fn others() -> [(&'static str, Value); 2] {
    [
        ("somebody", json!({ "owner": "somebody" })),
        (
            "htc-001-0aother1",
            json!({ "azslurm-cluster": "other", "azslurm-node": "htc-001",
            "azslurm-nodeset": "htc", "azslurm-attempt": "0aother1" }),
        ),
    ]
}

/// Begins the run again in a mount namespace of its own: its file systems, and the names of its
/// nodes in /etc/hosts, are nobody else's, and end with it.
pub fn enter(wish: &Wish) -> Result<()> {
    let this = std::env::current_exe().context("the running program")?;
    let minutes = (wish.lasts.as_secs_f64() / 60.0).to_string();
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(this)
        .args(["within", "--minutes", &minutes, "--seed", &wish.seed.to_string()])
        .exec();
    Err(error).context("run unshare")
}

/// slurmctld of 22.05 asks for the addresses of nodes that are off by their names, and stands
/// still for eight seconds with its locks when nobody knows them. In a cloud there are names.
fn know_names(folder: &Path) -> Result<()> {
    let mut hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    for (name, nodes, ..) in NODESETS {
        hosts.extend((1..=nodes).map(|number| format!("\n127.0.0.1 {name}-{number:03}")));
    }
    let path = folder.join("hosts");
    fs::write(&path, hosts + "\n")?;
    bind(&path, Path::new("/etc/hosts"))
}

/// The disturbed cluster.
#[derive(Debug)]
pub struct Bed {
    /// The cluster.
    pub cluster: Cluster,
    /// Who kills its programs.
    pub killer: Killer,
    /// What others have: every resource and its history as it was in the beginning.
    pub others: Vec<Value>,
    _folder: tempfile::TempDir,
}

impl Bed {
    /// Starts the cluster; nothing disturbs it yet.
    pub fn start(wish: &Wish) -> Result<Bed> {
        let folder = tempfile::Builder::new().prefix("azslurm-killer-").tempdir_in("/tmp")?;
        let killer = Killer::new(folder.path(), wish.seed)?;
        know_names(folder.path())?;
        let nodesets = NODESETS.map(|(name, nodes, _, lines)| NodesetSpec {
            name: name.to_owned(),
            nodes,
            has_ports: true,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        });
        let cluster = Cluster::start(&ClusterSpec {
            name: "chaos".to_owned(),
            nodes: NODESETS.iter().map(|(_, nodes, ..)| nodes).sum(),
            // slurmctld asks a node what runs there every 20 pings, three of which it makes in
            // this time: only then it finds out that a job which it began, and died over, has not
            // begun.
            slurmd_timeout: Duration::from_secs(40),
            // More lives of nodes in the same time.
            suspend_time: Duration::from_secs(6),
            // The audit asks for every job.
            extra_conf: vec!["MinJobAge=86400".to_owned()],
            rendered: Some(nodesets.to_vec()),
            config_text: CONFIG.to_owned(),
            emulator_config: Some(EMULATOR.to_owned()),
            has_gate: true,
            program_dir: Some(killer.program_dir()),
            ledger_folder: "disk/ledger".to_owned(),
            ..ClusterSpec::default()
        })?;
        let disk = cluster.dir().join("disk");
        fs::create_dir(&disk)?;
        mount(&["-t", "tmpfs", "-o", DISK, "azslurm-chaos", &disk.display().to_string()])?;
        fs::create_dir(disk.join("ledger"))?;
        let read_only = cluster.dir().join("disk-read-only");
        fs::create_dir(&read_only)?;
        bind(&disk, &read_only)?;
        mount(&["-o", "remount,bind,ro", &read_only.display().to_string()])?;
        let mut bed = Bed { cluster, killer, others: Vec::new(), _folder: folder };
        bed.make_others()?;
        Ok(bed)
    }

    /// The file system of the ledger.
    pub fn disk(&self) -> PathBuf {
        self.cluster.dir().join("disk")
    }

    /// The same where nothing can be opened for writing.
    pub fn read_only_disk(&self) -> PathBuf {
        self.cluster.dir().join("disk-read-only")
    }

    /// Where jobs write what they see.
    pub fn evidence(&self) -> PathBuf {
        self.cluster.dir().join("home/evidence")
    }

    /// What belongs to others now, as the emulator tells it.
    pub fn seen_of_others(&self) -> Result<Vec<Value>> {
        let mut all = self.cluster.emulator().get("/resources")?;
        let all = all["resources"].take();
        let is_theirs = |seen: &&Value| {
            let name = seen["name"].as_str().unwrap_or_default();
            others().iter().any(|(other, _)| name.starts_with(other))
        };
        Ok(all.as_array().into_iter().flatten().filter(is_theirs).cloned().collect())
    }

    /// VMs of these nodes and of others run, and start nothing. Replaces the former list.
    pub fn never_boot(&self, nodes: &[&str]) -> Result<()> {
        let names = others().map(|(name, _)| format!("of-{name}"));
        let all: Vec<&str> =
            names.iter().map(String::as_str).chain(nodes.iter().copied()).collect();
        self.cluster.emulator().never_boot(&all)
    }

    fn make_others(&mut self) -> Result<()> {
        let azure = self.cluster.emulator();
        self.never_boot(&[])?;
        let id = |name: &str| {
            format!(
                "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/hpc/\
                 providers/Microsoft.Compute/virtualMachines/{name}"
            )
        };
        let one = |(name, tags): &(&str, Value)| {
            let words = json!({ "vm": name, "node": format!("of-{name}") });
            json!({ "id": id(name), "words": words, "tags": tags })
        };
        let vms: Vec<Value> = others().iter().map(one).collect();
        azure.post("/seed", &json!({ "template": template(), "vms": vms }))?;
        self.cluster.wait_for(Duration::from_secs(60), "the VMs of others to run", || {
            let vms = azure.vms()?;
            let is_done = |vm: &azslurm_test_cluster::Resource| {
                vm.provisioning_state.as_deref() == Some("Succeeded")
                    && vm.power_state.as_deref() == Some("PowerState/running")
            };
            Ok(vms.iter().filter(|vm| is_done(vm)).count() == others().len())
        })?;
        self.others = self.seen_of_others()?;
        ensure!(!self.others.is_empty(), "others have nothing");
        Ok(())
    }
}

/// A VM as somebody else would make it.
fn template() -> Value {
    json!({
        "location": "westeurope",
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_D4s_v5"},
            "storageProfile": {
                "imageReference": {"publisher": "Canonical", "offer": "ubuntu-24_04-lts",
                    "sku": "server", "version": "latest"},
                "osDisk": {"name": "{vm}-os", "createOption": "FromImage",
                    "deleteOption": "Delete",
                    "managedDisk": {"storageAccountType": "StandardSSD_LRS"}}},
            "osProfile": {"computerName": "{node}", "adminUsername": "theirs",
                "linuxConfiguration": {"disablePasswordAuthentication": true,
                    "ssh": {"publicKeys": [{"path": "/home/theirs/.ssh/authorized_keys",
                        "keyData": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGCrwXmJHmFnEbUyyWFVhw\
                            KTVpRqXoJ6Q0kRZ1kT0bLq theirs"}]}}},
            "networkProfile": {"networkApiVersion": "2020-11-01",
                "networkInterfaceConfigurations": [{"name": "{vm}-nic", "properties": {
                    "primary": true, "deleteOption": "Delete",
                    "ipConfigurations": [{"name": "ipconfig1", "properties": {
                        "primary": true, "subnet": {"id":
                            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/\
                             net/providers/Microsoft.Network/virtualNetworks/vnet/subnets/\
                             compute"}}}]}}]},
        },
    })
}

/// Shows what is at `from` at `to` as well.
pub fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(&["--bind", &from.display().to_string(), &to.display().to_string()])
}

fn mount(arguments: &[&str]) -> Result<()> {
    finish(Command::new("mount").args(arguments), "mount")
}

/// Unmounts what is on top there; who uses it still keeps it until he has done.
pub fn unmount(path: &Path) -> Result<()> {
    finish(Command::new("umount").arg("-l").arg(path), "umount")
}

fn finish(command: &mut Command, name: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
