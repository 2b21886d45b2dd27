//! Lists: pages of Resource Manager and rows of Resource Graph. A list that could not be read to
//! its end says so: from an incomplete one nobody may conclude that something is absent (FACTS §8).

use std::collections::BTreeSet;

use azslurm_core::vm::{TAG_CLUSTER, TAG_NODE};
use azslurm_core::{ClusterName, NodeName};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::arm::{Arm, CALL_TIME_MAX, Place, call, json};
use crate::bucket::Operation;
use crate::client::{Call, Ended, Raw};
use crate::route::Kind;
use crate::{AzureError, Leftover, Listing, Refusal, Vm, VmRow, header, read};

/// Pages of one list: 50 VMs were seen on a page (FACTS §1.2), so that this is 50,000 VMs.
const PAGES_MAX: u32 = 1000;
/// Rows of a Resource Graph page; the most that Azure gives.
const ROWS_PER_PAGE: u32 = 1000;
/// Subscriptions in one query (FACTS §8).
const SUBSCRIPTIONS_PER_QUERY: usize = 300;
/// Nodes named in one query: 500 names of 55 characters stay far below any limit on its length.
const NODES_PER_QUERY: usize = 500;
/// Odd rows that are described; the others are counted.
const ODD_SHOWN_MAX: usize = 5;

