//! Whether the size of a nodeset is sold where it is wanted, and can do what is wanted of it.

use azslurm_core::config::{CloudName, EphemeralPlacement, Interconnect};
use azslurm_core::size::Size;
use azslurm_program::check::{Finding, Pitfall};

use super::{AzureSeen, CHECK, Ground, Use, retire, unseen};

const MIB_PER_GIB: u64 = 1024;
/// What our node agent and slurmd's usual packages are built for.
const OUR_ARCHITECTURE: &str = "x64";

/// All findings about sizes.
pub(super) fn check(ground: &Ground<'_>, seen: &AzureSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, site) in &ground.config.sites {
        let Some(Err(why)) = seen.sites.get(name).map(|seen| &seen.sizes) else { continue };
        let what = format!("site {name}: the VM sizes of {}", site.region);
        findings.extend(unseen(&what, "Microsoft.Compute/skus/read", why));
    }
    findings.extend(without_spot(ground));
    for one in ground.uses() {
        match seen.size(one.site, &one.nodeset.sku) {
            None => {}
            Some(None) => findings.push(absent(ground, one)),
            Some(Some(size)) => findings.extend(of_size(ground, one, size, seen)),
        }
    }
    findings
}

/// The SKU API of China names sizes as Spot that nobody can have there (FACTS §7).
fn without_spot(ground: &Ground<'_>) -> Vec<Finding> {
    if ground.config.cloud.name != CloudName::China {
        return Vec::new();
    }
    let spot = ground.config.nodesets.iter().filter(|(_, nodeset)| nodeset.is_spot());
    spot.map(|(name, _)| {
        let text = format!("nodeset {name} wants Spot VMs, and Azure China has none");
        Finding::error(CHECK, text, "priority = \"regular\"")
            .because("Azure refuses every VM of it")
            .at(ground.at_nodeset(name, "priority"))
            .of(Pitfall::Preemption)
    })
    .collect()
}

fn absent(ground: &Ground<'_>, one: Use<'_>) -> Finding {
    let region = &one.place.region;
    let at = ground.at_nodeset(one.name, "sku");
    let retired = retire::of(one.nodeset.sku.as_str(), None);
    if let Some(retired) = retired.filter(|retired| is_over(ground, retired.day)) {
        return over(one, &retired).at(at);
    }
    let text = format!("{} is not known in {region}", one.words());
    let fix = format!(
        "correct the name or choose another region: `az vm list-skus --location {region} --size \
         Standard_ --output table` lists what there is"
    );
    Finding::error(CHECK, text, fix)
        .because("Azure refuses every VM of it, and its nodes never come up")
        .at(at)
}

fn is_over(ground: &Ground<'_>, day: Option<&str>) -> bool {
    day.is_none_or(|day| ground.now.to_string().as_str() > day)
}

fn over(one: Use<'_>, retired: &retire::Retirement) -> Finding {
    let since = retired.day.map(|day| format!(" since {day}")).unwrap_or_default();
    let text = format!("{} is retired{since}", one.words());
    Finding::error(CHECK, text, format!("choose {}", retired.instead))
        .because("Azure sells none of it any more, and stops those that run")
}

fn of_size(ground: &Ground<'_>, one: Use<'_>, size: &Size, seen: &AzureSeen) -> Vec<Finding> {
    let at = |key: &str| ground.at_nodeset(one.name, key);
    let mut findings = Vec::new();
    let retired = retire::of(&size.name, Some(&size.family));
    match retired {
        Some(retired) if is_over(ground, retired.day) => {
            return vec![over(one, &retired).at(at("sku"))];
        }
        Some(retired) => {
            let text = format!("{} retires on {}", one.words(), retired.day.unwrap_or_default());
            findings.push(
                Finding::warning(CHECK, text, format!("move to {} before", retired.instead))
                    .because("from that day on no VM of it starts, and those that run are stopped")
                    .at(at("sku")),
            );
        }
        None => {}
    }
    if !size.is_offered {
        let text = format!(
            "{} is not offered to subscription {} in {}",
            one.words(),
            one.place.subscription,
            one.place.region
        );
        let fix = "ask Azure's support for access to the size in this region, or choose another \
                   size or region";
        findings.push(
            Finding::error(CHECK, text, fix)
                .because("Azure answers SkuNotAvailable to every VM")
                .at(at("sku")),
        );
        return findings;
    }
    findings.extend(zones(one, size).map(|finding| finding.at(at("zones"))));
    findings.extend(interconnect(one, size).map(|finding| finding.at(at("interconnect"))));
    findings.extend(spot(one, size).map(|finding| finding.at(at("priority"))));
    findings.extend(card(one, size).map(|finding| finding.at(at("accelerated_networking"))));
    findings.extend(architecture(one, size).map(|finding| finding.at(at("sku"))));
    findings.extend(
        ephemeral(one, size, seen)
            .map(|finding| finding.at(at("os_disk.ephemeral")).of(Pitfall::Storage)),
    );
    findings
}

