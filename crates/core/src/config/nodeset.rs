//! `[nodeset.NAME]`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::reader::{Place, Section};
use super::service::rule;
use super::site::CORES;
use super::types::{
    EphemeralPlacement, EvictionPolicy, Image, Interconnect, Nodeset, OsDisk, Priority, TextSource,
    ZonePolicy,
};
use super::{across, checks, keys, lines};
use crate::{NodeName, NodesetName, SiteName};

/// Azure's limits of an OS disk (Azure managed disks: at most 4,095 GiB).
const OS_DISK_GB: RangeInclusive<u64> = 1..=4_095;
/// Azure takes 50 tags on a resource; ten are left for our own.
const TAGS_MAX: usize = 40;
/// Azure's limits on tags (Use tags to organize your Azure resources).
const TAG_NAME_LENGTH_MAX: usize = 512;
const TAG_VALUE_LENGTH_MAX: usize = 256;
const TAG_NAME_BANNED: &str = "<>%&\\?/";
/// Our own tags begin so, and Azure's own with the others.
const TAG_PREFIXES_BANNED: [&str; 4] = ["azslurm-", "microsoft", "azure", "windows"];
/// `maxPrice` has up to five decimals (azure-rest-api-specs, `billingProfile`).
const PRICE_DECIMALS: i32 = 5;

/// The VMs' administrator when the config names none.
const ADMIN_USERNAME: &str = "azslurm";

/// A nodeset's nodes and where they are named.
pub(super) struct NamedNodes {
    pub(super) nodeset: String,
    pub(super) place: Place,
    pub(super) nodes: Vec<NodeName>,
}

/// All nodesets; `None` when something is wrong with one of them, or there is none.
pub(super) fn nodesets(root: &Section<'_>) -> Option<BTreeMap<NodesetName, Nodeset>> {
    let tables = root.named_tables("nodeset");
    if tables.is_empty() {
        root.fault("nodeset", "is missing: at least one table [nodeset.NAME] is needed");
        return None;
    }
    let sites = root.names_in("site");
    let count = tables.len();
    let mut named = Vec::new();
    let mut nodesets = BTreeMap::new();
    for (name, table) in &tables {
        let nodes = across::nodes(table);
        let nodeset = nodeset(table, &sites, nodes.as_ref().map(|(_, nodes)| nodes.clone()));
        if let Some((place, mut nodes)) = nodes {
            // A spare is a node to come, and as such in one nodeset as well.
            nodes.extend(nodeset.iter().flat_map(|nodeset| nodeset.line.spares.iter().cloned()));
            nodes.sort();
            nodes.dedup();
            named.push(NamedNodes { nodeset: name.value.to_owned(), place, nodes });
        }
        match (name.value.parse::<NodesetName>(), nodeset) {
            (Ok(name), Some(nodeset)) => {
                nodesets.insert(name, nodeset);
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                root.fault_at(&name.place, format!("{:?} {}", name.value, rule(error)));
            }
        }
    }
    across::refuse_overlaps(root, &named);
    (nodesets.len() == count).then_some(nodesets)
}

fn nodeset(table: &Section<'_>, sites: &[&str], nodes: Option<Vec<NodeName>>) -> Option<Nodeset> {
    let sites = table.needed_list("sites", |text| site_name(text, sites));
    let zones = table.list("zones", checks::zone);
    let policies = [("pack", ZonePolicy::Pack), ("spread", ZonePolicy::Spread)];
    let zone_policy = table.choice("zone_policy", &policies).unwrap_or(ZonePolicy::Pack);
    let spill = across::spill(table, sites.as_deref());
    let sku = table.needed("sku", checks::sku);
    let kinds = [("none", Interconnect::None), ("infiniband", Interconnect::Infiniband)];
    let interconnect = table.choice("interconnect", &kinds).unwrap_or(Interconnect::None);
    let priority = priority(table);
    let image = image(table);
    let os_disk = os_disk(&table.table("os_disk"));
    let ssh_public_key = ssh_public_key(table);
    let identities = table
        .list("identities", checks::id_of_kind("Microsoft.ManagedIdentity/userAssignedIdentities"));
    let tags = tags(&table.table("tags"));
    let line = lines::node_line(table);
    let choices = across::Choices {
        interconnect,
        priority,
        is_zonal: zones.as_ref().is_some_and(|zones| !zones.is_empty()),
        is_ephemeral: os_disk.as_ref().is_some_and(|disk| disk.ephemeral.is_some()),
    };
    across::refuse_combinations(table, &choices);
    let nodes = nodes.unwrap_or_default();
    let blocks = across::blocks(table, interconnect, &nodes);
    let admin_username = table.checked("admin_username", checks::admin_username);
    let accelerated_networking = table.flag("accelerated_networking", true);
    let user_data_file = table.path("user_data_file");
    let capacity_reservation_group = table.checked(
        "capacity_reservation_group",
        checks::id_of_kind("Microsoft.Compute/capacityReservationGroups"),
    );
    Some(Nodeset {
        nodes,
        sites: sites.unwrap_or_default(),
        zones: zones?,
        zone_policy,
        spill,
        cores_max: table.number("cores_max", CORES),
        blocks,
        sku: sku?,
        interconnect,
        priority: priority?,
        image: image?,
        os_disk: os_disk?,
        accelerated_networking,
        admin_username: admin_username.unwrap_or_else(|| ADMIN_USERNAME.to_owned()),
        ssh_public_key: ssh_public_key?,
        user_data_file,
        identities: identities?,
        capacity_reservation_group,
        tags: tags?,
        line: line?,
    })
}

