//! Azure's error bodies, in all the shapes that they were seen in (FACTS §2, §3.2):
//!
//! ```text
//! {"error":{"code","message","target","details":[{…}],"innererror":{…}}}     Resource Manager
//! {"code","message","details":[…]}                                           compute's 429
//! {"Error":{"Code","Message"}}   {"Code","Message"}                          resource groups
//! {"error":"invalid_client","error_description":"…"}                         the authority
//! a detail whose message is itself JSON text; nothing at all; HTML of a gateway
//! ```
//!
//! The innermost code is the cause: the ones around it are wrappers.

use std::time::Duration;

use azslurm_core::plain::is_plain;
use serde_json::{Map, Value};

use crate::header::RETRY_AFTER_MAX;
use crate::{Refusal, TEXT_LENGTH_MAX};

/// Codes are words; the longest of Azure's that is known has 60 characters.
const CODE_LENGTH_MAX: usize = 120;
/// How deep nested errors are followed: wrappers in wrappers were seen three deep.
const DEPTH_MAX: usize = 8;

/// One error of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Fault {
    code: String,
    text: String,
    target: Option<String>,
}

/// Reads an error answer. It never fails: what cannot be read leaves the code empty and the text as
/// it was.
pub fn parse(status: u16, body: &[u8], retry_after: Option<Duration>) -> Refusal {
    let (outer, inner) = match serde_json::from_slice::<Value>(body) {
        Ok(value) => faults(&value).unwrap_or_else(|| alone(value.to_string())),
        Err(_) => alone(words_of(&String::from_utf8_lossy(body))),
    };
    let text = if inner.text.is_empty() { outer.text } else { inner.text };
    Refusal {
        status,
        outer_code: if outer.code.is_empty() { inner.code.clone() } else { outer.code },
        code: inner.code,
        text: one_line(&text),
        target: inner.target.or(outer.target),
        retry_after: retry_after.or_else(|| (status == 429).then(|| seconds_in(&text)).flatten()),
    }
}

/// The `error` of an operation that ended badly, or any error object, as code and text.
pub fn innermost(error: &Value) -> (String, String) {
    match faults(error) {
        Some((outer, inner)) => {
            let text = if inner.text.is_empty() { outer.text } else { inner.text };
            (inner.code, one_line(&text))
        }
        None => (String::new(), one_line(&error.to_string())),
    }
}

fn alone(text: String) -> (Fault, Fault) {
    (Fault::default(), Fault { text, ..Fault::default() })
}

/// The outermost and the innermost error of a body; `None` if there is neither a code nor a message
/// in it.
fn faults(value: &Value) -> Option<(Fault, Fault)> {
    let object = unwrapped(value)?;
    let outer = fault(object)?;
    let inner = inner_of(object, DEPTH_MAX).unwrap_or_else(|| outer.clone());
    Some((outer, inner))
}

/// The object that holds the code: under `error` in any spelling, or the thing itself.
fn unwrapped(value: &Value) -> Option<&Map<String, Value>> {
    let object = value.as_object()?;
    match member(object, "error") {
        Some(Value::Object(error)) => Some(error),
        Some(_) | None => Some(object),
    }
}

fn fault(object: &Map<String, Value>) -> Option<Fault> {
    let word = |name: &str| member(object, name).and_then(Value::as_str).map(str::trim);
    let code = short(word("code").or_else(|| word("error")).unwrap_or_default());
    let text = word("message").or_else(|| word("error_description")).unwrap_or_default();
    let target = word("target").map(one_line).filter(|target| !target.is_empty());
    if code.is_empty() && text.is_empty() {
        return None;
    }
    Some(Fault { code, text: text.to_owned(), target })
}

/// The innermost error with a code below `object`, `object` itself included.
fn inner_of(object: &Map<String, Value>, depth: usize) -> Option<Fault> {
    let own = fault(object).filter(|fault| !fault.code.is_empty());
    if depth == 0 {
        return own;
    }
    let below = below(object).iter().find_map(|inner| inner_of(unwrapped(inner)?, depth - 1));
    match (below, own) {
        (Some(mut inner), Some(own)) => {
            if inner.text.is_empty() {
                inner.text = own.text;
            }
            Some(inner)
        }
        (inner, own) => inner.or(own),
    }
}

