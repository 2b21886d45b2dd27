//! Injected faults: which call meets which, and how often.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The given answer comes back; nothing happens.
    Answer,
    /// The connection breaks before anything happened.
    DropBefore,
    /// It happens, then the connection breaks.
    DropAfter,
    /// It happens, and the answer never comes: the connection stays open.
    LostAnswer,
    /// It happens and is answered, later.
    Delay,
    /// The operation that the call starts ends with the given error.
    FailOperation,
}

/// A fault as it is set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this verb; any when left out.
    #[serde(default)]
    pub method: Option<String>,
    /// Only paths that contain this, compared without case.
    #[serde(default)]
    pub path_contains: String,
    /// How many calls meet it.
    #[serde(default = "once")]
    pub times: u64,
    /// How many matching calls pass before it.
    #[serde(default)]
    pub skip: u64,
    /// Status of the answer; 500 when left out.
    #[serde(default)]
    pub status: Option<u16>,
    /// Body of the answer, or the error of the operation.
    #[serde(default)]
    pub body: Option<Value>,
    /// Headers of the answer.
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// Time before it begins, in milliseconds of the emulator's clock.
    #[serde(default)]
    pub latency_ms: u64,
    /// What it does. Left out it is a delay when only a latency is given, else an answer.
    #[serde(default)]
    pub kind: Option<FaultKind>,
}

fn once() -> u64 {
    1
}

impl Fault {
    /// What it does.
    pub fn kind(&self) -> FaultKind {
        let only_latency = self.latency_ms > 0 && self.status.is_none() && self.body.is_none();
        let default = if only_latency { FaultKind::Delay } else { FaultKind::Answer };
        self.kind.unwrap_or(default)
    }
}

/// All faults that are set, in the order of setting.
#[derive(Debug, Default)]
pub struct Faults {
    all: Vec<(u64, Fault)>,
    next: u64,
}

impl Faults {
    /// Sets a fault; gives its id.
    pub fn add(&mut self, fault: Fault) -> u64 {
        self.next += 1;
        self.all.push((self.next, fault));
        self.next
    }

    /// Takes one away; says whether it was there.
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.all.len();
        self.all.retain(|(known, _)| *known != id);
        self.all.len() != before
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.all.clear();
    }

    /// All with their ids and what is left of them.
    pub fn list(&self) -> Vec<Value> {
        let shown = self.all.iter().map(|(id, fault)| {
            let mut shown = serde_json::to_value(fault).unwrap_or(Value::Null);
            shown["id"] = Value::from(*id);
            shown
        });
        shown.collect()
    }

    /// The fault that a call meets. One that is used up is forgotten.
    pub fn meet(&mut self, method: &str, path: &str) -> Option<Fault> {
        let path = path.to_ascii_lowercase();
        let matches = |fault: &Fault| {
            fault.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && path.contains(&fault.path_contains.to_ascii_lowercase())
        };
        for at in 0..self.all.len() {
            let fault = &mut self.all[at].1;
            if !matches(fault) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times = fault.times.saturating_sub(1);
            let met = fault.clone();
            if met.times == 0 {
                self.all.remove(at);
            }
            return Some(met);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fault_skips_then_meets_its_times_and_is_gone() {
        let mut faults = Faults::default();
        let fault = json!({"method": "put", "path_contains": "/virtualmachines/", "skip": 1});
        faults.add(serde_json::from_value(fault).unwrap());
        assert!(faults.meet("GET", "/a/virtualMachines/x").is_none());
        assert!(faults.meet("PUT", "/a/virtualMachines/x").is_none());
        assert!(faults.meet("PUT", "/a/virtualMachines/x").is_some());
        assert!(faults.meet("PUT", "/a/virtualMachines/x").is_none());
        assert!(faults.list().is_empty());
    }
}
