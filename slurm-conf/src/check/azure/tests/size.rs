//! Sizes: sold where, and able to what; and what they cost.

use std::collections::BTreeMap;

use azslurm_core::size::Size;
use azslurm_program::check::Finding;
use azslurm_program::check::Level::{Error, Note, Warning};

use super::{found, hb, one, plain, refusal};

const SAME: (&str, &str) = ("", "");
const SSH: &str = "ssh_public_key_file = \"/k\"\n[nodeset.hb]";

/// With another plain size, and further keys for its nodeset.
fn with(keys: &str, change: impl FnOnce(&mut Size)) -> Vec<Finding> {
    let keys = format!("ssh_public_key_file = \"/k\"\n{keys}\n[nodeset.hb]");
    let mut size = plain();
    change(&mut size);
    found((SSH, &keys), |seen| seen.sizes = Ok(vec![size, hb()]))
}

/// With another size of the blocks.
fn with_hb(change: impl FnOnce(&mut Size)) -> Vec<Finding> {
    let mut size = hb();
    change(&mut size);
    found(SAME, |seen| seen.sizes = Ok(vec![plain(), size]))
}

#[test]
fn a_size_that_the_region_does_not_know_is_an_error() {
    let findings = found(SAME, |seen| seen.sizes = Ok(vec![hb()]));
    let words = ["nodeset n at site west: Standard_D4s_v5 is not known in westeurope"];
    one(&findings, Error, &words, "sku = \"Standard_D4s_v5\"");
}

#[test]
fn a_size_that_the_subscription_may_not_use_is_an_error() {
    let findings = with_hb(|size| size.is_offered = false);
    one(&findings, Error, &["Standard_HB120rs_v3 is not offered", "westeurope"], "sku");
}

#[test]
fn sizes_that_cannot_be_read_are_a_note_and_nothing_else() {
    let findings = found(SAME, |seen| seen.sizes = Err(refusal(403, "AuthorizationFailed")));
    one(&findings, Note, &["the VM sizes of westeurope cannot be read"], "");
    assert!(findings[0].fix.as_ref().unwrap().contains("Microsoft.Compute/skus/read"));
}

#[test]
fn a_size_that_retires_is_a_warning_with_the_day_and_what_to_take_instead() {
    let sku = ("Standard_HB120rs_v3", "Standard_HB120rs_v2");
    let findings = found(sku, |seen| {
        let v2 = Size {
            name: "Standard_HB120rs_v2".into(),
            family: "standardHBrsv2Family".into(),
            ..hb()
        };
        seen.sizes = Ok(vec![plain(), v2]);
    });
    one(&findings, Warning, &["Standard_HB120rs_v2 retires on 2027-05-31"], "sku");
    assert!(findings[0].fix.as_ref().unwrap().contains("Standard_HB120rs_v3"));
}

#[test]
fn a_size_that_is_retired_is_an_error_whether_it_is_listed_or_not() {
    let sku = ("Standard_HB120rs_v3", "Standard_HB60rs");
    for is_listed in [true, false] {
        let findings = found(sku, |seen| {
            let old = Size {
                name: "Standard_HB60rs".into(),
                family: "standardHBSFamily".into(),
                is_offered: false,
                ..hb()
            };
            seen.sizes = Ok(if is_listed { vec![plain(), old] } else { vec![plain()] });
        });
        one(&findings, Error, &["Standard_HB60rs is retired"], "sku");
    }
}

#[test]
fn zones_in_a_region_without_them_are_an_error() {
    let findings = with("zones = [\"1\"]", |size| size.zones = Vec::new());
    one(&findings, Error, &["westeurope has it in no zone"], "");
}

#[test]
fn a_zone_that_is_closed_to_the_subscription_is_named_with_those_that_are_open() {
    let two = "zones = [\"1\", \"2\"]";
    assert_eq!(with(two, |_| ()), []);
    let findings = with(two, |size| size.zones_restricted = vec!["1".into()]);
    one(&findings, Warning, &["zone 1 of westeurope", "had in 2, 3"], "");
    assert_eq!(findings[0].fix.as_deref(), Some("zones = [\"2\", \"3\"]"));
    let findings = with("zones = [\"1\"]", |size| size.zones_restricted = vec!["1".into()]);
    one(&findings, Error, &["zone 1 of westeurope"], "");
}

