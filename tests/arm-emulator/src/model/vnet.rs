//! Virtual networks and their subnets.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Model;
use super::address::{Cidr, Pool};
use super::config::VnetSeed;
use super::dispatch::{method_not_allowed, resource_not_found};
use super::ids::{Key, Kind, ResourceId};
use super::message::{Answer, ArmError, Method, Request, Response};
use super::operation::Doing;
use super::resources::{Subnet, Vnet};
use super::settings::Spread;
use super::vm_body;

impl Model {
    /// Makes a network of the configuration.
    pub(super) fn seed_vnet(&mut self, subscription: &str, seed: &VnetSeed) -> Result<(), String> {
        let id = ResourceId {
            subscription: subscription.to_owned(),
            group: seed.group.clone(),
            kind: Kind::Vnet,
            name: seed.name.clone(),
        };
        let group = self.groups.get(&id.group_key());
        let location = group.map(|group| group.location.clone()).ok_or_else(|| {
            format!("network '{}' names group '{}', which is not listed", seed.name, seed.group)
        })?;
        let subnets: Vec<Value> = seed
            .subnets
            .iter()
            .map(|(name, prefix)| json!({"name": name, "properties": {"addressPrefix": prefix}}))
            .collect();
        let body = json!({
            "location": location,
            "properties": {
                "addressSpace": {"addressPrefixes": [seed.prefix]},
                "subnets": subnets,
            },
        });
        self.make_vnet(&id, &body).map(|_| ()).map_err(|error| error.message)
    }

    /// PUT, GET, DELETE of a network.
    pub(super) fn on_vnet(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let key = id.key();
        match request.method {
            Method::Put => {
                let is_new = self.make_vnet(id, &request.body)?;
                let operation = self.start_operation(Doing::Nothing, id, Spread::Fixed(0));
                let status = if is_new { 201 } else { 200 };
                let response = Response::with_body(status, self.vnet_body(&key));
                let response = response.effect(format!("network {} put", id.name));
                Ok(self.with_operation(response, operation, request))
            }
            Method::Get | Method::Head => match self.vnets.contains_key(&key) {
                true => Ok(Response::with_body(200, self.vnet_body(&key))),
                false => self.need_group_of(id).and(Err(resource_not_found(id))),
            },
            Method::Delete => {
                let Some(vnet) = self.vnets.get(&key) else { return Ok(Response::empty(204)) };
                if vnet.subnets.values().any(|subnet| subnet.pool.taken() > 0) {
                    return Err(in_use(&vnet.common.id.to_string()));
                }
                let operation = self.start_operation(Doing::DeletePlain, id, Spread::Fixed(0));
                Ok(self.accepted(operation, request).effect(format!("network {} deleted", id.name)))
            }
            Method::Patch | Method::Post => Err(method_not_allowed(request)),
        }
    }

    fn make_vnet(&mut self, id: &ResourceId, body: &Value) -> Result<bool, Box<ArmError>> {
        self.need_group_of(id)?;
        let location = vm_body::location(body)?;
        let tags = vm_body::tags(body)?;
        self.need_same_location(id, &location)?;
        let prefixes = vm_body::texts(body.pointer("/properties/addressSpace/addressPrefixes"));
        let space: Option<Vec<Cidr>> = prefixes.iter().map(|prefix| Cidr::parse(prefix)).collect();
        let space = space.filter(|space| !space.is_empty()).ok_or_else(|| {
            let text = format!("The address space of network {id} is invalid.");
            Box::new(ArmError::new(400, "InvalidAddressPrefixFormat", text))
        })?;
        let key = id.key();
        let before = self.vnets.get(&key).map(|vnet| vnet.subnets.clone()).unwrap_or_default();
        let mut subnets = BTreeMap::new();
        let given = body.pointer("/properties/subnets").and_then(Value::as_array);
        for subnet in given.map(Vec::as_slice).unwrap_or_default() {
            let name = subnet.get("name").and_then(Value::as_str).unwrap_or_default();
            let made = make_subnet(name, subnet, (&space, &before))?;
            if subnets.values().any(|other: &Subnet| other.pool.cidr().overlaps(made.pool.cidr())) {
                return Err(overlap(name));
            }
            subnets.insert(name.to_ascii_lowercase(), made);
        }
        let lost =
            before.iter().find(|(name, old)| old.pool.taken() > 0 && !subnets.contains_key(*name));
        if let Some((name, _)) = lost {
            return Err(in_use(&format!("{id}/subnets/{name}")));
        }
        let is_new = !self.vnets.contains_key(&key);
        let properties = other_properties(body);
        match self.vnets.get_mut(&key) {
            Some(vnet) => {
                vnet.common.tags = tags;
                (vnet.prefixes, vnet.space, vnet.subnets) = (prefixes, space, subnets);
                vnet.properties = properties;
            }
            None => {
                let common = self.begin(id, &location, tags);
                let vnet = Vnet { common, prefixes, space, subnets, properties };
                self.vnets.insert(key.clone(), vnet);
            }
        }
        self.changed(&key);
        Ok(is_new)
    }

