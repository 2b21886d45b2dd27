//! What Azure and what stands before it (gateways, proxies) answers. Strange rows cost themselves,
//! texts are cut and one line, no wait is longer than a day, and no number makes a clock run over.

use std::time::{Duration, Instant, SystemTime};

use azslurm_azure::from_bytes::{self, Rows};
use azslurm_azure::{Refusal, TEXT_LENGTH_MAX};
use azslurm_core::Timestamp;
use azslurm_core::config::Region;
use azslurm_core::failure::{Moment, understand};
use serde_json::{Value, json};

/// Words of errors.
pub const REFUSAL_WORDS: &[&str] = &[
    "{\"error\":{",
    "\"code\":",
    "\"message\":",
    "\"details\":[",
    "\"innererror\":",
    "\"status\":\"Failed\"",
    "\"properties\":{\"provisioningState\":",
    "\"OperationNotAllowed\"",
    "\"SkuNotAvailable\"",
    "exceeding approved standardDSv3Family Cores quota",
    "Current Limit: 10, Current Usage: 18446744073709551616",
    "try again after '18446744073709551615' seconds",
    "try again after '6' seconds",
    "ProvisioningState/failed/",
    "<html>",
    "{\\\"error\\\":",
    "[[[[[[[[",
    "\\ud800",
];
/// Words of headers.
pub const HEADER_WORDS: &[&str] = &[
    "Retry-After: ",
    "Date: ",
    "x-ms-retry-after-ms: ",
    "x-ms-ratelimit-remaining-resource: ",
    "x-ms-ratelimit-remaining-subscription-writes: ",
    "Microsoft.Compute/PutVM3Min;297,",
    "x-ms-request-id: ",
    "azure-asyncoperation: ",
    "location: ",
    "x-ms-request-charge: ",
    "Wed, 21 Oct 2015 07:28:30 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "18446744073709551615",
    "1e308",
    "-1",
    "NaN",
    "\n",
];
/// Words of rows.
pub const ROW_WORDS: &[&str] = &[
    "{\"value\":[",
    "{\"data\":[",
    "\"id\":\"/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/n1\"",
    "\"tags\":{\"azslurm-cluster\":\"c\",\"azslurm-node\":\"n1\"}",
    "\"properties\":{",
    "\"instanceView\":{\"statuses\":[{\"code\":\"PowerState/running\"}]}",
    "\"timeCreated\":\"9999-12-31T23:59:59.9999999Z\"",
    "\"-009999-01-02T01:59:59Z\"",
    "\"zones\":[\"1\"]",
    "\"resourceType\":\"virtualMachines\"",
    "\"capabilities\":[{\"name\":\"MemoryGB\",\"value\":\"1e308\"}]",
    "\"name\":{\"value\":\"cores\"}",
    "\"currentValue\":18446744073709551615",
    "\"limit\":-1",
    "null",
    "},{",
    "[[[[[[[[",
];
/// Words of Resource Graph's pages.
pub const GRAPH_WORDS: &[&str] = &[
    "{\"totalRecords\":",
    "\"count\":",
    "\"$skipToken\":\"a\"",
    "\"$skipToken\":\"b\"",
    "\"resultTruncated\":\"true\"",
    "\"data\":[{},{}]",
    "18446744073709551615",
    "\n",
];
/// Words of scheduled events.
pub const SCHEDULED_WORDS: &[&str] = &[
    "{\"Events\":[",
    "\"EventId\":\"a\"",
    "\"EventType\":\"Preempt\"",
    "\"EventStatus\":\"Scheduled\"",
    "\"NotBefore\":\"Mon, 19 Sep 2016 18:29:47 GMT\"",
    "\"Resources\":[\"_vm_0\"]",
    "\"Description\":",
    "},{",
    "\\u0000",
];

/// The longest wait that is believed.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Whatever is kept of Azure's words.
const BODY_SHOWN_MAX: usize = TEXT_LENGTH_MAX;
/// A row of each kind that is in order.
const GOOD_ID: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/good-1";
/// The answers' own statuses.
const STATUSES: [u16; 8] = [400, 401, 404, 409, 412, 429, 500, 503];

