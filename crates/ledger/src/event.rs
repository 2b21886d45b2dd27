//! Events: the history for people. Only appended to; pruned by age and count. Nothing is ever decided by them.

use std::time::Duration;

use azslurm_core::{JobId, NodeName, SiteName, Timestamp, VmName};
use rusqlite::types::Value;

use crate::reader::{Cells, Query};
use crate::{LedgerError, Reader, Writer};

/// How many events a question answers when it does not say: a screen that a person still scrolls through.
pub const EVENTS_SHOWN_DEFAULT: usize = 1000;

/// At most this many rows are pruned in one transaction (some tens of milliseconds), because all writers wait
/// for it; the next pass goes on.
pub const ROWS_PRUNED_MAX: u32 = 20_000;

/// Longer texts are cut: Azure repeats whole requests in some messages.
const TEXT_LENGTH_MAX: usize = 2000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What, as one word; for an attempt its state's.
    pub kind: String,
    /// The node that it is about.
    pub node: Option<NodeName>,
    /// The VM that it is about.
    pub vm: Option<VmName>,
    /// The job that it is about; of several that wait for a node, the first.
    pub job: Option<JobId>,
    /// The site where it happened.
    pub site: Option<SiteName>,
    /// `x-ms-request-id`, for Azure's support.
    pub request_id: Option<String>,
    /// What, for people.
    pub text: String,
}

impl Event {
    /// An event about nothing in particular; set the fields that it is about.
    pub fn new(at: Timestamp, kind: &str, text: impl Into<String>) -> Event {
        Event {
            at,
            kind: kind.to_owned(),
            node: None,
            vm: None,
            job: None,
            site: None,
            request_id: None,
            text: text.into(),
        }
    }
}

/// Which events are asked for: those that fit all that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// About this node.
    pub node: Option<NodeName>,
    /// About this VM, without case.
    pub vm: Option<VmName>,
    /// About this job, or about an attempt that this job waited for.
    pub job: Option<JobId>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// The newest so many; [`EVENTS_SHOWN_DEFAULT`] by default.
    pub limit: usize,
}

impl Default for EventFilter {
    fn default() -> Self {
        EventFilter { node: None, vm: None, job: None, since: None, limit: EVENTS_SHOWN_DEFAULT }
    }
}

impl Reader {
    /// The newest events that fit, oldest first.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, LedgerError> {
        let mut conditions = vec!["1"];
        let mut values: Vec<Value> = Vec::new();
        if let Some(node) = &filter.node {
            conditions.push("node = ?");
            values.push(node.to_string().into());
        }
        if let Some(vm) = &filter.vm {
            conditions.push("vm = ?");
            values.push(vm.to_string().into());
        }
        if let Some(job) = filter.job {
            conditions.push(
                "(job = ? OR vm IN (SELECT a.vm FROM attempts AS a, json_each(a.jobs) AS j
                                    WHERE j.value = ?))",
            );
            values.extend([i64::from(job.0).into(), i64::from(job.0).into()]);
        }
        if let Some(since) = filter.since {
            conditions.push("at >= ?");
            values.push(since.as_millis().into());
        }
        values.push(i64::try_from(filter.limit).unwrap_or(i64::MAX).into());
        let sql = format!(
            "SELECT id, at, kind, node, vm, job, site, request_id, text FROM events
             WHERE {} ORDER BY id DESC LIMIT ?",
            conditions.join(" AND ")
        );
        let query = Query { doing: "reading events", table: "events", sql: &sql };
        let mut events = self.rows(&query, rusqlite::params_from_iter(values), read)?;
        events.reverse();
        Ok(events)
    }
}

impl Writer<'_> {
    /// Appends an event. Every change of an attempt's state appends its own: this is for the rest.
    pub fn event(&mut self, event: &Event) -> Result<(), LedgerError> {
        let text: String = event.text.chars().take(TEXT_LENGTH_MAX).collect();
        self.change(
            "writing an event",
            "INSERT INTO events (at, kind, node, vm, job, site, request_id, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                event.at.as_millis(),
                &event.kind,
                event.node.as_ref().map(NodeName::as_str),
                event.vm.as_ref().map(VmName::as_str),
                event.job.map(|job| job.0),
                event.site.as_ref().map(SiteName::as_str),
                &event.request_id,
                text,
            ),
        )?;
        Ok(())
    }

    /// Forgets events older than `age_max`, and the oldest beyond `count_max`. At most twice
    /// [`ROWS_PRUNED_MAX`] per call. How many were forgotten.
    pub fn prune_events(
        &mut self,
        now: Timestamp,
        age_max: Duration,
        count_max: u64,
    ) -> Result<usize, LedgerError> {
        let aged = self.change(
            "pruning events by age",
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ?1 LIMIT ?2)",
            (now.minus(age_max).as_millis(), ROWS_PRUNED_MAX),
        )?;
        let crowded = self.change(
            "pruning events by count",
            "DELETE FROM events WHERE id IN (
                 SELECT id FROM events
                 WHERE id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?1)
                 ORDER BY id LIMIT ?2)",
            (i64::try_from(count_max).unwrap_or(i64::MAX), ROWS_PRUNED_MAX),
        )?;
        Ok(aged + crowded)
    }
}

fn read(cells: &mut Cells<'_>) -> Result<Event, LedgerError> {
    cells.integer("id")?;
    Ok(Event {
        at: cells.time("at")?,
        kind: cells.text("kind")?,
        node: cells.name_or_null("node")?,
        vm: cells.name_or_null("vm")?,
        job: cells.number_or_null("job", |number| u32::try_from(number).ok().map(JobId))?,
        site: cells.name_or_null("site")?,
        request_id: cells.text_or_null("request_id")?,
        text: cells.text("text")?,
    })
}
