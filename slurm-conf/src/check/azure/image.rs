//! Whether images, and what else VMs are made with, are there and fit.

use azslurm_azure::{ImageSeen, is_region};
use azslurm_core::config::{ImageReference, Interconnect, Plan};
use azslurm_core::size::Size;
use azslurm_program::check::Finding;

use super::{AzureSeen, CHECK, Ground, SiteSeen, Use, unseen};

/// All findings about images, plans, identities and reservations.
pub(super) fn check(ground: &Ground<'_>, seen: &AzureSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in ground.uses() {
        let Some(site) = seen.sites.get(one.site) else { continue };
        let size = seen.size(one.site, &one.nodeset.sku).flatten();
        findings.extend(image(ground, one, (site, size)));
        findings.extend(terms(ground, one, site));
        findings.extend(identities(ground, one, site));
        findings.extend(reservation(ground, one, site));
    }
    findings
}

/// What it takes to read an image.
fn action(reference: &ImageReference) -> &'static str {
    match reference {
        ImageReference::Urn { .. } => {
            "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read"
        }
        ImageReference::Id(_) => {
            "Microsoft.Compute/images/read, or galleries/images/read and \
             galleries/images/versions/read,"
        }
        ImageReference::SharedGallery(_) => {
            "Microsoft.Compute/locations/sharedGalleries/images/read"
        }
        ImageReference::CommunityGallery(_) => {
            "Microsoft.Compute/locations/communityGalleries/images/read"
        }
    }
}

fn image(
    ground: &Ground<'_>,
    one: Use<'_>,
    (site, size): (&SiteSeen, Option<&Size>),
) -> Vec<Finding> {
    let reference = &one.nodeset.image;
    let name = reference.reference_text();
    let whose = format!("nodeset {} at site {}: image {name}", one.name, one.site);
    let at = ground.at_nodeset(one.name, "image");
    let image = match site.images.get(one.name) {
        Some(Ok(Some(image))) => image,
        Some(Ok(None)) => {
            let text = format!("{whose} does not exist");
            let fix = "correct it; for a marketplace image `az vm image list --all --publisher \
                       PUBLISHER --output table` lists what there is";
            let finding = Finding::error(CHECK, text, fix);
            return vec![finding.because("Azure refuses every VM of it").at(at)];
        }
        Some(Err(why)) => {
            return unseen(&whose, action(&reference.reference), why).into_iter().collect();
        }
        None => return Vec::new(),
    };
    let mut findings = Vec::new();
    if image.is_in_region == Some(false) {
        let region = &one.place.region;
        let text = format!("{whose} is not in {region}");
        let fix = format!("replicate it to {region}, or take another image there");
        findings.push(Finding::error(CHECK, text, fix).because("Azure refuses every VM of it"));
    }
    findings.extend(size.and_then(|size| generation(&whose, image, size)));
    findings.extend(size.and_then(|size| architecture(&whose, image, size)));
    findings.extend(ending(ground, &whose, image));
    let mut findings: Vec<Finding> =
        findings.into_iter().map(|finding| finding.at(at.clone())).collect();
    let place = ground.at_nodeset(one.name, "image_plan");
    findings.extend(plan(&whose, image, reference.plan.as_ref()).map(|one| one.at(place)));
    findings
}

fn generation(whose: &str, image: &ImageSeen, size: &Size) -> Option<Finding> {
    let generation = image.generation.as_ref()?;
    let is_known = size.generations.iter().any(|one| one.eq_ignore_ascii_case(generation));
    (!size.generations.is_empty() && !is_known).then(|| {
        let number = |text: &str| text.trim_start_matches(['V', 'v']).to_owned();
        let boots: Vec<String> = size.generations.iter().map(|one| number(one)).collect();
        let text = format!(
            "{whose} is of generation {}, and {} boots generation {} only",
            number(generation),
            size.name,
            boots.join(", ")
        );
        Finding::error(CHECK, text, "take the image of that generation (often named -gen1, -gen2)")
            .because("Azure refuses every VM of it")
    })
}

