//! The bodies that we write, from the models of `azure_mgmt_compute`. Nothing else in this crate
//! names that crate, so that an official one can take its place. Its models are too brittle to read
//! with (2 in 5 enums are closed), so nothing is read here.

mod placement;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use azslurm_core::VmName;
use azslurm_core::config::{
    EphemeralPlacement, EvictionPolicy as WantedEviction, Image, ImageReference as WantedImage,
    Priority as Wanted, Zone,
};
use azslurm_core::vm::VmSpec;
use azure_mgmt_compute::package_2024_07_01::models::{
    BillingProfile, Caching, CapacityReservationProfile, CreateOption, DeleteOption,
    DiffDiskOption, DiffDiskPlacement, DiffDiskSettings, EvictionPolicy, HardwareProfile,
    ImageReference, LinuxConfiguration, ManagedDiskParameters, NetworkProfile, OsDisk, OsProfile,
    Plan, Priority, SshConfiguration, SshPublicKey, StorageAccountType, StorageProfile,
    SubResource, VirtualMachineNetworkInterfaceConfiguration,
    VirtualMachineNetworkInterfaceConfigurationProperties,
    VirtualMachineNetworkInterfaceIpConfiguration,
    VirtualMachineNetworkInterfaceIpConfigurationProperties, VirtualMachineProperties,
    hardware_profile::VmSize, network_profile::NetworkApiVersion,
    virtual_machine_identity::Type as IdentityType,
    virtual_machine_network_interface_configuration_properties::DeleteOption as NicDeleteOption,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

pub use placement::{group_body, set_body};

/// The api-version of every compute call and the one that the models are made for.
pub const COMPUTE_VERSION: &str = "2024-07-01";
/// `maxPrice` of a Spot VM that is never evicted for its price (FACTS §1.1).
const NEVER_FOR_PRICE: f64 = -1.0;
/// Room for a body without user data.
const BODY_BYTES_USUAL: usize = 4096;
/// The only disk type that goes with an ephemeral OS disk in Azure's published requests.
const EPHEMERAL_STORAGE: &str = "Standard_LRS";

/// What the models write that no published request has: the end of a VM's properties, and of the
/// body.
const NULL_AT_THE_END: &[u8] = br#","timeCreated":null}}"#;

/// The body of the PUT that makes a VM, written out. The same spec always gives the same body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmBody {
    text: Bytes,
}

impl VmBody {
    /// The JSON.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// SHA-256 of the JSON, in hex.
    pub fn hash(&self) -> String {
        hex(ring::digest::digest(&ring::digest::SHA256, &self.text).as_ref())
    }
}

/// A body that is written each time it is sent. Thousands of VMs wait for their turn, and user data
/// makes a body of theirs as long as 90 KB.
#[derive(Clone)]
pub struct VmDraft {
    vm: VmName,
    write: Arc<dyn Fn() -> VmBody + Send + Sync>,
}

impl VmDraft {
    /// Of the VM of this name; `write` gives the same body each time.
    pub fn new(vm: VmName, write: impl Fn() -> VmBody + Send + Sync + 'static) -> VmDraft {
        VmDraft { vm, write: Arc::new(write) }
    }

    /// The VM's name.
    pub fn vm(&self) -> &VmName {
        &self.vm
    }

    /// The JSON.
    pub(crate) fn text(&self) -> Bytes {
        (self.write)().text
    }
}

impl fmt::Debug for VmDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmDraft").field("vm", &self.vm).finish_non_exhaustive()
    }
}

impl From<&VmSpec> for VmDraft {
    fn from(spec: &VmSpec) -> VmDraft {
        let body = VmBody::from(spec);
        VmDraft::new(spec.name.clone(), move || body.clone())
    }
}

impl From<&VmSpec> for VmBody {
    /// Straight into text: a request of a thousand nodes writes two thousand bodies of a hundred
    /// members.
    fn from(spec: &VmSpec) -> VmBody {
        let whole = Whole {
            location: spec.region.as_str(),
            tags: &spec.tags,
            plan: plan(&spec.image),
            zones: spec.zone.iter().map(Zone::as_str).collect(),
            identity: identity(spec),
            properties: properties(spec),
        };
        let mut text = Vec::with_capacity(BODY_BYTES_USUAL);
        serde_json::to_writer(&mut text, &whole)
            .expect("a model of strings and numbers is JSON, and memory takes it");
        if text.ends_with(NULL_AT_THE_END) {
            text.truncate(text.len() - NULL_AT_THE_END.len());
            text.extend_from_slice(b"}}");
        }
        VmBody { text: text.into() }
    }
}

