//! The places of a node, best first, and whether one may be tried now: by what is known of the
//! size, and by holds. What still fits there is [`super::room`]'s.

use std::collections::BTreeSet;

use crate::attempt::{Attempt, AttemptPlace, AttemptState};
use crate::block::{Block, BlockName, BlockState, Incarnation};
use crate::config::{Config, Interconnect, Nodeset, Site};
use crate::facts::Ground;
use crate::hold::{Candidate, Hold, HoldScope, HoldStanding, held};
use crate::plan::{JobNodes, Passed, Sight, Why};
use crate::{AttemptId, NodeName, NodesetName, SiteName};

/// Every place that the nodeset allows, best first, without blocks.
pub fn places(config: &Config, nodeset: &Nodeset) -> Vec<AttemptPlace> {
    let sites = nodeset.open_sites().iter().filter_map(|name| config.sites.get_key_value(name));
    let in_site = |(name, site): (&SiteName, &Site)| match nodeset.zones.as_slice() {
        [] => vec![place_at(name, site)],
        zones => {
            let at = |zone: &crate::config::Zone| AttemptPlace {
                zone: Some(zone.clone()),
                ..place_at(name, site)
            };
            zones.iter().map(at).collect()
        }
    };
    sites.flat_map(in_site).collect()
}

fn place_at(name: &SiteName, site: &Site) -> AttemptPlace {
    AttemptPlace {
        site: name.clone(),
        subscription: site.subscription.clone(),
        resource_group: site.resource_group.clone(),
        region: site.region.clone(),
        zone: None,
        block: None,
    }
}

/// A nodeset with its name.
pub(super) type Named<'a> = (&'a NodesetName, &'a Nodeset);

/// The block of a node of a nodeset; `None` without InfiniBand.
pub(super) fn block_of((name, nodeset): Named<'_>, node: &NodeName) -> Option<BlockName> {
    match nodeset.interconnect {
        Interconnect::None => None,
        Interconnect::Infiniband => {
            nodeset.block_of(node).map(|number| BlockName::new(name.clone(), number))
        }
    }
}

/// The blocks of a job's nodes. InfiniBand connects no two of them.
pub fn blocks_of(job: &JobNodes, config: &Config) -> BTreeSet<BlockName> {
    let block = |node: &NodeName| block_of(config.nodeset_of(node)?, node);
    job.nodes.iter().filter_map(block).collect()
}

impl<'a> Sight<'a> {
    /// The life of a block that has VMs which are wanted, or are being made: where it stands, it
    /// stays. One whose VMs are all dying is as good as empty, but is not filled again: new VMs
    /// would be pinned with the dying (FACTS §6.3). Of several one that is made: VMs may be in it,
    /// and nothing was sent of one that is not.
    pub(super) fn standing_life(
        &self,
        block: &BlockName,
        leaves: &BTreeSet<&NodeName>,
    ) -> Option<&'a Block> {
        let is_in_use = |life: &Block| {
            let is_member = |attempt: &&Attempt| {
                attempt.state.is_wanted() && !leaves.contains(&attempt.is.node)
            };
            let mut living = self.living.iter().filter(is_member);
            life.state.is_open()
                && living.any(|attempt| attempt.is.place.block.as_ref() == Some(&life.life))
        };
        let in_use = self.blocks.iter().filter(|life| life.life.block == *block && is_in_use(life));
        in_use.min_by_key(|life| life.state != BlockState::Made)
    }

    /// A life of the block at `site` that is made, or being made, and has no VM at all yet.
    pub(super) fn fresh_life(&self, block: &BlockName, site: &SiteName) -> Option<&'a Block> {
        let has_none = |life: &Block| {
            let mut living = self.living.iter();
            !living.any(|attempt| attempt.is.place.block.as_ref() == Some(&life.life))
        };
        self.blocks.iter().find(|life| {
            life.life.block == *block
                && life.site == *site
                && life.state.is_open()
                && has_none(life)
        })
    }

    /// Whether `node` may be tried at `place` now, as far as holds and the size's facts say.
    /// `canaries`: holds that are open by half and under which one of this plan tries already.
    pub(super) fn may_try(
        &self,
        node: &NodeName,
        (name, nodeset): Named<'_>,
        place: &AttemptPlace,
        canaries: &BTreeSet<HoldScope>,
    ) -> Result<Option<HoldScope>, Why> {
        let ground = Ground::new(&place.subscription, &place.region);
        let facts = self.facts.sku(&ground, &nodeset.sku);
        if facts.is_some_and(|facts| !facts.is_offered) {
            return Err(Why::NotOffered);
        }
        if nodeset.interconnect == Interconnect::Infiniband
            && facts.is_some_and(|facts| !facts.is_rdma)
        {
            return Err(Why::NoInfiniband);
        }
        let image = nodeset.image.reference_text();
        let candidate = Candidate {
            node,
            place,
            sku: &nodeset.sku,
            nodeset: name,
            is_spot: nodeset.is_spot(),
            image: &image,
            facts,
        };
        let Some(hold) = held(&candidate, self.holds, self.now) else { return Ok(None) };
        let scope = hold.scope.clone();
        if hold.standing(self.now) == HoldStanding::Closed {
            return Err(Why::Held(Box::new(hold.clone())));
        }
        if canaries.contains(&scope) || self.has_canary(hold) {
            return Err(Why::CanaryIsOut(Box::new(hold.clone())));
        }
        Ok(Some(scope))
    }

    /// Whether a VM tries already under a hold that is open by half: it was intended after the
    /// latest refusal, and what becomes of it is not known yet. Whether it boots is known only when
    /// slurmd has registered.
    pub fn has_canary(&self, hold: &Hold) -> bool {
        let is_under_way = |attempt: &&Attempt| match attempt.state {
            AttemptState::Intended | AttemptState::Accepted => attempt.intended_at > hold.struck_at,
            AttemptState::Running => {
                let is_booting = hold.scope.is_of_boots() && attempt.registered_at.is_none();
                is_booting && attempt.intended_at > hold.struck_at
            }
            AttemptState::Refused
            | AttemptState::DeleteIntended
            | AttemptState::Deleting
            | AttemptState::Gone => false,
        };
        let covers = |attempt: &Attempt| {
            let known = (self.config, self.facts);
            Candidate::of(&attempt.is, known, |candidate| hold.scope.covers(candidate))
        };
        self.living.iter().filter(is_under_way).any(covers)
    }
}

