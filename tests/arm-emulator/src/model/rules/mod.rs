//! The bodies that Azure refuses: one table, one row per rule, each with its source. A rule looks
//! at the body, at what it refers to and at the VM that is there already; the first that objects
//! gives the answer. Quota, room and addresses are not here: they depend on what else exists.

mod change;
mod image;
mod names;
mod network;
mod placement;
mod shape;
mod spot;

#[cfg(test)]
mod tests;

use super::Model;
use super::ids::ResourceId;
use super::message::ArmError;
use super::resources::Vm;
use super::vm_body::VmPut;

/// What a rule looks at.
pub(super) struct Case<'a> {
    /// The VM's id.
    pub id: &'a ResourceId,
    /// The body.
    pub put: &'a VmPut,
    /// The api-version of the call.
    pub version: &'a str,
    /// Everything else.
    pub model: &'a Model,
    /// The VM, if it exists.
    pub existing: Option<&'a Vm>,
}

/// An objection: what is meant, and the text.
pub(super) struct Objection {
    target: Option<String>,
    text: String,
}

impl Objection {
    fn new(text: impl Into<String>) -> Objection {
        Objection { target: None, text: text.into() }
    }

    fn to(target: &str, text: impl Into<String>) -> Objection {
        Objection { target: Some(target.to_owned()), text: text.into() }
    }
}

