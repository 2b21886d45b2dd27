//! Rows for Resource Graph, as they were some time ago: the index lies behind by the configured
//! lag (FACTS §8).

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::Model;
use super::ids::{Key, ResourceId};
use super::message::{Answer, Request, Response};
use super::resources::Vm;
use super::time::Millis;
use crate::graph;

/// The index with its lag. Without a lag rows are made when asked for.
#[derive(Clone, Debug, Default)]
pub struct GraphView {
    lag: Millis,
    seen: BTreeMap<Key, Value>,
    coming: VecDeque<(Millis, Key, Option<Value>)>,
}

impl Model {
    /// Sets how far the index lies behind. What it has shown it goes on showing.
    pub(super) fn set_graph_lag(&mut self, lag: Millis) {
        if self.graph.lag == 0 && lag > 0 {
            self.graph.seen = self.all_rows();
            self.graph.coming.clear();
        }
        self.graph.lag = lag;
    }

    /// How far the index lies behind.
    pub(super) fn graph_lag(&self) -> Millis {
        self.graph.lag
    }

    /// A resource changed: the index will see it later.
    pub(super) fn changed(&mut self, key: &Key) {
        if self.graph.lag > 0 {
            let row = self.row(key);
            self.graph.coming.push_back((self.now, key.clone(), row));
        }
    }

    fn catch_up(&mut self) {
        let until = self.now - self.graph.lag;
        while self.graph.coming.front().is_some_and(|(at, _, _)| *at <= until) {
            let Some((_, key, row)) = self.graph.coming.pop_front() else { break };
            match row {
                Some(row) => self.graph.seen.insert(key, row),
                None => self.graph.seen.remove(&key),
            };
        }
    }

    fn all_rows(&self) -> BTreeMap<Key, Value> {
        let keys = self
            .vms
            .keys()
            .chain(self.nics.keys())
            .chain(self.disks.keys())
            .chain(self.sets.keys())
            .chain(self.placement_groups.keys())
            .chain(self.vnets.keys())
            .chain(self.plain.keys());
        keys.filter_map(|key| self.row(key).map(|row| (key.clone(), row))).collect()
    }

    /// A resource as Resource Graph shows it: type in lower case, group in lower case.
    fn row(&self, key: &Key) -> Option<Value> {
        let id = ResourceId::parse(key.as_str())?;
        let common = self.common(&id)?;
        let mut row = self.body_of(&common.id);
        row["type"] = json!(common.id.kind.full_type().to_ascii_lowercase());
        row["kind"] = json!("");
        row["tenantId"] = json!(self.tenant);
        row["subscriptionId"] = json!(common.id.subscription);
        row["resourceGroup"] = json!(common.id.group.to_ascii_lowercase());
        if row.get("tags").is_none() {
            row["tags"] = json!({});
        }
        if let Some(vm) = self.vms.get(key) {
            row["properties"]["extended"] = extended(vm);
        }
        Some(row)
    }

    /// A query.
    pub(super) fn graph_query(&mut self, request: &Request) -> Answer {
        let wanted: Vec<String> = super::vm_body::texts(request.body.get("subscriptions"))
            .iter()
            .map(|subscription| subscription.to_ascii_lowercase())
            .collect();
        self.catch_up();
        let rows: Vec<Value> = match self.graph.lag {
            0 => self.all_rows().into_values().collect(),
            _ => self.graph.seen.values().cloned().collect(),
        };
        let in_scope = |row: &Value| {
            let of = row["subscriptionId"].as_str().unwrap_or_default().to_ascii_lowercase();
            wanted.is_empty() || wanted.contains(&of)
        };
        let rows: Vec<Value> = rows.into_iter().filter(in_scope).collect();
        let answer = graph::answer(&request.body, &rows);
        let mut response = Response::with_body(answer.status, answer.body);
        // The quota is counted in `throttle`, which puts its own headers on the answer.
        let others = answer.headers.into_iter().filter(|(name, _)| !name.contains("user-quota"));
        response.headers.extend(others.map(|(name, value)| (name.to_owned(), value)));
        Ok(response)
    }
}

/// What Resource Graph knows of a VM beyond its model.
fn extended(vm: &Vm) -> Value {
    let Some(word) = vm.power.word() else { return json!({ "instanceView": {} }) };
    json!({"instanceView": {
        "computerName": vm.asked.computer_name(),
        "powerState": {
            "code": format!("PowerState/{word}"),
            "displayStatus": format!("VM {word}"),
            "level": "Info",
        },
    }})
}
