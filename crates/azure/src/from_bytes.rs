//! What Azure sent, read as the calls of [`crate::Arm`] read it, out of bytes that somebody else
//! fetched or kept: nothing is sent and nothing is decided here. Each function hands its bytes to
//! the one reader that the calls use, so that what holds here holds for them.
//!
//! Rows are given as a line of text each: who needs their members calls [`crate::Arm`].

use std::time::{Duration, SystemTime};

use azslurm_core::Timestamp;
use azslurm_core::config::Region;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::graph::{self, Paging};
use crate::list::Reader;
use crate::read::Standing;
use crate::row::{self, GraphRow};
use crate::{Listing, RateLimits, Refusal, Scheduled, header, page, read, refusal, scheduled};

/// What comes beside an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beside {
    /// What Azure's support asks for.
    pub request_id: Option<String>,
    /// The operation to follow.
    pub operation: Option<String>,
    /// When to come again.
    pub retry_after: Option<Duration>,
    /// Azure's clock.
    pub date: Option<Timestamp>,
    /// What is left of the rate limits.
    pub limits: RateLimits,
}

/// Which kind of rows a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// VMs of Resource Manager.
    Vms,
    /// VMs of Resource Graph.
    VmRows,
    /// NICs.
    Nics,
    /// Disks.
    Disks,
    /// Availability sets and placement groups.
    Placements,
    /// NICs and disks of Resource Graph.
    Leftovers,
    /// Entries of the activity log.
    Activities,
    /// Quotas.
    Usages,
}

impl Rows {
    /// All kinds.
    pub const ALL: [Rows; 8] = [
        Rows::Vms,
        Rows::VmRows,
        Rows::Nics,
        Rows::Disks,
        Rows::Placements,
        Rows::Leftovers,
        Rows::Activities,
        Rows::Usages,
    ];

    fn reader(self) -> Reader<String> {
        match self {
            Rows::Vms => |row| read::vm(row).map(shown),
            Rows::VmRows => |row| of_graph(row, read::row).map(shown),
            Rows::Nics => |row| read::nic(row).map(shown),
            Rows::Disks => |row| read::disk(row).map(shown),
            Rows::Placements => |row| read::placement(row).map(shown),
            Rows::Leftovers => |row| of_graph(row, read::leftover_row).map(shown),
            Rows::Activities => |row| read::activity(row).map(shown),
            Rows::Usages => |row| read::usage(row).map(shown),
        }
    }
}

fn of_graph<T>(row: &Value, read: graph::Reader<T>) -> Result<T, String> {
    read(&GraphRow::deserialize(row).map_err(|error| error.to_string())?)
}

fn shown<T: std::fmt::Debug>(row: T) -> String {
    format!("{row:?}")
}

/// The headers of an answer. Those that HTTP does not allow are left out, as the transport does.
pub fn beside(headers: &[(&[u8], &[u8])], now: SystemTime) -> Beside {
    let headers = map_of(headers);
    Beside {
        request_id: header::request_id(&headers),
        operation: header::operation(&headers),
        retry_after: header::retry_after(&headers, now),
        date: header::date_of(&headers),
        limits: header::rate_limits(&headers),
    }
}

fn map_of(headers: &[(&[u8], &[u8])]) -> HeaderMap {
    let pairs = headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        // An answer with more headers than the map holds is cut off by the transport.
        if map.try_append(name, value).is_err() {
            break;
        }
    }
    map
}

/// An answer that says no, with what its headers say of when to come again.
pub fn refusal(status: u16, body: &[u8], retry_after: Option<Duration>) -> Refusal {
    refusal::parse(status, body, retry_after)
}

/// One page of a list of Resource Manager or of Resource Graph, whichever member its rows stand in.
///
/// # Errors
/// It is no JSON, or has no rows.
pub fn rows(kind: Rows, body: &[u8]) -> Result<Listing<String>, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let rows = ["value", "data"].iter().find_map(|name| value.get(*name)?.as_array());
    let mut listing = Listing::empty();
    listing.take(rows.ok_or("a page without rows")?, kind.reader());
    Ok(listing)
}

/// One page of a list that is read row by row: the sizes of a region. Readable rows first, then
/// what is wrong with the others.
///
/// # Errors
/// It is no page.
pub fn sizes(body: &[u8], region: &Region) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut good, mut odd) = (Vec::new(), Vec::new());
    page::read(body, &mut |row| match read::size(row, region) {
        Ok(size) => good.extend(size.map(shown)),
        Err(why) => odd.push(why),
    })?;
    Ok((good, odd))
}

/// How many pages of Resource Graph are one whole list; further ones would not be asked for.
///
/// # Errors
/// Why they are not all of it.
pub fn pages_of_graph(bodies: &[&[u8]]) -> Result<usize, String> {
    let mut paging = Paging::default();
    for (index, body) in bodies.iter().enumerate() {
        let page = row::read(body, &mut |_| {})?;
        if !paging.next(page)? {
            return Ok(index + 1);
        }
    }
    Err("the last page names a further one".to_owned())
}

/// How an operation ended: code and text of its failure, both empty where it ended well; `None`: it
/// goes on, or the body does not say.
pub fn operation_end(body: &[u8]) -> Option<(String, String)> {
    match read::standing(&serde_json::from_slice(body).ok()?)? {
        Standing::Running => None,
        Standing::Succeeded => Some((String::new(), String::new())),
        Standing::Failed(code, text) => Some((code, text)),
        Standing::Canceled => Some(("Canceled".to_owned(), String::new())),
    }
}

/// The document of scheduled events of the metadata service.
///
/// # Errors
/// What is wrong with it, when it is no such document at all.
pub fn scheduled_events(body: &str) -> Result<Scheduled, String> {
    scheduled::read(body)
}