fn architecture(whose: &str, image: &ImageSeen, size: &Size) -> Option<Finding> {
    let architecture = image.architecture.as_ref()?;
    (!architecture.eq_ignore_ascii_case(&size.architecture)).then(|| {
        let text = format!("{whose} is {architecture}, and {} is {}", size.name, size.architecture);
        Finding::error(CHECK, text, format!("take an image for {}", size.architecture))
            .because("Azure refuses every VM of it")
    })
}

fn ending(ground: &Ground<'_>, whose: &str, image: &ImageSeen) -> Option<Finding> {
    let when = image.retires.as_ref()?;
    let day = when.get(..10).unwrap_or(when);
    let is_over = ground.now.to_string().as_str() > when.as_str();
    Some(match is_over {
        true => Finding::error(
            CHECK,
            format!("{whose} has ended on {day}"),
            "take a newer image, or your own",
        )
        .because("Azure makes no new VMs of an image that has ended"),
        false => Finding::warning(
            CHECK,
            format!("{whose} ends on {day}"),
            "move to a newer image, or to your own, before",
        )
        .because("from that day on no VM of it is made, and the nodes stay off"),
    })
}

fn words(plan: &Plan) -> String {
    format!("{}:{}:{}", plan.publisher, plan.product, plan.name)
}

