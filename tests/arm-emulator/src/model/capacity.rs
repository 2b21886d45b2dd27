//! Room for VMs: how many Azure can place, per size, region, zone and priority, or within one
//! availability set's cluster. Without a limit there is always room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids;
use super::message::ArmError;

/// A limit; members left out match everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// Region, or `*`.
    pub region: String,
    /// SKU name, or `*`.
    pub sku: String,
    /// Zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// Spot only, or regular only.
    #[serde(default)]
    pub spot: Option<bool>,
    /// The limit is for each availability set by itself: the room of the cluster it is pinned to.
    #[serde(default)]
    pub in_set: bool,
    /// How many VMs; null takes the limit away.
    pub vms: Option<u32>,
    /// Found out while the operation runs instead of at PUT.
    #[serde(default)]
    pub late: bool,
    /// Another error code than the usual one.
    #[serde(default)]
    pub code: Option<String>,
    /// Another text than the usual one.
    #[serde(default)]
    pub message: Option<String>,
}

/// What one VM takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// Region.
    pub region: String,
    /// SKU name as the catalog spells it.
    pub sku: String,
    /// Zone, or empty.
    pub zone: String,
    /// Spot?
    pub spot: bool,
}

/// Limits and what is taken.
#[derive(Clone, Debug, Default)]
pub struct Capacity {
    rooms: Vec<Room>,
    taken: BTreeMap<Demand, u32>,
}

impl Room {
    fn matches(&self, demand: &Demand) -> bool {
        (self.region == "*" || ids::region(&self.region) == demand.region)
            && (self.sku == "*" || self.sku.eq_ignore_ascii_case(&demand.sku))
            && self.zone.as_ref().is_none_or(|zone| *zone == demand.zone)
            && self.spot.is_none_or(|spot| spot == demand.spot)
    }

    fn same_scope(&self, other: &Room) -> bool {
        ids::region(&self.region) == ids::region(&other.region)
            && self.sku.eq_ignore_ascii_case(&other.sku)
            && (&self.zone, self.spot, self.in_set) == (&other.zone, other.spot, other.in_set)
    }

    /// The refusal, as Azure words it at this moment.
    pub fn refusal(&self, demand: &Demand, is_in_set: bool) -> ArmError {
        let (code, text) =
            if self.late { late_words(demand, is_in_set) } else { early_words(demand) };
        let code = self.code.as_deref().unwrap_or(code);
        ArmError::new(409, code, self.message.clone().unwrap_or(text)).target("vmSize")
    }
}

fn early_words(demand: &Demand) -> (&'static str, String) {
    let text = format!(
        "The requested VM size for resource 'Following SKUs have failed for Capacity \
         Restrictions: {}' is currently not available in location '{}'. Please try another size \
         or deploy to a different location or different zone. See \
         https://aka.ms/azureskunotavailable for details.",
        demand.sku, demand.region
    );
    ("SkuNotAvailable", text)
}

fn late_words(demand: &Demand, is_in_set: bool) -> (&'static str, String) {
    let guidance = "Read more about improving likelihood of allocation success at \
                    http://aka.ms/allocation-guidance";
    if is_in_set {
        let text = format!(
            "Allocation failed. The availability set that the VM belongs to is bound to one \
             cluster, and that cluster has no sufficient capacity for the requested VM size. \
             {guidance}"
        );
        return ("AllocationFailed", text);
    }
    let (code, place) = if demand.zone.is_empty() {
        ("AllocationFailed", "region")
    } else {
        ("ZonalAllocationFailed", "zone")
    };
    let text = format!(
        "Allocation failed. We do not have sufficient capacity for the requested VM size in this \
         {place}. {guidance}"
    );
    (code, text)
}

impl Capacity {
    /// Sets, changes or takes away a limit.
    pub fn set(&mut self, room: Room) {
        self.rooms.retain(|known| !known.same_scope(&room));
        if room.vms.is_some() {
            self.rooms.push(room);
        }
    }

    /// All limits.
    pub fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// The limit that leaves no room for one more, among those that speak at this moment.
    /// `in_set` is the number of VMs placed in the same availability set, if there is one.
    pub fn full(&self, demand: &Demand, late: bool, in_set: Option<u32>) -> Option<&Room> {
        self.rooms.iter().filter(|room| room.late == late && room.matches(demand)).find(|room| {
            let used = match (room.in_set, in_set) {
                (true, None) => return false,
                (true, Some(placed)) => placed,
                (false, _) => self.used(room),
            };
            room.vms.is_some_and(|most| used >= most)
        })
    }

    /// Whether a limit shows only while the operation runs.
    pub fn has_late_limit(&self, demand: &Demand) -> bool {
        self.rooms.iter().any(|room| room.late && room.matches(demand))
    }

    fn used(&self, room: &Room) -> u32 {
        let matching = self.taken.iter().filter(|(demand, _)| room.matches(demand));
        matching.map(|(_, count)| *count).sum()
    }

    /// A VM got a place.
    pub fn take(&mut self, demand: Demand) {
        *self.taken.entry(demand).or_insert(0) += 1;
    }

    /// A VM gave its place back.
    pub fn give_back(&mut self, demand: &Demand) {
        if let Some(count) = self.taken.get_mut(demand) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_found_by_scope_and_moment() {
        let mut capacity = Capacity::default();
        let room = json!({"region": "West Europe", "sku": "standard_d2s_v5", "zone": "1",
                          "vms": 1, "late": true});
        capacity.set(serde_json::from_value(room).unwrap());
        let demand = |zone: &str| Demand {
            region: "westeurope".into(),
            sku: "Standard_D2s_v5".into(),
            zone: zone.into(),
            spot: false,
        };
        assert!(capacity.full(&demand("1"), true, None).is_none());
        capacity.take(demand("1"));
        assert!(capacity.full(&demand("1"), false, None).is_none());
        let full = capacity.full(&demand("1"), true, None).unwrap();
        assert_eq!(full.refusal(&demand("1"), false).code, "ZonalAllocationFailed");
        assert!(capacity.full(&demand("2"), true, None).is_none());
    }
}
