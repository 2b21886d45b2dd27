//! PUT of a VM that is not there: refusals, quota, room, NICs, disks, then the stages of
//! `lifecycle`.

use serde_json::{Map, Value, json};

use super::Model;
use super::capacity::Demand;
use super::events::Event;
use super::ids::{Key, Kind, ResourceId};
use super::message::{Answer, ArmError, Request, Response};
use super::operation::{Doing, OperationId, Start};
use super::quota::Place;
use super::resources::{EvictionPolicy, Part, Power, Provisioning, Vm};
use super::rules::Case;
use super::time::Millis;
use super::vm_body::VmPut;
use super::{quota, rules};
use crate::catalog::{self, SkuFacts};

/// Clusters that an availability set may be bound to: their number only has to be more than one.
const CLUSTERS: u64 = 1000;

impl Model {
    /// PUT of a VM: create, update, or create again after a failure.
    pub(super) fn put_vm(&mut self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_of(id)?;
        let put = VmPut::parse(&request.body)?;
        let key = id.key();
        if self.vms.get(&key).is_some_and(|vm| vm.provisioning == Provisioning::Deleting) {
            return Err(marked_for_deletion(&id.name, "createOrUpdate"));
        }
        self.need_same_location(id, &put.location)?;
        let version = request.query("api-version").unwrap_or_default();
        rules::check(&Case { id, put: &put, version, model: self, existing: self.vms.get(&key) })?;
        if self.vms.contains_key(&key) {
            return self.update_vm(&key, put, request);
        }
        let Some(sku) = catalog::sku(put.size()) else {
            return Err(Box::new(ArmError::new(400, "InvalidParameter", "vmSize is missing.")));
        };
        let charges = quota::charges(sku, put.is_spot());
        let place = Place::new(&id.subscription, &put.location);
        self.quota.check(&place, &charges)?;
        let demand = demand_of(&put, sku);
        let set = reference(&put, "/availabilitySet/id");
        self.need_room(&demand, set.as_ref(), false)?;
        let nics = self.make_nics(id, &put)?;
        let disks = self.make_disks(id, &put);
        self.quota.take(&place, &charges);
        let created = self.insert_vm(id, put, (sku, nics, disks));
        let operation = self.begin_create(&created, request)?;
        let body = self.vm_body(&created);
        let response = Response::with_body(201, body).effect(format!("vm {} accepted", id.name));
        Ok(self.with_operation(response, operation, request))
    }

