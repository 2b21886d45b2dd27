//! How much still fits: Azure's quotas as it last told them, and the operator's own caps, less what
//! is planned meanwhile. Nothing is refused for a number that is not known or too old.

use std::collections::BTreeMap;
use std::fmt;

use crate::attempt::{Attempt, AttemptPlace};
use crate::config::{Nodeset, Region};
use crate::facts::{Ground, QUOTA_CORES, QUOTA_SPOT_CORES, SkuFacts, Usages};
use crate::plan::{Sight, Why};
use crate::{NodesetName, SiteName};

/// A limit that would be exceeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Which: `standardHBv3Family`, `cores_max of [site.west]`.
    pub name: String,
    /// In use, ours that are being made included.
    pub used: u64,
    /// At most.
    pub limit: u64,
    /// How much more is wanted, in the same unit (cores).
    pub wanted: u64,
    /// The region, where the limit is one of a region.
    pub region: Option<Region>,
}

impl fmt::Display for Shortage {
    /// "standardHBv3Family: 3,600 of 3,840 cores used in westeurope, 720 more wanted".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortage { name, used, limit, wanted, region } = self;
        let (used, limit, wanted) = (Grouped(*used), Grouped(*limit), Grouped(*wanted));
        write!(f, "{name}: {used} of {limit} cores used")?;
        if let Some(region) = region {
            write!(f, " in {region}")?;
        }
        write!(f, ", {wanted} more wanted")?;
        if self.limit == 0 && region.is_some() {
            f.write_str("; the quota is 0: ask Azure to raise it")?;
        }
        Ok(())
    }
}

/// A number with commas between its thousands.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// What is taken of each limit. Cloned before a try that may have to be undone.
#[derive(Debug, Clone)]
pub(super) struct Room<'a> {
    sight: &'a Sight<'a>,
    /// Cores that Azure's numbers do not count yet, by quota.
    quotas: BTreeMap<(Ground, String), u64>,
    /// Cores of ours that live.
    sites: BTreeMap<SiteName, u64>,
    nodesets: BTreeMap<NodesetName, u64>,
}

/// VMs that want room together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand<'a> {
    pub(super) name: &'a NodesetName,
    pub(super) nodeset: &'a Nodeset,
    pub(super) place: &'a AttemptPlace,
    pub(super) count: u64,
}

