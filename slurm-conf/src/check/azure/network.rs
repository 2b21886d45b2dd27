//! Whether nodes get an address, and reach one another, the controller and the outside.

use std::fmt;
use std::net::Ipv4Addr;

use azslurm_azure::{Network, Probe, Subnet, SubnetUse, is_region};
use azslurm_core::SiteName;
use azslurm_core::config::{Interconnect, Site};
use azslurm_program::check::{Finding, azure};

use super::{AzureSeen, CHECK, Ground, Seen, SiteSeen, Unseen, filter, unseen};

/// Who shows a subnet.
const ROLE_SUBNET: &str = "that `azslurm-conf role` prints for the network";
/// What InfiniBand uses in the guest (FACTS §6.3).
const RDMA: Prefix = Prefix { base: 0xac10_0000, length: 16 };
/// Azure's own DNS, which custom servers must forward to.
const AZURE_DNS: &str = "168.63.129.16";
/// Addresses of every subnet that Azure keeps.
const RESERVED: u64 = 5;

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    base: u32,
    length: u32,
}

impl Prefix {
    /// `10.0.0.0/16`, or one address. `None`: it is something else.
    pub(super) fn parse(text: &str) -> Option<Prefix> {
        let (base, length) = text.split_once('/').unwrap_or((text, "32"));
        let base = u32::from(base.trim().parse::<Ipv4Addr>().ok()?);
        let length: u32 = length.trim().parse().ok().filter(|length| *length <= 32)?;
        Some(Prefix { base: base & Prefix::mask(length), length })
    }

    fn mask(length: u32) -> u32 {
        u32::MAX.checked_shl(32 - length).unwrap_or(0)
    }

    /// Whether all of `other` is in it.
    pub(super) fn contains(self, other: Prefix) -> bool {
        self.length <= other.length && other.base & Prefix::mask(self.length) == self.base
    }

    /// Whether they share an address.
    pub(super) fn overlaps(self, other: Prefix) -> bool {
        self.contains(other) || other.contains(self)
    }

    fn addresses(self) -> u64 {
        1 << (32 - self.length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.length)
    }
}

/// A site that is looked at.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub ground: &'a Ground<'a>,
    pub name: &'a SiteName,
    pub site: &'a Site,
    pub seen: &'a SiteSeen,
}

/// All findings about networks.
pub(super) fn check(ground: &Ground<'_>, seen: &AzureSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, site) in &ground.config.sites {
        let Some(seen) = seen.sites.get(name) else { continue };
        let at = At { ground, name, site, seen };
        findings.extend(subnet(at));
        if let Ok(Some(subnet)) = &seen.subnet {
            findings.extend(reserved(at, subnet));
            findings.extend(addresses(at, subnet));
            findings.extend(outbound(at, subnet));
        }
        findings.extend(network(at));
        findings.extend(filter::check(at));
    }
    findings.extend(overlaps(ground, seen));
    findings
}

/// Networks of two sites that cannot be peered, because they have addresses in common.
fn overlaps(ground: &Ground<'_>, seen: &AzureSeen) -> Vec<Finding> {
    let networks: Vec<(&SiteName, &str, Vec<Prefix>)> = ground
        .config
        .sites
        .iter()
        .filter_map(|(name, site)| {
            let network = seen.sites.get(name)?.network.as_ref().ok()?.as_ref()?;
            let prefixes = network.prefixes.iter().filter_map(|text| Prefix::parse(text));
            Some((name, network_of(&site.subnet), prefixes.collect()))
        })
        .collect();
    let mut findings = Vec::new();
    for (at, (name, network, prefixes)) in networks.iter().enumerate() {
        let others =
            networks[..at].iter().filter(|(_, other, _)| !other.eq_ignore_ascii_case(network));
        let both = others.flat_map(|(other, _, theirs)| theirs.iter().map(move |one| (other, one)));
        let mut common = both.flat_map(|(other, theirs)| {
            prefixes
                .iter()
                .filter(|ours| ours.overlaps(*theirs))
                .map(move |ours| (other, ours, theirs))
        });
        let Some((other, ours, theirs)) = common.next() else { continue };
        let text = format!(
            "sites {other} and {name}: their networks have addresses in common, {theirs} and {ours}"
        );
        let fix = "give one of them another address space";
        findings.push(
            Finding::warning(CHECK, text, fix)
                .because(
                    "networks with common addresses cannot be peered: one controller does not \
                     reach the nodes of both",
                )
                .at(ground.at_site(name, "subnet")),
        );
    }
    findings
}

