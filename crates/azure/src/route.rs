//! URLs: how they are made, and to which hosts a token may go.

use azslurm_core::config::{Endpoints, Region};
use url::{Host, Url};

use crate::AzureError;
use crate::body::COMPUTE_VERSION;
pub use crate::body::COMPUTE_VERSION as COMPUTE;

/// NICs are only read, by any version that has been published (FACTS §1.1 names this one's shape).
pub const NETWORK_VERSION: &str = "2023-09-01";
/// Disks have versions of their own; the newest that the models' crate names beside `2024-07-01`.
const DISK_VERSION: &str = "2024-03-02";
/// Resource groups (Microsoft.Resources; any version that has been published will do).
const GROUP_VERSION: &str = "2021-04-01";
/// Resource Graph (FACTS §8).
const GRAPH_VERSION: &str = "2022-10-01";
/// The activity log; the version that has been there since 2015.
const ACTIVITY_VERSION: &str = "2015-04-01";
/// The list of sizes has versions of its own (FACTS §10).
const SKUS_VERSION: &str = "2021-07-01";
/// The longest name of an availability set or placement group, in characters (FACTS §1.1).
const PLACEMENT_NAME_LENGTH_MAX: usize = 80;

/// The endpoints, checked.
#[derive(Debug, Clone)]
pub struct Routes {
    resource_manager: Url,
    resource_graph: Url,
}

/// A resource type that stands in a resource group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Microsoft.Compute/virtualMachines
    Vm,
    /// Microsoft.Compute/disks
    Disk,
    /// Microsoft.Network/networkInterfaces
    Nic,
    /// Microsoft.Compute/availabilitySets
    AvailabilitySet,
    /// Microsoft.Compute/proximityPlacementGroups
    PlacementGroup,
}

impl Kind {
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::Vm => ("Microsoft.Compute", "virtualMachines", COMPUTE_VERSION),
            Kind::Disk => ("Microsoft.Compute", "disks", DISK_VERSION),
            Kind::Nic => ("Microsoft.Network", "networkInterfaces", NETWORK_VERSION),
            Kind::AvailabilitySet => ("Microsoft.Compute", "availabilitySets", COMPUTE_VERSION),
            Kind::PlacementGroup => {
                ("Microsoft.Compute", "proximityPlacementGroups", COMPUTE_VERSION)
            }
        }
    }

    /// The id of one resource, as it is written into the body of another.
    pub fn id(self, subscription: &str, group: &str, name: &str) -> String {
        let (provider, plural, _) = self.parts();
        let group = format!("/subscriptions/{subscription}/resourceGroups/{group}");
        format!("{group}/providers/{provider}/{plural}/{name}")
    }
}

impl Routes {
    /// Checks the endpoints that a token is sent to: https, or http to this very machine.
    pub fn new(endpoints: &Endpoints) -> Result<Routes, AzureError> {
        Ok(Routes {
            resource_manager: guarded("resource_manager", &endpoints.resource_manager)?,
            resource_graph: guarded("resource_graph", &endpoints.resource_graph)?,
        })
    }

    /// Whether Resource Manager is on this machine (a test): no proxy then.
    pub fn is_here(&self) -> bool {
        is_loopback(&self.resource_manager)
    }

    /// Whether anything is reached by TLS.
    pub fn is_tls(&self) -> bool {
        [&self.resource_manager, &self.resource_graph].iter().any(|url| url.scheme() == "https")
    }

    /// All resources of a kind in a group.
    pub fn list(&self, kind: Kind, subscription: &str, group: &str) -> Result<Url, AzureError> {
        let (provider, plural, version) = kind.parts();
        let path =
            ["subscriptions", subscription, "resourceGroups", group, "providers", provider, plural];
        Ok(with_version(extend(&self.resource_manager, &path)?, version))
    }

    /// The run-time status of all VMs of a subscription.
    pub fn vm_statuses(&self, subscription: &str) -> Result<Url, AzureError> {
        let path =
            ["subscriptions", subscription, "providers", "Microsoft.Compute", "virtualMachines"];
        let mut url = with_version(extend(&self.resource_manager, &path)?, COMPUTE_VERSION);
        url.query_pairs_mut().append_pair("statusOnly", "true");
        Ok(url)
    }

    /// One resource of a kind in a group, by its name.
    pub fn one(
        &self,
        kind: Kind,
        (subscription, group): (&str, &str),
        name: &str,
    ) -> Result<Url, AzureError> {
        extend(&self.list(kind, subscription, group)?, &[name])
    }

