//! What is for sale: VM sizes with their families and capabilities, and regions with their zones.
//!
//! The H sizes are those of FACTS §6.4. Which region and zone really sells a size changes by the
//! day and is no fact to rely on, so here every size is sold in every region, and in all of its
//! zones; a test takes away what it wants to be missing through the emulator's capacity.
//!
//! Must never: change at run time.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// The sizes, one a line; its first lines say what the columns are.
const TABLE: &str = include_str!("catalog.tsv");

/// A VM size, with the numbers of the SKU API.
#[derive(Debug, Clone, PartialEq)]
pub struct SkuFacts {
    /// Name as Azure spells it: `Standard_HB120rs_v3`.
    pub name: &'static str,
    /// Family, which is also its quota's name: `standardHBv3Family`.
    pub family: &'static str,
    /// Cores of the full size: what quota counts, for a constrained size too.
    pub vcpus: u32,
    /// Cores that the guest sees.
    pub vcpus_available: u32,
    /// Memory in GiB, as the SKU API says it.
    pub memory_gb: f64,
    /// Hypervisor generations: `V1,V2`.
    pub generations: &'static str,
    /// InfiniBand?
    pub rdma: bool,
    /// May be asked for as Spot?
    pub spot_capable: bool,
    /// Accelerated networking?
    pub accelerated_networking: bool,
    /// May its OS disk be ephemeral?
    pub ephemeral_os: bool,
    /// Room of the cache disk in GB; 0 is none.
    pub cache_disk_gb: u32,
    /// Room of the resource (temporary) disk in GB; 0 is none.
    pub resource_disk_gb: u32,
    /// Room of the local NVMe disks together in GB; 0 is none.
    pub nvme_disk_gb: u32,
    /// Most data disks.
    pub max_data_disks: u32,
    /// Most NICs.
    pub max_nics: u32,
    /// GPUs.
    pub gpus: u32,
    /// Zones that sell it, in a region that has zones.
    pub zones: &'static [&'static str],
    /// Arm64, and not x64.
    pub is_arm: bool,
    /// Retired: listed with a restriction, and not sold.
    pub is_retired: bool,
}

impl SkuFacts {
    /// Where an ephemeral OS disk may lie: `CacheDisk`, `ResourceDisk`. None of the sizes here has
    /// `NvmeDisk` placement.
    pub fn ephemeral_placements(&self) -> Vec<&'static str> {
        let rooms = [("CacheDisk", self.cache_disk_gb), ("ResourceDisk", self.resource_disk_gb)];
        let has_room = rooms.into_iter().filter(|(_, room)| self.ephemeral_os && *room > 0);
        has_room.map(|(name, _)| name).collect()
    }

    /// Whether the guest sees fewer cores than quota counts.
    pub fn is_constrained(&self) -> bool {
        self.vcpus_available < self.vcpus
    }
}

/// An Azure region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// `westeurope`
    pub name: &'static str,
    /// `West Europe`
    pub display_name: &'static str,
    /// `1`, `2`, `3`, or none.
    pub zones: &'static [&'static str],
}

const ZONES: &[&str] = &["1", "2", "3"];

const fn region(name: &'static str, display_name: &'static str) -> Region {
    Region { name, display_name, zones: ZONES }
}

const fn region_without_zones(name: &'static str, display_name: &'static str) -> Region {
    Region { name, display_name, zones: &[] }
}

/// Regions of the public cloud. (LEARN: Azure regions list; whether a region has zones as of 2026)
const REGIONS: [Region; 28] = [
    region("australiaeast", "Australia East"),
    region("brazilsouth", "Brazil South"),
    region("canadacentral", "Canada Central"),
    region("centralindia", "Central India"),
    region("centralus", "Central US"),
    region("eastasia", "East Asia"),
    region("eastus", "East US"),
    region("eastus2", "East US 2"),
    region("francecentral", "France Central"),
    region("germanywestcentral", "Germany West Central"),
    region("italynorth", "Italy North"),
    region("japaneast", "Japan East"),
    region("koreacentral", "Korea Central"),
    region_without_zones("northcentralus", "North Central US"),
    region("northeurope", "North Europe"),
    region("norwayeast", "Norway East"),
    region("polandcentral", "Poland Central"),
    region("southafricanorth", "South Africa North"),
    region("southcentralus", "South Central US"),
    region("southeastasia", "Southeast Asia"),
    region("swedencentral", "Sweden Central"),
    region("switzerlandnorth", "Switzerland North"),
    region("uksouth", "UK South"),
    region_without_zones("ukwest", "UK West"),
    region("westeurope", "West Europe"),
    region_without_zones("westus", "West US"),
    region("westus2", "West US 2"),
    region("westus3", "West US 3"),
];

static SKUS: LazyLock<Vec<SkuFacts>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| read(line).expect("a test reads every line of the table")).collect()
});

