//! Resource Graph: queries over all subscriptions, page by page. Absence from an answer is no
//! proof: rows that the caller may not read are missing, and all are up to a minute old (FACTS §8).

use azslurm_core::vm::{TAG_CLUSTER, TAG_NODE};
use azslurm_core::{ClusterName, NodeName};
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use crate::arm::{Arm, CALL_TIME_MAX, Place, call, unreadable_json};
use crate::bucket::Operation;
use crate::client::Body;
use crate::list::PAGES_MAX;
use crate::row::{self, GraphRow, Page};
use crate::{AzureError, Leftover, Listing, VmRow, read};

/// Makes something of a row, or says what is odd about it.
pub(crate) type Reader<T> = fn(&GraphRow<'_>) -> Result<T, String>;

/// Rows of a Resource Graph page; the most that Azure gives.
const ROWS_PER_PAGE: u32 = 1000;
/// Subscriptions in one query (FACTS §8).
const SUBSCRIPTIONS_PER_QUERY: usize = 300;
/// Nodes named in one query: 500 names of 55 characters stay far below any limit on its length.
const NODES_PER_QUERY: usize = 500;
/// NICs and disks without a VM. Ours are few among them, and inline NICs have no tags to ask for.
const LEFTOVERS: &str = "resources | where (type =~ 'microsoft.network/networkinterfaces' \
     and isempty(properties.virtualMachine.id)) \
     or (type =~ 'microsoft.compute/disks' and isempty(managedBy)) \
     | project id, name, tags, vm=properties.virtualMachine.id, managedBy, \
     state=properties.diskState, created=properties.timeCreated | order by id asc";

impl Arm {
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
                self.rows(&mut listing, some, (query, read::row)).await?;
                if !listing.complete {
                    return Ok(listing.sorted());
                }
            }
        }
        Ok(listing.sorted())
    }

    /// NICs and disks that no VM has, in some subscriptions, whoever made them.
    ///
    /// # Errors
    /// As [`Arm::query_vms`].
    pub async fn query_leftovers(
        &self,
        subscriptions: &[String],
    ) -> Result<Listing<Leftover>, AzureError> {
        let mut listing = Listing::empty();
        for some in subscriptions.chunks(SUBSCRIPTIONS_PER_QUERY) {
            self.rows(&mut listing, some, (LEFTOVERS, read::leftover_row)).await?;
            if !listing.complete {
                break;
            }
        }
        Ok(listing)
    }

    async fn rows<T>(
        &self,
        listing: &mut Listing<T>,
        subscriptions: &[String],
        (query, read): (&str, Reader<T>),
    ) -> Result<(), AzureError> {
        let place =
            Place { subscription: String::new(), resource_group: String::new(), region: None };
        let url = self.inner.routes.graph()?;
        let mut call = call(Operation::Query, &place, url, "query Resource Graph".to_owned());
        let mut paging = Paging::default();
        loop {
            call.body = Some(Body::Written(paging.body(subscriptions, query)));
            call.deadline = Instant::now() + CALL_TIME_MAX;
            let Some(raw) = self.page(&call, listing).await? else { return Ok(()) };
            let mut found = Listing::empty();
            let page = match row::read(&raw.body, &mut |row| found.take_one(read(row))) {
                Ok(page) => page,
                Err(error) if listing.pages == 1 => {
                    return Err(unreadable_json(&call, &raw, &error));
                }
                Err(error) => {
                    listing.end(unreadable_json(&call, &raw, &error).to_string());
                    return Ok(());
                }
            };
            listing.add(found);
            match paging.next(page) {
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
pub(crate) struct Paging {
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
    pub(crate) fn next(&mut self, page: Page) -> Result<bool, String> {
        let rows = page.rows.ok_or("a page without rows")?;
        if let Some(count) = page.count.filter(|count| *count != rows) {
            return Err(format!("a page of {count} rows has {rows}"));
        }
        self.seen += rows;
        if let (Some(before), Some(now)) = (self.total, page.total)
            && now < before
        {
            return Err(format!("{before} rows became {now} while they were read"));
        }
        self.total = page.total.or(self.total);
        let Some(token) = page.token else { return self.finish(page.is_cut) };
        if self.token.as_ref() == Some(&token) {
            return Err("a page that names itself as the next one".to_owned());
        }
        self.token = Some(token);
        Ok(true)
    }

    fn finish(&self, is_cut: bool) -> Result<bool, String> {
        let total = self.total.unwrap_or(self.seen);
        if self.seen < total {
            return Err(format!("{} rows of {total}", self.seen));
        }
        if is_cut {
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
        " | project id, name, location, tags, zones, \
         vmSize=properties.hardwareProfile.vmSize, prov=properties.provisioningState, \
         power=properties.extended.instanceView.powerState.code | order by id asc",
    );
    query
}

/// A KQL string. Names of ours need no escape; this holds if that ever changes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

impl Listing<VmRow> {
    /// By id, each once: a row may come twice when others are made while pages are read.
    fn sorted(mut self) -> Self {
        // Azure has them in this order already, mostly: that costs a comparison each.
        self.items.sort_by(|one, other| one.id.cmp(&other.id));
        self.items.dedup_by(|later, first| later.id == first.id);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(page: &Value) -> Page {
        row::read(page.to_string().as_bytes(), &mut |_| {}).unwrap()
    }

    fn page(page: Value) -> (Paging, Result<bool, String>) {
        let mut paging = Paging::default();
        let next = paging.next(read(&page));
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
        let fewer = read(&json!({"totalRecords": 2, "count": 0, "data": []}));
        assert!(paging.next(fewer).is_err());
    }

    #[test]
    fn a_page_that_leads_to_itself_ends_the_list() {
        let (mut paging, _) = page(json!({"$skipToken": "a", "data": [{}]}));
        assert!(paging.next(read(&json!({"$skipToken": "a", "data": [{}]}))).is_err());
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