fn plan(whose: &str, image: &ImageSeen, ours: Option<&Plan>) -> Option<Finding> {
    let why = "Azure refuses a VM whose body does not name the plan of its image";
    match (&image.plan, ours) {
        (Some(theirs), None) => {
            let text = format!("{whose} has a purchase plan, and the nodeset names none");
            let fix = format!("image_plan = \"{}\"", words(theirs));
            Some(Finding::error(CHECK, text, fix).because(why))
        }
        (Some(theirs), Some(ours)) if !is_same(theirs, ours) => {
            let text = format!("{whose} has another purchase plan than image_plan says");
            let fix = format!("image_plan = \"{}\"", words(theirs));
            Some(Finding::error(CHECK, text, fix).because(why))
        }
        (None, Some(ours)) => {
            let text = format!("{whose} has no purchase plan, and image_plan is {}", words(ours));
            let why = "Azure refuses a plan that an image does not have; a managed image may have \
                       one all the same, and does not show it";
            Some(Finding::warning(CHECK, text, "remove image_plan").because(why))
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn is_same(one: &Plan, other: &Plan) -> bool {
    words(one).eq_ignore_ascii_case(&words(other))
}

fn terms(ground: &Ground<'_>, one: Use<'_>, site: &SiteSeen) -> Option<Finding> {
    let plan = one.nodeset.image.plan.as_ref()?;
    let name = words(plan);
    let what = format!("nodeset {} at site {}: the terms of plan {name}", one.name, one.site);
    let at = ground.at_nodeset(one.name, "image_plan");
    match site.terms.get(one.name)? {
        Ok(Some(true)) => None,
        Ok(Some(false)) => {
            let subscription = &one.place.subscription;
            let text = format!("{what} are not accepted in subscription {subscription}");
            let fix = format!(
                "`az vm image terms accept --publisher {} --offer {} --plan {} --subscription \
                 {subscription}`",
                plan.publisher, plan.product, plan.name
            );
            let why = "Azure answers MarketplacePurchaseEligibilityFailed to every VM";
            Some(Finding::error(CHECK, text, fix).because(why).at(at))
        }
        Ok(None) => {
            let text = format!("{what} do not exist: there is no such plan");
            let fix = "correct image_plan: publisher:product:name, as `az vm image show` prints it";
            Some(Finding::error(CHECK, text, fix).because("Azure refuses every VM").at(at))
        }
        Err(why) => {
            let action =
                "Microsoft.MarketplaceOrdering/offertypes/publishers/offers/plans/agreements/read";
            unseen(&what, action, why)
        }
    }
}

fn identities(ground: &Ground<'_>, one: Use<'_>, site: &SiteSeen) -> Vec<Finding> {
    let of = |id: &String| {
        let what = format!("nodeset {} at site {}: identity {id}", one.name, one.site);
        match site.identities.get(id)? {
            Ok(Some(())) => None,
            Ok(None) => Some(
                Finding::error(CHECK, format!("{what} does not exist"), "make it, or correct it")
                    .because("Azure refuses a VM with an identity that is not there")
                    .at(ground.at_nodeset(one.name, "identities")),
            ),
            Err(why) => unseen(&what, "Microsoft.ManagedIdentity/userAssignedIdentities/read", why),
        }
    };
    one.nodeset.identities.iter().filter_map(of).collect()
}

fn reservation(ground: &Ground<'_>, one: Use<'_>, site: &SiteSeen) -> Vec<Finding> {
    let Some(id) = &one.nodeset.capacity_reservation_group else { return Vec::new() };
    let what =
        format!("nodeset {} at site {}: capacity reservation group {id}", one.name, one.site);
    let at = ground.at_nodeset(one.name, "capacity_reservation_group");
    let mut findings = Vec::new();
    if one.nodeset.interconnect == Interconnect::Infiniband {
        let text = format!("{what} cannot serve blocks with InfiniBand");
        let fix = "remove capacity_reservation_group, or interconnect = \"none\"";
        let why = "Azure lets no VM of an availability set or a placement group use a reservation";
        findings.push(Finding::error(CHECK, text, fix).because(why).at(at.clone()));
    }
    let region = &one.place.region;
    match site.reservations.get(id) {
        Some(Ok(Some(there)))
            if !there.location.is_empty() && !is_region(&there.location, region) =>
        {
            let there = &there.location;
            let text = format!("{what} is in {there}, and the VMs are in {region}");
            let fix = format!("name a group in {region}, or keep the nodeset to sites in {there}");
            let why = "a reservation serves VMs of its own region alone";
            findings.push(Finding::error(CHECK, text, fix).because(why).at(at));
        }
        Some(Ok(Some(there))) => {
            findings.extend(zones(one, (&what, &there.zones)).map(|finding| finding.at(at)));
        }
        Some(Ok(None)) => {
            let finding =
                Finding::error(CHECK, format!("{what} does not exist"), "make it, or correct it");
            findings.push(finding.because("Azure refuses every VM").at(at));
        }
        Some(Err(why)) => {
            let action = "Microsoft.Compute/capacityReservationGroups/read";
            findings.extend(unseen(&what, action, why));
        }
        None => {}
    }
    findings
}

/// A zonal reservation serves VMs in its zones, and a regional one VMs in none.
fn zones(one: Use<'_>, (what, theirs): (&str, &[String])) -> Option<Finding> {
    let ours: Vec<&str> = one.nodeset.zones.iter().map(|zone| zone.as_str()).collect();
    let list = |zones: Vec<&str>| match zones.is_empty() {
        true => "in no zone".to_owned(),
        false => format!("in zone {}", zones.join(", ")),
    };
    let is_served = |zone: &&str| theirs.iter().any(|one| one == zone);
    let fits = match (ours.is_empty(), theirs.is_empty()) {
        (true, _) | (_, true) => ours.is_empty() && theirs.is_empty(),
        (false, false) => ours.iter().all(is_served),
    };
    (!fits).then(|| {
        let theirs: Vec<&str> = theirs.iter().map(String::as_str).collect();
        let fix = match theirs.as_slice() {
            [] => "remove zones from the nodeset, or name a group with these zones".to_owned(),
            theirs => format!("zones = [\"{}\"]", theirs.join("\", \"")),
        };
        let text = format!("{what} is {}, and the VMs are {}", list(theirs), list(ours));
        Finding::error(CHECK, text, fix).because("Azure refuses a VM outside of its reservation")
    })
}