static FAMILIES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let families: BTreeSet<&'static str> = skus().iter().map(|sku| sku.family).collect();
    families.into_iter().collect()
});

fn read(line: &'static str) -> Option<SkuFacts> {
    let fields: Vec<&'static str> = line.split('\t').collect();
    let &[name, family, vcpus, available, memory, generations, flags, ref rooms @ ..] =
        fields.as_slice()
    else {
        return None;
    };
    let &[cache, resource, nvme, data_disks, nics, gpus] = rooms else { return None };
    Some(SkuFacts {
        name,
        family,
        vcpus: vcpus.parse().ok()?,
        vcpus_available: available.parse().ok()?,
        memory_gb: memory.parse().ok()?,
        generations,
        rdma: flags.contains('r'),
        spot_capable: !flags.contains('o'),
        accelerated_networking: flags.contains('a'),
        ephemeral_os: flags.contains('e'),
        cache_disk_gb: cache.parse().ok()?,
        resource_disk_gb: resource.parse().ok()?,
        nvme_disk_gb: nvme.parse().ok()?,
        max_data_disks: data_disks.parse().ok()?,
        max_nics: nics.parse().ok()?,
        gpus: gpus.parse().ok()?,
        zones: ZONES,
        is_arm: flags.contains('m'),
        is_retired: flags.contains('x'),
    })
}

/// All sizes.
pub fn skus() -> &'static [SkuFacts] {
    &SKUS
}

/// A size by its name, in any case.
pub fn sku(name: &str) -> Option<&'static SkuFacts> {
    skus().iter().find(|sku| sku.name.eq_ignore_ascii_case(name))
}

/// All families, which are the names of their quotas, in order.
pub fn families() -> &'static [&'static str] {
    &FAMILIES
}

/// All regions, by name.
pub fn regions() -> &'static [Region] {
    &REGIONS
}

/// A region by its name or its display name: ARM takes `West Europe` for `westeurope`.
pub fn find_region(name: &str) -> Option<&'static Region> {
    let plain: String = name.chars().filter(|c| !c.is_whitespace()).collect();
    regions().iter().find(|region| region.name.eq_ignore_ascii_case(&plain))
}

/// The answer of `GET …/Microsoft.Compute/skus` for one region: the sizes that are offered there,
/// of those that are `listed`. Empty for a region that does not exist, as Azure has it.
pub fn skus_json(region: &str, listed: impl Fn(&str) -> bool) -> Value {
    let all = skus().iter().filter(|sku| listed(sku.name));
    let rows: Vec<Value> = match find_region(region) {
        Some(region) => all.map(|sku| sku_json(sku, region)).collect(),
        None => Vec::new(),
    };
    json!({ "value": rows })
}

fn sku_json(sku: &SkuFacts, region: &Region) -> Value {
    let zones: Vec<&str> = sku.zones.iter().copied().filter(|z| region.zones.contains(z)).collect();
    let restrictions = if sku.is_retired { vec![not_available(region)] } else { Vec::new() };
    let size = sku.name.trim_start_matches("Standard_");
    json!({
        "resourceType": "virtualMachines",
        "name": sku.name,
        "tier": "Standard",
        "size": size,
        "family": sku.family,
        "locations": [region.name],
        "locationInfo": [{ "location": region.name, "zones": zones, "zoneDetails": [] }],
        "capabilities": capabilities(sku),
        "restrictions": restrictions,
    })
}

fn not_available(region: &Region) -> Value {
    json!({
        "type": "Location",
        "values": [region.name],
        "restrictionInfo": { "locations": [region.name] },
        "reasonCode": "NotAvailableForSubscription",
    })
}

