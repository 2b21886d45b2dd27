//! Quota per subscription and region: cores of each family, all regular cores, all Spot cores,
//! VMs and availability sets. Counted from the accepted PUT until the VM is gone, failed and
//! deallocated ones included (FACTS §5, §7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::message::ArmError;
use crate::catalog::SkuFacts;

/// Cores of each kind, unless configured: more than any test needs.
const CORES_DEFAULT: u64 = 1_000_000;
/// VMs per region (FACTS §6.1).
const VMS_DEFAULT: u64 = 25_000;
/// Availability sets per region (FACTS §6.1).
const SETS_DEFAULT: u64 = 2_500;

/// All regular cores of a region.
pub const CORES: &str = "cores";
/// All Spot cores of a region.
pub const SPOT_CORES: &str = "lowPriorityCores";
/// All VMs of a region.
pub const VMS: &str = "virtualMachines";
/// All availability sets of a region.
pub const SETS: &str = "availabilitySets";

/// A limit as it is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Subscription; each of them when left out.
    #[serde(default)]
    pub subscription: Option<String>,
    /// Region.
    pub region: String,
    /// `cores`, `lowPriorityCores`, `virtualMachines`, `availabilitySets` or a family.
    pub name: String,
    /// The limit; null for the default.
    pub limit: Option<u64>,
}

/// Where quota is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    subscription: String,
    region: String,
}

impl Place {
    /// A region of a subscription.
    pub fn new(subscription: &str, region: &str) -> Place {
        let subscription = subscription.to_ascii_lowercase();
        Place { subscription, region: super::ids::region(region) }
    }
}

/// Limits and use, per subscription and region.
#[derive(Clone, Debug, Default)]
pub struct Quota {
    limits: BTreeMap<(Place, String), u64>,
    used: BTreeMap<(Place, String), u64>,
}

/// What a VM of this size and priority counts against: name and amount.
pub fn charges(sku: &SkuFacts, is_spot: bool) -> Vec<(String, u64)> {
    let cores = u64::from(sku.vcpus);
    let mut charges = vec![(VMS.to_owned(), 1)];
    if is_spot {
        charges.push((SPOT_CORES.to_owned(), cores));
    } else {
        charges.push((CORES.to_owned(), cores));
        charges.push((sku.family.to_owned(), cores));
    }
    charges
}

/// The name as the refusal's text has it (FACTS §5).
fn words(name: &str) -> String {
    match name {
        CORES => "Total Regional Cores".to_owned(),
        SPOT_CORES => "LowPriorityCores".to_owned(),
        VMS => "Virtual Machines".to_owned(),
        SETS => "Availability Sets".to_owned(),
        family => format!("{family} Cores"),
    }
}

fn default_limit(name: &str) -> u64 {
    match name {
        VMS => VMS_DEFAULT,
        SETS => SETS_DEFAULT,
        _ => CORES_DEFAULT,
    }
}

impl Quota {
    /// Sets a limit, or takes it back to the default.
    pub fn set(&mut self, allowance: &Allowance) {
        // The empty subscription stands for all of them.
        let subscription = allowance.subscription.as_deref().unwrap_or("");
        let key = key(&Place::new(subscription, &allowance.region), &allowance.name);
        match allowance.limit {
            Some(limit) => self.limits.insert(key, limit),
            None => self.limits.remove(&key),
        };
    }

    fn limit(&self, place: &Place, name: &str) -> u64 {
        let everywhere = Place::new("", &place.region);
        let set = self.limits.get(&key(place, name)).or(self.limits.get(&key(&everywhere, name)));
        set.copied().unwrap_or_else(|| default_limit(name))
    }

    fn in_use(&self, place: &Place, name: &str) -> u64 {
        self.used.get(&key(place, name)).copied().unwrap_or(0)
    }

    /// Whether all of it fits.
    ///
    /// # Errors
    /// 409 `OperationNotAllowed` with the text that names limit, use and demand.
    pub fn check(&self, place: &Place, charges: &[(String, u64)]) -> Result<(), Box<ArmError>> {
        for (name, amount) in charges {
            let (limit, used) = (self.limit(place, name), self.in_use(place, name));
            if used + amount > limit {
                let text = format!(
                    "Operation could not be completed as it results in exceeding approved {} \
                     quota. Additional details - Deployment Model: Resource Manager, Location: \
                     {}, Current Limit: {limit}, Current Usage: {used}, Additional \
                     Required: {amount}, (Minimum) New Limit Required: {}. Submit a request for \
                     Quota increase by specifying parameters listed in the 'Details' section for \
                     deployment to succeed. Please read more about quota limits at \
                     https://docs.microsoft.com/en-us/azure/azure-supportability/\
                     per-vm-quota-requests",
                    words(name),
                    place.region,
                    used + amount
                );
                return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
            }
        }
        Ok(())
    }

    /// Counts it.
    pub fn take(&mut self, place: &Place, charges: &[(String, u64)]) {
        for (name, amount) in charges {
            *self.used.entry(key(place, name)).or_insert(0) += amount;
        }
    }

    /// Counts it no more.
    pub fn give_back(&mut self, place: &Place, charges: &[(String, u64)]) {
        for (name, amount) in charges {
            let used = self.used.entry(key(place, name)).or_insert(0);
            *used = used.saturating_sub(*amount);
        }
    }

    /// The usages list of a region; `families` are the catalog's.
    pub fn usages(&self, place: &Place, families: &[&str]) -> Value {
        let general = [SETS, CORES, VMS, SPOT_CORES];
        let rows = general.iter().chain(families).map(|name| {
            json!({
                "unit": "Count",
                "currentValue": self.in_use(place, name),
                "limit": self.limit(place, name),
                "name": {"value": name, "localizedValue": words(name)},
            })
        });
        Value::Array(rows.collect())
    }
}

fn key(place: &Place, name: &str) -> (Place, String) {
    (place.clone(), name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_refusal_names_limit_use_and_demand() {
        let mut quota = Quota::default();
        let limit = Allowance {
            subscription: None,
            region: "westeurope".into(),
            name: SPOT_CORES.into(),
            limit: Some(5),
        };
        let place = Place::new("S", "West Europe");
        let cores = |count: u64| [(SPOT_CORES.to_owned(), count)];
        quota.set(&limit);
        quota.take(&place, &cores(4));
        let error = quota.check(&place, &cores(2)).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (409, "OperationNotAllowed"));
        for part in [
            "exceeding approved LowPriorityCores quota",
            "Location: westeurope",
            "Current Limit: 5",
            "Current Usage: 4",
            "Additional Required: 2",
        ] {
            assert!(error.message.contains(part), "{} lacks {part}", error.message);
        }
        quota.check(&Place::new("other", "westeurope"), &cores(2)).unwrap();
        quota.give_back(&place, &cores(4));
        quota.check(&place, &cores(2)).unwrap();
    }
}