impl<'a> Room<'a> {
    /// `leaves`: attempts that are not counted, because they are what is judged.
    pub(super) fn new(sight: &'a Sight<'a>, leaves: impl Fn(&Attempt) -> bool) -> Room<'a> {
        let (sites, nodesets) = (BTreeMap::new(), BTreeMap::new());
        let mut room = Room { sight, quotas: BTreeMap::new(), sites, nodesets };
        for attempt in sight.living.iter().filter(|attempt| !leaves(attempt)) {
            room.count(attempt);
        }
        room
    }

    fn count(&mut self, attempt: &Attempt) {
        let place = &attempt.is.place;
        let ground = Ground::new(&place.subscription, &place.region);
        let Some(facts) = self.sight.facts.sku(&ground, &attempt.is.sku) else { return };
        let cores = u64::from(facts.vcpus);
        *self.sites.entry(place.site.clone()).or_insert(0) += cores;
        *self.nodesets.entry(attempt.is.nodeset.clone()).or_insert(0) += cores;
        let is_counted_by_azure = self
            .sight
            .facts
            .usages
            .get(&ground)
            .is_some_and(|usages| attempt.accepted_at.is_some_and(|at| at < usages.at));
        if !is_counted_by_azure {
            self.take_quotas(&ground, (facts, attempt.is.is_spot), cores);
        }
    }

    /// Whether all of `demand` fits.
    pub(super) fn fits(&self, demand: &Demand<'_>) -> Result<(), Why> {
        let AttemptPlace { subscription, region, site, .. } = demand.place;
        let ground = Ground::new(subscription, region);
        let Some(facts) = self.sight.facts.sku(&ground, &demand.nodeset.sku) else { return Ok(()) };
        let wanted = u64::from(facts.vcpus) * demand.count;
        let used = |counted: Option<&u64>| counted.copied().unwrap_or(0);
        let site_max = self.sight.config.sites.get(site).and_then(|site| site.cores_max);
        let caps = [
            (format!("cores_max of [site.{site}]"), used(self.sites.get(site)), site_max),
            (
                format!("cores_max of [nodeset.{}]", demand.name),
                used(self.nodesets.get(demand.name)),
                demand.nodeset.cores_max,
            ),
        ];
        for (name, used, limit) in caps {
            let Some(limit) = limit else { continue };
            if used + wanted > limit {
                let shortage = Shortage { name, used, limit, wanted, region: None };
                return Err(Why::Cap(Box::new(shortage)));
            }
        }
        let Some(usages) = self.trusted(&ground) else { return Ok(()) };
        for name in quota_names(facts, demand.nodeset.is_spot()) {
            let Some(row) = usages.of(&name) else { continue };
            let key = (ground.clone(), name.to_ascii_lowercase());
            let used = row.used + used(self.quotas.get(&key));
            if used + wanted > row.limit {
                let (name, limit, region) = (row.name.clone(), row.limit, Some(region.clone()));
                let shortage = Shortage { name, used, limit, wanted, region };
                return Err(Why::Quota(Box::new(shortage)));
            }
        }
        Ok(())
    }

    /// How many VMs of `demand`, at most `most`, fit; that many are taken.
    pub(super) fn take_most(&mut self, demand: &Demand<'_>, most: u64) -> u64 {
        let (mut fits, mut too_many) = (0, most + 1);
        while fits + 1 < too_many {
            let count = fits.midpoint(too_many);
            match self.fits(&Demand { count, ..*demand }) {
                Ok(()) => fits = count,
                Err(_) => too_many = count,
            }
        }
        self.take(&Demand { count: fits, ..*demand });
        fits
    }

    /// Takes the room of `demand`, whether it fits or not.
    pub(super) fn take(&mut self, demand: &Demand<'_>) {
        let AttemptPlace { subscription, region, site, .. } = demand.place;
        let ground = Ground::new(subscription, region);
        let Some(facts) = self.sight.facts.sku(&ground, &demand.nodeset.sku) else { return };
        let cores = u64::from(facts.vcpus) * demand.count;
        *self.sites.entry(site.clone()).or_insert(0) += cores;
        *self.nodesets.entry(demand.name.clone()).or_insert(0) += cores;
        self.take_quotas(&ground, (facts, demand.nodeset.is_spot()), cores);
    }

    fn take_quotas(&mut self, ground: &Ground, (facts, is_spot): (&SkuFacts, bool), cores: u64) {
        for name in quota_names(facts, is_spot) {
            let key = (ground.clone(), name.to_ascii_lowercase());
            *self.quotas.entry(key).or_insert(0) += cores;
        }
    }

    fn trusted(&self, ground: &Ground) -> Option<&'a Usages> {
        let sight: &'a Sight<'a> = self.sight;
        sight.facts.usages.get(ground).filter(|usages| usages.at >= sight.usages_since)
    }
}

/// The quotas of cores that a VM counts against (FACTS §5, §7).
fn quota_names(facts: &SkuFacts, is_spot: bool) -> Vec<String> {
    if is_spot {
        vec![QUOTA_SPOT_CORES.to_owned()]
    } else {
        vec![facts.family.clone(), QUOTA_CORES.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_reads_as_people_need_it() {
        let mut shortage = Shortage {
            name: "standardHBv3Family".to_owned(),
            used: 3_600,
            limit: 3_840,
            wanted: 720,
            region: Region::new("westeurope"),
        };
        assert_eq!(
            shortage.to_string(),
            "standardHBv3Family: 3,600 of 3,840 cores used in westeurope, 720 more wanted"
        );
        shortage = Shortage { used: 0, limit: 0, wanted: 1_234_567, ..shortage };
        assert_eq!(
            shortage.to_string(),
            "standardHBv3Family: 0 of 0 cores used in westeurope, 1,234,567 more wanted; the \
             quota is 0: ask Azure to raise it"
        );
    }
}
