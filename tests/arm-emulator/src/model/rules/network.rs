//! NICs in a VM's body. Whether the ones named exist and are free is checked when they are taken.

use serde_json::Value;

use super::{Case, Objection};
use crate::catalog;

/// The only version that inline NICs are described in.
const INLINE_VERSION: &str = "2020-11-01";

fn inline<'a>(case: &'a Case) -> &'a [Value] {
    case.put.list("/networkProfile/networkInterfaceConfigurations")
}

fn named<'a>(case: &'a Case) -> &'a [Value] {
    case.put.list("/networkProfile/networkInterfaces")
}

pub(super) fn no_nic(case: &Case) -> Option<Objection> {
    let is_bare = case.existing.is_none() && inline(case).is_empty() && named(case).is_empty();
    is_bare.then(|| {
        let text = "A virtual machine must have at least one network interface.";
        Objection::to("networkProfile", text)
    })
}

pub(super) fn inline_version(case: &Case) -> Option<Objection> {
    let version = case.put.text("/networkProfile/networkApiVersion");
    (!inline(case).is_empty() && version < INLINE_VERSION).then(|| {
        let text = format!(
            "The value '{version}' of parameter 'networkApiVersion' is invalid: it is required \
             with networkInterfaceConfigurations and must be '{INLINE_VERSION}' or later."
        );
        Objection::to("networkProfile.networkApiVersion", text)
    })
}

pub(super) fn both_kinds(case: &Case) -> Option<Objection> {
    let has_both = !inline(case).is_empty() && !named(case).is_empty();
    (has_both && case.existing.is_none()).then(|| {
        let text = "Only one of 'networkInterfaces' and 'networkInterfaceConfigurations' may be \
                    given.";
        Objection::to("networkProfile", text)
    })
}

/// FACTS §1.1: no static private address inline.
pub(super) fn inline_static_address(case: &Case) -> Option<Objection> {
    let configs = inline(case).iter().flat_map(|nic| {
        let list = nic.pointer("/properties/ipConfigurations").and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    });
    let mut members =
        configs.filter_map(|config| config.get("properties")?.as_object()).flat_map(|o| o.keys());
    let wrong =
        members.find(|name| name.starts_with("privateIPA") && *name != "privateIPAddressVersion");
    wrong.map(|name| {
        Objection::new(format!(
            "The request content was invalid and could not be deserialized: 'Could not find \
             member '{name}' on object of type \
             'VirtualMachineNetworkInterfaceIPConfigurationProperties'.'."
        ))
    })
}

pub(super) fn accelerated(case: &Case) -> Option<Objection> {
    let sku = catalog::sku(case.put.size())?;
    (case.put.wants_accelerated_networking() && !sku.accelerated_networking).then(|| {
        Objection::new(format!(
            "The VM size {} is not supported for enabling Accelerated Networking. Please select a \
             VM size that supports it.",
            sku.name
        ))
    })
}
