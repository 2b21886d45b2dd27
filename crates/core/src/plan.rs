//! What to do about the nodes that slurmctld wants to have: which get a new VM, where, and which do
//! not.
//!
//! Pure and total: every node of the request comes out in exactly one [`Step`], in the order of the
//! request.

use std::collections::BTreeMap;

use crate::attempt::{Attempt, AttemptPlace, AttemptState};
use crate::config::{Config, Nodeset, Site};
use crate::hold::{Candidate, Hold, held};
use crate::vm::{VmSpec, our_tags};
use crate::{AttemptId, NodeName, NodesetName, SiteName, Timestamp, VmName};

/// What is known when a resume is planned.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The config.
    pub config: &'a Config,
    /// Texts that nodesets name by file, read by the shell.
    pub texts: &'a BTreeMap<NodesetName, NodesetTexts>,
    /// Attempts that the ledger knows of the wanted nodes: all that have not ended, and the newest
    /// that has.
    pub attempts: &'a [Attempt],
    /// Holds.
    pub holds: &'a [Hold],
    /// Whether a node whose VM is provisioned already gets a new one. True when slurmctld asked for
    /// the node (it counts a node as resumed only if its kernel booted after the request, SLURM.md
    /// §0.6), false when a pass only completes what is missing.
    pub replace_running: bool,
    /// The present moment.
    pub now: Timestamp,
}

/// The files that a nodeset names, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodesetTexts {
    /// The line of the administrator's public key.
    pub ssh_public_key: String,
    /// The user data before substitution.
    pub user_data: Option<String>,
}

/// What happens with one wanted node.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A new VM is made.
    Create(Box<Create>),
    /// Nothing is done: a VM of the node is on its way or there.
    Keep {
        /// The node.
        node: NodeName,
        /// That VM.
        vm: VmName,
        /// What is known of it.
        state: AttemptState,
    },
    /// It cannot be had now; slurmctld is told.
    Refuse {
        /// The node.
        node: NodeName,
        /// A word for the reason in Slurm.
        code: String,
        /// Words for a person.
        text: String,
        /// When it can be tried again, if it is known.
        until: Option<Timestamp>,
    },
    /// The node is in no nodeset of the config: not ours, left alone, reported.
    Unknown {
        /// The node.
        node: NodeName,
    },
}

/// A VM to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    /// The node.
    pub node: NodeName,
    /// Its nodeset.
    pub nodeset: NodesetName,
    /// The attempt.
    pub attempt: AttemptId,
    /// Where.
    pub place: AttemptPlace,
    /// All of the VM.
    pub spec: VmSpec,
    /// VMs of the node that this one replaces: wanted until now, to be deleted.
    pub replaces: Vec<VmName>,
}

/// Plans `wanted`; a node that is named twice is planned once.
pub fn plan(wanted: &[NodeName], known: &Known<'_>) -> Vec<Step> {
    let mut attempts: BTreeMap<&NodeName, Vec<&Attempt>> = BTreeMap::new();
    for attempt in known.attempts {
        attempts.entry(&attempt.is.node).or_default().push(attempt);
    }
    let mut seen = std::collections::BTreeSet::new();
    wanted
        .iter()
        .filter(|node| seen.insert(*node))
        .map(|node| plan_node(node, attempts.get(node).map_or(&[], Vec::as_slice), known))
        .collect()
}

