//! Looking ahead: which intents that have not been sent would Azure refuse, by what it says of
//! sizes and quotas, or the operator's caps forbid.

use std::collections::{BTreeMap, BTreeSet};

use crate::attempt::Attempt;
use crate::config::{Interconnect, Nodeset};
use crate::facts::Ground;
use crate::plan::reach::places;
use crate::plan::room::{Demand, Room};
use crate::plan::{JobNodes, Sight, Why};
use crate::{NodeName, NodesetName};

/// The nodes among `fresh` whose VM would be refused, and why. `fresh`: attempts that are intended
/// and that nobody can have sent. A job that does not fit whole does not fit; others are judged
/// node by node, in the order of `fresh`.
pub fn ahead(fresh: &[&Attempt], jobs: &[JobNodes], sight: &Sight<'_>) -> BTreeMap<NodeName, Why> {
    let names: BTreeSet<&str> = fresh.iter().map(|attempt| attempt.is.vm.as_str()).collect();
    let mut room = Room::new(sight, |attempt| names.contains(attempt.is.vm.as_str()));
    let mut refused = BTreeMap::new();
    for group in grouped(fresh, jobs) {
        let before = room.clone();
        let mut why = None;
        for attempt in &group {
            match fits(attempt, sight, &mut room) {
                Ok(()) => {}
                Err(reason) => {
                    why = Some(reason);
                    break;
                }
            }
        }
        if let Some(why) = why {
            room = before;
            refused.extend(group.iter().map(|attempt| (attempt.is.node.clone(), why.clone())));
        }
    }
    refused
}

/// How many more VMs of a nodeset, at most `most`, quotas and caps leave room for, all of its sites
/// together. Holds are not looked at.
pub fn room_for(name: &NodesetName, sight: &Sight<'_>, most: usize) -> usize {
    let Some(nodeset) = sight.config.nodesets.get(name) else { return 0 };
    let mut room = Room::new(sight, |_| false);
    let mut left = most as u64;
    let mut sites = BTreeSet::new();
    for place in places(sight.config, nodeset) {
        // Quotas and caps know no zones.
        if sites.insert(place.site.clone()) {
            left -= room.take_most(&Demand { name, nodeset, place: &place, count: 0 }, left);
        }
    }
    most - usize::try_from(left).expect("at most `most`, which is one")
}

fn fits(attempt: &Attempt, sight: &Sight<'_>, room: &mut Room<'_>) -> Result<(), Why> {
    let is = &attempt.is;
    let Some(nodeset) = sight.config.nodesets.get(&is.nodeset) else { return Ok(()) };
    may_exist(attempt, nodeset, sight)?;
    let demand = Demand { name: &is.nodeset, nodeset, place: &is.place, count: 1 };
    room.fits(&demand)?;
    room.take(&demand);
    Ok(())
}

fn may_exist(attempt: &Attempt, nodeset: &Nodeset, sight: &Sight<'_>) -> Result<(), Why> {
    let place = &attempt.is.place;
    let ground = Ground::new(&place.subscription, &place.region);
    match sight.facts.sku(&ground, &attempt.is.sku) {
        Some(facts) if !facts.is_offered => Err(Why::NotOffered),
        Some(facts) if nodeset.interconnect == Interconnect::Infiniband && !facts.is_rdma => {
            Err(Why::NoInfiniband)
        }
        Some(_) | None => Ok(()),
    }
}

/// Attempts of one job together, jobs in their order; then the others, each by itself.
fn grouped<'a>(fresh: &[&'a Attempt], jobs: &[JobNodes]) -> Vec<Vec<&'a Attempt>> {
    let mut left: BTreeMap<&NodeName, &Attempt> =
        fresh.iter().map(|attempt| (&attempt.is.node, *attempt)).collect();
    let mut groups = Vec::new();
    for job in jobs {
        let group: Vec<&Attempt> = job.nodes.iter().filter_map(|node| left.remove(node)).collect();
        if !group.is_empty() {
            groups.push(group);
        }
    }
    groups.extend(
        fresh.iter().filter(|attempt| left.contains_key(&attempt.is.node)).map(|a| vec![*a]),
    );
    groups
}
