//! What an error of Azure means: one table from HTTP status, innermost code, text and moment.
//!
//! Status first, then code, then (only for `OperationNotAllowed`) the text: a throttle and a quota
//! refusal share that code, and the status tells them apart.

use std::time::Duration;

use crate::Timestamp;
use crate::attempt::{AttemptPlace, AzureSays};
use crate::config::Sku;
use crate::hold::{Candidate, Hold, HoldScope};

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
    /// Another operation runs on the resource, or a dependency is not ready.
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
    /// All Spot VMs of the region.
    SpotRegion,
    /// The site's subnet.
    Subnet,
    /// The nodeset's own settings.
    Nodeset,
    /// The whole site.
    Site,
}

/// An error of Azure, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// How far it reaches: what is not tried again until the hold ends.
    pub reach: Reach,
    /// For how long.
    pub hold: Duration,
}

/// Capacity comes back on its own; the first try after a refusal is made soon enough to matter for
/// a queue.
const HOLD_CAPACITY: Duration = Duration::from_secs(10 * 60);
/// Quota falls when other VMs end.
const HOLD_QUOTA: Duration = Duration::from_secs(5 * 60);
/// A person has to change something; until then one try in a while shows whether it was done.
const HOLD_CONFIGURATION: Duration = Duration::from_secs(15 * 60);
/// Azure's faults pass.
const HOLD_AZURE: Duration = Duration::from_secs(2 * 60);
/// A dependency or another operation needs seconds.
const HOLD_CONFLICT: Duration = Duration::from_secs(30);

/// Our own code: Resource Manager could not be reached, and nothing was sent.
pub const CODE_UNREACHABLE: &str = "AzureUnreachable";
/// Our own code: no token could be had.
pub const CODE_NO_TOKEN: &str = "NoToken";
/// Our own code: a file that the nodeset names cannot be used.
pub const CODE_CONFIG_UNREADABLE: &str = "ConfigUnreadable";
/// Our own code: the VM that was being made is not there any more.
pub const CODE_VANISHED: &str = "Vanished";

const CAPACITY: [&str; 5] = [
    "AllocationFailed",
    "ZonalAllocationFailed",
    "OverconstrainedAllocationRequest",
    "OverconstrainedZonalAllocationRequest",
    "SpotPriceGreaterThanProvidedMaxPrice",
];

const NODESET_SETTINGS: [&str; 17] = [
    "InvalidParameter",
    "InvalidRequestFormat",
    "InvalidRequestContent",
    "BadRequest",
    "ImageNotFound",
    "GalleryImageNotFound",
    "PlatformImageNotFound",
    "VMMarketplaceInvalidInput",
    "MarketplacePurchaseEligibilityFailed",
    "AzureSpotVMNotSupportedInAvailabilitySet",
    "AzureSpotFeatureNotEnabledForSubscription",
    "AzureSpotIsNotSupportedForThisVMSize",
    "MaxPriceValueInvalid",
    "EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines",
    "VMPriorityCannotBeApplied",
    "PropertyChangeNotAllowed",
    "InvalidImageReference",
];

const SITE_SETTINGS: [&str; 10] = [
    "AuthorizationFailed",
    "LinkedAuthorizationFailed",
    "AuthenticationFailed",
    "InvalidAuthenticationToken",
    "RequestDisallowedByPolicy",
    "ParentResourceNotFound",
    "ResourceGroupNotFound",
    "ResourceGroupBeingDeleted",
    "SubscriptionNotFound",
    "SubscriptionNotRegistered",
];

const CONFLICT: [&str; 6] = [
    "Conflict",
    "AnotherOperationInProgress",
    "RetryableError",
    "RetryableErrorDueToAnotherOperation",
    "ReferencedResourceNotProvisioned",
    "NicReservedForAnotherVm",
];

const AZURE_FAULT: [&str; 8] = [
    "InternalExecutionError",
    "InternalServerError",
    "NetworkingInternalOperationError",
    "InternalOperationError",
    "OSProvisioningTimedOut",
    "OSProvisioningClientError",
    "VMStartTimedOut",
    "OperationPreempted",
];