    /// Subnets of a network.
    pub(super) fn list_subnets(&self, id: &ResourceId) -> Answer {
        let Some(vnet) = self.vnets.get(&id.key()) else { return Err(resource_not_found(id)) };
        let list: Vec<Value> =
            vnet.subnets.values().map(|subnet| subnet_body(vnet, subnet)).collect();
        Ok(Response::with_body(200, json!({ "value": list })))
    }

    /// PUT, GET, DELETE of a subnet.
    pub(super) fn on_subnet(&mut self, id: &ResourceId, name: &str, request: &Request) -> Answer {
        let (key, lower) = (id.key(), name.to_ascii_lowercase());
        let Some(vnet) = self.vnets.get_mut(&key) else { return Err(resource_not_found(id)) };
        match request.method {
            Method::Put => {
                let before = std::mem::take(&mut vnet.subnets);
                let made = make_subnet(name, &request.body, (&vnet.space, &before));
                vnet.subnets = before;
                let made = made?;
                let overlaps = |(other, subnet): (&String, &Subnet)| {
                    *other != lower && subnet.pool.cidr().overlaps(made.pool.cidr())
                };
                if vnet.subnets.iter().any(overlaps) {
                    return Err(overlap(name));
                }
                let is_new = vnet.subnets.insert(lower.clone(), made).is_none();
                let body = subnet_body(vnet, &vnet.subnets[&lower]);
                let operation = self.start_operation(Doing::Nothing, id, Spread::Fixed(0));
                let response = Response::with_body(if is_new { 201 } else { 200 }, body);
                let response = response.effect(format!("subnet {name} put"));
                Ok(self.with_operation(response, operation, request))
            }
            Method::Get | Method::Head => match vnet.subnets.get(&lower) {
                Some(_) => Ok(Response::with_body(200, self.subnet_with_use(&key, &lower))),
                None => {
                    let text = format!("Resource {}/subnets/{name} not found.", vnet.common.id);
                    Err(Box::new(ArmError::new(404, "NotFound", text)))
                }
            },
            Method::Delete => {
                if vnet.subnets.get(&lower).is_some_and(|subnet| subnet.pool.taken() > 0) {
                    return Err(in_use(&format!("{id}/subnets/{name}")));
                }
                match vnet.subnets.remove(&lower) {
                    Some(_) => Ok(Response::empty(200).effect(format!("subnet {name} deleted"))),
                    None => Ok(Response::empty(204)),
                }
            }
            Method::Patch | Method::Post => Err(method_not_allowed(request)),
        }
    }

    /// The network as GET shows it.
    pub(super) fn vnet_body(&self, key: &Key) -> Value {
        let Some(vnet) = self.vnets.get(key) else { return Value::Null };
        let subnets: Vec<Value> =
            vnet.subnets.values().map(|subnet| subnet_body(vnet, subnet)).collect();
        let mut properties = vnet.properties.clone();
        properties.insert("provisioningState".to_owned(), json!("Succeeded"));
        properties.insert("addressSpace".to_owned(), json!({ "addressPrefixes": vnet.prefixes }));
        properties.insert("subnets".to_owned(), Value::Array(subnets));
        properties.entry("virtualNetworkPeerings").or_insert_with(|| json!([]));
        json!({
            "name": vnet.common.id.name,
            "id": vnet.common.id.to_string(),
            "type": vnet.common.id.kind.full_type(),
            "location": vnet.common.location,
            "tags": vnet.common.tags,
            "properties": properties,
        })
    }

