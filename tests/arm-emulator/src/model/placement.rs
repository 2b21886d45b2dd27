//! Availability sets and proximity placement groups: making, joining, leaving (FACTS §6).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Model;
use super::dispatch::{method_not_allowed, resource_not_found};
use super::ids::{Key, ResourceId};
use super::message::{Answer, ArmError, Method, Request, Response};
use super::quota::{self, Place};
use super::resources::{AvailabilitySet, PlacementGroup, Vm};
use super::vm_body;
use crate::catalog;

/// Most fault domains of a set; regions have two or three (FACTS §6.2).
const FAULT_DOMAINS_MAX: u64 = 3;
/// Most update domains of a set (FACTS §6.2).
const UPDATE_DOMAINS_MAX: u64 = 20;

impl Model {
    /// PUT, PATCH, GET, DELETE of an availability set; all synchronous.
    pub(super) fn on_set(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let key = id.key();
        match request.method {
            Method::Put => self.put_set(id, request),
            Method::Get | Method::Head => match self.sets.contains_key(&key) {
                true => Ok(Response::with_body(200, self.set_body(&key, true))),
                false => self.need_group_of(id).and(Err(resource_not_found(id))),
            },
            Method::Patch => {
                let tags = vm_body::tags(&request.body)?;
                let set = self.sets.get_mut(&key).ok_or_else(|| resource_not_found(id))?;
                set.common.tags = tags;
                self.changed(&key);
                Ok(Response::with_body(200, self.set_body(&key, true)))
            }
            Method::Delete => self.delete_set(id),
            Method::Post => Err(method_not_allowed(request)),
        }
    }

    fn put_set(&mut self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_of(id)?;
        let location = vm_body::location(&request.body)?;
        let tags = vm_body::tags(&request.body)?;
        self.need_same_location(id, &location)?;
        let asked = SetBody::parse(&request.body)?;
        if let Some(group) = &asked.group {
            self.need_placement_group(group, (id, &location))?;
        }
        let key = id.key();
        let is_new = !self.sets.contains_key(&key);
        if is_new {
            let charges = [(quota::SETS.to_owned(), 1)];
            let place = Place::new(&id.subscription, &location);
            self.quota.check(&place, &charges)?;
            self.quota.take(&place, &charges);
            let set = AvailabilitySet {
                common: self.begin(id, &location, tags),
                sku: asked.sku,
                fault_domains: asked.fault_domains,
                update_domains: asked.update_domains,
                group: asked.group.clone(),
                members: BTreeSet::new(),
                cluster: None,
            };
            self.sets.insert(key.clone(), set);
        } else {
            self.change_set(&key, &asked)?;
            if let Some(set) = self.sets.get_mut(&key) {
                set.common.tags = tags;
            }
        }
        self.move_set(&key, asked.group);
        self.changed(&key);
        let effect = format!("availability set {} put", id.name);
        Ok(Response::with_body(200, self.set_body(&key, false)).effect(effect))
    }

    /// What a set with members may not change.
    fn change_set(&mut self, key: &Key, asked: &SetBody) -> Result<(), Box<ArmError>> {
        let Some(set) = self.sets.get_mut(key) else { return Ok(()) };
        let refused = |property: &str| {
            let text = format!("Changing property '{property}' is not allowed.");
            let error = ArmError::new(409, "PropertyChangeNotAllowed", text);
            Err(Box::new(error.target(property)))
        };
        if set.fault_domains != asked.fault_domains {
            return refused("platformFaultDomainCount");
        }
        if set.update_domains != asked.update_domains {
            return refused("platformUpdateDomainCount");
        }
        if set.sku != asked.sku && !set.members.is_empty() {
            return refused("sku.name");
        }
        if set.group != asked.group && !set.members.is_empty() {
            let text = "Proximity placement group of an availability set with allocated virtual \
                        machines cannot be changed. Deallocate them first.";
            return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
        }
        set.sku.clone_from(&asked.sku);
        Ok(())
    }

    fn move_set(&mut self, key: &Key, group: Option<Key>) {
        for other in self.placement_groups.values_mut() {
            other.sets.remove(key);
        }
        if let Some(group) = group.as_ref().and_then(|group| self.placement_groups.get_mut(group)) {
            group.sets.insert(key.clone());
        }
        if let Some(set) = self.sets.get_mut(key) {
            set.group = group;
        }
    }