/// The hold that keeps `node` from every one of its places, if all are held: the one that ends
/// first. A block that stands somewhere has that one place.
pub fn held_everywhere<'a>(node: &NodeName, sight: &Sight<'a>) -> Option<&'a Hold> {
    hold_of_all(node, sight, |standing| standing == HoldStanding::Closed)
}

/// As [`held_everywhere`], where some of the holds are open by half: the node may be had if it is
/// the one that tries first.
pub fn half_open<'a>(node: &NodeName, sight: &Sight<'a>) -> Option<&'a Hold> {
    if held_everywhere(node, sight).is_some() {
        return None;
    }
    hold_of_all(node, sight, |standing| standing != HoldStanding::Over)
}

fn hold_of_all<'a>(
    node: &NodeName,
    sight: &Sight<'a>,
    counts: impl Fn(HoldStanding) -> bool,
) -> Option<&'a Hold> {
    if sight.holds.is_empty() {
        return None;
    }
    let (name, nodeset) = sight.config.nodeset_of(node)?;
    let image = nodeset.image.reference_text();
    let block = block_of((name, nodeset), node);
    let stands_at = block.as_ref().and_then(|block| {
        sight.standing_life(block, &BTreeSet::new()).map(|life| life.site.clone())
    });
    let mut first: Option<&Hold> = None;
    let places = places(sight.config, nodeset).into_iter();
    for mut place in places.filter(|p| stands_at.as_ref().is_none_or(|site| *site == p.site)) {
        place.block = block.clone().map(any_life);
        let ground = Ground::new(&place.subscription, &place.region);
        let candidate = Candidate {
            node,
            place: &place,
            sku: &nodeset.sku,
            nodeset: name,
            is_spot: nodeset.is_spot(),
            image: &image,
            facts: sight.facts.sku(&ground, &nodeset.sku),
        };
        let hold = held(&candidate, sight.holds, sight.now)
            .filter(|hold| counts(hold.standing(sight.now)))?;
        first =
            Some(first.map_or(hold, |other| if other.until <= hold.until { other } else { hold }));
    }
    first
}

/// A block's holds do not depend on which of its lives it is.
pub(super) fn any_life(block: BlockName) -> Incarnation {
    Incarnation { block, number: AttemptId::next(crate::Timestamp::from_millis(0), None) }
}

impl Passed {
    pub(super) fn of(place: &AttemptPlace, why: Why) -> Passed {
        Passed { site: place.site.clone(), zone: place.zone.clone(), why }
    }
}
