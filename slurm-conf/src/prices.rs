//! What VMs cost: asked of the public price list, for Weight and for people. A price that is not
//! known costs nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_azure::{AzureError, Prices};
use azslurm_core::config::{Config, Region, Sku};
use azslurm_core::size::Sizes;
use tokio::time::timeout;

/// All questions together: whoever renders waits for them, and can do without.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Fills in the prices of sizes, old ones too. A cloud without a price list has no prices.
///
/// # Errors
/// The list cannot be read; what was had before is filled in.
pub async fn fill(config: &Config, sizes: &mut Sizes) -> Result<(), AzureError> {
    let Some(prices) = Prices::new(&config.cloud, &config.limits)? else { return Ok(()) };
    let mut wanted: BTreeMap<Region, Vec<Sku>> = BTreeMap::new();
    for (region, size) in sizes.all_mut() {
        if let (Some(region), Some(sku)) = (Region::new(region), Sku::new(&size.name)) {
            wanted.entry(region).or_default().push(sku);
        }
    }
    let asked = timeout(TIME_MAX, ask(&prices, wanted, sizes)).await;
    asked.unwrap_or_else(|_elapsed| {
        let seconds = TIME_MAX.as_secs();
        Err(AzureError::NoTurn { doing: format!("read prices within {seconds} s") })
    })
}

async fn ask(
    prices: &Prices,
    wanted: BTreeMap<Region, Vec<Sku>>,
    sizes: &mut Sizes,
) -> Result<(), AzureError> {
    for (region, skus) in wanted {
        let found = prices.of(&region, &skus).await?;
        for (_, size) in sizes.all_mut().filter(|(at, _)| *at == region.as_str()) {
            let price = Sku::new(&size.name).and_then(|sku| found.get(&sku).copied());
            if let Some(price) = price {
                (size.price, size.price_spot) = (price.regular, price.spot);
            }
        }
    }
    Ok(())
}
