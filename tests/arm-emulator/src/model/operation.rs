//! Long-running operations: what was started, until when it runs, how it ended, and what polling
//! it answers (FACTS §2). Must never: change a resource.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ids::Key;
use super::message::{ArmError, Request, Response};
use super::time::{self, MINUTE, Millis};

/// Finished operations can be read this long (FACTS §2: about 24 h).
const KEPT: Millis = 24 * 60 * MINUTE;

/// An operation, inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(u64);

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// A VM is made, or made again after a failure.
    Create,
    /// A VM's model changes.
    Update,
    /// A deallocated or stopped VM starts.
    Start,
    /// A running VM starts again.
    Restart,
    /// A VM stops and keeps its place.
    PowerOff,
    /// A VM stops and gives its place back.
    Deallocate,
    /// A VM goes.
    Delete,
    /// Azure takes a Spot VM.
    Evict,
    /// A VM is gone without anybody asking (test control).
    Vanish,
    /// A resource group and everything in it goes.
    DeleteGroup,
    /// A NIC, a disk or another simple resource goes.
    DeletePlain,
    /// Something that was finished at once, though answered like an operation.
    Nothing,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Still going.
    Running,
    /// Done.
    Succeeded,
    /// Ended with an error.
    Failed(Box<ArmError>),
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Name in URLs.
    pub name: String,
    /// Text that must come back with each poll.
    pub opaque: String,
    /// What it does.
    pub doing: Doing,
    /// To what.
    pub target: Key,
    /// Region, as in the URL.
    pub location: String,
    /// Subscription, as in the URL.
    pub subscription: String,
    /// When it started.
    pub started: Millis,
    /// When it ends, if nothing holds it up.
    pub due: Option<Millis>,
    /// When it ended.
    pub ended: Option<Millis>,
    /// How far it is.
    pub progress: Progress,
    /// Injected end.
    pub must_fail: Option<ArmError>,
    /// Polls so far.
    pub polls: u32,
}

/// What an operation starts with.
pub struct Start {
    /// What it does.
    pub doing: Doing,
    /// To what.
    pub target: Key,
    /// Region.
    pub location: String,
    /// Subscription.
    pub subscription: String,
    /// Injected end.
    pub must_fail: Option<ArmError>,
}

/// All operations.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    all: BTreeMap<OperationId, Operation>,
    by_name: BTreeMap<String, OperationId>,
    ended: BTreeSet<(Millis, OperationId)>,
    next: u64,
}

impl Operations {
    /// Starts one.
    pub fn start(&mut self, start: Start, names: (String, String), now: Millis) -> OperationId {
        self.forget_old(now);
        self.next += 1;
        let id = OperationId(self.next);
        let (name, opaque) = names;
        self.by_name.insert(name.clone(), id);
        let operation = Operation {
            name,
            opaque,
            doing: start.doing,
            target: start.target,
            location: start.location,
            subscription: start.subscription,
            started: now,
            due: None,
            ended: None,
            progress: Progress::Running,
            must_fail: start.must_fail,
            polls: 0,
        };
        self.all.insert(id, operation);
        id
    }

    /// One that is still running.
    pub fn running(&self, id: OperationId) -> Option<&Operation> {
        self.all.get(&id).filter(|operation| operation.progress == Progress::Running)
    }

    /// By inner id.
    pub fn get(&self, id: OperationId) -> Option<&Operation> {
        self.all.get(&id)
    }

    /// By the name in the URL.
    pub fn by_name(&mut self, name: &str) -> Option<&mut Operation> {
        let id = self.by_name.get(&name.to_ascii_lowercase())?;
        self.all.get_mut(id)
    }

    /// What the operation with this name works on.
    pub fn target(&self, name: &str) -> Option<&Key> {
        let id = self.by_name.get(&name.to_ascii_lowercase())?;
        self.all.get(id).map(|operation| &operation.target)
    }

    /// Says when one ends.
    pub fn set_due(&mut self, id: OperationId, due: Millis) {
        if let Some(operation) = self.all.get_mut(&id) {
            operation.due = Some(due);
        }
    }

    /// Ends one, once.
    pub fn end(&mut self, id: OperationId, progress: Progress, now: Millis) {
        let Some(operation) = self.all.get_mut(&id) else { return };
        if operation.progress == Progress::Running {
            operation.progress = progress;
            operation.ended = Some(now);
            self.ended.insert((now, id));
        }
    }

    fn forget_old(&mut self, now: Millis) {
        while let Some((at, id)) = self.ended.first().copied().filter(|(at, _)| at + KEPT < now) {
            self.ended.remove(&(at, id));
            if let Some(operation) = self.all.remove(&id) {
                self.by_name.remove(&operation.name);
            }
        }
    }
}

impl Operation {
    /// URL of this operation for `Azure-AsyncOperation`.
    pub fn url(&self, request: &Request) -> String {
        let version = request.query("api-version").unwrap_or("2024-11-01");
        let is_network = self.target.as_str().contains("/microsoft.network/");
        let provider = if is_network { "Microsoft.Network" } else { "Microsoft.Compute" };
        format!(
            "{}/subscriptions/{}/providers/{provider}/locations/{}/operations/{}\
             ?p={}&api-version={version}",
            request.base_url, self.subscription, self.location, self.name, self.opaque
        )
    }

    /// URL for `Location`.
    pub fn monitor_url(&self, request: &Request) -> String {
        self.url(request).replacen("?p=", "?monitor=true&p=", 1)
    }

    /// The document behind `Azure-AsyncOperation`. A failed operation is HTTP 200 as well.
    pub fn status_document(&self) -> Value {
        let mut document = json!({
            "startTime": time::azure(self.started),
            "status": match self.progress {
                Progress::Running => "InProgress",
                Progress::Succeeded => "Succeeded",
                Progress::Failed(_) => "Failed",
            },
            "name": self.name,
        });
        if let Some(ended) = self.ended {
            document["endTime"] = json!(time::azure(ended));
        }
        if let Progress::Failed(error) = &self.progress {
            document["error"] = error.to_json();
        }
        document
    }

    /// The answer to a poll of `Location`: 202 while it runs, then the end as an HTTP status.
    pub fn monitor_answer(&self) -> Response {
        match &self.progress {
            Progress::Running => Response::empty(202),
            Progress::Succeeded => match self.doing {
                Doing::Delete | Doing::DeletePlain | Doing::DeleteGroup => Response::empty(204),
                Doing::Create
                | Doing::Update
                | Doing::Start
                | Doing::Restart
                | Doing::PowerOff
                | Doing::Deallocate
                | Doing::Evict
                | Doing::Vanish
                | Doing::Nothing => Response::empty(200),
            },
            Progress::Failed(error) => error.to_response(),
        }
    }
}