/// A row of the table.
struct Rule {
    /// Name, for the test that has a row for each.
    name: &'static str,
    /// HTTP status and Azure's code.
    refusal: (u16, &'static str),
    /// The objection, if there is one.
    objects: fn(&Case) -> Option<Objection>,
}

const fn rule(
    name: &'static str,
    refusal: (u16, &'static str),
    objects: fn(&Case) -> Option<Objection>,
) -> Rule {
    Rule { name, refusal, objects }
}

/// Refuses a body as Azure does.
///
/// # Errors
/// The first objection.
pub(super) fn check(case: &Case) -> Result<(), Box<ArmError>> {
    for rule in RULES {
        if let Some(objection) = (rule.objects)(case) {
            let (status, code) = rule.refusal;
            tracing::debug!(rule = rule.name, vm = case.id.name, "body refused");
            let mut error = ArmError::new(status, code, objection.text);
            error.target = objection.target;
            return Err(Box::new(error));
        }
    }
    Ok(())
}

const BAD: (u16, &str) = (400, "InvalidParameter");
const CONTENT: (u16, &str) = (400, "InvalidRequestContent");
const CHANGED: (u16, &str) = (409, "PropertyChangeNotAllowed");
const REFERENCE: (u16, &str) = (400, "InvalidResourceReference");
const NOT_ALLOWED: (u16, &str) = (409, "OperationNotAllowed");

/// The table, in the order in which Azure would notice: shape, names, image, disks, network, Spot,
/// placement, changes. The comment before each row or group is its source.
static RULES: &[Rule] = &[
    // Resource Manager reads strictly ("Could not find member"): general knowledge, code
    // UNVERIFIED.
    rule("unknown-member", CONTENT, shape::unknown_member),
    // FACTS §1.1: deleteOption and userData from 2021-03-01, maxPrice from 2019-03-01, capacity
    // reservation from 2021-04-01, NvmeDisk with 2024-11-01 and not in 2023-09-01.
    rule("member-of-later-version", CONTENT, shape::member_of_later_version),
    // LEARN: Naming rules (FACTS §1.1).
    rule("vm-name", (400, "InvalidResourceName"), names::vm_name),
    // SPEC: hardwareProfile.vmSize; the text is compute's.
    rule("size-missing", BAD, shape::size_missing),
    rule("size-unknown", BAD, shape::size_unknown),
    // SKU API: a restricted size answers as if out of capacity (FACTS §5).
    rule("size-retired", (409, "SkuNotAvailable"), shape::size_retired),
    rule("size-restricted", (409, "SkuNotAvailable"), shape::size_restricted),
    // Resource Manager knows the regions.
    rule("region-unknown", (400, "LocationNotAvailableForResourceType"), shape::region_unknown),
    // FACTS §1.1: ≤ 64 for Linux, hostname rules FACTS §11.
    rule("computer-name-missing", BAD, names::computer_name_missing),
    rule("computer-name", BAD, names::computer_name),
    // FACTS §1.1 (REC: 400 InvalidParameter, target adminUsername).
    rule("admin-name-missing", BAD, names::admin_name_missing),
    rule("admin-name-banned", BAD, names::admin_name_banned),
    // SPEC: with password authentication disabled a key is required.
    rule("no-way-in", BAD, names::no_way_in),
    rule("ssh-key", BAD, names::ssh_key),
    // FACTS §1.1: base64, ≤ 65535 bytes before encoding.
    rule("custom-data", BAD, names::custom_data),
    rule("user-data", BAD, names::user_data),
    // FACTS §1.1: notBeforeTimeout PT5M–PT15M, extensionsTimeBudget PT15M–PT120M.
    rule("durations", BAD, shape::durations),
    // SPEC: tags ≤ 50, names ≤ 512, values ≤ 256.
    rule("tags", (400, "InvalidTags"), names::tags),
    // FACTS §1.1, §5.
    rule("image-missing", BAD, image::missing),
    rule("image-unknown", (404, "ImageNotFound"), image::unknown),
    rule("gallery-image-unknown", (404, "GalleryImageNotFound"), image::unknown_in_gallery),
    rule("plan-missing", (400, "VMMarketplaceInvalidInput"), image::plan_missing),
    // FACTS §5; the text is that of `az vm create` without `az vm image terms accept`.
    rule(
        "terms-not-accepted",
        (400, "MarketplacePurchaseEligibilityFailed"),
        image::terms_not_accepted,
    ),
    // CD:virtual-machines/generation-2.md; the text is compute's.
    rule("image-generation", (400, "BadRequest"), image::generation),
    // The text is compute's, seen in public issues; code UNVERIFIED.
    rule("image-architecture", (400, "BadRequest"), image::architecture),
    // FACTS §1.1 "Ephemeral OS disk".
    rule("ephemeral-size", BAD, image::ephemeral_not_supported),
    rule("ephemeral-caching", BAD, image::ephemeral_caching),
    rule("ephemeral-placement", BAD, image::ephemeral_placement),
    rule("ephemeral-too-large", BAD, image::ephemeral_too_large),
    rule("ephemeral-detach", BAD, image::ephemeral_detach),
    // SPEC: storageAccountType; deleteOption.
    rule("disk-words", BAD, image::disk_words),
    // FACTS §1.1 "NIC inline", "NIC separate".
    rule("no-nic", BAD, network::no_nic),
    rule("inline-nic-version", BAD, network::inline_version),
    rule("both-kinds-of-nic", BAD, network::both_kinds),
    rule("inline-nic-static-address", CONTENT, network::inline_static_address),
    rule(
        "accelerated-networking",
        (400, "VMSizeDoesntSupportAcceleratedNetworking"),
        network::accelerated,
    ),
    // CD:virtual-machines/error-codes-spot.md (FACTS §5).
    rule(
        "eviction-policy-without-spot",
        (409, "EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines"),
        spot::policy_without_spot,
    ),
    rule("max-price-without-spot", (409, "MaxPriceValueInvalid"), spot::price_without_spot),
    rule("max-price-invalid", (409, "MaxPriceValueInvalid"), spot::price_invalid),
    rule("max-price-too-low", (409, "SpotPriceGreaterThanProvidedMaxPrice"), spot::price_too_low),
    rule("spot-size", (409, "AzureSpotIsNotSupportedForThisVMSize"), spot::size),
    rule("spot-in-set", (409, "AzureSpotVMNotSupportedInAvailabilitySet"), spot::in_set),
    // FACTS §1.1 "Placement members", §6.
    rule("zone-unknown", (400, "InvalidAvailabilityZone"), placement::zone_unknown),
    rule("zones-and-set", BAD, placement::zones_and_set),
    rule("set-and-scale-set", BAD, placement::set_and_scale_set),
    rule("set-missing", REFERENCE, placement::set_missing),
    rule("set-unfit", NOT_ALLOWED, placement::set_unfit),
    rule("placement-missing", REFERENCE, placement::group_missing),
    rule("placement-unfit", NOT_ALLOWED, placement::group_unfit),
    // VMs attach only to Flexible sets, which the emulator does not keep: none is ever found.
    rule("scale-set-unknown", REFERENCE, placement::scale_set_unknown),
    rule("reservation-unknown", (404, "ResourceNotFound"), placement::reservation_unknown),
    // FACTS §1.1: 409 for an immutable property; ephemeral disks allow no resize.
    rule("immutable-property", CHANGED, change::immutable),
    rule("resize-of-ephemeral", NOT_ALLOWED, change::resize_of_ephemeral),
];
