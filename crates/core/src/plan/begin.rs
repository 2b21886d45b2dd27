//! From where a node goes to what is done about it: nodes that need no place, the VMs to make, the
//! new lives of blocks, and the words of a refusal.

use std::collections::BTreeMap;

use crate::attempt::{Attempt, AttemptPlace, AttemptState};
use crate::block::{Block, BlockName, BlockState, Incarnation};
use crate::config::Nodeset;
use crate::failure::{
    CODE_CAP, CODE_CONFIG_UNREADABLE, CODE_GANG, CODE_NO_PLACE, CODE_NOT_OFFERED, CODE_NOT_RDMA,
    CODE_QUOTA_AHEAD,
};
use crate::plan::lay::{Laid, Spot};
use crate::plan::{Create, Known, NodesetTexts, Passed, Refuse, Step, VmWish, Why};
use crate::{AttemptId, NodeName, NodesetName, Timestamp};

/// The step of a node that needs no place; `None`: it needs one.
pub(super) fn aside(node: &NodeName, known: &Known<'_>) -> Option<Step> {
    let Some((nodeset, _)) = known.sight.config.nodeset_of(node) else {
        return Some(Step::Unknown { node: node.clone() });
    };
    let of_node = known.attempts.iter().filter(|a| a.is.node == *node && a.state.is_wanted());
    let newest = of_node.max_by_key(|attempt| attempt.is.attempt);
    if let Some(current) = newest.filter(|a| keeps(a.state, known.replace_running)) {
        let Attempt { is, state, .. } = current;
        return Some(Step::Keep { node: node.clone(), vm: is.vm.clone(), state: *state });
    }
    if known.texts.contains_key(nodeset) {
        return None;
    }
    Some(Step::Refuse(Box::new(Refuse {
        node: node.clone(),
        code: CODE_CONFIG_UNREADABLE.to_owned(),
        text: format!("a file that [nodeset.{nodeset}] names cannot be read"),
        until: None,
        replaces: Vec::new(),
        passed: Vec::new(),
    })))
}

/// Whether a wanted VM in `state` serves the request as it is.
fn keeps(state: AttemptState, replace_running: bool) -> bool {
    match state {
        AttemptState::Intended | AttemptState::Accepted => true,
        AttemptState::Running => !replace_running,
        AttemptState::Refused
        | AttemptState::DeleteIntended
        | AttemptState::Deleting
        | AttemptState::Gone => false,
    }
}

/// The lives of blocks that the plan begins.
pub(super) struct Lives<'a> {
    known: &'a Known<'a>,
    new: BTreeMap<BlockName, Block>,
}

impl<'a> Lives<'a> {
    pub(super) fn new(known: &'a Known<'a>) -> Lives<'a> {
        Lives { known, new: BTreeMap::new() }
    }

    /// Those that some VM is made in.
    pub(super) fn into_new(self) -> Vec<Block> {
        self.new.into_values().collect()
    }

    /// What happens with a node that was laid down, or was not.
    pub(super) fn step(&mut self, node: &NodeName, laid: Laid) -> Step {
        let named = self.known.sight.config.nodeset_of(node);
        let texts = named.and_then(|(name, _)| self.known.texts.get(name));
        match (laid.spot.clone(), named, texts) {
            (Some(spot), Some(named), Some(texts)) => {
                self.create(node, (named, texts), spot, laid.passed)
            }
            (Some(_), _, _) | (None, _, _) => {
                let replaces = self.wanted_vms(node);
                Step::Refuse(Box::new(Refuse {
                    replaces,
                    ..refusal(node, laid, self.known.sight.now)
                }))
            }
        }
    }

    fn create(
        &mut self,
        node: &NodeName,
        ((name, nodeset), texts): ((&NodesetName, &Nodeset), &NodesetTexts),
        spot: Spot,
        passed: Vec<Passed>,
    ) -> Step {
        let known = self.known;
        let place = self.place_of(spot, nodeset);
        let of_node = || known.attempts.iter().filter(|attempt| attempt.is.node == *node);
        let attempt = AttemptId::next(known.sight.now, of_node().map(|a| a.is.attempt).max());
        let spec =
            VmWish { node, nodeset: name, attempt, place: &place }.spec(known.sight.config, texts);
        let replaces = of_node().filter(|a| a.state.is_wanted()).map(|a| a.is.vm.clone()).collect();
        let (node, nodeset) = (node.clone(), name.clone());
        match spec {
            Some(spec) => Step::Create(Box::new(Create {
                node,
                nodeset,
                attempt,
                place,
                spec,
                replaces,
                passed,
            })),
            // Only a block's life can be at a site that has left the config.
            None => {
                let text =
                    format!("the config no longer has site {}, where its block stands", place.site);
                let code = CODE_NO_PLACE.to_owned();
                Step::Refuse(Box::new(Refuse { node, code, text, until: None, replaces, passed }))
            }
        }
    }

    /// VMs of a node that were wanted until now.
    fn wanted_vms(&self, node: &NodeName) -> Vec<crate::VmName> {
        let attempts = self.known.attempts.iter();
        let wanted = attempts.filter(|a| a.is.node == *node && a.state.is_wanted());
        wanted.map(|attempt| attempt.is.vm.clone()).collect()
    }

    /// The place with the life of its block: one that exists, or the new one of this plan.
    fn place_of(&mut self, spot: Spot, nodeset: &Nodeset) -> AttemptPlace {
        let Spot { mut place, is_new_life } = spot;
        let Some(life) = place.block.clone().filter(|_| is_new_life) else { return place };
        let sight = &self.known.sight;
        let block = self.new.entry(life.block.clone()).or_insert_with(|| {
            let earlier = sight.blocks.iter().filter(|b| b.life.block == life.block);
            let last = earlier.map(|block| block.life.number).max();
            let life =
                Incarnation { block: life.block.clone(), number: AttemptId::next(sight.now, last) };
            Block {
                name: life.resource_name(&sight.config.cluster),
                life,
                site: place.site.clone(),
                subscription: place.subscription.clone(),
                resource_group: place.resource_group.clone(),
                region: place.region.clone(),
                sku: nodeset.sku.clone(),
                state: BlockState::Intended,
            }
        });
        place.block = Some(block.life.clone());
        place
    }
}

