//! Holds: "not here until then", learned from refusals and shared by all programs through the
//! ledger.
//!
//! ```text
//! refused ──► closed until `until` ──► half open ──► over
//!               ▲    grows with strikes    │ one candidate tries at a time
//!               └──────── refused ─────────┤
//!                                          └─ it succeeds ──► gone, strikes and all
//! ```
//!
//! After the first refusal a hold simply ends. After several in a row it opens by half first: one
//! candidate tries (the canary), and the others wait for what comes of it, so that a thousand
//! waiting nodes do not collect a thousand refusals.

mod growth;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Timestamp;
use crate::attempt::{AttemptPlace, NewAttempt};
use crate::block::BlockName;
use crate::config::{Config, Region, Sku, Zone};
use crate::facts::{Facts, Ground, QUOTA_CORES, SkuFacts};
use crate::{NodeName, NodesetName, SiteName};

pub use growth::{CODE_OPERATOR, Success, ended_by_success};

/// From this many refusals in a row on a hold opens by half first.
const HALF_OPEN_STRIKES: u32 = 2;
/// How long it stays half open if nobody tries: longer than nearly all VMs need to be provisioned
/// (FACTS §1.4).
const HALF_OPEN_FOR: Duration = Duration::from_secs(10 * 60);
/// What a VM that tries whether nodes boot comes to shows at ResumeTimeout at the latest, half an
/// hour as a rule; it may begin at the end of the ten minutes.
const BOOT_HALF_OPEN_FOR: Duration = Duration::from_secs(45 * 60);

/// What a hold covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldScope {
    /// One node: its last VM failed for a reason that says nothing about the place.
    Node(NodeName),
    /// One size in one zone of a site's region.
    SkuZone(SiteName, Zone, Sku),
    /// One size at a site.
    SkuSite(SiteName, Sku),
    /// One size as Spot, in one zone: regular VMs of it may be had all the same.
    SpotZone(SiteName, Zone, Sku),
    /// One size as Spot, at a site.
    SpotSite(SiteName, Sku),
    /// A quota of cores of a subscription in a region: that of a family, or of all regular VMs
    /// (`cores`). Covers sizes with as many vCPUs as were refused, or more.
    Family {
        /// Subscription id in lower case.
        subscription: String,
        /// Region.
        region: Region,
        /// The quota's name, `standardHBv3Family` or `cores`.
        family: String,
        /// vCPUs that were refused.
        vcpus: u32,
    },
    /// All Spot VMs of a subscription in a region.
    SpotRegion(String, Region),
    /// A block at a site: where it stands there is no more room.
    Block(BlockName, SiteName),
    /// A site's subnet.
    Subnet(SiteName),
    /// An image, by its reference in the config.
    Image(String),
    /// A nodeset's own settings: its account, its keys, its disks.
    Nodeset(NodesetName),
    /// A whole site.
    Site(SiteName),
    /// VMs of a nodeset with an image (its reference), on which slurmd does not register
    /// ([`crate::boot`]).
    Boot(NodesetName, String),
}

