//! The Scheduled Events document of IMDS, in every version of its schema.
//!
//! | version | new |
//! | --- | --- |
//! | 2017-03-01 | the first; names in `Resources` have a `_` in front |
//! | 2017-08-01 | names without it |
//! | 2017-11-01 | `Preempt` |
//! | 2019-01-01 | `Terminate` |
//! | 2019-04-01 | `Description` |
//! | 2019-08-01 | `EventSource` |
//! | 2020-07-01 | `DurationInSeconds` |
//!
//! What is missing is absent, what is new is passed over and reported, and an event that cannot be
//! read costs that event.

use std::collections::BTreeSet;

use azslurm_core::Timestamp;
use azslurm_core::agent::{Event, EventKind};
use serde_json::{Map, Value};

use crate::header::date;
use crate::refusal::one_line;

/// What a document says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduled {
    /// The events, those of other VMs of the set too.
    pub events: Vec<Event>,
    /// What we do not understand of it, each once: members, kinds of events, events without an id.
    pub odd: BTreeSet<String>,
}

const MEMBERS: [&str; 2] = ["DocumentIncarnation", "Events"];
const EVENT_MEMBERS: [&str; 9] = [
    "EventId",
    "EventStatus",
    "EventType",
    "ResourceType",
    "Resources",
    "NotBefore",
    "Description",
    "EventSource",
    "DurationInSeconds",
];
/// A description is for people, in a reason of 200 characters.
const DESCRIPTION_CHARS_MAX: usize = 200;

/// Reads a document.
///
/// # Errors
/// What is wrong with it, when it is no such document at all.
pub fn read(body: &str) -> Result<Scheduled, String> {
    let document: Value =
        serde_json::from_str(body).map_err(|error| format!("it is not JSON: {error}"))?;
    let Some(Value::Array(events)) = document.get("Events") else {
        return Err("it has no list Events".to_owned());
    };
    let mut read = Scheduled::default();
    read.note_unknown(document.as_object(), &MEMBERS, "member");
    for event in events {
        match read.event(event) {
            Some(event) => read.events.push(event),
            None => read.odd.extend(["an event without an EventId and an EventType".to_owned()]),
        }
    }
    Ok(read)
}

impl Scheduled {
    fn note_unknown(&mut self, object: Option<&Map<String, Value>>, known: &[&str], what: &str) {
        let names = object.into_iter().flat_map(Map::keys);
        let new = names.filter(|name| !known.contains(&name.as_str()));
        self.odd.extend(new.map(|name| one_line(&format!("{what} {name}"))));
    }

    fn note(&mut self, what: &str, found: &str) {
        self.odd.insert(one_line(&format!("{what} {found}")));
    }

    fn event(&mut self, value: &Value) -> Option<Event> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("").trim();
        let (id, word) = (text("EventId"), text("EventType"));
        if id.is_empty() || word.is_empty() {
            return None;
        }
        self.note_unknown(value.as_object(), &EVENT_MEMBERS, "member of an event");
        let kind = EventKind::of_word(word);
        if let EventKind::Other(word) = &kind {
            self.note("kind of event", word);
        }
        let status = text("EventStatus");
        if !["", "Scheduled", "Started"].contains(&status) {
            self.note("state of an event", status);
        }
        let not_before = time(text("NotBefore"));
        if not_before.is_none() && !text("NotBefore").is_empty() {
            self.note("time", text("NotBefore"));
        }
        let names = value.get("Resources").and_then(Value::as_array).into_iter().flatten();
        Some(Event {
            id: id.to_owned(),
            kind,
            is_started: status.eq_ignore_ascii_case("Started"),
            resources: names.filter_map(Value::as_str).map(str::to_owned).collect(),
            not_before,
            description: one_line(text("Description"))
                .chars()
                .take(DESCRIPTION_CHARS_MAX)
                .collect(),
        })
    }
}