fn zones(one: Use<'_>, size: &Size) -> Option<Finding> {
    let wanted: Vec<&str> = one.nodeset.zones.iter().map(|zone| zone.as_str()).collect();
    if wanted.is_empty() {
        return None;
    }
    let region = &one.place.region;
    if size.zones.is_empty() {
        let text = format!("{}: {region} has it in no zone", one.words());
        let fix = "remove zones from the nodeset: its VMs are regional then";
        return Some(
            Finding::error(CHECK, text, fix).because("Azure refuses a VM in a zone there"),
        );
    }
    let is_in = |list: &[String], zone: &str| list.iter().any(|one| one == zone);
    let bad: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|zone| !is_in(&size.zones, zone) || is_in(&size.zones_restricted, zone))
        .collect();
    let good: Vec<&str> = size
        .zones
        .iter()
        .map(String::as_str)
        .filter(|zone| !is_in(&size.zones_restricted, zone))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let there = match good.as_slice() {
        [] => "in none".to_owned(),
        good => format!("in {}", good.join(", ")),
    };
    let text = format!(
        "{}: zone {} of {region} is closed to the subscription or does not have it; it is to be \
         had {there}",
        one.words(),
        bad.join(", ")
    );
    let fix = match good.as_slice() {
        [] => "ask Azure's support for access, or remove zones from the nodeset".to_owned(),
        good => format!("zones = [{}]", quoted(good)),
    };
    let make = if bad.len() == wanted.len() { Finding::error } else { Finding::warning };
    Some(make(CHECK, text, fix).because("each try in such a zone is refused and costs minutes"))
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// InfiniBand that is there and not used is a matter of the config alone.
fn interconnect(one: Use<'_>, size: &Size) -> Option<Finding> {
    let wants = one.nodeset.interconnect == Interconnect::Infiniband;
    (wants && !size.is_rdma).then(|| {
        let text = format!("{} has no InfiniBand", one.words());
        let fix = "choose an HB, HC, HX or ND size with r in its name, or interconnect = \"none\"";
        Finding::error(CHECK, text, fix)
            .because("its nodes would be tied into blocks of one availability set for nothing")
    })
}

fn spot(one: Use<'_>, size: &Size) -> Option<Finding> {
    (one.nodeset.is_spot() && !size.is_spot_capable).then(|| {
        let text = format!("{} is not sold as Spot", one.words());
        Finding::error(CHECK, text, "priority = \"regular\", or another size")
            .because("Azure answers AzureSpotIsNotSupportedForThisVMSize to every VM")
            .of(Pitfall::Preemption)
    })
}

fn card(one: Use<'_>, size: &Size) -> Option<Finding> {
    (one.nodeset.accelerated_networking && !size.has_accelerated_networking).then(|| {
        let text = format!("{} has no accelerated networking", one.words());
        Finding::error(CHECK, text, "accelerated_networking = false")
            .because("Azure refuses a VM whose card wants what its size has not")
    })
}

fn architecture(one: Use<'_>, size: &Size) -> Option<Finding> {
    (!size.architecture.eq_ignore_ascii_case(OUR_ARCHITECTURE)).then(|| {
        let text = format!("{} is {}", one.words(), size.architecture);
        let fix = "choose a size without p in its name (Standard_D4s_v5 for Standard_D4ps_v5), or \
                   bring slurmd and images for it and do without azslurm's node agent";
        Finding::warning(CHECK, text, fix)
            .because("azslurm's programs, and most of HPC software, are built for x64")
    })
}

fn ephemeral(one: Use<'_>, size: &Size, seen: &AzureSeen) -> Option<Finding> {
    let wanted = one.nodeset.os_disk.ephemeral?;
    let (key, word) = match wanted {
        EphemeralPlacement::CacheDisk => ("CacheDisk", "cache-disk"),
        EphemeralPlacement::ResourceDisk => ("ResourceDisk", "resource-disk"),
        EphemeralPlacement::NvmeDisk => ("NvmeDisk", "nvme-disk"),
    };
    let others: Vec<&str> = size.ephemeral_mb.keys().map(String::as_str).collect();
    let Some(room) = size.ephemeral_mb.get(key) else {
        let text = format!("{} has no {word} for an ephemeral OS disk", one.words());
        let fix = match others.as_slice() {
            [] => "remove ephemeral from the OS disk, or choose a size with local disks".to_owned(),
            others => format!("use one that it has: {}", others.join(", ")),
        };
        return Some(Finding::error(CHECK, text, fix).because("Azure refuses every VM"));
    };
    let image = seen.sites.get(one.site)?.images.get(one.name);
    let of_image = image.and_then(|image| image.as_ref().ok()?.as_ref()?.disk_gb);
    let needed = one.nodeset.os_disk.size_gb.map(u64::from).or(of_image)?;
    let room_gb = room / MIB_PER_GIB;
    (needed > room_gb).then(|| {
        let whose = match one.nodeset.os_disk.size_gb {
            Some(_) => "size_gb",
            None => "the image",
        };
        let text = format!(
            "{}: its {word} has {room_gb} GiB, and {whose} needs {needed} GiB",
            one.words()
        );
        let fix = "a smaller size_gb or image, a larger VM size, or a managed OS disk";
        Finding::error(CHECK, text, fix).because("Azure refuses every VM")
    })
}
