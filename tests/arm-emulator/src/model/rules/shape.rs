//! Members that Azure does not know, or not yet, and the size.

use serde_json::Value;

use super::{Case, Objection};
use crate::catalog;

/// Members at the top of a VM.
const TOP: [&str; 14] = [
    "location",
    "tags",
    "zones",
    "plan",
    "identity",
    "properties",
    "name",
    "id",
    "type",
    "resources",
    "extendedLocation",
    "managedBy",
    "etag",
    "placement",
];

/// Members of `properties`.
const PROPERTIES: [&str; 27] = [
    "hardwareProfile",
    "storageProfile",
    "osProfile",
    "networkProfile",
    "additionalCapabilities",
    "securityProfile",
    "diagnosticsProfile",
    "availabilitySet",
    "virtualMachineScaleSet",
    "proximityPlacementGroup",
    "priority",
    "evictionPolicy",
    "billingProfile",
    "host",
    "hostGroup",
    "licenseType",
    "extensionsTimeBudget",
    "platformFaultDomain",
    "scheduledEventsProfile",
    "userData",
    "capacityReservation",
    "applicationProfile",
    "scheduledEventsPolicy",
    "provisioningState",
    "vmId",
    "timeCreated",
    "instanceView",
];

/// Members of objects further down, by pointer within `properties`.
const BELOW: [(&str, &[&str]); 6] = [
    ("/hardwareProfile", &["vmSize", "vmSizeProperties"]),
    (
        "/storageProfile",
        &[
            "imageReference",
            "osDisk",
            "dataDisks",
            "diskControllerType",
            "alignRegionalDisksToVMZone",
        ],
    ),
    (
        "/storageProfile/osDisk",
        &[
            "osType",
            "name",
            "createOption",
            "caching",
            "diskSizeGB",
            "managedDisk",
            "deleteOption",
            "diffDiskSettings",
            "writeAcceleratorEnabled",
            "encryptionSettings",
            "vhd",
            "image",
        ],
    ),
    (
        "/osProfile",
        &[
            "computerName",
            "adminUsername",
            "adminPassword",
            "customData",
            "linuxConfiguration",
            "windowsConfiguration",
            "secrets",
            "allowExtensionOperations",
            "requireGuestProvisionSignal",
        ],
    ),
    (
        "/networkProfile",
        &["networkInterfaces", "networkApiVersion", "networkInterfaceConfigurations"],
    ),
    ("/billingProfile", &["maxPrice"]),
];

/// The first version that knows a member.
const SINCE: [(&str, &str); 5] = [
    ("/userData", "2021-03-01"),
    ("/storageProfile/osDisk/deleteOption", "2021-03-01"),
    ("/networkProfile/networkInterfaceConfigurations", "2020-12-01"),
    ("/capacityReservation", "2021-04-01"),
    ("/billingProfile", "2019-03-01"),
];

/// `NvmeDisk` is in the examples of this version and not in the enum of 2023-09-01.
const NVME_SINCE: &str = "2024-03-01";

fn not_found(member: &str, of: &str, path: &str) -> Objection {
    Objection::new(format!(
        "The request content was invalid and could not be deserialized: 'Could not find member \
         '{member}' on object of type '{of}'. Path '{path}', line 1, position 1.'."
    ))
}

