//! Which resource a path means. Paths are compared without case, as Resource Manager does. Must
//! never: look at the state.

use super::ids::{Kind, ResourceId};
use super::looks::Look;
use super::message::ArmError;

/// What a path names.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// `/subscriptions`
    Subscriptions,
    /// `/subscriptions/{s}`
    Subscription(String),
    /// `/subscriptions/{s}/locations`
    Locations(String),
    /// `/subscriptions/{s}/resourceGroups`
    Groups(String),
    /// `/subscriptions/{s}/resourceGroups/{g}`
    Group(String, String),
    /// `/subscriptions/{s}/providers/{type}`
    AllOf(String, Kind),
    /// `/subscriptions/{s}/resourceGroups/{g}/providers/{type}`
    AllIn(String, String, Kind),
    /// `…/{type}/{name}`
    Resource(ResourceId),
    /// `…/{type}/{name}/{action}` or a child collection without further names
    Below(ResourceId, String),
    /// `…/virtualNetworks/{v}/subnets/{name}`
    Subnet(ResourceId, String),
    /// `/subscriptions/{s}/providers/Microsoft.Compute/locations/{l}/{usages, virtualMachines}`
    InRegion(String, String, Regional),
    /// `/subscriptions/{s}/providers/Microsoft.Compute/locations/{l}/operations/{id}`
    Operation(String, String, String),
    /// `/subscriptions/{s}/operationresults/{id}`
    OperationResult(String, String),
    /// `/subscriptions/{s}/providers/Microsoft.Compute/skus`
    Skus(String),
    /// `…/publishers/{p}/artifacttypes/vmimage/offers/{o}/skus/{k}/versions/{v}`
    MarketImage(String, [String; 4]),
    /// `…/galleries/{g}/images/{i}/versions/{v}`: the whole id
    GalleryImage(String),
    /// `/subscriptions/{s}/providers/Microsoft.Insights/eventtypes/management/values`
    ActivityLog(String),
    /// `/providers/Microsoft.ResourceGraph/resources`
    Graph,
    /// What is only read, in a subscription
    Look(String, Look),
}

/// Collections of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regional {
    /// Quota and use.
    Usages,
    /// The VMs there.
    Vms,
}

/// Names of what can be asked of a VM, for counting.
const BELOW: [(&str, &str); 9] = [
    ("instanceView", "…/virtualMachines/{name}/instanceView"),
    ("start", "…/virtualMachines/{name}/start"),
    ("restart", "…/virtualMachines/{name}/restart"),
    ("powerOff", "…/virtualMachines/{name}/powerOff"),
    ("deallocate", "…/virtualMachines/{name}/deallocate"),
    ("simulateEviction", "…/virtualMachines/{name}/simulateEviction"),
    ("subnets", "…/virtualNetworks/{name}/subnets"),
    ("usages", "…/virtualNetworks/{name}/usages"),
    ("", "…/{type}/{name}/{other}"),
];

