//! Images, plans, identities, reservations.

use azslurm_azure::{ImageSeen, Reservation};
use azslurm_core::config::Plan;
use azslurm_program::check::Finding;
use azslurm_program::check::Level::{Error, Note, Warning};

use super::super::Seen;
use super::{found, one, refusal};

const SAME: (&str, &str) = ("", "");
const SSH: &str = "ssh_public_key_file = \"/k\"\n[nodeset.hb]";
const PLAN: &str = "image_plan = \"acme:hpc:nine\"";

fn keys(more: &str) -> String {
    format!("ssh_public_key_file = \"/k\"\n{more}\n[nodeset.hb]")
}

fn with(change: impl FnOnce(&mut ImageSeen)) -> Vec<Finding> {
    with_keys("", change)
}

fn with_keys(more: &str, change: impl FnOnce(&mut ImageSeen)) -> Vec<Finding> {
    found((SSH, &keys(more)), |seen| {
        change(super::image(seen));
        super::terms(seen, Ok(Some(true)));
    })
}

fn plan() -> Plan {
    Plan { publisher: "acme".into(), product: "hpc".into(), name: "nine".into() }
}

#[test]
fn an_image_that_does_not_exist_is_an_error() {
    let findings = found(SAME, |seen| {
        seen.images.insert("n".parse().unwrap(), Ok(None));
    });
    let words = ["nodeset n", "image almalinux:almalinux-x86_64:9-gen2:latest does not exist"];
    one(&findings, Error, &words, "image");
}

#[test]
fn an_image_that_may_not_be_read_is_a_note_that_names_the_action() {
    let findings = found(SAME, |seen| {
        seen.images.insert("n".parse().unwrap(), Err(refusal(403, "AuthorizationFailed")));
    });
    one(&findings, Note, &["image almalinux", "cannot be read"], "");
    assert!(findings[0].fix.as_ref().unwrap().contains("artifacttypes/offers/skus/versions/read"));
}

#[test]
fn an_image_that_is_not_in_the_region_is_an_error() {
    let findings = with(|image| image.is_in_region = Some(false));
    one(&findings, Error, &["is not in westeurope"], "image");
}

#[test]
fn an_image_of_a_generation_that_the_size_does_not_boot_is_an_error() {
    let findings = with(|image| image.generation = Some("V3".into()));
    let words = ["is of generation 3", "Standard_D4s_v5 boots generation 1, 2 only"];
    one(&findings, Error, &words, "image");
}

#[test]
fn an_image_of_another_architecture_than_the_size_is_an_error() {
    let findings = with(|image| image.architecture = Some("Arm64".into()));
    one(&findings, Error, &["is Arm64, and Standard_D4s_v5 is x64"], "image");
}

#[test]
fn an_image_that_ends_is_a_warning_and_one_that_has_ended_an_error() {
    let findings = with(|image| image.retires = Some("2027-01-31T00:00:00Z".into()));
    one(&findings, Warning, &["ends on 2027-01-31"], "image");
    let findings = with(|image| image.retires = Some("2026-01-31T00:00:00Z".into()));
    one(&findings, Error, &["has ended on 2026-01-31"], "image");
}

#[test]
fn a_plan_that_the_nodeset_does_not_name_is_an_error_with_the_line_to_write() {
    let findings = with(|image| image.plan = Some(plan()));
    one(&findings, Error, &["has a purchase plan, and the nodeset names none"], "");
    assert_eq!(findings[0].fix.as_deref(), Some(PLAN));
}

#[test]
fn a_plan_other_than_the_image_s_is_an_error() {
    let other = "image_plan = \"acme:hpc:eight\"";
    let findings = with_keys(other, |image| image.plan = Some(plan()));
    one(&findings, Error, &["has another purchase plan"], "");
    assert_eq!(with_keys(PLAN, |image| image.plan = Some(plan())), []);
}

#[test]
fn a_plan_of_an_image_that_has_none_is_a_warning() {
    let findings = with_keys(PLAN, |_| ());
    one(&findings, Warning, &["has no purchase plan, and image_plan is acme:hpc:nine"], "");
}

