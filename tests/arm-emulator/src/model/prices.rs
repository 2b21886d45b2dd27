//! The list of retail prices: a public service, without tokens, that only knows meters. Shapes and
//! words as in FACTS §10.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::catalog::{self, SkuFacts};

/// Rows of a page.
const PAGE_ROWS: usize = 100;
/// USD for an hour of a core, unless configured.
const CORE_PRICE: f64 = 0.05;
/// What Spot costs of the regular price.
const SPOT_SHARE: f64 = 0.2;
/// What the dead "Low Priority" costs.
const LOW_PRIORITY_SHARE: f64 = 0.3;
/// What Windows costs more.
const WINDOWS_SHARE: f64 = 1.8;

/// A page of the list: `filter` of `$filter`, `skip` rows before it, `url` without its query.
/// `prices` are regular prices by size that are not the usual ones.
pub fn page(
    prices: &BTreeMap<String, f64>,
    (filter, skip): (&str, usize),
    url: &str,
) -> Result<Value, String> {
    let wanted = Filter::parse(filter)?;
    let rows: Vec<Value> = catalog::regions()
        .iter()
        .flat_map(|region| catalog::skus().iter().map(move |sku| (region, sku)))
        .flat_map(|(region, sku)| items(sku, region.name, price(prices, sku)))
        .filter(|item| wanted.takes(item))
        .collect();
    let shown: Vec<&Value> = rows.iter().skip(skip).take(PAGE_ROWS).collect();
    let next = skip + shown.len();
    let link = (next < rows.len()).then(|| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("$filter", filter)
            .append_pair("$skip", &next.to_string())
            .finish();
        format!("{url}?{query}")
    });
    Ok(json!({"BillingCurrency": "USD", "CustomerEntityId": "Default",
        "CustomerEntityType": "Retail", "Count": shown.len(), "Items": shown,
        "NextPageLink": link}))
}

fn price(prices: &BTreeMap<String, f64>, sku: &SkuFacts) -> f64 {
    let own = prices.iter().find(|(name, _)| name.eq_ignore_ascii_case(sku.name));
    own.map_or(f64::from(sku.vcpus) * CORE_PRICE, |(_, price)| *price)
}

/// The rows of a size: Linux, Spot, the dead Low Priority, Windows, and a reservation.
fn items(sku: &SkuFacts, region: &str, price: f64) -> Vec<Value> {
    let short = sku.name.trim_start_matches("Standard_").replace('_', " ");
    let product = format!("Virtual Machines {} Series", sku.family);
    let windows = format!("{product} Windows");
    let row = |product: &str, suffix: &str, kind: &str, price: f64| {
        let name = format!("{short}{suffix}");
        json!({"currencyCode": "USD", "tierMinimumUnits": 0.0, "retailPrice": price,
            "unitPrice": price, "armRegionName": region, "location": region,
            "effectiveStartDate": "2026-01-01T00:00:00Z", "meterName": name,
            "productName": product, "skuName": name, "serviceName": "Virtual Machines",
            "serviceFamily": "Compute", "unitOfMeasure": "1 Hour", "type": kind,
            "isPrimaryMeterRegion": true, "armSkuName": sku.name})
    };
    vec![
        row(&product, "", "Consumption", price),
        row(&product, " Spot", "Consumption", price * SPOT_SHARE),
        row(&product, " Low Priority", "Consumption", price * LOW_PRIORITY_SHARE),
        row(&windows, "", "Consumption", price * WINDOWS_SHARE),
        row(&windows, " Spot", "Consumption", price * WINDOWS_SHARE * SPOT_SHARE),
        row(&product, "", "Reservation", price * 8760.0),
    ]
}

/// What the service understands of a filter here: `a eq 'b'` joined by `and`, and groups of them
/// joined by `or` in parentheses. Values are compared with case (FACTS §10).
struct Filter {
    /// All of these groups must have one that is so.
    groups: Vec<Vec<(String, String)>>,
}

impl Filter {
    fn parse(text: &str) -> Result<Filter, String> {
        let mut groups = Vec::new();
        for part in text.split(" and ").map(str::trim).filter(|part| !part.is_empty()) {
            let inner = part.trim_start_matches('(').trim_end_matches(')');
            let pairs: Option<Vec<(String, String)>> = inner.split(" or ").map(pair).collect();
            groups.push(pairs.ok_or_else(|| format!("Invalid OData filter: '{part}'"))?);
        }
        Ok(Filter { groups })
    }

    fn takes(&self, item: &Value) -> bool {
        let is_so = |(name, wanted): &(String, String)| {
            // The filter calls `priceType` what rows call `type`.
            let name = if name == "priceType" { "type" } else { name };
            item.get(name).and_then(Value::as_str) == Some(wanted)
        };
        self.groups.iter().all(|group| group.iter().any(is_so))
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.trim().split_once(" eq ")?;
    let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    Some((name.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: &str = "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and \
        armRegionName eq 'westeurope' and (armSkuName eq 'Standard_D4s_v5' or armSkuName eq \
        'Standard_HB120rs_v3')";

    #[test]
    fn a_filter_takes_the_meters_of_some_sizes_in_a_region() {
        let own = BTreeMap::from([("standard_d4s_v5".to_owned(), 0.23)]);
        let page = page(&own, (FILTER, 0), "http://x/api").unwrap();
        let items = page["Items"].as_array().unwrap();
        assert_eq!(items.len(), 10, "five meters of consumption for each");
        assert!(page["NextPageLink"].is_null());
        assert_eq!(items[0]["retailPrice"], 0.23);
        assert_eq!(items[5]["retailPrice"], 6.0);
        assert!(super::page(&own, ("a like 'b'", 0), "").is_err());
    }

    #[test]
    fn a_long_list_has_pages() {
        let all = "priceType eq 'Consumption' and armRegionName eq 'westeurope'";
        let first = page(&BTreeMap::new(), (all, 0), "http://x/api").unwrap();
        assert_eq!(first["Count"], 100);
        let link = first["NextPageLink"].as_str().unwrap();
        assert!(link.starts_with("http://x/api?") && link.ends_with("skip=100"), "{link}");
        let rows = catalog::skus().len() * 5;
        let last = page(&BTreeMap::new(), (all, rows - 7), "http://x/api").unwrap();
        assert!(last["Count"] == 7 && last["NextPageLink"].is_null());
    }
}
