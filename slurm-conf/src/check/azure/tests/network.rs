//! Addresses, ways and filters.

use azslurm_azure::{Network, Peering, SecurityRule, Subnet};
use azslurm_program::check::Finding;
use azslurm_program::check::Level::{Error, Note, Warning};

use super::super::Unseen;
use super::{deny, found, one, refusal};

const SAME: (&str, &str) = ("", "");
const NSG: &str = "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/\
    networkSecurityGroups/compute";

fn with_network(change: impl FnOnce(&mut Network)) -> Vec<Finding> {
    found(SAME, |seen| change(super::network(seen)))
}

fn with_subnet(change: impl FnOnce(&mut Subnet)) -> Vec<Finding> {
    found(SAME, |seen| change(super::subnet(seen)))
}

fn with_rules(rules: Vec<SecurityRule>) -> Vec<Finding> {
    found(SAME, |seen| {
        seen.filters.insert(NSG.into(), Ok(Some(rules)));
    })
}

#[test]
fn a_subnet_that_is_not_there_is_an_error() {
    let findings = found(SAME, |seen| seen.subnet = Ok(None));
    one(&findings, Error, &["site west: subnet /subscriptions", "does not exist"], "subnet");
}

#[test]
fn a_subnet_that_is_delegated_is_an_error() {
    let findings = with_subnet(|subnet| subnet.delegations = vec!["Microsoft.Web/x".into()]);
    one(&findings, Error, &["delegated to Microsoft.Web/x"], "subnet");
}

#[test]
fn a_subnet_with_fewer_addresses_than_nodes_is_a_warning() {
    let findings = found(SAME, |seen| seen.subnet_use.as_mut().unwrap()[0].limit = 11);
    one(&findings, Warning, &["11 of 11 addresses", "18 nodes"], "subnet");
}

#[test]
fn a_subnet_that_others_fill_so_that_no_block_fits_is_an_error() {
    let findings = found(SAME, |seen| seen.subnet_use.as_mut().unwrap()[0].used = 248);
    one(&findings, Error, &["3 of 251 addresses", "block of nodeset hb needs 4"], "subnet");
}

#[test]
fn addresses_of_our_own_vms_are_free_for_nodes() {
    let findings = found(SAME, |seen| {
        seen.subnet_use.as_mut().unwrap()[0].used = 240;
        let ours = [("n", 10), ("hb", 4)];
        seen.ours = Ok(ours.map(|(set, count)| (set.parse().unwrap(), count)).into());
    });
    assert_eq!(findings, []);
    let findings = found(SAME, |seen| {
        seen.subnet_use.as_mut().unwrap()[0].used = 248;
        seen.ours = Err(Unseen::NotAsked);
    });
    assert_eq!(findings, [], "what may be ours is not held against the nodes");
}

#[test]
fn a_use_that_cannot_be_read_is_counted_by_the_subnet_itself() {
    let findings = found(SAME, |seen| {
        seen.subnet_use = Err(refusal(403, "AuthorizationFailed"));
        let subnet = seen.subnet.as_mut().unwrap().as_mut().unwrap();
        (subnet.prefixes, subnet.used) = (vec!["10.0.0.0/28".into()], 10);
    });
    one(&findings, Error, &["1 of 11 addresses"], "subnet");
}

#[test]
fn a_private_subnet_without_a_way_out_is_a_warning() {
    let findings = with_subnet(|subnet| subnet.has_default_outbound = Some(false));
    one(&findings, Warning, &["neither a NAT gateway nor a route table"], "subnet");
    let findings = with_subnet(|subnet| {
        subnet.has_default_outbound = Some(false);
        subnet.nat_gateway = Some("/nat".into());
    });
    assert_eq!(findings, []);
}

#[test]
fn a_subnet_in_another_region_is_an_error() {
    let findings = with_network(|network| network.location = "northeurope".into());
    one(&findings, Error, &["VMs are in westeurope", "subnet is in northeurope"], "subnet");
    assert_eq!(with_network(|network| network.location = "West Europe".into()), []);
}

