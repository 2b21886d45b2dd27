//! Retail prices: a public service of the public cloud that needs no login and gets no token. A
//! price is only ever shown or compared; nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use azslurm_core::config::{Cloud, Limits, Region, Sku};
use reqwest::Client;
use serde_json::Value;
use url::Url;

use crate::read::text;
use crate::route::{Routes, open};
use crate::{AzureError, Cause, error, refusal, transport};

/// The version whose filters are known; their values have case (FACTS §10).
const VERSION: &str = "2023-01-01-preview";
/// Sizes of one question: the URL stays below 2,000 characters.
const SIZES_PER_CALL: usize = 15;
/// Pages of one question: a size has some dozen rows, and a page a hundred or more.
const PAGES_MAX: u32 = 20;
/// The longest page: a thousand rows of half a kilobyte, several times over.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// One request; who waits for prices is a person.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(20);

/// What an hour of a Linux VM costs, in USD without any discount.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Price {
    /// Regular.
    pub regular: Option<f64>,
    /// Spot, now.
    pub spot: Option<f64>,
}

/// The price list.
#[derive(Debug, Clone)]
pub struct Prices {
    http: Client,
    endpoint: Url,
}

impl Prices {
    /// The list of a cloud; `None` if it has none. Nothing is sent.
    ///
    /// # Errors
    /// [`AzureError::Config`].
    pub fn new(cloud: &Cloud, limits: &Limits) -> Result<Option<Prices>, AzureError> {
        let Some(endpoint) = &cloud.endpoints.prices else { return Ok(None) };
        let routes = Routes::new(&cloud.endpoints)?;
        let http = transport::clients(cloud, &routes, limits)?.azure;
        Ok(Some(Prices { http, endpoint: open("prices", endpoint)? }))
    }

    /// The prices of some sizes in a region, by size as it was asked for. A size without a price is
    /// not in it. Sizes have case here: they must be as Azure spells them.
    ///
    /// # Errors
    /// No answer that can be used.
    pub async fn of(
        &self,
        region: &Region,
        sizes: &[Sku],
    ) -> Result<BTreeMap<Sku, Price>, AzureError> {
        let mut items = Vec::new();
        for some in sizes.chunks(SIZES_PER_CALL) {
            let mut next = Some(self.url(region, some));
            for _ in 0..PAGES_MAX {
                let Some(url) = next else { break };
                let mut page = self.page(&url).await?;
                next = self.next(&page)?;
                if let Some(Value::Array(rows)) = page.get_mut("Items").map(Value::take) {
                    items.extend(rows);
                }
            }
        }
        Ok(sizes.iter().filter_map(|sku| Some((sku.clone(), price_of(&items, sku)?))).collect())
    }

    fn url(&self, region: &Region, sizes: &[Sku]) -> Url {
        let names: Vec<String> = sizes.iter().map(|sku| format!("armSkuName eq '{sku}'")).collect();
        let filter = format!(
            "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and armRegionName eq \
             '{region}' and ({})",
            names.join(" or ")
        );
        let mut url = self.endpoint.clone();
        url.set_path("/api/retail/prices");
        // A space must not become `+`, which not everybody reads as a space.
        url.set_query(Some(&format!("api-version={VERSION}&$filter={filter}")));
        url
    }

    /// The next page, which must be on the same host.
    fn next(&self, page: &Value) -> Result<Option<Url>, AzureError> {
        let Some(link) = text(page, "/NextPageLink") else { return Ok(None) };
        let url = Url::parse(&link).ok().filter(|url| url.origin() == self.endpoint.origin());
        let strange = || unreadable("a next page elsewhere".to_owned());
        url.map(Some).ok_or_else(strange)
    }