/// Errors nested in one: details first, then JSON in the message, then `innererror`.
fn below(object: &Map<String, Value>) -> Vec<Value> {
    let mut below: Vec<Value> = match member(object, "details") {
        Some(Value::Array(details)) => details.clone(),
        Some(detail @ Value::Object(_)) => vec![detail.clone()],
        Some(_) | None => Vec::new(),
    };
    let message = member(object, "message").and_then(Value::as_str).unwrap_or_default().trim();
    if message.starts_with('{') {
        below.extend(serde_json::from_str(message));
    }
    below.extend(member(object, "innererror").cloned());
    below
}

/// A member by its name in any spelling; the exact one first.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

/// The words of a page that a gateway sent instead of JSON.
fn words_of(page: &str) -> String {
    let mut words = String::new();
    let mut in_tag = false;
    for c in page.chars().take(TEXT_LENGTH_MAX * 4) {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                words.push(' ');
            }
            _ if in_tag => {}
            c => words.push(c),
        }
    }
    words
}

/// A code: it goes into logs, the ledger and reasons, and is compared.
fn short(code: &str) -> String {
    one_line(code).chars().take(CODE_LENGTH_MAX).collect()
}

/// Text from outside as one line for a log: nothing that a terminal obeys, single spaces, cut.
pub fn one_line(text: &str) -> String {
    // Most are names and ids: ten in each answer's headers.
    if text.len() <= TEXT_LENGTH_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.to_owned();
    }
    let line = text.split(|c: char| c.is_whitespace() || !is_plain(c));
    let line: Vec<&str> = line.filter(|word| !word.is_empty()).collect();
    line.join(" ").chars().take(TEXT_LENGTH_MAX).collect()
}

