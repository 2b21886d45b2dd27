//! Attempts as rows: reading them, and the three statements that write them. Which change makes
//! sense when is not here ([`crate::record`] asks core).

use std::collections::BTreeSet;

use azslurm_core::attempt::{
    Attempt, AttemptPlace, AttemptState, AzureSays, EndReason, NewAttempt,
};
use azslurm_core::block::{BlockName, Incarnation};
use azslurm_core::config::{Region, Sku, Zone};
use azslurm_core::{AttemptId, JobId, NodeName, NodesetName, SiteName, Timestamp, VmName};

use rusqlite::Params;

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
              a.region, a.zone, a.block, a.incarnation, a.sku, a.is_spot, a.image,
              a.body_hash, a.jobs, a.state, a.why,
              a.says_code, a.says_text, a.says_request_id, a.operation, a.request_id,
              a.generation, a.intended_at, a.settles_at, a.accepted_at, a.running_at,
              a.registered_at, a.delete_intended_at, a.ended_at, a.changed_at ",
            $from
        )
    };
}

const OF_VM: &str = select!("", "FROM attempts AS a WHERE a.vm = ?1");
const OF_NODES: &str = select!(
    "",
    "FROM json_each(?1) AS n CROSS JOIN attempts AS a ON a.node = n.value
     WHERE a.ended_at IS NULL
        OR a.attempt = (SELECT max(b.attempt) FROM attempts AS b
                        WHERE b.node = a.node AND b.ended_at IS NOT NULL)"
);
const UNFINISHED: &str =
    select!("", "FROM attempts AS a WHERE a.ended_at IS NULL ORDER BY a.node, a.attempt");
const NODES_UNFINISHED: &str =
    "SELECT a.node FROM attempts AS a WHERE a.ended_at IS NULL ORDER BY a.node";
const IN_MOTION: &str = select!(
    "",
    "FROM attempts AS a WHERE a.ended_at IS NULL AND a.state <> ?1 ORDER BY a.node, a.attempt"
);
const ALL: &str = select!("", "FROM attempts AS a ORDER BY a.node, a.attempt");
const OF_HOLDER: &str = select!(
    "l.node, l.holder, l.generation, l.until, ",
    "FROM leases AS l JOIN attempts AS a ON a.node = l.node
     WHERE l.holder = ?1 AND a.ended_at IS NULL ORDER BY a.node, a.attempt"
);
const OF_HOLDER_IN: &str = select!(
    "l.node, l.holder, l.generation, l.until, ",
    "FROM leases AS l JOIN attempts AS a ON a.node = l.node
     WHERE l.holder = ?1 AND a.ended_at IS NULL AND a.state = ?2 ORDER BY a.node, a.attempt"
);
const LATEST: &str = select!(
    "",
    "FROM (SELECT node, max(attempt) AS attempt FROM attempts GROUP BY node) AS m
     JOIN attempts AS a ON a.node = m.node AND a.attempt = m.attempt
     ORDER BY a.node"
);
// With "ORDER BY attempt DESC LIMIT 1" SQLite would parse and plan it again for every node (the
// parameter is compared with the partial indexes): a fifth of the time of a large resume.
const NEWEST: &str = "SELECT a.node, a.attempt, a.state FROM attempts AS a
     WHERE a.node = ?1
       AND a.attempt = (SELECT max(b.attempt) FROM attempts AS b WHERE b.node = a.node)";

/// Names as JSON, each once.
fn names_of(nodes: &[NodeName]) -> String {
    let names: BTreeSet<&str> = nodes.iter().map(NodeName::as_str).collect();
    serde_json::to_string(&names).expect("strings are JSON")
}

impl Reader {
    /// One attempt, by the name of its VM without case.
    pub fn attempt(&self, vm: &VmName) -> Result<Option<Attempt>, LedgerError> {
        let query = Query { doing: "reading an attempt", table: "attempts", sql: OF_VM };
        self.row(&query, (vm.as_str(),), |cells| read(cells, &mut Shared::default()))
    }

