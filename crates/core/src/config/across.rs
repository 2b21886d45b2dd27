//! Rules that bind several keys or several tables.

use std::collections::BTreeMap;

use super::nodeset::NamedNodes;
use super::reader::{Place, Section};
use super::types::{EvictionPolicy, Interconnect, Priority, Spill};
use crate::block::{self, BLOCK_NODES_MAX};
use crate::hostlist::{self, fold_set};
use crate::name::NODE_NAME_LENGTH_MAX;
use crate::{NodeName, SiteName};

/// How much of a folded list an error shows.
const LIST_SHOWN_MAX: usize = 200;

/// The nodes of a nodeset, sorted, and where they are named. `None`: something is wrong with them.
pub(super) fn nodes(table: &Section<'_>) -> Option<(Place, Vec<NodeName>)> {
    let nodes = table.needed("nodes", |text| hostlist::expand(text).map_err(|e| says(&e)))?;
    let place = table.text("nodes")?.place;
    if nodes.is_empty() {
        table.fault_at(&place, "names no node");
        return None;
    }
    fit(table, place, nodes)
}

/// The nodes of `spare_nodes`, none without it. `None`: something is wrong with them.
pub(super) fn spares(table: &Section<'_>) -> Option<Vec<NodeName>> {
    if !table.has("spare_nodes") {
        return Some(Vec::new());
    }
    let names = table.needed("spare_nodes", |text| hostlist::expand(text).map_err(|e| says(&e)))?;
    let place = table.text("spare_nodes")?.place;
    fit(table, place, names).map(|(_, names)| names)
}

/// Sorted, if each of them can be the name of a VM and none is there twice.
fn fit(
    table: &Section<'_>,
    place: Place,
    mut nodes: Vec<NodeName>,
) -> Option<(Place, Vec<NodeName>)> {
    let unfit: Vec<&NodeName> = nodes.iter().filter(|node| !node.is_vm_capable()).collect();
    if !unfit.is_empty() {
        let rule = format!(
            "cannot be VMs: their names become host names: lower-case letters, digits and '-', at \
             most {NODE_NAME_LENGTH_MAX}, beginning and ending with a letter or digit"
        );
        table.fault_at(&place, format!("{} {rule}", shown(unfit)));
        return None;
    }
    nodes.sort();
    let twice: Vec<&NodeName> =
        nodes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    if !twice.is_empty() {
        table.fault_at(&place, format!("{} twice in the list", shown(twice)));
        return None;
    }
    Some((place, nodes))
}

fn says(error: &hostlist::HostlistError) -> String {
    format!("is not a host list: at character {}, {:?} {}", error.at + 1, error.found, error.kind)
}

fn shown<'a>(nodes: impl IntoIterator<Item = &'a NodeName>) -> String {
    let list = fold_set(nodes);
    match list.len() > LIST_SHOWN_MAX {
        true => format!("{}…", &list[..LIST_SHOWN_MAX]),
        false => list,
    }
}

/// A node gets one kind of VM, so it is in one nodeset.
pub(super) fn refuse_overlaps(root: &Section<'_>, nodesets: &[NamedNodes]) {
    let named = nodesets.iter().enumerate();
    let mut all: Vec<(&NodeName, usize)> = named
        .flat_map(|(index, named)| named.nodes.iter().map(move |node| (node, index)))
        .collect();
    // The nodes of each are sorted: to merge them is cheap.
    all.sort();
    let mut shared: BTreeMap<(usize, usize), Vec<&NodeName>> = BTreeMap::new();
    for same in all.chunk_by(|one, other| one.0 == other.0) {
        let (node, owner) = same[0];
        for (_, index) in same.iter().filter(|(_, index)| *index != owner) {
            shared.entry((*index, owner)).or_default().push(node);
        }
    }
    for ((index, owner), nodes) in shared {
        let other = &nodesets[owner].nodeset;
        let problem = format!("{} also in nodeset {other}: one nodeset per node", shown(nodes));
        root.fault_at(&nodesets[index].place, problem);
    }
}

/// `spill`. Several sites need a word of the operator's: data does not follow its jobs by itself.
pub(super) fn spill(table: &Section<'_>, sites: Option<&[SiteName]>) -> Spill {
    let choices = [("never", Spill::Never), ("next-site", Spill::NextSite)];
    let has_several = sites.is_some_and(|sites| sites.len() > 1);
    if has_several && !table.has("spill") {
        table.fault(
            "sites",
            "names several, and without spill only the first is used: say spill = \"next-site\" \
             to go on to the next when one is full, or spill = \"never\"",
        );
    }
    table.choice("spill", &choices).unwrap_or(Spill::Never)
}

/// The block of each node, in the order of `nodes`; none without InfiniBand. Blocks follow the
/// numbers in the names, whatever order the names sort in.
pub(super) fn blocks(
    table: &Section<'_>,
    interconnect: Interconnect,
    nodes: &[NodeName],
) -> Vec<u32> {
    let size = table.number("block_nodes", 1..=u64::from(BLOCK_NODES_MAX));
    match interconnect {
        Interconnect::None => Vec::new(),
        Interconnect::Infiniband => {
            let size =
                size.map_or(BLOCK_NODES_MAX, |size| u32::try_from(size).expect("at most 200"));
            block::numbers(nodes, size)
        }
    }
}

/// The choices of a nodeset that exclude one another; what is wrong in itself is absent.
pub(super) struct Choices {
    pub(super) interconnect: Interconnect,
    pub(super) priority: Option<Priority>,
    pub(super) is_zonal: bool,
    pub(super) is_ephemeral: bool,
}

/// What Azure does not do together. Each refusal names a way out.
pub(super) fn refuse_combinations(table: &Section<'_>, choices: &Choices) {
    let is_spot = matches!(choices.priority, Some(Priority::Spot { .. }));
    let is_infiniband = choices.interconnect == Interconnect::Infiniband;
    if is_infiniband && is_spot {
        table.fault(
            "interconnect",
            "\"infiniband\" needs an availability set, and Azure takes no Spot VM into one: use \
             priority = \"regular\", or interconnect = \"none\" for jobs of single nodes",
        );
    }
    if is_infiniband && choices.is_zonal {
        table.fault(
            "zones",
            "interconnect = \"infiniband\" needs an availability set, which has no zones: remove \
             zones; to have several places name several sites",
        );
    }
    if !is_infiniband && table.has("block_nodes") {
        table.fault(
            "block_nodes",
            "is for interconnect = \"infiniband\" only: nothing else has blocks",
        );
    }
    if is_infiniband && table.has("zone_policy") {
        table.fault("zone_policy", "is for zones, which interconnect = \"infiniband\" cannot have");
    }
    if is_spot && table.has("capacity_reservation_group") {
        table.fault(
            "capacity_reservation_group",
            "is for priority = \"regular\" only: Spot VMs use no reservation",
        );
    }
    let deallocate = Some(EvictionPolicy::Deallocate);
    let eviction = match choices.priority {
        Some(Priority::Spot { eviction, .. }) => Some(eviction),
        Some(Priority::Regular) | None => None,
    };
    if eviction == deallocate && choices.is_ephemeral {
        table.fault(
            "eviction_policy",
            "\"deallocate\" is impossible with an ephemeral OS disk: use \"delete\"",
        );
    }
}
