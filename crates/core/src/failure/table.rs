//! The table of codes. A reviewer reads two things: what an outcome means ([`ROOM`] and its
//! neighbours), and which code has which outcome and how far it reaches ([`ROWS`]).
//!
//! Codes whose text decides are not here but in `text.rs`: `BadRequest`, `InvalidParameter`,
//! `InvalidResourceReference`, `LinkedInvalidPropertyId`, `NotFound`, `OperationNotAllowed`,
//! `QuotaExceeded`, `ResourceNotFound`, `ResourceQuotaExceeded`, `SkuNotAvailable`.
//!
//! The last column of a row says where the code is from:
//!
//! | word | source |
//! | --- | --- |
//! | F2, F3, F4, F5 | FACTS §2, §3, §4, §5 |
//! | vm | Microsoft support, "Azure VM error messages" |
//! | arm | Microsoft, "Troubleshoot common Azure deployment errors", 04/2023 |
//! | spot | Microsoft, "Error messages for Azure Spot VMs" |
//! | old | Microsoft, "Service Management status and error codes" |
//! | svc | the list of ARM's and providers' codes in a service of Microsoft's, package `armerror` |
//! | aro | `Azure/ARO-RP`, `pkg/util/azureerrors` |
//! | seen | reports of users in several public repositories |
//! | us | our own code |

use std::time::Duration;

use super::{Failure, FailureKind as Kind, Reach, Retry};

/// What a code means, apart from how far it reaches.
#[derive(Clone, Copy)]
pub(super) struct Outcome {
    kind: Kind,
    retry: Retry,
    hold: Duration,
    hold_max: Duration,
}

impl Outcome {
    pub(super) const fn reaching(self, reach: Reach) -> Failure {
        let Outcome { kind, retry, hold, hold_max } = self;
        Failure { kind, reach, retry, hold, hold_max }
    }
}

const fn outcome(kind: Kind, retry: Retry, (hold, hold_max): (Duration, Duration)) -> Outcome {
    Outcome { kind, retry, hold, hold_max }
}

// Why each lasts so long stands beside the lengths.
const CAPACITY_LASTS: (Duration, Duration) = (super::HOLD_CAPACITY, super::HOLD_CAPACITY_MAX);
const PRICE_LASTS: (Duration, Duration) = (super::HOLD_PRICE, super::HOLD_PRICE_MAX);
const QUOTA_LASTS: (Duration, Duration) = (super::HOLD_QUOTA, super::HOLD_QUOTA_MAX);
const SETTINGS_LAST: (Duration, Duration) =
    (super::HOLD_CONFIGURATION, super::HOLD_CONFIGURATION_MAX);
const BOOTS_LAST: (Duration, Duration) = (super::HOLD_CONFIGURATION, super::HOLD_BOOT_MAX);
const FAULTS_LAST: (Duration, Duration) = (super::HOLD_AZURE, super::HOLD_AZURE_MAX);
const CONFLICTS_LAST: (Duration, Duration) = (super::HOLD_CONFLICT, super::HOLD_CONFLICT_MAX);

/// No room.
pub(super) const ROOM: Outcome = outcome(Kind::Capacity, Retry::Elsewhere, CAPACITY_LASTS);
/// The nodeset's price is below Azure's. It reaches the nodeset, whose setting `max_price` is: a
/// hold of the size would hold regular VMs of it too.
const PRICE: Outcome = outcome(Kind::Capacity, Retry::Elsewhere, PRICE_LASTS);
/// A quota is used up.
pub(super) const QUOTA: Outcome = outcome(Kind::Quota, Retry::Elsewhere, QUOTA_LASTS);
/// A quota of 0 comes only from a person, as a setting does; Karpenter waits 1 h.
pub(super) const ZERO_QUOTA: Outcome = outcome(Kind::Quota, Retry::Elsewhere, SETTINGS_LAST);
/// A person has to change something.
pub(super) const PERSON: Outcome = outcome(Kind::Configuration, Retry::Never, SETTINGS_LAST);
/// Nothing is wrong with the node or its place: it waits for others, and seconds are enough for
/// slurmctld to requeue its job.
const OTHERS: Outcome = outcome(Kind::Capacity, Retry::Elsewhere, CONFLICTS_LAST);
/// Another operation, or a dependency that is not ready.
pub(super) const CONFLICT: Outcome = outcome(Kind::Conflict, Retry::Here, CONFLICTS_LAST);
/// What stands under the VM's name is not what we meant, or is gone: the next attempt has a name of
/// its own.
const ANEW: Outcome = outcome(Kind::Conflict, Retry::Once, CONFLICTS_LAST);
/// The block that the VM was meant for is not there any more: it is filled anew, as another life.
pub(super) const VANISHED: Outcome = outcome(Kind::Conflict, Retry::Elsewhere, CONFLICTS_LAST);
/// The image, or what the VM is told, is wrong: a person must mend it, also where nobody noticed
/// that it was changed.
const BOOT: Outcome = outcome(Kind::Configuration, Retry::Never, BOOTS_LAST);
/// Azure's fault.
const FAULT: Outcome = outcome(Kind::Azure, Retry::Once, FAULTS_LAST);
/// A site that cannot be used from here: another place is not touched by that.
const AWAY: Outcome = outcome(Kind::Azure, Retry::Elsewhere, FAULTS_LAST);
/// No hold comes of a throttle; the length is what to wait where Azure does not say.
const LATER: Outcome = outcome(Kind::Throttled, Retry::Wait, CONFLICTS_LAST);

