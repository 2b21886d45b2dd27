//! Networks, as far as they decide whether nodes get an address and reach one another.

use serde_json::Value;

use crate::arm::Arm;
use crate::look::look;
use crate::read::{text, texts};
use crate::route::NETWORK_VERSION;
use crate::{AzureError, Reply, ResourceId};

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subnet {
    /// `10.0.0.0/20`; several where it has IPv6 too.
    pub prefixes: Vec<String>,
    /// Address configurations in it: NICs, and what else takes addresses.
    pub used: u64,
    /// Id of its network security group.
    pub security_group: Option<String>,
    /// Id of its NAT gateway.
    pub nat_gateway: Option<String>,
    /// Id of its route table.
    pub route_table: Option<String>,
    /// Whether VMs without a way out of their own get Azure's; `None`: Azure does not say.
    pub has_default_outbound: Option<bool>,
    /// Services that it is reserved for: `Microsoft.ContainerInstance/containerGroups`.
    pub delegations: Vec<String>,
}

/// How full a subnet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetUse {
    /// The subnet.
    pub subnet: ResourceId,
    /// Addresses in use.
    pub used: u64,
    /// Addresses that can be used: without the five that Azure keeps.
    pub limit: u64,
}

/// A virtual network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Its region.
    pub location: String,
    /// Its address space.
    pub prefixes: Vec<String>,
    /// Its own side of its peerings.
    pub peerings: Vec<Peering>,
    /// DNS servers; empty: Azure's.
    pub dns_servers: Vec<String>,
}

/// One side of a peering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peering {
    /// Its name.
    pub name: String,
    /// `Connected`, `Initiated` (the other side is missing), `Disconnected`.
    pub state: String,
    /// Id of the other network.
    pub remote: String,
}

/// A rule of a network security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityRule {
    /// Its name.
    pub name: String,
    /// The lowest that matches decides.
    pub priority: u64,
    /// `Inbound` and not `Outbound`.
    pub is_inbound: bool,
    /// `Allow` and not `Deny`.
    pub is_allow: bool,
    /// `Tcp`, `Udp`, `*` …
    pub protocol: String,
    /// Where from: prefixes and service tags.
    pub sources: Vec<String>,
    /// Where to.
    pub destinations: Vec<String>,
    /// Ports of the destination: `22`, `6000-7000`, `*`.
    pub ports: Vec<String>,
    /// Whether application security groups narrow it further.
    pub has_application_groups: bool,
}

impl Arm {
    /// A subnet, by its id.
    ///
    /// # Errors
    /// As [`Arm::look_group`]. So for all of the network.
    pub async fn look_subnet(&self, id: &str) -> Result<Reply<Option<Subnet>>, AzureError> {
        let url = self.routes().network(id)?;
        self.look(&look(url, format!("read subnet {id}")), |value| Ok(subnet(value))).await
    }

    /// How full the subnets of a network are.
    ///
    /// # Errors
    /// It could not be read to its end.
    pub async fn subnet_use(&self, network: &str) -> Result<Reply<Vec<SubnetUse>>, AzureError> {
        let url = self.routes().below(network, &["usages"], NETWORK_VERSION)?;
        let call = look(url, format!("read how full the subnets of {network} are"));
        self.all_rows(call, |row| Ok(subnet_use(row))).await
    }

    /// A virtual network, by its id.
    ///
    /// # Errors
    /// As [`Arm::look_subnet`].
    pub async fn look_network(&self, id: &str) -> Result<Reply<Option<Network>>, AzureError> {
        let url = self.routes().network(id)?;
        self.look(&look(url, format!("read network {id}")), |value| Ok(network(value))).await
    }

    /// The rules of a network security group, standing ones included, by priority.
    ///
    /// # Errors
    /// As [`Arm::look_subnet`].
    pub async fn look_security_group(
        &self,
        id: &str,
    ) -> Result<Reply<Option<Vec<SecurityRule>>>, AzureError> {
        let url = self.routes().network(id)?;
        let doing = format!("read network security group {id}");
        self.look(&look(url, doing), |value| Ok(rules(value))).await
    }
}