fn plan_node(node: &NodeName, attempts: &[&Attempt], known: &Known<'_>) -> Step {
    let Some((nodeset_name, nodeset)) = known.config.nodeset_of(node) else {
        return Step::Unknown { node: node.clone() };
    };
    let newest = attempts.iter().filter(|a| a.state.is_wanted()).max_by_key(|a| a.is.attempt);
    if let Some(current) = newest.filter(|a| keeps(a.state, known.replace_running)) {
        let Attempt { is, state, .. } = current;
        return Step::Keep { node: node.clone(), vm: is.vm.clone(), state: *state };
    }
    let Some(texts) = known.texts.get(nodeset_name) else {
        return Step::Refuse {
            node: node.clone(),
            code: crate::failure::CODE_CONFIG_UNREADABLE.to_owned(),
            text: format!("a file that [nodeset.{nodeset_name}] names cannot be read"),
            until: None,
        };
    };
    let place = match choose(node, (nodeset_name, nodeset), known) {
        Ok(place) => place,
        Err(refusal) => return refusal,
    };
    let attempt = AttemptId::next(known.now, attempts.iter().map(|a| a.is.attempt).max());
    let spec = VmWish { node, nodeset: nodeset_name, attempt, place: &place }
        .spec(known.config, texts)
        .expect("the place was chosen among this config's sites for this nodeset");
    let replaces =
        attempts.iter().filter(|a| a.state.is_wanted()).map(|a| a.is.vm.clone()).collect();
    Step::Create(Box::new(Create {
        node: node.clone(),
        nodeset: nodeset_name.clone(),
        attempt,
        place,
        spec,
        replaces,
    }))
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

/// Every place that the nodeset allows, best first.
pub fn places(config: &Config, nodeset: &Nodeset) -> Vec<AttemptPlace> {
    let sites = nodeset.sites.iter().filter_map(|name| config.sites.get_key_value(name));
    let in_site = |(name, site): (&SiteName, &Site)| {
        let place = |zone| AttemptPlace {
            site: name.clone(),
            subscription: site.subscription.clone(),
            resource_group: site.resource_group.clone(),
            region: site.region.clone(),
            zone,
            block: None,
        };
        match nodeset.zones.as_slice() {
            [] => vec![place(None)],
            zones => zones.iter().cloned().map(Some).map(place).collect(),
        }
    };
    sites.flat_map(in_site).collect()
}

/// The hold that keeps `node` from every one of its places, if all are held: the one that ends
/// first.
pub fn held_everywhere<'a>(
    node: &NodeName,
    config: &Config,
    holds: &'a [Hold],
    now: Timestamp,
) -> Option<&'a Hold> {
    let (name, nodeset) = config.nodeset_of(node)?;
    let (is_spot, image) = (nodeset.is_spot(), nodeset.image.reference_text());
    let mut first: Option<&Hold> = None;
    for place in places(config, nodeset) {
        let candidate = Candidate {
            node,
            place: &place,
            sku: &nodeset.sku,
            nodeset: name,
            is_spot,
            image: &image,
            facts: None,
        };
        let hold = held(&candidate, holds, now)?;
        first =
            Some(first.map_or(hold, |other| if other.until <= hold.until { other } else { hold }));
    }
    first
}

fn choose(
    node: &NodeName,
    (name, nodeset): (&NodesetName, &Nodeset),
    known: &Known<'_>,
) -> Result<AttemptPlace, Step> {
    let (is_spot, image) = (nodeset.is_spot(), nodeset.image.reference_text());
    let free = places(known.config, nodeset).into_iter().find(|place| {
        let candidate = Candidate {
            node,
            place,
            sku: &nodeset.sku,
            nodeset: name,
            is_spot,
            image: &image,
            facts: None,
        };
        held(&candidate, known.holds, known.now).is_none()
    });
    if let Some(place) = free {
        return Ok(place);
    }
    let hold = held_everywhere(node, known.config, known.holds, known.now);
    Err(Step::Refuse {
        node: node.clone(),
        code: hold.map_or_else(|| "NoPlace".to_owned(), |hold| hold.code.clone()),
        text: hold.map_or_else(String::new, |hold| hold.text.clone()),
        until: hold.map(|hold| hold.until),
    })
}

/// One VM as wanted, before its body is written: node, nodeset, attempt and place decide all of it.
#[derive(Debug, Clone, Copy)]
pub struct VmWish<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// Its nodeset.
    pub nodeset: &'a NodesetName,
    /// The attempt.
    pub attempt: AttemptId,
    /// Where.
    pub place: &'a AttemptPlace,
}

impl VmWish<'_> {
    /// The whole VM; `None` if the config no longer has the nodeset or the site.
    pub fn spec(&self, config: &Config, texts: &NodesetTexts) -> Option<VmSpec> {
        let nodeset = config.nodesets.get(self.nodeset)?;
        let site = config.sites.get(&self.place.site)?;
        let mut tags = nodeset.tags.clone();
        tags.extend(our_tags(&config.cluster, self.node, self.nodeset, self.attempt));
        let user_data = texts.user_data.as_ref().map(|text| self.substitute(config, text));
        Some(VmSpec {
            name: VmName::of(self.node, self.attempt),
            computer_name: self.node.clone(),
            region: self.place.region.clone(),
            zone: self.place.zone.clone(),
            sku: nodeset.sku.clone(),
            image: nodeset.image.clone(),
            priority: nodeset.priority,
            subnet: site.subnet.clone(),
            network_security_group: site.network_security_group.clone(),
            accelerated_networking: nodeset.accelerated_networking,
            os_disk: nodeset.os_disk.clone(),
            admin_username: nodeset.admin_username.clone(),
            ssh_public_key: texts.ssh_public_key.clone(),
            user_data,
            identities: nodeset.identities.clone(),
            capacity_reservation_group: nodeset.capacity_reservation_group.clone(),
            availability_set: None,
            tags,
        })
    }

    /// `{cluster}`, `{node}`, `{nodeset}`, `{controller}`; every other brace stays (user data is
    /// often a script).
    fn substitute(&self, config: &Config, text: &str) -> String {
        text.replace("{cluster}", config.cluster.as_str())
            .replace("{node}", self.node.as_str())
            .replace("{nodeset}", self.nodeset.as_str())
            .replace("{controller}", &config.slurm.controller)
    }
}
