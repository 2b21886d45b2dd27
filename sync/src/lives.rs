//! The lives of blocks that Azure has placement groups or availability sets of, by their tags.

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_azure::Placement;
use azslurm_core::SiteName;
use azslurm_core::block::{Block, BlockState, Incarnation};
use azslurm_core::forgotten::{Placed, placed};
use azslurm_program::Session;
use azslurm_program::exit::chain_of;
use azslurm_suspend::search::place_of;
use tokio::time::timeout;

/// Sets and groups of one resource group are a call or two.
const LIST_MAX: Duration = Duration::from_secs(60);
/// What is said of a set or a group that has our tags and is no block's.
pub(crate) const ODD: &str = "it has the tags of this cluster and is no block of the config";

/// One life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    /// As Azure has it.
    pub(crate) block: Block,
    /// Whether nothing is in its group and its set, but the set in the group.
    pub(crate) is_empty: bool,
}

/// What Azure shows.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By block and age.
    pub(crate) lives: Vec<Life>,
    /// What has the tags of this cluster and says nothing that we understand.
    pub(crate) odd: Vec<Placement>,
    /// What is not seen, and why.
    pub(crate) missing: Vec<String>,
}

/// Lists those in the resource groups of some sites.
pub(crate) async fn list(session: &Session, of: impl Fn(&SiteName) -> bool) -> Found {
    let mut groups: BTreeMap<(String, String), _> = BTreeMap::new();
    for (name, site) in session.config.sites.iter().filter(|(name, _)| of(name)) {
        let group = (site.subscription.clone(), site.resource_group.to_ascii_lowercase());
        groups.entry(group).or_insert((name, &site.resource_group));
    }
    let mut lives: BTreeMap<Incarnation, Life> = BTreeMap::new();
    let mut found = Found::default();
    for ((subscription, _), (site, group)) in groups {
        let Some(arm) = session.clients.of(site) else { continue };
        let listed = timeout(LIST_MAX, arm.list_placements(&subscription, group)).await;
        let why = match listed {
            Err(_elapsed) => Some("no answer in time".to_owned()),
            Ok(Err(error)) => Some(chain_of(&error)),
            Ok(Ok(listed)) => {
                for one in listed.items {
                    add(session, one, (&mut lives, &mut found.odd));
                }
                listed.incomplete_because
            }
        };
        let said = |why| format!("placement groups and availability sets of {site}: {why}");
        found.missing.extend(why.map(said));
    }
    found.lives = lives.into_values().collect();
    found
}

/// A group and its set are one life.
fn add(
    session: &Session,
    one: Placement,
    (lives, odd): (&mut BTreeMap<Incarnation, Life>, &mut Vec<Placement>),
) {
    let life = match placed(&one.tags, &one.name, &session.config.cluster) {
        Placed::Others => return,
        Placed::Odd => None,
        Placed::Of(life) => block(session, life, &one),
    };
    let Some(block) = life else {
        odd.push(one);
        return;
    };
    let is_empty = is_empty(&one);
    let known = lives.entry(block.life.clone()).or_insert(Life { block, is_empty });
    known.is_empty &= is_empty;
}

/// As the ledger would know it; `None` if the config does not.
fn block(session: &Session, life: Incarnation, found: &Placement) -> Option<Block> {
    let config = &session.config;
    let nodeset = config.nodesets.get(life.block.nodeset())?;
    let place = place_of(config, &found.id, &nodeset.sites)?;
    Some(Block {
        name: life.resource_name(&config.cluster),
        life,
        site: place.site,
        subscription: place.subscription,
        resource_group: place.resource_group,
        region: place.region,
        sku: nodeset.sku.clone(),
        state: BlockState::Made,
    })
}

/// Whether nothing is in it. A group has the set of its own name, which goes before it.
fn is_empty(found: &Placement) -> bool {
    let own_set = format!("/availabilitysets/{}", found.name).to_ascii_lowercase();
    found.members.iter().all(|member| member.to_ascii_lowercase().ends_with(&own_set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_with_nothing_but_its_own_set_is_empty() {
        let id = |kind: &str, name: &str| {
            format!("/subscriptions/s/resourceGroups/RG/providers/Microsoft.Compute/{kind}/{name}")
        };
        let with = |members: &[String]| {
            let group = id("proximityPlacementGroups", "C-hb-b1-0abcdefg").parse().unwrap();
            let (name, members) = ("c-hb-b1-0abcdefg".to_owned(), members.to_vec());
            is_empty(&Placement { id: group, name, tags: BTreeMap::new(), members })
        };
        let own = id("availabilitySets", "C-HB-B1-0ABCDEFG");
        assert!(with(&[]) && with(std::slice::from_ref(&own)));
        assert!(!with(&[own.clone(), id("virtualMachines", "hb1-0abcdefg")]));
        assert!(!with(&[own.clone(), id("availabilitySets", "mine")]));
        assert!(!with(&[own, String::new()]), "a member that does not say what it is");
    }
}
