//! The kinds of resources that the model keeps, as data. What happens to them is in the module of
//! each kind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Map, Value};

use super::address::{Cidr, Pool};
use super::capacity::Demand;
use super::history::RecordId;
use super::ids::{Key, ResourceId};
use super::message::ArmError;
use super::operation::OperationId;
use super::time::Millis;
use super::vm_body::VmPut;
use crate::catalog::SkuFacts;

/// What every resource has.
#[derive(Clone, Debug)]
pub struct Common {
    /// Id in the case of the first PUT.
    pub id: ResourceId,
    /// Region.
    pub location: String,
    /// Tags.
    pub tags: Map<String, Value>,
    /// When it was made.
    pub created: Millis,
    /// Its place in the history.
    pub record: RecordId,
}

/// A resource group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Subscription.
    pub subscription: String,
    /// Name in the case of the first PUT.
    pub name: String,
    /// Region.
    pub location: String,
    /// Tags.
    pub tags: Map<String, Value>,
    /// Its place in the history.
    pub record: RecordId,
    /// Being deleted.
    pub is_deleting: bool,
}

/// A virtual network.
#[derive(Clone, Debug)]
pub struct Vnet {
    /// What every resource has.
    pub common: Common,
    /// Address space as given.
    pub prefixes: Vec<String>,
    /// Address space.
    pub space: Vec<Cidr>,
    /// By name in lower case.
    pub subnets: BTreeMap<String, Subnet>,
    /// Other properties as given.
    pub properties: Map<String, Value>,
}

/// A subnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Name as given.
    pub name: String,
    /// Network as given.
    pub prefix: String,
    /// Other properties as given.
    pub properties: Map<String, Value>,
    /// Addresses.
    pub pool: Pool,
}

/// One address configuration of a NIC.
#[derive(Clone, Debug)]
pub struct IpConfig {
    /// Name.
    pub name: String,
    /// Network.
    pub vnet: Key,
    /// Subnet name in lower case.
    pub subnet: String,
    /// Subnet id as the caller spelled it.
    pub subnet_id: String,
    /// The address.
    pub address: Ipv4Addr,
    /// Chosen by the caller.
    pub is_static: bool,
    /// First of the NIC.
    pub is_primary: bool,
}

/// A network interface.
#[derive(Clone, Debug)]
pub struct Nic {
    /// What every resource has.
    pub common: Common,
    /// Hardware address.
    pub mac: String,
    /// Addresses.
    pub configs: Vec<IpConfig>,
    /// The VM that has it.
    pub vm: Option<Key>,
    /// First NIC of its VM.
    pub is_primary: bool,
    /// Made with the VM.
    pub is_inline: bool,
    /// Kept for this VM until then, after a failed create.
    pub reserved: Option<(Key, Millis)>,
    /// Other properties as given.
    pub properties: Map<String, Value>,
}

/// A managed disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// What every resource has.
    pub common: Common,
    /// `sku.name`.
    pub sku: String,
    /// Size.
    pub size_gb: u64,
    /// Zones.
    pub zones: Vec<String>,
    /// The VM that has it.
    pub vm: Option<Key>,
    /// `creationData` as given.
    pub creation: Value,
    /// It holds an operating system.
    pub is_os: bool,
}

/// An availability set.
#[derive(Clone, Debug)]
pub struct AvailabilitySet {
    /// What every resource has.
    pub common: Common,
    /// `Aligned` or `Classic`.
    pub sku: String,
    /// Fault domains.
    pub fault_domains: u64,
    /// Update domains.
    pub update_domains: u64,
    /// Its placement group.
    pub group: Option<Key>,
    /// Members, VMs in any state.
    pub members: BTreeSet<Key>,
    /// The cluster it is bound to while a member has a place (FACTS §6.2).
    pub cluster: Option<u64>,
}

/// A proximity placement group.
#[derive(Clone, Debug)]
pub struct PlacementGroup {
    /// What every resource has.
    pub common: Common,
    /// `proximityPlacementGroupType`.
    pub kind: String,
    /// `intent.vmSizes`.
    pub sizes: Vec<String>,
    /// Zone chosen with the intent.
    pub zones: Vec<String>,
    /// Member VMs that name it themselves.
    pub vms: BTreeSet<Key>,
    /// Member sets.
    pub sets: BTreeSet<Key>,
}

/// A resource that the emulator only remembers: images, security groups, identities, capacity
/// reservation groups.
#[derive(Clone, Debug)]
pub struct Plain {
    /// What every resource has.
    pub common: Common,
    /// Top-level members as given, without id, name, type, location and tags.
    pub body: Map<String, Value>,
}

/// How a VM's model stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Provisioning {
    /// Being made.
    Creating,
    /// Being changed.
    Updating,
    /// As asked.
    Succeeded,
    /// The last operation failed with this.
    Failed(Box<ArmError>),
    /// Going.
    Deleting,
}

impl Provisioning {
    /// Azure's word.
    pub fn word(&self) -> &'static str {
        match self {
            Provisioning::Creating => "Creating",
            Provisioning::Updating => "Updating",
            Provisioning::Succeeded => "Succeeded",
            Provisioning::Failed(_) => "Failed",
            Provisioning::Deleting => "Deleting",
        }
    }
}

/// Whether a VM runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Never had a place.
    Absent,
    /// About to run.
    Starting,
    /// Runs.
    Running,
    /// About to stop, keeps its place.
    Stopping,
    /// Stopped, keeps its place.
    Stopped,
    /// About to give its place back.
    Deallocating,
    /// Has no place.
    Deallocated,
}

impl Power {
    /// Azure's word after `PowerState/`; none before the VM first had a place.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Power::Absent => None,
            Power::Starting => Some("starting"),
            Power::Running => Some("running"),
            Power::Stopping => Some("stopping"),
            Power::Stopped => Some("stopped"),
            Power::Deallocating => Some("deallocating"),
            Power::Deallocated => Some("deallocated"),
        }
    }
}

/// What a Spot eviction leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// The VM without a place.
    Deallocate,
    /// Nothing.
    Delete,
}

/// A part of a VM and whether it goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The resource.
    pub key: Key,
    /// `deleteOption: Delete`.
    pub goes_with_vm: bool,
}

/// A virtual machine.
#[derive(Clone, Debug)]
pub struct Vm {
    /// What every resource has.
    pub common: Common,
    /// `vmId`.
    pub vm_id: String,
    /// Size.
    pub sku: &'static SkuFacts,
    /// The body that was accepted last.
    pub asked: VmPut,
    /// `properties` as shown, without what changes by itself.
    pub properties: Map<String, Value>,
    /// Spot and what an eviction leaves; none for regular VMs.
    pub spot: Option<EvictionPolicy>,
    /// NICs in order.
    pub nics: Vec<Part>,
    /// Disks, OS disk first.
    pub disks: Vec<Part>,
    /// How its model stands.
    pub provisioning: Provisioning,
    /// Whether it runs.
    pub power: Power,
    /// The place it has.
    pub place: Option<Demand>,
    /// Azure took it.
    pub is_evicted: bool,
    /// Its deletion was asked for with `forceDeletion`.
    pub is_force_deleted: bool,
    /// It ran at least once.
    pub has_run: bool,
    /// It ran and the operation that made it has not ended.
    pub is_provisioning_os: bool,
    /// The newest operation that still runs.
    pub operation: Option<OperationId>,
    /// Its boot command was started and has not ended.
    pub has_process: bool,
    /// Its availability set.
    pub set: Option<Key>,
    /// Its placement group, named by itself.
    pub group: Option<Key>,
    /// Fault domain within its set.
    pub fault_domain: u64,
}
