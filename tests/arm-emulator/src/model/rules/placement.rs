//! Zones, availability sets, placement groups, capacity reservation groups.

use super::super::ids::{Key, ResourceId};
use super::super::resources::AvailabilitySet;
use super::{Case, Objection};
use crate::catalog;

/// Most VMs of an availability set (FACTS §6.1).
const SET_MAX: usize = 200;

pub(super) fn zone_unknown(case: &Case) -> Option<Objection> {
    let zones = &case.put.zones;
    let sku = catalog::sku(case.put.size())?;
    let region = catalog::find_region(&case.put.location)?;
    let sold =
        |zone: &String| sku.zones.contains(&zone.as_str()) && region.zones.contains(&zone.as_str());
    if zones.len() > 1 {
        let text = "A virtual machine can be in one zone only.";
        return Some(Objection::to("zones", text));
    }
    zones.iter().find(|zone| !sold(zone)).map(|zone| {
        let text = format!(
            "The zone(s) '{zone}' for resource '{}' is not supported. The supported zones for \
             location '{}' are '{}'",
            case.id,
            case.put.location,
            region.zones.join(",")
        );
        Objection::to("zones", text)
    })
}

fn set_id<'a>(case: &'a Case) -> &'a str {
    case.put.text("/availabilitySet/id")
}

pub(super) fn zones_and_set(case: &Case) -> Option<Objection> {
    (!set_id(case).is_empty() && !case.put.zones.is_empty()).then(|| {
        let text = "Virtual machine cannot be in an availability set and in an availability zone \
                    at the same time.";
        Objection::to("zones", text)
    })
}

pub(super) fn set_and_scale_set(case: &Case) -> Option<Objection> {
    let scale_set = case.put.text("/virtualMachineScaleSet/id");
    (!set_id(case).is_empty() && !scale_set.is_empty()).then(|| {
        let text = "The properties 'availabilitySet' and 'virtualMachineScaleSet' cannot both be \
                    given.";
        Objection::to("availabilitySet", text)
    })
}

/// Not there, in another group or region, Classic with managed disks, full, or with a placement
/// group other than the VM's own.
pub(super) fn set_unfit(case: &Case) -> Option<Objection> {
    let id = set_id(case);
    if id.is_empty() || case.existing.is_some() {
        return None;
    }
    let refused = |text: String| Some(Objection::to("availabilitySet.id", text));
    let in_group = ResourceId::parse(id).is_some_and(|set| set.group_key() == case.id.group_key());
    if !in_group {
        return refused(format!(
            "The availability set '{id}' must be in the resource group of virtual machine '{}'.",
            case.id.name
        ));
    }
    let set = case.model.sets.get(&Key::of(id));
    match set.filter(|set| set.common.location == case.put.location) {
        None => refused(format!(
            "Resource {id} referenced by resource {} was not found. Please make sure that the \
             referenced resource exists, and that both resources are in the same region.",
            case.id
        )),
        Some(set) => set_objection(case, set).and_then(refused),
    }
}

fn set_objection(case: &Case, set: &AvailabilitySet) -> Option<String> {
    let name = &set.common.id.name;
    if set.sku != "Aligned" {
        return Some(format!(
            "Addition of a managed disk based VM to the non-managed Availability Set '{name}' is \
             not supported. Please create an Availability Set with 'managed' SKU in order to add \
             a VM with managed disks to it."
        ));
    }
    if set.members.len() >= SET_MAX {
        return Some(format!(
            "The maximum number of Virtual Machines allowed in an Availability Set is {SET_MAX}; \
             '{name}' is full."
        ));
    }
    let own = case.put.text("/proximityPlacementGroup/id");
    let differs = !own.is_empty() && set.group.as_ref() != Some(&Key::of(own));
    differs.then(|| {
        format!(
            "The virtual machine and its availability set '{name}' must be in the same proximity \
             placement group."
        )
    })
}

/// A placement group that is not there, in another region, pinned to another zone, or whose intent
/// lacks the size.
pub(super) fn group_unfit(case: &Case) -> Option<Objection> {
    let id = case.put.text("/proximityPlacementGroup/id");
    if id.is_empty() || case.existing.is_some() {
        return None;
    }
    let refused = |text: String| Some(Objection::to("proximityPlacementGroup.id", text));
    let found = case.model.placement_groups.get(&Key::of(id));
    let Some(group) = found.filter(|group| group.common.location == case.put.location) else {
        return refused(format!(
            "Resource {id} referenced by resource {} was not found. Please make sure that the \
             referenced resource exists, and that both resources are in the same region.",
            case.id
        ));
    };
    let has_size = |size: &String| size.eq_ignore_ascii_case(case.put.size());
    if !group.sizes.is_empty() && !group.sizes.iter().any(has_size) {
        return refused(format!(
            "VM size '{}' is not in the intent of proximity placement group '{}'.",
            case.put.size(),
            group.common.id.name
        ));
    }
    let zone = case.put.zones.first();
    let of_members = group.vms.iter().filter_map(|vm| case.model.vms.get(vm));
    let pinned = of_members
        .filter(|vm| vm.place.is_some())
        .find_map(|vm| vm.asked.zones.first())
        .or(group.zones.first());
    match (zone, pinned) {
        (Some(zone), Some(pinned)) if zone != pinned => refused(format!(
            "Proximity placement group '{}' is in zone '{pinned}'; a virtual machine in zone \
             '{zone}' cannot join it.",
            group.common.id.name
        )),
        _ => None,
    }
}

pub(super) fn scale_set_unknown(case: &Case) -> Option<Objection> {
    let id = case.put.text("/virtualMachineScaleSet/id");
    (!id.is_empty()).then(|| {
        let text = format!(
            "Resource {id} referenced by resource {} was not found. Please make sure that the \
             referenced resource exists, and that both resources are in the same region.",
            case.id
        );
        Objection::to("virtualMachineScaleSet.id", text)
    })
}

pub(super) fn reservation_unknown(case: &Case) -> Option<Objection> {
    let id = case.put.text("/capacityReservation/capacityReservationGroup/id");
    (!id.is_empty() && !case.model.plain.contains_key(&Key::of(id))).then(|| {
        let text = format!("The capacity reservation group '{id}' was not found.");
        Objection::to("capacityReservation.capacityReservationGroup.id", text)
    })
}