/// As the model of a VM, which cannot hold the names of identities and copies the tags.
#[derive(Serialize)]
struct Whole<'a> {
    location: &'a str,
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    zones: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity<'a>>,
    properties: VirtualMachineProperties,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    r#type: IdentityType,
    user_assigned_identities: BTreeMap<&'a str, Nothing>,
}

/// `{}`
#[derive(Serialize)]
struct Nothing {}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| DIGITS[usize::from(digit)]).collect()
}

fn properties(spec: &VmSpec) -> VirtualMachineProperties {
    let mut properties = VirtualMachineProperties::new();
    properties.hardware_profile = Some(HardwareProfile {
        vm_size: Some(VmSize::UnknownValue(spec.sku.to_string())),
        ..HardwareProfile::new()
    });
    properties.storage_profile = Some(StorageProfile {
        image_reference: Some(image(&spec.image)),
        os_disk: Some(os_disk(spec)),
        ..StorageProfile::new()
    });
    properties.os_profile = Some(os_profile(spec));
    properties.network_profile = Some(network(spec));
    properties.user_data = spec.user_data.as_ref().map(|data| STANDARD.encode(data.text()));
    properties.availability_set = spec.availability_set.as_deref().map(sub_resource);
    properties.capacity_reservation = spec.capacity_reservation_group.as_deref().map(|id| {
        CapacityReservationProfile { capacity_reservation_group: Some(sub_resource(id)) }
    });
    set_priority(&mut properties, spec.priority);
    properties
}

fn set_priority(properties: &mut VirtualMachineProperties, wanted: Wanted) {
    match wanted {
        Wanted::Regular => {}
        Wanted::Spot { max_price, eviction } => {
            properties.priority = Some(Priority::Spot);
            properties.eviction_policy = Some(match eviction {
                WantedEviction::Delete => EvictionPolicy::Delete,
                WantedEviction::Deallocate => EvictionPolicy::Deallocate,
            });
            properties.billing_profile =
                Some(BillingProfile { max_price: Some(max_price.unwrap_or(NEVER_FOR_PRICE)) });
        }
    }
}

fn image(image: &Image) -> ImageReference {
    let mut reference = ImageReference::new();
    match &image.reference {
        WantedImage::Id(id) => reference.sub_resource = sub_resource(id),
        WantedImage::SharedGallery(id) => reference.shared_gallery_image_id = Some(id.clone()),
        WantedImage::CommunityGallery(id) => {
            reference.community_gallery_image_id = Some(id.clone());
        }
        WantedImage::Urn { publisher, offer, sku, version } => {
            reference.publisher = Some(publisher.clone());
            reference.offer = Some(offer.clone());
            reference.sku = Some(sku.clone());
            reference.version = Some(version.clone());
        }
    }
    reference
}

fn plan(image: &Image) -> Option<Plan> {
    image.plan.as_ref().map(|plan| Plan {
        name: Some(plan.name.clone()),
        publisher: Some(plan.publisher.clone()),
        product: Some(plan.product.clone()),
        ..Plan::new()
    })
}

fn os_disk(spec: &VmSpec) -> OsDisk {
    let wanted = &spec.os_disk;
    let mut disk = OsDisk::new(CreateOption::FromImage);
    disk.name = Some(format!("{}-os", spec.name));
    disk.delete_option = Some(DeleteOption::Delete);
    disk.disk_size_gb = wanted.size_gb.map(|size| i32::try_from(size).unwrap_or(i32::MAX));
    let mut storage = wanted.storage.as_str();
    disk.caching = Some(Caching::ReadWrite);
    if let Some(placement) = wanted.ephemeral {
        storage = EPHEMERAL_STORAGE;
        disk.caching = Some(Caching::ReadOnly);
        disk.diff_disk_settings = Some(DiffDiskSettings {
            option: Some(DiffDiskOption::Local),
            placement: Some(match placement {
                EphemeralPlacement::CacheDisk => DiffDiskPlacement::CacheDisk,
                EphemeralPlacement::ResourceDisk => DiffDiskPlacement::ResourceDisk,
                EphemeralPlacement::NvmeDisk => DiffDiskPlacement::NvmeDisk,
            }),
        });
    }
    disk.managed_disk = Some(ManagedDiskParameters {
        storage_account_type: Some(StorageAccountType::UnknownValue(storage.to_owned())),
        ..ManagedDiskParameters::new()
    });
    disk
}

fn os_profile(spec: &VmSpec) -> OsProfile {
    let key = SshPublicKey {
        path: Some(format!("/home/{}/.ssh/authorized_keys", spec.admin_username)),
        key_data: Some(spec.ssh_public_key.clone()),
    };
    OsProfile {
        computer_name: Some(spec.computer_name.to_string()),
        admin_username: Some(spec.admin_username.clone()),
        linux_configuration: Some(LinuxConfiguration {
            disable_password_authentication: Some(true),
            ssh: Some(SshConfiguration { public_keys: vec![key] }),
            ..LinuxConfiguration::new()
        }),
        ..OsProfile::new()
    }
}