/// Names and values, all of them text, as Azure has them: `True` and `False` with a capital.
fn capabilities(sku: &SkuFacts) -> Vec<Value> {
    let truth = |is: bool| if is { "True" } else { "False" }.to_owned();
    let mut pairs = vec![
        ("MaxResourceVolumeMB", (sku.resource_disk_gb * 1024).to_string()),
        ("OSVhdSizeMB", "1047552".to_owned()),
        ("vCPUs", sku.vcpus.to_string()),
        ("MemoryPreservingMaintenanceSupported", truth(!sku.rdma)),
        ("HyperVGenerations", sku.generations.to_owned()),
        ("MemoryGB", sku.memory_gb.to_string()),
        ("MaxDataDiskCount", sku.max_data_disks.to_string()),
        ("CpuArchitectureType", if sku.is_arm { "Arm64" } else { "x64" }.to_owned()),
        ("LowPriorityCapable", truth(sku.spot_capable)),
        ("PremiumIO", truth(sku.accelerated_networking)),
        ("VMDeploymentTypes", "IaaS".to_owned()),
        ("vCPUsAvailable", sku.vcpus_available.to_string()),
        ("vCPUsPerCore", if sku.rdma || sku.is_arm { "1" } else { "2" }.to_owned()),
        ("EphemeralOSDiskSupported", truth(sku.ephemeral_os)),
        ("EncryptionAtHostSupported", "True".to_owned()),
        ("CapacityReservationSupported", truth(!sku.rdma)),
        ("AcceleratedNetworkingEnabled", truth(sku.accelerated_networking)),
        ("RdmaEnabled", truth(sku.rdma)),
        ("MaxNetworkInterfaces", sku.max_nics.to_string()),
    ];
    let placements = sku.ephemeral_placements();
    if !placements.is_empty() {
        pairs.push(("SupportedEphemeralOSDiskPlacements", placements.join(",")));
    }
    if sku.cache_disk_gb > 0 {
        let bytes = u64::from(sku.cache_disk_gb) << 30;
        pairs.push(("CachedDiskBytes", bytes.to_string()));
    }
    if sku.nvme_disk_gb > 0 {
        pairs.push(("NvmeDiskSizeInMiB", (u64::from(sku.nvme_disk_gb) * 1024).to_string()));
    }
    if sku.gpus > 0 {
        pairs.push(("GPUs", sku.gpus.to_string()));
    }
    pairs.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read_and_no_name_comes_twice() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(skus().len(), lines);
        let names: BTreeSet<_> = skus().iter().map(|s| s.name.to_ascii_lowercase()).collect();
        assert_eq!(names.len(), lines);
        for sku in skus() {
            assert!(sku.vcpus_available <= sku.vcpus, "{sku:?}");
            assert!(sku.memory_gb >= 1.0 && sku.max_nics > 0, "{sku:?}");
        }
    }

    #[test]
    fn a_size_is_found_in_any_case() {
        let sku = sku("standard_hb120-96RS_v3").unwrap();
        assert_eq!((sku.name, sku.vcpus, sku.vcpus_available), ("Standard_HB120-96rs_v3", 120, 96));
        assert_eq!(sku.family, "standardHBv3Family");
        assert!(sku.rdma && sku.is_constrained());
        assert!(super::sku("Standard_HB120").is_none());
    }

    #[test]
    fn the_h_sizes_are_those_of_the_fact_sheet() {
        let all = |family: &str| -> Vec<u32> {
            let of = skus().iter().filter(|sku| sku.family == family);
            of.map(|sku| sku.vcpus_available).collect()
        };
        assert_eq!(all("standardHBSFamily"), [60, 45, 30, 15]);
        assert_eq!(all("standardHBrsv2Family"), [120, 96, 64, 32, 16]);
        assert_eq!(all("standardHBv3Family"), [120, 96, 64, 32, 16]);
        assert_eq!(all("standardHBv4Family"), [176, 144, 96, 48, 24]);
        assert_eq!(all("standardHXFamily"), [176, 144, 96, 48, 24]);
        assert_eq!(all("standardHBv5Family"), [368, 336, 288, 240, 192, 144, 96, 48]);
        assert_eq!(all("standardHCSFamily"), [44, 32, 16]);
        let memory = |name: &str| sku(name).unwrap().memory_gb;
        assert_eq!(memory("Standard_HX176rs"), 1408.0);
        assert_eq!(memory("Standard_HB368-336rs_v5"), 448.0);
    }

    #[test]
    fn the_sku_list_has_the_published_shape() {
        let list = skus_json("West Europe", |_| true);
        let rows = list["value"].as_array().unwrap();
        assert_eq!(rows.len(), skus().len());
        let row = rows.iter().find(|row| row["name"] == "Standard_HB120-16rs_v3").unwrap();
        assert_eq!(row["size"], "HB120-16rs_v3");
        assert_eq!(row["locationInfo"][0]["zones"], json!(["1", "2", "3"]));
        let value = |name: &str| {
            let all = row["capabilities"].as_array().unwrap();
            all.iter().find(|pair| pair["name"] == name).unwrap()["value"].clone()
        };
        assert_eq!(value("vCPUs"), "120");
        assert_eq!(value("vCPUsAvailable"), "16");
        assert_eq!(value("RdmaEnabled"), "True");
    }

    #[test]
    fn a_region_without_zones_sells_without_zones_and_a_retired_size_is_restricted() {
        let list = skus_json("westus", |_| true);
        let rows = list["value"].as_array().unwrap();
        assert!(rows.iter().all(|row| row["locationInfo"][0]["zones"] == json!([])));
        let retired = rows.iter().find(|row| row["name"] == "Standard_HB60rs").unwrap();
        assert_eq!(retired["restrictions"][0]["reasonCode"], "NotAvailableForSubscription");
        assert_eq!(skus_json("atlantis", |_| true), json!({ "value": [] }));
    }

    #[test]
    fn regions_are_in_order_and_found_by_either_name() {
        assert!(regions().is_sorted_by_key(|region| region.name));
        assert_eq!(find_region("South Central US").unwrap().name, "southcentralus");
        assert!(find_region("nowhere").is_none());
    }
}
