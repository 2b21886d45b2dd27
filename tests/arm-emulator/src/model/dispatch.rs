//! From a call to its handler: route, api-version, rate limits, then the handler of the kind. Adds
//! the headers that every answer carries.

use super::Model;
use super::ids::{Kind, ResourceId, group_key};
use super::message::{Answer, ArmError, Method, Request, Response};
use super::route::{Regional, Route};
use super::{throttle, version};

impl Model {
    /// Answers a call; what was due has happened.
    pub(super) fn answer(&mut self, request: &Request) -> Response {
        let request_id = self.chance.uuid();
        let (mut response, template) = match Route::parse(&request.path) {
            Ok(route) => (self.answer_route(&route, request), route.template()),
            Err(error) => (error.to_response(), "(unknown)"),
        };
        response.route = template;
        let moment = super::time::azure(self.now).replace([':', '-'], "");
        let routing = format!("WESTEUROPE:{}:{request_id}", &moment[..15]);
        response
            .header("x-ms-request-id", request_id.clone())
            .header("x-ms-correlation-request-id", request_id)
            .header("x-ms-routing-request-id", routing)
    }

    fn answer_route(&mut self, route: &Route, request: &Request) -> Response {
        if let Err(error) = version::check(route, request) {
            return error.to_response();
        }
        if let Err(error) = self.check_subscription(route) {
            return error.to_response();
        }
        if let Err(error) =
            self.check_rights(route, request).and_then(|()| self.check_registered(route, request))
        {
            return error.to_response();
        }
        let charge = self.charge_of(route, request);
        let limits = match self.throttle.charge(&charge, self.now) {
            Ok(headers) => headers,
            Err(error) => return error.to_response(),
        };
        let mut response = self.handle(route, request).unwrap_or_else(|error| error.to_response());
        throttle::put_on(&mut response, limits);
        response
    }

    fn check_subscription(&self, route: &Route) -> Result<(), Box<ArmError>> {
        match route.subscription() {
            Some(s) if !self.subscriptions.contains(&s.to_ascii_lowercase()) => {
                let text = format!("The subscription '{s}' could not be found.");
                Err(Box::new(ArmError::new(404, "SubscriptionNotFound", text)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The handler of the kind.
    pub(super) fn handle(&mut self, route: &Route, request: &Request) -> Answer {
        match route {
            Route::Subscriptions | Route::Subscription(_) | Route::Locations(_) => {
                self.read_subscriptions(route)
            }
            Route::Groups(subscription) => self.list_groups(subscription, request),
            Route::Group(subscription, name) => self.on_group(subscription, name, request),
            Route::AllOf(subscription, kind) => {
                only_get(request)?;
                self.list_all(subscription, *kind, request)
            }
            Route::AllIn(subscription, group, kind) => {
                only_get(request)?;
                self.need_group(&group_key(subscription, group), group)?;
                self.list_group(subscription, group, (*kind, request))
            }
            Route::Resource(id) => self.on_resource(id, request),
            Route::Below(id, what) => self.below(id, what, request),
            Route::Subnet(vnet, name) => self.on_subnet(vnet, name, request),
            Route::InRegion(subscription, region, what) => {
                only_get(request)?;
                match what {
                    Regional::Usages => Ok(self.usages(subscription, region)),
                    Regional::Vms => self.list_region(subscription, region, request),
                }
            }
            Route::Operation(_, _, name) | Route::OperationResult(_, name) => {
                only_get(request)?;
                self.poll(name, request)
            }
            Route::Skus(_) => Ok(self.skus(request)),
            Route::MarketImage(_, urn) => self.market_image(urn),
            Route::GalleryImage(id) => self.gallery_image(id),
            Route::Look(subscription, look) => self.look(subscription, look, request),
            Route::ActivityLog(subscription) => {
                only_get(request)?;
                self.activity_log(subscription, request)
            }
            Route::Graph => self.graph_query(request),
        }
    }

    fn on_resource(&mut self, id: &ResourceId, request: &Request) -> Answer {
        match id.kind {
            Kind::Vm => self.on_vm(id, request),
            Kind::AvailabilitySet => self.on_set(id, request),
            Kind::PlacementGroup => self.on_placement_group(id, request),
            Kind::Disk => self.on_disk(id, request),
            Kind::Nic => self.on_nic(id, request),
            Kind::Vnet => self.on_vnet(id, request),
            Kind::ReservationGroup | Kind::Image | Kind::SecurityGroup | Kind::Identity => {
                self.on_plain(id, request)
            }
        }
    }

    fn on_vm(&mut self, id: &ResourceId, request: &Request) -> Answer {
        match request.method {
            Method::Get | Method::Head => self.get_vm(id, request),
            Method::Put => self.put_vm(id, request),
            Method::Patch => self.patch_vm(id, request),
            Method::Delete => self.delete_vm(id, request),
            Method::Post => Err(method_not_allowed(request)),
        }
    }

    fn below(&mut self, id: &ResourceId, what: &str, request: &Request) -> Answer {
        match (id.kind, what.to_ascii_lowercase().as_str(), request.method) {
            (Kind::Vm, "instanceview", Method::Get) => self.instance_view_of(id),
            (Kind::Vm, "start", Method::Post) => self.start_vm(id, request),
            (Kind::Vm, "restart", Method::Post) => self.restart_vm(id, request),
            (Kind::Vm, "poweroff", Method::Post) => self.power_off_vm(id, request),
            (Kind::Vm, "deallocate", Method::Post) => self.deallocate_vm(id, request),
            (Kind::Vm, "simulateeviction", Method::Post) => self.simulate_eviction(id),
            (Kind::Vnet, "subnets", Method::Get) => self.list_subnets(id),
            (Kind::Vnet, "usages", Method::Get) => self.subnet_usages(id),
            _ => Err(method_not_allowed(request)),
        }
    }
}

/// Refuses everything but reading.
pub(super) fn only_get(request: &Request) -> Result<(), Box<ArmError>> {
    match request.method {
        Method::Get | Method::Head => Ok(()),
        Method::Put | Method::Patch | Method::Post | Method::Delete => {
            Err(method_not_allowed(request))
        }
    }
}

/// 405 as Resource Manager words it.
pub(super) fn method_not_allowed(request: &Request) -> Box<ArmError> {
    let text = format!(
        "The http method '{}' is not supported for '{}'.",
        request.method.as_str(),
        request.path
    );
    Box::new(ArmError::new(405, "HttpMethodNotAllowed", text))
}

/// 404 as Resource Manager words it for a resource that it does not know.
pub(super) fn resource_not_found(id: &ResourceId) -> Box<ArmError> {
    let text = format!(
        "The Resource '{}/{}' under resource group '{}' was not found. For more details please go \
         to https://aka.ms/ARMResourceNotFoundFix",
        id.kind.full_type(),
        id.name,
        id.group
    );
    Box::new(ArmError::new(404, "ResourceNotFound", text))
}