/// The NIC is made with the VM: one write instead of two, and Azure owns its life (FACTS §1.1).
fn network(spec: &VmSpec) -> NetworkProfile {
    let mut address = VirtualMachineNetworkInterfaceIpConfiguration::new("ipconfig1".to_owned());
    address.properties = Some(VirtualMachineNetworkInterfaceIpConfigurationProperties {
        subnet: Some(sub_resource(&spec.subnet)),
        primary: Some(true),
        ..VirtualMachineNetworkInterfaceIpConfigurationProperties::new()
    });
    let mut properties = VirtualMachineNetworkInterfaceConfigurationProperties::new(vec![address]);
    properties.primary = Some(true);
    properties.delete_option = Some(NicDeleteOption::Delete);
    properties.enable_accelerated_networking = Some(spec.accelerated_networking);
    properties.network_security_group = spec.network_security_group.as_deref().map(sub_resource);
    let mut nic = VirtualMachineNetworkInterfaceConfiguration::new(format!("{}-nic", spec.name));
    nic.properties = Some(properties);
    NetworkProfile {
        network_api_version: Some(NetworkApiVersion::N2020_11_01),
        network_interface_configurations: vec![nic],
        ..NetworkProfile::new()
    }
}

fn sub_resource(id: &str) -> SubResource {
    SubResource { id: Some(id.to_owned()) }
}

fn identity(spec: &VmSpec) -> Option<Identity<'_>> {
    let ids = || spec.identities.iter().map(|id| (id.as_str(), Nothing {}));
    (!spec.identities.is_empty()).then(|| Identity {
        r#type: IdentityType::UserAssigned,
        user_assigned_identities: ids().collect(),
    })
}

