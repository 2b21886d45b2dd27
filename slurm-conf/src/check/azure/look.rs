//! Asks Azure for what the rules want to see, each credential within a time of its own. Decides
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_azure::{Arm, AzureError, ImageWanted};
use azslurm_core::config::{Config, Nodeset, Site, Sku};
use azslurm_core::size::Size;
use azslurm_core::{NodesetName, SiteName};
use azslurm_program::check::azure::identity;
use azslurm_program::{Clients, patiently};
use tokio::time::{Instant, timeout_at};

use super::network::network_of;
use super::seen::{AzureSeen, Door, Seen, SiteSeen, Unseen, seen};
use crate::{prices, role};

/// A token, from wherever it comes: IMDS may need some seconds after a boot.
const TOKEN_MAX: Duration = Duration::from_secs(30);
/// All else of a credential: some dozen small reads, and the sizes of each region, 20 MB each.
const LOOK_MAX: Duration = Duration::from_secs(180);
/// What VMs are made by.
const PROVIDERS: [&str; 2] = ["Microsoft.Compute", "Microsoft.Network"];

/// Looks at everything that the rules want to see.
pub async fn look(config: &Config) -> AzureSeen {
    let mut all = AzureSeen::default();
    let clients = match Clients::new(config) {
        Ok(clients) => clients,
        Err(error) => {
            all.no_client = Some(error);
            return all;
        }
    };
    for (_, arm, sites) in clients.doors() {
        let sites: Vec<(&SiteName, &Site)> =
            sites.iter().filter_map(|site| config.sites.get_key_value(*site)).collect();
        all.doors.push(door(config, (arm, &sites), &mut all.sites).await);
    }
    let asked = patiently("asking what VMs cost", prices(config, &mut all)).await;
    all.no_prices = asked.err();
    all
}

async fn door(
    config: &Config,
    (arm, sites): (&Arm, &[(&SiteName, &Site)]),
    into: &mut BTreeMap<SiteName, SiteSeen>,
) -> Door {
    let names: Vec<&str> = sites.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let what = format!("asking for a token for {names}");
    let token = patiently(&what, arm.token(Instant::now() + TOKEN_MAX)).await;
    let identity = sites.first().map(|(_, site)| identity(&site.credential)).unwrap_or_default();
    let of = sites.iter().map(|(name, _)| (*name).clone()).collect();
    let mut door = Door { sites: of, identity, token, late: None };
    for (name, _) in sites {
        into.insert((*name).clone(), SiteSeen::default());
    }
    // Without a token each further question would only fail for the same reason.
    if door.token.is_err() {
        return door;
    }
    let deadline = Instant::now() + LOOK_MAX;
    let work = async {
        for (name, site) in sites {
            if let Some(seen) = into.get_mut(*name) {
                of_site(config, (arm, *name, *site), seen).await;
            }
        }
    };
    let what = format!("asking Azure for {names}");
    if patiently(&what, timeout_at(deadline, work)).await.is_err() {
        door.late = Some(LOOK_MAX.as_secs());
    }
    door
}

/// One thing after the other: what was had when the time is over is kept.
async fn of_site(
    config: &Config,
    (arm, name, site): (&Arm, &SiteName, &Site),
    into: &mut SiteSeen,
) {
    into.group = seen(arm.look_group(&site.subscription, &site.resource_group).await);
    for provider in PROVIDERS {
        let state = seen(arm.look_registration(&site.subscription, provider).await);
        into.registrations.insert(provider, state);
    }
    for scope in role::needs(config, name).into_keys() {
        let rights = seen(arm.permissions(&scope).await);
        into.rights.insert(scope, rights);
    }
    of_network(arm, site, into).await;
    let nodesets: Vec<(&NodesetName, &Nodeset)> =
        config.nodesets.iter().filter(|(_, set)| set.open_sites().contains(name)).collect();
    of_nodesets(arm, (site, &nodesets), into).await;
    into.usages = seen(arm.usages(&site.subscription, &site.region).await);
    into.ours = ours(config, arm, site).await;
    let wanted: BTreeSet<&Sku> = nodesets.iter().map(|(_, set)| &set.sku).collect();
    let sizes = seen(arm.sizes(&site.subscription, &site.region).await);
    into.sizes = sizes.map(|sizes| only(sizes, &wanted));
}

