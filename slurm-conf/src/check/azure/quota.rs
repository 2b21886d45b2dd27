//! Whether the subscription's quotas let all nodes come up, or at least one block of them. Spot
//! VMs count against one quota of their own; others against all cores and those of their family; a
//! constrained size counts all cores of the whole size (FACTS §5, §6.4).

use std::collections::BTreeMap;

use azslurm_core::SiteName;
use azslurm_core::config::Interconnect;
use azslurm_core::facts::{QUOTA_CORES, QUOTA_SPOT_CORES, Usage};
use azslurm_core::size::Size;
use azslurm_program::check::Finding;

use super::{AzureSeen, CHECK, Ground, Use, unseen};

const VMS: &str = "virtualMachines";
const SETS: &str = "availabilitySets";

/// What a nodeset takes of a quota at a site.
#[derive(Debug, Clone)]
struct Take<'a> {
    one: Use<'a>,
    quota: String,
    /// Of one block, or of one node.
    unit: u64,
    /// Of all nodes that come up there first.
    all: u64,
    /// Of our VMs that are there now.
    ours: u64,
}

/// All findings about quotas.
pub(super) fn check(ground: &Ground<'_>, seen: &AzureSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, site) in &ground.config.sites {
        let Some(Err(why)) = seen.sites.get(name).map(|seen| &seen.usages) else { continue };
        let what = format!("site {name}: the quotas of {}", site.region);
        findings.extend(unseen(&what, "Microsoft.Compute/locations/usages/read", why));
    }
    let mut grounds: BTreeMap<(String, &str, String), Vec<Take<'_>>> = BTreeMap::new();
    for one in ground.uses() {
        let Some(size) = seen.size(one.site, &one.nodeset.sku).flatten() else { continue };
        for take in takes(one, size, ours(seen, one)) {
            let subscription = one.place.subscription.to_ascii_lowercase();
            let key = (subscription, one.place.region.as_str(), take.quota.clone());
            grounds.entry(key).or_default().push(take);
        }
    }
    for ((_, _, quota), takes) in &grounds {
        findings.extend(of_quota(ground, (quota, takes), seen));
    }
    findings
}

/// Our VMs of a nodeset at a site; none where that is not known.
fn ours(seen: &AzureSeen, one: Use<'_>) -> u64 {
    let known = seen.sites.get(one.site).and_then(|site| site.ours.as_ref().ok());
    known.and_then(|ours| ours.get(one.name).copied()).unwrap_or(0)
}

fn takes<'a>(one: Use<'a>, size: &Size, ours: u64) -> Vec<Take<'a>> {
    let cores = u64::from(size.vcpus).max(1);
    let is_first = one.nodeset.sites.first() == Some(one.site);
    let capped = one.nodeset.cores_max.map_or(u64::MAX, |cap| cap / cores);
    let nodes = if is_first { one.nodes().min(capped) } else { 0 };
    let of = |quota: &str, each: u64| Take {
        one,
        quota: quota.to_owned(),
        unit: one.unit() * each,
        all: nodes * each,
        ours: ours * each,
    };
    let mut takes = vec![of(VMS, 1)];
    if one.nodeset.is_spot() {
        takes.push(of(QUOTA_SPOT_CORES, cores));
    } else {
        takes.push(of(QUOTA_CORES, cores));
        takes.push(of(&size.family, cores));
    }
    if one.nodeset.interconnect == Interconnect::Infiniband && is_first {
        let mut blocks = one.nodeset.blocks.clone();
        blocks.dedup();
        let all = blocks.len() as u64;
        takes.push(Take { one, quota: SETS.to_owned(), unit: 1, all, ours: 0 });
    }
    takes
}

