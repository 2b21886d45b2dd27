//! Laying the nodes of a request down: for each the first place that may be tried. A job is laid
//! whole or not at all: it starts only when all of its nodes are up (SLURM.md §0.7), so VMs of a
//! part of it would cost money for nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::attempt::{Attempt, AttemptPlace};
use crate::block::BlockName;
use crate::config::{Nodeset, Zone, ZonePolicy};
use crate::hold::HoldScope;
use crate::plan::reach::{Named, any_life, block_of, places};
use crate::plan::room::{Demand, Room};
use crate::plan::{JobNodes, Known, Passed, Sight, Why};
use crate::{JobId, NodeName, NodesetName, SiteName};

/// Where a node goes, or why nowhere.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Laid {
    /// `None`: nowhere.
    pub spot: Option<Spot>,
    /// What was passed over.
    pub passed: Vec<Passed>,
    /// The job and the node of it that cannot come, where the node itself could.
    pub for_want_of: Option<(JobId, NodeName)>,
}

/// A place that was taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spot {
    /// The place; its `block` says which block, and its life if that exists already.
    pub place: AttemptPlace,
    /// Whether the block begins a new life.
    pub is_new_life: bool,
}

type LaidNodes<'a> = BTreeMap<&'a NodeName, Laid>;

/// The state of a plan while it is made.
pub(super) struct Layer<'a> {
    known: &'a Known<'a>,
    wanted: BTreeSet<&'a NodeName>,
    /// Wanted nodes that cannot come for other reasons.
    refused: BTreeSet<&'a NodeName>,
    /// Nodes that have a VM which is wanted.
    alive: BTreeSet<&'a NodeName>,
    taken: Taken<'a>,
}

/// What has been taken; cloned before a try that may have to be undone.
#[derive(Clone)]
struct Taken<'a> {
    room: Room<'a>,
    /// Holds that are open by half, and under which a group of this plan tries already.
    canaries: BTreeSet<HoldScope>,
    /// The same of the group that is being laid: those who are tried together are one canary.
    canaries_of_group: BTreeSet<HoldScope>,
    zones: BTreeMap<(NodesetName, SiteName, Zone), u64>,
}

impl Taken<'_> {
    /// Whoever comes next waits for what becomes of this group.
    fn end_group(&mut self) {
        self.canaries.append(&mut self.canaries_of_group);
    }
}

/// Nodes that are laid together.
struct Group<'a, 'n> {
    nodes: &'n [&'a NodeName],
    job: Option<&'a JobNodes>,
}