/// The words of a refusal: those of the place that can be tried first again, if any place says
/// when; else of the best place.
fn refusal(node: &NodeName, laid: Laid, now: Timestamp) -> Refuse {
    let Laid { passed, for_want_of, .. } = laid;
    if let Some((job, culprit)) = for_want_of {
        let text =
            format!("node {culprit} of job {job} cannot come, and the job needs all of them");
        let code = CODE_GANG.to_owned();
        return Refuse {
            node: node.clone(),
            code,
            text,
            until: None,
            replaces: Vec::new(),
            passed,
        };
    }
    let first = passed
        .iter()
        .filter_map(|passed| Some((until_of(&passed.why, now)?, &passed.why)))
        .min_by_key(|(until, _)| *until)
        .map(|(_, why)| why)
        .or(passed.first().map(|passed| &passed.why))
        .unwrap_or(&Why::NoSite);
    let (code, text) = words(first);
    let until = until_of(first, now);
    Refuse { node: node.clone(), code, text, until, replaces: Vec::new(), passed }
}

fn until_of(why: &Why, now: Timestamp) -> Option<Timestamp> {
    match why {
        Why::Held(hold) => Some(hold.until),
        Why::CanaryIsOut(hold) => Some(hold.canary_shows_at(now)),
        Why::Quota(_)
        | Why::Cap(_)
        | Why::NotOffered
        | Why::NoInfiniband
        | Why::BlockStandsAt(_)
        | Why::NoSite => None,
    }
}

impl Why {
    /// Code and words, as slurmctld and people get them.
    pub fn words(&self) -> (String, String) {
        words(self)
    }
}

fn words(why: &Why) -> (String, String) {
    let (code, text) = match why {
        Why::Held(hold) => return (hold.code.clone(), hold.text.clone()),
        Why::CanaryIsOut(hold) => {
            (CODE_NO_PLACE, format!("another tries first whether {} is over", hold.scope))
        }
        Why::Quota(shortage) => (CODE_QUOTA_AHEAD, shortage.to_string()),
        Why::Cap(shortage) => (CODE_CAP, shortage.to_string()),
        Why::NotOffered => {
            (CODE_NOT_OFFERED, "Azure does not offer this size to the subscription here".to_owned())
        }
        Why::NoInfiniband => (
            CODE_NOT_RDMA,
            "the size has no InfiniBand (RdmaEnabled is not True): choose another sku, or \
             interconnect = none"
                .to_owned(),
        ),
        Why::BlockStandsAt(site) => {
            (CODE_NO_PLACE, format!("the block has VMs at site {site} and does not move"))
        }
        Why::NoSite => (CODE_NO_PLACE, "the nodeset has no site in the config".to_owned()),
    };
    (code.to_owned(), text)
}