    /// The attempts of some nodes, by node and attempt: all that are not ended, and of the ended
    /// ones each node's newest, so that the last of a node's attempts is always the highest that is
    /// known. Nodes may be named twice; those without attempts are not in the answer.
    pub fn attempts_of(&self, nodes: &[NodeName]) -> Result<Vec<Attempt>, LedgerError> {
        let query =
            Query { doing: "reading the attempts of nodes", table: "attempts", sql: OF_NODES };
        let mut found = self.attempts_by(&query, (names_of(nodes),))?;
        // They come in the order of the names, which SQLite does not know: it would copy all rows
        // for a sort of its own.
        found.sort_by(|one, other| {
            let of = |attempt: &Attempt| attempt.is.attempt;
            one.is.node.cmp(&other.is.node).then_with(|| of(one).cmp(&of(other)))
        });
        Ok(found)
    }

    /// All attempts that are not ended, by node and attempt.
    pub fn attempts_unfinished(&self) -> Result<Vec<Attempt>, LedgerError> {
        let query =
            Query { doing: "reading unfinished attempts", table: "attempts", sql: UNFINISHED };
        self.attempts_by(&query, ())
    }

    /// The same without those of some nodes. Where these are known already, reading all would be
    /// reading ten thousand attempts for the few that are left.
    pub fn attempts_unfinished_elsewhere(
        &self,
        nodes: &[NodeName],
    ) -> Result<Vec<Attempt>, LedgerError> {
        let known: BTreeSet<&str> = nodes.iter().map(NodeName::as_str).collect();
        // Both are in order: each is gone through once.
        let mut known = known.into_iter().peekable();
        let doing = "reading unfinished attempts of other nodes";
        let query = Query { doing, table: "attempts", sql: NODES_UNFINISHED };
        let others = self.rows(&query, (), |cells| {
            cells.word("node", |node| {
                while known.next_if(|before| *before < node).is_some() {}
                match known.peek() == Some(&node) {
                    true => Some(None),
                    false => node.parse::<NodeName>().ok().map(Some),
                }
            })
        })?;
        let others: Vec<NodeName> = others.into_iter().flatten().collect();
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = self.attempts_of(&others)?;
        found.retain(|attempt| !attempt.state.is_ended());
        Ok(found)
    }

    /// Attempts that are not ended and not at rest either: all but those whose VM runs.
    pub fn attempts_in_motion(&self) -> Result<Vec<Attempt>, LedgerError> {
        let doing = "reading attempts that are not at rest";
        let query = Query { doing, table: "attempts", sql: IN_MOTION };
        self.attempts_by(&query, (AttemptState::Running.word(),))
    }

    /// The attempts that are not ended of the nodes that a run has leased, each with its lease:
    /// what a driver has to do. A lease that has expired meanwhile is among them; renew it first.
    pub fn attempts_of_holder(
        &self,
        holder: &Holder,
    ) -> Result<Vec<(Lease, Attempt)>, LedgerError> {
        let query =
            Query { doing: "reading the attempts of a holder", table: "attempts", sql: OF_HOLDER };
        let (mut shared, mut before) = (Shared::default(), Some(holder.clone()));
        self.rows(&query, (holder.as_str(),), |cells| {
            Ok((read_lease(cells, &mut before)?, read(cells, &mut shared)?))
        })
    }

    /// The same of one state alone.
    pub fn attempts_of_holder_in(
        &self,
        holder: &Holder,
        state: AttemptState,
    ) -> Result<Vec<(Lease, Attempt)>, LedgerError> {
        let doing = "reading the attempts of a holder in one state";
        let query = Query { doing, table: "attempts", sql: OF_HOLDER_IN };
        let (mut shared, mut before) = (Shared::default(), Some(holder.clone()));
        self.rows(&query, (holder.as_str(), state.word()), |cells| {
            Ok((read_lease(cells, &mut before)?, read(cells, &mut shared)?))
        })
    }

