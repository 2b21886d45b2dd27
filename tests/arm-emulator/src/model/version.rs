//! Which api-versions are served. Missing and unknown ones are refused as Resource Manager refuses
//! them.

use super::ids::Kind;
use super::looks::Look;
use super::message::{ArmError, Request};
use super::route::Route;

/// Versions of Microsoft.Compute (virtual machines, sets, placement groups, usages); 2026-04-01 is
/// what the Python SDK 39 sends (python-clients.md), the rest from SPEC.
const COMPUTE: [&str; 23] = [
    "2019-03-01",
    "2019-07-01",
    "2019-12-01",
    "2020-06-01",
    "2020-12-01",
    "2021-03-01",
    "2021-04-01",
    "2021-07-01",
    "2021-11-01",
    "2022-03-01",
    "2022-08-01",
    "2022-11-01",
    "2023-03-01",
    "2023-07-01",
    "2023-09-01",
    "2024-03-01",
    "2024-07-01",
    "2024-11-01",
    "2025-04-01",
    "2025-11-01",
    "2026-03-01",
    "2026-04-01",
    "2026-06-06",
];

/// Versions of Microsoft.Compute/disks; the last is what the Python SDK 39 sends.
const DISKS: [&str; 13] = [
    "2019-03-01",
    "2020-06-30",
    "2020-12-01",
    "2021-04-01",
    "2021-12-01",
    "2022-03-02",
    "2022-07-02",
    "2023-01-02",
    "2023-04-02",
    "2023-10-02",
    "2024-03-02",
    "2025-01-02",
    "2026-03-02",
];

/// Versions of Resource Graph (FACTS §8).
const GRAPH: [&str; 4] = ["2021-03-01", "2022-10-01", "2024-04-01", "2021-06-01-preview"];

/// Versions of the activity log.
const ACTIVITY_LOG: [&str; 2] = ["2014-04-01", "2015-04-01"];

/// Versions of the SKU list.
const SKUS: [&str; 4] = ["2017-09-01", "2019-04-01", "2021-07-01", "2026-03-02"];

/// Other providers have too many versions to list: any date from here on is taken.
const FIRST_YEAR: u32 = 2015;
/// The last year in which a version may lie.
const LAST_YEAR: u32 = 2027;

/// Refuses a request whose api-version is missing or not one that the route knows.
///
/// # Errors
/// 400 with Azure's code.
pub fn check(route: &Route, request: &Request) -> Result<(), Box<ArmError>> {
    let Some(version) = request.query("api-version").filter(|version| !version.is_empty()) else {
        return Err(Box::new(ArmError::new(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )));
    };
    let known = match known_to(route) {
        Some(list) => list.contains(&version),
        None => is_date(version),
    };
    if known { Ok(()) } else { Err(Box::new(unknown(route, version))) }
}

fn known_to(route: &Route) -> Option<&'static [&'static str]> {
    let of_kind = |kind: Kind| match kind {
        Kind::Vm
        | Kind::AvailabilitySet
        | Kind::PlacementGroup
        | Kind::ReservationGroup
        | Kind::Image => Some(&COMPUTE[..]),
        Kind::Disk => Some(&DISKS[..]),
        Kind::Nic | Kind::Vnet | Kind::SecurityGroup | Kind::Identity => None,
    };
    match route {
        Route::AllOf(_, kind) | Route::AllIn(_, _, kind) => of_kind(*kind),
        Route::Resource(id) | Route::Below(id, _) | Route::Subnet(id, _) => of_kind(id.kind),
        Route::InRegion(..) | Route::MarketImage(..) | Route::Look(_, Look::MarketVersions(_)) => {
            Some(&COMPUTE)
        }
        Route::Skus(_) => Some(&SKUS),
        Route::Graph => Some(&GRAPH),
        Route::ActivityLog(_) => Some(&ACTIVITY_LOG),
        // Operation URLs come from us; disks, VMs and networks poll with versions of their own.
        Route::Operation(..)
        | Route::OperationResult(..)
        | Route::GalleryImage(_)
        | Route::Look(..)
        | Route::Subscriptions
        | Route::Subscription(_)
        | Route::Locations(_)
        | Route::Groups(_)
        | Route::Group(..) => None,
    }
}

fn is_date(version: &str) -> bool {
    let date = version.strip_suffix("-preview").unwrap_or(version);
    let mut numbers = date.split('-').map(str::parse::<u32>);
    let (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    date.len() == 10
        && (FIRST_YEAR..=LAST_YEAR).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
}

fn unknown(route: &Route, version: &str) -> ArmError {
    let Some(list) = known_to(route) else {
        let text = format!(
            "The api-version '{version}' is invalid. The supported versions are \
                            dates such as '2024-11-01'."
        );
        return ArmError::new(400, "InvalidApiVersionParameter", text);
    };
    let name = match route {
        Route::AllOf(_, kind) | Route::AllIn(_, _, kind) => kind.type_name(),
        Route::Resource(id) | Route::Below(id, _) | Route::Subnet(id, _) => id.kind.type_name(),
        Route::Skus(_) => "skus",
        Route::Graph => "resources",
        Route::ActivityLog(_) => "eventtypes",
        Route::InRegion(..)
        | Route::MarketImage(..)
        | Route::Operation(..)
        | Route::OperationResult(..)
        | Route::GalleryImage(_)
        | Route::Look(..)
        | Route::Subscriptions
        | Route::Subscription(_)
        | Route::Locations(_)
        | Route::Groups(_)
        | Route::Group(..) => "locations",
    };
    let text = format!(
        "No registered resource provider found for location 'westeurope' and API version \
         '{version}' for type '{name}'. The supported api-versions are '{}'. The supported \
         locations are 'westeurope, northeurope'.",
        list.join(", ")
    );
    ArmError::new(400, "NoRegisteredProviderFound", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::Method;

    fn refusal(path: &str, version: Option<&str>) -> Option<String> {
        let mut request = Request::new(Method::Get, path);
        if let Some(version) = version {
            request = request.with_query("api-version", version);
        }
        check(&Route::parse(path).unwrap(), &request).err().map(|error| error.code)
    }

    #[test]
    fn api_versions_are_required_and_checked() {
        let vms = "/subscriptions/s/providers/Microsoft.Compute/virtualMachines";
        assert_eq!(refusal(vms, None).as_deref(), Some("MissingApiVersionParameter"));
        assert_eq!(refusal(vms, Some("2020-02-30")).as_deref(), Some("NoRegisteredProviderFound"));
        assert_eq!(refusal(vms, Some("2024-11-01")), None);
        let groups = "/subscriptions/s/resourceGroups";
        assert_eq!(refusal(groups, Some("never")).as_deref(), Some("InvalidApiVersionParameter"));
        assert_eq!(refusal(groups, Some("2024-03-01")), None);
    }
}
