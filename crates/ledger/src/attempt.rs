//! Attempts as rows: reading them, and the three statements that write them. Which change makes sense when is
//! not here ([`crate::record`] asks core).

use std::collections::BTreeSet;

use azslurm_core::attempt::{
    Attempt, AttemptPlace, AttemptState, AzureSays, EndReason, NewAttempt,
};
use azslurm_core::config::{Region, Sku, Zone};
use azslurm_core::{AttemptId, JobId, NodeName, SiteName, Timestamp, VmName};

use crate::event::ROWS_PRUNED_MAX;
use crate::lease::read_lease;
use crate::reader::{Cells, Query};
use crate::{Holder, Lease, LedgerError, Reader, Writer};

/// A SELECT of whole attempts from `attempts AS a`, after other columns if there are some.
macro_rules! select {
    ($before:literal, $from:literal) => {
        concat!(
            "SELECT ",
            $before,
            " a.vm, a.node, a.attempt, a.nodeset, a.site, a.subscription, a.resource_group,
              a.region, a.zone, a.sku, a.is_spot, a.body_hash, a.jobs, a.state, a.why,
              a.says_code, a.says_text, a.says_request_id, a.operation, a.request_id,
              a.generation, a.intended_at, a.settles_at, a.accepted_at, a.running_at,
              a.delete_intended_at, a.ended_at, a.changed_at ",
            $from
        )
    };
}

impl Reader {
    /// One attempt, by the name of its VM without case.
    pub fn attempt(&self, vm: &VmName) -> Result<Option<Attempt>, LedgerError> {
        let query = Query {
            doing: "reading an attempt",
            table: "attempts",
            sql: select!("", "FROM attempts AS a WHERE a.vm = ?1"),
        };
        self.row(&query, (vm.as_str(),), read)
    }

    /// The attempts of some nodes, by node and attempt: all that are not ended, and of the ended ones each
    /// node's newest, so that the last of a node's attempts is always the highest that is known. Nodes may be
    /// named twice; those without attempts are not in the answer.
    pub fn attempts_of(&self, nodes: &[NodeName]) -> Result<Vec<Attempt>, LedgerError> {
        let names: BTreeSet<&str> = nodes.iter().map(NodeName::as_str).collect();
        let names = serde_json::to_string(&names).expect("strings are JSON");
        let query = Query {
            doing: "reading the attempts of nodes",
            table: "attempts",
            sql: select!(
                "",
                "FROM json_each(?1) AS n CROSS JOIN attempts AS a ON a.node = n.value
                 WHERE a.ended_at IS NULL
                    OR a.attempt = (SELECT max(b.attempt) FROM attempts AS b
                                    WHERE b.node = a.node AND b.ended_at IS NOT NULL)
                 ORDER BY a.node, a.attempt"
            ),
        };
        self.rows(&query, (names,), read)
    }

    /// All attempts that are not ended, by node and attempt.
    pub fn attempts_unfinished(&self) -> Result<Vec<Attempt>, LedgerError> {
        let query = Query {
            doing: "reading unfinished attempts",
            table: "attempts",
            sql: select!(
                "",
                "FROM attempts AS a WHERE a.ended_at IS NULL ORDER BY a.node, a.attempt"
            ),
        };
        self.rows(&query, (), read)
    }

    /// The attempts that are not ended of the nodes that a run has leased, each with its lease: what a driver
    /// has to do. A lease that has expired meanwhile is among them; renew it first.
    pub fn attempts_of_holder(
        &self,
        holder: &Holder,
    ) -> Result<Vec<(Lease, Attempt)>, LedgerError> {
        let query = Query {
            doing: "reading the attempts of a holder",
            table: "attempts",
            sql: select!(
                "l.node, l.holder, l.generation, l.until, ",
                "FROM leases AS l JOIN attempts AS a ON a.node = l.node
                 WHERE l.holder = ?1 AND a.ended_at IS NULL ORDER BY a.node, a.attempt"
            ),
        };
        self.rows(&query, (holder.as_str(),), |cells| Ok((read_lease(cells)?, read(cells)?)))
    }