#[test]
fn a_peering_that_is_not_connected_is_a_warning() {
    let peering =
        |state: &str| Peering { name: "to-hub".into(), state: state.into(), remote: "/hub".into() };
    let findings = with_network(|network| network.peerings = vec![peering("Disconnected")]);
    one(&findings, Warning, &["peering to-hub", "/hub", "Disconnected"], "subnet");
    let findings = with_network(|network| network.peerings = vec![peering("Initiated")]);
    assert!(findings[0].fix.as_ref().unwrap().contains("other network's side"), "{findings:?}");
    assert_eq!(with_network(|network| network.peerings = vec![peering("Connected")]), []);
}

#[test]
fn dns_servers_of_ones_own_are_a_note() {
    let findings = with_network(|network| network.dns_servers = vec!["10.0.0.4".into()]);
    one(&findings, Note, &["asks 10.0.0.4 for names"], "subnet");
}

#[test]
fn two_sites_whose_networks_have_addresses_in_common_are_a_warning() {
    assert_eq!(super::with_north("10.1.0.0/16"), []);
    let words = ["sites north and west", "addresses in common", "10.0.0.0/8"];
    one(&super::with_north("10.0.0.0/8"), Warning, &words, "");
}

#[test]
fn a_network_in_the_range_of_infiniband_is_a_warning() {
    let findings = with_network(|network| network.prefixes.push("172.16.0.0/12".into()));
    one(&findings, Warning, &["172.16.0.0/12", "nodeset hb", "172.16.0.0/16"], "subnet");
}

#[test]
fn a_network_that_may_not_be_read_is_a_note() {
    let findings = found(SAME, |seen| seen.network = Err(refusal(403, "AuthorizationFailed")));
    one(&findings, Note, &["virtualNetworks/v cannot be read"], "");
}

#[test]
fn a_rule_that_denies_slurmd_is_an_error() {
    let findings = with_rules(vec![deny(100, ("VirtualNetwork", "6818"))]);
    one(&findings, Error, &["rule closed (priority 100)", "denies", "port 6818"], "subnet");
}

#[test]
fn a_rule_that_denies_a_part_of_the_network_is_a_warning() {
    let findings = with_rules(vec![deny(100, ("10.0.5.0/24", "6818"))]);
    one(&findings, Warning, &["denies a part of", "port 6818"], "subnet");
}

#[test]
fn a_rule_that_keeps_nodes_from_slurmctld_is_an_error() {
    let rule = SecurityRule { is_inbound: false, ..deny(200, ("*", "*")) };
    let findings = with_rules(vec![rule]);
    one(&findings, Error, &["from nodes on TCP port 6817"], "subnet");
}

#[test]
fn a_rule_that_denies_all_but_slurm_and_ssh_is_a_warning() {
    let allow = |port: &str| SecurityRule { is_allow: true, ..deny(100, ("*", port)) };
    let rules = vec![allow("6818"), allow("22"), deny(200, ("*", "*"))];
    one(&with_rules(rules), Warning, &["denies", "to nodes on TCP port 50123"], "subnet");
}

#[test]
fn one_rule_for_all_ports_is_one_finding() {
    one(&with_rules(vec![deny(100, ("*", "*"))]), Error, &["port 6818"], "subnet");
}

#[test]
fn a_security_group_that_is_not_there_is_an_error() {
    let group = format!("subnet = \"{}\"\nnetwork_security_group = \"{NSG}\"\n", super::SUBNET);
    let group =
        group.replace("/subscriptions/s/", "/subscriptions/00000000-0000-0000-0000-000000000001/");
    let id =
        NSG.replace("/subscriptions/s/", "/subscriptions/00000000-0000-0000-0000-000000000001/");
    let plain = format!("subnet = \"{}\"\n", super::SUBNET);
    let findings = found((&plain, &group), |seen| {
        seen.filters.insert(id, Ok(None));
    });
    one(&findings, Error, &["networkSecurityGroups/compute does not exist"], "");
    assert!(findings[0].at.as_ref().unwrap().ends_with(":8"), "{findings:#?}");
}

#[test]
fn a_security_group_that_may_not_be_read_is_a_note() {
    let findings = found(SAME, |seen| {
        seen.filters.insert(NSG.into(), Err(refusal(403, "AuthorizationFailed")));
    });
    one(&findings, Note, &["networkSecurityGroups/compute cannot be read"], "");
}