fn with_terms(terms: Seen<Option<bool>>) -> Vec<Finding> {
    found((SSH, &keys(PLAN)), |seen| {
        super::image(seen).plan = Some(plan());
        super::terms(seen, terms);
    })
}

#[test]
fn terms_that_are_not_accepted_are_an_error_with_the_command() {
    let findings = with_terms(Ok(Some(false)));
    one(&findings, Error, &["terms of plan acme:hpc:nine are not accepted"], "");
    let fix = findings[0].fix.as_ref().unwrap();
    let words = "az vm image terms accept --publisher acme --offer hpc --plan nine";
    assert!(fix.contains(words), "{fix}");
}

#[test]
fn a_plan_that_nobody_knows_is_an_error() {
    one(&with_terms(Ok(None)), Error, &["there is no such plan"], "");
}

#[test]
fn terms_that_may_not_be_read_are_a_note() {
    let findings = with_terms(Err(refusal(403, "AuthorizationFailed")));
    one(&findings, Note, &["terms of plan acme:hpc:nine cannot be read"], "");
}

const ID: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/hpc/providers/\
    Microsoft.ManagedIdentity/userAssignedIdentities/node";
const RESERVED: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/hpc/\
    providers/Microsoft.Compute/capacityReservationGroups/r";

#[test]
fn an_identity_of_vms_that_does_not_exist_is_an_error() {
    let more = format!("identities = [\"{ID}\"]");
    let with = |seen_as: Seen<Option<()>>| {
        found((SSH, &keys(&more)), |seen| {
            seen.identities.insert(ID.into(), seen_as);
        })
    };
    assert_eq!(with(Ok(Some(()))), []);
    one(&with(Ok(None)), Error, &["userAssignedIdentities/node does not exist"], "");
    let refused = with(Err(refusal(403, "AuthorizationFailed")));
    one(&refused, Note, &["userAssignedIdentities/node cannot be read"], "");
}

#[test]
fn a_reservation_that_does_not_exist_or_is_elsewhere_is_an_error() {
    let more = format!("capacity_reservation_group = \"{RESERVED}\"");
    let with = |there: Seen<Option<Reservation>>| {
        found((SSH, &keys(&more)), |seen| {
            seen.reservations.insert(RESERVED.into(), there);
        })
    };
    let at = |location: &str| {
        Ok(Some(Reservation { location: location.into(), ..Reservation::default() }))
    };
    assert_eq!(with(at("westeurope")), []);
    one(&with(Ok(None)), Error, &["capacityReservationGroups/r does not exist"], "");
    let elsewhere = with(at("northeurope"));
    one(&elsewhere, Error, &["is in northeurope, and the VMs are in westeurope"], "");
}

#[test]
fn a_reservation_in_other_zones_than_the_vms_is_an_error() {
    let with = |zones: &str, theirs: &[&str]| {
        let more = format!("capacity_reservation_group = \"{RESERVED}\"\nzones = {zones}");
        let zones = theirs.iter().map(|zone| (*zone).to_owned()).collect();
        let there = Reservation { location: "westeurope".into(), zones };
        found((SSH, &keys(&more)), |seen| {
            seen.reservations.insert(RESERVED.into(), Ok(Some(there)));
        })
    };
    assert_eq!(with("[\"2\"]", &["1", "2"]), []);
    let other = with("[\"3\"]", &["1", "2"]);
    one(&other, Error, &["is in zone 1, 2, and the VMs are in zone 3"], "");
    let regional = with("[]", &["1"]);
    one(&regional, Error, &["is in zone 1, and the VMs are in no zone"], "");
    assert_eq!(regional[0].fix.as_deref(), Some("zones = [\"1\"]"));
    one(&with("[\"1\"]", &[]), Error, &["is in no zone, and the VMs are in zone 1"], "");
}

#[test]
fn a_reservation_for_blocks_with_infiniband_is_an_error() {
    let more = format!("block_nodes = 4\ncapacity_reservation_group = \"{RESERVED}\"");
    let findings = found(("block_nodes = 4", &more), |_| ());
    one(&findings, Error, &["nodeset hb", "cannot serve blocks with InfiniBand"], "");
}