    /// The newest attempt of each node that ever had one, by node.
    pub fn attempts_latest(&self) -> Result<Vec<Attempt>, LedgerError> {
        let query = Query {
            doing: "reading the latest attempts",
            table: "attempts",
            sql: select!(
                "",
                "FROM (SELECT node, max(attempt) AS attempt FROM attempts GROUP BY node) AS m
                 JOIN attempts AS a ON a.node = m.node AND a.attempt = m.attempt
                 ORDER BY a.node"
            ),
        };
        self.rows(&query, (), read)
    }

    /// The newest attempt of a node: its number and state.
    pub(crate) fn attempt_newest(
        &self,
        node: &NodeName,
    ) -> Result<Option<(AttemptId, AttemptState)>, LedgerError> {
        let query = Query {
            doing: "reading the newest attempt of a node",
            table: "attempts",
            sql: "SELECT node, attempt, state FROM attempts
                  WHERE node = ?1 ORDER BY attempt DESC LIMIT 1",
        };
        self.row(&query, (node.as_str(),), |cells| {
            cells.text("node")?;
            let attempt = cells.number("attempt", AttemptId::from_number)?;
            Ok((attempt, cells.word("state", AttemptState::from_word)?))
        })
    }
}

impl Writer<'_> {
    /// Forgets attempts that ended before a time, but never a node's newest, and at most
    /// [`ROWS_PRUNED_MAX`] per call. How many.
    pub fn prune_attempts(&mut self, ended_before: Timestamp) -> Result<usize, LedgerError> {
        self.change(
            "pruning attempts",
            "DELETE FROM attempts WHERE vm IN (
                 SELECT a.vm FROM attempts AS a
                 WHERE a.ended_at < ?1
                   AND EXISTS (SELECT 1 FROM attempts AS b
                               WHERE b.node = a.node AND b.attempt > a.attempt)
                 LIMIT ?2)",
            (ended_before.as_millis(), ROWS_PRUNED_MAX),
        )
    }

    pub(crate) fn insert_attempt(&mut self, attempt: &Attempt) -> Result<(), LedgerError> {
        let NewAttempt { vm, node, nodeset, place, jobs, .. } = &attempt.is;
        let jobs = serde_json::to_string(jobs).expect("numbers are JSON");
        let says = attempt.says.as_ref();
        self.change(
            "writing an attempt",
            "INSERT INTO attempts (vm, node, attempt, nodeset, site, subscription, resource_group,
                 region, zone, sku, is_spot, body_hash, jobs, state, why, says_code, says_text,
                 says_request_id, operation, request_id, generation, intended_at, settles_at,
                 accepted_at, running_at, delete_intended_at, ended_at, changed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28)",
            rusqlite::params![
                vm.as_str(),
                node.as_str(),
                attempt.is.attempt.number(),
                nodeset.as_str(),
                place.site.as_str(),
                place.subscription,
                place.resource_group,
                place.region.as_str(),
                place.zone.as_ref().map(Zone::as_str),
                attempt.is.sku.as_str(),
                attempt.is.is_spot,
                attempt.is.body_hash,
                jobs,
                attempt.state.word(),
                attempt.why.map(EndReason::word),
                says.map(|says| &says.code),
                says.map(|says| &says.text),
                says.and_then(|says| says.request_id.as_ref()),
                attempt.operation,
                attempt.request_id,
                attempt.generation,
                attempt.intended_at.as_millis(),
                attempt.settles_at.as_millis(),
                attempt.accepted_at.map(Timestamp::as_millis),
                attempt.running_at.map(Timestamp::as_millis),
                attempt.delete_intended_at.map(Timestamp::as_millis),
                attempt.ended_at.map(Timestamp::as_millis),
                attempt.changed_at.as_millis(),
            ],
        )?;
        Ok(())
    }

    /// Writes what may change of an attempt that is there.
    pub(crate) fn update_attempt(&mut self, attempt: &Attempt) -> Result<(), LedgerError> {
        let says = attempt.says.as_ref();
        let changed = self.change(
            "changing an attempt",
            "UPDATE attempts SET state = ?2, why = ?3, says_code = ?4, says_text = ?5,
                 says_request_id = ?6, operation = ?7, request_id = ?8, generation = ?9,
                 accepted_at = ?10, running_at = ?11, delete_intended_at = ?12, ended_at = ?13,
                 changed_at = ?14
             WHERE vm = ?1",
            rusqlite::params![
                attempt.is.vm.as_str(),
                attempt.state.word(),
                attempt.why.map(EndReason::word),
                says.map(|says| &says.code),
                says.map(|says| &says.text),
                says.and_then(|says| says.request_id.as_ref()),
                attempt.operation,
                attempt.request_id,
                attempt.generation,
                attempt.accepted_at.map(Timestamp::as_millis),
                attempt.running_at.map(Timestamp::as_millis),
                attempt.delete_intended_at.map(Timestamp::as_millis),
                attempt.ended_at.map(Timestamp::as_millis),
                attempt.changed_at.as_millis(),
            ],
        )?;
        assert_eq!(changed, 1, "the attempt {} was just read", attempt.is.vm);
        Ok(())
    }
}