    async fn page(&self, url: &Url) -> Result<Value, AzureError> {
        let lost = |error: reqwest::Error| self.no_answer(Arc::new(error.without_url()));
        let sent = self.http.get(url.clone()).timeout(REQUEST_TIME_MAX).send();
        let mut response = sent.await.map_err(lost)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES_MAX {
                return Err(unreadable(format!("it is longer than {BODY_BYTES_MAX} bytes")));
            }
        }
        if status != 200 {
            let words = refusal::one_line(&String::from_utf8_lossy(&body));
            return Err(self.no_answer(error::because(format!("it answers {status}: {words}"))));
        }
        serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))
    }

    fn no_answer(&self, why: Cause) -> AzureError {
        let host = self.endpoint.host_str().unwrap_or_default().to_owned();
        AzureError::Unreachable { doing: "read prices".to_owned(), host, why }
    }
}

fn unreadable(text: String) -> AzureError {
    AzureError::Body { doing: "read prices".to_owned(), text, request_id: None }
}

/// What the rows of the list say of a size: Linux by the hour. Of several rows the latest counts,
/// and of those the dearest. `None`: no row is about it.
pub fn price_of(items: &[Value], sku: &Sku) -> Option<Price> {
    let of = |is_spot: bool| {
        let rows = items.iter().filter_map(meter);
        let rows = rows.filter(|row| row.is_spot == is_spot && row.sku == sku.as_str());
        let latest = rows.max_by(|one, other| {
            one.since.cmp(&other.since).then(one.price.total_cmp(&other.price))
        });
        latest.map(|row| row.price)
    };
    let price = Price { regular: of(false), spot: of(true) };
    (price != Price::default()).then_some(price)
}

/// A row that is about Linux VMs by the hour.
struct Meter {
    sku: String,
    is_spot: bool,
    since: String,
    price: f64,
}

/// `None` for Windows, for the dead "Low Priority", for reservations, and for what is free.
fn meter(item: &Value) -> Option<Meter> {
    let name = text(item, "/skuName")?;
    let product = text(item, "/productName")?;
    let is_hourly = text(item, "/unitOfMeasure").is_some_and(|unit| unit == "1 Hour");
    let is_consumption = text(item, "/type").is_some_and(|kind| kind == "Consumption");
    let is_other = product.contains("Windows") || name.ends_with(" Low Priority");
    let price = item.get("retailPrice").and_then(Value::as_f64).filter(|price| *price > 0.0)?;
    (is_hourly && is_consumption && !is_other).then(|| Meter {
        sku: text(item, "/armSkuName").unwrap_or_default(),
        is_spot: name.ends_with(" Spot"),
        since: text(item, "/effectiveStartDate").unwrap_or_default(),
        price,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, product: &str, price: f64) -> Value {
        json!({"skuName": name, "productName": product, "retailPrice": price, "type": "Consumption",
            "armSkuName": "Standard_D4s_v5", "unitOfMeasure": "1 Hour",
            "effectiveStartDate": "2025-01-01T00:00:00Z"})
    }

    #[test]
    fn the_price_is_that_of_linux_by_the_hour() {
        let linux = "Virtual Machines Dsv5 Series";
        let mut reserved = row("D4s v5", linux, 900.0);
        reserved["type"] = json!("Reservation");
        let mut newer = row("D4s v5", linux, 0.24);
        newer["effectiveStartDate"] = json!("2026-01-01T00:00:00Z");
        let items = [
            row("D4s v5", linux, 0.25),
            newer,
            row("D4s v5 Spot", linux, 0.04),
            row("D4s v5 Low Priority", linux, 0.05),
            row("D4s v5", "Virtual Machines Dsv5 Series Windows", 0.4),
            row("D4s v5 Spot", "Virtual Machines Dsv5 Series Windows", 0.1),
            row("D4s v5", linux, 0.0),
            reserved,
            json!({"skuName": 3}),
        ];
        let sku = Sku::new("Standard_D4s_v5").unwrap();
        let price = price_of(&items, &sku).unwrap();
        assert_eq!(price, Price { regular: Some(0.24), spot: Some(0.04) });
        assert_eq!(price_of(&items, &Sku::new("Standard_D8s_v5").unwrap()), None);
    }
}