/// Understands what Azure said. `status` is the HTTP status of a refusal; `None` for an error
/// inside an operation (HTTP 200 with status Failed).
pub fn understand(status: Option<u16>, says: &AzureSays) -> Failure {
    let code = says.code.as_str();
    if status == Some(429) && !CONFLICT.contains(&code) {
        return Failure { kind: FailureKind::Throttled, reach: Reach::Vm, hold: HOLD_CONFLICT };
    }
    if CONFLICT.contains(&code) {
        return Failure { kind: FailureKind::Conflict, reach: Reach::Vm, hold: HOLD_CONFLICT };
    }
    if let Some(failure) = understand_room(says) {
        return failure;
    }
    if code == CODE_UNREACHABLE || code == CODE_NO_TOKEN {
        return Failure { kind: FailureKind::Azure, reach: Reach::Site, hold: HOLD_AZURE };
    }
    if NODESET_SETTINGS.contains(&code) || code == CODE_CONFIG_UNREADABLE {
        return configuration(Reach::Nodeset);
    }
    if SITE_SETTINGS.contains(&code) {
        return configuration(Reach::Site);
    }
    if AZURE_FAULT.contains(&code) {
        return Failure { kind: FailureKind::Azure, reach: Reach::Vm, hold: HOLD_AZURE };
    }
    match status {
        Some(401 | 403) => configuration(Reach::Site),
        Some(500..=599) => {
            Failure { kind: FailureKind::Azure, reach: Reach::SkuHere, hold: HOLD_AZURE }
        }
        Some(_) | None => {
            Failure { kind: FailureKind::Unknown, reach: Reach::Vm, hold: HOLD_AZURE }
        }
    }
}

fn configuration(reach: Reach) -> Failure {
    Failure { kind: FailureKind::Configuration, reach, hold: HOLD_CONFIGURATION }
}

/// Capacity, quota and addresses.
fn understand_room(says: &AzureSays) -> Option<Failure> {
    let code = says.code.as_str();
    if CAPACITY.contains(&code) {
        return Some(Failure {
            kind: FailureKind::Capacity,
            reach: Reach::SkuHere,
            hold: HOLD_CAPACITY,
        });
    }
    match code {
        "SkuNotAvailable" => Some(Failure {
            kind: FailureKind::Capacity,
            reach: Reach::SkuHere,
            hold: HOLD_CAPACITY,
        }),
        "OperationNotAllowed" | "QuotaExceeded" => Some(understand_quota(says)),
        "SubnetIsFull" | "InsufficientSubnetSize" => {
            Some(Failure { kind: FailureKind::Quota, reach: Reach::Subnet, hold: HOLD_QUOTA })
        }
        _other => None,
    }
}

/// `OperationNotAllowed` is a quota refusal only by its text (FACTS §5); otherwise it is a conflict
/// of states.
fn understand_quota(says: &AzureSays) -> Failure {
    let text = says.text.to_ascii_lowercase();
    let is_quota = says.code == "QuotaExceeded"
        || (text.contains("exceeding") && (text.contains("quota") || text.contains("cores")));
    if !is_quota {
        return Failure { kind: FailureKind::Conflict, reach: Reach::Vm, hold: HOLD_CONFLICT };
    }
    let reach = if text.contains("lowprioritycores") { Reach::SpotRegion } else { Reach::SkuSite };
    Failure { kind: FailureKind::Quota, reach, hold: HOLD_QUOTA }
}

/// The hold that a failure of a VM at `candidate` leaves behind. A throttle says nothing about the
/// place and leaves none: `None`.
pub fn hold_of(
    failure: &Failure,
    says: &AzureSays,
    candidate: &Candidate<'_>,
    now: Timestamp,
) -> Option<Hold> {
    if failure.kind == FailureKind::Throttled {
        return None;
    }
    let scope = scope_of(failure.reach, candidate);
    let hold = Hold {
        scope,
        code: says.code.clone(),
        text: says.text.clone(),
        strikes: 1,
        struck_at: now,
        until: now.plus(failure.hold),
    };
    Some(hold)
}

