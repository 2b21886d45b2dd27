//! Budgets: how many calls of one kind may still be sent, and who waits for them. Their arithmetic
//! is [`azslurm_core::budget`]: who reserves reads a budget and writes it back in one transaction.

use azslurm_core::Timestamp;
use azslurm_core::budget::{Bucket, Size, Waiter};

use crate::reader::{Cells, Query};
use crate::{LedgerError, Reader, Writer};

/// One budget, shared by all programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// The bucket, in the words of who sends. The key.
    pub name: String,
    /// What is believed of it.
    pub bucket: Bucket,
}

impl Reader {
    /// One budget; `None` if nothing was ever written about it.
    pub fn budget(&self, name: &str) -> Result<Option<Budget>, LedgerError> {
        let query = Query {
            doing: "reading a budget",
            table: "budgets",
            sql: "SELECT name, tokens, at, size, refill, closed_until FROM budgets WHERE name = ?1",
        };
        self.row(&query, (name,), read)
    }

    /// All budgets, by name.
    pub fn budgets(&self) -> Result<Vec<Budget>, LedgerError> {
        let query = Query {
            doing: "reading budgets",
            table: "budgets",
            sql: "SELECT name, tokens, at, size, refill, closed_until FROM budgets ORDER BY name",
        };
        self.rows(&query, (), read)
    }

    /// Who waits for a budget, by holder; the dead too.
    pub fn budget_waiters(&self, name: &str) -> Result<Vec<Waiter>, LedgerError> {
        let query = Query {
            doing: "reading who waits for a budget",
            table: "budget_waiters",
            sql: "SELECT holder, since, asked_at, served_at FROM budget_waiters
                  WHERE name = ?1 ORDER BY holder",
        };
        self.rows(&query, (name,), |cells| {
            Ok(Waiter {
                holder: cells.text("holder")?,
                since: cells.time("since")?,
                asked_at: cells.time("asked_at")?,
                served_at: cells.time_or_null("served_at")?,
            })
        })
    }
}

impl Writer<'_> {
    /// Writes a budget; replaces the one of the same name. Its numbers must be finite.
    pub fn set_budget(&mut self, budget: &Budget) -> Result<(), LedgerError> {
        let Bucket { tokens, at, size, closed_until } = budget.bucket;
        let is_finite = [tokens, size.max, size.refill].iter().all(|number| number.is_finite());
        assert!(is_finite, "{budget:?}");
        self.change(
            "writing a budget",
            "INSERT OR REPLACE INTO budgets (name, tokens, at, size, refill, closed_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                &budget.name,
                tokens,
                at.as_millis(),
                size.max,
                size.refill,
                closed_until.map(Timestamp::as_millis),
            ),
        )?;
        Ok(())
    }

    /// Writes that `waiter` waits for a budget; replaces its former line.
    pub fn wait_for_budget(&mut self, name: &str, waiter: &Waiter) -> Result<(), LedgerError> {
        self.change(
            "waiting for a budget",
            "INSERT OR REPLACE INTO budget_waiters (name, holder, since, asked_at, served_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                name,
                &waiter.holder,
                waiter.since.as_millis(),
                waiter.asked_at.as_millis(),
                waiter.served_at.map(Timestamp::as_millis),
            ),
        )?;
        Ok(())
    }

    /// `holder` has what it wants of a budget. One that did not wait is passed over.
    pub fn has_budget(&mut self, name: &str, holder: &str) -> Result<(), LedgerError> {
        self.change(
            "ending the wait for a budget",
            "DELETE FROM budget_waiters WHERE name = ?1 AND holder = ?2",
            (name, holder),
        )?;
        Ok(())
    }

    /// `holder` waits for nothing any more, and so do all who have not asked since `asked_before`.
    pub fn end_waits(&mut self, holder: &str, asked_before: Timestamp) -> Result<(), LedgerError> {
        self.change(
            "ending all waits for budgets",
            "DELETE FROM budget_waiters WHERE holder = ?1 OR asked_at < ?2",
            (holder, asked_before.as_millis()),
        )?;
        Ok(())
    }
}

fn read(cells: &mut Cells<'_>) -> Result<Budget, LedgerError> {
    Ok(Budget {
        name: cells.text("name")?,
        bucket: Bucket {
            tokens: cells.real("tokens")?,
            at: cells.time("at")?,
            size: Size { max: cells.real("size")?, refill: cells.real("refill")? },
            closed_until: cells.time_or_null("closed_until")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use crate::sample::{at, write};

    #[test]
    fn a_budget_is_what_was_written_last() {
        let mut ledger = Ledger::in_memory().unwrap();
        assert_eq!(ledger.budget("writes").unwrap(), None);
        let full = Budget { name: "writes".into(), bucket: Bucket::full(Size::WRITES, at(1)) };
        let mut closed = full.clone();
        closed.bucket.tokens = 0.25;
        closed.bucket.closed_until = Some(at(30));
        for budget in [full, closed.clone()] {
            write(&mut ledger, |writer| writer.set_budget(&budget));
            assert_eq!(ledger.budget("writes").unwrap(), Some(budget));
        }
        assert_eq!(ledger.budgets().unwrap(), [closed]);
    }

    #[test]
    fn who_waits_is_known_until_it_has_what_it_wants_or_is_dead() {
        let mut ledger = Ledger::in_memory().unwrap();
        let waiter = |holder: &str, asked| Waiter {
            holder: holder.to_owned(),
            since: at(0),
            asked_at: at(asked),
            served_at: None,
        };
        let holders = |ledger: &Ledger, name: &str| -> Vec<String> {
            let waiters = ledger.budget_waiters(name).unwrap();
            waiters.into_iter().map(|waiter| waiter.holder).collect()
        };
        write(&mut ledger, |writer| {
            for (holder, asked) in [("a", 10), ("b", 20), ("c", 30)] {
                writer.wait_for_budget("writes", &waiter(holder, asked))?;
                writer.wait_for_budget("reads", &waiter(holder, asked))?;
            }
            let again = Waiter { served_at: Some(at(40)), ..waiter("a", 40) };
            writer.wait_for_budget("writes", &again)?;
            writer.has_budget("writes", "b")
        });
        let served = ledger.budget_waiters("writes").unwrap()[0].served_at;
        assert_eq!(served, Some(at(40)));
        assert_eq!(holders(&ledger, "writes"), ["a", "c"]);
        write(&mut ledger, |writer| writer.end_waits("c", at(20)));
        assert_eq!(holders(&ledger, "writes"), ["a"]);
        assert_eq!(holders(&ledger, "reads"), ["b"]);
    }
}
