//! What the handlers of all kinds share: making and finding resources, starting operations and
//! answering with them, spelling ids as Azure does.

use serde_json::{Map, Value};

use super::Model;
use super::events::Event;
use super::ids::{Key, Kind, ResourceId, group_key};
use super::message::{Answer, ArmError, Request, Response};
use super::operation::{Doing, Operation, OperationId, Progress, Start};
use super::resources::Common;
use super::settings::Spread;
use super::time::Millis;

impl Model {
    /// Begins a resource.
    pub(super) fn begin(
        &mut self,
        id: &ResourceId,
        location: &str,
        tags: Map<String, Value>,
    ) -> Common {
        let record = self.history.begin(id, location, self.now);
        self.history.of(record).tags = tags.clone();
        Common {
            id: self.canonical(id),
            location: location.to_owned(),
            tags,
            created: self.now,
            record,
        }
    }

    /// The id with its group spelled as the group itself is.
    fn canonical(&self, id: &ResourceId) -> ResourceId {
        let group = self.groups.get(&id.group_key()).map(|group| group.name.clone());
        ResourceId { group: group.unwrap_or_else(|| id.group.clone()), ..id.clone() }
    }

    /// Refuses when the group is not there or going.
    pub(super) fn need_group(&self, key: &Key, name: &str) -> Result<(), Box<ArmError>> {
        match self.groups.get(key) {
            None => {
                let text = format!("Resource group '{name}' could not be found.");
                Err(Box::new(ArmError::new(404, "ResourceGroupNotFound", text)))
            }
            Some(group) if group.is_deleting => {
                let text = format!(
                    "The resource group '{name}' is in deprovisioning state and cannot perform \
                     this operation."
                );
                Err(Box::new(ArmError::new(409, "ResourceGroupBeingDeleted", text)))
            }
            Some(_) => Ok(()),
        }
    }

    /// The same for the group of a resource.
    pub(super) fn need_group_of(&self, id: &ResourceId) -> Result<(), Box<ArmError>> {
        self.need_group(&group_key(&id.subscription, &id.group), &id.group)
    }

    /// What every kind has of a resource.
    pub(super) fn common(&self, id: &ResourceId) -> Option<&Common> {
        let key = id.key();
        match id.kind {
            Kind::Vm => self.vms.get(&key).map(|vm| &vm.common),
            Kind::AvailabilitySet => self.sets.get(&key).map(|set| &set.common),
            Kind::PlacementGroup => self.placement_groups.get(&key).map(|group| &group.common),
            Kind::Disk => self.disks.get(&key).map(|disk| &disk.common),
            Kind::Nic => self.nics.get(&key).map(|nic| &nic.common),
            Kind::Vnet => self.vnets.get(&key).map(|vnet| &vnet.common),
            Kind::ReservationGroup | Kind::Image | Kind::SecurityGroup | Kind::Identity => {
                self.plain.get(&key).map(|plain| &plain.common)
            }
        }
    }

    /// Where a resource is.
    pub(super) fn location_of(&self, id: &ResourceId) -> Option<String> {
        self.common(id).map(|common| common.location.clone())
    }

    /// Refuses a PUT that would move a resource to another region.
    pub(super) fn need_same_location(
        &self,
        id: &ResourceId,
        wanted: &str,
    ) -> Result<(), Box<ArmError>> {
        match self.common(id).filter(|common| common.location != wanted) {
            None => Ok(()),
            Some(common) => Err(Box::new(ArmError::new(
                409,
                "InvalidResourceLocation",
                format!(
                    "The resource '{}' already exists in location '{}' in resource group '{}'. A \
                     resource with the same name cannot be created in location '{wanted}'. Please \
                     select a new resource name.",
                    id.name, common.location, id.group
                ),
            ))),
        }
    }

    /// An id as Azure's references give it: the group in capitals, if that habit is on.
    pub(super) fn reference(&self, id: &ResourceId) -> String {
        if self.habits.changed_case { id.in_capitals() } else { id.to_string() }
    }

    /// An id found by its key, as [`Model::reference`] spells it.
    pub(super) fn reference_to(&self, key: &Key) -> String {
        let parsed = ResourceId::parse(key.as_str());
        let known = parsed.and_then(|id| self.common(&id).map(|common| common.id.clone()));
        known.map_or_else(|| key.as_str().to_owned(), |id| self.reference(&id))
    }

    /// Starts an operation whose end is due after `after`.
    pub(super) fn start_operation(
        &mut self,
        doing: Doing,
        id: &ResourceId,
        after: Spread,
    ) -> OperationId {
        let location = self.location_of(id).unwrap_or_default();
        let start = Start {
            doing,
            target: id.key(),
            location,
            subscription: id.subscription.clone(),
            must_fail: None,
        };
        let operation = self.begin_operation(start);
        let end = self.now + self.chance.duration(after);
        self.finish_at(operation, end);
        operation
    }

    /// Says when an operation ends.
    pub(super) fn finish_at(&mut self, operation: OperationId, end: Millis) {
        self.operations.set_due(operation, end);
        self.events.at(end, Event::Finish(operation));
    }

    /// Starts an operation without saying when it ends.
    pub(super) fn begin_operation(&mut self, start: Start) -> OperationId {
        // Real URLs carry opaque text that must come back unchanged (FACTS §2).
        let names = (self.chance.uuid(), self.chance.hex(48));
        self.operations.start(start, names, self.now)
    }

    /// An operation by id.
    pub(super) fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.operations.get(id)
    }

    /// Puts the headers of an operation on the answer that started it. `Location` only where Azure
    /// sends it: with 202.
    pub(super) fn with_operation(
        &self,
        mut response: Response,
        operation: OperationId,
        request: &Request,
    ) -> Response {
        let Some(operation) = self.operation(operation) else { return response };
        response = response.header("Azure-AsyncOperation", operation.url(request));
        if response.status == 202 {
            response = response.header("Location", operation.monitor_url(request));
        }
        match self.delays.retry_after_s {
            Some(seconds) => response.header("Retry-After", seconds.to_string()),
            None => response,
        }
    }

    /// 202 with an operation.
    pub(super) fn accepted(&self, operation: OperationId, request: &Request) -> Response {
        self.with_operation(Response::empty(202), operation, request)
    }

    /// The answer to a poll.
    pub(super) fn poll(&mut self, name: &str, request: &Request) -> Answer {
        let (first, wait) = (self.delays.first_poll_retry_after_s, self.delays.retry_after_s);
        let not_found = || {
            let text = format!("The operation '{name}' was not found.");
            Box::new(ArmError::new(404, "OperationNotFound", text))
        };
        let operation = self.operations.by_name(name).ok_or_else(not_found)?;
        if request.query("p") != Some(&operation.opaque) {
            return Err(not_found());
        }
        operation.polls += 1;
        let is_running = operation.progress == Progress::Running;
        let is_monitor = request.query("monitor").is_some();
        let mut response = if is_monitor {
            operation.monitor_answer()
        } else {
            Response::with_body(200, operation.status_document())
        };
        if is_running && is_monitor {
            response = response.header("Location", operation.monitor_url(request));
            response = match wait {
                Some(seconds) => response.header("Retry-After", seconds.to_string()),
                None => response,
            };
        } else if let (true, 1, Some(seconds)) = (is_running, operation.polls, first) {
            response = response.header("Retry-After", seconds.to_string());
        }
        Ok(response)
    }
}
