//! What Azure lists of the cluster's VMs: by Resource Graph, or by Resource Manager where that is
//! refused, absent or failing. Each source says how it was had, when, and whether it is whole; what
//! may be concluded from that is core's (`azslurm_core::listing`). Plain data: it can be kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_azure::{Arm, ResourceId, Vm, VmPower, VmRow};
use azslurm_core::attempt::{Attempt, AttemptState};
use azslurm_core::config::{Config, Site};
use azslurm_core::listing::{Extent, Silence, Way};
use azslurm_core::{SiteName, Timestamp};
use azslurm_ledger::{Fact, LedgerError, Reader};
use azslurm_program::exit::chain_of;
use azslurm_program::{Session, now};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// A list of 10,000 VMs by Resource Graph is ten calls (FACTS §8). What slurmctld is to be told
/// waits for the list.
const GRAPH_MAX: Duration = Duration::from_secs(30);
/// The same by Resource Manager is 200 pages, one after the other, and 200 more for the power
/// states of the subscription.
const LISTS_MAX: Duration = Duration::from_secs(120);
/// A Resource Graph that is refused or not there is not asked again before this.
const GRAPH_REFUSED_FOR: Duration = Duration::from_secs(10 * 60);
/// One that fails is not waited for again in each pass.
const GRAPH_FAILED_FOR: Duration = Duration::from_secs(60);
/// Facts about it: this, and the name of the door.
const GRAPH_OUT: &str = "graph-out/";

/// What Azure lists, source by source. Each site of the config is in one of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The sources.
    pub sources: Vec<Source>,
}

/// One answer, or one series of pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The sites whose VMs it shows.
    pub sites: Vec<SiteName>,
    /// How it was had; by that, how old it may be.
    pub way: Way,
    /// When it was begun.
    pub at: Timestamp,
    /// Whether it is whole.
    pub extent: Extent,
    /// Why Resource Graph was not used, where it was not.
    pub graph_out: Option<GraphOut>,
    /// VMs with the tag of this cluster, by name in lower case.
    pub vms: BTreeMap<String, VmRow>,
}

/// Why Resource Graph is not used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphOut {
    /// The door it was asked through.
    pub door: String,
    /// What came of it.
    pub why: String,
    /// When it is asked again.
    pub until: Timestamp,
}

/// What a list says of one VM.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Listed<'a> {
    /// It shows it, so.
    There(&'a VmRow),
    /// It does not show it, and should: the VM itself is to be asked for.
    Lacking,
    /// Nothing.
    NotSaid,
}

impl Listing {
    /// All VMs, each with the source that shows it.
    pub fn rows(&self) -> impl Iterator<Item = (&Source, &VmRow)> {
        self.sources.iter().flat_map(|source| source.vms.values().map(move |row| (source, row)))
    }

    /// None of the sites could be asked: why.
    pub fn unknown(config: &Config, why: String) -> Listing {
        let source = Source {
            sites: config.sites.keys().cloned().collect(),
            way: Way::Graph,
            at: now(),
            extent: Extent::Part(why),
            graph_out: None,
            vms: BTreeMap::new(),
        };
        Listing { sources: vec![source] }
    }

    /// The VM of this name in lower case.
    pub fn row(&self, name: &str) -> Option<&VmRow> {
        self.sources.iter().find_map(|source| source.vms.get(name))
    }

    /// All VMs by name in lower case.
    pub fn by_name(&self) -> BTreeMap<String, VmRow> {
        self.sources.iter().flat_map(|source| source.vms.clone()).collect()
    }

    /// What it says of an attempt's VM.
    pub fn says(&self, attempt: &Attempt) -> Listed<'_> {
        let is_of = |source: &&Source| source.sites.contains(&attempt.is.place.site);
        let Some(source) = self.sources.iter().find(is_of) else { return Listed::NotSaid };
        if let Some(row) = source.vms.get(key_of(attempt.is.vm.as_str()).as_ref()) {
            return Listed::There(row);
        }
        match source.extent.silence(source.way, known_since(attempt), source.at) {
            Silence::Asks => Listed::Lacking,
            Silence::SaysNothing => Listed::NotSaid,
        }
    }

    /// Compares each source with what the ledger says should run: one that has shrunk is not
    /// trusted.
    pub fn judge<'a>(&mut self, attempts: impl Iterator<Item = &'a Attempt>) {
        let running: Vec<&Attempt> =
            attempts.filter(|attempt| attempt.state == AttemptState::Running).collect();
        for source in &mut self.sources {
            let is_expected = |attempt: &&&Attempt| {
                source.sites.contains(&attempt.is.place.site)
                    && known_since(attempt).plus(source.way.lag()) < source.at
            };
            let expected: Vec<_> = running.iter().filter(is_expected).collect();
            let is_shown = |attempt: &&&&Attempt| {
                source.vms.contains_key(key_of(attempt.is.vm.as_str()).as_ref())
            };
            let shown = expected.iter().filter(is_shown).count();
            source.extent = source.extent.clone().judged(shown, expected.len());
        }
    }

    /// What is not whole, and why, for people.
    pub fn incomplete(&self) -> Vec<String> {
        self.sources.iter().filter_map(Source::incomplete).collect()
    }

    /// What was had in another way than usual, for people.
    pub fn instead(&self) -> Vec<String> {
        let line = |source: &Source| {
            let out = source.graph_out.as_ref()?;
            Some(format!(
                "azure ({}): VMs were listed group by group, because Resource Graph cannot be \
                 used: {}; it is asked again from {} on",
                source.names(),
                out.why,
                out.until
            ))
        };
        self.sources.iter().filter_map(line).collect()
    }
}