/// A status of 429.
pub(super) const THROTTLED: Failure = LATER.reaching(Reach::Vm);
/// A status of 401 or 403 with a code that we do not know.
pub(super) const FORBIDDEN: Failure = PERSON.reaching(Reach::Site);
/// A status of 5xx with a code that we do not know, for a PUT.
pub(super) const FAULT_HERE: Failure = FAULT.reaching(Reach::SkuHere);
/// The same for a question.
pub(super) const FAULT_OF_A_POLL: Failure =
    outcome(Kind::Azure, Retry::Here, FAULTS_LAST).reaching(Reach::Vm);
/// What was asked about is not there.
pub(super) const GONE: Failure = ANEW.reaching(Reach::Vm);
/// Anything else: as Azure's fault (FACTS §5).
pub(super) const UNKNOWN: Failure =
    outcome(Kind::Unknown, Retry::Once, FAULTS_LAST).reaching(Reach::Vm);

/// Code, meaning, how far it reaches, where it is from.
type Row = (&'static str, Outcome, Reach, &'static str);

/// Sorted by code without case. A star stands for any end, or any beginning, of a code; a row
/// without a star goes before.
const ROWS: [Row; 130] = [
    ("*CountLimitReached", QUOTA, Reach::Site, "svc"),
    ("AllocationFailed", ROOM, Reach::Cluster, "F5"),
    ("AnotherOperationInProgress", CONFLICT, Reach::Vm, "F5"),
    ("AppendPoliciesFieldsExist", PERSON, Reach::Site, "svc"),
    ("ApplicationGatewaySubnetCannotBeUsedByOtherResources", PERSON, Reach::Subnet, "svc"),
    ("AttachDiskWhileBeingDetached", CONFLICT, Reach::Vm, "vm"),
    ("AuthenticationFailed", PERSON, Reach::Site, "old"),
    ("AuthorizationFailed", PERSON, Reach::Site, "F5"),
    ("AvailabilityZoneNotSupported", PERSON, Reach::SkuHere, "seen"),
    ("AzureSpotFeatureNotEnabledForSubscription", PERSON, Reach::SpotRegion, "F5"),
    ("AzureSpotIsNotSupportedForThisAPIVersion", PERSON, Reach::Nodeset, "spot"),
    ("AzureSpotIsNotSupportedForThisVMSize", PERSON, Reach::Nodeset, "F5"),
    ("AzureSpotVMNotSupportedInAvailabilitySet", PERSON, Reach::Nodeset, "F5"),
    ("AzureSpotVMNotSupportedInVmssWithVMOrchestrationMode", PERSON, Reach::Nodeset, "F5"),
    (super::CODE_UNAVAILABLE, AWAY, Reach::Site, "us"),
    (super::CODE_UNREACHABLE, AWAY, Reach::Site, "us"),
    (super::CODE_BOOT_FAILURE, BOOT, Reach::Boot, "us"),
    ("Canceled", CONFLICT, Reach::Vm, "svc"),
    ("CanceledAndSupersededDueToAnotherOperation", CONFLICT, Reach::Vm, "svc"),
    (super::CODE_CONFIG_UNREADABLE, PERSON, Reach::Nodeset, "us"),
    ("Conflict", CONFLICT, Reach::Vm, "F5"),
    ("ConflictingAppendPolicies", PERSON, Reach::Site, "svc"),
    ("ConflictingUserInput", PERSON, Reach::Nodeset, "vm"),
    (super::CODE_CAP, QUOTA, Reach::Vm, "us"),
    ("CustomerDeniedServicePlanAccess", PERSON, Reach::Image, "svc"),
    ("DeploymentFailed", FAULT, Reach::Vm, "F2"),
    ("DiagnosticsOperationInternalError", FAULT, Reach::Vm, "vm"),
    ("DiskEncryption*", PERSON, Reach::Nodeset, "vm"),
    ("DiskEncryptionSet", PERSON, Reach::Nodeset, "svc"),
    ("DiskImageNotReady", CONFLICT, Reach::Image, "vm"),
    ("DiskPreparationError", FAULT, Reach::Vm, "vm"),
    ("DiskProcessingError", FAULT, Reach::Vm, "vm"),
    (super::CODE_EVICTED, ROOM, Reach::SkuHere, "us"),
    ("EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines", PERSON, Reach::Nodeset, "F5"),
    ("ExpiredAuthenticationToken", PERSON, Reach::Site, "seen"),
    ("FailedIdentityOperation", PERSON, Reach::Nodeset, "seen"),
    ("GalleryImageNotFound", PERSON, Reach::Image, "F5"),
    (super::CODE_GANG, OTHERS, Reach::Vm, "us"),
    ("ImageBlobNotFound", PERSON, Reach::Image, "vm"),
    ("ImageNotFound", PERSON, Reach::Image, "F5"),
    ("IncorrectImageBlobType", PERSON, Reach::Image, "vm"),
    ("InsufficientCapacity", ROOM, Reach::SkuHere, "F4"),
    ("InsufficientSubnetSize", QUOTA, Reach::Subnet, "F5"),
    ("InternalError", FAULT, Reach::Vm, "old"),
    ("InternalExecutionError", FAULT, Reach::Vm, "F5"),
    ("InternalOperationError", FAULT, Reach::Vm, "F5"),
    ("InternalServerError", FAULT, Reach::Vm, "F5"),
    ("InvalidAuthenticationToken", PERSON, Reach::Site, "seen"),
    ("InvalidAuthenticationTokenTenant", PERSON, Reach::Site, "arm"),
    ("InvalidPolicyParameters", PERSON, Reach::Site, "svc"),
    ("InvalidRequestContent", PERSON, Reach::Nodeset, "arm"),
    ("InvalidRequestFormat", PERSON, Reach::Nodeset, "F5"),
    ("InvalidResourceLocation", ANEW, Reach::Vm, "seen"),
    ("InvalidSubscriptionRegistrationState", PERSON, Reach::Site, "arm"),
    ("KeyVaultAccessForbidden", PERSON, Reach::Nodeset, "svc"),
    ("LinkedAuthorizationFailed", PERSON, Reach::Site, "F5"),
    ("LocationNotAvailableForResourceType", PERSON, Reach::Site, "seen"),
    ("LocationRequired", PERSON, Reach::Site, "arm"),
    ("MarketplacePurchaseEligibilityFailed", PERSON, Reach::Image, "F5"),
    ("MaxPriceChangeNotAllowed", ANEW, Reach::Vm, "spot"),
    ("MaxPriceChangeNotAllowedForAllocatedVMs", ANEW, Reach::Vm, "spot"),
    ("MaxPriceIsSupportedOnlyForAzureSpotVirtualMachines", PERSON, Reach::Nodeset, "spot"),
    ("MaxPriceValueInvalid", PERSON, Reach::Nodeset, "F5"),
    ("MissingRegistrationForLocation", PERSON, Reach::Site, "arm"),
    ("MissingRegistrationForType", PERSON, Reach::Site, "svc"),
    ("MissingSubscriptionRegistration", PERSON, Reach::Site, "arm"),
    ("MultipleErrorsOccurred", FAULT, Reach::Vm, "F2"),
    ("NetworkingInternalOperationError", FAULT, Reach::Vm, "F5"),
    ("NicReservedForAnotherVm", CONFLICT, Reach::Vm, "F5"),
    (super::CODE_NO_PLACE, OTHERS, Reach::Vm, "us"),
    ("NoRegisteredProviderFound", PERSON, Reach::Site, "arm"),
    ("NotAvailableForSubscription", PERSON, Reach::SkuSite, "aro"),
    (super::CODE_NO_TOKEN, AWAY, Reach::Site, "us"),
    ("NotSupported", PERSON, Reach::Nodeset, "vm"),
    ("OperationPreempted", CONFLICT, Reach::Vm, "F5"),
    ("OperationTimedOut", FAULT, Reach::Vm, "old"),
    ("OSProvisioning*", FAULT, Reach::Image, "F5"),
    ("OverconstrainedAllocationRequest", ROOM, Reach::Cluster, "F5"),
    ("OverconstrainedZonalAllocationRequest", ROOM, Reach::SkuHere, "F5"),
    ("ParentResourceNotFound", PERSON, Reach::Site, "F5"),
    ("PlatformImageNotFound", PERSON, Reach::Image, "seen"),
    ("PropertyChangeNotAllowed", ANEW, Reach::Vm, "F5"),
    (super::CODE_QUOTA_AHEAD, QUOTA, Reach::Vm, "us"),
    ("ReadOnlyDisabledSubscription", PERSON, Reach::Site, "svc"),
    (super::CODE_RECALLED, ANEW, Reach::Vm, "us"),
    ("ReferencedResourceNotProvisioned", CONFLICT, Reach::Vm, "F5"),
    ("RegionDoesNotAllowProvisioning", PERSON, Reach::Site, "arm"),
    ("RequestDisallowedByAzure", PERSON, Reach::Site, "seen"),
    ("RequestDisallowedByPolicy", PERSON, Reach::Site, "F5"),
    ("ReservedResourceName", PERSON, Reach::Vm, "arm"),
    ("ResourceDeploymentFailure", FAULT, Reach::Vm, "F2"),
    ("ResourceGroupBeingDeleted", PERSON, Reach::Site, "F5"),
    ("ResourceGroupNotFound", PERSON, Reach::Site, "F5"),
    ("ResourceGroupQuotaExceeded", QUOTA, Reach::Site, "svc"),
    ("ResourceNotPermittedOnDelegatedSubnet", PERSON, Reach::Subnet, "svc"),
    ("ResourceOperationFailure", FAULT, Reach::Vm, "F2"),
    ("ResourcePurchaseValidationFailed", PERSON, Reach::Image, "seen"),
    ("ResourceReadFailed", LATER, Reach::Vm, "F3"),
    ("ResourceRequestsThrottled", LATER, Reach::Vm, "F5"),
    ("ResourcesBeingMoved", CONFLICT, Reach::Site, "svc"),
    ("ResourceUpdateBlockedOnPlatformUpdate", CONFLICT, Reach::Vm, "vm"),
    ("RetryableError", CONFLICT, Reach::Vm, "F5"),
    ("RetryableErrorDueToAnotherOperation", CONFLICT, Reach::Vm, "F5"),
    ("ScopeLocked", PERSON, Reach::Site, "svc"),
    ("ServerBusy", FAULT, Reach::SkuHere, "old"),
    ("ServerTimeout", FAULT, Reach::Vm, "F2"),
    (super::CODE_NOT_RDMA, PERSON, Reach::Nodeset, "us"),
    (super::CODE_NOT_OFFERED, PERSON, Reach::SkuSite, "us"),
    ("SpotPriceGreaterThanProvidedMaxPrice", PRICE, Reach::Nodeset, "F5"),
    ("StorageAccountOperationInternalError", FAULT, Reach::Vm, "vm"),
    ("SubnetIsFull", QUOTA, Reach::Subnet, "F5"),
    ("SubnetWithExternalResourcesCannotBeUsedByOtherResources", PERSON, Reach::Subnet, "svc"),
    ("SubscriptionDisabled", PERSON, Reach::Site, "old"),
    ("SubscriptionNotAuthorizedForImage", PERSON, Reach::Image, "vm"),
    ("SubscriptionNotFound", PERSON, Reach::Site, "arm"),
    ("SubscriptionNotRegistered", PERSON, Reach::Site, "svc"),
    ("SubscriptionRequestsThrottled", LATER, Reach::Vm, "F5"),
    ("Throttled", LATER, Reach::Vm, "svc"),
    ("TooManyRequests", LATER, Reach::Vm, "F5"),
    (super::CODE_VANISHED, ANEW, Reach::Vm, "us"),
    ("VHDSizeInvalid", PERSON, Reach::Nodeset, "vm"),
    ("VMAgentStatusCommunicationError", FAULT, Reach::Vm, "vm"),
    ("VMArtifactRepositoryInternalError", FAULT, Reach::Vm, "vm"),
    ("VMExtension*", FAULT, Reach::Vm, "F5"),
    ("VMMarketplaceInvalidInput", PERSON, Reach::Nodeset, "F5"),
    ("VMNotFound", ANEW, Reach::Vm, "vm"),
    ("VMPriorityCannotBeApplied", PERSON, Reach::Nodeset, "F5"),
    ("VMSizeIsNotPermittedToEnableAcceleratedNetworking*", PERSON, Reach::Nodeset, "seen"),
    ("VMStartTimedOut", FAULT, Reach::Image, "F5"),
    ("ZonalAllocationFailed", ROOM, Reach::SkuHere, "F5"),
];

