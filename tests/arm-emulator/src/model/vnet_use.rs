//! How full subnets are, and who is in them; and what tests do to networks.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Model;
use super::dispatch::resource_not_found;
use super::ids::{Key, ResourceId};
use super::message::{Answer, Response};
use super::nic::parse_subnet;
use super::resources::Subnet;

/// Addresses of a subnet that Azure keeps for itself.
const RESERVED: usize = 5;

/// Addresses taken by somebody else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crowd {
    /// Id of the subnet.
    pub subnet: String,
    /// How many; at most as many as are free.
    pub take: usize,
}

/// A peering as its own side sees it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peering {
    /// Id of the network.
    pub vnet: String,
    /// Name of the peering.
    pub name: String,
    /// Id of the other network.
    pub remote: String,
    /// `Connected`, `Initiated` or `Disconnected`.
    pub state: String,
}

impl Model {
    /// What `…/virtualNetworks/{v}/usages` answers: numbers with a fraction, as Azure has them.
    pub(super) fn subnet_usages(&self, id: &ResourceId) -> Answer {
        let Some(vnet) = self.vnets.get(&id.key()) else { return Err(resource_not_found(id)) };
        let usage = |subnet: &Subnet| {
            let limit = subnet.pool.cidr().addresses().saturating_sub(RESERVED);
            json!({
                "id": format!("{}/subnets/{}", vnet.common.id, subnet.name),
                "currentValue": subnet.pool.taken() as f64,
                "limit": limit as f64,
                "name": {"value": "SubnetSpace", "localizedValue": "Subnet size and usage"},
                "unit": "Count",
            })
        };
        let list: Vec<Value> = vnet.subnets.values().map(usage).collect();
        Ok(Response::with_body(200, json!({ "value": list })))
    }

    /// The address configurations in a subnet, by id: those of NICs, then those of others.
    pub(super) fn configurations_in(&self, vnet: &Key, subnet: &Subnet) -> Vec<Value> {
        let lower = subnet.name.to_ascii_lowercase();
        let mut found: Vec<Value> = Vec::new();
        for nic in self.nics.values() {
            let here = nic.configs.iter().filter(|one| one.vnet == *vnet && one.subnet == lower);
            found.extend(here.map(
                |one| json!({"id": format!("{}/ipConfigurations/{}", nic.common.id, one.name)}),
            ));
        }
        let others = subnet.pool.taken().saturating_sub(found.len());
        found.extend((0..others).map(|number| {
            json!({"id": format!("/subscriptions/other/resourceGroups/other/providers\
                /Microsoft.Network/networkInterfaces/other{number}/ipConfigurations/ip")})
        }));
        found
    }

    /// Fills a subnet.
    ///
    /// # Errors
    /// There is no such subnet.
    pub fn crowd(&mut self, crowd: &Crowd) -> Result<Value, String> {
        let at = parse_subnet(&crowd.subnet);
        let now = self.now;
        let subnet = at.and_then(|at| self.vnets.get_mut(&at.vnet)?.subnets.get_mut(&at.subnet));
        let subnet = subnet.ok_or_else(|| format!("there is no subnet '{}'", crowd.subnet))?;
        let taken = (0..crowd.take).map_while(|_| subnet.pool.take(now).ok()).count();
        Ok(json!({ "taken": taken }))
    }

    /// Makes or changes a peering.
    ///
    /// # Errors
    /// There is no such network.
    pub fn peer(&mut self, peering: &Peering) -> Result<Value, String> {
        let found = self.vnets.get_mut(&Key::of(&peering.vnet));
        let vnet = found.ok_or_else(|| format!("there is no network '{}'", peering.vnet))?;
        let list = vnet.properties.entry("virtualNetworkPeerings").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.retain(|one| one["name"] != peering.name.as_str());
            list.push(json!({
                "id": format!("{}/virtualNetworkPeerings/{}", vnet.common.id, peering.name),
                "name": peering.name,
                "type": "Microsoft.Network/virtualNetworks/virtualNetworkPeerings",
                "properties": {"provisioningState": "Succeeded", "peeringState": peering.state,
                    "peeringSyncLevel": "FullyInSync", "allowVirtualNetworkAccess": true,
                    "remoteVirtualNetwork": {"id": peering.remote}},
            }));
        }
        Ok(json!({}))
    }
}