fn read(cells: &mut Cells<'_>) -> Result<Attempt, LedgerError> {
    let is = read_new(cells)?;
    let state = cells.word("state", AttemptState::from_word)?;
    let attempt = Attempt {
        is,
        state,
        why: cells.word_or_null("why", EndReason::from_word)?,
        says: read_says(cells)?,
        operation: cells.text_or_null("operation")?,
        request_id: cells.text_or_null("request_id")?,
        generation: cells.integer("generation")?,
        intended_at: cells.time("intended_at")?,
        settles_at: cells.time("settles_at")?,
        accepted_at: cells.time_or_null("accepted_at")?,
        running_at: cells.time_or_null("running_at")?,
        delete_intended_at: cells.time_or_null("delete_intended_at")?,
        ended_at: cells.time_or_null("ended_at")?,
        changed_at: cells.time("changed_at")?,
    };
    // The index of unfinished attempts is by ended_at: where the two differ, a VM would be forgotten.
    let is_ended = attempt.ended_at.is_some();
    cells.demand(is_ended == state.is_ended(), "ended_at", || {
        format!("{:?} in state {}", attempt.ended_at, state.word())
    })?;
    Ok(attempt)
}

fn read_new(cells: &mut Cells<'_>) -> Result<NewAttempt, LedgerError> {
    Ok(NewAttempt {
        vm: cells.name("vm")?,
        node: cells.name("node")?,
        attempt: cells.number("attempt", AttemptId::from_number)?,
        nodeset: cells.name("nodeset")?,
        place: AttemptPlace {
            site: cells.name::<SiteName>("site")?,
            subscription: cells.text("subscription")?,
            resource_group: cells.text("resource_group")?,
            region: cells.word("region", Region::new)?,
            zone: cells.word_or_null("zone", Zone::new)?,
        },
        sku: cells.word("sku", Sku::new)?,
        is_spot: cells.is("is_spot")?,
        body_hash: cells.text("body_hash")?,
        jobs: cells.word("jobs", |text| serde_json::from_str::<Vec<JobId>>(text).ok())?,
    })
}

fn read_says(cells: &mut Cells<'_>) -> Result<Option<AzureSays>, LedgerError> {
    let code = cells.text_or_null("says_code")?;
    let text = cells.text_or_null("says_text")?;
    let request_id = cells.text_or_null("says_request_id")?;
    let Some(code) = code else { return Ok(None) };
    Ok(Some(AzureSays { code, text: text.unwrap_or_default(), request_id }))
}