    /// The nodes that a run has leased and that have no attempt in any of these states, of which
    /// none is an end.
    pub fn leased_without(
        &self,
        holder: &Holder,
        states: &[AttemptState],
    ) -> Result<Vec<NodeName>, LedgerError> {
        assert!(
            !states.iter().any(|state| state.is_ended()),
            "every node has ended ones: {states:?}"
        );
        let words: Vec<&str> = states.iter().map(|state| state.word()).collect();
        let words = serde_json::to_string(&words).expect("strings are JSON");
        let query = Query {
            doing: "looking for leased nodes without an attempt",
            table: "leases",
            sql: "SELECT l.node FROM leases AS l
                  WHERE l.holder = ?1 AND NOT EXISTS (
                      SELECT 1 FROM attempts AS a
                      WHERE a.node = l.node AND a.ended_at IS NULL
                        AND a.state IN (SELECT value FROM json_each(?2)))
                  ORDER BY l.node",
        };
        self.rows(&query, (holder.as_str(), words), |cells| cells.name("node"))
    }

    /// The newest attempt of each node that ever had one, by node.
    pub fn attempts_latest(&self) -> Result<Vec<Attempt>, LedgerError> {
        let query = Query { doing: "reading the latest attempts", table: "attempts", sql: LATEST };
        self.attempts_by(&query, ())
    }

    /// Every attempt that is remembered, by node and attempt.
    pub fn attempts_all(&self) -> Result<Vec<Attempt>, LedgerError> {
        let query = Query { doing: "reading all attempts", table: "attempts", sql: ALL };
        self.attempts_by(&query, ())
    }

    /// When the newest attempt of a nodeset and an image was intended on which slurmd has
    /// registered, as far as attempts are remembered.
    pub fn newest_registered(
        &self,
        nodeset: &NodesetName,
        image: &str,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let query = Query {
            doing: "looking for the newest VM that booted",
            table: "attempts",
            sql: "SELECT max(intended_at) AS intended_at FROM attempts
                  WHERE nodeset = ?1 AND image = ?2 AND registered_at IS NOT NULL",
        };
        let found =
            self.row(&query, (nodeset.as_str(), image), |cells| cells.time_or_null("intended_at"))?;
        Ok(found.flatten())
    }

    /// Whole attempts, by a query of [`select`].
    fn attempts_by(
        &self,
        query: &Query<'_>,
        params: impl Params,
    ) -> Result<Vec<Attempt>, LedgerError> {
        let mut shared = Shared::default();
        self.rows(query, params, |cells| read(cells, &mut shared))
    }

    /// The newest attempt of a node: its number and state.
    pub(crate) fn attempt_newest(
        &self,
        node: &NodeName,
    ) -> Result<Option<(AttemptId, AttemptState)>, LedgerError> {
        let query =
            Query { doing: "reading the newest attempt of a node", table: "attempts", sql: NEWEST };
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
                 region, zone, block, incarnation, sku, is_spot, body_hash, jobs, state, why,
                 says_code, says_text,
                 says_request_id, operation, request_id, generation, intended_at, settles_at,
                 accepted_at, running_at, delete_intended_at, ended_at, changed_at, image,
                 registered_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32)",
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
                place.block.as_ref().map(|life| life.block.to_string()),
                place.block.as_ref().map(|life| life.number.number()),
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
                attempt.is.image,
                attempt.registered_at.map(Timestamp::as_millis),
            ],
        )?;
        Ok(())
    }
}

/// Words of the attempt before, which most attempts share: they are made once.
#[derive(Default)]
struct Shared {
    nodeset: Option<NodesetName>,
    site: Option<SiteName>,
    region: Option<Region>,
    sku: Option<Sku>,
}

fn read(cells: &mut Cells<'_>, shared: &mut Shared) -> Result<Attempt, LedgerError> {
    let is = read_new(cells, shared)?;
    let state = cells.word("state", AttemptState::from_word)?;
    let attempt = Attempt {
        is,
        state,
        why: cells.word_or_null("why", EndReason::from_word)?,
        says: read_says(cells)?,
        operation: cells.text_or_null("operation")?,
        request_id: cells.text_or_null("request_id")?,
        generation: cells.generation("generation")?,
        intended_at: cells.time("intended_at")?,
        settles_at: cells.time("settles_at")?,
        accepted_at: cells.time_or_null("accepted_at")?,
        running_at: cells.time_or_null("running_at")?,
        registered_at: cells.time_or_null("registered_at")?,
        delete_intended_at: cells.time_or_null("delete_intended_at")?,
        ended_at: cells.time_or_null("ended_at")?,
        changed_at: cells.time("changed_at")?,
    };
    demand_end(cells, state, attempt.ended_at)?;
    Ok(attempt)
}