    /// One VM.
    pub fn vm(&self, subscription: &str, group: &str, vm: &str) -> Result<Url, AzureError> {
        self.one(Kind::Vm, (subscription, group), vm)
    }

    /// One availability set or placement group. Its name is checked: it is made of other names, and
    /// one that Azure would refuse, or that needed an escape, is a mistake of ours.
    pub fn placement(
        &self,
        kind: Kind,
        (subscription, group): (&str, &str),
        name: &str,
    ) -> Result<Url, AzureError> {
        if !is_placement_name(name) {
            return Err(AzureError::Config {
                what: format!("name {name:?} of a resource"),
                text:
                    "1 to 80 letters, digits, '_', '-' and '.' are wanted, the first a letter or \
                       digit, the last none of '-' and '.'"
                        .to_owned(),
            });
        }
        extend(&self.list(kind, subscription, group)?, &[name])
    }

    /// The use of quotas in a region.
    pub fn usages(&self, subscription: &str, region: &Region) -> Result<Url, AzureError> {
        let path = [
            "subscriptions",
            subscription,
            "providers",
            "Microsoft.Compute",
            "locations",
            region.as_str(),
            "usages",
        ];
        Ok(with_version(extend(&self.resource_manager, &path)?, COMPUTE_VERSION))
    }

    /// The sizes of a region. Its name has no character that a filter or a query would need to
    /// escape, and spaces must not become `+`, which not everybody reads as a space.
    pub fn skus(&self, subscription: &str, region: &Region) -> Result<Url, AzureError> {
        let path = ["subscriptions", subscription, "providers", "Microsoft.Compute", "skus"];
        let mut url = extend(&self.resource_manager, &path)?;
        let query = format!("api-version={SKUS_VERSION}&$filter=location eq '{region}'");
        url.set_query(Some(&query));
        Ok(url)
    }

    /// One resource group.
    pub fn group(&self, subscription: &str, group: &str) -> Result<Url, AzureError> {
        let path = ["subscriptions", subscription, "resourceGroups", group];
        Ok(with_version(extend(&self.resource_manager, &path)?, GROUP_VERSION))
    }

    /// A resource of Microsoft.Network, by its id.
    pub fn network(&self, id: &str) -> Result<Url, AzureError> {
        self.below(id, &[], NETWORK_VERSION)
    }

    /// What is below a resource or another scope, by the scope's id.
    pub fn below(&self, id: &str, parts: &[&str], version: &str) -> Result<Url, AzureError> {
        let path = id.split('/').filter(|part| !part.is_empty());
        let path: Vec<&str> = path.chain(parts.iter().copied()).collect();
        Ok(with_version(extend(&self.resource_manager, &path)?, version))
    }

    /// The activity log of a resource group in a span of time (RFC 3339, UTC).
    pub fn activity(
        &self,
        subscription: &str,
        group: &str,
        (from, until): (&str, &str),
    ) -> Result<Url, AzureError> {
        let path = [
            "subscriptions",
            subscription,
            "providers",
            "Microsoft.Insights",
            "eventtypes",
            "management",
            "values",
        ];
        let mut url = extend(&self.resource_manager, &path)?;
        // As in `skus`: a space must not become `+`.
        let group = group.replace('\'', "''");
        let filter = format!(
            "eventTimestamp ge '{from}' and eventTimestamp le '{until}' \
             and resourceGroupName eq '{group}'"
        );
        url.set_query(Some(&format!("api-version={ACTIVITY_VERSION}&$filter={filter}")));
        Ok(url)
    }

    /// The Resource Graph query.
    pub fn graph(&self) -> Result<Url, AzureError> {
        let path = ["providers", "Microsoft.ResourceGraph", "resources"];
        Ok(with_version(extend(&self.resource_graph, &path)?, GRAPH_VERSION))
    }

    /// Whether [`Routes::given`] takes a URL. Nearly all begin with our own endpoint, host and all,
    /// and need not be parsed for it.
    pub fn is_given(&self, text: &str) -> bool {
        let home = &self.resource_manager;
        let origin = home.origin().ascii_serialization();
        let is_at_home = text.strip_prefix(&origin).is_some_and(|path| path.starts_with('/'));
        is_at_home || self.given(text).is_ok()
    }