impl fmt::Display for HoldScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HoldScope::Node(node) => write!(f, "node:{node}"),
            HoldScope::SkuZone(site, zone, sku) => write!(f, "sku-zone:{site}/{zone}/{sku}"),
            HoldScope::SkuSite(site, sku) => write!(f, "sku-site:{site}/{sku}"),
            HoldScope::SpotZone(site, zone, sku) => write!(f, "spot-zone:{site}/{zone}/{sku}"),
            HoldScope::SpotSite(site, sku) => write!(f, "spot-site:{site}/{sku}"),
            HoldScope::Family { subscription, region, family, vcpus } => {
                write!(f, "family:{subscription}/{region}/{family}/{vcpus}")
            }
            HoldScope::SpotRegion(subscription, region) => {
                write!(f, "spot-region:{subscription}/{region}")
            }
            HoldScope::Block(block, site) => write!(f, "block:{block}/{site}"),
            HoldScope::Subnet(site) => write!(f, "subnet:{site}"),
            HoldScope::Image(image) => write!(f, "image:{image}"),
            HoldScope::Nodeset(nodeset) => write!(f, "nodeset:{nodeset}"),
            HoldScope::Site(site) => write!(f, "site:{site}"),
            HoldScope::Boot(nodeset, image) => write!(f, "boot:{nodeset}/{image}"),
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
    if kind == "image" {
        return (!rest.is_empty()).then(|| HoldScope::Image(rest.to_owned()));
    }
    if kind == "boot" {
        let (nodeset, image) = rest.split_once('/')?;
        let image = (!image.is_empty()).then(|| image.to_owned())?;
        return Some(HoldScope::Boot(nodeset.parse().ok()?, image));
    }
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
        "spot-zone" => HoldScope::SpotZone(
            first.parse().ok()?,
            Zone::new(parts.next()?)?,
            Sku::new(parts.next()?)?,
        ),
        "spot-site" => HoldScope::SpotSite(first.parse().ok()?, Sku::new(parts.next()?)?),
        "family" => HoldScope::Family {
            subscription: word(first)?,
            region: Region::new(parts.next()?)?,
            family: quota_name(parts.next()?)?,
            vcpus: parts.next()?.parse().ok()?,
        },
        "spot-region" => HoldScope::SpotRegion(word(first)?, Region::new(parts.next()?)?),
        "block" => HoldScope::Block(first.parse().ok()?, parts.next()?.parse().ok()?),
        "subnet" => HoldScope::Subnet(first.parse().ok()?),
        "nodeset" => HoldScope::Nodeset(first.parse().ok()?),
        "site" => HoldScope::Site(first.parse().ok()?),
        _word => return None,
    };
    parts.next().is_none().then_some(scope)
}

/// A subscription.
fn word(text: &str) -> Option<String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!text.is_empty() && text.chars().all(is_good)).then(|| text.to_owned())
}

/// A quota's name; some hold spaces: `Standard NDASv4_A100 Family`.
fn quota_name(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
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
    /// How many times in a row it was refused.
    pub strikes: u32,
    /// The latest refusal.
    pub struck_at: Timestamp,
    /// When it ends, or opens by half.
    pub until: Timestamp,
}

/// How a hold stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldStanding {
    /// Nothing that it covers is tried.
    Closed,
    /// One candidate may try at a time.
    HalfOpen,
    /// It holds nothing.
    Over,
}

impl Hold {
    /// How it stands `now`.
    pub fn standing(&self, now: Timestamp) -> HoldStanding {
        if now < self.until {
            HoldStanding::Closed
        } else if self.strikes >= HALF_OPEN_STRIKES && now < self.over_at() {
            HoldStanding::HalfOpen
        } else {
            HoldStanding::Over
        }
    }
}

impl Hold {
    /// When a canary that is out has shown something, as a rule: a node that waits for it is looked
    /// at again then.
    pub fn canary_shows_at(&self, now: Timestamp) -> Timestamp {
        self.over_at().min(now.plus(HALF_OPEN_FOR))
    }

    /// When it holds nothing any more, if nobody ends it before.
    pub fn over_at(&self) -> Timestamp {
        let is_half_open = self.strikes >= HALF_OPEN_STRIKES;
        if is_half_open { self.until.plus(self.scope.half_open_for()) } else { self.until }
    }
}

/// A place that a VM could be made at, with what holds can name of it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// Site, region, zone, block.
    pub place: &'a AttemptPlace,
    /// Size.
    pub sku: &'a Sku,
    /// Nodeset.
    pub nodeset: &'a NodesetName,
    /// Whether the VM would be Spot.
    pub is_spot: bool,
    /// The image's reference ([`crate::config::Image::reference_text`]).
    pub image: &'a str,
    /// What is known of the size; without it no hold of a family covers the candidate.
    pub facts: Option<&'a SkuFacts>,
}

impl Candidate<'_> {
    /// Calls `with` the place of an attempt and all that holds can name of it.
    pub fn of<T>(
        attempt: &NewAttempt,
        known: (&Config, &Facts),
        with: impl FnOnce(&Candidate<'_>) -> T,
    ) -> T {
        let (config, facts) = known;
        let nodeset = config.nodesets.get(&attempt.nodeset);
        let image = match nodeset.filter(|_| attempt.image.is_empty()) {
            Some(nodeset) => nodeset.image.reference_text(),
            None => attempt.image.clone(),
        };
        let place = &attempt.place;
        let ground = Ground::new(&place.subscription, &place.region);
        with(&Candidate {
            node: &attempt.node,
            place,
            sku: &attempt.sku,
            nodeset: &attempt.nodeset,
            is_spot: attempt.is_spot,
            image: &image,
            facts: facts.sku(&ground, &attempt.sku),
        })
    }
}