#[test]
fn infiniband_on_a_size_without_it_is_an_error() {
    let findings = with_hb(|size| size.is_rdma = false);
    one(&findings, Error, &["Standard_HB120rs_v3 has no InfiniBand"], "interconnect");
}

#[test]
fn spot_of_a_size_that_is_not_sold_so_is_an_error() {
    let findings = with("priority = \"spot\"", |size| size.is_spot_capable = false);
    one(&findings, Error, &["Standard_D4s_v5 is not sold as Spot"], "");
}

#[test]
fn spot_in_a_cloud_that_has_none_is_an_error() {
    let text = super::good().replacen(SSH, &format!("priority = \"spot\"\n{SSH}"), 1);
    let findings = super::judge(&format!("[cloud]\nname = \"china\"\n{text}"), &super::world());
    one(&findings, Error, &["nodeset n wants Spot VMs, and Azure China has none"], "");
}

#[test]
fn accelerated_networking_on_a_size_without_it_is_an_error() {
    let findings = with("", |size| size.has_accelerated_networking = false);
    one(&findings, Error, &["has no accelerated networking"], "");
    let findings =
        with("accelerated_networking = false", |size| size.has_accelerated_networking = false);
    assert_eq!(findings, []);
}

#[test]
fn a_size_with_another_architecture_is_a_warning() {
    let keys = "ssh_public_key_file = \"/k\"\n\n[nodeset.hb]";
    let findings = found((SSH, keys), |seen| {
        seen.sizes = Ok(vec![Size { architecture: "Arm64".into(), ..plain() }, hb()]);
        seen.images.remove(&"n".parse().unwrap());
    });
    one(&findings, Warning, &["Standard_D4s_v5 is Arm64"], "sku");
}

#[test]
fn an_ephemeral_disk_where_the_size_has_none_is_an_error() {
    let disk = "os_disk = { ephemeral = \"cache-disk\" }";
    one(&with(disk, |_| ()), Error, &["has no cache-disk"], "");
}

#[test]
fn an_ephemeral_disk_that_is_too_small_is_an_error() {
    let room = |gib: u64| BTreeMap::from([("CacheDisk".to_owned(), gib * 1024)]);
    let disk = "os_disk = { ephemeral = \"cache-disk\", size_gb = 64 }";
    let findings = with(disk, |size| size.ephemeral_mb = room(50));
    one(&findings, Error, &["cache-disk has 50 GiB, and size_gb needs 64 GiB"], "");
    assert_eq!(with(disk, |size| size.ephemeral_mb = room(64)), []);
    let of_image = "os_disk = { ephemeral = \"cache-disk\" }";
    let findings = with(of_image, |size| size.ephemeral_mb = room(20));
    one(&findings, Error, &["cache-disk has 20 GiB, and the image needs 30 GiB"], "");
}

#[test]
fn a_nodeset_that_costs_much_is_a_note_with_the_sum() {
    let findings = with_hb(|size| size.price = Some(15.0));
    one(&findings, Note, &["8 nodes cost 120 USD an hour (15.00 each"], "nodes");
    assert_eq!(with_hb(|size| size.price = Some(3.6)), []);
}

#[test]
fn a_max_price_below_the_spot_price_is_an_error_and_one_close_to_it_a_warning() {
    let keys = "priority = \"spot\"\nmax_price = 0.05";
    let at = |price: f64| with(keys, move |size| size.price_spot = Some(price));
    one(&at(0.06), Error, &["Spot costs 0.0600 USD an hour, and max_price is 0.05"], "");
    one(&at(0.048), Warning, &["close to max_price 0.05"], "");
    assert_eq!(at(0.03), []);
}
