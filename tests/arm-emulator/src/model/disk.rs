//! Managed disks.

use serde_json::{Value, json};

use super::Model;
use super::dispatch::{method_not_allowed, resource_not_found};
use super::ids::{Key, ResourceId};
use super::message::{Answer, ArmError, Method, Request, Response};
use super::operation::Doing;
use super::resources::Disk;
use super::settings::Spread;
use super::{time, vm_body};

impl Model {
    /// PUT, GET, DELETE of a disk.
    pub(super) fn on_disk(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let key = id.key();
        match request.method {
            Method::Put | Method::Patch => self.put_disk(id, request),
            Method::Get | Method::Head => match self.disks.contains_key(&key) {
                true => Ok(Response::with_body(200, self.disk_body(&key))),
                false => self.need_group_of(id).and(Err(resource_not_found(id))),
            },
            Method::Delete => {
                let Some(disk) = self.disks.get(&key) else { return Ok(Response::empty(204)) };
                if let Some(vm) = &disk.vm {
                    let text =
                        format!("Disk {} is attached to VM {}.", id.name, self.reference_to(vm));
                    return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
                }
                let delay = self.delays.resource_delete_ms;
                let operation = self.start_operation(Doing::DeletePlain, id, delay);
                let response = self.accepted(operation, request);
                Ok(response.effect(format!("disk {} deletion accepted", id.name)))
            }
            Method::Post => Err(method_not_allowed(request)),
        }
    }

    fn put_disk(&mut self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_of(id)?;
        let key = id.key();
        let tags = vm_body::tags(&request.body)?;
        let at = |pointer: &str| request.body.pointer(pointer);
        let size = at("/properties/diskSizeGB").and_then(Value::as_u64);
        let is_new = !self.disks.contains_key(&key);
        if let Some(disk) = self.disks.get_mut(&key) {
            disk.common.tags = tags;
            disk.size_gb = size.unwrap_or(disk.size_gb).max(disk.size_gb);
        } else {
            let location = vm_body::location(&request.body)?;
            let Some(size_gb) = size else {
                let text = "Required parameter 'disk.diskSizeGB' is missing (null).";
                return Err(Box::new(ArmError::new(400, "InvalidParameter", text)));
            };
            let disk = Disk {
                common: self.begin(id, &location, tags),
                sku: at("/sku/name").and_then(Value::as_str).unwrap_or("Standard_LRS").to_owned(),
                size_gb,
                zones: vm_body::texts(request.body.get("zones")),
                vm: None,
                creation: at("/properties/creationData").cloned().unwrap_or_else(|| json!({})),
                is_os: false,
            };
            self.disks.insert(key.clone(), disk);
        }
        self.changed(&key);
        let operation = self.start_operation(Doing::Nothing, id, Spread::Fixed(0));
        // A disk's PUT answers 202 with its body.
        let response = Response::with_body(if is_new { 202 } else { 200 }, self.disk_body(&key));
        let response = response.effect(format!("disk {} put", id.name));
        Ok(self.with_operation(response, operation, request))
    }

    /// The disk as GET shows it.
    pub(super) fn disk_body(&self, key: &Key) -> Value {
        let Some(disk) = self.disks.get(key) else { return Value::Null };
        let mut body = json!({
            "name": disk.common.id.name,
            "id": disk.common.id.to_string(),
            "type": disk.common.id.kind.full_type(),
            "location": disk.common.location,
            "tags": disk.common.tags,
            "sku": {"name": disk.sku, "tier": disk.sku.split('_').next().unwrap_or("Standard")},
            "properties": {
                "provisioningState": "Succeeded",
                "diskState": self.disk_state(disk),
                "diskSizeGB": disk.size_gb,
                "creationData": disk.creation,
                "timeCreated": time::azure(disk.common.created),
            },
        });
        if disk.is_os {
            body["properties"]["osType"] = json!("Linux");
        }
        if !disk.zones.is_empty() {
            body["zones"] = json!(disk.zones);
        }
        if let Some(vm) = &disk.vm {
            body["managedBy"] = json!(self.reference_to(vm));
        }
        body
    }

    /// `Reserved` while its VM has no place: deallocated or evicted (FACTS §1.3).
    fn disk_state(&self, disk: &Disk) -> &'static str {
        let Some(vm) = disk.vm.as_ref().and_then(|vm| self.vms.get(vm)) else {
            return "Unattached";
        };
        if vm.place.is_none() && vm.has_run { "Reserved" } else { "Attached" }
    }

    /// Takes a disk away.
    pub(super) fn remove_disk(&mut self, key: &Key) {
        if let Some(disk) = self.disks.remove(key) {
            self.history.end(disk.common.record, self.now, "deleted");
        }
        self.changed(key);
    }
}