/// A VM's name in lower case: all of ours are that already.
pub(crate) fn key_of(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// Since when a VM is known to be there.
fn known_since(attempt: &Attempt) -> Timestamp {
    attempt.running_at.or(attempt.accepted_at).unwrap_or(attempt.intended_at)
}

impl Source {
    fn names(&self) -> String {
        self.sites.iter().map(|site| site.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn incomplete(&self) -> Option<String> {
        let names = self.names();
        match &self.extent {
            Extent::Whole => None,
            Extent::Shrunk { shown, expected } => Some(format!(
                "azure ({names}): its list shows {shown} of {expected} VMs that should run. \
                 Those that are missing are asked for one by one, and no VM is deleted for this \
                 list. Can the identity read all VMs?"
            )),
            Extent::Part(why) => Some(format!("azure ({names}): {why}")),
        }
    }
}

/// Lists the VMs of the cluster through every door.
pub async fn list(session: &mut Session) -> Listing {
    if let Err(stop) = session.connect() {
        return Listing::unknown(&session.config, stop.text());
    }
    let mut listing = Listing::default();
    for (door, arm, sites) in session.clients.doors() {
        let graph_out = match graph_out(&session.ledger, door) {
            Some(out) => out,
            None => match by_graph(session, (door, arm), &sites).await {
                Ok(source) => {
                    listing.sources.push(source);
                    continue;
                }
                Err(out) => out,
            },
        };
        listing.sources.extend(by_lists(session, arm, (&sites, Some(&graph_out))).await);
    }
    listing
}

/// Lists by Resource Manager, as things are now, what Resource Graph has shown: a VM of the last
/// minute is missing there. What cannot be had whole stays as it was.
pub async fn list_now(session: &Session, listing: &mut Listing) {
    for (_, arm, sites) in session.clients.doors() {
        let is_of = |source: &Source| {
            source.way == Way::Graph && source.sites.iter().any(|site| sites.contains(&site))
        };
        let Some(at) = listing.sources.iter().position(is_of) else { continue };
        let sources = by_lists(session, arm, (&sites, None)).await;
        match sources.iter().find_map(Source::incomplete) {
            None => drop(listing.sources.splice(at..=at, sources)),
            Some(why) => tracing::warn!("{why}; VMs of the last two minutes may not be known"),
        }
    }
}

/// Why Resource Graph is not asked now, if a pass before this learned it.
fn graph_out(reader: &Reader, door: &str) -> Option<GraphOut> {
    let key = format!("{GRAPH_OUT}{door}");
    let facts = reader.facts().unwrap_or_default();
    let fact = facts.into_iter().find(|fact| fact.key == key)?;
    let out: GraphOut = serde_json::from_str(&fact.text).ok()?;
    (now() < out.until).then_some(out)
}

/// Keeps what was learned of Resource Graph for the next passes.
pub fn remember(session: &mut Session, listing: &Listing) -> Result<(), LedgerError> {
    let outs: BTreeMap<String, &GraphOut> = listing
        .sources
        .iter()
        .filter_map(|source| source.graph_out.as_ref())
        .map(|out| (format!("{GRAPH_OUT}{}", out.door), out))
        .collect();
    let known = session.ledger.facts()?;
    let facts: Vec<Fact> = outs
        .into_iter()
        .map(|(key, out)| {
            let text = serde_json::to_string(out).expect("names and numbers are JSON");
            Fact { key, text, at: now() }
        })
        .filter(|new| !known.iter().any(|old| old.key == new.key && old.text == new.text))
        .collect();
    if facts.is_empty() {
        return Ok(());
    }
    session.ledger.write(|writer| facts.iter().try_for_each(|fact| writer.set_fact(fact)))
}

async fn by_graph(
    session: &Session,
    (door, arm): (&str, &Arm),
    sites: &[&SiteName],
) -> Result<Source, GraphOut> {
    let at = now();
    let subscriptions = session.subscriptions_of(sites);
    let asked = arm.query_vms(&subscriptions, &session.config.cluster, None);
    let out = |why: String, for_so_long: Duration| GraphOut {
        door: door.to_owned(),
        why,
        until: at.plus(for_so_long),
    };
    let found = match timeout(GRAPH_MAX, asked).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(out(chain_of(&error), GRAPH_FAILED_FOR)),
        Err(_elapsed) => {
            let why = format!("no whole answer within {} s", GRAPH_MAX.as_secs());
            return Err(out(why, GRAPH_FAILED_FOR));
        }
    };
    if let Some(why) = found.incomplete_because {
        let is_refused =
            found.refusal.is_some_and(|no| (400..500).contains(&no.status) && !no.is_throttled());
        let for_so_long = if is_refused { GRAPH_REFUSED_FOR } else { GRAPH_FAILED_FOR };
        return Err(out(why, for_so_long));
    }
    let vms = found.items.into_iter().map(by_name).collect();
    let sites = sites.iter().map(|site| (*site).clone()).collect();
    Ok(Source { sites, way: Way::Graph, at, extent: Extent::Whole, graph_out: None, vms })
}

fn by_name(row: VmRow) -> (String, VmRow) {
    (row.name.to_ascii_lowercase(), row)
}

/// Sites by the resource group that they share.
type Groups<'a> = BTreeMap<(String, String), Vec<&'a SiteName>>;

/// One source per resource group: one that is refused costs no other.
async fn by_lists(
    session: &Session,
    arm: &Arm,
    (sites, graph_out): (&[&SiteName], Option<&GraphOut>),
) -> Vec<Source> {
    let mut groups = Groups::new();
    for name in sites {
        let Some(Site { subscription, resource_group, .. }) = session.config.sites.get(*name)
        else {
            continue;
        };
        let key = (subscription.to_ascii_lowercase(), resource_group.to_ascii_lowercase());
        groups.entry(key).or_default().push(name);
    }
    let mut sources = Vec::new();
    for ((subscription, group), sites) in groups {
        let at = now();
        let asked = arm.list_vms(&subscription, &group);
        let found = timeout(LISTS_MAX, asked).await;
        let (vms, why) = match found {
            Ok(Ok(found)) => (found.items, found.incomplete_because),
            Ok(Err(error)) => (Vec::new(), Some(chain_of(&error))),
            Err(_elapsed) => {
                (Vec::new(), Some(format!("no whole list within {} s", LISTS_MAX.as_secs())))
            }
        };
        let is_ours = |vm: &Vm| vm.cluster.as_ref() == Some(&session.config.cluster);
        let vms = vms.into_iter().filter(is_ours).map(VmRow::from).map(by_name).collect();
        let extent = why.map_or(Extent::Whole, Extent::Part);
        let sites = sites.into_iter().cloned().collect();
        let graph_out = graph_out.cloned();
        sources.push(Source { sites, way: Way::Lists, at, extent, graph_out, vms });
    }
    let subscriptions: BTreeSet<String> = session.subscriptions_of(sites).into_iter().collect();
    for subscription in subscriptions {
        if sources.iter().any(|source| !source.vms.is_empty()) {
            add_power(&mut sources, &powers(arm, &subscription).await);
        }
    }
    sources
}

/// The power states of a subscription's VMs. Without the right to read the whole subscription there
/// are none, and each VM of ours that Azure may have taken is asked for by itself.
async fn powers(arm: &Arm, subscription: &str) -> BTreeMap<ResourceId, VmPower> {
    match timeout(LISTS_MAX, arm.list_vm_statuses(subscription)).await {
        Ok(Ok(found)) => {
            if let Some(why) = found.incomplete_because {
                tracing::warn!(subscription, "not all power states are known: {why}");
            }
            found.items.into_iter().filter_map(|vm| Some((vm.id, vm.power?))).collect()
        }
        Ok(Err(error)) => {
            tracing::warn!(subscription, "no power states are known: {}", chain_of(&error));
            BTreeMap::new()
        }
        Err(_elapsed) => {
            tracing::warn!(subscription, "no power states within {} s", LISTS_MAX.as_secs());
            BTreeMap::new()
        }
    }
}

fn add_power(sources: &mut [Source], powers: &BTreeMap<ResourceId, VmPower>) {
    for row in sources.iter_mut().flat_map(|source| source.vms.values_mut()) {
        if let Some(power) = powers.get(&row.id) {
            row.power = Some(power.clone());
        }
    }
}
