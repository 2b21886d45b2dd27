//! What Azure says of a VM size in a region, for what people configure: node lines of slurm.conf,
//! and whether the size is what a nodeset needs (Resource Skus - List). Whoever drives uses
//! [`crate::facts::SkuFacts`], which is smaller and is kept in the ledger.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Region, Sku};

/// Sockets of the sizes whose guests have several, by family (FACTS §6.4). The SKU API does not say
/// it. Slurm only compares products of sockets, cores and threads, so one too few costs nothing but
/// bindings.
const SOCKETS: [(&str, u32); 9] = [
    ("standardHBrsv2Family", 2),
    ("standardHBv3Family", 2),
    ("standardHBv4Family", 2),
    ("standardHXFamily", 2),
    ("standardHBv5Family", 4),
    ("standardHCSFamily", 2),
    ("standardNDSv2Family", 2),
    ("standardNDSH100v5Family", 2),
    ("standardNDISRH200V5Family", 2),
];

/// A size in a region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Its name as Azure spells it: `Standard_HB120rs_v3`.
    pub name: String,
    /// `family`: what quota counts.
    pub family: String,
    /// `vCPUs`: those of the unconstrained size, which quota counts.
    pub vcpus: u32,
    /// `vCPUsAvailable`: what the guest sees.
    pub vcpus_available: u32,
    /// `vCPUsPerCore`: threads of a core.
    pub threads_per_core: u32,
    /// `MemoryGB`, in MiB. The guest sees some percent less.
    pub memory_mb: u64,
    /// `GPUs`.
    pub gpus: u32,
    /// `RdmaEnabled`: whether it has InfiniBand.
    pub is_rdma: bool,
    /// `LowPriorityCapable`: whether there are Spot VMs of it.
    pub is_spot_capable: bool,
    /// `AcceleratedNetworkingEnabled`.
    pub has_accelerated_networking: bool,
    /// `CpuArchitectureType`: `x64`, `Arm64`.
    pub architecture: String,
    /// `HyperVGenerations`: `V1`, `V2`.
    pub generations: Vec<String>,
    /// The room for an ephemeral OS disk in MiB by placement (`CacheDisk`, `ResourceDisk`,
    /// `NvmeDisk`); only those that the size supports.
    pub ephemeral_mb: BTreeMap<String, u64>,
    /// Zones of the region that have it.
    pub zones: Vec<String>,
    /// Zones in which this subscription may not use it.
    pub zones_restricted: Vec<String>,
    /// Whether this subscription may use it in the region at all.
    pub is_offered: bool,
    /// USD per hour of a regular Linux VM, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// USD per hour of a Spot Linux VM, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_spot: Option<f64>,
}

impl Size {
    /// Sockets, cores per socket and threads per core, whose product is what the guest sees.
    pub fn shape(&self) -> (u32, u32, u32) {
        let cpus = self.vcpus_available.max(1);
        let threads = self.threads_per_core.max(1);
        let threads = if cpus.is_multiple_of(threads) { threads } else { 1 };
        let cores = cpus / threads;
        let is_it = |of: &&(&str, u32)| of.0.eq_ignore_ascii_case(&self.family);
        let sockets = SOCKETS.iter().find(is_it).map_or(1, |(_, sockets)| *sockets);
        let sockets = if cores.is_multiple_of(sockets) { sockets } else { 1 };
        (sockets, cores / sockets, threads)
    }
}

/// Sizes by region and name; names have no case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sizes(BTreeMap<String, BTreeMap<String, Size>>);

impl Sizes {
    /// Adds a size, in place of what was known of it there.
    pub fn insert(&mut self, region: &Region, size: Size) {
        let sizes = self.0.entry(region.as_str().to_owned()).or_default();
        sizes.retain(|name, _| !name.eq_ignore_ascii_case(&size.name));
        sizes.insert(size.name.clone(), size);
    }

    /// Takes over what others know, in place of what was known of the same.
    pub fn extend(&mut self, others: Sizes) {
        for (region, sizes) in others.0 {
            let known = self.0.entry(region).or_default();
            for (name, size) in sizes {
                known.retain(|known, _| !known.eq_ignore_ascii_case(&name));
                known.insert(name, size);
            }
        }
    }

    /// What is known of a size in a region.
    pub fn get(&self, region: &Region, sku: &Sku) -> Option<&Size> {
        let sizes = self.0.get(region.as_str())?;
        let found = sizes.iter().find(|(name, _)| name.eq_ignore_ascii_case(sku.as_str()));
        found.map(|(_, size)| size)
    }

    /// All, to fill in what another source knows.
    pub fn all_mut(&mut self) -> impl Iterator<Item = (&str, &mut Size)> {
        self.0
            .iter_mut()
            .flat_map(|(region, sizes)| sizes.values_mut().map(move |size| (region.as_str(), size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(family: &str, cpus: u32, threads: u32) -> Size {
        Size {
            name: "Standard_X".into(),
            family: family.into(),
            vcpus: 176,
            vcpus_available: cpus,
            threads_per_core: threads,
            memory_mb: 1,
            gpus: 0,
            is_rdma: false,
            is_spot_capable: true,
            has_accelerated_networking: true,
            architecture: "x64".into(),
            generations: Vec::new(),
            ephemeral_mb: BTreeMap::new(),
            zones: Vec::new(),
            zones_restricted: Vec::new(),
            is_offered: true,
            price: None,
            price_spot: None,
        }
    }

    #[test]
    fn the_product_of_the_shape_is_always_the_number_of_cpus() {
        for family in ["standardDSv5Family", "standardHBv5Family", "STANDARDHBV4FAMILY"] {
            for (cpus, threads) in [(1, 2), (4, 2), (176, 1), (3, 1), (24, 1), (23, 2), (0, 0)] {
                let (sockets, cores, threads) = size(family, cpus, threads).shape();
                assert_eq!(sockets * cores * threads, cpus.max(1), "{family} {cpus}");
            }
        }
        assert_eq!(size("standardHBv4Family", 176, 1).shape(), (2, 88, 1));
        assert_eq!(size("standardDSv5Family", 4, 2).shape(), (1, 2, 2));
    }

    #[test]
    fn a_size_is_found_in_any_case_and_known_once() {
        let west = Region::new("westeurope").unwrap();
        let mut sizes = Sizes::default();
        sizes.insert(&west, size("a", 1, 1));
        let again = Size { name: "standard_x".into(), ..size("b", 2, 1) };
        sizes.insert(&west, again);
        assert_eq!(sizes.get(&west, &Sku::new("STANDARD_X").unwrap()).unwrap().family, "b");
        let mut others = Sizes::default();
        others.insert(&west, Size { name: "STANDARD_X".into(), ..size("c", 3, 1) });
        others.insert(&west, Size { name: "Standard_Y".into(), ..size("d", 4, 1) });
        sizes.extend(others);
        assert_eq!(sizes.get(&west, &Sku::new("standard_x").unwrap()).unwrap().family, "c");
        assert_eq!(sizes.all_mut().count(), 2);
        assert!(sizes.get(&Region::new("north").unwrap(), &Sku::new("x").unwrap()).is_none());
        let text = serde_json::to_string(&sizes).unwrap();
        assert_eq!(serde_json::from_str::<Sizes>(&text).unwrap(), sizes);
    }
}
