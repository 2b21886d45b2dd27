//! Network interfaces: separate ones, and those made with a VM.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::Model;
use super::address::NoAddress;
use super::dispatch::{method_not_allowed, resource_not_found};
use super::ids::{Key, Kind, ResourceId};
use super::message::{Answer, ArmError, Method, Request, Response};
use super::operation::Doing;
use super::resources::{IpConfig, Nic, Part};
use super::time::{Millis, SECOND};
use super::vm_body::{self, VmPut};
use super::vm_create::goes_with_vm;

/// First half of Azure's hardware addresses.
const MAC_PREFIX: &str = "00-0D-3A";

/// Where a subnet id points.
pub(super) struct SubnetAt {
    pub vnet: Key,
    pub subnet: String,
}

/// Reads `…/virtualNetworks/{v}/subnets/{s}`.
pub(super) fn parse_subnet(id: &str) -> Option<SubnetAt> {
    let lower = id.to_ascii_lowercase();
    let (vnet, subnet) = lower.split_once("/subnets/")?;
    ResourceId::parse(vnet).filter(|vnet| vnet.kind == Kind::Vnet)?;
    let is_name = !subnet.is_empty() && !subnet.contains('/');
    is_name.then(|| SubnetAt { vnet: Key::of(vnet), subnet: subnet.to_owned() })
}

/// 400 for a reference to something that is not there or in another region.
pub(super) fn dangling(what: &str, from: &ResourceId) -> Box<ArmError> {
    let text = format!(
        "Resource {what} referenced by resource {from} was not found. Please make sure that the \
         referenced resource exists, and that both resources are in the same region."
    );
    Box::new(ArmError::new(400, "InvalidResourceReference", text))
}

impl Model {
    /// PUT, PATCH, GET, DELETE of a NIC.
    pub(super) fn on_nic(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let key = id.key();
        match request.method {
            Method::Put => self.put_nic(id, request),
            Method::Get | Method::Head => match self.nics.contains_key(&key) {
                true => Ok(Response::with_body(200, self.nic_body(&key))),
                false => self.need_group_of(id).and(Err(resource_not_found(id))),
            },
            Method::Delete => self.delete_nic(id, request),
            Method::Patch => {
                let tags = vm_body::tags(&request.body)?;
                let Some(nic) = self.nics.get_mut(&key) else {
                    return Err(resource_not_found(id));
                };
                nic.common.tags = tags;
                self.changed(&key);
                Ok(Response::with_body(200, self.nic_body(&key)))
            }
            Method::Post => Err(method_not_allowed(request)),
        }
    }

    /// PUT: 201 and already `Succeeded`, though async headers are there (FACTS §1.1).
    fn put_nic(&mut self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_of(id)?;
        let location = vm_body::location(&request.body)?;
        let tags = vm_body::tags(&request.body)?;
        self.need_same_location(id, &location)?;
        let mut properties = request.body.get("properties").cloned().unwrap_or(json!({}));
        let configs = properties
            .as_object_mut()
            .and_then(|members| members.remove("ipConfigurations"))
            .and_then(|configs| configs.as_array().cloned())
            .unwrap_or_default();
        let key = id.key();
        let properties = properties.as_object().cloned().unwrap_or_default();
        let is_new = !self.nics.contains_key(&key);
        if is_new {
            let configs = self.take_addresses(id, &location, &configs)?;
            let common = self.begin(id, &location, tags);
            self.insert_nic(common, configs, properties);
        } else if let Some(nic) = self.nics.get_mut(&key) {
            nic.properties = properties;
            nic.common.tags = tags;
        }
        self.changed(&key);
        let operation = self.start_operation(Doing::Nothing, id, super::settings::Spread::Fixed(0));
        let status = if is_new { 201 } else { 200 };
        let response = Response::with_body(status, self.nic_body(&key));
        let response = response.effect(format!("nic {} put", id.name));
        Ok(self.with_operation(response, operation, request))
    }

    fn insert_nic(
        &mut self,
        common: super::resources::Common,
        configs: Vec<IpConfig>,
        properties: Map<String, Value>,
    ) {
        let bits = self.chance.bits();
        let nic = Nic {
            mac: format!(
                "{MAC_PREFIX}-{:02X}-{:02X}-{:02X}",
                bits & 0xff,
                (bits >> 8) & 0xff,
                (bits >> 16) & 0xff
            ),
            configs,
            vm: None,
            is_primary: false,
            is_inline: false,
            reserved: None,
            properties,
            common,
        };
        self.nics.insert(nic.common.id.key(), nic);
    }