pub(super) fn unknown_member(case: &Case) -> Option<Objection> {
    let unknown = |name: &&String, known: &[&str]| {
        !known.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    if let Some(name) = case.put.members.iter().find(|name| unknown(name, &TOP)) {
        return Some(not_found(name, "ResourceDefinition", name));
    }
    let properties = [("", &PROPERTIES[..])];
    properties.iter().chain(&BELOW).find_map(|(pointer, known)| {
        let object = case.put.properties.pointer(pointer)?.as_object()?;
        let name = object.keys().find(|name| unknown(name, known))?;
        let path = format!("properties{}.{name}", pointer.replace('/', "."));
        Some(not_found(name, "Properties", &path))
    })
}

pub(super) fn member_of_later_version(case: &Case) -> Option<Objection> {
    let too_early = |pointer: &str, since: &str| {
        (case.put.at(pointer).is_some() && case.version < since).then(|| {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            not_found(name, "Properties", &format!("properties{}", pointer.replace('/', ".")))
        })
    };
    let placement = case.put.text("/storageProfile/osDisk/diffDiskSettings/placement");
    if placement.eq_ignore_ascii_case("NvmeDisk") && case.version < NVME_SINCE {
        let text = "Error converting value 'NvmeDisk' to type 'DiffDiskPlacement'.";
        return Some(Objection::new(text));
    }
    SINCE.iter().find_map(|(pointer, since)| too_early(pointer, since))
}

pub(super) fn size_missing(case: &Case) -> Option<Objection> {
    let is_missing = case.put.at("/hardwareProfile/vmSize").and_then(Value::as_str).is_none();
    // A PUT over an existing VM may leave it out.
    (is_missing && case.existing.is_none()).then(|| {
        let text = "Required parameter 'hardwareProfile.vmSize' is missing (null).";
        Objection::to("hardwareProfile.vmSize", text)
    })
}

pub(super) fn size_unknown(case: &Case) -> Option<Objection> {
    let size = case.put.size();
    (!size.is_empty() && catalog::sku(size).is_none()).then(|| {
        let text = format!(
            "The value {size} provided for the VM size is not valid. The valid sizes in the \
             current region are: {}.",
            catalog::skus().iter().map(|sku| sku.name).collect::<Vec<_>>().join(",")
        );
        Objection::to("vmSize", text)
    })
}

pub(super) fn size_retired(case: &Case) -> Option<Objection> {
    catalog::sku(case.put.size()).filter(|sku| sku.is_retired).map(|_| not_available(case))
}

/// A restriction of the whole region holds for every VM, one of a zone for VMs in it.
pub(super) fn size_restricted(case: &Case) -> Option<Objection> {
    let region = crate::model::ids::region(&case.put.location);
    let mut restrictions = case.model.offers.restrictions_of(case.put.size(), &region);
    let is_in = |zone: &String| case.put.zones.contains(zone);
    let restricted = restrictions.any(|one| one.zones.is_empty() || one.zones.iter().any(is_in));
    (restricted && case.existing.is_none()).then(|| not_available(case))
}

fn not_available(case: &Case) -> Objection {
    Objection::new(format!(
        "The requested size for resource '{}' is currently not available in location '{}' zones \
         '{}' for subscription '{}'. Please try another size or deploy to a different location or \
         zones. See https://aka.ms/azureskunotavailable for details.",
        case.put.size(),
        case.put.location,
        case.put.zones.join(","),
        case.id.subscription
    ))
}

/// Durations by pointer, with the fewest and the most minutes.
const DURATIONS: [(&str, u64, u64); 2] = [
    ("/scheduledEventsProfile/terminateNotificationProfile/notBeforeTimeout", 5, 15),
    ("/extensionsTimeBudget", 15, 120),
];

/// Minutes of an ISO 8601 duration of hours and minutes (`PT1H30M`).
fn minutes(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix("PT").filter(|rest| !rest.is_empty())?;
    let mut total = 0;
    for (unit, length) in [('H', 60), ('M', 1)] {
        if let Some((count, after)) = rest.split_once(unit) {
            total += count.parse::<u64>().ok()? * length;
            rest = after;
        }
    }
    rest.is_empty().then_some(total)
}

pub(super) fn durations(case: &Case) -> Option<Objection> {
    DURATIONS.iter().find_map(|(pointer, least, most)| {
        let given = case.put.at(pointer)?;
        let found = given.as_str().and_then(minutes);
        let is_good = found.is_some_and(|found| (*least..=*most).contains(&found));
        let name = pointer.rsplit('/').next().unwrap_or_default();
        (!is_good).then(|| {
            let text = format!(
                "The value {given} of parameter '{name}' is invalid: it must be between PT{least}M \
                 and PT{most}M."
            );
            Objection::to(name, text)
        })
    })
}

pub(super) fn region_unknown(case: &Case) -> Option<Objection> {
    catalog::find_region(&case.put.location).is_none().then(|| {
        let known: Vec<&str> = catalog::regions().iter().map(|region| region.name).collect();
        Objection::new(format!(
            "The provided location '{}' is not available for resource type \
             'Microsoft.Compute/virtualMachines'. List of available regions for the resource type \
             is '{}'.",
            case.put.location,
            known.join(",")
        ))
    })
}
