//! What happens by itself: due events, the stages of a create, the ends of operations, and boot
//! commands coming to their end.
//!
//! ```text
//! PUT ─► Creating ──Allocate──► place ──Run──► running (boot) ──Finish──► Succeeded
//!                      └► no room: Failed, operation Failed
//! ```

use super::Model;
use super::events::Event;
use super::ids::Key;
use super::message::{ArmError, BootOrder, Effect};
use super::operation::{Doing, OperationId, Progress};
use super::resources::{Power, Provisioning, Vm};
use super::time::Millis;
use super::vm_view;

/// Failures that show only after the VM runs (FACTS §5): the guest did not report, or an extension
/// failed.
const LATE_FAILURES: [&str; 3] = ["OSProvisioning", "VMExtension", "VMStartTimedOut"];

impl Model {
    /// Moves the clock, letting everything happen in order.
    pub(super) fn run_until(&mut self, now: Millis) {
        while let Some((at, event)) = self.events.take_due(now) {
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = self.now.max(now);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Allocate(operation) => self.allocate(operation),
            Event::Run(operation) => self.run_vm(operation),
            Event::Finish(operation) => self.finish(operation),
            Event::Begin(announced) => self.begin_announced(&announced),
            Event::End(announced) => self.end_announced(&announced),
        }
    }

    /// Looks for a place, at the moment at which late refusals show.
    fn allocate(&mut self, operation: OperationId) {
        let Some(running) = self.operations.running(operation) else { return };
        let (key, injected) = (running.target.clone(), running.must_fail.clone());
        let early = injected.filter(|error| !is_late(error));
        let found = match early {
            Some(error) => Err(Box::new(error)),
            None => self.place_vm(&key),
        };
        if let Err(error) = found {
            self.fail_vm(operation, &key, error);
        }
    }

    fn run_vm(&mut self, operation: OperationId) {
        let Some(running) = self.operations.running(operation) else { return };
        let key = running.target.clone();
        let Some(vm) = self.vms.get_mut(&key) else { return };
        vm.is_provisioning_os = vm.provisioning == Provisioning::Creating;
        self.set_power(&key, Power::Running);
        self.boot(&key);
    }

    /// Ends an operation, unless a boot command has to end first.
    fn finish(&mut self, operation: OperationId) {
        let Some(running) = self.operations.running(operation) else { return };
        let (key, doing) = (running.target.clone(), running.doing);
        let injected = running.must_fail.clone();
        let ends_process = match doing {
            Doing::Restart
            | Doing::PowerOff
            | Doing::Deallocate
            | Doing::Delete
            | Doing::Evict
            | Doing::Vanish => true,
            Doing::Create
            | Doing::Update
            | Doing::Start
            | Doing::DeleteGroup
            | Doing::DeletePlain
            | Doing::Nothing => false,
        };
        if ends_process && self.vms.get(&key).is_some_and(|vm| vm.has_process) {
            // `process_ended` puts the end of the operation back into the queue.
            return;
        }
        if let Some(error) = injected {
            return self.fail_vm(operation, &key, Box::new(error));
        }
        match doing {
            Doing::Create | Doing::Start | Doing::Update => self.settle(operation, &key),
            Doing::Restart => {
                self.set_power(&key, Power::Running);
                self.boot(&key);
                self.settle(operation, &key);
                self.announced_restart_is_over(&key);
            }
            Doing::PowerOff => {
                self.set_power(&key, Power::Stopped);
                self.settle(operation, &key);
            }
            Doing::Deallocate => {
                self.give_place_back(&key);
                self.set_power(&key, Power::Deallocated);
                self.settle(operation, &key);
            }
            Doing::Delete | Doing::Evict | Doing::Vanish => self.end_vm(operation, doing, &key),
            Doing::DeleteGroup => self.finish_group(operation, &key),
            Doing::DeletePlain => self.finish_plain(operation, &key),
            Doing::Nothing => self.operations.end(operation, Progress::Succeeded, self.now),
        }
    }

    /// The operation did what was asked.
    fn settle(&mut self, operation: OperationId, key: &Key) {
        if let Some(vm) = self.vms.get_mut(key) {
            vm.is_provisioning_os = false;
            vm.operation = vm.operation.filter(|newest| *newest != operation);
        }
        self.set_provisioning(key, Provisioning::Succeeded);
        self.operations.end(operation, Progress::Succeeded, self.now);
    }

    /// The operation failed; a VM that was being made stays behind in `Failed`.
    pub(super) fn fail_vm(&mut self, operation: OperationId, key: &Key, error: Box<ArmError>) {
        let is_late = is_late(&error);
        if let Some(vm) = self.vms.get_mut(key) {
            vm.is_provisioning_os = false;
            vm.operation = vm.operation.filter(|newest| *newest != operation);
            let (power, has_place) = (vm.power, vm.place.is_some());
            if !is_late && matches!(power, Power::Starting | Power::Absent) {
                self.give_place_back(key);
                let was_made = self.is_new(key);
                let left = if was_made { Power::Absent } else { Power::Deallocated };
                self.set_power(key, left);
                self.reserve_nics(key);
            } else if has_place && matches!(power, Power::Stopping | Power::Deallocating) {
                self.set_power(key, Power::Running);
            }
            let code = error.code.clone();
            self.set_provisioning(key, Provisioning::Failed(error.clone()));
            self.note_vm(key, format!("failed: {code}"));
        }
        self.operations.end(operation, Progress::Failed(error), self.now);
    }

