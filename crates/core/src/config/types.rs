//! The config as the programs see it: parsed, complete with defaults, every name checked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use smol_str::SmolStr;

use super::lines::{NodeLine, Partition, Power, Topology};
use super::node_init::{Mount, NodeInit};
use crate::secret::Secret;
use crate::{ClusterName, NodeName, NodesetName, PartitionName, SiteName};

/// The whole of `azslurm.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[cluster] name`.
    pub cluster: ClusterName,
    /// `[slurm]`.
    pub slurm: Slurm,
    /// `[ledger]`.
    pub ledger: Ledger,
    /// `[log]`.
    pub log: Log,
    /// `[sync]`.
    pub sync: Daemon,
    /// `[limits]`.
    pub limits: Limits,
    /// `[cloud]`.
    pub cloud: Cloud,
    /// `[site.NAME]`, each with the credential that applies to it.
    pub sites: BTreeMap<SiteName, Site>,
    /// `[nodeset.NAME]`.
    pub nodesets: BTreeMap<NodesetName, Nodeset>,
    /// `[power]`.
    pub power: Power,
    /// `[partition.NAME]`; without any each nodeset is one.
    pub partitions: BTreeMap<PartitionName, Partition>,
    /// `[node_init]`.
    pub node_init: NodeInit,
    /// `[mount.NAME]`.
    pub mounts: BTreeMap<String, Mount>,
}

impl Config {
    /// Whether the text of the config itself holds a secret: then nobody else may be able to read
    /// the file. Every credential of the text is some site's (a `[credential]` that no site uses is
    /// refused).
    pub fn holds_secret(&self) -> bool {
        self.sites.values().any(|site| {
            matches!(
                &site.credential,
                Credential::ClientSecret { secret: SecretSource::Inline(_), .. }
            )
        })
    }

    /// The nodeset that a node belongs to. Nodes belong to one nodeset at most (checked when
    /// parsed).
    pub fn nodeset_of(&self, node: &NodeName) -> Option<(&NodesetName, &Nodeset)> {
        self.nodesets.iter().find(|(_, nodeset)| nodeset.nodes.binary_search(node).is_ok())
    }
}

/// `[slurm]`: how to reach slurmctld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slurm {
    /// `bin_dir`: where `scontrol` is. slurmctld gives its programs no PATH. Default `/usr/bin`.
    pub bin_dir: PathBuf,
    /// `conf`: slurm.conf, handed to `scontrol` as `SLURM_CONF`; absent: what the environment says,
    /// which is what slurmctld sets for its programs.
    pub conf: Option<PathBuf>,
    /// `command_timeout_seconds`: a `scontrol` that takes longer is ended. Default 60.
    pub command_timeout: Duration,
    /// `resume_timeout_seconds`: ResumeTimeout of slurm.conf (the greatest of its partitions). Our
    /// driver ends well before. Default 1800.
    pub resume_timeout: Duration,
    /// `controller`: the name of slurmctld's host for `{controller}` in user data. Default: empty.
    pub controller: String,
    /// `topology`: the plugin that keeps jobs within a block. Default tree.
    pub topology: Topology,
}

impl Default for Slurm {
    fn default() -> Slurm {
        Slurm {
            bin_dir: PathBuf::from("/usr/bin"),
            conf: None,
            command_timeout: Duration::from_secs(60),
            resume_timeout: Duration::from_secs(1800),
            controller: String::new(),
            topology: Topology::Tree,
        }
    }
}

/// `[ledger]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// `path`. Default `/var/lib/azslurm/ledger.db`.
    pub path: PathBuf,
    /// `events_days`: events older than this are pruned. Default 90.
    pub events_age_max: Duration,
    /// `events_max`: at most this many events are kept. Default 1,000,000.
    pub events_max: u64,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `level`: error, warn, info, debug. Default info.
    pub level: LogLevel,
    /// `file`: a file to write beside journald. Default: stderr where there is no journald.
    pub file: Option<PathBuf>,
}

