//! What can be tuned: delays, polling advice, habits, images. Read from the configuration file and
//! changed over the control interface, where unknown members are refused with the known ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::time::{MINUTE, Millis, SECOND};

/// How long something takes, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spread {
    /// Always the same.
    Fixed(u64),
    /// Log-normal through these two percentiles.
    Percentiles {
        /// The median.
        p50: u64,
        /// Nine of ten are faster.
        p90: u64,
    },
}

/// Short enough for tests, long enough that every state in between can be seen.
const QUICK: Spread = Spread::Fixed(300);

/// How long operations take, and what clients are told about polling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delays {
    /// PUT of a new VM until it is provisioned.
    pub vm_create_ms: Spread,
    /// PUT or PATCH of a VM that exists.
    pub vm_update_ms: Spread,
    /// DELETE of a VM.
    pub vm_delete_ms: Spread,
    /// DELETE of a VM with `forceDeletion`.
    pub vm_force_delete_ms: Spread,
    /// Start of a deallocated or stopped VM.
    pub vm_start_ms: Spread,
    /// Restart.
    pub vm_restart_ms: Spread,
    /// Deallocate.
    pub vm_deallocate_ms: Spread,
    /// Power off without giving the place back.
    pub vm_power_off_ms: Spread,
    /// From `simulateEviction` until the VM is taken.
    pub eviction_ms: Spread,
    /// DELETE of a NIC or a disk.
    pub resource_delete_ms: Spread,
    /// DELETE of a resource group.
    pub group_delete_ms: Spread,
    /// `Retry-After` on the answer that starts an operation; none when null or false.
    #[serde(deserialize_with = "seconds_or_none")]
    pub retry_after_s: Option<u32>,
    /// `Retry-After` on the first poll of an operation that still runs; none when null or false.
    #[serde(deserialize_with = "seconds_or_none")]
    pub first_poll_retry_after_s: Option<u32>,
    /// Share of a create after which a place is found or not (0 to 1).
    pub allocated_at: f64,
    /// Share of a create after which the VM runs, though it is not yet provisioned (0 to 1).
    pub running_at: f64,
    /// Creates of chosen SKUs take this long instead.
    pub vm_create_ms_by_sku: BTreeMap<String, Spread>,
}

/// TOML has no null: there `false` stands for none.
fn seconds_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Seconds(u32),
        None(Option<bool>),
    }
    match Given::deserialize(from)? {
        Given::Seconds(seconds) => Ok(Some(seconds)),
        Given::None(None | Some(false)) => Ok(None),
        Given::None(Some(true)) => Err(serde::de::Error::custom("seconds, false or null")),
    }
}

impl Default for Delays {
    fn default() -> Delays {
        Delays {
            vm_create_ms: QUICK,
            vm_update_ms: QUICK,
            vm_delete_ms: QUICK,
            vm_force_delete_ms: QUICK,
            vm_start_ms: QUICK,
            vm_restart_ms: QUICK,
            vm_deallocate_ms: QUICK,
            vm_power_off_ms: QUICK,
            eviction_ms: QUICK,
            resource_delete_ms: Spread::Fixed(0),
            group_delete_ms: QUICK,
            // FACTS §2: 10 s on the VM PUT, 35 s on the first poll, none later.
            retry_after_s: Some(10),
            first_poll_retry_after_s: Some(35),
            allocated_at: 0.3,
            running_at: 0.6,
            vm_create_ms_by_sku: BTreeMap::new(),
        }
    }
}

impl Delays {
    /// The durations measured from recorded traffic (FACTS §1.4). An eviction happens within 30
    /// minutes of being simulated (FACTS §1.2).
    pub fn real() -> Delays {
        let spread = |p50: u64, p90: u64| Spread::Percentiles { p50: p50 * 1000, p90: p90 * 1000 };
        Delays {
            vm_create_ms: spread(74, 146),
            vm_update_ms: spread(10, 30),
            vm_delete_ms: spread(43, 121),
            vm_force_delete_ms: spread(20, 60),
            vm_start_ms: spread(26, 80),
            vm_restart_ms: spread(26, 80),
            vm_deallocate_ms: spread(44, 141),
            vm_power_off_ms: spread(20, 40),
            eviction_ms: spread(300, 1200),
            resource_delete_ms: spread(5, 12),
            group_delete_ms: spread(60, 180),
            ..Delays::default()
        }
    }

    /// These durations with changes; `preset` (`quick` or `real`) begins from there instead.
    ///
    /// # Errors
    /// Unknown members or presets, with the known ones.
    pub fn changed(&self, changes: &Value) -> Result<Delays, String> {
        let mut changes = changes.clone();
        let preset = changes.as_object_mut().and_then(|members| members.remove("preset"));
        let base = match preset.as_ref().map(|preset| preset.as_str().unwrap_or("")) {
            None => self.clone(),
            Some("quick") => Delays::default(),
            Some("real") => Delays::real(),
            Some(other) => return Err(format!("unknown preset '{other}': 'quick' or 'real'")),
        };
        patched(&base, &changes)
    }

    /// How long a create of this SKU takes.
    pub fn vm_create(&self, sku: &str) -> Spread {
        let chosen =
            self.vm_create_ms_by_sku.iter().find(|(name, _)| name.eq_ignore_ascii_case(sku));
        chosen.map_or(self.vm_create_ms, |(_, spread)| *spread)
    }
}

