//! Everything that ever existed, with what happened to it. Tests ask it at their end: is anything
//! left, and was anything made that should not have been? Nothing is ever removed from it.

use serde_json::{Map, Value, json};

use super::ids::ResourceId;
use super::time::{self, Millis};

/// A place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId(usize);

/// One resource's life.
#[derive(Clone, Debug)]
pub struct Record {
    /// Resource id as first given.
    pub id: String,
    /// Full type.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Region.
    pub location: String,
    /// Tags as last known.
    pub tags: Map<String, Value>,
    /// When it was made.
    pub created: Millis,
    /// When it was gone, if it is.
    pub deleted: Option<Millis>,
    /// Provisioning state as last known.
    pub provisioning: String,
    /// Power state of a VM as last known.
    pub power: Option<String>,
    /// There from the beginning, by configuration.
    pub is_seeded: bool,
    /// What happened, in order.
    pub events: Vec<(Millis, String)>,
}

/// The lives of all resources, in order of their making.
#[derive(Clone, Debug, Default)]
pub struct History {
    records: Vec<Record>,
}

impl History {
    /// Begins a life.
    pub fn begin(&mut self, id: &ResourceId, location: &str, now: Millis) -> RecordId {
        self.begin_raw((&id.to_string(), &id.kind.full_type(), &id.name), location, now)
    }

    /// Begins a life by id, type and name.
    pub fn begin_raw(
        &mut self,
        (id, kind, name): (&str, &str, &str),
        location: &str,
        now: Millis,
    ) -> RecordId {
        self.records.push(Record {
            id: id.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            location: location.to_owned(),
            tags: Map::new(),
            created: now,
            deleted: None,
            provisioning: "Succeeded".to_owned(),
            power: None,
            is_seeded: false,
            events: vec![(now, "created".to_owned())],
        });
        RecordId(self.records.len() - 1)
    }

    /// Marks everything so far as there from the beginning.
    pub fn mark_seeded(&mut self) {
        self.records.iter_mut().for_each(|record| record.is_seeded = true);
    }

    /// The record to change.
    pub fn of(&mut self, record: RecordId) -> &mut Record {
        &mut self.records[record.0]
    }

    /// Notes an event.
    pub fn note(&mut self, record: RecordId, now: Millis, event: impl Into<String>) {
        self.of(record).events.push((now, event.into()));
    }

    /// Ends a life.
    pub fn end(&mut self, record: RecordId, now: Millis, event: &str) {
        let record = self.of(record);
        record.deleted = Some(now);
        record.events.push((now, event.to_owned()));
    }

    /// Names of what is alive of a kind and was not there from the beginning.
    pub fn alive(&self, kind: &str) -> impl Iterator<Item = &str> {
        let is_it = move |record: &&Record| {
            record.deleted.is_none() && !record.is_seeded && record.kind.eq_ignore_ascii_case(kind)
        };
        self.records.iter().filter(is_it).map(|record| record.name.as_str())
    }

    /// All records, or those alive or gone.
    pub fn to_json(&self, alive: Option<bool>) -> Value {
        let wanted = self
            .records
            .iter()
            .filter(|record| alive.is_none_or(|alive| alive == record.deleted.is_none()));
        Value::Array(wanted.map(Record::to_json).collect())
    }
}

impl Record {
    fn to_json(&self) -> Value {
        let events = self.events.iter();
        json!({
            "id": self.id,
            "type": self.kind,
            "name": self.name,
            "location": self.location,
            "tags": self.tags,
            "created_at": time::control(self.created),
            "deleted_at": self.deleted.map(time::control),
            "provisioning_state": self.provisioning,
            "power_state": self.power,
            "seeded": self.is_seeded,
            "history": events
                .map(|(at, event)| json!({"at": time::control(*at), "event": event}))
                .collect::<Vec<Value>>(),
        })
    }
}
