//! DELETE of a VM, and how VMs end: what goes with them, what stays, what is held for a while.

use super::Model;
use super::ids::{Key, ResourceId};
use super::message::{Answer, Request, Response};
use super::operation::{Doing, OperationId, Progress};
use super::quota::{self, Place};
use super::resources::{EvictionPolicy, Power, Provisioning};
use super::time::Millis;

impl Model {
    /// DELETE: 202 with an operation, 204 when it was not there. `forceDeletion` cuts the power.
    pub(super) fn delete_vm(&mut self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_of_deleted(id)?;
        let key = id.key();
        let Some(vm) = self.vms.get(&key) else { return Ok(Response::empty(204)) };
        let is_forced =
            request.query("forceDeletion").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        if vm.provisioning == Provisioning::Deleting {
            if is_forced {
                self.stop_process(&key, true);
            }
            let running = self.vms.get(&key).and_then(|vm| vm.operation);
            return Ok(match running {
                Some(operation) => self.accepted(operation, request),
                None => Response::empty(202),
            });
        }
        let operation = self.vm_operation(&key, Doing::Delete, request);
        self.preempt(&key, operation);
        if let Some(vm) = self.vms.get_mut(&key) {
            vm.is_force_deleted = is_forced;
        }
        self.set_provisioning(&key, Provisioning::Deleting);
        let delay =
            if is_forced { self.delays.vm_force_delete_ms } else { self.delays.vm_delete_ms };
        let end = self.now + self.chance.duration(delay);
        self.finish_at(operation, end);
        self.stop_process(&key, is_forced);
        let how = if is_forced { "forced deletion" } else { "deletion" };
        Ok(self.accepted(operation, request).effect(format!("vm {} {how} accepted", id.name)))
    }

    /// A DELETE in a group that is going is answered as always; in one that is not there, 404.
    fn need_group_of_deleted(&self, id: &ResourceId) -> Result<(), Box<super::message::ArmError>> {
        match self.groups.contains_key(&id.group_key()) {
            true => Ok(()),
            false => self.need_group_of(id),
        }
    }

    /// The end of a deletion, an eviction or a disappearance.
    pub(super) fn end_vm(&mut self, operation: OperationId, doing: Doing, key: &Key) {
        let Some(vm) = self.vms.get(key) else {
            self.operations.end(operation, Progress::Succeeded, self.now);
            return;
        };
        let (policy, is_forced) = (vm.spot, vm.is_force_deleted);
        let is_eviction = doing == Doing::Evict;
        if is_eviction && policy == Some(EvictionPolicy::Deallocate) {
            self.leave_evicted(key);
        } else {
            let (event, held) = match doing {
                Doing::Evict => ("evicted and deleted", 0),
                Doing::Vanish => ("vanished", 0),
                Doing::Delete if is_forced => ("deleted by force", self.habits.address_held_ms),
                Doing::Delete
                | Doing::Create
                | Doing::Update
                | Doing::Start
                | Doing::Restart
                | Doing::PowerOff
                | Doing::Deallocate
                | Doing::DeleteGroup
                | Doing::DeletePlain
                | Doing::Nothing => ("deleted", 0),
            };
            self.remove_vm(key, event, held);
        }
        self.operations.end(operation, Progress::Succeeded, self.now);
        self.announced_end_is_over(key);
    }

    /// After an eviction with `Deallocate` the model still says `Succeeded`; only the power state
    /// and the disk tell (FACTS §1.3). Quota stays taken.
    fn leave_evicted(&mut self, key: &Key) {
        self.give_place_back(key);
        let Some(vm) = self.vms.get_mut(key) else { return };
        vm.is_evicted = true;
        vm.operation = None;
        vm.is_provisioning_os = false;
        self.show_properties(key);
        self.set_provisioning(key, Provisioning::Succeeded);
        self.set_power(key, Power::Deallocated);
    }

    /// Takes a VM out of the model, with what goes with it; the rest is detached. Its addresses
    /// stay held for `held`.
    pub(super) fn remove_vm(&mut self, key: &Key, event: &str, held: Millis) {
        self.give_place_back(key);
        self.leave_placement(key);
        let Some(vm) = self.vms.remove(key) else { return };
        self.by_vm_id.remove(&vm.vm_id);
        let charges = quota::charges(vm.sku, vm.spot.is_some());
        let place = Place::new(&vm.common.id.subscription, &vm.common.location);
        self.quota.give_back(&place, &charges);
        let has_failed = !vm.has_run;
        for part in &vm.nics {
            if part.goes_with_vm {
                self.remove_nic(&part.key, held);
            } else {
                self.detach_nic(&part.key, has_failed.then_some(key));
            }
        }
        for part in &vm.disks {
            if part.goes_with_vm {
                self.remove_disk(&part.key);
            } else if let Some(disk) = self.disks.get_mut(&part.key) {
                disk.vm = None;
                self.changed(&part.key);
            }
        }
        self.history.of(vm.common.record).power = None;
        self.history.end(vm.common.record, self.now, event);
        let until = self.now + self.habits.compute_not_found_ms;
        let now = self.now;
        self.just_gone.retain(|_, until| *until > now);
        self.just_gone.insert(key.clone(), until);
        self.changed(key);
    }
}