fn of_quota(
    ground: &Ground<'_>,
    (quota, takes): (&str, &[Take<'_>]),
    seen: &AzureSeen,
) -> Vec<Finding> {
    let Some(first) = takes.first() else { return Vec::new() };
    // The quota is of the subscription: whichever of its sites could read it.
    let usage = takes.iter().find_map(|take| {
        let usages = seen.sites.get(take.one.site)?.usages.as_ref().ok()?;
        usages.iter().find(|usage| usage.name.eq_ignore_ascii_case(quota))
    });
    let Some(usage) = usage else { return Vec::new() };
    let ours: u64 = takes.iter().map(|take| take.ours).sum();
    let others = usage.used.saturating_sub(ours);
    let room = usage.limit.saturating_sub(others);
    let what = words(quota, first.one, (usage, others));
    let too_small: Vec<Finding> = takes
        .iter()
        .filter(|take| take.unit > room)
        .map(|take| unit(ground, take, (&what, room)))
        .collect();
    if !too_small.is_empty() {
        return too_small;
    }
    let all = wanted(ground, quota, takes);
    let mut findings = Vec::new();
    if all > room {
        let mut names: Vec<String> = takes.iter().map(|take| take.one.name.to_string()).collect();
        names.dedup();
        let text = format!(
            "{what}: {room} for this cluster, and all nodes of {} need {all}",
            names.join(", ")
        );
        findings.push(
            Finding::warning(CHECK, text, more(first.one, quota))
                .because("Azure refuses the VMs beyond it; their nodes stay off and jobs wait")
                .at(ground.at_nodeset(first.one.name, "nodes")),
        );
    }
    findings.extend(cap_beyond(ground, (quota, takes), (&what, room)));
    findings
}

/// What all nodes need; a site's cap bounds what they need of cores.
fn wanted(ground: &Ground<'_>, quota: &str, takes: &[Take<'_>]) -> u64 {
    let mut by_site: BTreeMap<&SiteName, u64> = BTreeMap::new();
    for take in takes {
        *by_site.entry(take.one.site).or_default() += take.all;
    }
    let is_cores = quota != VMS && quota != SETS;
    let of = |(site, all): (&SiteName, u64)| {
        let cap = ground.config.sites.get(site).and_then(|site| site.cores_max);
        all.min(cap.filter(|_| is_cores).unwrap_or(u64::MAX))
    };
    by_site.into_iter().map(of).sum()
}

fn words(quota: &str, one: Use<'_>, (usage, others): (&Usage, u64)) -> String {
    let unit = if quota == VMS || quota == SETS { "" } else { " cores" };
    let others = match others {
        0 => String::new(),
        others => format!(", of which others use {others}"),
    };
    format!(
        "quota {} of {} in subscription {} is {}{unit}{others}",
        usage.name, one.place.region, one.place.subscription, usage.limit
    )
}

fn unit(ground: &Ground<'_>, take: &Take<'_>, (what, room): (&str, u64)) -> Finding {
    let one = take.one;
    let needs = match one.unit() {
        1 => format!("one node of nodeset {} needs {}", one.name, take.unit),
        nodes => {
            format!("one block of nodeset {} ({nodes} nodes) needs {}", one.name, take.unit)
        }
    };
    let text = format!("{what}: {room} for this cluster, and {needs}");
    Finding::error(CHECK, text, more(one, &take.quota))
        .because("Azure refuses every VM of the nodeset, or every job that needs a whole block")
        .at(ground.at_nodeset(one.name, "sku"))
}

fn more(one: Use<'_>, quota: &str) -> String {
    let region = &one.place.region;
    match quota {
        SETS => format!("delete availability sets that nobody uses in {region}, or ask for more"),
        _ => format!(
            "ask for more of quota {quota} in {region} (portal: Quotas; `az quota update`), or \
             have fewer or smaller nodes there"
        ),
    }
}

/// A site's cap that the quota undercuts bounds nothing.
fn cap_beyond(
    ground: &Ground<'_>,
    (quota, takes): (&str, &[Take<'_>]),
    (what, room): (&str, u64),
) -> Option<Finding> {
    let first = takes.first().filter(|_| quota == QUOTA_CORES)?.one;
    let cap = first.place.cores_max.filter(|cap| *cap > room)?;
    let site = first.site;
    let text =
        format!("{what}: cores_max of site {site} is {cap}, and no more than {room} come up");
    Some(
        Finding::note(CHECK, text, format!("cores_max = {room}, or ask for more quota"))
            .because("the plan counts on cores that Azure will refuse")
            .at(ground.at_site(site, "cores_max")),
    )
}
