//! The VM that a plan wants. What Azure says of a VM that exists is another type
//! (`azslurm_azure::Vm`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::block::Incarnation;
use crate::config::{Image, OsDisk, Priority, Region, Sku, Zone};
use crate::{AttemptId, ClusterName, NodeName, NodesetName, VmName};

/// Tag: the cluster that a VM belongs to. A VM without it does not exist for us.
pub const TAG_CLUSTER: &str = "azslurm-cluster";
/// Tag: the node that a VM was made for.
pub const TAG_NODE: &str = "azslurm-node";
/// Tag: the attempt that made a VM.
pub const TAG_ATTEMPT: &str = "azslurm-attempt";
/// Tag: the nodeset that a VM's node belongs to.
pub const TAG_NODESET: &str = "azslurm-nodeset";

/// The tags that every VM of ours carries, before the operator's own.
pub fn our_tags(
    cluster: &ClusterName,
    node: &NodeName,
    nodeset: &NodesetName,
    attempt: AttemptId,
) -> BTreeMap<String, String> {
    BTreeMap::from([
        (TAG_CLUSTER.to_owned(), cluster.to_string()),
        (TAG_NODE.to_owned(), node.to_string()),
        (TAG_NODESET.to_owned(), nodeset.to_string()),
        (TAG_ATTEMPT.to_owned(), attempt.to_string()),
    ])
}

/// Tag: the life of a block that a placement group or an availability set was made for.
pub const TAG_BLOCK: &str = "azslurm-block";

/// The tags of a block's placement group and availability set.
pub fn block_tags(cluster: &ClusterName, life: &Incarnation) -> BTreeMap<String, String> {
    BTreeMap::from([
        (TAG_CLUSTER.to_owned(), cluster.to_string()),
        (TAG_NODESET.to_owned(), life.block.nodeset().to_string()),
        (TAG_BLOCK.to_owned(), life.to_string()),
    ])
}

/// `userData` before base64: a text of up to 64 KB, which the VMs of a nodeset share, and what
/// stands in it instead of some words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserData {
    template: Arc<str>,
    words: Vec<(&'static str, String)>,
}

impl UserData {
    /// A template, and words with what is to stand there instead.
    pub fn new(template: &Arc<str>, words: Vec<(&'static str, String)>) -> UserData {
        UserData { template: Arc::clone(template), words }
    }

    /// The whole text.
    pub fn text(&self) -> String {
        let words = self.words.iter();
        words.fold(self.template.to_string(), |text, (word, name)| text.replace(word, name))
    }
}

impl From<&str> for UserData {
    /// As it is.
    fn from(text: &str) -> UserData {
        UserData { template: text.into(), words: Vec::new() }
    }
}

/// A VM as wanted: everything that the body of its PUT says. It is made from one attempt and the
/// config alone, so that the same attempt always gives the same body.
#[derive(Debug, Clone, PartialEq)]
pub struct VmSpec {
    /// The resource's name, `<node>-<attempt>`.
    pub name: VmName,
    /// `osProfile.computerName`: the node's name, which becomes the guest's host name.
    pub computer_name: NodeName,
    /// Azure region.
    pub region: Region,
    /// Availability zone; never together with an availability set.
    pub zone: Option<Zone>,
    /// VM size.
    pub sku: Sku,
    /// Image, with its purchase plan if it has one.
    pub image: Image,
    /// Regular or Spot.
    pub priority: Priority,
    /// Resource id of the subnet.
    pub subnet: String,
    /// Resource id of a network security group for the NIC.
    pub network_security_group: Option<String>,
    /// SR-IOV networking.
    pub accelerated_networking: bool,
    /// OS disk.
    pub os_disk: OsDisk,
    /// Administrator's account.
    pub admin_username: String,
    /// The line of the administrator's public key.
    pub ssh_public_key: String,
    /// `userData`.
    pub user_data: Option<UserData>,
    /// Resource ids of user-assigned identities of the VM.
    pub identities: Vec<String>,
    /// Resource id of a capacity reservation group.
    pub capacity_reservation_group: Option<String>,
    /// Resource id of the availability set of its block.
    pub availability_set: Option<String>,
    /// All tags: ours and the operator's.
    pub tags: BTreeMap<String, String>,
}