/// The index of unfinished attempts is by `ended_at`: where that and the state differ, a VM would
/// be forgotten.
pub(crate) fn demand_end(
    cells: &Cells<'_>,
    state: AttemptState,
    ended_at: Option<Timestamp>,
) -> Result<(), LedgerError> {
    cells.demand(ended_at.is_some() == state.is_ended(), "ended_at", || {
        format!("{ended_at:?} in state {}", state.word())
    })
}

fn jobs(text: &str) -> Option<Vec<JobId>> {
    serde_json::from_str(text).ok()
}

/// The first of an attempt's jobs, if it has some.
pub(crate) fn first_job(text: &str) -> Option<Option<JobId>> {
    Some(jobs(text)?.first().copied())
}

fn read_new(cells: &mut Cells<'_>, shared: &mut Shared) -> Result<NewAttempt, LedgerError> {
    Ok(NewAttempt {
        vm: cells.name("vm")?,
        node: cells.name("node")?,
        attempt: cells.number("attempt", AttemptId::from_number)?,
        nodeset: cells.shared("nodeset", &mut shared.nodeset, |text| text.parse().ok())?,
        place: AttemptPlace {
            site: cells.shared("site", &mut shared.site, |text| text.parse().ok())?,
            subscription: cells.text("subscription")?,
            resource_group: cells.text("resource_group")?,
            region: cells.shared("region", &mut shared.region, Region::new)?,
            zone: cells.word_or_null("zone", Zone::new)?,
            block: read_block(cells)?,
        },
        sku: cells.shared("sku", &mut shared.sku, Sku::new)?,
        is_spot: cells.is("is_spot")?,
        image: cells.text("image")?,
        body_hash: cells.text("body_hash")?,
        jobs: cells.word("jobs", jobs)?,
    })
}

fn read_block(cells: &mut Cells<'_>) -> Result<Option<Incarnation>, LedgerError> {
    let block = cells.word_or_null("block", |text| text.parse::<BlockName>().ok())?;
    let number = cells.number_or_null("incarnation", AttemptId::from_number)?;
    cells.demand(block.is_some() == number.is_some(), "incarnation", || format!("{number:?}"))?;
    Ok(block.zip(number).map(|(block, number)| Incarnation { block, number }))
}

pub(crate) fn read_says(cells: &mut Cells<'_>) -> Result<Option<AzureSays>, LedgerError> {
    let code = cells.text_or_null("says_code")?;
    let text = cells.text_or_null("says_text")?;
    let request_id = cells.text_or_null("says_request_id")?;
    let Some(code) = code else { return Ok(None) };
    Ok(Some(AzureSays { code, text: text.unwrap_or_default(), request_id }))
}

#[cfg(test)]
mod tests {
    use azslurm_core::attempt::Change;

    use super::*;
    use crate::sample::{ask, at, holder, leased, new_attempt, node, write};
    use crate::{Ledger, Recorded, Take};

    /// Nodes `n1` and `n2`; on each, attempts 1 and 2 gone, 3 refused; on `n1` 4 and 5 under way.
    fn with_history() -> (Ledger, Vec<Lease>) {
        let (mut ledger, lease) = leased();
        let front = lease.holder().clone();
        let leases = write(&mut ledger, |writer| {
            let other = writer.lease(&node("n2"), &ask(&front, Take::IfFree, 0, 1000))?;
            let leases = vec![lease, other.granted().unwrap()];
            for lease in &leases {
                for number in [1, 2, 3] {
                    run_to_the_end(writer, lease, number)?;
                }
            }
            for number in [4, 5] {
                let new = new_attempt("n1", number);
                assert!(matches!(
                    writer.intend(&leases[0], &new, at(50), at(60))?,
                    Recorded::Done(_)
                ));
            }
            Ok(leases)
        });
        (ledger, leases)
    }

