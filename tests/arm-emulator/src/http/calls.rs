//! What was called: counts by route, and a log of the newest calls.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::model::time::{self, Millis};

/// Calls kept in the log; counting goes on beyond it.
const LOG_MAX: usize = 200_000;

/// One call, as the log shows it.
#[derive(Clone, Debug)]
pub struct Call {
    /// When, by the emulator's clock.
    pub at: Millis,
    /// Verb.
    pub method: String,
    /// Path as sent.
    pub path: String,
    /// Query as sent.
    pub query: String,
    /// Template of the route.
    pub route: String,
    /// Status; 0 when no answer was sent.
    pub status: u16,
    /// Our id of the call.
    pub request_id: Option<String>,
    /// The caller's id of the call.
    pub client_request_id: Option<String>,
    /// What it changed.
    pub effect: Option<String>,
}

/// Counts and log.
#[derive(Debug, Default)]
pub struct Calls {
    counts: BTreeMap<(String, String, u16), u64>,
    log: VecDeque<Call>,
    /// Number of the first entry that is still in the log.
    first: u64,
}

impl Calls {
    /// Adds a call.
    pub fn add(&mut self, call: Call) {
        let key = (call.method.clone(), call.route.clone(), call.status);
        *self.counts.entry(key).or_insert(0) += 1;
        self.log.push_back(call);
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
            self.first += 1;
        }
    }

    /// Counts from zero again; the log stays.
    pub fn reset(&mut self) {
        self.counts.clear();
    }

    /// Counts by verb, route and status.
    pub fn counts(&self) -> Value {
        let by = self.counts.iter().map(|((method, route, status), count)| {
            json!({"method": method, "route": route, "status": status, "count": count})
        });
        json!({"total": self.counts.values().sum::<u64>(), "by": by.collect::<Vec<Value>>()})
    }

    /// The log from an entry on.
    pub fn log(&self, since: u64) -> Value {
        let skipped = usize::try_from(since.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let entries = self.log.iter().enumerate().skip(skipped).map(|(n, call)| {
            json!({
                "seq": self.first + n as u64,
                "at": time::control(call.at),
                "method": call.method,
                "path": call.path,
                "query": call.query,
                "status": call.status,
                "request_id": call.request_id,
                "client_request_id": call.client_request_id,
                "effect": call.effect,
            })
        });
        let next = self.first + self.log.len() as u64;
        json!({"next": next, "entries": entries.collect::<Vec<Value>>()})
    }
}