fn only(sizes: Vec<Size>, wanted: &BTreeSet<&Sku>) -> Vec<Size> {
    let is_wanted =
        |size: &Size| wanted.iter().any(|sku| sku.as_str().eq_ignore_ascii_case(&size.name));
    sizes.into_iter().filter(is_wanted).collect()
}

async fn of_network(arm: &Arm, site: &Site, into: &mut SiteSeen) {
    let network = network_of(&site.subnet);
    into.subnet = seen(arm.look_subnet(&site.subnet).await);
    into.network = seen(arm.look_network(network).await);
    into.subnet_use = seen(arm.subnet_use(network).await);
    let of_subnet = into.subnet.as_ref().ok().and_then(|subnet| subnet.as_ref());
    let of_subnet = of_subnet.and_then(|subnet| subnet.security_group.clone());
    let ids: BTreeSet<String> =
        of_subnet.into_iter().chain(site.network_security_group.clone()).collect();
    for id in ids {
        let rules = seen(arm.look_security_group(&id).await);
        into.filters.insert(id, rules);
    }
}

async fn of_nodesets(
    arm: &Arm,
    (site, nodesets): (&Site, &[(&NodesetName, &Nodeset)]),
    into: &mut SiteSeen,
) {
    for (name, nodeset) in nodesets {
        let image = &nodeset.image.reference;
        let wanted = ImageWanted { subscription: &site.subscription, region: &site.region, image };
        into.images.insert((*name).clone(), seen(arm.look_image(wanted).await));
        if let Some(plan) = &nodeset.image.plan {
            let terms = seen(arm.look_terms(&site.subscription, plan).await);
            into.terms.insert((*name).clone(), terms);
        }
        for id in &nodeset.identities {
            into.identities.insert(id.clone(), seen(arm.look_identity(id).await));
        }
        if let Some(id) = &nodeset.capacity_reservation_group {
            into.reservations.insert(id.clone(), seen(arm.look_reservation(id).await));
        }
    }
}

/// This cluster's VMs at a site, by nodeset.
async fn ours(config: &Config, arm: &Arm, site: &Site) -> Seen<BTreeMap<NodesetName, u64>> {
    let subscriptions = [site.subscription.clone()];
    let listing = arm.query_vms(&subscriptions, &config.cluster, None).await;
    let listing = listing.map_err(Unseen::Failed)?;
    if !listing.complete {
        let broken = || {
            Unseen::Failed(AzureError::Body {
                doing: "query Resource Graph".to_owned(),
                text: listing.incomplete_because.clone().unwrap_or_default(),
                request_id: listing.request_id.clone(),
            })
        };
        return Err(listing.refusal.clone().map_or_else(broken, Unseen::Refused));
    }
    let mut counts = BTreeMap::new();
    for row in listing.items {
        let group = row.id.resource_group().unwrap_or_default();
        if let Some(nodeset) =
            row.nodeset.filter(|_| group.eq_ignore_ascii_case(&site.resource_group))
        {
            *counts.entry(nodeset).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

/// Fills in the prices of the sizes that were seen.
async fn prices(config: &Config, all: &mut AzureSeen) -> Result<(), AzureError> {
    let mut sizes = all.sizes(config);
    let done = prices::fill(config, &mut sizes).await;
    for (name, site) in &config.sites {
        let Some(Ok(seen)) = all.sites.get_mut(name).map(|seen| seen.sizes.as_mut()) else {
            continue;
        };
        for size in seen {
            let sku = Sku::new(&size.name);
            let known = sku.and_then(|sku| sizes.get(&site.region, &sku));
            *size = known.cloned().unwrap_or_else(|| size.clone());
        }
    }
    done
}