impl Route {
    /// The route of a path.
    ///
    /// # Errors
    /// 404 as Resource Manager words it when nothing is there.
    pub fn parse(path: &str) -> Result<Route, Box<ArmError>> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        parse(&parts).ok_or_else(|| {
            let text = format!("The resource path '{path}' names nothing that is served here.");
            Box::new(ArmError::new(404, "InvalidResourceType", text))
        })
    }

    /// The template that calls are counted under.
    pub fn template(&self) -> &'static str {
        match self {
            Route::Subscriptions => "/subscriptions",
            Route::Subscription(_) => "/subscriptions/{s}",
            Route::Locations(_) => "/subscriptions/{s}/locations",
            Route::Groups(_) => "/subscriptions/{s}/resourceGroups",
            Route::Group(..) => "/subscriptions/{s}/resourceGroups/{g}",
            Route::AllOf(_, kind) => by_kind(*kind, 0),
            Route::AllIn(_, _, kind) => by_kind(*kind, 1),
            Route::Resource(id) => by_kind(id.kind, 2),
            Route::Below(_, what) => BELOW
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(what))
                .map_or(BELOW[BELOW.len() - 1].1, |(_, template)| template),
            Route::Subnet(..) => "…/virtualNetworks/{name}/subnets/{subnet}",
            Route::InRegion(_, _, Regional::Usages) => "…/locations/{l}/usages",
            Route::InRegion(_, _, Regional::Vms) => "…/locations/{l}/virtualMachines",
            Route::Operation(..) => "…/locations/{l}/operations/{id}",
            Route::OperationResult(..) => "/subscriptions/{s}/operationresults/{id}",
            Route::Skus(_) => "…/skus",
            Route::MarketImage(..) => "…/publishers/{p}/…/versions/{v}",
            Route::GalleryImage(_) => "…/galleries/{g}/images/{i}/versions/{v}",
            Route::ActivityLog(_) => "…/eventtypes/management/values",
            Route::Graph => "/providers/Microsoft.ResourceGraph/resources",
            Route::Look(_, look) => look.template(),
        }
    }

    /// The subscription that the path names.
    pub fn subscription(&self) -> Option<&str> {
        match self {
            Route::Subscriptions | Route::Graph | Route::GalleryImage(_) => None,
            Route::Subscription(s)
            | Route::Locations(s)
            | Route::Groups(s)
            | Route::Group(s, _)
            | Route::AllOf(s, _)
            | Route::AllIn(s, _, _)
            | Route::InRegion(s, _, _)
            | Route::Operation(s, _, _)
            | Route::OperationResult(s, _)
            | Route::Skus(s)
            | Route::ActivityLog(s)
            | Route::Look(s, _)
            | Route::MarketImage(s, _) => Some(s),
            Route::Resource(id) | Route::Below(id, _) | Route::Subnet(id, _) => {
                Some(&id.subscription)
            }
        }
    }
}

/// Templates of a kind: all of a subscription, all of a group, one.
fn by_kind(kind: Kind, column: usize) -> &'static str {
    let row = match kind {
        Kind::Vm => ["/virtualMachines", "{g}/virtualMachines", "…/virtualMachines/{name}"],
        Kind::AvailabilitySet => {
            ["/availabilitySets", "{g}/availabilitySets", "…/availabilitySets/{name}"]
        }
        Kind::PlacementGroup => [
            "/proximityPlacementGroups",
            "{g}/proximityPlacementGroups",
            "…/proximityPlacementGroups/{name}",
        ],
        Kind::ReservationGroup => [
            "/capacityReservationGroups",
            "{g}/capacityReservationGroups",
            "…/capacityReservationGroups/{name}",
        ],
        Kind::Disk => ["/disks", "{g}/disks", "…/disks/{name}"],
        Kind::Image => ["/images", "{g}/images", "…/images/{name}"],
        Kind::Nic => ["/networkInterfaces", "{g}/networkInterfaces", "…/networkInterfaces/{name}"],
        Kind::Vnet => ["/virtualNetworks", "{g}/virtualNetworks", "…/virtualNetworks/{name}"],
        Kind::SecurityGroup => [
            "/networkSecurityGroups",
            "{g}/networkSecurityGroups",
            "…/networkSecurityGroups/{name}",
        ],
        Kind::Identity => [
            "/userAssignedIdentities",
            "{g}/userAssignedIdentities",
            "…/userAssignedIdentities/{name}",
        ],
    };
    row[column]
}

fn is(given: &str, wanted: &str) -> bool {
    given.eq_ignore_ascii_case(wanted)
}

fn parse(parts: &[&str]) -> Option<Route> {
    match parts {
        [a] if is(a, "subscriptions") => Some(Route::Subscriptions),
        [a, b, c]
            if is(a, "providers") && is(b, "Microsoft.ResourceGraph") && is(c, "resources") =>
        {
            Some(Route::Graph)
        }
        [a, subscription, rest @ ..] if is(a, "subscriptions") => {
            parse_in_subscription(subscription, rest)
        }
        _ => None,
    }
}

