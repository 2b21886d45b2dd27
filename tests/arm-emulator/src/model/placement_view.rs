//! How availability sets and placement groups are shown.

use serde_json::{Map, Value, json};

use super::Model;
use super::ids::Key;
use super::resources::Vm;

impl Model {
    /// The set as GET shows it; PUT's answer lacks the members (FACTS §6.2).
    pub(super) fn set_body(&self, key: &Key, with_members: bool) -> Value {
        let Some(set) = self.sets.get(key) else { return Value::Null };
        let mut properties = Map::new();
        properties.insert("platformFaultDomainCount".to_owned(), json!(set.fault_domains));
        properties.insert("platformUpdateDomainCount".to_owned(), json!(set.update_domains));
        if let Some(group) = &set.group {
            let reference = json!({ "id": self.reference_to(group) });
            properties.insert("proximityPlacementGroup".to_owned(), reference);
        }
        if with_members {
            let members = set.members.iter().map(|vm| json!({ "id": self.reference_to(vm) }));
            properties.insert("virtualMachines".to_owned(), members.collect());
        }
        json!({
            "name": set.common.id.name,
            "id": set.common.id.to_string(),
            "type": set.common.id.kind.full_type(),
            "location": set.common.location,
            "tags": set.common.tags,
            "sku": {"name": set.sku},
            "properties": properties,
        })
    }

    /// The placement group as GET shows it.
    pub(super) fn placement_group_body(&self, key: &Key, with_status: bool) -> Value {
        let Some(group) = self.placement_groups.get(key) else { return Value::Null };
        let member = |key: &Key, is_aligned: Option<bool>| {
            let mut shown = json!({ "id": self.reference_to(key) });
            if with_status {
                shown["colocationStatus"] = status(is_aligned);
            }
            shown
        };
        let is_placed = |key: &Key| self.vms.get(key).is_some_and(|vm: &Vm| vm.place.is_some());
        let in_sets = group.sets.iter().filter_map(|set| self.sets.get(set));
        let of_sets = in_sets.flat_map(|set| set.members.iter());
        let vms = group.vms.iter().chain(of_sets);
        let vms: Vec<Value> = vms.map(|vm| member(vm, is_placed(vm).then_some(true))).collect();
        let sets: Vec<Value> = group
            .sets
            .iter()
            .map(|set| {
                let members = self.sets.get(set).map(|set| &set.members);
                let any = members.is_some_and(|members| members.iter().any(is_placed));
                member(set, any.then_some(true))
            })
            .collect();
        let any_placed = group.vms.iter().any(is_placed)
            || group
                .sets
                .iter()
                .filter_map(|set| self.sets.get(set))
                .any(|set| set.members.iter().any(is_placed));
        let mut body = json!({
            "name": group.common.id.name,
            "id": group.common.id.to_string(),
            "type": group.common.id.kind.full_type(),
            "location": group.common.location,
            "tags": group.common.tags,
            "properties": {
                "proximityPlacementGroupType": group.kind,
                "virtualMachines": vms,
                "virtualMachineScaleSets": [],
                "availabilitySets": sets,
            },
        });
        if !group.sizes.is_empty() {
            body["properties"]["intent"] = json!({ "vmSizes": group.sizes });
        }
        if !group.zones.is_empty() {
            body["zones"] = json!(group.zones);
        }
        if with_status {
            body["properties"]["colocationStatus"] = status(any_placed.then_some(true));
        }
        body
    }
}

/// `Aligned`, or `Unknown` for what has no place (FACTS §6.3).
fn status(is_aligned: Option<bool>) -> Value {
    let word = match is_aligned {
        Some(true) => "Aligned",
        Some(false) => "NotAligned",
        None => "Unknown",
    };
    json!({"code": format!("ColocationStatus/{word}"), "level": "Info", "displayStatus": word})
}