    fn insert_vm(
        &mut self,
        id: &ResourceId,
        put: VmPut,
        (sku, nics, disks): (&'static SkuFacts, Vec<Part>, Vec<Part>),
    ) -> Key {
        let mut tags = put.tags.clone();
        if let Some((name, value)) = self.habits.extra_tag.clone() {
            tags.insert(name, Value::String(value));
        }
        let common = self.begin(id, &put.location, tags);
        let record = common.record;
        let (key, vm_id) = (id.key(), self.chance.uuid());
        let vm = Vm {
            vm_id: vm_id.clone(),
            sku,
            properties: Map::new(),
            spot: put.is_spot().then(|| eviction_policy(&put)),
            nics,
            disks,
            provisioning: Provisioning::Creating,
            power: Power::Absent,
            place: None,
            is_evicted: false,
            is_force_deleted: false,
            has_run: false,
            is_provisioning_os: false,
            operation: None,
            has_process: false,
            set: reference(&put, "/availabilitySet/id"),
            group: reference(&put, "/proximityPlacementGroup/id"),
            fault_domain: 0,
            asked: put,
            common,
        };
        self.by_vm_id.insert(vm_id, key.clone());
        self.just_gone.remove(&key);
        self.vms.insert(key.clone(), vm);
        self.join_placement(&key);
        self.show_properties(&key);
        self.history.of(record).provisioning = "Creating".to_owned();
        self.changed(&key);
        key
    }

    /// Starts the stages of a create, for a new VM or one that failed before.
    ///
    /// # Errors
    /// When there is no room and that shows at once.
    pub(super) fn begin_create(
        &mut self,
        key: &Key,
        request: &Request,
    ) -> Result<OperationId, Box<ArmError>> {
        self.claim_place(key)?;
        let (location, subscription, sku) = match self.vms.get(key) {
            Some(vm) => {
                let common = &vm.common;
                (common.location.clone(), common.id.subscription.clone(), vm.sku.name)
            }
            None => (String::new(), String::new(), ""),
        };
        let start = Start {
            doing: Doing::Create,
            target: key.clone(),
            location,
            subscription,
            must_fail: request.fail_operation.clone(),
        };
        let operation = self.begin_operation(start);
        self.preempt(key, operation);
        self.set_power(key, Power::Starting);
        let whole = self.chance.duration(self.delays.vm_create(sku));
        let part = |share: f64| (whole as f64 * share.clamp(0.0, 1.0)) as Millis;
        self.events.at(self.now + part(self.delays.allocated_at), Event::Allocate(operation));
        self.events.at(self.now + part(self.delays.running_at), Event::Run(operation));
        self.finish_at(operation, self.now + whole);
        Ok(operation)
    }

    /// Refuses when there is no room at this moment.
    pub(super) fn need_room(
        &self,
        demand: &Demand,
        set: Option<&Key>,
        late: bool,
    ) -> Result<(), Box<ArmError>> {
        let in_set = set.map(|set| self.placed_in(set));
        match self.capacity.full(demand, late, in_set) {
            Some(room) => Err(Box::new(room.refusal(demand, set.is_some()))),
            None => Ok(()),
        }
    }

    /// The PUT's look for room: where no limit shows late, the place is taken at once.
    fn claim_place(&mut self, key: &Key) -> Result<(), Box<ArmError>> {
        let Some(vm) = self.vms.get(key).filter(|vm| vm.place.is_none()) else { return Ok(()) };
        let (demand, set) = (demand_of(&vm.asked, vm.sku), vm.set.clone());
        self.need_room(&demand, set.as_ref(), false)?;
        if self.capacity.has_late_limit(&demand) { Ok(()) } else { self.place_vm(key) }
    }

    /// Gives a VM its place, if it has none and there is room.
    pub(super) fn place_vm(&mut self, key: &Key) -> Result<(), Box<ArmError>> {
        let Some(vm) = self.vms.get(key).filter(|vm| vm.place.is_none()) else { return Ok(()) };
        let (demand, set) = (demand_of(&vm.asked, vm.sku), vm.set.clone());
        self.need_room(&demand, set.as_ref(), true)?;
        self.need_room(&demand, set.as_ref(), false)?;
        self.capacity.take(demand.clone());
        let cluster = self.chance.bits() % CLUSTERS;
        if let Some(vm) = self.vms.get_mut(key) {
            vm.place = Some(demand);
        }
        if let Some(set) = set.and_then(|set| self.sets.get_mut(&set)) {
            set.cluster.get_or_insert(cluster);
        }
        Ok(())
    }

    /// Takes a VM's place back; a set without placed members is free to go anywhere again.
    pub(super) fn give_place_back(&mut self, key: &Key) {
        let Some(vm) = self.vms.get_mut(key) else { return };
        let Some(demand) = vm.place.take() else { return };
        let set = vm.set.clone();
        let disks: Vec<Key> = vm.disks.iter().map(|part| part.key.clone()).collect();
        disks.iter().for_each(|disk| self.changed(disk));
        self.capacity.give_back(&demand);
        let Some(set) = set else { return };
        if self.placed_in(&set) == 0
            && let Some(set) = self.sets.get_mut(&set)
        {
            set.cluster = None;
        }
    }

    /// How many members of a set have a place.
    fn placed_in(&self, set: &Key) -> u32 {
        let Some(set) = self.sets.get(set) else { return 0 };
        let placed = |key: &&Key| self.vms.get(*key).is_some_and(|vm| vm.place.is_some());
        u32::try_from(set.members.iter().filter(placed).count()).unwrap_or(u32::MAX)
    }

    /// The VM's disks: a managed OS disk unless it is ephemeral, and empty data disks.
    fn make_disks(&mut self, id: &ResourceId, put: &VmPut) -> Vec<Part> {
        let mut parts = Vec::new();
        if !put.is_ephemeral() {
            let given = put.text("/storageProfile/osDisk/name").to_owned();
            let name = if given.is_empty() {
                format!("{}_OsDisk_1_{}", id.name, self.chance.hex(32))
            } else {
                given
            };
            let os = put.at("/storageProfile/osDisk").cloned().unwrap_or(Value::Null);
            parts.push(self.make_vm_disk(id, (&name, true), (&os, put)));
        }
        for (n, disk) in put.list("/storageProfile/dataDisks").iter().enumerate() {
            let attached = disk.pointer("/managedDisk/id").and_then(Value::as_str).map(Key::of);
            if let Some(found) = attached.and_then(|key| self.disks.get_mut(&key)) {
                found.vm = Some(id.key());
                parts.push(Part { key: found.common.id.key(), goes_with_vm: goes_with_vm(disk) });
                continue;
            }
            let given = disk.get("name").and_then(Value::as_str).map(str::to_owned);
            let name = given
                .unwrap_or_else(|| format!("{}_disk{}_{}", id.name, n + 2, self.chance.hex(32)));
            parts.push(self.make_vm_disk(id, (&name, false), (disk, put)));
        }
        parts
    }

    fn make_vm_disk(
        &mut self,
        vm: &ResourceId,
        (name, is_os): (&str, bool),
        (disk, put): (&Value, &VmPut),
    ) -> Part {
        let id = vm.sibling(Kind::Disk, name);
        let storage = disk.pointer("/managedDisk/storageAccountType").and_then(Value::as_str);
        let option = if is_os { "FromImage" } else { "Empty" };
        let made = super::resources::Disk {
            common: self.begin(&id, &put.location, Map::new()),
            sku: storage.unwrap_or("Standard_LRS").to_owned(),
            size_gb: disk.get("diskSizeGB").and_then(Value::as_u64).unwrap_or(30),
            zones: put.zones.clone(),
            vm: Some(vm.key()),
            creation: json!({ "createOption": option }),
            is_os,
        };
        self.disks.insert(id.key(), made);
        self.changed(&id.key());
        Part { key: id.key(), goes_with_vm: goes_with_vm(disk) }
    }
}

/// `deleteOption: Delete`; the default is `Detach` (FACTS §1.1).
pub(super) fn goes_with_vm(part: &Value) -> bool {
    let option = part.get("deleteOption").and_then(Value::as_str);
    option.is_some_and(|option| option.eq_ignore_ascii_case("Delete"))
}

/// The place that a body asks for.
pub(super) fn demand_of(put: &VmPut, sku: &SkuFacts) -> Demand {
    Demand {
        region: put.location.clone(),
        sku: sku.name.to_owned(),
        zone: put.zones.first().cloned().unwrap_or_default(),
        spot: put.is_spot(),
    }
}

/// The key of an id in a body.
pub(super) fn reference(put: &VmPut, pointer: &str) -> Option<Key> {
    let id = put.text(pointer);
    (!id.is_empty()).then(|| Key::of(id))
}

fn eviction_policy(put: &VmPut) -> EvictionPolicy {
    match put.text("/evictionPolicy").eq_ignore_ascii_case("Delete") {
        true => EvictionPolicy::Delete,
        false => EvictionPolicy::Deallocate,
    }
}

/// 409 for everything but DELETE on a VM that is being deleted.
pub(super) fn marked_for_deletion(name: &str, what: &str) -> Box<ArmError> {
    let text = format!(
        "Operation '{what}' is not allowed on VM '{name}' since the VM is marked for deletion. You \
         can only retry the Delete operation (or wait for an ongoing one to complete)."
    );
    Box::new(ArmError::new(409, "OperationNotAllowed", text))
}
