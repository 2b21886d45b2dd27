//! How a NIC is shown.

use serde_json::{Value, json};

use super::Model;
use super::ids::Key;
use super::resources::Nic;

impl Model {
    /// The NIC as GET shows it.
    pub(super) fn nic_body(&self, key: &Key) -> Value {
        let Some(nic) = self.nics.get(key) else { return Value::Null };
        let mut properties = nic.properties.clone();
        let id = nic.common.id.to_string();
        properties.insert("provisioningState".to_owned(), json!("Succeeded"));
        properties.insert("ipConfigurations".to_owned(), ip_configurations(nic, &id));
        properties.entry("dnsSettings").or_insert_with(|| {
            json!({"dnsServers": [], "appliedDnsServers": [],
                   "internalDomainNameSuffix": "emulated.bx.internal.cloudapp.net"})
        });
        properties.insert("macAddress".to_owned(), json!(nic.mac));
        properties.entry("enableAcceleratedNetworking").or_insert(json!(false));
        properties.entry("enableIPForwarding").or_insert(json!(false));
        if let Some(vm) = &nic.vm {
            properties.insert("primary".to_owned(), json!(nic.is_primary));
            properties.insert("virtualMachine".to_owned(), json!({ "id": self.reference_to(vm) }));
        }
        json!({
            "name": nic.common.id.name,
            "id": id,
            "type": nic.common.id.kind.full_type(),
            "location": nic.common.location,
            "tags": nic.common.tags,
            "properties": properties,
        })
    }
}

fn ip_configurations(nic: &Nic, id: &str) -> Value {
    let configs = nic.configs.iter().map(|config| {
        json!({
            "name": config.name,
            "id": format!("{id}/ipConfigurations/{}", config.name),
            "properties": {
                "provisioningState": "Succeeded",
                "privateIPAddress": config.address.to_string(),
                "privateIPAllocationMethod": if config.is_static { "Static" } else { "Dynamic" },
                "privateIPAddressVersion": "IPv4",
                "subnet": {"id": config.subnet_id},
                "primary": config.is_primary,
            },
        })
    });
    configs.collect()
}