/// Azure's habits that have bitten clients; all on unless a test wants otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Habits {
    /// Resource groups come back in capitals in lists and references (FACTS §1.2).
    pub changed_case: bool,
    /// A NIC of a failed create stays reserved this long (FACTS §1.1: 180 s).
    pub nic_reserved_ms: Millis,
    /// An address stays held this long after a forced delete (FACTS §1.2: up to 10 min).
    pub address_held_ms: Millis,
    /// For this long after a VM has gone compute answers 404 `NotFound` before Resource Manager
    /// forgets it too and answers 404 `ResourceNotFound` (FACTS §1.2).
    pub compute_not_found_ms: Millis,
    /// Azure adds this tag of its own to every VM (FACTS §1.1); none when null.
    pub extra_tag: Option<(String, String)>,
    /// Entries per page of a list (FACTS §1.2: about 50).
    pub page_size: usize,
    /// The activity log shows what happened so much later (FACTS §7: minutes).
    pub activity_late_ms: Millis,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            changed_case: true,
            nic_reserved_ms: 180 * SECOND,
            address_held_ms: 10 * MINUTE,
            compute_not_found_ms: SECOND,
            extra_tag: None,
            page_size: 50,
            activity_late_ms: 3 * MINUTE,
        }
    }
}

/// What is peculiar about an image; an ordinary one is x64, of the second generation, everywhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageKind {
    /// A text in its id or URN.
    pub contains: String,
    /// `V1` or `V2`.
    pub generation: Option<String>,
    /// `x64` or `Arm64`.
    pub architecture: Option<String>,
    /// The only regions that have it (galleries).
    pub regions: Option<Vec<String>>,
    /// Size of its OS disk in GB.
    pub disk_gb: Option<u32>,
    /// When it ends, as Azure writes times.
    pub retires: Option<String>,
}

/// The OS disk of an ordinary image, in GB.
const IMAGE_DISK_GB: u32 = 30;

impl ImageKind {
    /// Its generation.
    pub fn generation(&self) -> &str {
        self.generation.as_deref().unwrap_or("V2")
    }

    /// Its architecture.
    pub fn architecture(&self) -> &str {
        self.architecture.as_deref().unwrap_or("x64")
    }

    /// Its OS disk in GB.
    pub fn disk_gb(&self) -> u32 {
        self.disk_gb.unwrap_or(IMAGE_DISK_GB)
    }
}

/// A size that is not sold to the subscription in a region, or in some of its zones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restriction {
    /// The size.
    pub sku: String,
    /// The region.
    pub region: String,
    /// The zones; empty: the whole region.
    #[serde(default)]
    pub zones: Vec<String>,
}

/// What can be had: sizes, images, terms, registrations, prices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Offers {
    /// Texts; an image whose id or URN contains one of them does not exist.
    pub unknown_images: BTreeSet<String>,
    /// Texts; an image whose id or URN contains one of them needs `plan` in the body.
    pub images_with_plan: BTreeSet<String>,
    /// Spot VMs cost this much (USD per hour); a lower `maxPrice` is refused. No check when null.
    pub spot_price: Option<f64>,
    /// What is peculiar about images; the first that fits counts.
    pub images: Vec<ImageKind>,
    /// Texts; the terms of a plan (`publisher:product:name`) that contains one are not accepted.
    pub unaccepted_plans: BTreeSet<String>,
    /// Providers that the subscriptions are not registered for: `Microsoft.Network`.
    pub unregistered_providers: BTreeSet<String>,
    /// Sizes that are not sold here or there.
    pub restrictions: Vec<Restriction>,
    /// The sizes that the list of sizes has, whose families are those of the usages; all of the
    /// catalog's if empty.
    pub listed: BTreeSet<String>,
    /// Regular retail prices by size, USD per hour, where they are not the usual ones.
    pub prices: BTreeMap<String, f64>,
}

impl Offers {
    /// The restrictions of a size in a region.
    pub fn restrictions_of(&self, sku: &str, region: &str) -> impl Iterator<Item = &Restriction> {
        self.restrictions.iter().filter(move |one| {
            one.sku.eq_ignore_ascii_case(sku) && super::ids::region(&one.region) == region
        })
    }
}

/// `current` with the members of `patch` put over it.
///
/// # Errors
/// The words of the refusal: unknown members with the list of known ones, or a wrong type.
pub fn patched<T: Serialize + DeserializeOwned>(current: &T, patch: &Value) -> Result<T, String> {
    let mut merged = serde_json::to_value(current).map_err(|error| error.to_string())?;
    let Value::Object(changes) = patch else {
        return Err("the body must be a JSON object".to_owned());
    };
    if let Value::Object(members) = &mut merged {
        members.extend(changes.clone());
    }
    serde_json::from_value(merged).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_changes_what_it_names_and_refuses_what_is_unknown() {
        let changed =
            patched(&Delays::default(), &json!({"vm_create_ms": 5, "retry_after_s": null}));
        let changed = changed.unwrap();
        assert_eq!(changed.vm_create_ms, Spread::Fixed(5));
        assert_eq!(changed.retry_after_s, None);
        assert_eq!(changed.vm_delete_ms, QUICK);
        let refused = patched(&Delays::default(), &json!({"vm_creat_ms": 5})).unwrap_err();
        assert!(refused.contains("vm_create_ms"), "{refused}");
    }
}
