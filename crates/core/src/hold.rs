//! Holds: "not here until then", learned from refusals and shared by all programs through the
//! ledger.

use std::fmt;
use std::str::FromStr;

use crate::Timestamp;
use crate::attempt::AttemptPlace;
use crate::config::{Region, Sku, Zone};
use crate::{NodeName, NodesetName, SiteName};

/// What a hold covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldScope {
    /// One node: its last VM failed for a reason that says nothing about the place.
    Node(NodeName),
    /// One size in one zone of a site's region.
    SkuZone(SiteName, Zone, Sku),
    /// One size at a site.
    SkuSite(SiteName, Sku),
    /// All Spot VMs of a region.
    SpotRegion(Region),
    /// A site's subnet.
    Subnet(SiteName),
    /// A nodeset's own settings: its image, its account, its keys.
    Nodeset(NodesetName),
    /// A whole site.
    Site(SiteName),
}

impl fmt::Display for HoldScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HoldScope::Node(node) => write!(f, "node:{node}"),
            HoldScope::SkuZone(site, zone, sku) => write!(f, "sku-zone:{site}/{zone}/{sku}"),
            HoldScope::SkuSite(site, sku) => write!(f, "sku-site:{site}/{sku}"),
            HoldScope::SpotRegion(region) => write!(f, "spot-region:{region}"),
            HoldScope::Subnet(site) => write!(f, "subnet:{site}"),
            HoldScope::Nodeset(nodeset) => write!(f, "nodeset:{nodeset}"),
            HoldScope::Site(site) => write!(f, "site:{site}"),
        }
    }
}

/// A text in the ledger that names no scope: a newer azslurm wrote it. It holds nothing for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hold's scope")]
pub struct UnknownScope(pub String);

impl FromStr for HoldScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        read_scope(text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

fn read_scope(text: &str) -> Option<HoldScope> {
    let (kind, rest) = text.split_once(':')?;
    let mut parts = rest.split('/');
    let first = parts.next()?;
    let scope = match kind {
        "node" => HoldScope::Node(first.parse().ok()?),
        "sku-zone" => HoldScope::SkuZone(
            first.parse().ok()?,
            Zone::new(parts.next()?)?,
            Sku::new(parts.next()?)?,
        ),
        "sku-site" => HoldScope::SkuSite(first.parse().ok()?, Sku::new(parts.next()?)?),
        "spot-region" => HoldScope::SpotRegion(Region::new(first)?),
        "subnet" => HoldScope::Subnet(first.parse().ok()?),
        "nodeset" => HoldScope::Nodeset(first.parse().ok()?),
        "site" => HoldScope::Site(first.parse().ok()?),
        _word => return None,
    };
    parts.next().is_none().then_some(scope)
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What it covers.
    pub scope: HoldScope,
    /// Azure's code, or ours.
    pub code: String,
    /// Azure's words.
    pub text: String,
    /// When it ends.
    pub until: Timestamp,
}

/// A place that a VM could be made at, with what holds can name of it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// Site, region, zone.
    pub place: &'a AttemptPlace,
    /// Size.
    pub sku: &'a Sku,
    /// Nodeset.
    pub nodeset: &'a NodesetName,
    /// Whether the VM would be Spot.
    pub is_spot: bool,
}

impl HoldScope {
    /// Whether this scope covers `candidate`.
    pub fn covers(&self, candidate: &Candidate<'_>) -> bool {
        let Candidate { node, place, sku, nodeset, is_spot } = *candidate;
        match self {
            HoldScope::Node(held) => held == node,
            HoldScope::SkuZone(site, zone, held) => {
                *site == place.site && Some(zone) == place.zone.as_ref() && held == sku
            }
            HoldScope::SkuSite(site, held) => *site == place.site && held == sku,
            HoldScope::SpotRegion(region) => is_spot && *region == place.region,
            HoldScope::Subnet(site) | HoldScope::Site(site) => *site == place.site,
            HoldScope::Nodeset(held) => held == nodeset,
        }
    }
}

/// The hold that keeps `candidate` from being tried now: of several, the one that lasts longest.
pub fn held<'a>(candidate: &Candidate<'_>, holds: &'a [Hold], now: Timestamp) -> Option<&'a Hold> {
    holds
        .iter()
        .filter(|hold| now < hold.until && hold.scope.covers(candidate))
        .max_by_key(|hold| hold.until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_comes_back_from_the_ledger() {
        for text in [
            "node:hpc-1",
            "sku-zone:west/1/Standard_D4s_v5",
            "sku-site:west/Standard_D4s_v5",
            "spot-region:westeurope",
            "subnet:west",
            "nodeset:hpc",
            "site:west",
        ] {
            assert_eq!(text.parse::<HoldScope>().unwrap().to_string(), text);
        }
        for text in ["", "site", "sku-site:west", "moon:west", "site:west/east", "sku-zone:w/1"] {
            assert!(text.parse::<HoldScope>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_hold_that_covers_a_place_counts() {
        let place = AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            region: Region::new("westeurope").unwrap(),
            zone: Zone::new("1"),
        };
        let sku = Sku::new("Standard_D4s_v5").unwrap();
        let nodeset: NodesetName = "hpc".parse().unwrap();
        let node: NodeName = "hpc-1".parse().unwrap();
        let regular =
            Candidate { node: &node, place: &place, sku: &sku, nodeset: &nodeset, is_spot: false };
        let spot = Candidate { is_spot: true, ..regular };
        let hold = |scope: &str, until| Hold {
            scope: scope.parse().unwrap(),
            code: "SkuNotAvailable".to_owned(),
            text: String::new(),
            until: Timestamp::from_millis(until),
        };
        let holds = [
            hold("sku-zone:west/1/Standard_D4s_v5", 10),
            hold("sku-site:west/Standard_D4s_v5", 30),
            hold("sku-zone:west/2/Standard_D4s_v5", 90),
            hold("site:east", 90),
            hold("spot-region:westeurope", 60),
        ];
        let until = |candidate: &Candidate<'_>, now| {
            held(candidate, &holds, Timestamp::from_millis(now)).map(|hold| hold.until.as_millis())
        };
        assert_eq!(until(&regular, 0), Some(30));
        assert_eq!(until(&spot, 0), Some(60));
        assert_eq!(until(&regular, 30), None);
    }
}