    /// A subnet as its own GET shows it: with who is in it.
    fn subnet_with_use(&self, vnet: &Key, name: &str) -> Value {
        let found = self.vnets.get(vnet).and_then(|vnet| Some((vnet, vnet.subnets.get(name)?)));
        let Some((network, subnet)) = found else { return Value::Null };
        let mut body = subnet_body(network, subnet);
        let inside = self.configurations_in(vnet, subnet);
        // Azure leaves the member out where nobody is.
        if !inside.is_empty() {
            body["properties"]["ipConfigurations"] = Value::Array(inside);
        }
        body
    }

    /// Takes a network away.
    pub(super) fn remove_vnet(&mut self, key: &Key) {
        if let Some(vnet) = self.vnets.remove(key) {
            self.history.end(vnet.common.record, self.now, "deleted");
        }
        self.changed(key);
    }
}

/// A subnet of a body; one that existed with the same network keeps its addresses.
fn make_subnet(
    name: &str,
    body: &Value,
    (space, before): (&[Cidr], &BTreeMap<String, Subnet>),
) -> Result<Subnet, Box<ArmError>> {
    let mut properties =
        body.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let single = properties.remove("addressPrefix");
    let first = properties.remove("addressPrefixes").and_then(|list| list.get(0).cloned());
    let prefix = single.filter(|value| !value.is_null()).or(first).unwrap_or(Value::Null);
    let prefix = prefix.as_str().unwrap_or_default().to_owned();
    let cidr = Cidr::parse(&prefix).filter(|cidr| space.iter().any(|all| all.contains(*cidr)));
    let Some(cidr) = cidr.filter(|_| !name.is_empty()) else {
        let text = format!(
            "Subnet '{name}' is not valid because its IP address range '{prefix}' \
                            is outside the IP address range of its virtual network."
        );
        return Err(Box::new(ArmError::new(400, "NetcfgInvalidSubnet", text)));
    };
    let old = before.get(&name.to_ascii_lowercase());
    let pool = match old {
        Some(old) if old.pool.cidr() == cidr => old.pool.clone(),
        Some(old) if old.pool.taken() > 0 => return Err(in_use(name)),
        Some(_) | None => Pool::new(cidr),
    };
    for read_only in ["provisioningState", "ipConfigurations"] {
        properties.remove(read_only);
    }
    Ok(Subnet { name: name.to_owned(), prefix, properties, pool })
}

/// What a network has beside its address space and subnets.
fn other_properties(body: &Value) -> Map<String, Value> {
    let given = body.get("properties").and_then(Value::as_object);
    let mut properties = given.cloned().unwrap_or_default();
    for own in ["addressSpace", "subnets", "provisioningState"] {
        properties.remove(own);
    }
    properties
}

fn overlap(name: &str) -> Box<ArmError> {
    let text = format!("Subnet '{name}' is not valid because it overlaps with another subnet.");
    Box::new(ArmError::new(400, "NetcfgSubnetRangesOverlap", text))
}

fn in_use(id: &str) -> Box<ArmError> {
    let text = format!("Subnet {id} is in use and cannot be deleted or changed.");
    Box::new(ArmError::new(400, "InUseSubnetCannotBeDeleted", text))
}

fn subnet_body(vnet: &Vnet, subnet: &Subnet) -> Value {
    let mut properties: Map<String, Value> = subnet.properties.clone();
    properties.insert("addressPrefix".to_owned(), json!(subnet.prefix));
    properties.insert("provisioningState".to_owned(), json!("Succeeded"));
    json!({
        "name": subnet.name,
        "id": format!("{}/subnets/{}", vnet.common.id, subnet.name),
        "type": "Microsoft.Network/virtualNetworks/subnets",
        "properties": properties,
    })
}
