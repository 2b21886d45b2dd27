//! Start, restart, power off, deallocate, and Spot evictions.

use super::Model;
use super::dispatch::resource_not_found;
use super::events::Event;
use super::ids::{Key, ResourceId};
use super::message::{Answer, ArmError, Request, Response};
use super::operation::Doing;
use super::resources::{Power, Provisioning};
use super::scheduled::EventKind;
use super::settings::Spread;
use super::time::Millis;
use super::vm_create::marked_for_deletion;

impl Model {
    /// Refuses an action on a VM that is not there or going.
    fn need_vm(&self, id: &ResourceId, what: &str) -> Result<Power, Box<ArmError>> {
        self.need_group_of(id)?;
        match self.vms.get(&id.key()) {
            None => Err(resource_not_found(id)),
            Some(vm) if vm.provisioning == Provisioning::Deleting => {
                Err(marked_for_deletion(&id.name, what))
            }
            Some(vm) => Ok(vm.power),
        }
    }

    /// 202 with an operation that ends after `after`.
    fn act_on_vm(
        &mut self,
        id: &ResourceId,
        (doing, after): (Doing, Spread),
        request: &Request,
    ) -> Response {
        let key = id.key();
        let operation = self.vm_operation(&key, doing, request);
        self.preempt(&key, operation);
        let end = self.now + self.chance.duration(after);
        self.finish_at(operation, end);
        let what = format!("vm {} {doing:?} accepted", id.name).to_lowercase();
        self.accepted(operation, request).effect(what)
    }

    /// POST start.
    pub(super) fn start_vm(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let power = self.need_vm(id, "start")?;
        let key = id.key();
        if power == Power::Running {
            let after = Spread::Fixed(0);
            return Ok(self.act_on_vm(id, (Doing::Start, after), request));
        }
        let response = self.act_on_vm(id, (Doing::Start, self.delays.vm_start_ms), request);
        self.set_provisioning(&key, Provisioning::Updating);
        self.set_power(&key, Power::Starting);
        if let Some(vm) = self.vms.get_mut(&key) {
            vm.is_evicted = false;
            let operation = vm.operation;
            self.schedule_start(operation, &key);
        }
        Ok(response)
    }

    /// A start looks for room at once, and fails in its operation.
    fn schedule_start(&mut self, operation: Option<super::operation::OperationId>, key: &Key) {
        let Some(operation) = operation else { return };
        if let Err(error) = self.place_vm(key) {
            return self.fail_vm(operation, key, error);
        }
        let due = self.operations.get(operation).and_then(|op| op.due).unwrap_or(self.now);
        let part = |share: f64| self.now + ((due - self.now) as f64 * share) as Millis;
        self.events.at(part(self.delays.running_at), Event::Run(operation));
    }

    /// POST restart.
    pub(super) fn restart_vm(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let power = self.need_vm(id, "restart")?;
        if power != Power::Running {
            let text = format!("Cannot restart VM '{}' since it is not running.", id.name);
            return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
        }
        let response = self.act_on_vm(id, (Doing::Restart, self.delays.vm_restart_ms), request);
        self.set_provisioning(&id.key(), Provisioning::Updating);
        self.stop_process(&id.key(), false);
        Ok(response)
    }

    /// POST powerOff; with `skipShutdown=true` power is cut.
    pub(super) fn power_off_vm(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let power = self.need_vm(id, "powerOff")?;
        let key = id.key();
        if matches!(power, Power::Stopped | Power::Deallocated) {
            return Ok(self.act_on_vm(id, (Doing::Nothing, Spread::Fixed(0)), request));
        }
        let response = self.act_on_vm(id, (Doing::PowerOff, self.delays.vm_power_off_ms), request);
        self.set_provisioning(&key, Provisioning::Updating);
        self.set_power(&key, Power::Stopping);
        let at_once = request.query("skipShutdown").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        self.stop_process(&key, at_once);
        Ok(response)
    }

    /// POST deallocate.
    pub(super) fn deallocate_vm(&mut self, id: &ResourceId, request: &Request) -> Answer {
        let power = self.need_vm(id, "deallocate")?;
        let key = id.key();
        if self.vms.get(&key).is_some_and(|vm| vm.asked.is_ephemeral()) {
            let text = format!(
                "Operation 'deallocate' is not supported for VM '{}' since it uses an ephemeral \
                 OS disk.",
                id.name
            );
            return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
        }
        if power == Power::Deallocated {
            return Ok(self.act_on_vm(id, (Doing::Nothing, Spread::Fixed(0)), request));
        }
        let delay = self.delays.vm_deallocate_ms;
        let response = self.act_on_vm(id, (Doing::Deallocate, delay), request);
        self.set_provisioning(&key, Provisioning::Updating);
        self.set_power(&key, Power::Deallocating);
        self.stop_process(&key, false);
        Ok(response)
    }

    /// POST simulateEviction: 204, and the VM is taken some time later (FACTS §1.2).
    pub(super) fn simulate_eviction(&mut self, id: &ResourceId) -> Answer {
        self.need_vm(id, "simulateEviction")?;
        let key = id.key();
        let Some(vm) = self.vms.get(&key).filter(|vm| vm.spot.is_some()) else {
            let text = format!(
                "The operation 'simulateEviction' is only allowed on Spot virtual machines; '{}' \
                 is none.",
                id.name
            );
            return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
        };
        let name = vm.common.id.to_string();
        let notice = self.chance.duration(self.delays.eviction_ms);
        if let Err(text) = self.announce(EventKind::Preempt, &[name], notice) {
            return Err(Box::new(ArmError::new(409, "OperationNotAllowed", text)));
        }
        Ok(Response::empty(204).effect(format!("vm {} eviction announced", id.name)))
    }

    /// Azure takes a VM: power is cut at once, then its policy decides what is left.
    pub(super) fn begin_eviction(&mut self, key: &Key) {
        self.take_away(key, Doing::Evict);
    }

    /// Azure takes a VM for `doing`: eviction or disappearance.
    pub(super) fn take_away(&mut self, key: &Key, doing: Doing) {
        let is_going = |vm: &super::resources::Vm| vm.provisioning == Provisioning::Deleting;
        let Some(vm) = self.vms.get(key).filter(|vm| !is_going(vm)) else { return };
        if doing == Doing::Evict && vm.place.is_none() {
            return;
        }
        let id = vm.common.id.clone();
        if doing == Doing::Evict {
            self.log_eviction(&id);
        }
        let operation = self.start_operation(doing, &id, Spread::Fixed(0));
        self.preempt(key, operation);
        self.note_vm(key, format!("{doing:?}").to_lowercase());
        self.stop_process(key, true);
    }
}