    fn delete_nic(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let key = id.key();
        let Some(nic) = self.nics.get(&key) else { return Ok(Response::empty(204)) };
        if let Some(vm) = &nic.vm {
            let text = format!(
                "Network Interface {} is used by existing resource {}. In order to delete the \
                 network interface, it must be dissociated from the resource.",
                nic.common.id,
                self.reference_to(vm)
            );
            return Err(Box::new(ArmError::new(400, "NicInUse", text)));
        }
        if let Some(error) = self.reserved_for_other(nic, None) {
            return Err(error);
        }
        let operation =
            self.start_operation(Doing::DeletePlain, id, self.delays.resource_delete_ms);
        Ok(self.accepted(operation, request).effect(format!("nic {} deletion accepted", id.name)))
    }

    /// The refusal of a NIC that is kept for a VM other than `vm`.
    fn reserved_for_other(&self, nic: &Nic, vm: Option<&Key>) -> Option<Box<ArmError>> {
        let (reserved, until) = nic.reserved.as_ref()?;
        if *until <= self.now || Some(reserved) == vm {
            return None;
        }
        let whole = self.habits.nic_reserved_ms / SECOND;
        let text = format!(
            "Nic(s) in request is reserved for another Virtual Machine for {whole} seconds. \
             Please provide another nic(s) or retry after {whole} seconds. Reserved VM: {}",
            self.reference_to(reserved)
        );
        Some(Box::new(ArmError::new(400, "NicReservedForAnotherVm", text)))
    }

    /// Gives every configuration its address; all or none.
    fn take_addresses(
        &mut self,
        id: &ResourceId,
        location: &str,
        configs: &[Value],
    ) -> Result<Vec<IpConfig>, Box<ArmError>> {
        let mut taken: Vec<IpConfig> = Vec::new();
        for (n, config) in configs.iter().enumerate() {
            match self.take_address(id, location, (n, config)) {
                Ok(config) => taken.push(config),
                Err(error) => {
                    self.give_addresses_back(&taken, 0);
                    return Err(error);
                }
            }
        }
        if taken.is_empty() {
            let text = format!("Network interface {id} must have one or more IP configurations.");
            return Err(Box::new(ArmError::new(
                400,
                "NetworkInterfaceMustHaveIpConfigurations",
                text,
            )));
        }
        Ok(taken)
    }

    fn take_address(
        &mut self,
        id: &ResourceId,
        location: &str,
        (n, config): (usize, &Value),
    ) -> Result<IpConfig, Box<ArmError>> {
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
        let subnet_id = text("/properties/subnet/id").unwrap_or_default().to_owned();
        let at = parse_subnet(&subnet_id).ok_or_else(|| dangling(&subnet_id, id))?;
        let now = self.now;
        let vnet = self.vnets.get_mut(&at.vnet).filter(|vnet| vnet.common.location == location);
        let subnet = vnet.and_then(|vnet| vnet.subnets.get_mut(&at.subnet));
        let Some(subnet) = subnet else { return Err(dangling(&subnet_id, id)) };
        let is_static = text("/properties/privateIPAllocationMethod")
            .is_some_and(|method| method.eq_ignore_ascii_case("Static"));
        let wish = text("/properties/privateIPAddress").and_then(|a| a.parse::<Ipv4Addr>().ok());
        let found = match wish.filter(|_| is_static) {
            Some(wish) => subnet.pool.take_this(wish, now),
            None => subnet.pool.take(now),
        };
        let address = found.map_err(|why| no_address(why, &subnet.name, &subnet.prefix))?;
        let given = config.get("name").and_then(Value::as_str).map(str::to_owned);
        let primary = config.pointer("/properties/primary").and_then(Value::as_bool);
        Ok(IpConfig {
            name: given.unwrap_or_else(|| format!("ipconfig{}", n + 1)),
            vnet: at.vnet,
            subnet: at.subnet,
            subnet_id,
            address,
            is_static,
            is_primary: primary.unwrap_or(n == 0),
        })
    }

    fn give_addresses_back(&mut self, configs: &[IpConfig], held: Millis) {
        let until = self.now + held;
        for config in configs {
            let vnet = self.vnets.get_mut(&config.vnet);
            if let Some(subnet) = vnet.and_then(|vnet| vnet.subnets.get_mut(&config.subnet)) {
                subnet.pool.give_back(config.address, until);
            }
        }
    }

    /// The NICs of a new VM: those named are attached, those described are made; all or none.
    pub(super) fn make_nics(
        &mut self,
        vm: &ResourceId,
        put: &VmPut,
    ) -> Result<Vec<Part>, Box<ArmError>> {
        let mut parts = Vec::new();
        for named in put.list("/networkProfile/networkInterfaces") {
            let id = named.get("id").and_then(Value::as_str).unwrap_or_default();
            self.need_free_nic(vm, id, &put.location)?;
            let options = named.get("properties").unwrap_or(&Value::Null);
            parts.push(Part { key: Key::of(id), goes_with_vm: goes_with_vm(options) });
        }
        let attached = parts.len();
        for config in put.list("/networkProfile/networkInterfaceConfigurations") {
            match self.make_inline_nic(vm, put, config) {
                Ok(part) => parts.push(part),
                Err(error) => {
                    parts.drain(attached..).for_each(|part| self.remove_nic(&part.key, 0));
                    return Err(error);
                }
            }
        }
        for (n, part) in parts.iter().enumerate() {
            if let Some(nic) = self.nics.get_mut(&part.key) {
                nic.vm = Some(vm.key());
                nic.is_primary = n == 0;
                nic.reserved = None;
            }
            self.changed(&part.key);
        }
        Ok(parts)
    }

