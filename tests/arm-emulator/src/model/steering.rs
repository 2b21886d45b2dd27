//! What the control interface does to the model: limits, durations, evictions, disappearances.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Model;
use super::capacity::Room;
use super::ids::Key;
use super::message::{ArmError, Method, Request};
use super::operation::Doing;
use super::quota::Allowance;
use super::route::Route;
use super::scheduled::EventKind;
use super::settings::{Delays, patched};
use super::throttle::Limits;
use super::time::Millis;

impl Model {
    /// Durations and polling advice.
    pub fn delays(&self) -> &Delays {
        &self.delays
    }

    /// Changes durations and polling advice.
    ///
    /// # Errors
    /// Unknown members, with the known ones.
    pub fn change_delays(&mut self, changes: &Value) -> Result<Value, String> {
        self.delays = self.delays.changed(changes)?;
        Ok(json!(self.delays))
    }

    /// Changes Azure's habits.
    ///
    /// # Errors
    /// Unknown members, with the known ones.
    pub fn change_habits(&mut self, changes: &Value) -> Result<Value, String> {
        self.habits = patched(&self.habits, changes)?;
        Ok(json!(self.habits))
    }

    /// Changes which images are known and what Spot costs.
    ///
    /// # Errors
    /// Unknown members, with the known ones.
    pub fn change_offers(&mut self, changes: &Value) -> Result<Value, String> {
        self.offers = patched(&self.offers, changes)?;
        Ok(json!(self.offers))
    }

    /// A PUT by the owner of something, who has every right and is not limited.
    ///
    /// # Errors
    /// As the PUT's.
    pub fn put_by_owner(
        &mut self,
        id: String,
        body: Value,
        now: Millis,
    ) -> Result<Value, Box<ArmError>> {
        let request = Request::new(Method::Put, &id).with_body(body);
        let route = Route::parse(&id)?;
        self.advance(now);
        let answer = self.handle(&route, &request)?;
        Ok(answer.body.unwrap_or_default())
    }

    /// The retail price list, as far as it differs from the usual.
    pub fn prices(&self) -> &BTreeMap<String, f64> {
        &self.offers.prices
    }

    /// Changes the rate limits; all buckets are full again.
    ///
    /// # Errors
    /// Unknown members, with the known ones.
    pub fn change_limits(&mut self, changes: &Value) -> Result<Value, String> {
        let limits: Limits = patched(&self.throttle.limits, changes)?;
        self.throttle.resize(limits);
        Ok(json!(self.throttle.limits))
    }

    /// Sets or takes away a limit of room.
    pub fn set_room(&mut self, room: Room) -> Value {
        self.capacity.set(room);
        json!({ "capacity": self.capacity.rooms() })
    }

    /// Sets a limit of quota.
    pub fn set_quota(&mut self, allowance: &Allowance) {
        self.quota.set(allowance);
    }

    /// Sets how far Resource Graph lies behind.
    pub fn change_graph_lag(&mut self, lag: Millis) -> Value {
        self.set_graph_lag(lag);
        json!({ "lag_ms": self.graph_lag() })
    }

    /// VMs with these computer names never start their boot command.
    pub fn withhold_boot(&mut self, names: &[String]) -> Value {
        self.never_boot = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        json!({ "never": self.never_boot })
    }

    /// Azure takes a Spot VM after this notice.
    ///
    /// # Errors
    /// When there is no such VM, or it is not Spot.
    pub fn evict(&mut self, name: &str, notice: Millis) -> Result<(), String> {
        self.announce(EventKind::Preempt, &[name.to_owned()], notice).map(drop)
    }

    /// A VM is gone without anybody asking through the API.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn vanish(&mut self, name: &str) -> Result<(), String> {
        let key = self.vm_named(name)?;
        self.take_away(&key, Doing::Vanish);
        Ok(())
    }

    /// A VM by resource name, computer name or id.
    pub(super) fn vm_named(&self, name: &str) -> Result<Key, String> {
        let by_id = Some(Key::of(name)).filter(|key| self.vms.contains_key(key));
        let by_name = || {
            let found = self.vms.iter().find(|(_, vm)| {
                vm.common.id.name.eq_ignore_ascii_case(name)
                    || vm.asked.computer_name().eq_ignore_ascii_case(name)
            });
            found.map(|(key, _)| key.clone())
        };
        by_id.or_else(by_name).ok_or_else(|| format!("there is no vm '{name}'"))
    }
}
