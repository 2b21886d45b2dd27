//! What is announced for VMs and then happens: evictions, restarts, moves, short stops, the end.
//! (FACTS §7; CD:virtual-machines/linux/scheduled-events.md)

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Model;
use super::events::Event;
use super::ids::Key;
use super::operation::Doing;
use super::settings::Spread;
use super::time::{self, Millis, SECOND};

/// How long a VM stands still.
const FREEZE: Millis = 5 * SECOND;

/// What happens to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// Azure takes a Spot VM.
    Preempt,
    /// It is deleted.
    Terminate,
    /// It is restarted.
    Reboot,
    /// It is moved to other hardware.
    Redeploy,
    /// It stands still for some seconds.
    Freeze,
}

/// An announcement that has not ended.
#[derive(Clone, Debug)]
struct Announcement {
    id: String,
    kind: EventKind,
    /// Key, `vmId` and name of each VM that it is about.
    vms: Vec<(Key, String, String)>,
    not_before: Millis,
    is_started: bool,
}

/// All announcements.
#[derive(Clone, Debug, Default)]
pub struct Scheduled {
    all: Vec<Announcement>,
    incarnation: u64,
}

impl Scheduled {
    /// The first begun announcement of these kinds about a VM is over for all its VMs.
    fn end_of(&mut self, vm: &Key, kinds: &[EventKind]) {
        let is_it = |one: &Announcement| {
            one.is_started && kinds.contains(&one.kind) && one.vms.iter().any(|(key, ..)| key == vm)
        };
        if let Some(at) = self.all.iter().position(is_it) {
            self.all.remove(at);
            self.incarnation += 1;
        }
    }
}

impl Model {
    /// Announces something for VMs; gives the event's id.
    ///
    /// # Errors
    /// When one of them is not there, or is to be evicted and no Spot VM.
    pub fn announce(
        &mut self,
        kind: EventKind,
        names: &[String],
        notice: Millis,
    ) -> Result<String, String> {
        let mut vms = Vec::new();
        for name in names {
            let key = self.vm_named(name)?;
            let vm = &self.vms[&key];
            if kind == EventKind::Preempt && vm.spot.is_none() {
                return Err(format!("vm '{name}' is not a Spot VM"));
            }
            vms.push((key.clone(), vm.vm_id.clone(), vm.common.id.name.clone()));
            let what = if kind == EventKind::Preempt { "eviction".into() } else { word(kind) };
            self.note_vm(&key, format!("{what} announced"));
        }
        if vms.is_empty() {
            return Err("vms is empty: name at least one".to_owned());
        }
        let (id, not_before) = (self.chance.uuid(), self.now + notice.max(0));
        let announcement =
            Announcement { id: id.clone(), kind, vms, not_before, is_started: false };
        self.scheduled.all.push(announcement);
        self.scheduled.incarnation += 1;
        self.events.at(not_before, Event::Begin(id.clone()));
        Ok(id)
    }

    /// An announcement disappears without anything happening; all of them without an id. Says how
    /// many did.
    pub fn withdraw(&mut self, id: Option<&str>) -> usize {
        let before = self.scheduled.all.len();
        self.scheduled.all.retain(|one| id.is_some_and(|id| one.id != id));
        let gone = before - self.scheduled.all.len();
        self.scheduled.incarnation += u64::from(gone > 0);
        gone
    }

    /// What was announced happens, now: its time has come, or it was acknowledged. Nothing if it
    /// has disappeared or begun before.
    pub(super) fn begin_announced(&mut self, id: &str) {
        let waiting = self.scheduled.all.iter_mut().find(|one| one.id == id && !one.is_started);
        let Some(announcement) = waiting else { return };
        announcement.is_started = true;
        self.scheduled.incarnation += 1;
        let (kind, mut vms) = (announcement.kind, announcement.vms.clone());
        vms.retain(|(key, vm_id, _)| self.vms.get(key).is_some_and(|vm| vm.vm_id == *vm_id));
        if vms.is_empty() {
            // Its owner has deleted it meanwhile.
            self.withdraw(Some(id));
        }
        for (key, ..) in vms {
            match kind {
                EventKind::Preempt => self.begin_eviction(&key),
                EventKind::Terminate => self.take_away(&key, Doing::Vanish),
                EventKind::Reboot | EventKind::Redeploy => self.restart_by_azure(&key),
                EventKind::Freeze => {
                    self.events.at(self.now + FREEZE, Event::End(id.to_owned()));
                }
            }
        }
    }

    fn restart_by_azure(&mut self, key: &Key) {
        let Some(id) = self.vms.get(key).map(|vm| vm.common.id.clone()) else { return };
        let operation = self.start_operation(Doing::Restart, &id, Spread::Fixed(0));
        self.preempt(key, operation);
        self.stop_process(key, true);
    }