/// The id of the network that a subnet is in.
pub(super) fn network_of(subnet: &str) -> &str {
    let at = subnet.to_ascii_lowercase().find("/subnets/");
    at.map_or(subnet, |at| &subnet[..at])
}

fn subnet(at: At<'_>) -> Option<Finding> {
    let what = format!("subnet {}", at.site.subnet);
    let probed = match &at.seen.subnet {
        Ok(Some(_)) | Err(Unseen::NotAsked) => return None,
        Ok(None) => Ok(Probe { exists: Ok(false), date: None }),
        Err(Unseen::Refused(refusal)) => Ok(Probe { exists: Err(refusal.clone()), date: None }),
        Err(Unseen::Failed(error)) => Err(error.clone()),
    };
    let wanted = azure::Wanted { site: at.name, what: &what, role: ROLE_SUBNET };
    let why = "every VM of the site gets its address from it";
    Some(azure::thing(wanted, &probed).because(why).at(at.ground.at_site(at.name, "subnet")))
}

fn reserved(at: At<'_>, subnet: &Subnet) -> Option<Finding> {
    let services = subnet.delegations.join(", ");
    (!services.is_empty()).then(|| {
        let text = format!("site {}: the subnet is delegated to {services}", at.name);
        Finding::error(CHECK, text, "name a subnet that is not delegated, for VMs alone")
            .because("Azure puts no VM into a subnet that is delegated to a service")
            .at(at.ground.at_site(at.name, "subnet"))
    })
}

/// Free addresses, those of our own VMs included, against the nodes that may come up there.
fn addresses(at: At<'_>, subnet: &Subnet) -> Option<Finding> {
    let (used, limit) = use_of(at, subnet)?;
    let uses: Vec<_> = at.ground.uses_at(at.name).collect();
    let nodes: u64 = uses.iter().map(|one| one.nodes()).sum();
    let ours = match &at.seen.ours {
        Ok(ours) => ours.values().sum(),
        // As many as could be: what is said then is certain.
        Err(_) => nodes,
    };
    let room = limit.saturating_sub(used.saturating_sub(ours.min(used)));
    let name = at.name;
    let largest = uses.iter().max_by_key(|one| one.unit())?;
    let unit = largest.unit();
    let place = at.ground.at_site(name, "subnet");
    if room < unit {
        let what = match unit {
            1 => format!("a node of nodeset {} needs one", largest.name),
            several => format!("a block of nodeset {} needs {several}", largest.name),
        };
        let text = format!(
            "site {name}: the subnet has {room} of {limit} addresses for nodes, and {what}"
        );
        let fix = "name a larger subnet, enlarge this one, or take away what fills it";
        let finding = Finding::error(CHECK, text, fix);
        return Some(
            finding.because("Azure answers SubnetIsFull, and the node stays off").at(place),
        );
    }
    (room < nodes).then(|| {
        let text = format!(
            "site {name}: the subnet has {room} of {limit} addresses for nodes, and {nodes} nodes \
             may come up there"
        );
        let fix = "name a larger subnet, or fewer nodes";
        Finding::warning(CHECK, text, fix)
            .because("the last nodes of a full cluster get no address and stay off")
            .at(place)
    })
}

/// Addresses in use and usable: by the network's own account, else by counting.
fn use_of(at: At<'_>, subnet: &Subnet) -> Option<(u64, u64)> {
    let is_it = |one: &&SubnetUse| one.subnet.as_str().eq_ignore_ascii_case(&at.site.subnet);
    let told = at.seen.subnet_use.as_ref().ok().and_then(|all| all.iter().find(is_it));
    if let Some(told) = told {
        return Some((told.used, told.limit));
    }
    let prefix = subnet.prefixes.iter().find_map(|text| Prefix::parse(text))?;
    Some((subnet.used, prefix.addresses().saturating_sub(RESERVED)))
}

fn outbound(at: At<'_>, subnet: &Subnet) -> Option<Finding> {
    let has_way = subnet.nat_gateway.is_some() || subnet.route_table.is_some();
    (subnet.has_default_outbound == Some(false) && !has_way).then(|| {
        let text = format!(
            "site {}: the subnet is private and has neither a NAT gateway nor a route table: its \
             VMs do not reach the outside",
            at.name
        );
        Finding::warning(
            CHECK,
            text,
            "give the subnet a NAT gateway, or routes by a firewall; or keep packages, keys and \
             Azure's endpoints within reach of the network",
        )
        .because(
            "cloud-init that installs packages, Key Vault and the node agent's calls wait in vain, \
             and the nodes miss ResumeTimeout",
        )
        .at(at.ground.at_site(at.name, "subnet"))
    })
}