fn parse_in_subscription(subscription: &str, rest: &[&str]) -> Option<Route> {
    let s = subscription.to_owned();
    if let Some(look) = Look::parse(subscription, rest) {
        return Some(Route::Look(s, look));
    }
    match rest {
        [] => Some(Route::Subscription(s)),
        [a] if is(a, "locations") => Some(Route::Locations(s)),
        [a] if is(a, "resourceGroups") => Some(Route::Groups(s)),
        [a, id] if is(a, "operationresults") => Some(Route::OperationResult(s, (*id).to_owned())),
        [a, group] if is(a, "resourceGroups") => Some(Route::Group(s, (*group).to_owned())),
        [a, group, b, provider, rest @ ..] if is(a, "resourceGroups") && is(b, "providers") => {
            parse_in_group(&[subscription, group, provider], rest)
        }
        [a, provider, rest @ ..] if is(a, "providers") => {
            parse_in_provider(subscription, provider, rest)
        }
        _ => None,
    }
}

fn parse_in_provider(subscription: &str, provider: &str, rest: &[&str]) -> Option<Route> {
    let s = subscription.to_owned();
    let compute = is(provider, "Microsoft.Compute");
    match rest {
        [kind] if compute && is(kind, "skus") => Some(Route::Skus(s)),
        [a, b, c]
            if is(provider, "Microsoft.Insights")
                && is(a, "eventtypes")
                && is(b, "management")
                && is(c, "values") =>
        {
            Some(Route::ActivityLog(s))
        }
        [kind] => Kind::parse(provider, kind).map(|kind| Route::AllOf(s, kind)),
        [a, location, b] if compute && is(a, "locations") && is(b, "usages") => {
            Some(Route::InRegion(s, (*location).to_owned(), Regional::Usages))
        }
        [a, location, b] if compute && is(a, "locations") && is(b, "virtualMachines") => {
            Some(Route::InRegion(s, (*location).to_owned(), Regional::Vms))
        }
        [a, location, b, id] if is(a, "locations") && is(b, "operations") => {
            Some(Route::Operation(s, (*location).to_owned(), (*id).to_owned()))
        }
        [a, _, b, publisher, c, d, e, offer, f, sku, g, version]
            if compute
                && [(a, "locations"), (b, "publishers"), (c, "artifacttypes"), (d, "vmimage")]
                    .iter()
                    .all(|(given, wanted)| is(given, wanted))
                && [(e, "offers"), (f, "skus"), (g, "versions")]
                    .iter()
                    .all(|(given, wanted)| is(given, wanted)) =>
        {
            let urn = [publisher, offer, sku, version].map(|part| (*part).to_owned());
            Some(Route::MarketImage(s, urn))
        }
        _ => None,
    }
}

/// `scope` is subscription, group, provider.
fn parse_in_group(scope: &[&str; 3], rest: &[&str]) -> Option<Route> {
    let [subscription, group, provider] = scope.map(str::to_owned);
    if let [galleries, gallery, images, image, versions, version] = rest
        && [(galleries, "galleries"), (images, "images"), (versions, "versions")]
            .iter()
            .all(|(given, wanted)| is(given, wanted))
    {
        return Some(Route::GalleryImage(format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute\
             /galleries/{gallery}/images/{image}/versions/{version}"
        )));
    }
    let kind = Kind::parse(&provider, rest.first()?)?;
    let id = |name: &str| ResourceId {
        subscription: subscription.clone(),
        group: group.clone(),
        kind,
        name: name.to_owned(),
    };
    match &rest[1..] {
        [] => Some(Route::AllIn(subscription, group, kind)),
        [name] => Some(Route::Resource(id(name))),
        [name, below] => Some(Route::Below(id(name), (*below).to_owned())),
        [name, subnets, subnet] if kind == Kind::Vnet && is(subnets, "subnets") => {
            Some(Route::Subnet(id(name), (*subnet).to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_in_any_case() {
        let route =
            Route::parse("/SUBSCRIPTIONS/s/RESOURCEGROUPS/g/providers/MICROSOFT.compute/DISKS/d");
        let Ok(Route::Resource(id)) = route else { panic!("{route:?}") };
        assert_eq!((id.kind, id.name.as_str()), (Kind::Disk, "d"));
        assert!(matches!(
            Route::parse("/subscriptions/s/providers/Microsoft.Compute/locations/l/operations/o"),
            Ok(Route::Operation(..))
        ));
        assert!(matches!(
            Route::parse("/subscriptions/s/providers/Microsoft.Compute/virtualMachines"),
            Ok(Route::AllOf(_, Kind::Vm))
        ));
        assert_eq!(Route::parse("/subscriptions/s/nothing").unwrap_err().status, 404);
    }
}