    /// A URL that Azure gave us (an operation, a next page): as it is, if a token may go there.
    /// That is our Resource Manager or one of its regions, `*.management.azure.com`.
    pub fn given(&self, text: &str) -> Result<Url, AzureError> {
        let foreign = |why: &str| AzureError::Config {
            what: format!("URL {:?} that Azure gave", shown(text)),
            text: format!("{why}; no token is sent there"),
        };
        let url = Url::parse(text).map_err(|error| foreign(&error.to_string()))?;
        let home = &self.resource_manager;
        let is_same_port = url.port_or_known_default() == home.port_or_known_default();
        if url.scheme() != home.scheme() || !is_same_port || !is_below(&url, home) {
            return Err(foreign("it is not on the host of cloud.resource_manager"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(foreign("it has a user's name in it"));
        }
        Ok(url)
    }
}

/// Whether Azure takes it as the name of an availability set or placement group (FACTS §1.1).
fn is_placement_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    name.len() <= PLACEMENT_NAME_LENGTH_MAX
        && name.bytes().all(is_plain)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !name.ends_with(['-', '.'])
}

/// A URL for messages and logs: without its query, which may hold signatures.
pub fn shown(url: &str) -> &str {
    url.split(['?', '&']).next().unwrap_or_default()
}

fn is_below(url: &Url, home: &Url) -> bool {
    match (url.host(), home.host()) {
        (Some(Host::Domain(host)), Some(Host::Domain(home))) => {
            host == home || host.strip_suffix(home).is_some_and(|rest| rest.ends_with('.'))
        }
        (host, home) => host.is_some() && host == home,
    }
}

/// An endpoint of the config that a token is sent to.
fn guarded(key: &str, text: &str) -> Result<Url, AzureError> {
    let wrong = |why: &str| AzureError::Config {
        what: format!("cloud.{key} = {text:?}"),
        text: why.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        _ if url.host().is_none() => Err(wrong("a URL with a host is wanted")),
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(wrong("a token is sent there: only https is safe, or http to this machine")),
        _ => Err(wrong("an https URL is wanted")),
    }
}

/// An endpoint that no token is sent to: https, or http to this very machine.
pub fn open(key: &str, text: &str) -> Result<Url, AzureError> {
    guarded(key, text)
}

/// The IMDS endpoint: http, to this machine or to the link it is on.
pub fn imds(text: &str) -> Result<Url, AzureError> {
    let wrong = |why: &str| AzureError::Config {
        what: format!("cloud.imds = {text:?}"),
        text: why.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    let is_near = match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local() || address.is_loopback(),
        Some(Host::Ipv6(_) | Host::Domain(_)) => is_loopback(&url),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_near => Ok(url),
        _ => {
            Err(wrong("a token comes from there: http is safe only to 169.254.x.x or this machine"))
        }
    }
}

/// The authority: https only, because secrets are sent to it.
pub fn authority(text: &str) -> Result<Url, AzureError> {
    let wrong = |why: &str| AzureError::Config {
        what: format!("cloud.authority = {text:?}"),
        text: why.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if url.scheme() != "https" || url.host().is_none() {
        return Err(wrong("secrets are sent there: an https URL is wanted"));
    }
    Ok(url)
}

/// Whether a URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn extend(base: &Url, parts: &[&str]) -> Result<Url, AzureError> {
    // A part of dots would be dropped or climb: the rest of the path would then name another thing.
    if let Some(bad) = parts.iter().find(|part| part.trim_matches('.').is_empty()) {
        return Err(AzureError::Config {
            what: format!("part {bad:?} of a resource's path"),
            text: "a subscription, resource group and name are wanted".to_owned(),
        });
    }
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| AzureError::Config {
            what: format!("endpoint {base}"),
            text: "a URL with a path is wanted".to_owned(),
        })?
        .pop_if_empty()
        .extend(parts);
    Ok(url)
}

