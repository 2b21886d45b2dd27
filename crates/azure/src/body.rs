//! The bodies that we write, from the models of `azure_mgmt_compute`. Nothing else in this crate
//! names that crate, so that an official one can take its place. Its models are too brittle to read
//! with (2 in 5 enums are closed), so nothing is read here.

mod placement;

use std::fmt::Write as _;

use azslurm_core::config::{
    EphemeralPlacement, EvictionPolicy as WantedEviction, Image, ImageReference as WantedImage,
    Priority as Wanted,
};
use azslurm_core::vm::VmSpec;
use azure_mgmt_compute::package_2024_07_01::models::{
    BillingProfile, Caching, CapacityReservationProfile, CreateOption, DeleteOption,
    DiffDiskOption, DiffDiskPlacement, DiffDiskSettings, EvictionPolicy, HardwareProfile,
    ImageReference, LinuxConfiguration, ManagedDiskParameters, NetworkProfile, OsDisk, OsProfile,
    Plan, Priority, Resource, SshConfiguration, SshPublicKey, StorageAccountType, StorageProfile,
    SubResource, VirtualMachine, VirtualMachineIdentity,
    VirtualMachineNetworkInterfaceConfiguration,
    VirtualMachineNetworkInterfaceConfigurationProperties,
    VirtualMachineNetworkInterfaceIpConfiguration,
    VirtualMachineNetworkInterfaceIpConfigurationProperties, VirtualMachineProperties,
    hardware_profile::VmSize, network_profile::NetworkApiVersion,
    virtual_machine_identity::Type as IdentityType,
    virtual_machine_network_interface_configuration_properties::DeleteOption as NicDeleteOption,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

pub use placement::{group_body, set_body};

/// The api-version of every compute call and the one that the models are made for.
pub const COMPUTE_VERSION: &str = "2024-07-01";
/// `maxPrice` of a Spot VM that is never evicted for its price (FACTS §1.1).
const NEVER_FOR_PRICE: f64 = -1.0;
/// Room for a body without user data.
const BODY_BYTES_USUAL: usize = 4096;
/// The only disk type that goes with an ephemeral OS disk in Azure's published requests.
const EPHEMERAL_STORAGE: &str = "Standard_LRS";

/// The body of the PUT that makes a VM. The same spec always gives the same body.
pub fn body_of(spec: &VmSpec) -> Value {
    let mut resource = Resource::new(spec.region.to_string());
    resource.tags = Some(json!(spec.tags));
    let mut vm = VirtualMachine::new(resource);
    vm.plan = plan(&spec.image);
    vm.zones = spec.zone.iter().map(ToString::to_string).collect();
    vm.identity = identity(spec);
    vm.properties = Some(properties(spec));
    let mut body = serde_json::to_value(vm).expect("a model of strings and numbers is JSON");
    name_identities(&mut body, &spec.identities);
    drop_nulls(&mut body);
    body
}

/// SHA-256 of a body in hex, over its members in order of their names: it does not depend on how
/// the JSON library was built.
pub fn body_hash(body: &Value) -> String {
    let mut text = Vec::with_capacity(BODY_BYTES_USUAL);
    write_canonical(body, &mut text);
    hex(ring::digest::digest(&ring::digest::SHA256, &text).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// In place: a request of a thousand nodes hashes two thousand bodies of a hundred members.
fn write_canonical(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(object) => {
            let mut members: Vec<(&String, &Value)> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push(b'{');
            for (name, value) in members {
                write_plain(name, text);
                text.push(b':');
                write_canonical(value, text);
                text.push(b',');
            }
            text.push(b'}');
        }
        Value::Array(items) => {
            text.push(b'[');
            for item in items {
                write_canonical(item, text);
                text.push(b',');
            }
            text.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            write_plain(value, text);
        }
    }
}

fn write_plain(value: &impl serde::Serialize, text: &mut Vec<u8>) {
    serde_json::to_writer(text, value).expect("strings and numbers are JSON, and memory takes it");
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
    properties.user_data = spec.user_data.as_ref().map(|text| STANDARD.encode(text));
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

fn identity(spec: &VmSpec) -> Option<VirtualMachineIdentity> {
    (!spec.identities.is_empty()).then(|| VirtualMachineIdentity {
        type_: Some(IdentityType::UserAssigned),
        ..VirtualMachineIdentity::new()
    })
}

/// The model's map of identities has no members to set, so they are written into the JSON.
fn name_identities(body: &mut Value, ids: &[String]) {
    let Some(identity) = body.get_mut("identity").and_then(Value::as_object_mut) else { return };
    let ids: Map<String, Value> = ids.iter().map(|id| (id.clone(), json!({}))).collect();
    identity.insert("userAssignedIdentities".to_owned(), Value::Object(ids));
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
    use std::collections::BTreeMap;

    use azslurm_core::config::{
        EvictionPolicy as WantedEviction, OsDisk as WantedDisk, Region, Sku, Zone,
    };

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
    fn a_hash_depends_on_the_content_and_not_on_the_order() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":[{"c":"x","d":null}]}"#).unwrap();
        let same: Value = serde_json::from_str(r#"{"b":[{"d":null,"c":"x"}],"a":1}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b":[{"d":null,"c":"y"}],"a":1}"#).unwrap();
        assert_eq!(body_hash(&one), body_hash(&same));
        assert_ne!(body_hash(&one), body_hash(&other));
        // It stands in the ledger, and another version must find the same.
        let hash = "1e0e36cee06d6e96cc1c2060fcf82f7264d025ddd36e1a29fb1cc8b4a8bbfec6";
        assert_eq!(body_hash(&one), hash);
        assert_eq!(body_hash(&body_of(&spec())), body_hash(&body_of(&spec())));
    }
}