impl<'a> Layer<'a> {
    pub(super) fn new(
        known: &'a Known<'a>,
        wanted: &BTreeSet<&'a NodeName>,
        refused: BTreeSet<&'a NodeName>,
    ) -> Layer<'a> {
        let sight = &known.sight;
        let leaves = |attempt: &Attempt| is_replaced(attempt, known, wanted);
        let staying = || sight.living.iter().filter(|a| a.state.is_wanted() && !leaves(a));
        let mut zones = BTreeMap::new();
        for attempt in staying() {
            let (is, place) = (&attempt.is, &attempt.is.place);
            if let Some(zone) = &place.zone {
                let key = (is.nodeset.clone(), place.site.clone(), zone.clone());
                *zones.entry(key).or_insert(0) += 1;
            }
        }
        let alive = staying().map(|attempt| &attempt.is.node).collect();
        // A VM that is replaced counts until it is gone, as it does for Azure.
        let room = Room::new(sight, |_| false);
        let canaries = BTreeSet::new();
        let taken = Taken { room, canaries_of_group: canaries.clone(), canaries, zones };
        Layer { known, wanted: wanted.clone(), refused, alive, taken }
    }

    fn sight(&self) -> &'a Sight<'a> {
        &self.known.sight
    }

    /// Lays all of `open` down, every one once.
    pub(super) fn lay(&mut self, open: &[&'a NodeName]) -> LaidNodes<'a> {
        let mut laid = BTreeMap::new();
        let mut blocks: BTreeMap<BlockName, Vec<&NodeName>> = BTreeMap::new();
        let mut alone = Vec::new();
        for node in open {
            let named = self.sight().config.nodeset_of(node);
            match named.and_then(|named| block_of(named, node)) {
                Some(block) => blocks.entry(block).or_default().push(node),
                None => alone.push(*node),
            }
        }
        for (block, nodes) in blocks {
            self.lay_block(&block, &nodes, &mut laid);
        }
        let groups = by_job(&alone, self.known.jobs);
        for (nodes, job) in &groups {
            self.lay_alone(&Group { nodes, job: *job }, &mut laid);
        }
        laid
    }

    /// Nodes that are placed each alone.
    fn lay_alone(&mut self, group: &Group<'a, '_>, laid: &mut LaidNodes<'a>) {
        let before = self.taken.clone();
        let mut of_group = BTreeMap::new();
        for node in group.nodes.iter().filter(|node| !has_spot(laid, node)) {
            let one = self.lay_one(node, group);
            of_group.insert(*node, one);
        }
        if let Some(culprit) = self.hopeless(group, &of_group) {
            self.taken = before;
            of_group.iter_mut().for_each(|(node, one)| self.restate(node, group, &mut one.passed));
            undo(&mut of_group, culprit);
        }
        laid.extend(of_group);
        self.taken.end_group();
    }

    /// The shortages that a node met, as they are for the whole job: what the job's other nodes had
    /// taken before is given back, and all of them want it.
    fn restate(&self, node: &NodeName, group: &Group<'a, '_>, passed: &mut [Passed]) {
        let config = self.sight().config;
        let Some((name, nodeset)) = config.nodeset_of(node) else { return };
        let is_of_nodeset = |node: &&&NodeName| nodeset.nodes.binary_search(**node).is_ok();
        let later = group.job.map_or(0, |job| self.later(job, nodeset));
        let count = group.nodes.iter().filter(is_of_nodeset).count() as u64 + later;
        for place in places(config, nodeset) {
            let Err(why) = self.taken.room.fits(&Demand { name, nodeset, place: &place, count })
            else {
                continue;
            };
            let is_there = |passed: &&mut Passed| {
                let is_short = matches!(passed.why, Why::Quota(_) | Why::Cap(_));
                is_short && (&passed.site, &passed.zone) == (&place.site, &place.zone)
            };
            passed.iter_mut().filter(is_there).for_each(|passed| passed.why = why.clone());
        }
    }

    fn lay_one(&mut self, node: &'a NodeName, group: &Group<'a, '_>) -> Laid {
        let mut passed = Vec::new();
        let named = self.sight().config.nodeset_of(node);
        for place in named.map(|named| self.ordered(named)).unwrap_or_default() {
            // The rest of the job's nodes are tried one by one after it: only those that come in a
            // later call are counted here.
            match named.map(|named| self.try_place(&[node], (named, group.job), &place)) {
                Some(Ok(())) => {
                    return Laid {
                        spot: Some(Spot { place, is_new_life: false }),
                        passed,
                        for_want_of: None,
                    };
                }
                Some(Err(why)) => passed.push(Passed::of(&place, why)),
                None => {}
            }
        }
        nowhere(passed)
    }

    /// The places of a nodeset in the order in which its next node tries them.
    fn ordered(&self, (name, nodeset): Named<'_>) -> Vec<AttemptPlace> {
        let mut places = places(self.sight().config, nodeset);
        match nodeset.zone_policy {
            ZonePolicy::Pack => {}
            // Stable: zones with as many VMs keep the operator's order.
            ZonePolicy::Spread => places.sort_by_key(|place| {
                let zone = place.zone.clone().map(|z| (name.clone(), place.site.clone(), z));
                let count = zone.and_then(|key| self.taken.zones.get(&key)).copied();
                (site_rank(nodeset, &place.site), count)
            }),
        }
        places
    }

    /// Takes a place for all of `nodes`, or for none.
    fn try_place(
        &mut self,
        nodes: &[&NodeName],
        ((name, nodeset), job): (Named<'_>, Option<&JobNodes>),
        place: &AttemptPlace,
    ) -> Result<(), Why> {
        let mut canaries = BTreeSet::new();
        for node in nodes {
            let named = (name, nodeset);
            canaries.extend(self.sight().may_try(node, named, place, &self.taken.canaries)?);
        }
        let count = nodes.len() as u64;
        let later = job.map_or(0, |job| self.later(job, nodeset));
        let demand = Demand { name, nodeset, place, count: count + later };
        self.taken.room.fits(&demand)?;
        self.taken.room.take(&Demand { count, ..demand });
        self.taken.canaries_of_group.extend(canaries);
        if let Some(zone) = &place.zone {
            let key = (name.clone(), place.site.clone(), zone.clone());
            *self.taken.zones.entry(key).or_insert(0) += count;
        }
        Ok(())
    }

    /// Nodes of a job that slurmctld will ask for in a later call: their room must be there too, or
    /// the job would never start.
    fn later(&self, job: &JobNodes, nodeset: &Nodeset) -> u64 {
        let is_later = |node: &&NodeName| {
            !self.wanted.contains(*node)
                && !self.alive.contains(*node)
                && nodeset.nodes.binary_search(node).is_ok()
        };
        job.nodes.iter().filter(is_later).count() as u64
    }

    /// The node that keeps a job from starting, if there is one.
    fn hopeless(&self, group: &Group<'a, '_>, laid: &LaidNodes<'a>) -> Option<(JobId, NodeName)> {
        let job = group.job?;
        let is_missing = |node: &&NodeName| {
            self.refused.contains(*node) || laid.get(*node).is_some_and(|one| one.spot.is_none())
        };
        job.nodes.iter().find(is_missing).map(|node| (job.job, node.clone()))
    }

    fn lay_block(&mut self, block: &BlockName, nodes: &[&'a NodeName], laid: &mut LaidNodes<'a>) {
        let Some(named) = self.sight().config.nodesets.get_key_value(block.nodeset()) else {
            return;
        };
        let mut passed = Vec::new();
        let spots = self.spots_of_block(named, block, &mut passed);
        let before = self.taken.clone();
        let mut best: Option<(usize, Taken<'a>, LaidNodes<'a>)> = None;
        for spot in spots {
            self.taken = before.clone();
            let here = self.lay_at(nodes, named, &spot);
            let count = here.values().filter(|one| one.spot.is_some()).count();
            passed.extend(here.values().filter_map(|one| one.passed.first()).cloned());
            // The first of the best: a place that is further down must have room for more.
            if best.as_ref().is_none_or(|(most, ..)| *most < count) {
                best = Some((count, self.taken.clone(), here));
            }
            if count == nodes.len() {
                break;
            }
        }
        self.taken = best.as_ref().map_or(before, |(_, taken, _)| taken.clone());
        passed.sort_by_key(|passed| site_rank(named.1, &passed.site));
        passed.dedup();
        let mut here = best.map(|(.., here)| here).unwrap_or_default();
        for node in nodes {
            let one = here.remove(node).unwrap_or_else(|| nowhere(Vec::new()));
            laid.insert(node, with_passed(one, &passed));
        }
    }

    /// The sites that a block may be filled at: where it stands, or all of its nodeset's.
    fn spots_of_block(
        &self,
        named: Named<'_>,
        block: &BlockName,
        passed: &mut Vec<Passed>,
    ) -> Vec<Spot> {
        let standing = self.sight().standing_life(block, &self.leaving());
        if let Some(life) = standing {
            // Where it stands counts, also when the config does not name that place any more.
            let place = AttemptPlace {
                site: life.site.clone(),
                subscription: life.subscription.clone(),
                resource_group: life.resource_group.clone(),
                region: life.region.clone(),
                zone: None,
                block: Some(life.life.clone()),
            };
            let others = places(self.sight().config, named.1).into_iter();
            passed.extend(
                others
                    .filter(|other| other.site != life.site)
                    .map(|other| Passed::of(&other, Why::BlockStandsAt(life.site.clone()))),
            );
            return vec![Spot { place, is_new_life: false }];
        }
        let mut spots = Vec::new();
        for mut place in places(self.sight().config, named.1) {
            let fresh = self.sight().fresh_life(block, &place.site);
            let is_new_life = fresh.is_none();
            place.block =
                Some(fresh.map_or_else(|| any_life(block.clone()), |life| life.life.clone()));
            spots.push(Spot { place, is_new_life });
        }
        spots
    }

    /// Nodes of this request whose VM is replaced: they do not keep their block where it is.
    fn leaving(&self) -> BTreeSet<&'a NodeName> {
        let living = self.sight().living.iter();
        let replaced = living.filter(|a| is_replaced(a, self.known, &self.wanted));
        replaced.map(|attempt| &attempt.is.node).collect()
    }

    /// Nodes that were tried together in vain: those that could come by themselves do not, for want
    /// of the others. A shortage is everybody's.
    fn refuse_part(
        &self,
        part: &[&'a NodeName],
        (named, job): (Named<'_>, Option<&JobNodes>),
        (spot, why): (&Spot, Why),
        here: &mut LaidNodes<'a>,
    ) {
        let may =
            |node: &NodeName| self.sight().may_try(node, named, &spot.place, &self.taken.canaries);
        let culprit = part.iter().find(|node| may(node).is_err());
        for node in part {
            let own = may(node).err();
            let one = match (own, culprit, job) {
                (None, Some(culprit), Some(job)) => {
                    Laid { for_want_of: Some((job.job, (*culprit).clone())), ..nowhere(Vec::new()) }
                }
                (own, _, _) => {
                    nowhere(vec![Passed::of(&spot.place, own.unwrap_or_else(|| why.clone()))])
                }
            };
            here.insert(node, one);
        }
    }

    /// All nodes of a block at one site: a job whole or not at all, others node by node.
    fn lay_at(&mut self, nodes: &[&'a NodeName], named: Named<'_>, spot: &Spot) -> LaidNodes<'a> {
        let mut here: LaidNodes<'a> = BTreeMap::new();
        for (nodes, job) in by_job(nodes, self.known.jobs) {
            let open: Vec<&NodeName> =
                nodes.iter().copied().filter(|node| !has_spot(&here, node)).collect();
            let group = Group { nodes: &open, job };
            let missing = self.hopeless(&group, &here);
            if let Some(culprit) = missing {
                let one = Laid { for_want_of: Some(culprit), ..nowhere(Vec::new()) };
                here.extend(open.iter().map(|node| (*node, one.clone())));
                continue;
            }
            let parts: Vec<&[&NodeName]> = match job {
                Some(_) => vec![&open],
                None => open.chunks(1).collect(),
            };
            for part in parts {
                match self.try_place(part, (named, job), &spot.place) {
                    Ok(()) => here.extend(part.iter().map(|node| (*node, took(spot)))),
                    Err(why) => self.refuse_part(part, (named, job), (spot, why), &mut here),
                }
            }
            self.taken.end_group();
        }
        here
    }
}

fn took(spot: &Spot) -> Laid {
    Laid { spot: Some(spot.clone()), passed: Vec::new(), for_want_of: None }
}

fn nowhere(passed: Vec<Passed>) -> Laid {
    Laid { spot: None, passed, for_want_of: None }
}

/// What was passed over for the whole block, without the place that was taken.
fn with_passed(one: Laid, passed: &[Passed]) -> Laid {
    let site = one.spot.as_ref().map(|spot| &spot.place.site);
    let passed = passed.iter().filter(|passed| Some(&passed.site) != site).cloned().collect();
    Laid { passed, ..one }
}

fn has_spot(laid: &LaidNodes<'_>, node: &NodeName) -> bool {
    laid.get(node).is_some_and(|one| one.spot.is_some())
}

/// None of a job's nodes is made; those that could be are not, for want of the culprit.
fn undo(of_group: &mut LaidNodes<'_>, culprit: (JobId, NodeName)) {
    for one in of_group.values_mut().filter(|one| one.spot.is_some()) {
        let passed = std::mem::take(&mut one.passed);
        *one = Laid { for_want_of: Some(culprit.clone()), ..nowhere(passed) };
    }
}

fn site_rank(nodeset: &Nodeset, site: &SiteName) -> usize {
    nodeset.sites.iter().position(|name| name == site).unwrap_or(usize::MAX)
}

/// A provisioned VM that slurmctld's request makes useless.
fn is_replaced(attempt: &Attempt, known: &Known<'_>, wanted: &BTreeSet<&NodeName>) -> bool {
    known.replace_running && attempt.running_at.is_some() && wanted.contains(&attempt.is.node)
}

/// The nodes of each job, in the order of the jobs, and last those that no job waits for. A node
/// that several jobs wait for is in all of theirs.
fn by_job<'a>(
    nodes: &[&'a NodeName],
    jobs: &'a [JobNodes],
) -> Vec<(Vec<&'a NodeName>, Option<&'a JobNodes>)> {
    let open: BTreeSet<&NodeName> = nodes.iter().copied().collect();
    let mut rest = open.clone();
    let mut groups = Vec::new();
    for job in jobs {
        let of_job: Vec<&NodeName> =
            job.nodes.iter().filter_map(|node| open.get(node).copied()).collect();
        of_job.iter().for_each(|node| {
            rest.remove(node);
        });
        if !of_job.is_empty() {
            groups.push((of_job, Some(job)));
        }
    }
    for node in nodes.iter().filter(|node| rest.contains(*node)) {
        groups.push((vec![*node], None));
    }
    groups
}
