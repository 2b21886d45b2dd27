//! Lists of Resource Manager, page by page. A list that could not be read to its end says so: from
//! an incomplete one nobody may conclude that something is absent (FACTS §8).

use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::arm::{Arm, CALL_TIME_MAX, Place, call, json};
use crate::bucket::Operation;
use crate::client::{Call, Ended};
use crate::route::Kind;
use crate::wire::Raw;
use crate::{AzureError, Leftover, Listing, Placement, Refusal, Vm, header, read};

/// Pages of one list: 50 VMs were seen on a page (FACTS §1.2), so that this is 50,000 VMs.
pub(crate) const PAGES_MAX: u32 = 1000;
/// Odd rows that are described; the others are counted.
const ODD_SHOWN_MAX: usize = 5;

pub(crate) type Reader<T> = fn(&Value) -> Result<T, String>;

impl Arm {
    /// All VMs of a resource group, ours or not, without power states.
    ///
    /// # Errors
    /// The first page could not be had; a later one makes the list incomplete.
    pub async fn list_vms(
        &self,
        subscription: &str,
        resource_group: &str,
    ) -> Result<Listing<Vm>, AzureError> {
        self.list(Kind::Vm, subscription, resource_group, read::vm).await
    }

    /// The run-time status of all VMs of a subscription, ours or not: id and power state, without
    /// tags and the rest of the model (FACTS §1.2).
    ///
    /// # Errors
    /// As [`Arm::list_vms`].
    pub async fn list_vm_statuses(&self, subscription: &str) -> Result<Listing<Vm>, AzureError> {
        let url = self.inner.routes.vm_statuses(subscription)?;
        let place = Place {
            subscription: subscription.to_owned(),
            resource_group: String::new(),
            region: None,
        };
        let doing = format!("list the status of all VMs of subscription {subscription}");
        self.pages(call(Operation::List, &place, url, doing), (read::vm, PAGES_MAX)).await
    }

    /// All NICs of a resource group.
    ///
    /// # Errors
    /// As [`Arm::list_vms`].
    pub async fn list_nics(
        &self,
        subscription: &str,
        resource_group: &str,
    ) -> Result<Listing<Leftover>, AzureError> {
        self.list(Kind::Nic, subscription, resource_group, read::nic).await
    }

    /// All disks of a resource group.
    ///
    /// # Errors
    /// As [`Arm::list_vms`].
    pub async fn list_disks(
        &self,
        subscription: &str,
        resource_group: &str,
    ) -> Result<Listing<Leftover>, AzureError> {
        self.list(Kind::Disk, subscription, resource_group, read::disk).await
    }

    /// All availability sets and placement groups of a resource group, ours or not.
    ///
    /// # Errors
    /// As [`Arm::list_vms`].
    pub async fn list_placements(
        &self,
        subscription: &str,
        resource_group: &str,
    ) -> Result<Listing<Placement>, AzureError> {
        let of = |kind| self.list(kind, subscription, resource_group, read::placement);
        let mut sets = of(Kind::AvailabilitySet).await?;
        let groups = of(Kind::PlacementGroup).await?;
        sets.items.extend(groups.items);
        sets.complete &= groups.complete;
        sets.incomplete_because = sets.incomplete_because.or(groups.incomplete_because);
        Ok(sets)
    }

    async fn list<T>(
        &self,
        kind: Kind,
        subscription: &str,
        group: &str,
        read: Reader<T>,
    ) -> Result<Listing<T>, AzureError> {
        let url = self.inner.routes.list(kind, subscription, group)?;
        let place = Place {
            subscription: subscription.to_owned(),
            resource_group: group.to_owned(),
            region: None,
        };
        let operation = match kind {
            Kind::Vm | Kind::Disk | Kind::AvailabilitySet | Kind::PlacementGroup => Operation::List,
            Kind::Nic => Operation::ListNetwork,
        };
        let doing = format!("list {kind:?} resources of group {group}");
        self.pages(call(operation, &place, url, doing), (read, PAGES_MAX)).await
    }

