//! The model of Azure: state, virtual clock and a queue of what is due. Pure and deterministic: the
//! same seed, requests and times give the same answers, so that a simulation can use it without
//! HTTP. Must never: do I/O, read a clock, wait.
//!
//! ```text
//! apply(request, now) ─► due events ─► version ─► throttle ─► handler of the route ─► answer
//! advance(now)        ─► due events ─► effects (boot commands to start and stop)
//! ```

mod activity;
pub mod address;
pub mod capacity;
pub mod chance;
pub mod config;
mod costs;
mod disk;
mod dispatch;
mod events;
mod graph_rows;
mod groups;
pub mod history;
pub mod ids;
mod images;
mod lifecycle;
mod list;
mod looks;
pub mod message;
mod nic;
mod nic_view;
pub mod operation;
mod placement;
mod placement_view;
mod plain;
pub mod prices;
pub mod quota;
pub mod resources;
pub mod rights;
pub mod route;
mod rules;
pub mod scheduled;
pub mod seed;
pub mod settings;
mod steering;
mod store;
mod terms;
pub mod throttle;
pub mod time;
pub mod version;
mod vm_body;
mod vm_create;
mod vm_end;
mod vm_power;
mod vm_update;
mod vm_view;
mod vnet;
pub mod vnet_use;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use activity::Activity;
use capacity::Capacity;
use chance::Chance;
use config::Config;
use events::Events;
use graph_rows::GraphView;
use history::History;
use ids::Key;
use message::{Effect, Request, Response};
use operation::Operations;
use quota::Quota;
use resources::{AvailabilitySet, Disk, Group, Nic, PlacementGroup, Plain, Vm, Vnet};
use rights::Rights;
use scheduled::Scheduled;
use settings::{Delays, Habits, Offers};
use throttle::Throttle;
use time::Millis;

pub use vm_body::VmPut;

/// Everything that exists, and when what happens next.
pub struct Model {
    tenant: String,
    subscriptions: BTreeSet<String>,
    /// Durations and polling advice.
    delays: Delays,
    habits: Habits,
    offers: Offers,
    rights: Rights,
    throttle: Throttle,
    capacity: Capacity,
    quota: Quota,
    chance: Chance,
    now: Millis,
    groups: BTreeMap<Key, Group>,
    vnets: BTreeMap<Key, Vnet>,
    nics: BTreeMap<Key, Nic>,
    disks: BTreeMap<Key, Disk>,
    sets: BTreeMap<Key, AvailabilitySet>,
    placement_groups: BTreeMap<Key, PlacementGroup>,
    plain: BTreeMap<Key, Plain>,
    vms: BTreeMap<Key, Vm>,
    by_vm_id: BTreeMap<String, Key>,
    /// VMs that compute has just forgotten, until when it answers for them (FACTS §1.2).
    just_gone: BTreeMap<Key, Millis>,
    operations: Operations,
    events: Events,
    effects: Vec<Effect>,
    history: History,
    graph: GraphView,
    scheduled: Scheduled,
    /// What Azure did by itself, oldest first.
    activity: Vec<Activity>,
    /// Boot commands exist: the end of a VM waits for the end of its command.
    runs_boot_commands: bool,
    /// Computer names of VMs that never start their boot command.
    never_boot: BTreeSet<String>,
}

impl Model {
    /// A model with what the configuration lists.
    ///
    /// # Errors
    /// What in the configuration contradicts itself, in words.
    pub fn new(config: &Config, now: Millis) -> Result<Model, String> {
        let mut model = Model {
            tenant: config.tenant.clone(),
            subscriptions: config.subscriptions.iter().map(|s| s.to_ascii_lowercase()).collect(),
            delays: config.delays.clone(),
            habits: config.habits.clone(),
            offers: config.offers.clone(),
            rights: config.rights.clone(),
            throttle: Throttle::new(config.throttle.clone()),
            capacity: Capacity::default(),
            quota: Quota::default(),
            chance: Chance::new(config.seed),
            now,
            groups: BTreeMap::new(),
            vnets: BTreeMap::new(),
            nics: BTreeMap::new(),
            disks: BTreeMap::new(),
            sets: BTreeMap::new(),
            placement_groups: BTreeMap::new(),
            plain: BTreeMap::new(),
            vms: BTreeMap::new(),
            by_vm_id: BTreeMap::new(),
            just_gone: BTreeMap::new(),
            operations: Operations::default(),
            events: Events::default(),
            effects: Vec::new(),
            history: History::default(),
            graph: GraphView::default(),
            scheduled: Scheduled::default(),
            activity: Vec::new(),
            runs_boot_commands: false,
            never_boot: BTreeSet::new(),
        };
        model.furnish(config)?;
        Ok(model)
    }

    /// Whether boot commands are run: then a VM's stop and end wait for [`Model::process_ended`].
    pub fn set_runs_boot_commands(&mut self, runs: bool) {
        self.runs_boot_commands = runs;
    }

    /// Answers a call at this time.
    pub fn apply(&mut self, request: &Request, now: Millis) -> Response {
        self.run_until(now);
        let response = self.answer(request);
        // What takes no time is done before anybody can ask again.
        self.run_until(now);
        response
    }

    /// Lets everything happen that is due at this time.
    pub fn advance(&mut self, now: Millis) -> Vec<Effect> {
        self.run_until(now);
        std::mem::take(&mut self.effects)
    }

    /// When the next thing happens by itself.
    pub fn next_event_at(&self) -> Option<Millis> {
        self.events.next_at()
    }

    /// The model's time: that of the latest call.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Every resource that ever was, or those alive, or those gone.
    pub fn history(&self) -> &History {
        &self.history
    }
}
