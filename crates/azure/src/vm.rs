//! VMs as Azure shows them. Everything but the id may be absent or strange: what cannot be read is
//! kept as a word or left out, and never fails the VMs beside it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use azslurm_core::vm::{TAG_ATTEMPT, TAG_CLUSTER, TAG_NODE, TAG_NODESET};
use azslurm_core::{AttemptId, ClusterName, NodeName, NodesetName, Timestamp};

use serde::{Deserialize, Serialize};

use crate::ResourceId;

macro_rules! open_enum {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word that we do not know, as Azure spelled it; empty if there was none.
            Other(String),
        }

        impl $name {
            /// Azure's word.
            pub fn word(&self) -> &str {
                match self {
                    $($name::$variant => $word,)*
                    $name::Other(word) => word,
                }
            }
        }

        impl FromStr for $name {
            type Err = Infallible;

            fn from_str(word: &str) -> Result<Self, Infallible> {
                $(if word.eq_ignore_ascii_case($word) {
                    return Ok($name::$variant);
                })*
                Ok($name::Other(word.to_owned()))
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                let Ok(known) = word.parse();
                known
            }
        }

        impl From<$name> for String {
            fn from(known: $name) -> String {
                known.word().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

open_enum!(
    /// `provisioningState` of a VM (FACTS §1.3).
    ProvisioningState {
        /// Being made.
        Creating = "Creating",
        /// Being changed.
        Updating = "Updating",
        /// The last operation ended well. It says nothing about power: an evicted VM keeps it.
        Succeeded = "Succeeded",
        /// The last operation ended badly; the resource holds its name until it is deleted.
        Failed = "Failed",
        /// Being deleted.
        Deleting = "Deleting",
        /// Being moved from the classic model.
        Migrating = "Migrating",
    }
);

open_enum!(
    /// `PowerState/…` of a VM's instance view.
    VmPower {
        /// Being made.
        Creating = "creating",
        /// Booting.
        Starting = "starting",
        /// Running, as far as the hypervisor knows.
        Running = "running",
        /// Being shut down.
        Stopping = "stopping",
        /// Shut down, billed, keeps its place.
        Stopped = "stopped",
        /// Being shut down and released.
        Deallocating = "deallocating",
        /// Released: what an eviction leaves behind.
        Deallocated = "deallocated",
        /// Hibernated.
        Hibernated = "hibernated",
    }
);

impl VmPower {
    /// From a status code, `PowerState/running` (in any case); `None` if the code is of another
    /// kind.
    pub fn from_code(code: &str) -> Option<VmPower> {
        let (kind, word) = code.split_once('/')?;
        if !kind.eq_ignore_ascii_case("PowerState") {
            return None;
        }
        let Ok(power) = word.parse();
        Some(power)
    }
}

/// One status of an instance view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmStatus {
    /// `ProvisioningState/failed/AllocationFailed`, `PowerState/running` …
    pub code: String,
    /// `Info`, `Warning`, `Error` in any spelling; empty if absent.
    pub level: String,
    /// Message for people; the display status if there is none.
    pub text: String,
}

/// Whose VM it is, by its tags. A tag that is absent or cannot be a name of its kind is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    pub cluster: Option<ClusterName>,
    pub node: Option<NodeName>,
    pub attempt: Option<AttemptId>,
    pub nodeset: Option<NodesetName>,
}