impl HoldScope {
    /// How long a hold of this scope stays half open if nobody tries.
    fn half_open_for(&self) -> Duration {
        if self.is_of_boots() { BOOT_HALF_OPEN_FOR } else { HALF_OPEN_FOR }
    }

    /// Whether only a registration of slurmd shows that it is over.
    pub fn is_of_boots(&self) -> bool {
        matches!(self, HoldScope::Boot(..))
    }

    /// Whether this scope covers `candidate`.
    pub fn covers(&self, candidate: &Candidate<'_>) -> bool {
        let Candidate { node, place, sku, nodeset, is_spot, image, facts } = *candidate;
        let is_subscription = |held: &str| held.eq_ignore_ascii_case(&place.subscription);
        match self {
            HoldScope::Node(held) => held == node,
            HoldScope::SkuZone(site, zone, held) => {
                *site == place.site && Some(zone) == place.zone.as_ref() && held == sku
            }
            HoldScope::SkuSite(site, held) => *site == place.site && held == sku,
            HoldScope::SpotZone(site, zone, held) => {
                is_spot && *site == place.site && Some(zone) == place.zone.as_ref() && held == sku
            }
            HoldScope::SpotSite(site, held) => is_spot && *site == place.site && held == sku,
            HoldScope::Family { subscription, region, family, vcpus } => {
                let counts = |facts: &SkuFacts| {
                    let is_of = family == QUOTA_CORES || family.eq_ignore_ascii_case(&facts.family);
                    is_of && facts.vcpus >= *vcpus
                };
                let is_here = is_subscription(subscription) && *region == place.region;
                !is_spot && is_here && facts.is_some_and(counts)
            }
            HoldScope::SpotRegion(subscription, region) => {
                is_spot && is_subscription(subscription) && *region == place.region
            }
            HoldScope::Block(block, site) => {
                let held = place.block.as_ref().is_some_and(|life| life.block == *block);
                held && *site == place.site
            }
            HoldScope::Subnet(site) | HoldScope::Site(site) => *site == place.site,
            HoldScope::Image(held) => held == image,
            HoldScope::Nodeset(held) => held == nodeset,
            HoldScope::Boot(held, booted) => held == nodeset && booted == image,
        }
    }
}

