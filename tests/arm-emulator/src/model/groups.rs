//! Subscriptions, regions and resource groups.

use serde_json::{Map, Value, json};

use super::Model;
use super::dispatch::method_not_allowed;
use super::events::Event;
use super::ids::{self, Key, group_key};
use super::message::{Answer, ArmError, Method, Request, Response};
use super::operation::{Doing, OperationId, Progress, Start};
use super::resources::Group;
use super::route::Route;
use super::time::Millis;
use super::vm_body;
use crate::catalog;

/// A group that waits for boot commands to end looks again after this long.
const LOOK_AGAIN: Millis = 20;

impl Model {
    /// Subscriptions, one of them, or its regions.
    pub(super) fn read_subscriptions(&self, route: &Route) -> Answer {
        let shown = |id: &String| {
            json!({
                "id": format!("/subscriptions/{id}"),
                "subscriptionId": id,
                "tenantId": self.tenant,
                "displayName": "emulated",
                "state": "Enabled",
            })
        };
        match route {
            Route::Subscription(id) => {
                Ok(Response::with_body(200, shown(&id.to_ascii_lowercase())))
            }
            Route::Locations(id) => {
                let regions = catalog::regions().iter().map(|region| {
                    json!({
                        "id": format!("/subscriptions/{id}/locations/{}", region.name),
                        "name": region.name,
                        "displayName": region.display_name,
                    })
                });
                let list: Vec<Value> = regions.collect();
                Ok(Response::with_body(200, json!({ "value": list })))
            }
            // The caller only comes here with one of the three.
            Route::Subscriptions
            | Route::Groups(_)
            | Route::Group(..)
            | Route::AllOf(..)
            | Route::AllIn(..)
            | Route::Resource(_)
            | Route::Below(..)
            | Route::Subnet(..)
            | Route::InRegion(..)
            | Route::Operation(..)
            | Route::OperationResult(..)
            | Route::Skus(_)
            | Route::ActivityLog(_)
            | Route::MarketImage(..)
            | Route::GalleryImage(_)
            | Route::Look(..)
            | Route::Graph => {
                let list: Vec<Value> = self.subscriptions.iter().map(shown).collect();
                Ok(Response::with_body(200, json!({ "value": list })))
            }
        }
    }

    /// Makes or finds a group; says whether it is new.
    pub(super) fn make_group(&mut self, subscription: &str, name: &str, location: &str) -> bool {
        let key = group_key(subscription, name);
        if self.groups.contains_key(&key) {
            return false;
        }
        let id = format!("/subscriptions/{subscription}/resourceGroups/{name}");
        let words = (id.as_str(), "Microsoft.Resources/resourceGroups", name);
        let record = self.history.begin_raw(words, location, self.now);
        let group = Group {
            subscription: subscription.to_owned(),
            name: name.to_owned(),
            location: location.to_owned(),
            tags: Map::new(),
            record,
            is_deleting: false,
        };
        self.groups.insert(key, group);
        true
    }

    /// All groups of a subscription.
    pub(super) fn list_groups(&self, subscription: &str, request: &Request) -> Answer {
        super::dispatch::only_get(request)?;
        let mine =
            self.groups.values().filter(|g| g.subscription.eq_ignore_ascii_case(subscription));
        let list: Vec<Value> = mine.map(group_json).collect();
        Ok(Response::with_body(200, json!({ "value": list })))
    }

    /// PUT, PATCH, GET, HEAD, DELETE of a group.
    pub(super) fn on_group(&mut self, subscription: &str, name: &str, request: &Request) -> Answer {
        let key = group_key(subscription, name);
        match request.method {
            Method::Put => self.put_group(subscription, name, request),
            Method::Patch => {
                self.need_group(&key, name)?;
                self.tag_group(&key, vm_body::tags(&request.body)?);
                Ok(Response::with_body(200, self.group_body(&key)))
            }
            Method::Get => match self.groups.contains_key(&key) {
                true => Ok(Response::with_body(200, self.group_body(&key))),
                false => Err(self
                    .need_group(&key, name)
                    .err()
                    .unwrap_or_else(|| Box::new(ArmError::new(404, "ResourceGroupNotFound", "")))),
            },
            Method::Head if self.groups.contains_key(&key) => Ok(Response::empty(204)),
            Method::Head => Ok(Response::empty(404)),
            Method::Delete => self.delete_group(&key, request),
            Method::Post => Err(method_not_allowed(request)),
        }
    }