/// "Please try again after '6' seconds." (FACTS §3.1), for a 429 without its header.
fn seconds_in(text: &str) -> Option<Duration> {
    let rest = text.split_once("try again after")?.1;
    let digits: String =
        rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Refusal {
        parse(status, body.as_bytes(), None)
    }

    fn codes(body: &str) -> (String, String) {
        let refusal = read(409, body);
        (refusal.code, refusal.outer_code)
    }

    #[test]
    fn a_plain_error_is_its_own_cause() {
        let refusal = read(
            400,
            r#"{"error":{"code":"InvalidParameter","message":"Bad\n name.",
                "target":"adminUsername"}}"#,
        );
        assert_eq!(refusal.status, 400);
        assert_eq!(refusal.code, "InvalidParameter");
        assert_eq!(refusal.outer_code, "InvalidParameter");
        assert_eq!(refusal.text, "Bad name.");
        assert_eq!(refusal.target.as_deref(), Some("adminUsername"));
    }

    #[test]
    fn the_innermost_detail_is_the_cause() {
        let refusal = read(
            409,
            r#"{"error":{"code":"DeploymentFailed","message":"outer","details":[
                {"code":"ResourceDeploymentFailure","message":"middle","details":[
                    {"code":"SkuNotAvailable","message":"inner"}]},
                {"code":"Other","message":"second"}]}}"#,
        );
        assert_eq!(refusal.code, "SkuNotAvailable");
        assert_eq!(refusal.outer_code, "DeploymentFailed");
        assert_eq!(refusal.text, "inner");
    }

    #[test]
    fn a_message_that_is_json_is_looked_into() {
        let body = r#"{"error":{"code":"ResourceOperationFailure","message":"m","details":[
            {"code":"Conflict","message":
            "{\"error\":{\"code\":\"AllocationFailed\",\"message\":\"no room\"}}"}]}}"#;
        let refusal = read(409, body);
        assert_eq!((refusal.code.as_str(), refusal.text.as_str()), ("AllocationFailed", "no room"));
    }

    #[test]
    fn computes_429_is_read_with_its_bucket() {
        let body = r#"{"code":"OperationNotAllowed","message":"The server rejected the request.",
            "details":[{"code":"TooManyRequests","target":"PutVM3Min","message":
            "{\"operationGroup\":\"PutVM3Min\",\"allowedRequestCount\":697}"}]}"#;
        let refusal = parse(429, body.as_bytes(), Some(Duration::from_secs(1200)));
        assert_eq!(refusal.code, "TooManyRequests");
        assert_eq!(refusal.outer_code, "OperationNotAllowed");
        assert_eq!(refusal.target.as_deref(), Some("PutVM3Min"));
        assert!(refusal.is_throttled());
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(1200)));
    }

    #[test]
    fn capitals_and_bare_codes_are_read() {
        let expected =
            ("ResourceGroupBeingDeleted".to_owned(), "ResourceGroupBeingDeleted".to_owned());
        for body in [
            r#"{"Error":{"Code":"ResourceGroupBeingDeleted","Message":"x"}}"#,
            r#"{"Code":"ResourceGroupBeingDeleted","Message":"x"}"#,
            r#"{"code":"ResourceGroupBeingDeleted","message":"x"}"#,
            r#"{"error":{"CODE":"ResourceGroupBeingDeleted","details":null}}"#,
        ] {
            assert_eq!(codes(body), expected, "{body}");
        }
    }

    #[test]
    fn an_inner_error_counts_only_with_a_code() {
        let of_compute = r#"{"error":{"code":"InternalServerError","message":"m",
            "innererror":{"exceptiontype":"E","errordetail":"d"}}}"#;
        assert_eq!(codes(of_compute).0, "InternalServerError");
        let of_guidelines = r#"{"error":{"code":"BadArgument","message":"m",
            "innererror":{"code":"PasswordError","innererror":{"code":"TooShort"}}}}"#;
        let refusal = read(400, of_guidelines);
        assert_eq!((refusal.code.as_str(), refusal.text.as_str()), ("TooShort", "m"));
    }

    #[test]
    fn a_body_without_an_error_keeps_its_text() {
        for (body, text) in [
            ("", ""),
            ("   ", ""),
            (
                "<html><head><title>502</title></head><body>Bad\u{0} Gateway</body></html>",
                "502 Bad Gateway",
            ),
            ("[]", "[]"),
            ("{\"error\":null}", "{\"error\":null}"),
            ("upstream timed out", "upstream timed out"),
        ] {
            let refusal = read(502, body);
            assert_eq!((refusal.code.as_str(), refusal.text.as_str()), ("", text), "{body:?}");
        }
        let not_utf8 = parse(500, &[0xff, 0xfe, b'x'], None);
        assert_eq!(not_utf8.code, "");
    }

    #[test]
    fn the_authoritys_errors_are_read() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: no",
            "error_codes":[7000215]}"#;
        let refusal = read(401, body);
        assert_eq!(
            (refusal.code.as_str(), refusal.text.as_str()),
            ("invalid_client", "AADSTS7000215: no")
        );
    }

    #[test]
    fn seconds_in_the_text_stand_in_for_a_missing_header() {
        let body = r#"{"error":{"code":"SubscriptionRequestsThrottled","message":
            "Number of requests … exceeded. Please try again after '6' seconds."}}"#;
        assert_eq!(read(429, body).retry_after, Some(Duration::from_secs(6)));
        assert_eq!(read(409, body).retry_after, None);
        // More than any clock can be set to, and longer than anybody means.
        let body = body.replace('6', &u64::MAX.to_string());
        assert_eq!(read(429, &body).retry_after, Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn endless_nesting_ends() {
        let mut body = r#"{"code":"C","message":"m"}"#.to_owned();
        for _ in 0..50 {
            body = format!(r#"{{"code":"W","message":"w","details":[{body}]}}"#);
        }
        assert_eq!(read(500, &body).outer_code, "W");
    }

    #[test]
    fn no_part_of_an_error_holds_what_a_terminal_obeys() {
        let esc = "\\u001b]0;x\\u0007\\u202e\\u009b2J\\n";
        let body = format!(
            r#"{{"error":{{"code":"A{esc}B","message":"m{esc}","target":"t{esc}","details":[
                {{"code":"C{esc}{}","message":"n{esc}","target":"u{esc}"}}]}}}}"#,
            "D".repeat(5000)
        );
        let refusal = read(409, &body);
        for part in
            [&refusal.code, &refusal.outer_code, &refusal.text, &refusal.target.clone().unwrap()]
        {
            assert!(part.chars().all(is_plain), "{part:?}");
        }
        assert_eq!(refusal.code.chars().count(), CODE_LENGTH_MAX);
        assert!(refusal.outer_code.starts_with("A ]0;x 2J B"), "{:?}", refusal.outer_code);
        let (code, text) = innermost(&serde_json::from_str(&body).unwrap());
        assert!(code.chars().chain(text.chars()).all(is_plain), "{code:?} {text:?}");
    }

    #[test]
    fn a_long_text_is_cut() {
        let body = format!(r#"{{"error":{{"code":"X","message":"{}"}}}}"#, "é".repeat(9000));
        assert_eq!(read(500, &body).text.chars().count(), TEXT_LENGTH_MAX);
    }
}
