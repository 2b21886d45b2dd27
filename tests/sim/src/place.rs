//! What every simulated cluster has: the config, the folder of the ledger, and how Azure is set up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use azslurm_arm_emulator::model::config::Config as Azure;
use azslurm_core::config::{self, Config};
use serde_json::{Value, json};

/// Public and of no use anywhere.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5vIGtleSBpbiB0ZXN0cyBpcyBhIHNlY3JldCBrZXk= x";
/// The emulator's first subscription.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
/// The regions of the two sites.
pub const REGIONS: [&str; 2] = ["westeurope", "northeurope"];
/// How long slurmctld waits for a node, in seconds. Shorter than on a real cluster, as are Azure's
/// durations here: a schedule then has fewer polls and passes, and the same order of things.
pub const RESUME_TIMEOUT_S: u64 = 420;

/// How long a silent slurmd is waited for, in milliseconds.
pub const SLURMD_TIMEOUT: i64 = 60_000;
/// How long a node idles before slurmctld powers it off, in milliseconds.
pub const SUSPEND_TIME: i64 = 30_000;
/// How long slurmctld gives a node to power off, in milliseconds.
pub const SUSPEND_TIMEOUT: i64 = 60_000;

/// Rows of a page of Azure's lists.
const PAGE_SIZE: usize = 2;

/// The nodesets, each with as many nodes as its jobs can use.
pub const NODESETS: [Nodes; 3] = [
    Nodes { name: "n", sku: "Standard_D4s_v5", count: 3 },
    Nodes { name: "hb", sku: "Standard_HB120rs_v3", count: 4 },
    Nodes { name: "s", sku: "Standard_D8s_v5", count: 2 },
];

/// A node of the config that slurm.conf does not have (any more).
pub const STRANGER: &str = "n4";

/// The nodes of a nodeset: `<name>1` and so on.
#[derive(Debug, Clone, Copy)]
pub struct Nodes {
    /// Nodeset, partition and beginning of the names.
    pub name: &'static str,
    /// Size of its VMs.
    pub sku: &'static str,
    /// How many.
    pub count: usize,
}

impl Nodes {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.count).map(|number| format!("{}{number}", self.name))
    }
}

/// Where a cluster's files are.
#[derive(Debug, Clone)]
pub struct Place {
    /// The ledger.
    pub ledger: PathBuf,
    /// The config, read.
    pub config: Arc<Config>,
}

impl Place {
    /// In a folder of its own.
    pub fn new(folder: &Path) -> Place {
        let ledger = folder.join("ledger.db");
        let text = text(&ledger);
        let mut config = config::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
        config.slurm.resume_timeout = Duration::from_secs(RESUME_TIMEOUT_S);
        Place { ledger, config: Arc::new(config) }
    }
}

fn text(ledger: &Path) -> String {
    let site = |name: &str, region: &str, group: &str, net: &str| {
        format!(
            "[site.{name}]\nsubscription = \"{SUBSCRIPTION}\"\nregion = \"{region}\"\n\
             resource_group = \"{group}\"\nsubnet = \"/subscriptions/{SUBSCRIPTION}/resourceGroups/\
             {net}/providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute\"\n"
        )
    };
    let nodeset = |nodes: &Nodes, (count, more): (usize, &str)| {
        format!(
            "[nodeset.{0}]\nnodes = \"{0}[1-{1}]\"\nsites = [\"west\", \"north\"]\n\
             spill = \"next-site\"\nsku = \"{2}\"\n\
             image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\nssh_public_key = \"{KEY}\"\n{more}",
            nodes.name, count, nodes.sku
        )
    };
    let [plain, fast, spot] = &NODESETS;
    let here = "http://127.0.0.1:1";
    format!(
        "[cluster]\nname = \"sim\"\n[slurm]\nbin_dir = \"/nonexistent\"\n[ledger]\npath = \"{}\"\n\
         [cloud]\nname = \"custom\"\nauthority = \"{here}\"\nresource_manager = \"{here}\"\n\
         audience = \"{here}\"\nresource_graph = \"{here}\"\nimds = \"{here}\"\n{}{}{}{}{}",
        ledger.display(),
        site("west", REGIONS[0], "hpc", "net"),
        site("north", REGIONS[1], "hpc-north", "net-north"),
        nodeset(plain, (plain.count + 1, "")),
        nodeset(fast, (fast.count, "interconnect = \"infiniband\"\nblock_nodes = 2\n")),
        nodeset(spot, (spot.count, "priority = \"spot\"\n")),
    )
}

/// VMs in our resource group that are not ours: another cluster's, by its tags, and somebody's.
pub const OTHERS: [&str; 2] = ["n1-theirs", "webserver"];

/// Those, for the model.
pub fn others() -> Value {
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc/providers");
    let subnet = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network/\
         virtualNetworks/vnet/subnets/compute"
    );
    let [cluster, somebody] = OTHERS.map(|name| {
        let id = format!("{group}/Microsoft.Compute/virtualMachines/{name}");
        json!({"id": id, "words": {"vm": name}})
    });
    let mut of_cluster = cluster;
    of_cluster["tags"] = json!({"azslurm-cluster": "sim2", "azslurm-node": "n1",
        "azslurm-nodeset": "n", "azslurm-attempt": "theirs"});
    json!({"vms": [of_cluster, somebody], "template": {
        "location": REGIONS[0],
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "storageProfile": {
                "imageReference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc",
                    "sku": "2204", "version": "latest"},
                "osDisk": {"name": "{vm}-os", "createOption": "FromImage",
                    "deleteOption": "Delete",
                    "managedDisk": {"storageAccountType": "StandardSSD_LRS"}}},
            "osProfile": {"computerName": "{vm}", "adminUsername": "azslurm",
                "linuxConfiguration": {"disablePasswordAuthentication": true,
                    "ssh": {"publicKeys": [{"path": "/home/azslurm/.ssh/authorized_keys",
                        "keyData": KEY}]}}},
            "networkProfile": {"networkApiVersion": "2020-11-01",
                "networkInterfaceConfigurations": [{"name": "{vm}-nic", "properties": {
                    "primary": true, "deleteOption": "Delete",
                    "ipConfigurations": [{"name": "ipconfig1", "properties": {
                        "primary": true, "subnet": {"id": subnet}}}]}}]}}}})
}

/// Azure as the cluster finds it.
pub fn azure(seed: u64) -> Azure {
    let spread = |p50: u64, p90: u64| json!({"p50": p50 * 1000, "p90": p90 * 1000});
    let delays = json!({
        "vm_create_ms": spread(15, 45),
        "vm_delete_ms": spread(15, 50),
        "vm_force_delete_ms": spread(15, 40),
        "vm_deallocate_ms": spread(20, 40),
        "eviction_ms": spread(30, 90),
        "resource_delete_ms": spread(3, 8),
    });
    let mut config = Azure { seed, ..Azure::default() };
    config.offers.listed = NODESETS.iter().map(|nodes| nodes.sku.to_owned()).collect();
    // The list of a few VMs has several pages, as that of thousands in Azure.
    config.habits.page_size = PAGE_SIZE;
    config.delays = config.delays.changed(&delays).expect("these are members of the delays");
    config
}