    fn put_group(&mut self, subscription: &str, name: &str, request: &Request) -> Answer {
        let location = vm_body::location(&request.body)?;
        let tags = vm_body::tags(&request.body)?;
        let key = group_key(subscription, name);
        if self.groups.contains_key(&key) {
            self.need_group(&key, name)?;
        }
        let is_new = self.make_group(subscription, name, &location);
        if self.groups[&key].location != location {
            let text = format!(
                "Invalid resource group location '{location}'. The Resource group already exists \
                 in location '{}'.",
                self.groups[&key].location
            );
            return Err(Box::new(ArmError::new(409, "InvalidResourceGroupLocation", text)));
        }
        self.tag_group(&key, tags);
        let status = if is_new { 201 } else { 200 };
        Ok(Response::with_body(status, self.group_body(&key)).effect(format!("group {name} put")))
    }

    fn tag_group(&mut self, key: &Key, tags: Map<String, Value>) {
        if let Some(group) = self.groups.get_mut(key) {
            group.tags = tags.clone();
            self.history.of(group.record).tags = tags;
        }
    }

    fn group_body(&self, key: &Key) -> Value {
        self.groups.get(key).map_or(Value::Null, group_json)
    }

    fn delete_group(&mut self, key: &Key, request: &Request) -> Answer {
        let Some(group) = self.groups.get_mut(key) else { return Ok(Response::empty(204)) };
        group.is_deleting = true;
        let (name, subscription) = (group.name.clone(), group.subscription.clone());
        let start = Start {
            doing: Doing::DeleteGroup,
            target: key.clone(),
            location: group.location.clone(),
            subscription: subscription.clone(),
            must_fail: None,
        };
        let operation = self.begin_operation(start);
        let end = self.now + self.chance.duration(self.delays.group_delete_ms);
        self.events.at(end, Event::Finish(operation));
        let Some(started) = self.operation(operation) else { return Ok(Response::empty(202)) };
        let url = format!(
            "{}/subscriptions/{subscription}/operationresults/{}?monitor=true&p={}&api-version={}",
            request.base_url,
            started.name,
            started.opaque,
            request.query("api-version").unwrap_or_default(),
        );
        let wait = self.delays.retry_after_s.unwrap_or(0).to_string();
        Ok(Response::empty(202)
            .header("Location", url)
            .header("Retry-After", wait)
            .effect(format!("group {name} deletion accepted")))
    }

    /// Ends the deletion of a group: everything in it goes, boot commands first.
    pub(super) fn finish_group(&mut self, operation: OperationId, key: &Key) {
        let inside = |other: &Key| {
            let rest = other.as_str().strip_prefix(key.as_str());
            rest.is_some_and(|rest| rest.starts_with("/providers/"))
        };
        let vms: Vec<Key> = self.vms.keys().filter(|vm| inside(vm)).cloned().collect();
        for vm in &vms {
            self.stop_process(vm, false);
        }
        if vms.iter().any(|vm| self.vms.get(vm).is_some_and(|vm| vm.has_process)) {
            self.events.at(self.now + LOOK_AGAIN, Event::Finish(operation));
            return;
        }
        for vm in &vms {
            self.remove_vm(vm, "deleted with its group", 0);
        }
        let keys = |all: Vec<&Key>| all.into_iter().filter(|k| inside(k)).cloned().collect();
        let nics: Vec<Key> = keys(self.nics.keys().collect());
        nics.iter().for_each(|nic| self.remove_nic(nic, 0));
        let disks: Vec<Key> = keys(self.disks.keys().collect());
        disks.iter().for_each(|disk| self.remove_disk(disk));
        self.remove_placement_in(&inside);
        let plain: Vec<Key> = keys(self.plain.keys().collect());
        plain.iter().for_each(|plain| self.remove_plain(plain));
        let vnets: Vec<Key> = keys(self.vnets.keys().collect());
        vnets.iter().for_each(|vnet| self.remove_vnet(vnet));
        if let Some(group) = self.groups.remove(key) {
            self.history.end(group.record, self.now, "deleted");
        }
        self.operations.end(operation, Progress::Succeeded, self.now);
    }
}

fn group_json(group: &Group) -> Value {
    json!({
        "id": format!("/subscriptions/{}/resourceGroups/{}", group.subscription, group.name),
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": ids::region(&group.location),
        "tags": group.tags,
        "properties": {
            "provisioningState": if group.is_deleting { "Deleting" } else { "Succeeded" },
        },
    })
}