fn network(at: At<'_>) -> Vec<Finding> {
    let id = network_of(&at.site.subnet);
    let found: &Seen<Option<Network>> = &at.seen.network;
    let network = match found {
        Ok(Some(network)) => network,
        // The subnet's finding says it.
        Ok(None) => return Vec::new(),
        Err(why) => {
            let what = format!("site {}: network {id}", at.name);
            let action = "Microsoft.Network/virtualNetworks/read";
            return unseen(&what, action, why).into_iter().collect();
        }
    };
    let mut findings: Vec<Finding> = region(at, network).into_iter().collect();
    findings.extend(peerings(at, network));
    findings.extend(names(at, network));
    findings.extend(rdma(at, network));
    findings
}

fn region(at: At<'_>, network: &Network) -> Option<Finding> {
    let region = &at.site.region;
    (!network.location.is_empty() && !is_region(&network.location, region)).then(|| {
        let text = format!(
            "site {}: its VMs are in {region}, and its subnet is in {}",
            at.name, network.location
        );
        Finding::error(CHECK, text, format!("name a subnet in {region}, or correct the region"))
            .because("a VM's card must be in the region of its subnet")
            .at(at.ground.at_site(at.name, "subnet"))
    })
}

fn peerings(at: At<'_>, network: &Network) -> Vec<Finding> {
    let is_cut = |state: &str| !state.is_empty() && !state.eq_ignore_ascii_case("Connected");
    let cut = network.peerings.iter().filter(|one| is_cut(&one.state));
    cut.map(|one| {
        let text = format!(
            "site {}: peering {} of its network with {} is {}",
            at.name, one.name, one.remote, one.state
        );
        let fix = match one.state.to_ascii_lowercase().as_str() {
            "initiated" => "make the peering from the other network's side too",
            _ => "delete the peering on both sides and make it anew",
        };
        Finding::warning(CHECK, text, fix)
            .because("nodes do not reach a controller or storage on the other side of it")
            .at(at.ground.at_site(at.name, "subnet"))
    })
    .collect()
}

fn names(at: At<'_>, network: &Network) -> Option<Finding> {
    let servers = &network.dns_servers;
    let is_custom = !servers.is_empty() && servers.iter().all(|one| one != AZURE_DNS);
    is_custom.then(|| {
        let text = format!(
            "site {}: its network asks {} for names, and not Azure",
            at.name,
            servers.join(", ")
        );
        let fix = format!(
            "let these servers forward to {AZURE_DNS}, and know the name of the controller"
        );
        Finding::note(CHECK, text, fix)
            .because("a node that cannot resolve the controller's name does not register")
            .at(at.ground.at_site(at.name, "subnet"))
    })
}

fn rdma(at: At<'_>, network: &Network) -> Option<Finding> {
    let uses = at.ground.uses_at(at.name);
    let mut with_infiniband =
        uses.filter(|one| one.nodeset.interconnect == Interconnect::Infiniband);
    let one = with_infiniband.next()?;
    let prefixes = network.prefixes.iter().filter_map(|text| Prefix::parse(text));
    let bad = prefixes.into_iter().find(|prefix| prefix.overlaps(RDMA))?;
    let text = format!(
        "site {}: its network has {bad}, and InfiniBand of nodeset {} uses {RDMA} in its VMs",
        at.name, one.name
    );
    Some(
        Finding::warning(CHECK, text, "use a network outside of that range for this nodeset")
            .because("addresses of both are routed to the wrong card")
            .at(at.ground.at_site(at.name, "subnet")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_knows_what_is_in_it() {
        let of = |text| Prefix::parse(text).unwrap();
        assert_eq!(of("172.16.3.4/16"), RDMA);
        assert!(of("172.16.0.0/12").overlaps(RDMA) && RDMA.overlaps(of("172.16.9.0/24")));
        assert!(!of("172.17.0.0/16").overlaps(RDMA));
        assert!(of("0.0.0.0/0").contains(of("10.1.2.3")));
        assert_eq!(of("10.0.0.0/29").addresses(), 8);
        assert_eq!(of("10.1.2.3").to_string(), "10.1.2.3/32");
        assert_eq!(Prefix::parse("fd00::/8"), None);
        assert_eq!(Prefix::parse("10.0.0.0/33"), None);
        assert_eq!(network_of("/a/virtualNetworks/v/Subnets/s"), "/a/virtualNetworks/v");
    }
}