/// `level` of `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// A person must look.
    Error,
    /// Handled, but unexpected.
    Warn,
    /// A decision or its outcome.
    Info,
    /// The rest.
    Debug,
}

/// `[sync]`: the daemon of azslurm-sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// `interval_seconds`: between two passes of the daemon while nothing is under way. Default 30:
    /// a pass of a quiet cluster is one call to Resource Graph per thousand VMs (FACTS §8: 15 in 5
    /// s are allowed).
    pub interval: Duration,
}

/// `[limits]`: what we ask of Azure at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `requests_in_flight`: requests open at once to one ARM endpoint. Default 64 (STACK: more
    /// gains nothing).
    pub requests_in_flight: usize,
    /// `request_timeout_seconds`: one HTTP request. Default 60.
    pub request_timeout: Duration,
    /// `tries`: how often one request is sent at most when Azure answers 5xx or not at all. A 429
    /// does not count: it waits until Azure's own time. Default 5.
    pub tries: u32,
}

/// `[cloud]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// `name`. Default public.
    pub name: CloudName,
    /// The endpoints of that cloud; for `custom` all four are named in the config.
    pub endpoints: Endpoints,
    /// `ca_bundle`: PEM file of the CAs to trust. Default: the system's bundle.
    pub ca_bundle: Option<PathBuf>,
}

/// `name` of `[cloud]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudName {
    /// Azure.
    Public,
    /// Azure US Government.
    UsGov,
    /// Azure operated by 21Vianet.
    China,
    /// Endpoints are named in the config (a sovereign cloud, or a test).
    Custom,
}

/// Base URLs, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// `authority`: Microsoft Entra, `https://login.microsoftonline.com`.
    pub authority: String,
    /// `resource_manager`: ARM, `https://management.azure.com`.
    pub resource_manager: String,
    /// `audience`: what tokens are asked for; `<audience>/.default` is the scope. Default:
    /// `resource_manager`.
    pub audience: String,
    /// `resource_graph`: Azure Resource Graph; the same host as ARM in Azure's own clouds.
    pub resource_graph: String,
    /// `prices`: the public list of retail prices; `None` where a cloud has none.
    pub prices: Option<String>,
    /// `imds`: `http://169.254.169.254`.
    pub imds: String,
}

/// `[credential]` (for all sites) or `[site.NAME.credential]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// `type = "managed-identity"`; at most one of `client_id`, `object_id`, `resource_id` names a
    /// user-assigned one.
    ManagedIdentity(ManagedIdentity),
    /// `type = "client-secret"`.
    ClientSecret {
        /// `tenant_id`.
        tenant: String,
        /// `client_id`.
        client: String,
        /// `client_secret`, or `client_secret_file`.
        secret: SecretSource,
    },
    /// `type = "client-certificate"`: PEM with certificate and private key (RSA).
    ClientCertificate {
        /// `tenant_id`.
        tenant: String,
        /// `client_id`.
        client: String,
        /// `certificate_file`.
        certificate_file: PathBuf,
    },
    /// `type = "workload-identity"`: a federated token in a file.
    WorkloadIdentity {
        /// `tenant_id`.
        tenant: String,
        /// `client_id`.
        client: String,
        /// `token_file`.
        token_file: PathBuf,
    },
    /// `type = "azure-cli"`: whoever is logged in to `az` (a developer's machine).
    AzureCli,
}

/// Which managed identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagedIdentity {
    /// The system-assigned one.
    System,
    /// User-assigned, by client id.
    ClientId(String),
    /// User-assigned, by object (principal) id.
    ObjectId(String),
    /// User-assigned, by resource id.
    ResourceId(String),
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In the config itself, which others must then not be able to read.
    Inline(Secret),
    /// In a file that others must not be able to read.
    File(PathBuf),
}

