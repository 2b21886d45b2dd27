//! What it costs, where prices are known: nobody shall be surprised by a bill, or by a Spot price
//! above what he pays.

use azslurm_core::config::Priority;
use azslurm_core::size::Size;
use azslurm_program::check::{Finding, Pitfall};

use super::{AzureSeen, CHECK, Ground, Use};

/// USD an hour of all nodes of a nodeset from which on it is worth a word.
const LARGE: f64 = 100.0;
/// A `max_price` that is less above the price than this is passed by the next change of it.
const MARGIN: f64 = 1.1;

/// All findings about money.
pub(super) fn check(ground: &Ground<'_>, seen: &AzureSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in ground.uses() {
        let Some(size) = seen.size(one.site, &one.nodeset.sku).flatten() else { continue };
        findings.extend(spot(ground, one, size));
        if one.nodeset.sites.first() == Some(one.site) {
            findings.extend(full(ground, one, size));
        }
    }
    findings
}

fn full(ground: &Ground<'_>, one: Use<'_>, size: &Size) -> Option<Finding> {
    let each = if one.nodeset.is_spot() { size.price_spot } else { size.price }?;
    let cap = one.nodeset.cores_max.or(one.place.cores_max);
    let capped = cap.map_or(u64::MAX, |cap| cap / u64::from(size.vcpus).max(1));
    let nodes = one.nodes().min(capped);
    let all = each * nodes as f64;
    (all >= LARGE).then(|| {
        let text = format!(
            "{}: {nodes} nodes cost {all:.0} USD an hour ({each:.2} each, without any discount)",
            one.words()
        );
        let fix = "cores_max bounds it; a short suspend_time_seconds ends idle nodes; limits of \
                   Slurm's accounting bound users";
        Finding::note(CHECK, text, fix)
            .because("one job array may start them all")
            .at(ground.at_nodeset(one.name, "nodes"))
    })
}

fn spot(ground: &Ground<'_>, one: Use<'_>, size: &Size) -> Option<Finding> {
    let Priority::Spot { max_price: Some(ours), .. } = one.nodeset.priority else { return None };
    let now = size.price_spot?;
    let at = ground.at_nodeset(one.name, "max_price");
    if ours < now {
        let text =
            format!("{}: Spot costs {now:.4} USD an hour, and max_price is {ours}", one.words());
        let fix = "a higher max_price, or none: VMs are then never taken for their price";
        let why = "Azure answers SpotPriceGreaterThanProvidedMaxPrice to every VM";
        let finding = Finding::error(CHECK, text, fix).because(why);
        return Some(finding.at(at).of(Pitfall::Preemption));
    }
    (ours < now * MARGIN).then(|| {
        let text = format!(
            "{}: Spot costs {now:.4} USD an hour, which is close to max_price {ours}",
            one.words()
        );
        let fix = "a higher max_price, or none: VMs are then never taken for their price";
        let why = "when the price passes it all VMs are taken at once, and none is made";
        Finding::warning(CHECK, text, fix).because(why).at(at).of(Pitfall::Preemption)
    })
}
