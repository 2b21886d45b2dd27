//! Zones, availability sets, placement groups, capacity reservation groups.

use super::super::ids::Key;
use super::super::resources::{AvailabilitySet, PlacementGroup};
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

/// 400 for a reference to what is not there or in another region.
fn dangling(case: &Case, target: &str, id: &str) -> Option<Objection> {
    let text = format!(
        "Resource {id} referenced by resource {} was not found. Please make sure that the \
         referenced resource exists, and that both resources are in the same region.",
        case.id
    );
    Some(Objection::to(target, text))
}

fn found_set<'a>(case: &'a Case) -> Option<&'a AvailabilitySet> {
    let set = case.model.sets.get(&Key::of(set_id(case)));
    set.filter(|set| set.common.location == case.put.location)
}

pub(super) fn set_missing(case: &Case) -> Option<Objection> {
    let id = set_id(case);
    let is_missing = !id.is_empty() && case.existing.is_none() && found_set(case).is_none();
    if is_missing { dangling(case, "availabilitySet.id", id) } else { None }
}

/// In another group, Classic with managed disks, full, or with a placement group other than the
/// VM's own.
pub(super) fn set_unfit(case: &Case) -> Option<Objection> {
    let set = found_set(case).filter(|_| case.existing.is_none())?;
    let text = set_objection(case, set)?;
    Some(Objection::to("availabilitySet.id", text))
}

fn set_objection(case: &Case, set: &AvailabilitySet) -> Option<String> {
    let name = &set.common.id.name;
    if set.common.id.group_key() != case.id.group_key() {
        return Some(format!(
            "The availability set '{name}' must be in the resource group of virtual machine '{}'.",
            case.id.name
        ));
    }
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

fn found_group<'a>(case: &'a Case) -> Option<&'a PlacementGroup> {
    let id = case.put.text("/proximityPlacementGroup/id");
    let group = case.model.placement_groups.get(&Key::of(id));
    group.filter(|group| group.common.location == case.put.location)
}

pub(super) fn group_missing(case: &Case) -> Option<Objection> {
    let id = case.put.text("/proximityPlacementGroup/id");
    let is_missing = !id.is_empty() && case.existing.is_none() && found_group(case).is_none();
    if is_missing { dangling(case, "proximityPlacementGroup.id", id) } else { None }
}

/// A placement group pinned to another zone, or whose intent lacks the size.
pub(super) fn group_unfit(case: &Case) -> Option<Objection> {
    let group = found_group(case).filter(|_| case.existing.is_none())?;
    let refused = |text: String| Some(Objection::to("proximityPlacementGroup.id", text));
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
    if id.is_empty() { None } else { dangling(case, "virtualMachineScaleSet.id", id) }
}

pub(super) fn reservation_unknown(case: &Case) -> Option<Objection> {
    let id = case.put.text("/capacityReservation/capacityReservationGroup/id");
    (!id.is_empty() && !case.model.plain.contains_key(&Key::of(id))).then(|| {
        let text = format!("The capacity reservation group '{id}' was not found.");
        Objection::to("capacityReservation.capacityReservationGroup.id", text)
    })
}
