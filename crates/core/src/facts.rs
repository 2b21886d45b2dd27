//! What Azure says about sizes and quotas, as far as it is known: kept in the ledger for a while,
//! never needed. Whoever decides with facts must decide sensibly without them ("fail open").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::config::{Region, Sku};

/// The quota of all regular cores of a region (Compute usages).
pub const QUOTA_CORES: &str = "cores";
/// The quota of all Spot cores of a region.
pub const QUOTA_SPOT_CORES: &str = "lowprioritycores";

/// What the SKU API says of a size in a region (Resource Skus - List).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuFacts {
    /// `family`, `standardHBv3Family`: what quota counts.
    pub family: String,
    /// `vCPUs`: those of the unconstrained size, which quota counts (FACTS §6.4).
    pub vcpus: u32,
    /// `RdmaEnabled`: whether it has InfiniBand.
    pub is_rdma: bool,
    /// Whether this subscription may use it in the region at all (no restriction of type
    /// `Location`).
    pub is_offered: bool,
}

/// A row of Azure's usages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The name as Azure writes it.
    pub name: String,
    /// In use.
    pub used: u64,
    /// At most.
    pub limit: u64,
}

/// The usages of one subscription in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usages {
    /// When Azure said so.
    pub at: Timestamp,
    /// By name in lower case.
    pub rows: BTreeMap<String, Usage>,
}

impl Usages {
    /// The row of a quota; names have no case.
    pub fn of(&self, name: &str) -> Option<&Usage> {
        self.rows.get(&name.to_ascii_lowercase())
    }
}

/// A subscription's part of a region: what quota is counted for. The subscription is in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ground {
    /// Subscription id, in lower case.
    pub subscription: String,
    /// Region.
    pub region: Region,
}

impl Ground {
    /// Of a subscription in any case.
    pub fn new(subscription: &str, region: &Region) -> Ground {
        Ground { subscription: subscription.to_ascii_lowercase(), region: region.clone() }
    }
}

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Sizes.
    pub skus: BTreeMap<(Ground, Sku), SkuFacts>,
    /// Quotas.
    pub usages: BTreeMap<Ground, Usages>,
}

impl Facts {
    /// What is known of a size at a place.
    pub fn sku(&self, ground: &Ground, sku: &Sku) -> Option<&SkuFacts> {
        self.skus.get(&(ground.clone(), sku.clone()))
    }
}
