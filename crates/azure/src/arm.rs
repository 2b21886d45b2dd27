//! One credential's door to Azure.

use azslurm_core::attempt::AttemptPlace;
use azslurm_core::config::{Cloud, Credential, Limits, Site};
use azslurm_core::vm::VmSpec;
use azslurm_core::{ClusterName, NodeName, VmName};
use tokio::time::Instant;

use crate::{AzureError, Calls, Leftover, Listing, OperationState, Reply, Started, Vm, VmRow};

/// Where VMs are: subscription and resource group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Subscription id.
    pub subscription: String,
    /// Resource group.
    pub resource_group: String,
}

impl From<&AttemptPlace> for Place {
    fn from(place: &AttemptPlace) -> Place {
        Place {
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
        }
    }
}

impl From<&Site> for Place {
    fn from(site: &Site) -> Place {
        Place {
            subscription: site.subscription.clone(),
            resource_group: site.resource_group.clone(),
        }
    }
}

/// One credential's door to Azure. Cheap to clone; all clones share connections, token, gates and counters.
#[derive(Debug, Clone)]
pub struct Arm {}

impl Arm {
    /// Reads the CA bundle and checks the endpoints; nothing is sent, and no secret is read before it is used.
    pub fn new(_: &Cloud, _: &Credential, _: &Limits) -> Result<Arm, AzureError> {
        unimplemented!()
    }

    /// Asks for a VM. The same spec sent twice is the same VM. Nothing is sent after `settle`, so that a PUT of
    /// this call cannot arrive long after it. `settle` is a `std` or a `tokio` instant.
    pub async fn put_vm(
        &self,
        _place: &Place,
        _spec: &VmSpec,
        _settle: impl Into<Instant>,
    ) -> Result<Reply<Started>, AzureError> {
        unimplemented!()
    }

    /// A VM with its instance view; `None` if Azure does not know it. A resource group that is gone is a refusal.
    pub async fn get_vm(
        &self,
        _place: &Place,
        _vm: &VmName,
    ) -> Result<Reply<Option<Vm>>, AzureError> {
        unimplemented!()
    }

    /// Asks for a VM's deletion; `force` skips its shutdown. One that is absent is deleted already.
    pub async fn delete_vm(
        &self,
        _place: &Place,
        _vm: &VmName,
        _force: bool,
    ) -> Result<Reply<Started>, AzureError> {
        unimplemented!()
    }

    /// All VMs of a resource group, ours or not, without power states.
    pub async fn list_vms(
        &self,
        _subscription: &str,
        _group: &str,
    ) -> Result<Listing<Vm>, AzureError> {
        unimplemented!()
    }

    /// The VMs of a cluster (of some of its nodes) by Resource Graph, ordered by id.
    pub async fn query_vms(
        &self,
        _subscriptions: &[String],
        _cluster: &ClusterName,
        _nodes: Option<&[NodeName]>,
    ) -> Result<Listing<VmRow>, AzureError> {
        unimplemented!()
    }

    /// Asks once how an operation stands.
    pub async fn poll(&self, _operation: &str) -> Result<Reply<OperationState>, AzureError> {
        unimplemented!()
    }

    /// All NICs of a resource group.
    pub async fn list_nics(
        &self,
        _subscription: &str,
        _group: &str,
    ) -> Result<Listing<Leftover>, AzureError> {
        unimplemented!()
    }

    /// All disks of a resource group.
    pub async fn list_disks(
        &self,
        _subscription: &str,
        _group: &str,
    ) -> Result<Listing<Leftover>, AzureError> {
        unimplemented!()
    }

    /// Requests sent so far.
    pub fn calls(&self) -> Calls {
        unimplemented!()
    }
}

/// PUT body.
pub fn body_of(_spec: &VmSpec) -> serde_json::Value {
    unimplemented!()
}

/// SHA-256 of a body, in hex.
pub fn body_hash(_body: &serde_json::Value) -> String {
    unimplemented!()
}