/// An error's body, under each status.
pub fn refusal(bytes: &[u8]) {
    for status in STATUSES {
        let refusal = from_bytes::refusal(status, bytes, None);
        is_fit_to_keep(&refusal);
        let says = refusal.says(Some("id".to_owned()));
        is_a_line(&says.text);
        for moment in [Moment::Put(status), Moment::Operation, Moment::Poll(status)] {
            let failure = understand(moment, &says);
            assert!(failure.hold <= Duration::from_secs(30 * 24 * 3600), "{failure:?}");
        }
    }
    let wait = Duration::from_secs(35);
    assert_eq!(from_bytes::refusal(429, bytes, Some(wait)).retry_after, Some(wait));
}

fn is_fit_to_keep(refusal: &Refusal) {
    is_a_line(&refusal.text);
    if let Some(wait) = refusal.retry_after {
        is_a_wait(wait);
    }
    for word in [Some(&refusal.code), Some(&refusal.outer_code), refusal.target.as_ref()] {
        is_a_line(word.map_or("", String::as_str));
    }
}

fn is_a_line(text: &str) {
    assert!(text.chars().count() <= BODY_SHOWN_MAX, "{} characters are kept", text.len());
    assert!(!text.contains(char::is_control), "{text:?} goes into a log line");
}

fn is_a_wait(wait: Duration) {
    assert!(wait <= WAIT_MAX, "a wait of {wait:?}");
    assert!(Instant::now().checked_add(wait).is_some());
}

/// `Name: value` lines, as one answer's headers.
pub fn headers(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n');
    let pairs: Vec<(&[u8], &[u8])> = lines.filter_map(header).collect();
    for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)]
    {
        let beside = from_bytes::beside(&pairs, now);
        if let Some(wait) = beside.retry_after {
            is_a_wait(wait);
        }
        is_a_line(beside.request_id.as_deref().unwrap_or_default());
        assert!(beside.limits.remaining.len() <= bytes.len());
        for name in beside.limits.remaining.keys() {
            assert!(!name.contains(char::is_control), "{name:?} is the name of a bucket");
        }
        if let Some(date) = beside.date {
            assert!(!date.to_string().is_empty());
        }
    }
}

fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// A page of rows of every kind; one more row that is in order is read whatever stands before it.
pub fn rows(bytes: &[u8]) {
    let region = Region::new("westeurope").expect("a region");
    if let Ok((good, odd)) = from_bytes::sizes(bytes, &region) {
        assert!(good.len() + odd.len() <= bytes.len());
        odd.iter().for_each(|why| is_a_reason(why));
    }
    let Ok(page) = serde_json::from_slice::<Value>(bytes) else { return };
    for kind in Rows::ALL {
        let Ok(alone) = from_bytes::rows(kind, bytes) else { continue };
        alone.odd_because.iter().for_each(|why| is_a_reason(why));
        let name = if page["value"].is_array() { "value" } else { "data" };
        let mut with = page.clone();
        let row = json!({
            "id": GOOD_ID, "resourceId": GOOD_ID, "eventTimestamp": "2026-11-21T01:53:05Z",
            "name": {"value": "cores"}, "currentValue": 1, "limit": 2,
        });
        with[name].as_array_mut().expect("rows were read").push(row);
        let with = from_bytes::rows(kind, with.to_string().as_bytes()).expect("rows were read");
        assert_eq!(with.items.len(), alone.items.len() + 1, "{kind:?}: a good row is hidden");
        assert_eq!(with.odd, alone.odd, "{kind:?}");
    }
}

/// Why a row is odd goes into a log.
fn is_a_reason(why: &str) {
    assert!(why.chars().count() <= 2 * BODY_SHOWN_MAX, "{} characters", why.len());
    assert!(!why.contains(char::is_control), "{why:?}");
}

/// Pages of Resource Graph, a line each.
pub fn graph(bytes: &[u8]) {
    let pages: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if let Ok(count) = from_bytes::pages_of_graph(&pages) {
        assert!((1..=pages.len()).contains(&count));
    }
}

/// The body of an operation that is followed.
pub fn operation(bytes: &[u8]) {
    if let Some((code, text)) = from_bytes::operation_end(bytes) {
        is_a_line(&text);
        is_a_line(&code);
    }
}

/// The document of scheduled events.
pub fn scheduled(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(read) = from_bytes::scheduled_events(&text) else { return };
    for event in &read.events {
        assert!(!event.id.is_empty());
        is_a_line(&event.description);
        let at = event.not_before.unwrap_or(Timestamp::from_millis(0));
        assert!(!at.to_string().is_empty());
    }
    read.odd.iter().for_each(|odd| is_a_line(odd));
}
