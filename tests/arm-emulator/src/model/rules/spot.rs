//! Spot.

use serde_json::Value;

use super::{Case, Objection};
use crate::catalog;

fn max_price(case: &Case) -> Option<f64> {
    case.put.at("/billingProfile/maxPrice").and_then(Value::as_f64)
}

fn is_spot(case: &Case) -> bool {
    case.put.is_spot() || case.existing.is_some_and(|vm| vm.spot.is_some())
}

pub(super) fn policy_without_spot(case: &Case) -> Option<Objection> {
    (case.put.at("/evictionPolicy").is_some() && !is_spot(case)).then(|| {
        let text = "Eviction policy can be set only on Azure Spot Virtual Machines.";
        Objection::to("evictionPolicy", text)
    })
}

pub(super) fn price_without_spot(case: &Case) -> Option<Objection> {
    (max_price(case).is_some_and(|price| price != -1.0) && !is_spot(case)).then(|| {
        let text = "Max price can be set only on Azure Spot Virtual Machines.";
        Objection::to("billingProfile.maxPrice", text)
    })
}

/// -1, or positive with at most five decimals (FACTS §1.1).
pub(super) fn price_invalid(case: &Case) -> Option<Objection> {
    let given = case.put.at("/billingProfile/maxPrice")?;
    let is_good = given.as_f64().is_some_and(|price| {
        let scaled = price * 1e5;
        price == -1.0 || (price > 0.0 && (scaled - scaled.round()).abs() < 1e-4)
    });
    (!is_good).then(|| {
        let text = format!(
            "Max price value {given} is invalid. It must be -1 or greater than 0, with up to five \
             decimals."
        );
        Objection::to("billingProfile.maxPrice", text)
    })
}

pub(super) fn price_too_low(case: &Case) -> Option<Objection> {
    let (price, present) = (max_price(case)?, case.model.offers.spot_price?);
    (case.put.is_spot() && price > 0.0 && price < present).then(|| {
        let text = format!(
            "Unable to perform operation '{}' since the provided max price '{price} USD' is lower \
             than the current spot price '{present} USD' for Azure Spot VM size '{}'.",
            "Create VM",
            case.put.size()
        );
        Objection::to("billingProfile.maxPrice", text)
    })
}

pub(super) fn size(case: &Case) -> Option<Objection> {
    let sku = catalog::sku(case.put.size()).filter(|sku| !sku.spot_capable)?;
    case.put.is_spot().then(|| {
        let text = format!("Azure Spot is not supported for this VM size {}.", sku.name);
        Objection::to("vmSize", text)
    })
}

pub(super) fn in_set(case: &Case) -> Option<Objection> {
    (case.put.is_spot() && !case.put.text("/availabilitySet/id").is_empty()).then(|| {
        let text = "Azure Spot Virtual Machine is not supported in Availability Set.";
        Objection::to("priority", text)
    })
}
