//! Resources that are only remembered: images, security groups, identities, capacity reservation
//! groups; and the end of simple deletions.

use serde_json::{Value, json};

use super::Model;
use super::dispatch::{method_not_allowed, resource_not_found};
use super::ids::{Key, Kind, ResourceId};
use super::message::{Answer, ArmError, Method, Request, Response};
use super::operation::{Doing, OperationId, Progress};
use super::resources::Plain;
use super::settings::Spread;
use super::vm_body;

impl Model {
    /// PUT, PATCH, GET, DELETE.
    pub(super) fn on_plain(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let key = id.key();
        match request.method {
            Method::Put => self.put_plain(id, request),
            Method::Patch => {
                let tags = vm_body::tags(&request.body)?;
                let found = self.plain.get_mut(&key).ok_or_else(|| resource_not_found(id))?;
                found.common.tags = tags;
                self.changed(&key);
                Ok(Response::with_body(200, self.plain_body(&key)))
            }
            Method::Get | Method::Head => match self.plain.contains_key(&key) {
                true => Ok(Response::with_body(200, self.plain_body(&key))),
                false => self.need_group_of(id).and(Err(resource_not_found(id))),
            },
            Method::Delete => self.delete_plain(id, request),
            Method::Post => Err(method_not_allowed(request)),
        }
    }

    fn put_plain(&mut self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_of(id)?;
        let location = vm_body::location(&request.body)?;
        let tags = vm_body::tags(&request.body)?;
        self.need_same_location(id, &location)?;
        let mut body = request.body.as_object().cloned().unwrap_or_default();
        for shown_anyway in ["id", "name", "type", "location", "tags"] {
            body.remove(shown_anyway);
        }
        let key = id.key();
        let is_new = !self.plain.contains_key(&key);
        match self.plain.get_mut(&key) {
            Some(found) => (found.common.tags, found.body) = (tags, body),
            None => {
                let common = self.begin(id, &location, tags);
                self.plain.insert(key.clone(), Plain { common, body });
            }
        }
        self.changed(&key);
        let response = Response::with_body(if is_new { 201 } else { 200 }, self.plain_body(&key));
        Ok(response.effect(format!("{} {} put", id.kind.type_name(), id.name)))
    }

    fn delete_plain(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let key = id.key();
        if !self.plain.contains_key(&key) {
            return Ok(Response::empty(204));
        }
        if id.kind == Kind::ReservationGroup && !self.reserved_by(&key).is_empty() {
            let text = format!(
                "Capacity reservation group '{}' cannot be deleted: virtual machines are \
                 associated with it.",
                id.name
            );
            return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
        }
        let operation = self.start_operation(Doing::DeletePlain, id, Spread::Fixed(0));
        let effect = format!("{} {} deleted", id.kind.type_name(), id.name);
        Ok(self.accepted(operation, request).effect(effect))
    }

    /// VMs on a capacity reservation group.
    fn reserved_by(&self, group: &Key) -> Vec<Value> {
        let pointer = "/capacityReservation/capacityReservationGroup/id";
        let mine = self.vms.values().filter(|vm| Key::of(vm.asked.text(pointer)) == *group);
        mine.map(|vm| json!({ "id": self.reference(&vm.common.id) })).collect()
    }

    /// The resource as GET shows it.
    pub(super) fn plain_body(&self, key: &Key) -> Value {
        let Some(plain) = self.plain.get(key) else { return Value::Null };
        let common = &plain.common;
        let mut body = plain.body.clone();
        body.insert("name".to_owned(), json!(common.id.name));
        body.insert("id".to_owned(), json!(common.id.to_string()));
        body.insert("type".to_owned(), json!(common.id.kind.full_type()));
        body.insert("location".to_owned(), json!(common.location));
        body.insert("tags".to_owned(), json!(common.tags));
        let mut body = Value::Object(body);
        body["properties"]["provisioningState"] = json!("Succeeded");
        if common.id.kind == Kind::SecurityGroup {
            body["properties"]["defaultSecurityRules"] = default_rules();
        }
        if common.id.kind == Kind::ReservationGroup {
            body["properties"]["virtualMachinesAssociated"] = json!(self.reserved_by(key));
        }
        body
    }

    /// Takes a remembered resource away.
    pub(super) fn remove_plain(&mut self, key: &Key) {
        if let Some(plain) = self.plain.remove(key) {
            self.history.end(plain.common.record, self.now, "deleted");
        }
        self.changed(key);
    }

    /// The end of the deletion of a NIC, a disk, a network or a remembered resource.
    pub(super) fn finish_plain(&mut self, operation: OperationId, key: &Key) {
        if self.nics.get(key).is_some_and(|nic| nic.vm.is_some()) {
            // A VM took the NIC between the answer and the end.
            let text = "Network Interface is used by an existing resource.";
            let error = Box::new(ArmError::new(400, "NicInUse", text));
            self.operations.end(operation, Progress::Failed(error), self.now);
            return;
        }
        self.remove_nic(key, 0);
        self.remove_disk(key);
        self.remove_vnet(key);
        self.remove_plain(key);
        self.operations.end(operation, Progress::Succeeded, self.now);
    }
}

/// What every security group has behind its own rules. (LEARN: Network security groups)
fn default_rules() -> Value {
    let rule = |name: &str, (direction, access): (&str, &str), (from, to): (&str, &str)| {
        let priority = match (access, name.contains("Vnet")) {
            ("Deny", _) => 65500,
            (_, true) => 65000,
            (_, false) => 65001,
        };
        json!({"name": name, "properties": {
            "priority": priority, "direction": direction, "access": access, "protocol": "*",
            "sourceAddressPrefix": from, "sourcePortRange": "*",
            "destinationAddressPrefix": to, "destinationPortRange": "*"}})
    };
    let network = ("VirtualNetwork", "VirtualNetwork");
    json!([
        rule("AllowVnetInBound", ("Inbound", "Allow"), network),
        rule("AllowAzureLoadBalancerInBound", ("Inbound", "Allow"), ("AzureLoadBalancer", "*")),
        rule("DenyAllInBound", ("Inbound", "Deny"), ("*", "*")),
        rule("AllowVnetOutBound", ("Outbound", "Allow"), network),
        rule("AllowInternetOutBound", ("Outbound", "Allow"), ("*", "Internet")),
        rule("DenyAllOutBound", ("Outbound", "Deny"), ("*", "*")),
    ])
}
