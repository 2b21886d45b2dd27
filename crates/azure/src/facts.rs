//! What Azure says of sizes and quotas. A list that could not be read to its end is no list: half a
//! list of quotas would look like quotas that do not exist.

use std::collections::BTreeMap;

use azslurm_core::config::{Region, Sku};
use azslurm_core::facts::{SkuFacts, Usage};
use azslurm_core::size::Size;
use serde_json::Value;
use url::Url;

use crate::arm::{Arm, Place, call, unreadable};
use crate::bucket::Operation;
use crate::client::Call;
use crate::wire::Raw;
use crate::{Answer, AzureError, Reply, page, read};

/// Pages of one answer. Both lists were only seen in one page (FACTS §10).
const PAGES_MAX: u32 = 100;
/// The list of sizes comes in one page of more than 20 MB (FACTS §10), and grows with every size
/// that Azure adds; three times as much is still little for a controller.
const SKUS_LENGTH_MAX: usize = 64 * 1024 * 1024;

/// Rows that were read.
struct Rows<T> {
    items: Vec<T>,
    odd: u32,
    odd_because: Option<String>,
}

impl Arm {
    /// The quotas of a subscription in a region and how much of each is in use, in Azure's order.
    /// An odd row costs that row alone, with a line in the log.
    ///
    /// # Errors
    /// It could not be read to its end: nothing is known.
    pub async fn usages(
        &self,
        subscription: &str,
        region: &Region,
    ) -> Result<Reply<Vec<Usage>>, AzureError> {
        let url = self.inner.routes.usages(subscription, region)?;
        let call = list_call((subscription, region), url, format!("read the usages of {region}"));
        self.all_rows(call, |row| read::usage(row).map(Some)).await
    }

    /// The sizes of a region, by Azure's spelling, with what this subscription may have of them.
    /// Sizes that are listed but not offered are in it. Odd rows as in [`Arm::usages`].
    ///
    /// The answer has more than 20 MB: keep what is read, and ask rarely.
    ///
    /// # Errors
    /// It could not be read to its end: nothing is known.
    pub async fn sku_facts(
        &self,
        subscription: &str,
        region: &Region,
    ) -> Result<Reply<BTreeMap<Sku, SkuFacts>>, AzureError> {
        let call = self.sku_call(subscription, region)?;
        let reply = self.all_rows(call, |row| read::sku(row, region)).await?;
        Ok(reply.map(by_name))
    }

    /// The same list with all that is configured by it.
    ///
    /// # Errors
    /// As [`Arm::sku_facts`].
    pub async fn sizes(
        &self,
        subscription: &str,
        region: &Region,
    ) -> Result<Reply<Vec<Size>>, AzureError> {
        let call = self.sku_call(subscription, region)?;
        self.all_rows(call, |row| read::size(row, region)).await
    }

    fn sku_call(&self, subscription: &str, region: &Region) -> Result<Call, AzureError> {
        let url = self.inner.routes.skus(subscription, region)?;
        Ok(Call {
            body_length_max: SKUS_LENGTH_MAX,
            ..list_call((subscription, region), url, format!("read the VM sizes of {region}"))
        })
    }

    /// All rows of all pages; `None` of `read` is a row that is not wanted. The time of the call is
    /// that of all pages.
    pub(crate) async fn all_rows<T>(
        &self,
        mut call: Call,
        read: impl Fn(&Value) -> Result<Option<T>, String>,
    ) -> Result<Reply<Vec<T>>, AzureError> {
        let mut rows = Rows { items: Vec::new(), odd: 0, odd_because: None };
        for _ in 0..PAGES_MAX {
            let reply = self
                .reply(&call, |raw| match raw.status {
                    200 => self.take_page((&call, raw), &mut rows, &read).map(Ok),
                    _ => Ok(Err(raw.refusal())),
                })
                .await?;
            match &reply.answer {
                Answer::Done(Some(url)) => call.url = url.clone(),
                Answer::Done(None) | Answer::Refused(_) => {
                    rows.tell_odd(&call);
                    return Ok(reply.map(|_| rows.items));
                }
            }
        }
        Err(AzureError::Body {
            doing: call.doing,
            text: format!("more than {PAGES_MAX} pages"),
            request_id: None,
        })
    }

    /// Takes the rows of a page; where the next one is.
    fn take_page<T>(
        &self,
        (call, raw): (&Call, &Raw),
        rows: &mut Rows<T>,
        read: &impl Fn(&Value) -> Result<Option<T>, String>,
    ) -> Result<Option<Url>, AzureError> {
        let link = page::read(&raw.body, &mut |row| rows.take(read(row)));
        let next = link.and_then(|link| self.next_url(&link, &call.url));
        next.map_err(|text| unreadable(call, raw, text))
    }
}

impl<T> Rows<T> {
    fn take(&mut self, row: Result<Option<T>, String>) {
        match row {
            Ok(Some(item)) => self.items.push(item),
            Ok(None) => {}
            Err(why) => {
                self.odd += 1;
                self.odd_because.get_or_insert(why);
            }
        }
    }

    fn tell_odd(&self, call: &Call) {
        if let Some(why) = &self.odd_because {
            tracing::warn!(doing = call.doing, odd = self.odd, why, "rows of azure are left out");
        }
    }
}

/// A size that comes twice is offered if it is once.
fn by_name(sizes: Vec<(Sku, SkuFacts)>) -> BTreeMap<Sku, SkuFacts> {
    let mut all: BTreeMap<Sku, SkuFacts> = BTreeMap::new();
    for (sku, facts) in sizes {
        if !all.get(&sku).is_some_and(|known| known.is_offered) {
            all.insert(sku, facts);
        }
    }
    all
}

fn list_call((subscription, region): (&str, &Region), url: Url, doing: String) -> Call {
    let place = Place {
        subscription: subscription.to_owned(),
        resource_group: String::new(),
        region: Some(region.clone()),
    };
    call(Operation::List, &place, url, doing)
}
