//! PUT and PATCH of a VM that exists.

use serde_json::{Value, json};

use super::Model;
use super::dispatch::resource_not_found;
use super::ids::{Key, ResourceId};
use super::message::{Answer, ArmError, Request, Response};
use super::operation::{Doing, OperationId, Progress, Start};
use super::quota::{self, Place};
use super::resources::Provisioning;
use super::vm_body::{self, VmPut};
use super::vm_create::marked_for_deletion;
use crate::catalog;

impl Model {
    /// PUT over a VM that exists: the same body again changes nothing, after a failure it tries
    /// again, a changed one is taken over. What may not change was refused before.
    pub(super) fn update_vm(&mut self, key: &Key, put: VmPut, request: &Request) -> Answer {
        let Some(vm) = self.vms.get(key) else { return Ok(Response::empty(404)) };
        let name = vm.common.id.name.clone();
        let (is_failed, is_creating) = match vm.provisioning {
            Provisioning::Failed(_) => (!vm.has_run, false),
            Provisioning::Creating => (false, true),
            Provisioning::Updating | Provisioning::Succeeded | Provisioning::Deleting => {
                (false, false)
            }
        };
        self.resize_vm(key, &put)?;
        self.take_over(key, put);
        let operation = if is_failed {
            let operation = self.begin_create(key, request)?;
            self.set_provisioning(key, Provisioning::Creating);
            operation
        } else if is_creating {
            self.join_create(key, request)?
        } else {
            self.begin_update(key, request)
        };
        let response = Response::with_body(200, self.vm_body(key));
        let response = response.effect(format!("vm {name} updated"));
        Ok(self.with_operation(response, operation, request))
    }

    /// Another size: quota is looked at again; the place stays, since nothing here depends on it.
    fn resize_vm(&mut self, key: &Key, put: &VmPut) -> Result<(), Box<ArmError>> {
        let (Some(vm), Some(sku)) = (self.vms.get_mut(key), catalog::sku(put.size())) else {
            return Ok(());
        };
        if std::ptr::eq(vm.sku, sku) || vm.sku.name == sku.name {
            return Ok(());
        }
        let place = Place::new(&vm.common.id.subscription, &vm.common.location);
        let before = quota::charges(vm.sku, vm.spot.is_some());
        let after = quota::charges(sku, vm.spot.is_some());
        self.quota.give_back(&place, &before);
        if let Err(error) = self.quota.check(&place, &after) {
            self.quota.take(&place, &before);
            return Err(error);
        }
        self.quota.take(&place, &after);
        vm.sku = sku;
        Ok(())
    }

    fn take_over(&mut self, key: &Key, put: VmPut) {
        let extra = self.habits.extra_tag.clone();
        let Some(vm) = self.vms.get_mut(key) else { return };
        let mut tags = put.tags.clone();
        tags.extend(extra.map(|(name, value)| (name, Value::String(value))));
        vm.common.tags = tags.clone();
        let record = vm.common.record;
        // Members that a later PUT leaves out keep their value.
        let mut properties = vm.asked.properties.clone();
        merge(&mut properties, &put.properties);
        let zones = vm.asked.zones.clone();
        vm.asked = VmPut { properties, zones, ..put };
        self.history.of(record).tags = tags;
        self.show_properties(key);
        self.changed(key);
    }

    /// A PUT during a create ends when the create ends.
    fn join_create(&mut self, key: &Key, request: &Request) -> Result<OperationId, Box<ArmError>> {
        let running = self.vms.get(key).and_then(|vm| vm.operation);
        match running.filter(|id| self.operations.running(*id).is_some()) {
            Some(operation) => Ok(operation),
            None => self.begin_create(key, request),
        }
    }

    fn begin_update(&mut self, key: &Key, request: &Request) -> OperationId {
        let operation = self.vm_operation(key, Doing::Update, request);
        self.preempt(key, operation);
        self.set_provisioning(key, Provisioning::Updating);
        let end = self.now + self.chance.duration(self.delays.vm_update_ms);
        self.finish_at(operation, end);
        operation
    }

    /// Begins an operation on a VM.
    pub(super) fn vm_operation(
        &mut self,
        key: &Key,
        doing: Doing,
        request: &Request,
    ) -> OperationId {
        let place = self.vms.get(key).map(|vm| &vm.common);
        let start = Start {
            doing,
            target: key.clone(),
            location: place.map_or_else(String::new, |common| common.location.clone()),
            subscription: place.map_or_else(String::new, |common| common.id.subscription.clone()),
            must_fail: request.fail_operation.clone(),
        };
        self.begin_operation(start)
    }

    /// PATCH: tags, identity and user data; anything else is left to PUT.
    pub(super) fn patch_vm(&mut self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_of(id)?;
        let key = id.key();
        let Some(vm) = self.vms.get(&key) else { return Err(resource_not_found(id)) };
        if vm.provisioning == Provisioning::Deleting {
            return Err(marked_for_deletion(&id.name, "update"));
        }
        let (mut asked, has_tags) = (vm.asked.clone(), request.body.get("tags").is_some());
        if has_tags {
            asked.tags = vm_body::tags(&request.body)?;
        }
        if let Some(identity) = request.body.get("identity") {
            asked.identity = Some(identity.clone());
        }
        if let Some(data) = request.body.pointer("/properties/userData") {
            merge(&mut asked.properties, &json!({ "userData": data }));
        }
        self.take_over(&key, asked);
        let operation = if self.vms.get(&key).is_some_and(|vm| vm.operation.is_some()) {
            // Tags are the front door's: they do not disturb what compute is doing.
            let operation = self.vm_operation(&key, Doing::Nothing, request);
            self.operations.end(operation, Progress::Succeeded, self.now);
            operation
        } else {
            self.begin_update(&key, request)
        };
        let response = Response::with_body(200, self.vm_body(&key));
        let response = response.effect(format!("vm {} patched", id.name));
        Ok(self.with_operation(response, operation, request))
    }
}

/// Puts the members of one object over those of another, all the way down.
fn merge(target: &mut Value, from: &Value) {
    match (target, from) {
        (Value::Object(target), Value::Object(from)) => {
            for (name, value) in from {
                merge(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (target, from) => *target = from.clone(),
    }
}