    fn need_placement_group(
        &self,
        group: &Key,
        (from, location): (&ResourceId, &str),
    ) -> Result<(), Box<ArmError>> {
        let found = self.placement_groups.get(group);
        match found.filter(|group| group.common.location == location) {
            Some(_) => Ok(()),
            None => Err(super::nic::dangling(group.as_str(), from)),
        }
    }

    fn delete_set(&mut self, id: &ResourceId) -> Answer {
        let key = id.key();
        let Some(set) = self.sets.get(&key) else { return Ok(Response::empty(204)) };
        if !set.members.is_empty() {
            // The code is not known (FACTS §6.2).
            let text = format!(
                "Availability Set '{}' cannot be deleted. Before deleting an Availability Set \
                 please ensure that it does not contain any VM.",
                id.name
            );
            return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
        }
        self.remove_set(&key);
        Ok(Response::empty(200).effect(format!("availability set {} deleted", id.name)))
    }

    fn remove_set(&mut self, key: &Key) {
        self.move_set(key, None);
        if let Some(set) = self.sets.remove(key) {
            let place = Place::new(&set.common.id.subscription, &set.common.location);
            self.quota.give_back(&place, &[(quota::SETS.to_owned(), 1)]);
            self.history.end(set.common.record, self.now, "deleted");
        }
        self.changed(key);
    }

    /// Takes away the sets and placement groups of a resource group.
    pub(super) fn remove_placement_in(&mut self, inside: &dyn Fn(&Key) -> bool) {
        let sets: Vec<Key> = self.sets.keys().filter(|key| inside(key)).cloned().collect();
        sets.iter().for_each(|key| self.remove_set(key));
        let groups = self.placement_groups.keys().filter(|key| inside(key));
        let groups: Vec<Key> = groups.cloned().collect();
        groups.iter().for_each(|key| self.remove_placement_group(key));
    }

    /// PUT, PATCH, GET, DELETE of a placement group.
    pub(super) fn on_placement_group(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let key = id.key();
        match request.method {
            Method::Put => self.put_placement_group(id, request),
            Method::Get | Method::Head => match self.placement_groups.contains_key(&key) {
                true => {
                    let wanted = request.query("includeColocationStatus");
                    let with_status = wanted.is_some_and(|v| v.eq_ignore_ascii_case("true"));
                    Ok(Response::with_body(200, self.placement_group_body(&key, with_status)))
                }
                false => self.need_group_of(id).and(Err(resource_not_found(id))),
            },
            Method::Patch => {
                let tags = vm_body::tags(&request.body)?;
                let group =
                    self.placement_groups.get_mut(&key).ok_or_else(|| resource_not_found(id))?;
                group.common.tags = tags;
                self.changed(&key);
                Ok(Response::with_body(200, self.placement_group_body(&key, false)))
            }
            Method::Delete => {
                let Some(group) = self.placement_groups.get(&key) else {
                    return Ok(Response::empty(204));
                };
                if !(group.vms.is_empty() && group.sets.is_empty()) {
                    let text = format!(
                        "Proximity placement group '{}' cannot be deleted: it is still \
                         referenced by other resources.",
                        id.name
                    );
                    return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
                }
                self.remove_placement_group(&key);
                Ok(Response::empty(200).effect(format!("placement group {} deleted", id.name)))
            }
            Method::Post => Err(method_not_allowed(request)),
        }
    }

    fn put_placement_group(&mut self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_of(id)?;
        let location = vm_body::location(&request.body)?;
        let tags = vm_body::tags(&request.body)?;
        self.need_same_location(id, &location)?;
        let at = |pointer: &str| request.body.pointer(pointer);
        let sizes = vm_body::texts(at("/properties/intent/vmSizes"));
        let zones = vm_body::texts(at("/zones"));
        if !zones.is_empty() && sizes.is_empty() {
            let text = "A zone may only be given together with 'intent.vmSizes'.";
            return Err(Box::new(ArmError::new(400, "InvalidParameter", text).target("zones")));
        }
        let unknown = sizes.iter().find(|size| catalog::sku(size).is_none());
        if let Some(size) = unknown {
            // With an intent no datacenter has all of (FACTS §6.3).
            let text = format!(
                "Allocation failed. VM(s) with the following constraints cannot be allocated, \
                 because the condition is too restrictive. Please remove some constraints and try \
                 again. Constraints applied are:\n  - Proximity Placement Group\n  - VM Size \
                 ({size})"
            );
            return Err(Box::new(ArmError::new(409, "OverconstrainedAllocationRequest", text)));
        }
        let kind = at("/properties/proximityPlacementGroupType").and_then(Value::as_str);
        let key = id.key();
        let is_new = !self.placement_groups.contains_key(&key);
        match self.placement_groups.get_mut(&key) {
            Some(group) => {
                group.common.tags = tags;
                group.sizes = sizes;
            }
            None => {
                let group = PlacementGroup {
                    common: self.begin(id, &location, tags),
                    kind: kind.unwrap_or("Standard").to_owned(),
                    sizes,
                    zones,
                    vms: BTreeSet::new(),
                    sets: BTreeSet::new(),
                };
                self.placement_groups.insert(key.clone(), group);
            }
        }
        self.changed(&key);
        let status = if is_new { 201 } else { 200 };
        let body = self.placement_group_body(&key, false);
        Ok(Response::with_body(status, body).effect(format!("placement group {} put", id.name)))
    }

