//! Quotas and caps.

use azslurm_program::check::Finding;
use azslurm_program::check::Level::{Error, Note, Warning};

use super::{found, one, quota, refusal};

const SAME: (&str, &str) = ("", "");

fn with(name: &str, numbers: (u64, u64)) -> Vec<Finding> {
    found(SAME, |seen| quota(seen, name, numbers))
}

#[test]
fn a_family_quota_below_all_nodes_is_a_warning_with_the_numbers() {
    let findings = with("standardHBv3Family", (0, 700));
    let words = ["quota standardHBv3Family of westeurope", "is 700 cores", "need 960"];
    one(&findings, Warning, &words, "nodes = \"hb");
    assert!(findings[0].fix.as_ref().unwrap().contains("ask for more of quota"));
}

#[test]
fn a_family_quota_below_one_block_is_an_error() {
    let findings = with("standardHBv3Family", (0, 479));
    let words = ["479 for this cluster", "one block of nodeset hb (4 nodes) needs 480"];
    one(&findings, Error, &words, "sku = \"Standard_HB120rs_v3\"");
}

#[test]
fn a_quota_of_nothing_is_an_error() {
    let findings = with("standardDSv5Family", (0, 0));
    let words = ["standardDSv5Family", "is 0 cores", "one node of nodeset n needs 4"];
    one(&findings, Error, &words, "sku = \"Standard_D4s_v5\"");
}

#[test]
fn all_cores_of_the_region_count_for_all_nodesets_together() {
    let findings = with("cores", (0, 990));
    one(&findings, Warning, &["quota cores", "nodes of hb, n need 1000"], "nodes");
}

#[test]
fn what_others_use_is_not_there_and_what_is_ours_is() {
    let findings = with("standardHBv3Family", (600, 960));
    one(&findings, Error, &["of which others use 600", "360 for this cluster"], "sku");
    let findings = found(SAME, |seen| {
        quota(seen, "standardHBv3Family", (600, 960));
        quota(seen, "cores", (600, 1000));
        seen.ours = Ok([("hb".parse().unwrap(), 5)].into());
    });
    assert_eq!(findings, []);
}

#[test]
fn a_constrained_size_counts_the_cores_of_the_whole_one() {
    let sku = ("Standard_HB120rs_v3", "Standard_HB120-16rs_v3");
    let findings = found(sku, |seen| {
        let size = &mut seen.sizes.as_mut().unwrap()[1];
        (size.name, size.vcpus_available) = ("Standard_HB120-16rs_v3".into(), 16);
        quota(seen, "standardHBv3Family", (0, 400));
    });
    one(&findings, Error, &["needs 480"], "sku");
}

#[test]
fn spot_has_a_quota_of_its_own_and_needs_no_other() {
    let keys = "ssh_public_key_file = \"/k\"\npriority = \"spot\"\n[nodeset.hb]";
    let spot = ("ssh_public_key_file = \"/k\"\n[nodeset.hb]", keys);
    let findings = found(spot, |seen| {
        quota(seen, "standardDSv5Family", (0, 0));
        quota(seen, "lowPriorityCores", (0, 20));
    });
    let words = ["quota lowPriorityCores", "20 for this cluster", "need 40"];
    one(&findings, Warning, &words, "nodes = \"n");
}

#[test]
fn a_quota_of_vms_below_all_nodes_is_a_warning() {
    one(&with("virtualMachines", (0, 17)), Warning, &["virtualMachines", "need 18"], "nodes");
}

#[test]
fn a_quota_of_availability_sets_that_is_used_up_is_an_error() {
    let findings = with("availabilitySets", (2500, 2500));
    one(&findings, Error, &["availabilitySets", "0 for this cluster"], "sku");
}

#[test]
fn quotas_that_cannot_be_read_are_a_note_and_nothing_else() {
    let findings = found(SAME, |seen| seen.usages = Err(refusal(403, "AuthorizationFailed")));
    one(&findings, Note, &["the quotas of westeurope cannot be read"], "");
    assert!(findings[0].fix.as_ref().unwrap().contains("Microsoft.Compute/locations/usages/read"));
}

fn capped(cap: u64) -> String {
    format!("resource_group = \"hpc\"\ncores_max = {cap}\n")
}

#[test]
fn a_cap_of_a_site_bounds_what_is_needed_of_a_quota() {
    let findings = found(("resource_group = \"hpc\"\n", &capped(800)), |seen| {
        quota(seen, "cores", (0, 900));
        quota(seen, "standardHBv3Family", (0, 800));
    });
    assert_eq!(findings, []);
}

#[test]
fn a_cap_of_a_site_beyond_the_quota_is_a_note() {
    let findings = found(("resource_group = \"hpc\"\n", &capped(2000)), |_| ());
    one(&findings, Note, &["cores_max of site west is 2000", "no more than 1000"], "");
}
