//! A PUT over a VM that exists: what may not change.

use serde_json::Value;

use super::super::resources::Vm;
use super::{Case, Objection};

/// Members that stay as they were made, by pointer and by the name in the refusal. A body that
/// leaves one out does not change it.
const IMMUTABLE: [(&str, &str); 20] = [
    ("/priority", "priority"),
    ("/osProfile/computerName", "osProfile.computerName"),
    ("/osProfile/adminUsername", "osProfile.adminUsername"),
    ("/osProfile/customData", "osProfile.customData"),
    ("/osProfile/linuxConfiguration/ssh", "linuxConfiguration.ssh.publicKeys"),
    (
        "/osProfile/linuxConfiguration/disablePasswordAuthentication",
        "linuxConfiguration.disablePasswordAuthentication",
    ),
    ("/availabilitySet/id", "availabilitySet.id"),
    ("/virtualMachineScaleSet/id", "virtualMachineScaleSet.id"),
    ("/platformFaultDomain", "platformFaultDomain"),
    ("/storageProfile/imageReference/id", "imageReference.id"),
    ("/storageProfile/imageReference/publisher", "imageReference.publisher"),
    ("/storageProfile/imageReference/offer", "imageReference.offer"),
    ("/storageProfile/imageReference/sku", "imageReference.sku"),
    ("/storageProfile/imageReference/version", "imageReference.version"),
    ("/storageProfile/osDisk/name", "osDisk.name"),
    ("/storageProfile/osDisk/createOption", "osDisk.createOption"),
    ("/storageProfile/osDisk/diffDiskSettings", "osDisk.diffDiskSettings"),
    (
        "/storageProfile/osDisk/managedDisk/storageAccountType",
        "osDisk.managedDisk.storageAccountType",
    ),
    ("/securityProfile/securityType", "securityProfile.securityType"),
    ("/networkProfile/networkInterfaceConfigurations", "networkInterfaceConfigurations"),
];

pub(super) fn immutable(case: &Case) -> Option<Objection> {
    let existing = case.existing?;
    let changed = IMMUTABLE.iter().find(|(pointer, _)| {
        let asked = case.put.at(pointer);
        // What was left out at first is as Azure filled it in: a body from GET may come back.
        let before = existing.asked.at(pointer).or_else(|| filled_in(existing, pointer));
        asked.is_some_and(|asked| !same(asked, before))
    });
    let zones_changed = !case.put.zones.is_empty() && case.put.zones != existing.asked.zones;
    let name = changed.map(|(_, name)| *name).or(zones_changed.then_some("zones"))?;
    let text = format!("Changing property '{name}' is not allowed.");
    Some(Objection::to(name, text))
}

/// A member of `properties` as GET shows it.
fn filled_in<'a>(vm: &'a Vm, pointer: &str) -> Option<&'a Value> {
    let (first, rest) = pointer[1..].split_once('/').unwrap_or((&pointer[1..], ""));
    let top = vm.properties.get(first)?;
    if rest.is_empty() { Some(top) } else { top.pointer(&format!("/{rest}")) }
}

/// Ids and words are compared without case, everything else as it is.
fn same(asked: &Value, before: Option<&Value>) -> bool {
    match (asked, before) {
        (Value::String(asked), Some(Value::String(before))) => asked.eq_ignore_ascii_case(before),
        // `Regular` is what a VM without a priority has.
        (Value::String(asked), None) => asked.eq_ignore_ascii_case("Regular"),
        (asked, Some(before)) => asked.to_string().eq_ignore_ascii_case(&before.to_string()),
        (_, None) => false,
    }
}

pub(super) fn resize_of_ephemeral(case: &Case) -> Option<Objection> {
    let existing = case.existing.filter(|vm| vm.asked.is_ephemeral())?;
    let size = case.put.size();
    let differs = !size.is_empty() && !size.eq_ignore_ascii_case(existing.sku.name);
    differs.then(|| {
        let text = "Operation 'resize' is not supported for VM with an ephemeral OS disk.";
        Objection::to("vmSize", text)
    })
}
