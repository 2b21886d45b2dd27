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