    fn run_to_the_end(
        writer: &mut Writer<'_>,
        lease: &Lease,
        number: i64,
    ) -> Result<(), LedgerError> {
        let new = new_attempt(lease.node().as_str(), number);
        let why = EndReason::Suspended;
        let changes = if number == 3 {
            vec![Change::Refused(AzureSays::default())]
        } else {
            vec![Change::DeleteIntended { why, says: None }, Change::Gone]
        };
        let now = at(number);
        assert!(matches!(writer.intend(lease, &new, now, now)?, Recorded::Done(_)));
        for change in changes {
            assert!(matches!(writer.record(lease, &new.vm, &change, now)?, Recorded::Done(_)));
        }
        Ok(())
    }

    fn numbers(attempts: &[Attempt]) -> Vec<(&str, i64)> {
        attempts.iter().map(|it| (it.is.node.as_str(), it.is.attempt.number())).collect()
    }

    #[test]
    fn the_attempts_of_nodes_are_the_unfinished_and_the_newest_ended() {
        let (ledger, _) = with_history();
        let asked = [node("n2"), node("n1"), node("n2"), node("n9")];
        let found = ledger.attempts_of(&asked).unwrap();
        assert_eq!(numbers(&found), [("n1", 3), ("n1", 4), ("n1", 5), ("n2", 3)]);
        assert_eq!(numbers(&ledger.attempts_of(&[node("n2")]).unwrap()), [("n2", 3)]);
        assert_eq!(ledger.attempts_of(&[]).unwrap(), []);
    }

    #[test]
    fn a_holder_is_asked_for_one_state_and_for_its_nodes_without_some() {
        let (mut ledger, leases) = with_history();
        let front = leases[0].holder().clone();
        let changes = [Change::Accepted { operation: None, request_id: None }, Change::Running];
        write(&mut ledger, |writer| {
            for change in &changes {
                let vm = &new_attempt("n1", 5).vm;
                let recorded = writer.record(&leases[0], vm, change, at(70))?;
                assert!(matches!(recorded, Recorded::Done(_)), "{recorded:?}");
            }
            Ok(())
        });
        for (state, number) in [(AttemptState::Intended, 4), (AttemptState::Running, 5)] {
            let found = ledger.attempts_of_holder_in(&front, state).unwrap();
            let (of_leases, found): (Vec<Lease>, Vec<Attempt>) = found.into_iter().unzip();
            assert_eq!(
                (of_leases, numbers(&found)),
                (vec![leases[0].clone()], vec![("n1", number)])
            );
        }
        let gone = ledger.attempts_of_holder_in(&front, AttemptState::Gone).unwrap();
        assert_eq!(gone, [], "ended ones are nobody's work");
        let without = |states: &[AttemptState]| ledger.leased_without(&front, states).unwrap();
        assert_eq!(without(&[AttemptState::Intended, AttemptState::Running]), [node("n2")]);
        assert_eq!(without(&[AttemptState::Deleting]), [node("n1"), node("n2")]);
        assert_eq!(ledger.leased_without(&holder("nobody"), &[]).unwrap(), []);
    }

    #[test]
    fn unfinished_and_latest_are_what_they_say() {
        let (mut ledger, leases) = with_history();
        assert_eq!(numbers(&ledger.attempts_unfinished().unwrap()), [("n1", 4), ("n1", 5)]);
        let beside = |node| ledger.attempts_unfinished_elsewhere(&[self::node(node)]);
        assert_eq!(numbers(&beside("n1").unwrap()), []);
        assert_eq!(numbers(&beside("n2").unwrap()), [("n1", 4), ("n1", 5)]);
        assert_eq!(numbers(&ledger.attempts_latest().unwrap()), [("n1", 5), ("n2", 3)]);
        let of_holder = ledger.attempts_of_holder(leases[0].holder()).unwrap();
        let (of_leases, of_attempts): (Vec<Lease>, Vec<Attempt>) = of_holder.into_iter().unzip();
        assert_eq!(numbers(&of_attempts), [("n1", 4), ("n1", 5)]);
        assert_eq!(of_leases, [leases[0].clone(), leases[0].clone()]);
        assert_eq!(ledger.attempts_of_holder(&holder("nobody")).unwrap(), []);
        let runs = new_attempt("n1", 5).vm;
        let accepted = Change::Accepted { operation: None, request_id: None };
        write(&mut ledger, |writer| {
            for change in [&accepted, &Change::Running] {
                let recorded = writer.record(&leases[0], &runs, change, at(70))?;
                assert!(matches!(recorded, Recorded::Done(_)), "{recorded:?}");
            }
            Ok(())
        });
        assert_eq!(numbers(&ledger.attempts_in_motion().unwrap()), [("n1", 4)]);
    }

