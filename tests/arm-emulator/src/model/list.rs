//! Lists with their pages, and what a region has: usages, SKUs, images.

use serde_json::{Value, json};

use super::Model;
use super::ids::{self, Key, Kind, ResourceId, group_key};
use super::message::{Answer, ArmError, Request, Response};
use super::quota::Place;
use super::resources::Vm;
use crate::catalog;

/// What a list keeps of its resources.
type Filter<'a> = Box<dyn Fn(&Key) -> bool + 'a>;

/// Query member that carries the place in a list.
const SKIP_TOKEN: &str = "$skiptoken";

impl Model {
    /// A list over a subscription.
    pub(super) fn list_all(&self, subscription: &str, kind: Kind, request: &Request) -> Answer {
        let start = format!("/subscriptions/{}/", subscription.to_ascii_lowercase());
        let page = self.list(kind, request, &|key| key.as_str().starts_with(&start))?;
        // Fanned out over regions: two ids in one answer (FACTS §1.2).
        let ids = "00000000-0000-0000-0000-0000000000e1, 00000000-0000-0000-0000-0000000000e2";
        Ok(page.header("x-ms-original-request-ids", ids))
    }

    /// A list over a resource group.
    pub(super) fn list_group(
        &self,
        subscription: &str,
        group: &str,
        (kind, request): (Kind, &Request),
    ) -> Answer {
        let start = format!("{}/providers/", group_key(subscription, group).as_str());
        self.list(kind, request, &|key| key.as_str().starts_with(&start))
    }

    /// The VMs of a region.
    pub(super) fn list_region(
        &self,
        subscription: &str,
        region: &str,
        request: &Request,
    ) -> Answer {
        let start = format!("/subscriptions/{}/", subscription.to_ascii_lowercase());
        let region = ids::region(region);
        self.list(Kind::Vm, request, &|key| {
            key.as_str().starts_with(&start)
                && self.vms.get(key).is_some_and(|vm| vm.common.location == region)
        })
    }

    fn list(&self, kind: Kind, request: &Request, wanted: &dyn Fn(&Key) -> bool) -> Answer {
        let keys: Box<dyn Iterator<Item = &Key>> = match kind {
            Kind::Vm => Box::new(self.vms.keys()),
            Kind::AvailabilitySet => Box::new(self.sets.keys()),
            Kind::PlacementGroup => Box::new(self.placement_groups.keys()),
            Kind::Disk => Box::new(self.disks.keys()),
            Kind::Nic => Box::new(self.nics.keys()),
            Kind::Vnet => Box::new(self.vnets.keys()),
            Kind::ReservationGroup | Kind::Image | Kind::SecurityGroup | Kind::Identity => {
                let of_kind = move |(key, plain): (&'_ Key, &'_ super::resources::Plain)| {
                    (plain.common.id.kind == kind).then_some(key.clone())
                };
                let keys: Vec<Key> =
                    self.plain.iter().filter_map(|(k, p)| of_kind((k, p))).collect();
                return self
                    .page(&keys.iter().filter(|key| wanted(key)).collect::<Vec<_>>(), request);
            }
        };
        let filter = self.vm_filter(kind, request)?;
        let keys: Vec<&Key> = keys.filter(|key| wanted(key) && filter(key)).collect();
        self.page(&keys, request)
    }

