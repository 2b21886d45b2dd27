//! `[site.NAME]`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::reader::Section;
use super::service::rule;
use super::types::{Credential, ManagedIdentity, Site};
use super::{checks, credential};
use crate::SiteName;

/// `cores_max` of a site or a nodeset: Azure's largest regions have less than ten million.
pub(super) const CORES: RangeInclusive<u64> = 1..=10_000_000;

/// All sites; `None` when something is wrong with one of them, or there is none.
pub(super) fn sites(root: &Section<'_>) -> Option<BTreeMap<SiteName, Site>> {
    let tables = root.named_tables("site");
    if tables.is_empty() {
        root.fault("site", "is missing: at least one table [site.NAME] is needed");
        return None;
    }
    let count = tables.len();
    let shared = shared_credential(root, tables.iter().all(|(_, table)| table.has("credential")));
    let sites: BTreeMap<SiteName, Site> = tables
        .iter()
        .filter_map(|(name, table)| {
            let site = site(table, &shared);
            let name = name.value.parse::<SiteName>().map_err(|error| {
                root.fault_at(&name.place, format!("{:?} {}", name.value, rule(error)));
            });
            Some((name.ok()?, site?))
        })
        .collect();
    (sites.len() == count).then_some(sites)
}

/// What sites without a credential of their own use: `[credential]`, or the machine's own identity.
/// `None` when it is wrong.
fn shared_credential(root: &Section<'_>, is_unused: bool) -> Option<Credential> {
    if !root.has("credential") {
        return Some(Credential::ManagedIdentity(ManagedIdentity::System));
    }
    if is_unused {
        root.fault("credential", "is used by no site: each has its own; remove it");
    }
    credential::credential(&root.table("credential"))
}

fn site(table: &Section<'_>, shared: &Option<Credential>) -> Option<Site> {
    let subscription = table.needed("subscription", checks::guid);
    let region = table.needed("region", checks::region);
    let resource_group = table.needed("resource_group", checks::resource_group);
    let subnet = table
        .needed("subnet", checks::id_of_kind("Microsoft.Network/virtualNetworks/subnets"))
        .filter(|subnet| is_of_subscription(table, subnet, subscription.as_deref()));
    let network_security_group = table.checked(
        "network_security_group",
        checks::id_of_kind("Microsoft.Network/networkSecurityGroups"),
    );
    let credential = match table.has("credential") {
        true => credential::credential(&table.table("credential")),
        false => shared.clone(),
    };
    Some(Site {
        subscription: subscription?,
        region: region?,
        resource_group: resource_group?,
        subnet: subnet?,
        network_security_group,
        cores_max: table.number("cores_max", CORES),
        credential: credential?,
    })
}

/// A NIC is made in its VM's subscription, and its subnet must be there too.
fn is_of_subscription(table: &Section<'_>, subnet: &str, subscription: Option<&str>) -> bool {
    let (Some(id), Some(wanted)) = (checks::resource_id(subnet), subscription) else { return true };
    let same = id.subscription.eq_ignore_ascii_case(wanted);
    if !same {
        let found = id.subscription;
        table.fault(
            "subnet",
            format!("is in subscription {found}, the site in {wanted}: they must be the same"),
        );
    }
    same
}
