//! What an error of Azure means: one table from HTTP status, innermost code, text and moment.
//!
//! ```text
//! status 429 ──► a throttle, whatever the code (but for the codes of a dependency)
//!    │ else
//!    ▼
//! code whose text decides ──► text.rs (quota.rs reads the numbers of a quota)
//!    │ else
//!    ▼
//! code of the table ──► table.rs: kind, retry, hold, reach
//!    │ else
//!    ▼
//! status: 401 and 403, 5xx ──► else: unknown, once more and then elsewhere
//! ```
//!
//! This module only understands. It must never decide where a VM goes next; what a failure leaves
//! behind for that is a [`Hold`].

mod quota;
mod table;
mod text;

use std::time::Duration;

use crate::Timestamp;
use crate::attempt::{AttemptPlace, AzureSays};
use crate::facts::QUOTA_CORES;
use crate::hold::{Candidate, Hold, HoldScope};

pub use quota::{QuotaSays, quota_says};

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// No room for this size here now.
    Capacity,
    /// A quota is used up.
    Quota,
    /// Too many calls. Never a refusal of what was asked.
    Throttled,
    /// The request can never succeed as it is: a person must change something.
    Configuration,
    /// Another operation runs on the resource, a dependency is not ready, or what was there a
    /// moment ago is not.
    Conflict,
    /// Azure's own fault, or the guest did not report.
    Azure,
    /// A code that we do not know. Handled as Azure's fault; its text is kept.
    Unknown,
}

impl FailureKind {
    /// The word in the reasons that slurmctld gets.
    pub fn word(self) -> &'static str {
        match self {
            FailureKind::Capacity => "capacity",
            FailureKind::Quota => "quota",
            FailureKind::Throttled => "throttled",
            FailureKind::Configuration => "configuration",
            FailureKind::Conflict => "conflict",
            FailureKind::Azure => "azure",
            FailureKind::Unknown => "unknown",
        }
    }
}

/// How far a failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Only this VM.
    Vm,
    /// This size in this zone (at this site, where there is no zone).
    SkuHere,
    /// This size at this site, whatever the zone.
    SkuSite,
    /// The cluster that the VM's block stands in, so that block at that site (FACTS §6.2); outside
    /// a block as [`Reach::SkuHere`].
    Cluster,
    /// The quota of a family of cores: all sizes of the family with as many vCPUs or more, in the
    /// subscription's part of the region.
    Family,
    /// The quota of all regular cores: all sizes with as many vCPUs or more, in the subscription's
    /// part of the region.
    Cores,
    /// All Spot VMs of the region.
    SpotRegion,
    /// The site's subnet.
    Subnet,
    /// The image, wherever it is used.
    Image,
    /// The nodeset's own settings.
    Nodeset,
    /// The whole site.
    Site,
    /// VMs of the nodeset with its image.
    Boot,
}

/// What may be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// Another place, now; not what the failure reaches.
    Elsewhere,
    /// The same call for the same place, in seconds: an operation ends, a dependency gets ready.
    Here,
    /// The same call, after `Retry-After` (seconds where Azure does not say): nothing was refused.
    Wait,
    /// A new attempt at the same place, once; after a second failure elsewhere.
    Once,
    /// Nothing that the failure reaches, until a person has changed something. Beyond its reach
    /// another place may do ([`Failure::may_go_elsewhere`]).
    Never,
}

/// When Azure said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// A PUT (of a VM, an availability set, a placement group) or a DELETE was refused, with this
    /// HTTP status. Nothing was done.
    Put(u16),
    /// The operation failed after it had been taken (HTTP 200 with status Failed), or the VM was
    /// found in `Failed`. Also where the status of a refusal is not known any more.
    Operation,
    /// A question (a poll, a GET, a list) was refused with this HTTP status. It says little about
    /// the thing that was asked about.
    Poll(u16),
}

impl Moment {
    /// The HTTP status, if it says anything.
    pub fn status(self) -> Option<u16> {
        match self {
            Moment::Put(status) | Moment::Poll(status) => Some(status),
            Moment::Operation => None,
        }
    }
}

/// An error of Azure, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// How far it reaches: what is not tried again until the hold ends.
    pub reach: Reach,
    /// What may be done next.
    pub retry: Retry,
    /// For how long its hold lasts the first time.
    pub hold: Duration,
    /// How long its hold becomes at most, when it is refused again and again.
    pub hold_max: Duration,
}

impl Failure {
    /// Whether a place that the failure does not reach is worth a try now, without the same place
    /// being tried again first.
    pub fn may_go_elsewhere(&self) -> bool {
        match (self.retry, self.reach) {
            (Retry::Elsewhere, _) => true,
            (Retry::Never, Reach::Vm | Reach::Nodeset | Reach::Image | Reach::Boot) => false,
            (
                Retry::Never,
                Reach::SkuHere
                | Reach::SkuSite
                | Reach::Cluster
                | Reach::Family
                | Reach::Cores
                | Reach::SpotRegion
                | Reach::Subnet
                | Reach::Site,
            ) => true,
            (Retry::Here | Retry::Wait | Retry::Once, _) => false,
        }
    }
}

