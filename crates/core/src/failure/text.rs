//! Codes that mean several things: their text decides.
//!
//! The texts are those of Microsoft's "Azure VM error messages" and of reports; each rule looks for
//! the few words that carry the meaning, in lower case, and not for a whole sentence.

use super::table::{CONFLICT, PERSON, QUOTA, ROOM, VANISHED, ZERO_QUOTA};
use super::{Failure, Moment, Reach, quota_says};
use crate::attempt::AzureSays;

/// Understands a code whose text decides; `None`: it is not one of them, or says nothing here.
pub(super) fn understand(moment: Moment, says: &AzureSays) -> Option<Failure> {
    let text = says.text.to_ascii_lowercase();
    match says.code.to_ascii_lowercase().as_str() {
        "operationnotallowed" => Some(operation_not_allowed(&says.text, &text)),
        "quotaexceeded" | "resourcequotaexceeded" => Some(quota(&says.text)),
        "skunotavailable" => Some(sku_not_available(&text)),
        "badrequest"
        | "invalidparameter"
        | "invalidresourcereference"
        | "linkedinvalidpropertyid" => Some(of_the_request(&text)),
        "notfound" | "resourcenotfound" => match moment {
            Moment::Put(_) | Moment::Operation => Some(of_the_request(&text)),
            // What was asked about is not there.
            Moment::Poll(_) => None,
        },
        _other => None,
    }
}

/// Quota, or a conflict of states, or one of the few errors of settings that have this code too.
fn operation_not_allowed(text: &str, lower: &str) -> Failure {
    if quota_says(text).is_some() {
        return quota(text);
    }
    if is_room_in_a_cluster(lower) {
        return ROOM.reaching(Reach::Cluster);
    }
    let is_of_the_image = lower.contains("on image") && lower.contains("marked for deletion");
    if is_of_the_image {
        return PERSON.reaching(Reach::Image);
    }
    let is_of_the_disks = lower.contains("data disks are allowed to be attached")
        || (lower.contains("disk") && lower.contains("smaller than"));
    if is_of_the_disks {
        return PERSON.reaching(Reach::Nodeset);
    }
    CONFLICT.reaching(Reach::Vm)
}

fn quota(text: &str) -> Failure {
    let quota = quota_says(text).unwrap_or_default();
    let name = quota.name.unwrap_or_default().to_ascii_lowercase();
    let reach = match name.as_str() {
        "lowprioritycores" => Reach::SpotRegion,
        "cores" => Reach::Cores,
        family if family.ends_with("family") => Reach::Family,
        // Without a name it is not known what else would meet it.
        _other => Reach::SkuSite,
    };
    let outcome = if quota.limit == Some(0) { ZERO_QUOTA } else { QUOTA };
    outcome.reaching(reach)
}

/// Room, whether it lists sizes ("Following SKUs have failed for Capacity Restrictions: A, B") or
/// not, but for a restriction of the subscription.
fn sku_not_available(text: &str) -> Failure {
    if text.contains("notavailableforsubscription") {
        return PERSON.reaching(Reach::SkuSite);
    }
    ROOM.reaching(Reach::SkuHere)
}

/// Something that the request holds or names. A block that has vanished, or has no room, is no
/// fault of the nodeset's settings.
fn of_the_request(text: &str) -> Failure {
    let says_any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let is_missing = says_any(&["not found", "be found", "not exist"]);
    let names_a_block = says_any(&[
        "availabilityset",
        "availability set",
        "proximityplacementgroup",
        "proximity placement group",
    ]);
    if is_room_in_a_cluster(text) {
        return ROOM.reaching(Reach::Cluster);
    }
    if names_a_block && is_missing {
        return VANISHED.reaching(Reach::Cluster);
    }
    let is_not_offered = text.contains("not available in the current region")
        || (names_a_block && text.contains("not yet supported in this region"));
    if is_not_offered {
        return PERSON.reaching(Reach::SkuSite);
    }
    if says_any(&["/virtualnetworks/", "/subnets/", "networksecuritygroup"]) {
        return PERSON.reaching(Reach::Site);
    }
    let is_of_the_image = says_any(&["imagereference", "/images/", "/galleries/", "of images"])
        || (is_missing && text.contains("image"));
    PERSON.reaching(if is_of_the_image { Reach::Image } else { Reach::Nodeset })
}