impl Marks {
    /// Tag names have no case in Azure.
    pub fn of(tags: &BTreeMap<String, String>) -> Marks {
        let tag = |wanted: &str| {
            tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        Marks {
            cluster: tag(TAG_CLUSTER).and_then(|value| value.parse().ok()),
            node: tag(TAG_NODE).and_then(|value| value.parse().ok()),
            attempt: tag(TAG_ATTEMPT).and_then(|value| value.parse().ok()),
            nodeset: tag(TAG_NODESET).and_then(|value| value.parse().ok()),
        }
    }
}

/// A VM as Resource Manager shows it: the truth of the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Resource id.
    pub id: ResourceId,
    /// Resource name, as Azure spells it.
    pub name: String,
    /// Cluster, by its tag.
    pub cluster: Option<ClusterName>,
    /// Node, by its tag.
    pub node: Option<NodeName>,
    /// Attempt, by its tag.
    pub attempt: Option<AttemptId>,
    /// Nodeset, by its tag.
    pub nodeset: Option<NodesetName>,
    /// All tags.
    pub tags: BTreeMap<String, String>,
    /// Region.
    pub location: Option<String>,
    /// Zones; empty for a regional VM.
    pub zones: Vec<String>,
    /// `hardwareProfile.vmSize`.
    pub sku: Option<String>,
    /// `Spot`, `Regular`, or absent.
    pub priority: Option<String>,
    /// `provisioningState`.
    pub provisioning_state: ProvisioningState,
    /// Power state; `None` where there is no instance view or it does not tell yet.
    pub power: Option<VmPower>,
    /// When Azure made it.
    pub time_created: Option<Timestamp>,
    /// Azure's own id of this VM: another VM of the same name has another one.
    pub vm_id: Option<String>,
    /// Resource ids of its NICs.
    pub nics: Vec<String>,
    /// Name of its availability set, as Azure spells it (its id is in capitals at times).
    pub availability_set: Option<String>,
    /// Resource id of its managed OS disk.
    pub os_disk: Option<String>,
    /// Statuses of the instance view.
    pub statuses: Vec<VmStatus>,
}

/// A VM as Resource Graph shows it: up to about a minute old, and absence proves nothing (FACTS
/// §8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRow {
    /// Resource id.
    pub id: ResourceId,
    /// Resource name.
    pub name: String,
    /// Node, by its tag.
    pub node: Option<NodeName>,
    /// Attempt, by its tag.
    pub attempt: Option<AttemptId>,
    /// Nodeset, by its tag.
    pub nodeset: Option<NodesetName>,
    /// Region.
    pub location: Option<String>,
    /// Zones; empty for a regional VM.
    pub zones: Vec<String>,
    /// VM size.
    pub sku: Option<String>,
    /// `provisioningState`.
    pub provisioning_state: ProvisioningState,
    /// Power state, if known.
    pub power: Option<VmPower>,
}

impl From<Vm> for VmRow {
    /// What a list of Resource Manager showed, as Resource Graph would have.
    fn from(vm: Vm) -> VmRow {
        VmRow {
            id: vm.id,
            name: vm.name,
            node: vm.node,
            attempt: vm.attempt,
            nodeset: vm.nodeset,
            location: vm.location,
            zones: vm.zones,
            sku: vm.sku,
            provisioning_state: vm.provisioning_state,
            power: vm.power,
        }
    }
}

/// What a VM has beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PartKind {
    /// Microsoft.Network/networkInterfaces
    Nic,
    /// Microsoft.Compute/disks
    Disk,
}

impl PartKind {
    /// By its id; `None` for anything else.
    pub fn of(id: &ResourceId) -> Option<PartKind> {
        match id.kind().as_deref() {
            Some("microsoft.network/networkinterfaces") => Some(PartKind::Nic),
            Some("microsoft.compute/disks") => Some(PartKind::Disk),
            Some(_) | None => None,
        }
    }
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PartKind::Nic => "network card",
            PartKind::Disk => "disk",
        })
    }
}

/// A NIC or disk that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Resource id.
    pub id: ResourceId,
    /// Resource name.
    pub name: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Resource id of the VM that has it, if one does.
    pub managed_by: Option<String>,
    /// `diskState` of a disk: `Unattached`, `Attached`, `Reserved` …
    pub disk_state: Option<String>,
    /// When Azure made it; of NICs it does not say so.
    pub time_created: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::read;

    #[test]
    fn a_row_that_is_written_and_read_again_is_the_same_row() {
        let id = "/subscriptions/s/resourceGroups/RG/providers/Microsoft.Compute\
                  /virtualMachines/n1-0abcdefg";
        let read = |row: Value| read::row(&serde_json::from_str(&row.to_string()).unwrap());
        let bare = read(json!({ "id": id })).unwrap();
        let full = read(json!({
            "id": id, "name": "n1-0abcdefg", "location": "westeurope",
            "tags": { "azslurm-cluster": "c", "azslurm-node": "n1", "mine": "x" },
            "zones": ["2"], "vmSize": "Standard_D4s_v5", "prov": "Odd",
            "power": "PowerState/deallocated",
        }))
        .unwrap();
        assert_eq!(full.power, Some(VmPower::Deallocated));
        for row in [bare, full] {
            let text = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<VmRow>(&text).unwrap(), row);
        }
        assert!(serde_json::from_str::<VmRow>(r#"{"id": "n1"}"#).is_err());
    }
}