/// `[site.NAME]`: a place where VMs can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// `subscription`: its id (a GUID).
    pub subscription: String,
    /// `region`: `westeurope`.
    pub region: Region,
    /// `resource_group`: where the VMs go; all of them are ours.
    pub resource_group: String,
    /// `subnet`: resource id.
    pub subnet: String,
    /// `network_security_group`: resource id, for the NICs.
    pub network_security_group: Option<String>,
    /// `cores_max`: vCPUs of all VMs of ours here together; `None`: as many as Azure has.
    pub cores_max: Option<u64>,
    /// `[site.NAME.credential]`, else `[credential]`, else the system-assigned managed identity.
    pub credential: Credential,
}

/// `[nodeset.NAME]`: Slurm nodes that get the same kind of VM.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodeset {
    /// `nodes`: host list, expanded and sorted by name.
    pub nodes: Vec<NodeName>,
    /// `sites`: in order of preference.
    pub sites: Vec<SiteName>,
    /// `zones`: in order of preference; empty: regional VMs.
    pub zones: Vec<Zone>,
    /// `zone_policy`. Default pack.
    pub zone_policy: ZonePolicy,
    /// `spill`. Default never.
    pub spill: Spill,
    /// `cores_max`: vCPUs of all VMs of this nodeset together; `None`: no limit of ours.
    pub cores_max: Option<u64>,
    /// The block of each node, parallel to `nodes`: from 1, in the order of the names, by
    /// `block_nodes` nodes each. Empty without InfiniBand.
    pub blocks: Vec<u32>,
    /// `sku`: VM size, `Standard_HB120rs_v3`.
    pub sku: Sku,
    /// `interconnect`. Default none.
    pub interconnect: Interconnect,
    /// `priority`, `max_price`, `eviction_policy`.
    pub priority: Priority,
    /// `image` and `image_plan`.
    pub image: Image,
    /// `[nodeset.NAME.os_disk]`.
    pub os_disk: OsDisk,
    /// `accelerated_networking`. Default true.
    pub accelerated_networking: bool,
    /// `admin_username`. Default `azslurm`.
    pub admin_username: String,
    /// `ssh_public_key`: the key's line, or `ssh_public_key_file`.
    pub ssh_public_key: TextSource,
    /// `user_data_file`: a file whose `{cluster}`, `{node}`, `{nodeset}`, `{controller}` are
    /// substituted.
    pub user_data_file: Option<PathBuf>,
    /// `identities`: resource ids of user-assigned identities for the VMs.
    pub identities: Vec<String>,
    /// `capacity_reservation_group`: resource id.
    pub capacity_reservation_group: Option<String>,
    /// `[nodeset.NAME.tags]`: the operator's own tags.
    pub tags: BTreeMap<String, String>,
    /// The keys for its line in slurm.conf.
    pub line: NodeLine,
}

/// A text in the config or in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSource {
    /// The text itself.
    Inline(String),
    /// A file that holds it.
    File(PathBuf),
}

macro_rules! word_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl $name {
            /// Wraps a word that the config or the ledger has checked: letters, digits, `_` and `-`
            /// only. `None` otherwise.
            pub fn new(text: &str) -> Option<Self> {
                let good = !text.is_empty()
                    && text.len() <= 64
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                good.then(|| Self(text.into()))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

word_type!(
    /// An Azure region, `westeurope`.
    Region
);
word_type!(
    /// An availability zone of a region: `1`, `2`, `3`.
    Zone
);
word_type!(
    /// A VM size, `Standard_HB120rs_v3`.
    Sku
);

/// `zone_policy` of a nodeset: how the nodes of a request are laid over its zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZonePolicy {
    /// All in the first zone that may be tried.
    Pack,
    /// Evenly over all zones that may be tried.
    Spread,
}

/// `spill` of a nodeset: what happens when its first site is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spill {
    /// Its VMs are made at its first site or not at all: where the data is.
    Never,
    /// The next site is tried.
    NextSite,
}