    /// The only filter that VM lists know: members of a scale set (FACTS §1.2).
    fn vm_filter<'a>(&'a self, kind: Kind, request: &Request) -> Result<Filter<'a>, Box<ArmError>> {
        let invalid = |name: &str, text: &str| {
            Box::new(ArmError::new(400, "InvalidParameter", text).target(name))
        };
        let filter = request.query("$filter").filter(|_| kind == Kind::Vm);
        let Some(filter) = filter else {
            let expand = request.query("$expand").filter(|_| kind == Kind::Vm);
            return match expand {
                Some(_) => Err(invalid(
                    "$expand",
                    "The expand parameter is only supported together with a filter by \
                     'virtualMachineScaleSet/id'.",
                )),
                None => Ok(Box::new(|_| true)),
            };
        };
        let parts: Vec<&str> = filter.split('\'').collect();
        let ["", "virtualMachineScaleSet/id", " eq ", id, ""] = *parts else {
            return Err(invalid(
                "$filter",
                "The filter must be 'virtualMachineScaleSet/id' eq '…'.",
            ));
        };
        let id = Key::of(id);
        Ok(Box::new(move |key| {
            let vm = self.vms.get(key);
            vm.is_some_and(|vm| Key::of(vm.asked.text("/virtualMachineScaleSet/id")) == id)
        }))
    }

    /// One page: the entries after the one named by the token, and a link to the rest.
    fn page(&self, keys: &[&Key], request: &Request) -> Answer {
        let after = request.query(SKIP_TOKEN).map(Key::of);
        let rest: Vec<&&Key> =
            keys.iter().filter(|key| after.as_ref().is_none_or(|after| **key > after)).collect();
        let shown = &rest[..rest.len().min(self.habits.page_size.max(1))];
        let entries: Vec<Value> = shown.iter().map(|key| self.entry(key, request)).collect();
        let mut body = json!({ "value": entries });
        if let (Some(last), true) = (shown.last(), rest.len() > shown.len()) {
            body["nextLink"] = json!(next_link(request, last.as_str()));
        }
        Ok(Response::with_body(200, body))
    }

    /// A resource as lists show it: its id with the group in capitals.
    fn entry(&self, key: &Key, request: &Request) -> Value {
        let Some(id) = ResourceId::parse(key.as_str()) else { return Value::Null };
        let Some(common) = self.common(&id) else { return Value::Null };
        let mut body = match self.vms.get(key) {
            Some(vm) => self.vm_entry(vm, request),
            None => self.body_of(&common.id),
        };
        body["id"] = json!(self.reference(&common.id));
        body
    }

    fn vm_entry(&self, vm: &Vm, request: &Request) -> Value {
        let is_true = |name: &str| request.query(name).is_some_and(|v| v == "true");
        if is_true("statusOnly") {
            // Run-time status without the model (FACTS §1.2; details not known).
            return json!({
                "name": vm.common.id.name,
                "type": vm.common.id.kind.full_type(),
                "location": vm.common.location,
                "properties": {
                    "vmId": vm.vm_id,
                    "provisioningState": vm.provisioning.word(),
                    "instanceView": self.instance_view(vm),
                },
            });
        }
        let mut body = self.vm_body(&vm.common.id.key());
        let expand = request.query("$expand").unwrap_or("");
        if expand.eq_ignore_ascii_case("instanceView") {
            body["properties"]["instanceView"] = self.instance_view(vm);
        }
        body
    }

    /// Any resource as GET shows it.
    pub(super) fn body_of(&self, id: &ResourceId) -> Value {
        let key = id.key();
        match id.kind {
            Kind::Vm => self.vm_body(&key),
            Kind::AvailabilitySet => self.set_body(&key, true),
            Kind::PlacementGroup => self.placement_group_body(&key, false),
            Kind::Disk => self.disk_body(&key),
            Kind::Nic => self.nic_body(&key),
            Kind::Vnet => self.vnet_body(&key),
            Kind::ReservationGroup | Kind::Image | Kind::SecurityGroup | Kind::Identity => {
                self.plain_body(&key)
            }
        }
    }

    /// Quota and its use in a region.
    pub(super) fn usages(&self, subscription: &str, region: &str) -> Response {
        let place = Place::new(subscription, region);
        let is_listed = |family: &&&str| {
            let mut sizes = catalog::skus().iter().filter(|sku| sku.family == **family);
            self.offers.listed.is_empty() || sizes.any(|sku| self.offers.listed.contains(sku.name))
        };
        let families: Vec<&str> = catalog::families().iter().filter(is_listed).copied().collect();
        let usages = self.quota.usages(&place, &families);
        Response::with_body(200, json!({ "value": usages }))
    }

    /// All SKUs, or those of the region in `$filter=location eq 'x'`.
    pub(super) fn skus(&self, request: &Request) -> Response {
        let region = request.query("$filter").and_then(|filter| filter.split('\'').nth(1));
        let list: Vec<Value> = match region {
            Some(region) => self.skus_of(&ids::region(region)),
            None => catalog::regions().iter().flat_map(|r| self.skus_of(r.name)).collect(),
        };
        Response::with_body(200, json!({ "value": list }))
    }

    /// The sizes of a region, with what is restricted there.
    fn skus_of(&self, region: &str) -> Vec<Value> {
        let listed = &self.offers.listed;
        let list = catalog::skus_json(region, |sku| listed.is_empty() || listed.contains(sku));
        let mut list = list.get("value").and_then(Value::as_array).cloned().unwrap_or_default();
        for row in &mut list {
            let name = row["name"].as_str().unwrap_or_default().to_owned();
            let restrictions = self.offers.restrictions_of(&name, region).map(|one| {
                let kind = if one.zones.is_empty() { "Location" } else { "Zone" };
                json!({"type": kind, "values": [region],
                    "restrictionInfo": {"locations": [region], "zones": one.zones},
                    "reasonCode": "NotAvailableForSubscription"})
            });
            if let Some(shown) = row["restrictions"].as_array_mut() {
                shown.extend(restrictions);
            }
        }
        list
    }
}

fn next_link(request: &Request, last: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in &request.query {
        if !name.eq_ignore_ascii_case(SKIP_TOKEN) {
            query.append_pair(name, value);
        }
    }
    query.append_pair(SKIP_TOKEN, last);
    format!("{}{}?{}", request.base_url, request.path, query.finish())
}