    /// The pages of a list, from its first on, and so many at most.
    pub(crate) async fn pages<T>(
        &self,
        mut call: Call,
        (read, pages_max): (Reader<T>, u32),
    ) -> Result<Listing<T>, AzureError> {
        let mut listing = Listing::empty();
        loop {
            let Some(raw) = self.page(&call, &mut listing).await? else { return Ok(listing) };
            let value = match json(&call, &raw) {
                Ok(value) => value,
                Err(error) if listing.pages == 1 => return Err(error),
                Err(error) => return Ok(listing.ended(error.to_string())),
            };
            let Some(rows) = value.get("value").and_then(Value::as_array) else {
                return Ok(listing.ended("a page without a list of values".to_owned()));
            };
            listing.take(rows, read);
            match self.next_page(&value, &call.url) {
                Ok(Some(url)) if listing.pages < pages_max => call.url = url,
                Ok(Some(_)) => return Ok(listing.ended(format!("more than {pages_max} pages"))),
                Ok(None) => return Ok(listing),
                Err(why) => return Ok(listing.ended(why)),
            }
            call.deadline = Instant::now() + CALL_TIME_MAX;
        }
    }

    /// `nextLink` as Azure gave it, if a token may go there and it leads on.
    fn next_page(&self, page: &Value, here: &Url) -> Result<Option<Url>, String> {
        let link = page.get("nextLink").and_then(Value::as_str).unwrap_or_default();
        self.next_url(link, here)
    }

    /// The same of a link that has been read; an empty one is none.
    pub(crate) fn next_url(&self, link: &str, here: &Url) -> Result<Option<Url>, String> {
        if link.is_empty() {
            return Ok(None);
        }
        let url = self.inner.routes.given(link).map_err(|error| error.to_string())?;
        if url == *here {
            return Err("a page that names itself as the next one".to_owned());
        }
        Ok(Some(url))
    }

    /// One page; `None` where the list has ended without it. The first page's failure is the
    /// caller's.
    pub(crate) async fn page<T>(
        &self,
        call: &Call,
        listing: &mut Listing<T>,
    ) -> Result<Option<Raw>, AzureError> {
        let raw = match self.inner.client.send(call).await {
            Ok(Ended::Answer(raw)) if raw.status == 200 => raw,
            Ok(Ended::Answer(raw)) => {
                listing.request_id = header::request_id(&raw.headers);
                listing.refuse(raw.refusal());
                return Ok(None);
            }
            Ok(Ended::Shut(refusal)) => {
                listing.refuse(refusal);
                return Ok(None);
            }
            Err(error) if listing.pages == 0 => return Err(error),
            Err(error) => {
                listing.end(error.to_string());
                return Ok(None);
            }
        };
        listing.pages += 1;
        listing.request_id = header::request_id(&raw.headers);
        Ok(Some(raw))
    }
}

impl<T> Listing<T> {
    pub(crate) fn take(&mut self, rows: &[Value], read: Reader<T>) {
        rows.iter().for_each(|row| self.take_one(read(row)));
    }

    pub(crate) fn take_one(&mut self, row: Result<T, String>) {
        match row {
            Ok(item) => self.items.push(item),
            Err(why) => {
                self.odd += 1;
                if self.odd_because.len() < ODD_SHOWN_MAX {
                    self.odd_because.push(why);
                }
            }
        }
    }

    /// Adds the rows of a page.
    pub(crate) fn add(&mut self, page: Listing<T>) {
        self.items.extend(page.items);
        self.odd += page.odd;
        let room = ODD_SHOWN_MAX.saturating_sub(self.odd_because.len());
        self.odd_because.extend(page.odd_because.into_iter().take(room));
    }

    pub(crate) fn end(&mut self, why: String) {
        self.complete = false;
        self.incomplete_because.get_or_insert(why);
    }

    fn ended(mut self, why: String) -> Self {
        self.end(why);
        self
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.end(format!("Azure answered {} {}: {}", refusal.status, refusal.code, refusal.text));
        self.refusal = Some(refusal);
    }
}