    fn need_free_nic(
        &self,
        vm: &ResourceId,
        id: &str,
        location: &str,
    ) -> Result<(), Box<ArmError>> {
        let nic = self.nics.get(&Key::of(id)).filter(|nic| nic.common.location == location);
        let Some(nic) = nic else { return Err(dangling(id, vm)) };
        if let Some(other) = nic.vm.as_ref().filter(|other| **other != vm.key()) {
            let text = format!(
                "Network Interface {id} is used by existing resource {}. In order to use it, it \
                 must be dissociated from that resource.",
                self.reference_to(other)
            );
            return Err(Box::new(ArmError::new(400, "NicInUse", text)));
        }
        self.reserved_for_other(nic, Some(&vm.key())).map_or(Ok(()), Err)
    }

    /// The name is Azure's; its rule is not documented (FACTS §1.1).
    fn make_inline_nic(
        &mut self,
        vm: &ResourceId,
        put: &VmPut,
        config: &Value,
    ) -> Result<Part, Box<ArmError>> {
        let base = config.get("name").and_then(Value::as_str).unwrap_or(&vm.name).to_owned();
        let id = vm.sibling(Kind::Nic, &format!("{base}-{}", self.chance.hex(8)));
        let mut properties =
            config.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let configs = properties.remove("ipConfigurations").unwrap_or(Value::Null);
        let configs = configs.as_array().cloned().unwrap_or_default();
        let configs = self.take_addresses(&id, &put.location, &configs)?;
        let goes_with_vm = goes_with_vm(&Value::Object(properties.clone()));
        let common = self.begin(&id, &put.location, Map::new());
        properties.remove("deleteOption");
        self.insert_nic(common, configs, properties);
        if let Some(nic) = self.nics.get_mut(&id.key()) {
            nic.is_inline = true;
        }
        Ok(Part { key: id.key(), goes_with_vm })
    }

    /// First address of a VM's first NIC.
    pub(super) fn address_of(&self, vm: &Key) -> String {
        let nic = self.vms.get(vm).and_then(|vm| vm.nics.first());
        let nic = nic.and_then(|part| self.nics.get(&part.key));
        let config = nic.and_then(|nic| nic.configs.first());
        config.map_or_else(String::new, |config| config.address.to_string())
    }

    /// Takes a NIC away; its addresses stay held for `held`.
    pub(super) fn remove_nic(&mut self, key: &Key, held: Millis) {
        let Some(nic) = self.nics.remove(key) else { return };
        self.give_addresses_back(&nic.configs, held);
        self.history.end(nic.common.record, self.now, "deleted");
        self.changed(key);
    }

    /// Lets a NIC go; after a failed create it stays kept for that VM for a while.
    pub(super) fn detach_nic(&mut self, key: &Key, kept_for: Option<&Key>) {
        let until = self.now + self.habits.nic_reserved_ms;
        if let Some(nic) = self.nics.get_mut(key) {
            nic.vm = None;
            nic.reserved = kept_for.map(|vm| (vm.clone(), until));
        }
        self.changed(key);
    }

    /// A create failed: its separate NICs are kept for it.
    pub(super) fn reserve_nics(&mut self, vm: &Key) {
        let until = self.now + self.habits.nic_reserved_ms;
        let parts = self.vms.get(vm).map(|found| found.nics.clone()).unwrap_or_default();
        for part in parts {
            if let Some(nic) = self.nics.get_mut(&part.key) {
                nic.reserved = Some((vm.clone(), until));
            }
        }
    }
}

fn no_address(why: NoAddress, subnet: &str, prefix: &str) -> Box<ArmError> {
    let (code, text) = match why {
        NoAddress::Full => (
            "SubnetIsFull",
            format!(
                "Subnet {subnet} with address prefix {prefix} does not have enough capacity for 1 \
                 IP addresses."
            ),
        ),
        NoAddress::Outside => (
            "PrivateIPAddressNotInSubnet",
            format!("The static IP address does not belong to the range of subnet {subnet}."),
        ),
        NoAddress::Taken => (
            "PrivateIPAddressInUse",
            format!("The static IP address in subnet {subnet} is already allocated."),
        ),
    };
    Box::new(ArmError::new(400, code, text))
}