    #[test]
    fn pruning_keeps_the_newest_of_each_node_and_all_that_is_unfinished() {
        let (mut ledger, _) = with_history();
        assert_eq!(write(&mut ledger, |writer| writer.prune_attempts(at(2))), 2);
        assert_eq!(write(&mut ledger, |writer| writer.prune_attempts(at(1000))), 3);
        assert_eq!(write(&mut ledger, |writer| writer.prune_attempts(at(1000))), 0);
        assert_eq!(numbers(&ledger.attempts_latest().unwrap()), [("n1", 5), ("n2", 3)]);
        assert_eq!(ledger.attempts_unfinished().unwrap().len(), 2);
    }

    #[test]
    fn ten_thousand_nodes_are_one_transaction_and_one_question() {
        let mut ledger = Ledger::in_memory().unwrap();
        let names: Vec<String> = (1..=10_000).map(|number| format!("n{number}")).collect();
        let nodes: Vec<NodeName> = names.iter().map(|name| node(name)).collect();
        let front = holder("front");
        write(&mut ledger, |writer| {
            let answers = writer.leases_take(&nodes, &ask(&front, Take::IfFree, 0, 1000))?;
            for (name, answer) in names.iter().zip(answers) {
                let lease = answer.granted().expect("the ledger was empty");
                let recorded = writer.intend(&lease, &new_attempt(name, 1), at(1), at(60))?;
                assert_eq!(recorded, Recorded::Done(AttemptState::Intended));
            }
            Ok(())
        });
        assert_eq!(ledger.transactions(), 1);
        assert_eq!(ledger.attempts_of(&nodes).unwrap().len(), 10_000);
        assert_eq!(ledger.attempts_of_holder(&front).unwrap().len(), 10_000);
    }

    /// The table holds history of a year. Only the report of the latest goes through all of it, and
    /// that by its index.
    #[test]
    fn every_question_about_attempts_has_its_index() {
        let (ledger, _) = with_history();
        for question in
            [OF_VM, OF_NODES, UNFINISHED, NODES_UNFINISHED, OF_HOLDER, OF_HOLDER_IN, LATEST, NEWEST]
        {
            let mut statement =
                ledger.connection.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
            let parameters = vec!["x"; statement.parameter_count()];
            let plan: Vec<String> = statement
                .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let by_table = plan.iter().filter(|step| {
                ["SCAN a", "SEARCH a", "SCAN b", "SEARCH b"].iter().any(|way| step.starts_with(way))
            });
            let by_table: Vec<_> = by_table.collect();
            assert!(!by_table.is_empty(), "{question}: {plan:?}");
            for step in by_table {
                assert!(step.contains(" INDEX "), "{question}: {plan:?}");
            }
        }
    }

    #[test]
    fn what_we_would_not_have_written_is_damage_and_says_where() {
        let cases = [
            ("state = 'exploded'", "has state \"exploded\""),
            ("why = 'boredom'", "has why \"boredom\""),
            ("node = 'a/b'", "has node \"a/b\""),
            ("jobs = '{}'", "has jobs \"{}\""),
            ("attempt = -1", "has attempt \"-1\""),
            ("is_spot = 7", "has is_spot \"7\""),
            ("region = 'west europe'", "has region \"west europe\""),
            ("ended_at = 5", "has ended_at"),
        ];
        for (assignment, words) in cases {
            let (ledger, _) = with_history();
            let vm = new_attempt("n1", 4).vm;
            ledger
                .connection
                .execute(&format!("UPDATE attempts SET {assignment} WHERE vm = '{vm}'"), ())
                .unwrap();
            let error = ledger.attempt(&vm).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, LedgerError::Damaged { .. }), "{text}");
            assert!(text.contains(words) && text.contains(vm.as_str()), "{text}");
        }
    }
}
