//! What comes beside an answer: request ids, when to come again, what is left of the rate limits.
//! Names of headers have no case; names of limits change (FACTS §3.2), so any name is taken.

use std::time::{Duration, SystemTime};

use azslurm_core::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::RateLimits;
use crate::refusal::one_line;

const REQUEST_ID: &str = "x-ms-request-id";
const CORRELATION_ID: &str = "x-ms-correlation-request-id";
const LIMIT_PREFIX: &str = "x-ms-ratelimit-remaining-";
const LIMIT_OF_PROVIDERS: &str = "x-ms-ratelimit-remaining-resource";
/// Resource Graph's own (FACTS §8), and the name that we give it among the limits.
const GRAPH_QUOTA_HEADER: &str = "x-ms-user-quota-remaining";
/// What is left of Resource Graph's queries, in [`RateLimits::remaining`].
pub const GRAPH_QUOTA: &str = "user-quota";
const CHARGE: &str = "x-ms-request-charge";
/// Where compute and network give milliseconds instead of `Retry-After`.
const RETRY_AFTER_MILLIS: [&str; 2] = ["x-ms-retry-after-ms", "retry-after-ms"];
/// The longest wait that is believed: Azure says up to 1200 s and more (FACTS §3.2); beyond this it
/// is a mistake.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Request ids are GUIDs; a longer one is cut before it goes into a log or a ledger.
const ID_LENGTH_MAX: usize = 128;

/// `x-ms-request-id`, else the correlation id.
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    id(headers, REQUEST_ID).or_else(|| correlation_id(headers))
}

/// `x-ms-correlation-request-id`.
pub fn correlation_id(headers: &HeaderMap) -> Option<String> {
    id(headers, CORRELATION_ID)
}

fn id(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    let is_usual = text.len() <= ID_LENGTH_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    if is_usual {
        return (!text.is_empty()).then(|| text.to_owned());
    }
    // HTTP allows a tab in a value; a line of a log does not.
    (!text.is_empty()).then(|| one_line(text).chars().take(ID_LENGTH_MAX).collect())
}

/// The operation to follow: `Azure-AsyncOperation` before `Location` (FACTS §2), as it was sent.
pub fn operation(headers: &HeaderMap) -> Option<String> {
    ["azure-asyncoperation", "location"].iter().find_map(|name| {
        let text = headers.get(*name)?.to_str().ok()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    })
}

/// When to come again: `Retry-After` in seconds or as a date of RFC 1123 (counted from the answer's
/// own `Date`, because our clock may be wrong), or Azure's milliseconds.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let wait = standard(headers, now).or_else(|| {
        RETRY_AFTER_MILLIS.iter().find_map(|name| {
            headers.get(*name)?.to_str().ok()?.trim().parse().ok().map(Duration::from_millis)
        })
    })?;
    Some(wait.min(RETRY_AFTER_MAX))
}

fn standard(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        // A number that no duration can hold is a long wait too, and not none at all.
        return Duration::try_from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64())).ok();
    }
    let until = date(text)?;
    let from = date_of(headers).unwrap_or_else(|| timestamp(now));
    Some(until.since(from))
}

/// Azure's clock.
pub fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    date(headers.get(DATE)?.to_str().ok()?.trim())
}

/// Reads a date of RFC 1123.
pub fn date(text: &str) -> Option<Timestamp> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let at = parser.parse_timestamp(text).ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

fn timestamp(now: SystemTime) -> Timestamp {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(0).plus(since)
}

/// What is left of the rate limits, from all headers of that kind, one line or several.
pub fn rate_limits(headers: &HeaderMap) -> RateLimits {
    let mut limits = RateLimits::default();
    // Most headers are of other kinds: their values are not looked at.
    let ours = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-ms-"));
    for (name, value) in ours {
        let value = || value.to_str().unwrap_or_default();
        if name.as_str() == LIMIT_OF_PROVIDERS {
            take_pairs(&mut limits, value());
        } else if let Some(name) = name.as_str().strip_prefix(LIMIT_PREFIX) {
            take(&mut limits, name, value());
        } else if name.as_str() == GRAPH_QUOTA_HEADER {
            take(&mut limits, GRAPH_QUOTA, value());
        } else if name.as_str() == CHARGE {
            limits.charge = value().trim().parse().ok();
        }
    }
    limits
}