/// `interconnect` of a nodeset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interconnect {
    /// Ethernet only: every node is placed alone.
    None,
    /// InfiniBand: nodes are placed in blocks.
    Infiniband,
}

/// `priority` of a nodeset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Priority {
    /// Ordinary VMs.
    Regular,
    /// Spot VMs, which Azure may take.
    Spot {
        /// `max_price` in USD per hour; `None` is Azure's -1: never evicted for its price.
        max_price: Option<f64>,
        /// `eviction_policy`.
        eviction: EvictionPolicy,
    },
}

/// `eviction_policy` of a Spot nodeset. Default delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// The VM and all that is marked `Delete` with it go.
    Delete,
    /// The VM is deallocated and stays until somebody deletes it.
    Deallocate,
}

/// `image` of a nodeset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Which image.
    pub reference: ImageReference,
    /// `image_plan = "publisher:product:name"`, for images that need a purchase plan.
    pub plan: Option<Plan>,
}

impl Image {
    /// The reference as the config has it: what a hold of an image names.
    pub fn reference_text(&self) -> String {
        match &self.reference {
            ImageReference::Id(id)
            | ImageReference::SharedGallery(id)
            | ImageReference::CommunityGallery(id) => id.clone(),
            ImageReference::Urn { publisher, offer, sku, version } => {
                format!("{publisher}:{offer}:{sku}:{version}")
            }
        }
    }
}

impl Nodeset {
    /// The sites that its VMs may be made at, in order of preference.
    pub fn open_sites(&self) -> &[SiteName] {
        match self.spill {
            Spill::Never => &self.sites[..self.sites.len().min(1)],
            Spill::NextSite => &self.sites,
        }
    }

    /// The block of one of its nodes; `None` without InfiniBand, or for a node of another nodeset.
    pub fn block_of(&self, node: &NodeName) -> Option<u32> {
        let at = self.nodes.binary_search(node).ok()?;
        self.blocks.get(at).copied()
    }

    /// The nodes of block `number`, in the order of their names.
    pub fn nodes_of_block(&self, number: u32) -> impl Iterator<Item = &NodeName> {
        let pairs = self.nodes.iter().zip(&self.blocks);
        pairs.filter(move |(_, block)| **block == number).map(|(node, _)| node)
    }

    /// Whether its VMs are Spot.
    pub fn is_spot(&self) -> bool {
        match self.priority {
            Priority::Regular => false,
            Priority::Spot { .. } => true,
        }
    }
}

/// How an image is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
    /// Resource id of a gallery image (version) or of a managed image.
    Id(String),
    /// `/sharedGalleries/…`
    SharedGallery(String),
    /// `/CommunityGalleries/…`
    CommunityGallery(String),
    /// `publisher:offer:sku:version`.
    Urn {
        /// First part.
        publisher: String,
        /// Second part.
        offer: String,
        /// Third part.
        sku: String,
        /// Fourth part, `latest` or exact.
        version: String,
    },
}

/// The purchase plan of a marketplace image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `plan.publisher`.
    pub publisher: String,
    /// `plan.product`.
    pub product: String,
    /// `plan.name`.
    pub name: String,
}

/// `[nodeset.NAME.os_disk]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsDisk {
    /// `size_gb`; absent: the image's.
    pub size_gb: Option<u32>,
    /// `type`: `Standard_LRS`, `StandardSSD_LRS`, `Premium_LRS`. Default `StandardSSD_LRS`.
    pub storage: String,
    /// `ephemeral`: where on the VM's own disks; absent: a managed disk.
    pub ephemeral: Option<EphemeralPlacement>,
}

/// `ephemeral` of an OS disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EphemeralPlacement {
    /// `cache-disk`
    CacheDisk,
    /// `resource-disk`
    ResourceDisk,
    /// `nvme-disk`
    NvmeDisk,
}