    /// Whether the VM never ran.
    fn is_new(&self, key: &Key) -> bool {
        self.vms.get(key).is_some_and(|vm| !vm.has_run)
    }

    /// A newer operation wins over one that still runs (FACTS §5, `OperationPreempted`).
    pub(super) fn preempt(&mut self, key: &Key, newer: OperationId) {
        let Some(vm) = self.vms.get_mut(key) else { return };
        let Some(older) = vm.operation.replace(newer) else { return };
        let text = "Operation execution has been preempted by a more recent operation.";
        let error = Box::new(ArmError::new(409, "OperationPreempted", text));
        self.operations.end(older, Progress::Failed(error), self.now);
    }

    /// Starts the boot command of a VM that runs.
    fn boot(&mut self, key: &Key) {
        let address = self.address_of(key);
        let Some(vm) = self.vms.get_mut(key) else { return };
        vm.has_run = true;
        let computer_name = vm.asked.computer_name().to_owned();
        if !self.runs_boot_commands || vm.has_process {
            return;
        }
        if self.never_boot.contains(&computer_name.to_ascii_lowercase()) {
            return self.note_vm(key, "boot command withheld".to_owned());
        }
        vm.has_process = true;
        let order = boot_order(vm, computer_name, address, self.now);
        self.effects.push(Effect::Boot(Box::new(order)));
    }

    /// Asks for the end of a VM's boot command.
    pub(super) fn stop_process(&mut self, key: &Key, at_once: bool) {
        let Some(vm) = self.vms.get(key).filter(|vm| vm.has_process) else { return };
        self.effects.push(Effect::Stop { vm_id: vm.vm_id.clone(), at_once });
    }

    /// A boot command has ended: by itself, or because it was asked to.
    pub fn process_ended(&mut self, vm_id: &str, how: &str, now: Millis) {
        self.run_until(now);
        let Some(key) = self.by_vm_id.get(vm_id).cloned() else { return };
        let Some(vm) = self.vms.get_mut(&key) else { return };
        vm.has_process = false;
        let waiting = vm.operation;
        self.note_vm(&key, format!("boot command ended: {how}"));
        let is_waiting = waiting
            .and_then(|id| self.operations.running(id))
            .is_some_and(|op| !matches!(op.doing, Doing::Create | Doing::Start | Doing::Update));
        if let (true, Some(operation)) = (is_waiting, waiting) {
            let end = self.earliest_end(operation);
            self.events.at(end, Event::Finish(operation));
        }
        self.run_until(now);
    }

    /// A boot command has started.
    pub fn process_started(&mut self, vm_id: &str, what: &str) {
        if let Some(key) = self.by_vm_id.get(vm_id).cloned() {
            self.note_vm(&key, format!("boot command started: {what}"));
        }
    }

    /// When an operation that waited may end: not before its own time.
    fn earliest_end(&self, operation: OperationId) -> Millis {
        let due = self.operations.get(operation).and_then(|op| op.due);
        due.unwrap_or(self.now).max(self.now)
    }

    /// Changes the power state and notes it.
    pub(super) fn set_power(&mut self, key: &Key, power: Power) {
        let Some(vm) = self.vms.get_mut(key) else { return };
        if vm.power == power {
            return;
        }
        vm.power = power;
        let word = power.word();
        let record = vm.common.record;
        self.history.of(record).power = word.map(|word| format!("PowerState/{word}"));
        self.history.note(record, self.now, word.unwrap_or("without a place"));
        self.changed(key);
    }

    /// Changes the provisioning state and notes it.
    pub(super) fn set_provisioning(&mut self, key: &Key, state: Provisioning) {
        let Some(vm) = self.vms.get_mut(key) else { return };
        let word = state.word();
        vm.provisioning = state;
        let record = vm.common.record;
        self.history.of(record).provisioning = word.to_owned();
        self.history.note(record, self.now, format!("provisioning state {word}"));
        self.changed(key);
    }

    /// Notes an event in a VM's history.
    pub(super) fn note_vm(&mut self, key: &Key, event: String) {
        if let Some(vm) = self.vms.get(key) {
            self.history.note(vm.common.record, self.now, event);
        }
    }
}

fn is_late(error: &ArmError) -> bool {
    LATE_FAILURES.iter().any(|prefix| error.code.starts_with(prefix))
}

fn boot_order(vm: &Vm, computer_name: String, address: String, at: Millis) -> BootOrder {
    BootOrder {
        vm_id: vm.vm_id.clone(),
        id: vm.common.id.to_string(),
        name: vm.common.id.name.clone(),
        computer_name,
        size: vm.sku.name.to_owned(),
        location: vm.common.location.clone(),
        resource_group: vm.common.id.group.clone(),
        tags: vm.common.tags.clone().into(),
        user_data: vm_view::decoded_user_data(vm),
        address,
        at,
    }
}
