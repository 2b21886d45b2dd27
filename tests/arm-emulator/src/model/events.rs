//! The queue of what is due, in the order of time, then of scheduling.

use std::collections::BTreeMap;

use super::operation::OperationId;
use super::time::Millis;

/// Something that will happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A place is looked for.
    Allocate(OperationId),
    /// The VM runs.
    Run(OperationId),
    /// The operation ends.
    Finish(OperationId),
    /// What was announced happens.
    Begin(String),
    /// What was announced is over.
    End(String),
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct Events {
    due: BTreeMap<(Millis, u64), Event>,
    next: u64,
}

impl Events {
    /// Puts an event into the queue.
    pub fn at(&mut self, when: Millis, event: Event) {
        self.next += 1;
        self.due.insert((when, self.next), event);
    }

    /// Takes the next event that is due by then, with its time.
    pub fn take_due(&mut self, by: Millis) -> Option<(Millis, Event)> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= by)?;
        let ((when, _), event) = entry.remove_entry();
        Some((when, event))
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<Millis> {
        self.due.first_key_value().map(|((when, _), _)| *when)
    }
}