/// A size that is not to be had where the VM is pinned (SUP Azure VM error messages,
/// cloudfoundry/bosh-azure-cpi-release#367).
fn is_room_in_a_cluster(text: &str) -> bool {
    let is_bound = text.contains("cluster") || text.contains("existing allocation unit");
    is_bound && text.contains("size") && text.contains("available in the")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{FailureKind, Retry, understand};

    const QUOTA_HB: &str = "results in exceeding approved standardHBv3Family Cores quota. \
                            Additional details - Deployment Model: Resource Manager, Location: \
                            westeurope, Current Limit: 240, Current Usage: 240, Additional \
                            Required: 120, (Minimum) New Limit Required: 360.";

    fn of(status: u16, code: &str, text: &str) -> String {
        let says = AzureSays { code: code.into(), text: text.into(), request_id: None };
        let Failure { kind, reach, retry, hold, .. } = understand(Moment::Put(status), &says);
        format!("{kind:?} {reach:?} {retry:?} {}", hold.as_secs())
    }

    #[test]
    fn a_throttle_and_a_quota_share_a_code_and_are_told_apart_by_the_status() {
        let code = "OperationNotAllowed";
        assert_eq!(of(409, code, QUOTA_HB), "Quota Family Elsewhere 300");
        // Compute's throttle (kubernetes/kubernetes#93796).
        let throttle = "The server rejected the request because too many requests have been \
                        received for this subscription.";
        assert_eq!(of(429, code, throttle), "Throttled Vm Wait 30");
        assert_eq!(of(429, code, QUOTA_HB), "Throttled Vm Wait 30");
    }

    #[test]
    fn the_quotas_name_says_how_far_it_reaches() {
        let quota = |name: &str| QUOTA_HB.replace("standardHBv3Family Cores", name);
        for code in ["OperationNotAllowed", "QuotaExceeded", "ResourceQuotaExceeded"] {
            for (name, expected) in [
                ("standardHBv3Family Cores", "Quota Family Elsewhere 300"),
                ("Total Regional Cores", "Quota Cores Elsewhere 300"),
                ("LowPriorityCores", "Quota SpotRegion Elsewhere 300"),
                ("Virtual Machines", "Quota SkuSite Elsewhere 300"),
            ] {
                assert_eq!(of(409, code, &quota(name)), expected, "{code} {name}");
            }
        }
        let old = "Operation results in exceeding quota limits of Core. Maximum allowed: 10, \
                   Current in use: 10, Additional requested: 2.";
        assert_eq!(of(409, "OperationNotAllowed", old), "Quota Cores Elsewhere 300");
        assert_eq!(of(403, "QuotaExceeded", "no more addresses"), "Quota SkuSite Elsewhere 300");
        let unnamed = "it results in exceeding approved quota. Current Limit: 4, Current Usage: 4";
        assert_eq!(of(409, "OperationNotAllowed", unnamed), "Quota SkuSite Elsewhere 300");
    }

    #[test]
    fn a_quota_of_0_waits_for_a_person_as_long_as_a_setting_does() {
        let zero = QUOTA_HB.replace("Current Limit: 240", "Current Limit: 0");
        assert_eq!(of(409, "OperationNotAllowed", &zero), "Quota Family Elsewhere 900");
        let ten = QUOTA_HB.replace("Current Limit: 240", "Current Limit: 0240");
        assert_eq!(of(409, "OperationNotAllowed", &ten), "Quota Family Elsewhere 300");
        let advice = |text: &str| {
            let says = AzureSays { text: text.into(), ..AzureSays::default() };
            crate::failure::advice(&says)
        };
        assert!(advice(&zero).is_some_and(|words| words.contains("the quota is 0")));
        assert_eq!(advice(QUOTA_HB), None);
    }

    #[test]
    fn other_texts_of_operation_not_allowed_are_conflicts_or_settings() {
        let code = "OperationNotAllowed";
        // REC; "Azure VM error messages".
        for text in [
            "Max price change is not allowed. For more information see https://aka.ms/x.",
            "Operation 'create' is not allowed on VM 'n-1' since the VM is marked for deletion.",
            "Cannot delete Availability Set s. Before deleting it, ensure that it contains no VM.",
            "",
        ] {
            assert_eq!(of(409, code, text), "Conflict Vm Here 30", "{text}");
        }
        let image = "Operation 'create' is not allowed on Image 'i' since the Image is marked for \
                     deletion. You can only retry the Delete operation.";
        assert_eq!(of(409, code, image), "Configuration Image Never 900");
        for text in [
            "A maximum of 4 data disks are allowed to be attached to a VM of this size.",
            "The size of disk is 30 GB, which is smaller than the size 64 GB of the corresponding \
             disk in Image. This is not allowed.",
        ] {
            assert_eq!(of(409, code, text), "Configuration Nodeset Never 900", "{text}");
        }
        let pinned = "Unable to add or update the VM. The requested VM size Standard_HB120rs_v3 \
                      may not be available in the existing allocation unit.";
        assert_eq!(of(409, code, pinned), "Capacity Cluster Elsewhere 600");
    }

    #[test]
    fn a_sku_that_is_not_available_is_room_unless_it_is_restricted() {
        for text in [
            // cb-spider#1558 and Karpenter: regular and Spot.
            "The requested VM size for resource 'Following SKUs have failed for Capacity \
             Restrictions: Standard_D4s_v5, Standard_D8s_v5' is currently not available in \
             location 'westus2'. Please try another size or deploy to a different location.",
            "The requested size for resource '/subscriptions/s/…/virtualMachines/n-1' is currently \
             not available in location 'eastus' zones '1' for subscription 's'.",
            "",
        ] {
            assert_eq!(
                of(409, "SkuNotAvailable", text),
                "Capacity SkuHere Elsewhere 600",
                "{text}"
            );
        }
        let restricted = "size is restricted: NotAvailableForSubscription";
        assert_eq!(of(409, "SkuNotAvailable", restricted), "Configuration SkuSite Never 900");
    }

    #[test]
    fn a_block_that_has_vanished_is_not_the_nodesets_fault() {
        for (status, code, text) in [
            // "Azure VM error messages".
            (404, "NotFound", "Availability Set c-hb-b1-7 cannot be found."),
            // ARM's words for whatever it does not know.
            (
                404,
                "ResourceNotFound",
                "The Resource 'Microsoft.Compute/availabilitySets/c-hb-b1-7' under resource group \
                 'g' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            ),
            (400, "InvalidParameter", "The entity was not found. (availabilitySet.id)"),
            (
                400,
                "InvalidResourceReference",
                "Resource /…/availabilitySets/s referenced by resource /…/virtualMachines/n-1 was \
                 not found. Please make sure that the referenced resource exists.",
            ),
            (400, "BadRequest", "Proximity placement group /…/p does not exist."),
        ] {
            assert_eq!(of(status, code, text), "Conflict Cluster Elsewhere 30", "{text}");
        }
    }

    #[test]
    fn a_block_without_room_is_no_setting_either() {
        for text in [
            // cloudfoundry/bosh-azure-cpi-release#367; "Azure VM error messages".
            "Unable to create the VM in availability set 's' because the requested size \
             Standard_A2_v2 is not available in the current hardware cluster. The available sizes \
             are: Standard_A1.",
            "Unable to create the VM because the requested size Standard_HB120rs_v3 is not \
             available in the cluster where the availability set is currently allocated.",
        ] {
            assert_eq!(
                of(400, "InvalidParameter", text),
                "Capacity Cluster Elsewhere 600",
                "{text}"
            );
        }
    }

    #[test]
    fn a_setting_reaches_as_far_as_what_it_names() {
        for (code, text, reach) in [
            // "Azure VM error messages".
            ("InvalidParameter", "The value of parameter adminUsername is invalid.", "Nodeset"),
            ("InvalidParameter", "A disk at LUN 0 already exists.", "Nodeset"),
            (
                "InvalidParameter",
                "The requested VM size Standard_X is not available in the current region. The \
                 sizes available in the current region are: Standard_A1.",
                "SkuSite",
            ),
            (
                "BadRequest",
                "'Aligned' Availability Sets are not yet supported in this region.",
                "SkuSite",
            ),
            ("NotFound", "Image i cannot be found.", "Image"),
            // Reported of marketplace images by many; AKS error article on subnets.
            (
                "InvalidParameter",
                "The following list of images referenced from the deployment template are not \
                 found: Publisher: Canonical, Offer: o, Sku: s, Version: latest. (imageReference)",
                "Image",
            ),
            (
                "InvalidResourceReference",
                "Resource /subscriptions/s/resourceGroups/g/providers/Microsoft.Network/\
                 virtualNetworks/v/subnets/x referenced by resource /…/networkInterfaces/n was not \
                 found.",
                "Site",
            ),
            (
                "LinkedInvalidPropertyId",
                "Property id '/x' at path 'identity' is invalid.",
                "Nodeset",
            ),
        ] {
            let expected = format!("Configuration {reach} Never 900");
            assert_eq!(of(400, code, text), expected, "{code}: {text}");
        }
    }

    #[test]
    fn what_a_poll_does_not_find_is_gone_and_no_setting() {
        for code in ["NotFound", "ResourceNotFound", ""] {
            let says = AzureSays { code: code.into(), ..AzureSays::default() };
            let failure = understand(Moment::Poll(404), &says);
            assert_eq!((failure.kind, failure.retry), (FailureKind::Conflict, Retry::Once));
        }
    }
}
