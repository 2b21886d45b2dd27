//! Rows for Resource Graph, as they were some time ago: the index lies behind by the configured
//! lag (FACTS §8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::Model;
use super::ids::{Key, ResourceId};
use super::message::{Answer, Request, Response};
use super::resources::Vm;
use super::time::Millis;
use crate::graph;

/// The index: rows as they were a lag ago.
#[derive(Clone, Debug, Default)]
pub struct GraphView {
    lag: Millis,
    rows: Vec<Value>,
    slots: BTreeMap<Key, usize>,
    /// With a lag: what will be seen, and when it happened.
    coming: VecDeque<(Millis, Key, Option<Value>)>,
    /// Without a lag: what changed since the last query. Its rows are made when asked for.
    dirty: BTreeSet<Key>,
}

impl GraphView {
    fn set(&mut self, key: Key, row: Option<Value>) {
        match (self.slots.get(&key).copied(), row) {
            (Some(slot), Some(row)) => self.rows[slot] = row,
            (None, Some(row)) => {
                self.slots.insert(key, self.rows.len());
                self.rows.push(row);
            }
            (Some(slot), None) => self.remove(&key, slot),
            (None, None) => {}
        }
    }

    /// The last row takes the place of the one that goes.
    fn remove(&mut self, key: &Key, slot: usize) {
        self.slots.remove(key);
        self.rows.swap_remove(slot);
        let moved = self.rows.get(slot).and_then(|row| row["id"].as_str()).map(Key::of);
        if let Some(moved) = moved {
            self.slots.insert(moved, slot);
        }
    }
}

impl Model {
    /// Sets how far the index lies behind. What it has shown it goes on showing.
    pub(super) fn set_graph_lag(&mut self, lag: Millis) {
        self.catch_up();
        if lag == 0 {
            let coming = std::mem::take(&mut self.graph.coming);
            self.graph.dirty.extend(coming.into_iter().map(|(_, key, _)| key));
        }
        self.graph.lag = lag;
    }

    /// How far the index lies behind.
    pub(super) fn graph_lag(&self) -> Millis {
        self.graph.lag
    }

    /// A resource changed: the index will see it, now or later.
    pub(super) fn changed(&mut self, key: &Key) {
        if self.graph.lag > 0 {
            let row = self.row(key);
            self.graph.coming.push_back((self.now, key.clone(), row));
        } else {
            self.graph.dirty.insert(key.clone());
        }
    }

    fn catch_up(&mut self) {
        for key in std::mem::take(&mut self.graph.dirty) {
            let row = self.row(&key);
            self.graph.set(key, row);
        }
        let until = self.now - self.graph.lag;
        while self.graph.coming.front().is_some_and(|(at, _, _)| *at <= until) {
            let Some((_, key, row)) = self.graph.coming.pop_front() else { break };
            self.graph.set(key, row);
        }
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
        self.catch_up();
        let answer = graph::answer(&request.body, &self.graph.rows);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_go_leave_the_others_in_reach() {
        let mut view = GraphView::default();
        let row = |name: &str, n: u64| Some(json!({"id": name, "n": n}));
        for name in ["A", "B", "C"] {
            view.set(Key::of(name), row(name, 1));
        }
        view.set(Key::of("a"), None);
        view.set(Key::of("c"), row("C", 2));
        view.set(Key::of("b"), None);
        view.set(Key::of("b"), None);
        assert_eq!(view.rows, [json!({"id": "C", "n": 2})]);
    }
}