/// Capacity comes back on its own. Karpenter waits 1 h from the first allocation failure
/// (FACTS §5); we begin sooner, because a queue waits and one canary costs one refusal.
const HOLD_CAPACITY: Duration = Duration::from_secs(10 * 60);
/// Karpenter remembers a lack of room for 1 h; after several refusals in a row twice that costs
/// little.
const HOLD_CAPACITY_MAX: Duration = Duration::from_secs(2 * 3600);
/// Quota falls when other VMs end, also those of other people. Karpenter waits 10 min, so that all
/// smaller sizes have been tried before; a hold of ours covers only the sizes that do not fit.
const HOLD_QUOTA: Duration = Duration::from_secs(5 * 60);
/// Jobs that hold the quota for longer than that are nothing to wait for more closely.
const HOLD_QUOTA_MAX: Duration = Duration::from_secs(3600);
/// A person has to change something; until then one try in a while shows whether it was done.
const HOLD_CONFIGURATION: Duration = Duration::from_secs(15 * 60);
/// Nobody should wait longer than that after the change.
const HOLD_CONFIGURATION_MAX: Duration = Duration::from_secs(3600);
/// Azure's faults pass.
const HOLD_AZURE: Duration = Duration::from_secs(2 * 60);
/// Azure's outages last longer than minutes, and their end is to be noticed.
const HOLD_AZURE_MAX: Duration = Duration::from_secs(30 * 60);
/// A dependency or another operation needs seconds.
const HOLD_CONFLICT: Duration = Duration::from_secs(30);
/// The longest that a dead resource is known to hold another is 180 s (FACTS §1.1).
const HOLD_CONFLICT_MAX: Duration = Duration::from_secs(5 * 60);
/// Spot prices move slowly: "retry in an hour" (FACTS §5).
const HOLD_PRICE: Duration = Duration::from_secs(3600);
/// A working day sees a price twice.
const HOLD_PRICE_MAX: Duration = Duration::from_secs(4 * 3600);
/// Each try costs a VM for as long as ResumeTimeout: a working day sees two.
const HOLD_BOOT_MAX: Duration = Duration::from_secs(4 * 3600);

/// Our own code: Resource Manager could not be reached, and nothing was sent.
pub const CODE_UNREACHABLE: &str = "AzureUnreachable";
/// Our own code: the site answers with nothing but faults of its own, or not at all.
pub const CODE_UNAVAILABLE: &str = "AzureUnavailable";
/// Our own code: no token could be had.
pub const CODE_NO_TOKEN: &str = "NoToken";
/// Our own code: a file that the nodeset names cannot be used.
pub const CODE_CONFIG_UNREADABLE: &str = "ConfigUnreadable";
/// Our own code: no place is left.
pub const CODE_NO_PLACE: &str = "NoPlace";
/// Our own code: the VM that was being made is not there any more.
pub const CODE_VANISHED: &str = "Vanished";
/// Our own code: by Azure's usages the quota has no room, and nothing was sent.
pub const CODE_QUOTA_AHEAD: &str = "QuotaWouldBeExceeded";
/// Our own code: `cores_max` of the config has no room, and nothing was sent.
pub const CODE_CAP: &str = "CoresMaxReached";
/// Our own code: the nodeset wants InfiniBand and its size has none.
pub const CODE_NOT_RDMA: &str = "SkuHasNoInfiniBand";
/// Our own code: Azure does not offer the size to this subscription in this region.
pub const CODE_NOT_OFFERED: &str = "SkuNotOffered";
/// Our own code: another node of the same gang cannot come, so this one is of no use.
pub const CODE_GANG: &str = "GangIncomplete";
/// Our own code: Azure took a Spot VM back.
pub const CODE_EVICTED: &str = "Evicted";
/// Our own code: slurmd registers on none of the VMs that Azure makes.
pub const CODE_BOOT_FAILURE: &str = "BootFailure";
/// Our own code: decided otherwise before it was sent. It says nothing about anything.
pub const CODE_RECALLED: &str = "Recalled";

/// Understands what Azure said. Total: every status, code and text means something.
pub fn understand(moment: Moment, says: &AzureSays) -> Failure {
    let row = table::find(&says.code);
    if moment.status() == Some(429) {
        // Network says 429 where a dependency is not ready (FACTS §3.2); all else is a throttle,
        // also with the code of a quota or of room.
        let dependency = row.filter(|failure| failure.retry == Retry::Here);
        return dependency.unwrap_or(table::THROTTLED);
    }
    text::understand(moment, says).or(row).unwrap_or_else(|| by_status(moment))
}