fn with_version(mut url: Url, version: &str) -> Url {
    url.query_pairs_mut().append_pair("api-version", version);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(manager: &str) -> Result<Routes, AzureError> {
        Routes::new(&Endpoints {
            authority: "https://login.microsoftonline.com".into(),
            resource_manager: manager.into(),
            audience: manager.into(),
            resource_graph: manager.into(),
            prices: None,
            imds: "http://169.254.169.254".into(),
        })
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_url() {
        let routes = routes("https://management.azure.com").unwrap();
        assert_eq!(
            routes.vm("s-1", "rg", "n1-0").unwrap().as_str(),
            "https://management.azure.com/subscriptions/s-1/resourceGroups/rg\
             /providers/Microsoft.Compute/virtualMachines/n1-0?api-version=2024-07-01"
        );
        let odd = routes.vm("s?x=1", "r/../g", "a b#c%2f").unwrap();
        assert_eq!(
            odd.path(),
            "/subscriptions/s%3Fx=1/resourceGroups/r%2F..%2Fg\
             /providers/Microsoft.Compute/virtualMachines/a%20b%23c%252f"
        );
        assert_eq!(odd.query(), Some("api-version=2024-07-01"));
        for bad in ["", ".", ".."] {
            assert!(routes.vm(bad, "g", "n").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_azure_would_refuse_becomes_no_url() {
        let routes = routes("https://management.azure.com").unwrap();
        let url = |name: &str| routes.placement(Kind::AvailabilitySet, ("s-1", "rg"), name);
        let good = url("c-hb-b1-0abcdefg").unwrap();
        let id = Kind::AvailabilitySet.id("s-1", "rg", "c-hb-b1-0abcdefg");
        assert_eq!(good.path(), id);
        assert_eq!(good.query(), Some("api-version=2024-07-01"));
        assert!(url(&"a".repeat(80)).is_ok() && url("1").is_ok() && url("a_").is_ok());
        let long = "a".repeat(81);
        for bad in ["", ".", "..", "a.", "a-", "_a", "-a", "a/b", "a b", "a?b", "ä", "a%2f", &long]
        {
            assert!(url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_filter_is_written_as_everybody_reads_it() {
        let routes = routes("https://management.azure.com").unwrap();
        let region = Region::new("westeurope").unwrap();
        assert_eq!(
            routes.skus("s-1", &region).unwrap().as_str(),
            "https://management.azure.com/subscriptions/s-1/providers/Microsoft.Compute/skus\
             ?api-version=2021-07-01&$filter=location%20eq%20%27westeurope%27"
        );
        assert_eq!(
            routes.usages("s-1", &region).unwrap().as_str(),
            "https://management.azure.com/subscriptions/s-1/providers/Microsoft.Compute\
             /locations/westeurope/usages?api-version=2024-07-01"
        );
    }

    #[test]
    fn a_token_goes_over_plain_http_to_this_machine_alone() {
        for good in [
            "https://management.azure.com",
            "http://127.0.0.1:80",
            "http://[::1]:1",
            "http://localhost:5",
        ] {
            assert!(routes(good).is_ok(), "{good}");
        }
        for bad in [
            "http://management.azure.com",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "management",
            "http://localhost.evil.example",
        ] {
            assert!(routes(bad).is_err(), "{bad}");
        }
        assert!(imds("http://169.254.169.254").is_ok() && imds("http://127.0.0.1:9").is_ok());
        assert!(imds("http://10.1.1.1").is_err() && imds("http://imds.example").is_err());
        assert!(authority("https://login.microsoftonline.com").is_ok());
        assert!(authority("http://127.0.0.1:1").is_err());
    }

    #[test]
    fn a_token_goes_to_no_other_host() {
        let routes = routes("https://management.azure.com").unwrap();
        for good in [
            "https://management.azure.com/subscriptions/s/operations/1?p=a%2Fb&t=x",
            "https://westeurope.management.azure.com/x?y",
            "https://MANAGEMENT.azure.com/x",
            "https://management.azure.com:443/operations/{id}&monitor=true&api-version=1",
        ] {
            assert!(routes.given(good).is_ok() && routes.is_given(good), "{good}");
        }
        for bad in [
            "http://management.azure.com/x",
            "https://management.azure.com.evil.example/x",
            "https://evilmanagement.azure.com/x",
            "https://management.azure.com:8443/x",
            "https://a@management.azure.com/x",
            "https://evil.example/?https://management.azure.com",
            "/relative",
            "a",
            "",
        ] {
            assert!(routes.given(bad).is_err() && !routes.is_given(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_has_no_subdomains() {
        let routes = routes("http://127.0.0.1:80").unwrap();
        assert!(routes.given("http://127.0.0.1/x").is_ok());
        assert!(routes.given("http://127.0.0.2/x").is_err());
        assert!(routes.given("http://127.0.0.1:81/x").is_err());
    }

    #[test]
    fn a_signature_is_not_shown() {
        assert_eq!(shown("https://m/x?t=secret"), "https://m/x");
        assert_eq!(shown("https://m/x&monitor=true"), "https://m/x");
    }
}