/// The models write `timeCreated: null`, which no published request has.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, member| !member.is_null());
            object.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use azslurm_core::config::{OsDisk as WantedDisk, Region, Sku};
    use serde_json::json;

    use super::*;

    fn spec() -> VmSpec {
        VmSpec {
            name: "n1-abcdefgh".parse().unwrap(),
            computer_name: "n1".parse().unwrap(),
            region: Region::new("westeurope").unwrap(),
            zone: None,
            sku: Sku::new("Standard_D2s_v5").unwrap(),
            image: Image {
                reference: WantedImage::Urn {
                    publisher: "p".into(),
                    offer: "o".into(),
                    sku: "s".into(),
                    version: "latest".into(),
                },
                plan: None,
            },
            priority: Wanted::Regular,
            subnet: "/subscriptions/s/subnet".into(),
            network_security_group: None,
            accelerated_networking: true,
            os_disk: WantedDisk {
                size_gb: None,
                storage: "StandardSSD_LRS".into(),
                ephemeral: None,
            },
            admin_username: "azslurm".into(),
            ssh_public_key: "ssh-ed25519 AAAA".into(),
            user_data: None,
            identities: vec![],
            capacity_reservation_group: None,
            availability_set: None,
            tags: BTreeMap::from([("azslurm-cluster".to_owned(), "c".to_owned())]),
        }
    }

    fn body_of(spec: &VmSpec) -> Value {
        serde_json::from_slice(VmBody::from(spec).text()).unwrap()
    }

    #[test]
    fn the_smallest_body_is_complete_and_has_nothing_else() {
        assert_eq!(
            body_of(&spec()),
            json!({
                "location": "westeurope",
                "tags": {"azslurm-cluster": "c"},
                "properties": {
                    "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
                    "storageProfile": {
                        "imageReference": {
                            "publisher": "p", "offer": "o", "sku": "s", "version": "latest"
                        },
                        "osDisk": {
                            "name": "n1-abcdefgh-os", "createOption": "FromImage",
                            "caching": "ReadWrite", "deleteOption": "Delete",
                            "managedDisk": {"storageAccountType": "StandardSSD_LRS"}
                        }
                    },
                    "osProfile": {
                        "computerName": "n1", "adminUsername": "azslurm",
                        "linuxConfiguration": {
                            "disablePasswordAuthentication": true,
                            "ssh": {"publicKeys": [{
                                "path": "/home/azslurm/.ssh/authorized_keys",
                                "keyData": "ssh-ed25519 AAAA"
                            }]}
                        }
                    },
                    "networkProfile": {
                        "networkApiVersion": "2020-11-01",
                        "networkInterfaceConfigurations": [{
                            "name": "n1-abcdefgh-nic",
                            "properties": {
                                "primary": true, "deleteOption": "Delete",
                                "enableAcceleratedNetworking": true,
                                "ipConfigurations": [{"name": "ipconfig1", "properties": {
                                    "primary": true, "subnet": {"id": "/subscriptions/s/subnet"}
                                }}]
                            }
                        }]
                    }
                }
            })
        );
    }

    #[test]
    fn what_is_wanted_is_in_the_body() {
        let mut spec = spec();
        spec.zone = Zone::new("2");
        spec.user_data = Some("#!/bin/sh\n".into());
        spec.identities = vec!["/id/1".into(), "/id/2".into()];
        spec.capacity_reservation_group = Some("/crg".into());
        spec.network_security_group = Some("/nsg".into());
        spec.image.plan = Some(azslurm_core::config::Plan {
            publisher: "pub".into(),
            product: "prod".into(),
            name: "plan".into(),
        });
        let body = body_of(&spec);
        let at = |path: &str| body.pointer(path).cloned().unwrap_or(Value::Null);
        assert_eq!(at("/zones"), json!(["2"]));
        assert_eq!(at("/properties/userData"), json!("IyEvYmluL3NoCg=="));
        assert_eq!(
            at("/identity"),
            json!({"type": "UserAssigned", "userAssignedIdentities": {"/id/1": {}, "/id/2": {}}})
        );
        assert_eq!(
            at("/properties/capacityReservation/capacityReservationGroup/id"),
            json!("/crg")
        );
        assert_eq!(at("/plan"), json!({"publisher": "pub", "product": "prod", "name": "plan"}));
        let nic = "/properties/networkProfile/networkInterfaceConfigurations/0/properties";
        assert_eq!(at(&format!("{nic}/networkSecurityGroup/id")), json!("/nsg"));
    }

    #[test]
    fn a_member_of_a_set_has_no_zone_and_no_placement_group_of_its_own() {
        let mut spec = spec();
        spec.availability_set = Some("/set".into());
        let body = body_of(&spec);
        assert_eq!(body["properties"]["availabilitySet"], json!({"id": "/set"}));
        assert_eq!(body.get("zones"), None);
        assert_eq!(body["properties"].get("proximityPlacementGroup"), None);
        spec.availability_set = None;
        let mut without = body.clone();
        without["properties"].as_object_mut().unwrap().remove("availabilitySet");
        assert_eq!(body_of(&spec), without, "and nothing else is different");
    }

    #[test]
    fn a_spot_vm_without_a_price_is_never_evicted_for_it() {
        let mut spec = spec();
        let spot = |max_price| Wanted::Spot { max_price, eviction: WantedEviction::Delete };
        spec.priority = spot(None);
        let body = body_of(&spec);
        assert_eq!(body["properties"]["priority"], "Spot");
        assert_eq!(body["properties"]["evictionPolicy"], "Delete");
        assert_eq!(body["properties"]["billingProfile"]["maxPrice"].as_f64(), Some(-1.0));
        spec.priority = spot(Some(0.01538));
        let price = &body_of(&spec)["properties"]["billingProfile"]["maxPrice"];
        assert_eq!(price.as_f64(), Some(0.01538));
    }

    #[test]
    fn an_ephemeral_disk_is_read_only_cached() {
        let mut spec = spec();
        spec.os_disk.ephemeral = Some(EphemeralPlacement::NvmeDisk);
        let body = body_of(&spec);
        let disk = &body["properties"]["storageProfile"]["osDisk"];
        assert_eq!(disk["caching"], "ReadOnly");
        assert_eq!(disk["diffDiskSettings"], json!({"option": "Local", "placement": "NvmeDisk"}));
        assert_eq!(disk["managedDisk"]["storageAccountType"], "Standard_LRS");
    }

    #[test]
    fn images_are_named_in_their_own_members() {
        let mut spec = spec();
        for (reference, member) in [
            (WantedImage::Id("/i".into()), "id"),
            (WantedImage::SharedGallery("/i".into()), "sharedGalleryImageId"),
            (WantedImage::CommunityGallery("/i".into()), "communityGalleryImageId"),
        ] {
            spec.image.reference = reference;
            let body = body_of(&spec);
            let image = &body["properties"]["storageProfile"]["imageReference"];
            assert_eq!(image, &json!({ member: "/i" }));
        }
    }

    #[test]
    fn the_same_vm_always_has_the_same_body_and_hash_and_another_one_another() {
        let (one, same) = (VmBody::from(&spec()), VmBody::from(&spec()));
        assert_eq!((&one, one.hash()), (&same, same.hash()));
        let other = VmBody::from(&VmSpec { computer_name: "n2".parse().unwrap(), ..spec() });
        assert_ne!(one.hash(), other.hash());
        // It stands in the ledger, and another version must find the same.
        assert_eq!(one.hash(), "43c8515887cf3efe25dfcc9f10093aca72ea8dc3055c3b1692cb88113cd0f36c");
    }
}