fn by_status(moment: Moment) -> Failure {
    match moment {
        Moment::Put(401 | 403) | Moment::Poll(401 | 403) => table::FORBIDDEN,
        Moment::Put(408 | 500..=599) => table::FAULT_HERE,
        // A question that Azure cannot answer is asked again (FACTS §2).
        Moment::Poll(408 | 500..=599) => table::FAULT_OF_A_POLL,
        Moment::Poll(404) => table::GONE,
        Moment::Put(_) | Moment::Operation | Moment::Poll(_) => table::UNKNOWN,
    }
}

/// The longest that a hold with this code and text becomes. Of a code that only its status explains
/// it is that of an unknown one.
pub(crate) fn hold_max(code: &str, text: &str) -> Duration {
    let says = AzureSays { code: code.to_owned(), text: text.to_owned(), request_id: None };
    understand(Moment::Operation, &says).hold_max
}

/// What a person should know beyond Azure's words, if anything.
pub fn advice(says: &AzureSays) -> Option<&'static str> {
    let has_none = quota_says(&says.text).is_some_and(|quota| quota.limit == Some(0));
    has_none.then_some("the quota is 0: ask Azure for quota, or take another size or region")
}

/// The hold that a failure of a VM at `candidate` leaves behind, as after its first refusal
/// ([`Hold::after`] lets it grow). It always covers `candidate`. A throttle says nothing about the
/// place, and neither does [`CODE_RECALLED`]: `None`.
pub fn hold_of(
    moment: Moment,
    says: &AzureSays,
    candidate: &Candidate<'_>,
    now: Timestamp,
) -> Option<Hold> {
    hold_as(&understand(moment, says), says, candidate, now)
}

/// As [`hold_of`], for a failure that is understood already.
pub fn hold_as(
    failure: &Failure,
    says: &AzureSays,
    candidate: &Candidate<'_>,
    now: Timestamp,
) -> Option<Hold> {
    if failure.kind == FailureKind::Throttled || says.code == CODE_RECALLED {
        return None;
    }
    Some(Hold {
        scope: scope_of(failure.reach, candidate),
        code: says.code.clone(),
        text: says.text.clone(),
        strikes: 1,
        struck_at: now,
        until: now.plus(failure.hold),
    })
}

fn scope_of(reach: Reach, candidate: &Candidate<'_>) -> HoldScope {
    let AttemptPlace { site, region, zone, block, subscription, .. } = candidate.place;
    let (is_spot, sku) = (candidate.is_spot, candidate.sku);
    let sku_site = || match is_spot {
        true => HoldScope::SpotSite(site.clone(), sku.clone()),
        false => HoldScope::SkuSite(site.clone(), sku.clone()),
    };
    let sku_here = || match (zone, is_spot) {
        (Some(zone), true) => HoldScope::SpotZone(site.clone(), zone.clone(), sku.clone()),
        (Some(zone), false) => HoldScope::SkuZone(site.clone(), zone.clone(), sku.clone()),
        (None, _) => sku_site(),
    };
    // Quotas of cores are about regular VMs, and without facts nobody knows which sizes they cover.
    let facts = candidate.facts.filter(|_| !is_spot);
    let cores = |family: Option<&str>| match (family, facts) {
        (Some(family), Some(facts)) if !family.is_empty() => HoldScope::Family {
            subscription: subscription.to_ascii_lowercase(),
            region: region.clone(),
            family: family.to_owned(),
            vcpus: facts.vcpus,
        },
        (Some(_) | None, _) => sku_site(),
    };
    match reach {
        Reach::Vm => HoldScope::Node(candidate.node.clone()),
        Reach::SkuHere => sku_here(),
        Reach::SkuSite => sku_site(),
        Reach::Cluster => match block {
            Some(life) => HoldScope::Block(life.block.clone(), site.clone()),
            None => sku_here(),
        },
        // Under the name that the SKU API has for it: by that a hold finds its candidates.
        Reach::Family => cores(facts.map(|facts| facts.family.as_str())),
        Reach::Cores => cores(Some(QUOTA_CORES)),
        Reach::SpotRegion if candidate.is_spot => {
            HoldScope::SpotRegion(subscription.to_ascii_lowercase(), region.clone())
        }
        Reach::SpotRegion => sku_site(),
        Reach::Subnet => HoldScope::Subnet(site.clone()),
        Reach::Image if !candidate.image.is_empty() => HoldScope::Image(candidate.image.to_owned()),
        Reach::Image | Reach::Nodeset => HoldScope::Nodeset(candidate.nodeset.clone()),
        Reach::Site => HoldScope::Site(site.clone()),
        Reach::Boot => HoldScope::Boot(candidate.nodeset.clone(), candidate.image.to_owned()),
    }
}