    fn remove_placement_group(&mut self, key: &Key) {
        if let Some(group) = self.placement_groups.remove(key) {
            self.history.end(group.common.record, self.now, "deleted");
        }
        self.changed(key);
    }

    /// A new VM joins its set and its placement group.
    pub(super) fn join_placement(&mut self, key: &Key) {
        let Some(vm) = self.vms.get_mut(key) else { return };
        let (set, group) = (vm.set.clone(), vm.group.clone());
        if let Some(set) = set.as_ref().and_then(|set| self.sets.get_mut(set)) {
            vm.fault_domain = set.members.len() as u64 % set.fault_domains.max(1);
            set.members.insert(key.clone());
        }
        if let Some(group) = group.as_ref().and_then(|g| self.placement_groups.get_mut(g)) {
            group.vms.insert(key.clone());
        }
        set.iter().chain(&group).for_each(|changed| self.changed(changed));
    }

    /// A VM that ends leaves both.
    pub(super) fn leave_placement(&mut self, key: &Key) {
        let Some(vm) = self.vms.get(key) else { return };
        let (set, group) = (vm.set.clone(), vm.group.clone());
        if let Some(set) = set.as_ref().and_then(|set| self.sets.get_mut(set)) {
            set.members.remove(key);
        }
        if let Some(group) = group.as_ref().and_then(|g| self.placement_groups.get_mut(g)) {
            group.vms.remove(key);
        }
        set.iter().chain(&group).for_each(|changed| self.changed(changed));
    }

    /// Whether a VM is in a placement group by way of its set.
    pub(super) fn set_has_group(&self, vm: &Vm) -> bool {
        let set = vm.set.as_ref().and_then(|set| self.sets.get(set));
        set.is_some_and(|set| set.group.is_some())
    }
}

/// The body of an availability set.
struct SetBody {
    sku: String,
    fault_domains: u64,
    update_domains: u64,
    group: Option<Key>,
}

impl SetBody {
    fn parse(body: &Value) -> Result<SetBody, Box<ArmError>> {
        let number = |pointer: &str, default: u64| {
            body.pointer(pointer).map_or(Some(default), Value::as_u64).unwrap_or(0)
        };
        // Without `sku` a set is Classic (FACTS §6.2).
        let sku = body.pointer("/sku/name").and_then(Value::as_str).unwrap_or("Classic");
        let known = ["Aligned", "Classic"].into_iter().find(|name| name.eq_ignore_ascii_case(sku));
        let invalid = |name: &str, value: &Value| {
            let text = format!("The value {value} of parameter {name} is out of range.");
            Box::new(ArmError::new(400, "InvalidParameter", text).target(name))
        };
        let sku = known.ok_or_else(|| invalid("sku.name", &json!(sku)))?;
        let faults = number("/properties/platformFaultDomainCount", 2);
        let updates = number("/properties/platformUpdateDomainCount", 5);
        if !(1..=FAULT_DOMAINS_MAX).contains(&faults) {
            return Err(invalid("platformFaultDomainCount", &json!(faults)));
        }
        if !(1..=UPDATE_DOMAINS_MAX).contains(&updates) {
            return Err(invalid("platformUpdateDomainCount", &json!(updates)));
        }
        let group = body.pointer("/properties/proximityPlacementGroup/id").and_then(Value::as_str);
        Ok(SetBody {
            sku: sku.to_owned(),
            fault_domains: faults,
            update_domains: updates,
            group: group.filter(|id| !id.is_empty()).map(Key::of),
        })
    }
}
