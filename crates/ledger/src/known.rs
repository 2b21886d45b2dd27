//! What is known of an attempt: the columns that change, and of the others what their history
//! names. Two findings are written down for each VM of a request, and half of a row is read in half
//! of the time.

use azslurm_core::attempt::{Attempt, AttemptState, AzureSays, EndReason};
use azslurm_core::{JobId, NodeName, SiteName, Timestamp, VmName};

use crate::attempt::{demand_end, first_job, read_says};
use crate::reader::{Cells, Query};
use crate::{LedgerError, Reader, Writer};

const OF_VM: &str = "SELECT vm, node, site, jobs, state, why, says_code, says_text,
       says_request_id, operation, request_id, generation, accepted_at, running_at, registered_at,
       delete_intended_at, ended_at, changed_at
     FROM attempts WHERE vm = ?1";

/// See above; members are as in [`Attempt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub vm: VmName,
    pub node: NodeName,
    pub site: SiteName,
    /// The first of the jobs that wait.
    pub job: Option<JobId>,
    pub state: AttemptState,
    pub why: Option<EndReason>,
    pub says: Option<AzureSays>,
    pub operation: Option<String>,
    pub request_id: Option<String>,
    pub generation: i64,
    pub accepted_at: Option<Timestamp>,
    pub running_at: Option<Timestamp>,
    pub registered_at: Option<Timestamp>,
    pub delete_intended_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub changed_at: Timestamp,
}

impl From<&Attempt> for Known {
    fn from(attempt: &Attempt) -> Known {
        Known {
            vm: attempt.is.vm.clone(),
            node: attempt.is.node.clone(),
            site: attempt.is.place.site.clone(),
            job: attempt.is.jobs.first().copied(),
            state: attempt.state,
            why: attempt.why,
            says: attempt.says.clone(),
            operation: attempt.operation.clone(),
            request_id: attempt.request_id.clone(),
            generation: attempt.generation,
            accepted_at: attempt.accepted_at,
            running_at: attempt.running_at,
            registered_at: attempt.registered_at,
            delete_intended_at: attempt.delete_intended_at,
            ended_at: attempt.ended_at,
            changed_at: attempt.changed_at,
        }
    }
}

impl Reader {
    /// What is known of one attempt, by the name of its VM without case.
    pub(crate) fn known(&self, vm: &VmName) -> Result<Option<Known>, LedgerError> {
        let query =
            Query { doing: "reading what is known of an attempt", table: "attempts", sql: OF_VM };
        self.row(&query, (vm.as_str(),), read)
    }
}

fn read(cells: &mut Cells<'_>) -> Result<Known, LedgerError> {
    let known = Known {
        vm: cells.name("vm")?,
        node: cells.name("node")?,
        site: cells.name("site")?,
        job: cells.word("jobs", first_job)?,
        state: cells.word("state", AttemptState::from_word)?,
        why: cells.word_or_null("why", EndReason::from_word)?,
        says: read_says(cells)?,
        operation: cells.text_or_null("operation")?,
        request_id: cells.text_or_null("request_id")?,
        generation: cells.generation("generation")?,
        accepted_at: cells.time_or_null("accepted_at")?,
        running_at: cells.time_or_null("running_at")?,
        registered_at: cells.time_or_null("registered_at")?,
        delete_intended_at: cells.time_or_null("delete_intended_at")?,
        ended_at: cells.time_or_null("ended_at")?,
        changed_at: cells.time("changed_at")?,
    };
    demand_end(cells, known.state, known.ended_at)?;
    Ok(known)
}

/// Assignments of what may change and stands in no index.
macro_rules! update {
    ($more:literal) => {
        concat!(
            "UPDATE attempts SET state = ?2, why = ?3, says_code = ?4, says_text = ?5,
                 says_request_id = ?6, operation = ?7, request_id = ?8, generation = ?9,
                 accepted_at = ?10, running_at = ?11, delete_intended_at = ?12,
                 changed_at = ?13",
            $more,
            " WHERE vm = ?1"
        )
    };
}

/// Writes all that may change. SQLite writes the entries of every index that names a column of the
/// statement anew, whether the value is another or not.
const CHANGE: &str = update!(", ended_at = ?14, registered_at = ?15");
/// For the three of four changes that leave what stands in an index as it is.
const CHANGE_BESIDE_INDEXES: &str = update!("");
/// So many parameters it has.
const BESIDE_INDEXES: usize = 13;

impl Writer<'_> {
    /// Writes what may change of an attempt that is there.
    pub(crate) fn update_known(&mut self, known: &Known) -> Result<(), LedgerError> {
        self.update(known, true)
    }

    /// The same, if the attempt is `old` in this transaction.
    pub(crate) fn update_known_from(
        &mut self,
        old: &Known,
        known: &Known,
    ) -> Result<(), LedgerError> {
        let in_indexes = |it: &Known| (it.ended_at, it.registered_at);
        self.update(known, in_indexes(old) != in_indexes(known))
    }

    fn update(&mut self, known: &Known, with_indexes: bool) -> Result<(), LedgerError> {
        let says = known.says.as_ref();
        let cells = rusqlite::params![
            known.vm.as_str(),
            known.state.word(),
            known.why.map(EndReason::word),
            says.map(|says| &says.code),
            says.map(|says| &says.text),
            says.and_then(|says| says.request_id.as_ref()),
            known.operation,
            known.request_id,
            known.generation,
            known.accepted_at.map(Timestamp::as_millis),
            known.running_at.map(Timestamp::as_millis),
            known.delete_intended_at.map(Timestamp::as_millis),
            known.changed_at.as_millis(),
            known.ended_at.map(Timestamp::as_millis),
            known.registered_at.map(Timestamp::as_millis),
        ];
        let doing = "changing an attempt";
        let changed = if with_indexes {
            self.change(doing, CHANGE, cells)?
        } else {
            self.change(doing, CHANGE_BESIDE_INDEXES, &cells[..BESIDE_INDEXES])?
        };
        if changed != 1 {
            let found = format!("in {changed} rows, and was just read");
            return Err(self.damage(("attempts", known.vm.as_str()), "vm", found));
        }
        Ok(())
    }
}