    /// A VM has been restarted.
    pub(super) fn announced_restart_is_over(&mut self, vm: &Key) {
        self.scheduled.end_of(vm, &[EventKind::Reboot, EventKind::Redeploy]);
    }

    /// A VM is gone, or deallocated.
    pub(super) fn announced_end_is_over(&mut self, vm: &Key) {
        self.scheduled.end_of(vm, &[EventKind::Preempt, EventKind::Terminate]);
    }

    /// An announcement is over.
    pub(super) fn end_announced(&mut self, id: &str) {
        self.withdraw(Some(id));
    }

    /// Acknowledges announcements: they begin now, for all their VMs.
    ///
    /// # Errors
    /// The first id that is none of them; then nothing happens.
    pub fn acknowledge(&mut self, ids: &[String]) -> Result<(), String> {
        let is_known = |id: &&String| self.scheduled.all.iter().any(|one| one.id == **id);
        if let Some(unknown) = ids.iter().find(|id| !is_known(id)) {
            return Err(format!("The event id '{unknown}' does not exist"));
        }
        ids.iter().for_each(|id| self.begin_announced(id));
        Ok(())
    }

    /// The Scheduled Events document that a VM gets, by name, in a version of its schema: its own
    /// events and those of the VMs that it shares a set or a placement group with.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn scheduled_events(&self, vm: &str, version: &str) -> Result<Value, String> {
        let asking = &self.vms[&self.vm_named(vm)?];
        let shares = |key: &Key| {
            let other = self.vms.get(key);
            let same = |one: Option<&Key>, two: Option<&Key>| one.is_some() && one == two;
            other.is_some_and(|other| {
                other.vm_id == asking.vm_id
                    || same(other.set.as_ref(), asking.set.as_ref())
                    || same(other.group.as_ref(), asking.group.as_ref())
            })
        };
        let seen =
            self.scheduled.all.iter().filter(|one| one.vms.iter().any(|(key, ..)| shares(key)));
        let events: Vec<Value> = seen.map(|one| shown(one, version).into()).collect();
        Ok(json!({"DocumentIncarnation": self.scheduled.incarnation, "Events": events}))
    }

    /// All announcements, in the newest schema.
    pub fn announcements(&self) -> Value {
        let all = self.scheduled.all.iter().map(|one| shown(one, "2020-07-01"));
        all.map(Value::from).collect()
    }

    /// The instance document of a VM: every value is a string.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn instance_document(&self, vm: &str) -> Result<Value, String> {
        let vm = &self.vms[&self.vm_named(vm)?];
        let id = &vm.common.id;
        let tags: Vec<Value> = vm
            .common
            .tags
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        Ok(json!({"compute": {
            "azEnvironment": "AzurePublicCloud",
            "location": vm.common.location,
            "name": id.name,
            "osProfile": {"computerName": vm.asked.computer_name()},
            "osType": "Linux",
            "priority": if vm.spot.is_some() { "Spot" } else { "" },
            "placementGroupId": "",
            "provider": "Microsoft.Compute",
            "resourceGroupName": id.group,
            "resourceId": id.to_string(),
            "subscriptionId": id.subscription,
            "tagsList": tags,
            "vmId": vm.vm_id,
            "vmScaleSetName": "",
            "vmSize": vm.sku.name,
        }}))
    }
}

fn word(kind: EventKind) -> String {
    format!("{kind:?}").to_lowercase()
}

/// An event as a version of the schema has it.
fn shown(one: &Announcement, version: &str) -> Map<String, Value> {
    let mark = if version < "2017-08-01" { "_" } else { "" };
    let names: Vec<String> = one.vms.iter().map(|(_, _, name)| format!("{mark}{name}")).collect();
    let (source, seconds) = match one.kind {
        EventKind::Freeze => ("Platform", FREEZE / SECOND),
        EventKind::Terminate => ("User", -1),
        EventKind::Preempt | EventKind::Reboot | EventKind::Redeploy => ("Platform", -1),
    };
    let not_before = if one.is_started { String::new() } else { time::rfc_1123(one.not_before) };
    let all = [
        ("2017-03-01", "EventId", json!(one.id)),
        ("2017-03-01", "EventStatus", json!(if one.is_started { "Started" } else { "Scheduled" })),
        ("2017-03-01", "EventType", json!(one.kind)),
        ("2017-03-01", "ResourceType", json!("VirtualMachine")),
        ("2017-03-01", "Resources", json!(names)),
        ("2017-03-01", "NotBefore", json!(not_before)),
        ("2019-04-01", "Description", json!("")),
        ("2019-08-01", "EventSource", json!(source)),
        ("2020-07-01", "DurationInSeconds", json!(seconds)),
    ];
    let has = |(since, name, value): (&str, &str, Value)| {
        (version >= since).then(|| (name.to_owned(), value))
    };
    all.into_iter().filter_map(has).collect()
}
