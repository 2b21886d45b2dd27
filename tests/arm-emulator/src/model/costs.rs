//! What each call costs: from its route to the buckets of `throttle` (FACTS §3).

use super::Model;
use super::ids::{self, Kind, ResourceId};
use super::message::{Method, Request};
use super::route::{Regional, Route};
use super::throttle::{Charge, Door, Provider};

impl Model {
    /// The buckets that a call drains.
    pub(super) fn charge_of<'a>(&self, route: &'a Route, request: &'a Request) -> Charge<'a> {
        let door = match request.method {
            Method::Get | Method::Head => Door::Reads,
            // POST actions count as writes (FACTS §3.1).
            Method::Put | Method::Patch | Method::Post => Door::Writes,
            Method::Delete => Door::Deletes,
        };
        let is_graph = *route == Route::Graph;
        let mut provider = provider(route, request.method);
        if let (Route::Operation(_, _, name), Provider::Compute { vm, .. }) = (route, &mut provider)
        {
            *vm = self.operations.target(name).map(|key| key.as_str().to_owned());
        }
        Charge {
            principal: &request.principal,
            subscription: route.subscription().unwrap_or(""),
            region: self.region_of(route, request),
            // A Resource Graph query is a POST that only reads.
            door: if is_graph { Door::Reads } else { door },
            provider,
        }
    }

    /// The region whose provider is asked: of the resource, else of the body, else of the path.
    fn region_of(&self, route: &Route, request: &Request) -> String {
        let of_body = || {
            let location = request.body.get("location").and_then(serde_json::Value::as_str);
            location.map(ids::region).unwrap_or_default()
        };
        match route {
            Route::Resource(id) | Route::Below(id, _) | Route::Subnet(id, _) => {
                self.location_of(id).unwrap_or_else(of_body)
            }
            Route::InRegion(_, region, _) | Route::Operation(_, region, _) => ids::region(region),
            Route::AllIn(subscription, group, _) => self
                .groups
                .get(&ids::group_key(subscription, group))
                .map_or_else(String::new, |group| group.location.clone()),
            Route::Subscriptions
            | Route::Subscription(_)
            | Route::Locations(_)
            | Route::Groups(_)
            | Route::Group(..)
            | Route::AllOf(..)
            | Route::OperationResult(..)
            | Route::Skus(_)
            | Route::ActivityLog(_)
            | Route::MarketImage(..)
            | Route::GalleryImage(_)
            | Route::Look(..)
            | Route::Graph => String::new(),
        }
    }
}

fn compute(bucket: &'static str, vm: Option<&ResourceId>) -> Provider {
    let vm = vm.map(|id| id.key().as_str().to_owned());
    Provider::Compute { bucket, vm, shown: true }
}

fn provider(route: &Route, method: Method) -> Provider {
    match route {
        Route::AllOf(_, kind) => match of_kind(*kind, method, None) {
            // Charged, and not shown (FACTS §1.2).
            Provider::Compute { .. } => {
                Provider::Compute { bucket: "HighCostGet", vm: None, shown: false }
            }
            Provider::None => Provider::None,
            Provider::Network { writes } => Provider::Network { writes },
            Provider::Graph => Provider::Graph,
        },
        Route::AllIn(_, _, kind) => match kind.provider() {
            "Microsoft.Compute" => compute("HighCostGet", None),
            _ => of_kind(*kind, method, None),
        },
        Route::Resource(id) => of_kind(id.kind, method, Some(id)),
        Route::Below(id, action) => below(id, action),
        Route::Subnet(..) => Provider::Network { writes: !is_read(method) },
        Route::InRegion(_, _, Regional::Vms) => compute("HighCostGet", None),
        // HighCostGet or a bucket of its own is not known (FACTS §10).
        Route::InRegion(_, _, Regional::Usages) => Provider::None,
        Route::Operation(..) => compute("GetOperation", None),
        Route::Graph => Provider::Graph,
        Route::Subscriptions
        | Route::Subscription(_)
        | Route::Locations(_)
        | Route::Groups(_)
        | Route::Group(..)
        | Route::OperationResult(..)
        | Route::Skus(_)
        | Route::ActivityLog(_)
        | Route::MarketImage(..)
        | Route::Look(..)
        | Route::GalleryImage(_) => Provider::None,
    }
}

fn is_read(method: Method) -> bool {
    method == Method::Get || method == Method::Head
}

fn of_kind(kind: Kind, method: Method, id: Option<&ResourceId>) -> Provider {
    match kind {
        Kind::Vm => match method {
            Method::Get | Method::Head => compute("LowCostGet", id),
            Method::Put => compute("PutVM", id),
            Method::Patch | Method::Post => compute("UpdateVM", id),
            Method::Delete => compute("DeleteVM", id),
        },
        Kind::AvailabilitySet => match method {
            Method::Get | Method::Head => compute("LowCostGet", None),
            Method::Put | Method::Patch | Method::Post => compute("PutVM", None),
            Method::Delete => compute("DeleteVM", None),
        },
        Kind::PlacementGroup if is_read(method) => compute("HighCostGet", None),
        Kind::PlacementGroup => compute("PutDeletePPG", None),
        Kind::Disk if is_read(method) => compute("LowCostGet", None),
        Kind::Nic | Kind::Vnet | Kind::SecurityGroup => {
            Provider::Network { writes: !is_read(method) }
        }
        Kind::Disk | Kind::Image | Kind::ReservationGroup | Kind::Identity => Provider::None,
    }
}

fn below(id: &ResourceId, action: &str) -> Provider {
    match action.to_ascii_lowercase().as_str() {
        "instanceview" => compute("LowCostGet", Some(id)),
        "deallocate" | "simulateeviction" => compute("DeleteVM", Some(id)),
        "start" | "restart" | "poweroff" => compute("UpdateVM", Some(id)),
        _ => Provider::None,
    }
}