/// The hold that keeps `candidate` from being tried now: of several, one that is closed before one
/// that is half open, and then the one that lasts longest.
pub fn held<'a>(candidate: &Candidate<'_>, holds: &'a [Hold], now: Timestamp) -> Option<&'a Hold> {
    holds
        .iter()
        .filter(|hold| hold.standing(now) != HoldStanding::Over && hold.scope.covers(candidate))
        .max_by_key(|hold| (hold.standing(now) == HoldStanding::Closed, hold.until))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scope_comes_back_from_the_ledger() {
        for text in [
            "node:hpc-1",
            "sku-zone:west/1/Standard_D4s_v5",
            "sku-site:west/Standard_D4s_v5",
            "spot-zone:west/1/Standard_D4s_v5",
            "spot-site:west/Standard_D4s_v5",
            "family:s-1/westeurope/standardHBv3Family/120",
            "family:s-1/westeurope/Standard NDASv4_A100 Family/96",
            "spot-region:s-1/westeurope",
            "block:hb-b2/west",
            "image:/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i",
            "image:p:o:s:latest",
            "subnet:west",
            "nodeset:hpc",
            "site:west",
            "boot:hpc/p:o:s:latest",
            "boot:hpc//subscriptions/s/resourceGroups/g/images/i",
        ] {
            assert_eq!(text.parse::<HoldScope>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "site",
            "sku-site:west",
            "moon:west",
            "site:west/east",
            "sku-zone:w/1",
            "image:",
            "block:hb/west",
            "family:s/westeurope/f/many",
            "family:s/westeurope//4",
            "spot-region:westeurope",
            "boot:hpc",
            "boot:hpc/",
            "boot:/image",
        ] {
            assert!(text.parse::<HoldScope>().is_err(), "{text:?}");
        }
    }

    fn west() -> AttemptPlace {
        AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            region: Region::new("westeurope").unwrap(),
            zone: Zone::new("1"),
            block: None,
        }
    }

    #[test]
    fn the_longest_hold_that_covers_a_place_counts() {
        let place = west();
        let sku = Sku::new("Standard_D4s_v5").unwrap();
        let nodeset: NodesetName = "hpc".parse().unwrap();
        let node: NodeName = "hpc-1".parse().unwrap();
        let regular = Candidate {
            node: &node,
            place: &place,
            sku: &sku,
            nodeset: &nodeset,
            is_spot: false,
            image: "",
            facts: None,
        };
        let spot = Candidate { is_spot: true, ..regular };
        let hold = |scope: &str, until| Hold {
            scope: scope.parse().unwrap(),
            code: "SkuNotAvailable".to_owned(),
            text: String::new(),
            strikes: 1,
            struck_at: Timestamp::from_millis(0),
            until: Timestamp::from_millis(until),
        };
        let holds = [
            hold("sku-zone:west/1/Standard_D4s_v5", 10),
            hold("sku-site:west/Standard_D4s_v5", 30),
            hold("sku-zone:west/2/Standard_D4s_v5", 90),
            hold("site:east", 90),
            hold("spot-region:s/westeurope", 60),
        ];
        let until = |candidate: &Candidate<'_>, now| {
            held(candidate, &holds, Timestamp::from_millis(now)).map(|hold| hold.until.as_millis())
        };
        assert_eq!(until(&regular, 0), Some(30));
        assert_eq!(until(&spot, 0), Some(60));
        assert_eq!(until(&regular, 30), None);
    }

    /// Everything that `held` may answer, found the slow way.
    fn oracle<'a>(candidate: &Candidate<'_>, holds: &'a [Hold], now: Timestamp) -> Vec<&'a Hold> {
        let standing = |wanted| {
            let is_like =
                |hold: &&Hold| hold.scope.covers(candidate) && hold.standing(now) == wanted;
            holds.iter().filter(is_like).collect::<Vec<&Hold>>()
        };
        let closed = standing(HoldStanding::Closed);
        let all = if closed.is_empty() { standing(HoldStanding::HalfOpen) } else { closed };
        let last = all.iter().map(|hold| hold.until).max();
        all.into_iter().filter(|hold| Some(hold.until) == last).collect()
    }

    proptest! {
        #[test]
        fn the_more_restrictive_and_the_longer_hold_wins(
            rows in prop::collection::vec((0_usize..6, 1_u32..4, 0_i64..2_000_000), 0..8),
            now in 0_i64..2_000_000,
        ) {
            let scopes = [
                "sku-zone:west/1/Standard_D4s_v5", "sku-zone:west/2/Standard_D4s_v5",
                "sku-site:west/Standard_D4s_v5", "site:west", "site:east", "node:hpc-1",
            ];
            let hold = |(scope, strikes, until): (usize, u32, i64)| Hold {
                scope: scopes[scope].parse().unwrap(),
                code: "AllocationFailed".to_owned(),
                text: String::new(),
                strikes,
                struck_at: Timestamp::from_millis(0),
                until: Timestamp::from_millis(until),
            };
            let holds: Vec<Hold> = rows.into_iter().map(hold).collect();
            let now = Timestamp::from_millis(now);
            let place = west();
            let (node, nodeset) = ("hpc-1".parse().unwrap(), "hpc".parse().unwrap());
            let sku = Sku::new("Standard_D4s_v5").unwrap();
            let candidate = Candidate {
                node: &node, place: &place, sku: &sku, nodeset: &nodeset,
                is_spot: false, image: "", facts: None,
            };
            let allowed = oracle(&candidate, &holds, now);
            match held(&candidate, &holds, now) {
                Some(found) => prop_assert!(allowed.contains(&found), "{found:?} of {allowed:?}"),
                None => prop_assert!(allowed.is_empty(), "{allowed:?}"),
            }
        }
    }
}