type Reader<T> = fn(&Value) -> Result<T, String>;

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

    /// All availability sets and placement groups of a resource group.
    ///
    /// # Errors
    /// As [`Arm::list_vms`].
    pub async fn list_placements(
        &self,
        subscription: &str,
        resource_group: &str,
    ) -> Result<Listing<Leftover>, AzureError> {
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
        let mut call = call(operation, &place, url, doing);
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
                Ok(Some(url)) if listing.pages < PAGES_MAX => call.url = url,
                Ok(Some(_)) => return Ok(listing.ended(format!("more than {PAGES_MAX} pages"))),
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
    async fn page<T>(
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

    /// The VMs of a cluster (of some of its nodes, if named) by Resource Graph, ordered by id, each
    /// once. Absence is no proof: rows that the caller may not read are missing, and all are up to
    /// a minute old.
    ///
    /// # Errors
    /// The first page could not be had; a later one makes the list incomplete.
    pub async fn query_vms(
        &self,
        subscriptions: &[String],
        cluster: &ClusterName,
        nodes: Option<&[NodeName]>,
    ) -> Result<Listing<VmRow>, AzureError> {
        let mut listing = Listing::empty();
        let queries: Vec<String> = match nodes {
            None => vec![query(cluster, None)],
            Some(nodes) => {
                nodes.chunks(NODES_PER_QUERY).map(|some| query(cluster, Some(some))).collect()
            }
        };
        for some in subscriptions.chunks(SUBSCRIPTIONS_PER_QUERY) {
            for query in &queries {
                self.rows(&mut listing, some, query).await?;
                if !listing.complete {
                    return Ok(listing.sorted());
                }
            }
        }
        Ok(listing.sorted())
    }

    async fn rows(
        &self,
        listing: &mut Listing<VmRow>,
        subscriptions: &[String],
        query: &str,
    ) -> Result<(), AzureError> {
        let place =
            Place { subscription: String::new(), resource_group: String::new(), region: None };
        let url = self.inner.routes.graph()?;
        let mut call =
            call(Operation::Query, &place, url, "query VMs by Resource Graph".to_owned());
        let mut paging = Paging::default();
        loop {
            call.body = Some(paging.body(subscriptions, query));
            call.deadline = Instant::now() + CALL_TIME_MAX;
            let Some(raw) = self.page(&call, listing).await? else { return Ok(()) };
            let page = match json(&call, &raw) {
                Ok(page) => page,
                Err(error) if listing.pages == 1 => return Err(error),
                Err(error) => {
                    listing.end(error.to_string());
                    return Ok(());
                }
            };
            let rows = page.get("data").and_then(Value::as_array).map(Vec::as_slice);
            listing.take(rows.unwrap_or_default(), read::row);
            match paging.next(&page, rows.map(<[Value]>::len)) {
                Ok(true) if listing.pages < PAGES_MAX => {}
                Ok(true) => {
                    listing.end(format!("more than {PAGES_MAX} pages"));
                    return Ok(());
                }
                Ok(false) => return Ok(()),
                Err(why) => {
                    listing.end(why);
                    return Ok(());
                }
            }
        }
    }
}

/// Where a query stands between its pages.
#[derive(Default)]
struct Paging {
    token: Option<String>,
    seen: u64,
    total: Option<u64>,
}

impl Paging {
    fn body(&self, subscriptions: &[String], query: &str) -> Bytes {
        let mut options = json!({"resultFormat": "objectArray", "$top": ROWS_PER_PAGE});
        if let Some(token) = &self.token {
            options["$skipToken"] = json!(token);
        }
        let body = json!({"subscriptions": subscriptions, "query": query, "options": options});
        Bytes::from(body.to_string())
    }

    /// Takes a page; whether another follows. Rows that go while pages are read shift the others,
    /// so that one may be missed: a total that shrinks, or that was not reached, makes the list
    /// incomplete.
    fn next(&mut self, page: &Value, rows: Option<usize>) -> Result<bool, String> {
        let rows = rows.ok_or("a page without rows")? as u64;
        let number = |name: &str| page.get(name).and_then(Value::as_u64);
        if let Some(count) = number("count").filter(|count| *count != rows) {
            return Err(format!("a page of {count} rows has {rows}"));
        }
        self.seen += rows;
        if let (Some(before), Some(now)) = (self.total, number("totalRecords"))
            && now < before
        {
            return Err(format!("{before} rows became {now} while they were read"));
        }
        self.total = number("totalRecords").or(self.total);
        let token =
            page.get("$skipToken").and_then(Value::as_str).filter(|token| !token.is_empty());
        let Some(token) = token else { return self.finish(page) };
        if self.token.as_deref() == Some(token) {
            return Err("a page that names itself as the next one".to_owned());
        }
        self.token = Some(token.to_owned());
        Ok(true)
    }

    fn finish(&self, page: &Value) -> Result<bool, String> {
        let total = self.total.unwrap_or(self.seen);
        if self.seen < total {
            return Err(format!("{} rows of {total}", self.seen));
        }
        // A string in the published examples, a boolean in the schema.
        let truncated = page.get("resultTruncated").map(|value| value.to_string().to_lowercase());
        if truncated.is_some_and(|text| text.contains("true")) {
            return Err("the result was cut and no further page is named".to_owned());
        }
        Ok(false)
    }
}

/// The query: paging works only with `id` projected and a stable order (FACTS §8).
fn query(cluster: &ClusterName, nodes: Option<&[NodeName]>) -> String {
    let mut query = format!(
        "resources | where type =~ 'microsoft.compute/virtualmachines' \
         and tags['{TAG_CLUSTER}'] == {}",
        quoted(cluster.as_str())
    );
    if let Some(nodes) = nodes {
        let names: Vec<String> = nodes.iter().map(|node| quoted(node.as_str())).collect();
        // A tag is dynamic, and `in` compares strings.
        query.push_str(&format!(" and tostring(tags['{TAG_NODE}']) in ({})", names.join(", ")));
    }
    query.push_str(
        " | project id, name, location, resourceGroup, tags, zones, \
         vmSize=properties.hardwareProfile.vmSize, prov=properties.provisioningState, \
         power=properties.extended.instanceView.powerState.code, created=properties.timeCreated \
         | order by id asc",
    );
    query
}

/// A KQL string. Names of ours need no escape; this holds if that ever changes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

impl<T> Listing<T> {
    fn take(&mut self, rows: &[Value], read: Reader<T>) {
        for row in rows {
            match read(row) {
                Ok(item) => self.items.push(item),
                Err(why) => {
                    self.odd += 1;
                    if self.odd_because.len() < ODD_SHOWN_MAX {
                        self.odd_because.push(why);
                    }
                }
            }
        }
    }

    fn end(&mut self, why: String) {
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

impl Listing<VmRow> {
    /// By id, each once: a row may come twice when others are made while pages are read.
    fn sorted(mut self) -> Self {
        self.items.sort_by(|one, other| one.id.cmp(&other.id));
        let mut seen = BTreeSet::new();
        self.items.retain(|row| seen.insert(row.id.clone()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(page: Value) -> (Paging, Result<bool, String>) {
        let mut paging = Paging::default();
        let rows = page["data"].as_array().map(Vec::len);
        let next = paging.next(&page, rows);
        (paging, next)
    }

    #[test]
    fn the_last_page_ends_the_list() {
        let (_, next) =
            page(json!({"totalRecords": 1, "count": 1, "resultTruncated": "false", "data": [{}]}));
        assert_eq!(next, Ok(false));
        let (_, next) = page(json!({"data": []}));
        assert_eq!(next, Ok(false));
    }

    #[test]
    fn a_list_that_is_not_all_is_incomplete() {
        for bad in [
            json!({"totalRecords": 2, "count": 1, "data": [{}]}),
            json!({"count": 2, "data": [{}]}),
            json!({"count": 1, "data": [{}], "resultTruncated": "true"}),
            json!({"count": 1, "data": [{}], "resultTruncated": true}),
            json!({"count": 1}),
        ] {
            assert!(page(bad.clone()).1.is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_that_go_between_pages_make_the_list_incomplete() {
        let (mut paging, next) =
            page(json!({"totalRecords": 3, "count": 2, "$skipToken": "a", "data": [{}, {}]}));
        assert_eq!(next, Ok(true));
        assert!(paging.next(&json!({"totalRecords": 2, "count": 0, "data": []}), Some(0)).is_err());
    }

    #[test]
    fn a_page_that_leads_to_itself_ends_the_list() {
        let (mut paging, _) = page(json!({"$skipToken": "a", "data": [{}]}));
        assert!(paging.next(&json!({"$skipToken": "a", "data": [{}]}), Some(1)).is_err());
    }

    #[test]
    fn a_name_cannot_break_out_of_a_query() {
        assert_eq!(quoted("a' or true or 'b\\"), "'a\\' or true or \\'b\\\\'");
        let nodes = ["n1".parse().unwrap(), "n2".parse().unwrap()];
        let text = query(&"c".parse().unwrap(), Some(&nodes));
        assert!(text.contains("tags['azslurm-cluster'] == 'c' and "));
        assert!(text.contains(" and tostring(tags['azslurm-node']) in ('n1', 'n2') |"));
        assert!(text.ends_with("| order by id asc"));
    }
}