/// RFC 1123 is what is documented; the first version's examples had RFC 3339.
fn time(text: &str) -> Option<Timestamp> {
    let rfc_3339 = || {
        let at: jiff::Timestamp = text.parse().ok()?;
        Some(Timestamp::from_millis(at.as_millisecond()))
    };
    date(text).or_else(rfc_3339)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2016-09-19T18:29:47Z.
    const AT: Timestamp = Timestamp::from_millis(1_474_309_787_000);

    fn document(event: Value) -> String {
        json!({"DocumentIncarnation": 7, "Events": [event]}).to_string()
    }

    /// As each version writes the same reboot.
    fn of_version(version: &str) -> Value {
        let name = if version < "2017-08-01" { "_FrontEnd_IN_0" } else { "FrontEnd_IN_0" };
        let mut event = json!({
            "EventId": "602d9444-d2cd-49c7-8624-8643e7171297", "EventType": "Reboot",
            "ResourceType": "VirtualMachine", "Resources": [name],
            "EventStatus": "Scheduled", "NotBefore": "Mon, 19 Sep 2016 18:29:47 GMT",
        });
        for (since, member, value) in [
            ("2019-04-01", "Description", json!("Host server is undergoing maintenance.")),
            ("2019-08-01", "EventSource", json!("Platform")),
            ("2020-07-01", "DurationInSeconds", json!(-1)),
        ] {
            if version >= since {
                event[member] = value;
            }
        }
        event
    }

    #[test]
    fn every_version_of_the_schema_says_the_same() {
        for version in [
            "2017-03-01",
            "2017-08-01",
            "2017-11-01",
            "2019-01-01",
            "2019-04-01",
            "2019-08-01",
            "2020-07-01",
        ] {
            let read = read(&document(of_version(version))).unwrap();
            assert_eq!(read.odd, BTreeSet::new(), "{version}");
            let [event] = read.events.as_slice() else { panic!("{version}: {read:?}") };
            assert_eq!((&event.kind, event.not_before), (&EventKind::Reboot, Some(AT)));
            assert!(!event.is_started);
            let own = azslurm_core::agent::own_events(&read.events, "frontend_in_0");
            assert_eq!(own.len(), 1, "{version}");
            assert_eq!(event.description.is_empty(), version < "2019-04-01", "{version}");
        }
    }

    #[test]
    fn times_of_both_kinds_are_read_and_none_is_none() {
        for (text, expected) in [
            ("Mon, 19 Sep 2016 18:29:47 GMT", Some(AT)),
            ("2016-09-19T18:29:47Z", Some(AT)),
            ("", None),
        ] {
            let mut event = of_version("2020-07-01");
            event["NotBefore"] = json!(text);
            event["EventStatus"] = json!("Started");
            let read = read(&document(event)).unwrap();
            assert_eq!((read.events[0].not_before, read.events[0].is_started), (expected, true));
            assert_eq!(read.odd.len(), 0);
        }
    }

    #[test]
    fn what_is_new_is_passed_over_and_reported_once() {
        let mut event = of_version("2020-07-01");
        event["EventType"] = json!("Levitate");
        event["EventStatus"] = json!("Pondered");
        event["Mood"] = json!("good");
        event["NotBefore"] = json!("soon");
        let body = json!({"Events": [event.clone(), event, {"EventType": "Reboot"}, 7], "Tone": 1});
        let read = read(&body.to_string()).unwrap();
        assert_eq!(read.events.len(), 2);
        let odd: Vec<&str> = read.odd.iter().map(String::as_str).collect();
        assert_eq!(
            odd,
            [
                "an event without an EventId and an EventType",
                "kind of event Levitate",
                "member Tone",
                "member of an event Mood",
                "state of an event Pondered",
                "time soon",
            ]
        );
    }

    #[test]
    fn what_goes_into_a_log_or_a_reason_is_one_line() {
        let mut event = of_version("2020-07-01");
        event["Description"] = json!("two\nlines");
        event["Mo\u{0}od"] = json!("good");
        let read = read(&document(event)).unwrap();
        assert_eq!(read.events[0].description, "two lines");
        assert!(read.odd.contains("member of an event Mo od"), "{:?}", read.odd);
    }

    #[test]
    fn garbage_is_no_document() {
        for body in ["", "<html>", "[]", "{}", r#"{"Events": 7}"#, "null"] {
            assert!(read(body).is_err(), "{body}");
        }
        assert_eq!(read(r#"{"DocumentIncarnation": 1, "Events": []}"#).unwrap().events, []);
    }
}