fn scope_of(reach: Reach, candidate: &Candidate<'_>) -> HoldScope {
    let AttemptPlace { site, region, zone, .. } = candidate.place;
    let sku: &Sku = candidate.sku;
    match (reach, zone) {
        (Reach::Vm, _) => HoldScope::Node(candidate.node.clone()),
        (Reach::SkuHere, Some(zone)) => HoldScope::SkuZone(site.clone(), zone.clone(), sku.clone()),
        (Reach::SkuHere, None) | (Reach::SkuSite, _) => {
            HoldScope::SkuSite(site.clone(), sku.clone())
        }
        (Reach::SpotRegion, _) => {
            HoldScope::SpotRegion(candidate.place.subscription.to_ascii_lowercase(), region.clone())
        }
        (Reach::Subnet, _) => HoldScope::Subnet(site.clone()),
        (Reach::Nodeset, _) => HoldScope::Nodeset(candidate.nodeset.clone()),
        (Reach::Site, _) => HoldScope::Site(site.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: Option<u16>, code: &str, text: &str) -> (FailureKind, Reach) {
        let says = AzureSays { code: code.to_owned(), text: text.to_owned(), request_id: None };
        let failure = understand(status, &says);
        (failure.kind, failure.reach)
    }

    #[test]
    fn a_throttle_and_a_quota_share_a_code_and_are_told_apart_by_the_status() {
        let quota = "Operation could not be completed as it results in exceeding approved \
                     standardHBv3Family Cores quota. Current Limit: 0";
        let code = "OperationNotAllowed";
        assert_eq!(kind(Some(429), code, quota), (FailureKind::Throttled, Reach::Vm));
        assert_eq!(kind(Some(409), code, quota), (FailureKind::Quota, Reach::SkuSite));
        let spot = "results in exceeding approved LowPriorityCores quota";
        assert_eq!(kind(Some(409), code, spot), (FailureKind::Quota, Reach::SpotRegion));
        let old = "Operation results in exceeding quota limits of Core";
        assert_eq!(kind(Some(409), code, old), (FailureKind::Quota, Reach::SkuSite));
        let other = "Managed disk cannot be changed while the VM is allocated";
        assert_eq!(kind(Some(409), code, other), (FailureKind::Conflict, Reach::Vm));
    }

    #[test]
    fn each_row_of_the_table_means_what_the_facts_say() {
        use FailureKind as K;
        let rows = [
            (Some(409), "SkuNotAvailable", K::Capacity, Reach::SkuHere),
            (None, "AllocationFailed", K::Capacity, Reach::SkuHere),
            (None, "ZonalAllocationFailed", K::Capacity, Reach::SkuHere),
            (None, "OverconstrainedAllocationRequest", K::Capacity, Reach::SkuHere),
            (Some(400), "SubnetIsFull", K::Quota, Reach::Subnet),
            (Some(429), "TooManyRequests", K::Throttled, Reach::Vm),
            (Some(429), "SubscriptionRequestsThrottled", K::Throttled, Reach::Vm),
            (Some(429), "RetryableError", K::Conflict, Reach::Vm),
            (Some(409), "AnotherOperationInProgress", K::Conflict, Reach::Vm),
            (Some(400), "NicReservedForAnotherVm", K::Conflict, Reach::Vm),
            (None, "InternalExecutionError", K::Azure, Reach::Vm),
            (None, "OSProvisioningTimedOut", K::Azure, Reach::Vm),
            (Some(503), "", K::Azure, Reach::SkuHere),
            (Some(400), "InvalidParameter", K::Configuration, Reach::Nodeset),
            (Some(404), "ImageNotFound", K::Configuration, Reach::Nodeset),
            (Some(403), "AuthorizationFailed", K::Configuration, Reach::Site),
            (Some(403), "SomethingNew", K::Configuration, Reach::Site),
            (Some(404), "ResourceGroupNotFound", K::Configuration, Reach::Site),
            (Some(418), "BrandNewCode", K::Unknown, Reach::Vm),
            (None, "BrandNewCode", K::Unknown, Reach::Vm),
        ];
        for (status, code, expected, reach) in rows {
            assert_eq!(kind(status, code, ""), (expected, reach), "{status:?} {code}");
        }
    }

    #[test]
    fn a_throttle_never_holds_a_place() {
        let says = AzureSays { code: "TooManyRequests".to_owned(), ..AzureSays::default() };
        let place = AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: String::new(),
            resource_group: String::new(),
            region: crate::config::Region::new("westeurope").unwrap(),
            zone: None,
            block: None,
        };
        let sku = Sku::new("Standard_D4s_v5").unwrap();
        let nodeset = "hpc".parse().unwrap();
        let node = "hpc-1".parse().unwrap();
        let candidate = Candidate {
            node: &node,
            place: &place,
            sku: &sku,
            nodeset: &nodeset,
            is_spot: false,
            image: "",
            facts: None,
        };
        let now = Timestamp::from_millis(0);
        let throttle = understand(Some(429), &says);
        assert_eq!(hold_of(&throttle, &says, &candidate, now), None);
        let says = AzureSays { code: "AllocationFailed".to_owned(), ..says };
        let hold = hold_of(&understand(None, &says), &says, &candidate, now).unwrap();
        assert_eq!(hold.scope.to_string(), "sku-site:west/Standard_D4s_v5");
    }
}