fn take_pairs(limits: &mut RateLimits, value: &str) {
    for pair in value.split(',') {
        if let Some((name, left)) = pair.split_once(';') {
            take(limits, name, left);
        }
    }
}

fn take(limits: &mut RateLimits, name: &str, left: &str) {
    if let Ok(left) = left.trim().parse() {
        limits.remaining.insert(one_line(name), left);
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_bytes(name.to_lowercase().as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    /// 2015-10-21T07:28:00Z
    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480)
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let seconds = |pairs: &[(&str, &str)]| retry_after(&headers(pairs), noon());
        assert_eq!(seconds(&[("Retry-After", "35")]), Some(Duration::from_secs(35)));
        assert_eq!(seconds(&[("retry-after", " 0 ")]), Some(Duration::ZERO));
        assert_eq!(
            seconds(&[("Retry-After", "Wed, 21 Oct 2015 07:28:30 GMT")]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            seconds(&[("Retry-After", "Wed, 21 Oct 2015 07:20:00 GMT")]),
            Some(Duration::ZERO)
        );
        assert_eq!(
            seconds(&[
                ("Retry-After", "Wed, 21 Oct 2020 07:28:30 GMT"),
                ("Date", "Wed, 21 Oct 2020 07:28:10 GMT")
            ]),
            Some(Duration::from_secs(20)),
            "the server's clock counts"
        );
        assert_eq!(seconds(&[("x-ms-retry-after-ms", "1500")]), Some(Duration::from_millis(1500)));
        assert_eq!(seconds(&[("Retry-After", "99999999999")]), Some(RETRY_AFTER_MAX));
        assert_eq!(seconds(&[("Retry-After", "1e300")]), Some(RETRY_AFTER_MAX));
        for bad in ["-5", "soon", "", "NaN", "inf"] {
            assert_eq!(seconds(&[("Retry-After", bad)]), None, "{bad:?}");
        }
        assert_eq!(seconds(&[]), None);
    }

    #[test]
    fn limits_are_read_under_any_name() {
        let limits = rate_limits(&headers(&[
            ("x-ms-ratelimit-remaining-subscription-writes", "199"),
            ("x-ms-ratelimit-remaining-subscription-global-writes", "2999"),
            (
                "X-Ms-Ratelimit-Remaining-Resource",
                "Microsoft.Compute/PutVM3Min;297,Microsoft.Compute/PutVM30Min;1497",
            ),
            ("x-ms-ratelimit-remaining-resource", "Microsoft.Compute/DeleteVM;12"),
            ("x-ms-ratelimit-remaining-tenant-resource-requests", "14"),
            ("x-ms-ratelimit-remaining-odd", "many"),
            ("x-ms-request-charge", "2"),
        ]));
        let left: Vec<(&str, i64)> =
            limits.remaining.iter().map(|(name, left)| (name.as_str(), *left)).collect();
        assert_eq!(
            left,
            [
                ("Microsoft.Compute/DeleteVM", 12),
                ("Microsoft.Compute/PutVM30Min", 1497),
                ("Microsoft.Compute/PutVM3Min", 297),
                ("subscription-global-writes", 2999),
                ("subscription-writes", 199),
                ("tenant-resource-requests", 14),
            ]
        );
        assert_eq!(limits.charge, Some(2));
        let graph = rate_limits(&headers(&[("x-ms-user-quota-remaining", "14")]));
        assert_eq!(graph.remaining[GRAPH_QUOTA], 14);
    }

    #[test]
    fn the_asynchronous_operation_comes_before_the_location() {
        let both = headers(&[
            ("Location", "https://m/l?p=1"),
            ("Azure-AsyncOperation", "https://m/o?p=%2f&t=a"),
        ]);
        assert_eq!(operation(&both).as_deref(), Some("https://m/o?p=%2f&t=a"));
        let one = headers(&[("location", "https://m/l?p=1")]);
        assert_eq!(operation(&one).as_deref(), Some("https://m/l?p=1"));
        assert_eq!(operation(&headers(&[])), None);
    }

    #[test]
    fn the_correlation_id_stands_in_for_a_missing_request_id() {
        let headers = headers(&[("x-ms-correlation-request-id", "c")]);
        assert_eq!(request_id(&headers).as_deref(), Some("c"));
        let odd = super::tests::headers(&[("x-ms-request-id", "a\tb")]);
        assert_eq!(request_id(&odd).as_deref(), Some("a b"));
        assert_eq!(request_id(&HeaderMap::new()), None);
    }
}
