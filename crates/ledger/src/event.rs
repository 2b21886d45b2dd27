//! Events: the history for people. Only appended to; pruned by age and count. Nothing is ever
//! decided by them.

use std::time::Duration;

use azslurm_core::{JobId, NodeName, SiteName, Timestamp, VmName};
use rusqlite::types::Value;

use crate::reader::{Cells, Query};
use crate::{LedgerError, Reader, Writer};

/// How many events a question answers when it does not say: a screen that a person still scrolls
/// through.
pub const EVENTS_SHOWN_DEFAULT: usize = 1000;

/// At most this many rows are pruned in one transaction (some tens of milliseconds), because all
/// writers wait for it; the next pass goes on.
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
    /// Written after the event of this number ([`Reader::last_event`]).
    pub after: Option<i64>,
    /// The newest so many; [`EVENTS_SHOWN_DEFAULT`] by default.
    pub limit: usize,
}

impl Default for EventFilter {
    fn default() -> Self {
        let (node, vm, job, since, after) = (None, None, None, None, None);
        EventFilter { node, vm, job, since, after, limit: EVENTS_SHOWN_DEFAULT }
    }
}

impl Reader {
    /// The newest events that fit, oldest first.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, LedgerError> {
        let mut conditions = vec!["1"];
        let mut values: Vec<Value> = Vec::new();
        // An event about a VM is about its node too, and those have an index.
        let of_vm = filter.vm.as_ref().and_then(VmName::split).map(|(node, _)| node);
        for node in filter.node.iter().chain(&of_vm) {
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
        if let Some(after) = filter.after {
            conditions.push("id > ?");
            values.push(after.into());
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

impl Reader {
    /// The number of the newest event; 0 where there is none. Numbers only grow.
    pub fn last_event(&self) -> Result<i64, LedgerError> {
        let sql = "SELECT max(id) AS id FROM events HAVING id IS NOT NULL";
        let query = Query { doing: "reading events", table: "events", sql };
        let read = |cells: &mut Cells<'_>| cells.integer("id");
        Ok(self.row(&query, (), read)?.unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use crate::sample::{at, leased, new_attempt, node, write};

    fn texts(ledger: &Ledger, filter: &EventFilter) -> Vec<String> {
        ledger.events(filter).unwrap().into_iter().map(|event| event.text).collect()
    }

    fn numbered(count: i64) -> Ledger {
        let mut ledger = Ledger::in_memory().unwrap();
        write(&mut ledger, |writer| {
            (0..count).try_for_each(|number| {
                writer.event(&Event::new(at(number), "test", number.to_string()))
            })
        });
        ledger
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let mut ledger = Ledger::in_memory().unwrap();
        let event = Event {
            at: at(5),
            kind: "test".into(),
            node: Some(node("n1")),
            vm: Some(new_attempt("n1", 1).vm),
            job: Some(JobId(u32::MAX)),
            site: Some("west".parse().unwrap()),
            request_id: Some("r".into()),
            text: "what happened".into(),
        };
        write(&mut ledger, |writer| writer.event(&event));
        assert_eq!(ledger.events(&EventFilter::default()).unwrap(), [event]);
    }

    #[test]
    fn events_are_asked_by_node_vm_job_and_time() {
        let (mut ledger, lease) = leased();
        write(&mut ledger, |writer| {
            let _ = writer.intend(&lease, &new_attempt("n1", 1), at(1), at(2))?;
            let mut other = Event::new(at(5), "test", "other");
            other.node = Some(node("n2"));
            other.job = Some(JobId(8));
            writer.event(&other)
        });
        let all = EventFilter::default;
        let intent = "to make a spot Standard_D4s_v5 in westeurope zone 2".to_owned();
        let vm = new_attempt("n1", 1).vm;
        let loud = vm.as_str().to_uppercase().parse().unwrap();
        let mine = [
            EventFilter { node: Some(node("n1")), ..all() },
            EventFilter { vm: Some(vm), ..all() },
            EventFilter { vm: Some(loud), ..all() },
            EventFilter { job: Some(JobId(7)), ..all() },
            // The second job that waited for the attempt.
            EventFilter { job: Some(JobId(9)), ..all() },
        ];
        for filter in mine {
            assert_eq!(texts(&ledger, &filter), std::slice::from_ref(&intent), "{filter:?}");
        }
        let others = [
            EventFilter { job: Some(JobId(8)), ..all() },
            EventFilter { since: Some(at(5)), ..all() },
            EventFilter { limit: 1, ..all() },
        ];
        for filter in others {
            assert_eq!(texts(&ledger, &filter), ["other"], "{filter:?}");
        }
        let none = EventFilter { node: Some(node("n1")), job: Some(JobId(8)), ..all() };
        assert_eq!(texts(&ledger, &none), [""; 0]);
    }

    #[test]
    fn the_newest_are_answered_and_the_oldest_is_first() {
        let ledger = numbered(10);
        let filter = EventFilter { limit: 3, ..EventFilter::default() };
        assert_eq!(texts(&ledger, &filter), ["7", "8", "9"]);
    }

    #[test]
    fn what_comes_after_the_last_event_is_asked_for_by_its_number() {
        let mut ledger = numbered(0);
        assert_eq!(ledger.last_event().unwrap(), 0);
        let write_one = |ledger: &mut Ledger, text: &str| {
            write(ledger, |writer| writer.event(&Event::new(at(5), "test", text)));
        };
        write_one(&mut ledger, "before");
        let after = Some(ledger.last_event().unwrap());
        let filter = EventFilter { after, ..EventFilter::default() };
        assert_eq!(texts(&ledger, &filter), [""; 0]);
        // At the same moment, by the clock.
        write_one(&mut ledger, "after");
        assert_eq!(texts(&ledger, &filter), ["after"]);
    }

    #[test]
    fn pruning_is_by_age_and_by_count() {
        let mut ledger = numbered(10);
        let prune = |ledger: &mut Ledger, age, count| {
            write(ledger, |writer| writer.prune_events(at(10), Duration::from_millis(age), count))
        };
        assert_eq!(prune(&mut ledger, 100, 10), 0);
        assert_eq!(prune(&mut ledger, 8, 100), 2);
        assert_eq!(texts(&ledger, &EventFilter::default())[0], "2");
        assert_eq!(prune(&mut ledger, 100, 3), 5);
        assert_eq!(texts(&ledger, &EventFilter::default()), ["7", "8", "9"]);
        assert_eq!(prune(&mut ledger, 100, 0), 3);
    }

    #[test]
    fn one_pruning_is_bounded() {
        let beyond = 7;
        let mut ledger = numbered(i64::from(ROWS_PRUNED_MAX) + beyond);
        let age = Duration::from_secs(0);
        let prune = |ledger: &mut Ledger| {
            write(ledger, |writer| writer.prune_events(at(1_000_000), age, u64::MAX))
        };
        assert_eq!(prune(&mut ledger), ROWS_PRUNED_MAX as usize);
        assert_eq!(prune(&mut ledger), usize::try_from(beyond).unwrap());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut ledger = Ledger::in_memory().unwrap();
        let long = "é".repeat(TEXT_LENGTH_MAX + 5);
        write(&mut ledger, |writer| writer.event(&Event::new(at(1), "test", long)));
        let kept = texts(&ledger, &EventFilter::default()).remove(0);
        assert_eq!(kept, "é".repeat(TEXT_LENGTH_MAX));
    }
}