/// The row of a code; one without a star first.
pub(super) fn find(code: &str) -> Option<Failure> {
    let exact = ROWS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(code));
    let row = exact.or_else(|| ROWS.iter().find(|(known, ..)| is_like(known, code)));
    row.map(|(_, outcome, reach, _)| outcome.reaching(*reach))
}

/// Whether a code fits a pattern with a star at one end.
fn is_like(pattern: &str, code: &str) -> bool {
    let (pattern, code) = (pattern.to_ascii_lowercase(), code.to_ascii_lowercase());
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => code.ends_with(end),
        (None, Some(beginning)) => code.starts_with(beginning),
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What each code means, written a second time by meaning and not by code: `kind reach retry`,
    /// minutes of the first hold and of the longest, and the codes.
    const MEANINGS: &str = "
        Capacity Cluster Elsewhere 10 120: AllocationFailed OverconstrainedAllocationRequest
        Capacity SkuHere Elsewhere 10 120: ZonalAllocationFailed InsufficientCapacity Evicted \
            OverconstrainedZonalAllocationRequest
        Capacity Nodeset Elsewhere 60 240: SpotPriceGreaterThanProvidedMaxPrice
        Capacity Vm Elsewhere 0.5 5: GangIncomplete NoPlace
        Quota Subnet Elsewhere 5 60: SubnetIsFull InsufficientSubnetSize
        Quota Site Elsewhere 5 60: *CountLimitReached ResourceGroupQuotaExceeded
        Quota Vm Elsewhere 5 60: QuotaWouldBeExceeded CoresMaxReached
        Throttled Vm Wait 0.5 5: TooManyRequests SubscriptionRequestsThrottled \
            ResourceRequestsThrottled ResourceReadFailed Throttled
        Conflict Vm Here 0.5 5: Conflict AnotherOperationInProgress RetryableError \
            RetryableErrorDueToAnotherOperation ReferencedResourceNotProvisioned \
            NicReservedForAnotherVm OperationPreempted AttachDiskWhileBeingDetached \
            ResourceUpdateBlockedOnPlatformUpdate Canceled \
            CanceledAndSupersededDueToAnotherOperation
        Conflict Image Here 0.5 5: DiskImageNotReady
        Conflict Site Here 0.5 5: ResourcesBeingMoved
        Conflict Vm Once 0.5 5: PropertyChangeNotAllowed MaxPriceChangeNotAllowed \
            MaxPriceChangeNotAllowedForAllocatedVMs InvalidResourceLocation VMNotFound Vanished \
            Recalled
        Configuration Nodeset Never 15 60: InvalidRequestFormat InvalidRequestContent \
            VMMarketplaceInvalidInput AzureSpotVMNotSupportedInAvailabilitySet \
            AzureSpotIsNotSupportedForThisVMSize AzureSpotIsNotSupportedForThisAPIVersion \
            AzureSpotVMNotSupportedInVmssWithVMOrchestrationMode MaxPriceValueInvalid \
            MaxPriceIsSupportedOnlyForAzureSpotVirtualMachines VMPriorityCannotBeApplied \
            EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines NotSupported \
            ConflictingUserInput VHDSizeInvalid DiskEncryption* DiskEncryptionSet \
            KeyVaultAccessForbidden VMSizeIsNotPermittedToEnableAcceleratedNetworking* \
            FailedIdentityOperation ConfigUnreadable SkuHasNoInfiniBand
        Configuration SpotRegion Never 15 60: AzureSpotFeatureNotEnabledForSubscription
        Configuration Image Never 15 60: ImageNotFound GalleryImageNotFound \
            PlatformImageNotFound MarketplacePurchaseEligibilityFailed \
            ResourcePurchaseValidationFailed SubscriptionNotAuthorizedForImage \
            ImageBlobNotFound IncorrectImageBlobType CustomerDeniedServicePlanAccess
        Configuration Vm Never 15 60: ReservedResourceName
        Configuration SkuHere Never 15 60: AvailabilityZoneNotSupported
        Configuration SkuSite Never 15 60: NotAvailableForSubscription SkuNotOffered
        Configuration Subnet Never 15 60: ResourceNotPermittedOnDelegatedSubnet \
            ApplicationGatewaySubnetCannotBeUsedByOtherResources \
            SubnetWithExternalResourcesCannotBeUsedByOtherResources
        Configuration Site Never 15 60: AuthorizationFailed LinkedAuthorizationFailed \
            RequestDisallowedByPolicy ParentResourceNotFound ResourceGroupNotFound \
            ResourceGroupBeingDeleted InvalidAuthenticationTokenTenant \
            InvalidSubscriptionRegistrationState LocationRequired \
            MissingRegistrationForLocation MissingSubscriptionRegistration \
            NoRegisteredProviderFound RegionDoesNotAllowProvisioning SubscriptionNotFound \
            AppendPoliciesFieldsExist ConflictingAppendPolicies InvalidPolicyParameters \
            MissingRegistrationForType ReadOnlyDisabledSubscription ScopeLocked \
            SubscriptionNotRegistered RequestDisallowedByAzure InvalidAuthenticationToken \
            ExpiredAuthenticationToken LocationNotAvailableForResourceType \
            AuthenticationFailed SubscriptionDisabled
        Configuration Boot Never 15 240: BootFailure
        Azure Vm Once 2 30: InternalExecutionError InternalServerError InternalError \
            NetworkingInternalOperationError InternalOperationError VMExtension* \
            MultipleErrorsOccurred ServerTimeout DeploymentFailed ResourceOperationFailure \
            ResourceDeploymentFailure DiagnosticsOperationInternalError DiskPreparationError \
            DiskProcessingError StorageAccountOperationInternalError OperationTimedOut \
            VMAgentStatusCommunicationError VMArtifactRepositoryInternalError
        Azure SkuHere Once 2 30: ServerBusy
        Azure Image Once 2 30: OSProvisioning* VMStartTimedOut
        Azure Site Elsewhere 2 30: AzureUnreachable NoToken AzureUnavailable
    ";

    fn minutes(length: Duration) -> String {
        (length.as_secs_f64() / 60.0).to_string()
    }

    #[test]
    fn each_row_of_the_table_means_what_the_facts_say() {
        let mut told = BTreeSet::new();
        for line in MEANINGS.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (meaning, codes) = line.split_once(": ").unwrap();
            for code in codes.split_whitespace() {
                let failure = find(&code.replace('*', "Zzz")).expect(code);
                let Failure { kind, reach, retry, hold, hold_max } = failure;
                let (hold, hold_max) = (minutes(hold), minutes(hold_max));
                let found = format!("{kind:?} {reach:?} {retry:?} {hold} {hold_max}");
                assert_eq!(found, meaning, "{code}");
                assert!(told.insert(code), "{code} stands twice");
            }
        }
        let known: BTreeSet<&str> = ROWS.iter().map(|(code, ..)| *code).collect();
        assert_eq!(told, known);
    }

    #[test]
    fn the_table_is_sorted_and_names_its_sources() {
        let codes: Vec<String> = ROWS.iter().map(|(code, ..)| code.to_ascii_lowercase()).collect();
        assert!(codes.is_sorted(), "{codes:#?}");
        let sources =
            ["F2", "F3", "F4", "F5", "vm", "arm", "spot", "old", "svc", "aro", "seen", "us"];
        for (code, .., source) in ROWS {
            assert!(sources.contains(&source), "{code}: {source}");
        }
    }

    #[test]
    fn a_code_has_no_case_and_a_row_without_a_star_goes_before() {
        // "OverConstrained…" is how Microsoft's own list writes it.
        assert_eq!(
            find("OverConstrainedAllocationRequest"),
            find("OverconstrainedAllocationRequest")
        );
        assert_eq!(find("VMExtensionProvisioningTimeout").map(|f| f.kind), Some(Kind::Azure));
        assert_eq!(find("PublicIPCountLimitReached").map(|f| f.reach), Some(Reach::Site));
        for code in ["", "*", "VMExtens", "CountLimitReachedNot", "Ä", "AllocationFailed "] {
            assert_eq!(find(code), None, "{code:?}");
        }
        assert!(is_like("a*", "Ab") && !is_like("Ab", "Ab"));
    }

    #[test]
    fn a_hold_never_begins_longer_than_it_may_become() {
        for (code, Outcome { hold, hold_max, .. }, ..) in ROWS {
            assert!(hold <= hold_max, "{code}");
        }
    }
}
