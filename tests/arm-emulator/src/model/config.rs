//! What an emulator starts with: subscriptions, groups, networks, limits and habits.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::capacity::Room;
use super::ids;
use super::quota::Allowance;
use super::rights::Rights;
use super::settings::{Delays, Habits, Offers};
use super::throttle::Limits;
use super::time::Millis;

/// The subscription of the default configuration.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
/// The tenant of the default configuration: that of the default identities.
pub const TENANT: &str = crate::identity::TENANT;

/// The configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where chance begins.
    pub seed: u64,
    /// Tenant of the subscriptions.
    pub tenant: String,
    /// Subscriptions that exist.
    pub subscriptions: Vec<String>,
    /// Resource groups that exist from the beginning.
    pub groups: Vec<GroupSeed>,
    /// Networks that exist from the beginning.
    pub vnets: Vec<VnetSeed>,
    /// Durations and polling advice: `{preset = "quick" | "real"}` and what differs from it.
    #[serde(deserialize_with = "delays")]
    pub delays: Delays,
    /// Azure's habits.
    pub habits: Habits,
    /// Sizes, images, terms and prices.
    pub offers: Offers,
    /// Who may do what.
    pub rights: Rights,
    /// Rate limits.
    pub throttle: Limits,
    /// Limits of room.
    pub capacity: Vec<Room>,
    /// Limits of quota.
    pub quota: Vec<Allowance>,
    /// How far Resource Graph lies behind, in milliseconds.
    pub graph_lag_ms: Millis,
}

/// A resource group to begin with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSeed {
    /// The first subscription unless given.
    #[serde(default)]
    pub subscription: Option<String>,
    /// Name.
    pub name: String,
    /// Region.
    pub location: String,
}

/// A network to begin with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VnetSeed {
    /// The first subscription unless given.
    #[serde(default)]
    pub subscription: Option<String>,
    /// Resource group.
    pub group: String,
    /// Name.
    pub name: String,
    /// Address space.
    pub prefix: String,
    /// Subnets: name and network.
    pub subnets: Map<String, Value>,
}

fn delays<'de, D: Deserializer<'de>>(from: D) -> Result<Delays, D::Error> {
    let changes = Value::deserialize(from)?;
    Delays::default().changed(&changes).map_err(serde::de::Error::custom)
}

impl Default for Config {
    fn default() -> Config {
        let group = |name: &str, location: &str| GroupSeed {
            subscription: None,
            name: name.to_owned(),
            location: location.to_owned(),
        };
        let vnet = |group: &str, prefix: &str, subnet: &str| VnetSeed {
            subscription: None,
            group: group.to_owned(),
            name: "vnet".to_owned(),
            prefix: prefix.to_owned(),
            subnets: Map::from_iter([("compute".to_owned(), Value::from(subnet))]),
        };
        Config {
            seed: 1,
            tenant: TENANT.to_owned(),
            subscriptions: vec![SUBSCRIPTION.to_owned()],
            groups: vec![
                group("hpc", "westeurope"),
                group("net", "westeurope"),
                group("hpc-north", "northeurope"),
                group("net-north", "northeurope"),
            ],
            vnets: vec![
                vnet("net", "10.0.0.0/16", "10.0.0.0/20"),
                vnet("net-north", "10.1.0.0/16", "10.1.0.0/20"),
            ],
            delays: Delays::default(),
            habits: Habits::default(),
            offers: Offers::default(),
            rights: Rights::default(),
            throttle: Limits::default(),
            capacity: Vec::new(),
            quota: Vec::new(),
            graph_lag_ms: 0,
        }
    }
}

impl Config {
    /// The subscription meant by a seed.
    pub fn subscription<'a>(&'a self, given: &'a Option<String>) -> &'a str {
        let first = self.subscriptions.first().map_or(SUBSCRIPTION, String::as_str);
        given.as_deref().unwrap_or(first)
    }
}

impl super::Model {
    /// Makes what the configuration lists.
    pub(super) fn furnish(&mut self, config: &Config) -> Result<(), String> {
        for seed in &config.groups {
            let subscription = config.subscription(&seed.subscription);
            if !self.subscriptions.contains(&subscription.to_ascii_lowercase()) {
                return Err(format!(
                    "group '{}' names subscription '{subscription}', which is not listed",
                    seed.name
                ));
            }
            self.make_group(subscription, &seed.name, &ids::region(&seed.location));
        }
        for seed in &config.vnets {
            self.seed_vnet(config.subscription(&seed.subscription), seed)?;
        }
        for room in &config.capacity {
            self.capacity.set(room.clone());
        }
        for allowance in &config.quota {
            self.quota.set(allowance);
        }
        self.set_graph_lag(config.graph_lag_ms);
        self.history.mark_seeded();
        Ok(())
    }
}