fn subnet(value: &Value) -> Subnet {
    let id = |name: &str| text(value, &format!("/properties/{name}/id"));
    let delegations = list(value, "/properties/delegations").iter();
    Subnet {
        prefixes: either(value, "/properties/addressPrefixes", "/properties/addressPrefix"),
        used: list(value, "/properties/ipConfigurations").len() as u64,
        security_group: id("networkSecurityGroup"),
        nat_gateway: id("natGateway"),
        route_table: id("routeTable"),
        has_default_outbound: value
            .pointer("/properties/defaultOutboundAccess")
            .and_then(Value::as_bool),
        delegations: delegations.filter_map(|one| text(one, "/properties/serviceName")).collect(),
    }
}

/// Numbers have a fraction here (`5.0`).
fn subnet_use(row: &Value) -> Option<SubnetUse> {
    let number = |name: &str| {
        let found = row.get(name)?.as_f64().filter(|number| *number >= 0.0)?;
        Some(found as u64)
    };
    Some(SubnetUse {
        subnet: text(row, "/id")?.parse().ok()?,
        used: number("currentValue")?,
        limit: number("limit")?,
    })
}

fn network(value: &Value) -> Network {
    let peerings = list(value, "/properties/virtualNetworkPeerings").iter();
    Network {
        location: text(value, "/location").unwrap_or_default(),
        prefixes: texts(value.pointer("/properties/addressSpace/addressPrefixes")),
        peerings: peerings
            .map(|one| Peering {
                name: text(one, "/name").unwrap_or_default(),
                state: text(one, "/properties/peeringState").unwrap_or_default(),
                remote: text(one, "/properties/remoteVirtualNetwork/id").unwrap_or_default(),
            })
            .collect(),
        dns_servers: texts(value.pointer("/properties/dhcpOptions/dnsServers")),
    }
}

fn rules(value: &Value) -> Vec<SecurityRule> {
    let own = list(value, "/properties/securityRules").iter();
    let standing = list(value, "/properties/defaultSecurityRules").iter();
    let mut rules: Vec<SecurityRule> = own.chain(standing).filter_map(rule).collect();
    rules.sort_by_key(|rule| rule.priority);
    rules
}

/// A rule without a number or direction says nothing.
fn rule(value: &Value) -> Option<SecurityRule> {
    let word = |name: &str| text(value, &format!("/properties/{name}"));
    let of = |many: &str, one: &str| {
        either(value, &format!("/properties/{many}"), &format!("/properties/{one}"))
    };
    let is = |name: &str, wanted: &str| word(name).map(|word| word.eq_ignore_ascii_case(wanted));
    let groups = ["sourceApplicationSecurityGroups", "destinationApplicationSecurityGroups"];
    Some(SecurityRule {
        name: text(value, "/name").unwrap_or_default(),
        priority: value.pointer("/properties/priority")?.as_u64()?,
        is_inbound: is("direction", "Inbound")?,
        is_allow: is("access", "Allow")?,
        protocol: word("protocol").unwrap_or_else(|| "*".to_owned()),
        sources: of("sourceAddressPrefixes", "sourceAddressPrefix"),
        destinations: of("destinationAddressPrefixes", "destinationAddressPrefix"),
        ports: of("destinationPortRanges", "destinationPortRange"),
        has_application_groups: groups
            .iter()
            .any(|name| !list(value, &format!("/properties/{name}")).is_empty()),
    })
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The list, and where it is empty the single one: Azure uses either.
fn either(value: &Value, many: &str, one: &str) -> Vec<String> {
    let many = texts(value.pointer(many));
    if many.is_empty() { text(value, one).into_iter().collect() } else { many }
}