fn site_name(text: &str, sites: &[&str]) -> Result<SiteName, String> {
    if sites.contains(&text) {
        return text.parse().map_err(rule);
    }
    let meant = keys::nearest(text, sites.iter().copied());
    Err(match (meant, sites) {
        (Some(meant), _) => format!("is not a site: did you mean {meant:?}?"),
        (None, []) => "is not a site: there is no table [site.NAME]".to_owned(),
        (None, _) => format!("is not a site: there are {}", sites.join(", ")),
    })
}

/// `priority` with the keys of Spot. `None`: something is wrong.
fn priority(table: &Section<'_>) -> Option<Priority> {
    let policies = [("delete", EvictionPolicy::Delete), ("deallocate", EvictionPolicy::Deallocate)];
    let eviction = table.choice("eviction_policy", &policies);
    let price = table.has("max_price").then(|| max_price(table));
    let is_spot = match table.has("priority") {
        true => table.choice("priority", &[("regular", false), ("spot", true)])?,
        false => false,
    };
    if is_spot {
        return Some(Priority::Spot {
            max_price: price.unwrap_or(Some(None))?,
            eviction: eviction.unwrap_or(EvictionPolicy::Delete),
        });
    }
    for key in ["max_price", "eviction_policy"].into_iter().filter(|key| table.has(key)) {
        table.fault(key, "is for priority = \"spot\" only");
    }
    Some(Priority::Regular)
}

/// `None`: wrong. `Some(None)`: -1, never evicted for its price.
fn max_price(table: &Section<'_>) -> Option<Option<f64>> {
    let price = table.decimal("max_price")?;
    let scaled = price * 10f64.powi(PRICE_DECIMALS);
    // Binary fractions are not exact: a millionth of the last decimal is none.
    let has_few_decimals = (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1.0);
    if price == -1.0 {
        Some(None)
    } else if price > 0.0 && has_few_decimals {
        Some(Some(price))
    } else {
        table.fault(
            "max_price",
            format!(
                "{price} is not a price: USD per hour above 0 with at most {PRICE_DECIMALS} \
                 decimals, or -1 for never evicted because of the price"
            ),
        );
        None
    }
}

fn image(table: &Section<'_>) -> Option<Image> {
    let reference = table.needed("image", checks::image);
    let plan = table.checked("image_plan", checks::plan);
    Some(Image { reference: reference?, plan })
}

fn os_disk(table: &Section<'_>) -> Option<OsDisk> {
    let size = table.number("size_gb", OS_DISK_GB);
    let types = ["Standard_LRS", "StandardSSD_LRS", "Premium_LRS"].map(|name| (name, name));
    let placements = [
        ("cache-disk", EphemeralPlacement::CacheDisk),
        ("resource-disk", EphemeralPlacement::ResourceDisk),
        ("nvme-disk", EphemeralPlacement::NvmeDisk),
    ];
    Some(OsDisk {
        size_gb: size.map(|size| u32::try_from(size).expect("at most 4095")),
        storage: table.choice("type", &types).unwrap_or("StandardSSD_LRS").to_owned(),
        ephemeral: table.choice("ephemeral", &placements),
    })
}

fn ssh_public_key(table: &Section<'_>) -> Option<TextSource> {
    match (table.has("ssh_public_key"), table.has("ssh_public_key_file")) {
        (true, true) => {
            table.fault("ssh_public_key_file", "goes not together with ssh_public_key: keep one");
            None
        }
        (false, false) => {
            table.fault(
                "ssh_public_key_file",
                "is missing: the path of a public key file, or the key itself as ssh_public_key",
            );
            None
        }
        (true, false) => {
            table.checked("ssh_public_key", checks::ssh_public_key).map(TextSource::Inline)
        }
        (false, true) => table.path("ssh_public_key_file").map(TextSource::File),
    }
}

/// The operator's own tags. Azure compares their names without case.
fn tags(table: &Section<'_>) -> Option<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    let mut seen: Vec<String> = Vec::new();
    let mut count = 0;
    for name in table.keys() {
        count += 1;
        let lower = name.to_lowercase();
        if let Some(problem) = tag_name_problem(name, &lower, &seen) {
            table.fault(name, problem);
            continue;
        }
        seen.push(lower);
        let value = table.checked(name, |text| match text.chars().count() > TAG_VALUE_LENGTH_MAX {
            true => {
                Err(format!("is too long for a tag: at most {TAG_VALUE_LENGTH_MAX} characters"))
            }
            false => Ok(text.to_owned()),
        });
        if let Some(value) = value {
            tags.insert(name.to_owned(), value);
        }
    }
    if count > TAGS_MAX {
        let problem =
            format!("{count} tags: at most {TAGS_MAX}, the rest of Azure's 50 is azslurm's");
        table.fault_at(table.place(), problem);
    }
    (tags.len() == count).then_some(tags)
}

fn tag_name_problem(name: &str, lower: &str, seen: &[String]) -> Option<String> {
    if name.is_empty() || name.chars().count() > TAG_NAME_LENGTH_MAX {
        return Some(format!("is no tag name: 1 to {TAG_NAME_LENGTH_MAX} characters"));
    }
    if let Some(banned) = name.chars().find(|c| TAG_NAME_BANNED.contains(*c) || c.is_control()) {
        return Some(format!("holds {banned:?}: Azure allows none of {TAG_NAME_BANNED}"));
    }
    if let Some(prefix) = TAG_PREFIXES_BANNED.iter().find(|prefix| lower.starts_with(**prefix)) {
        return Some(format!("begins with {prefix:?}, which is reserved"));
    }
    seen.iter()
        .any(|other| other == lower)
        .then(|| "is there twice: Azure compares tag names without upper and lower case".to_owned())
}
