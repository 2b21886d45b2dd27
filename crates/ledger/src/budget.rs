//! Budgets: how many calls of one kind may still be sent. Their arithmetic is not here: who sends
//! reads a budget and writes it back in one transaction.

use azslurm_core::Timestamp;

use crate::reader::{Cells, Query};
use crate::{LedgerError, Reader, Writer};

/// What is left of one budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Principal, subscription and kind of call, or bucket and region, in the words of who sends.
    /// The key.
    pub name: String,
    /// Calls left, as known at `at`.
    pub tokens: f64,
    /// When `tokens` was known.
    pub at: Timestamp,
    /// Nothing may be sent before then (Retry-After of a 429).
    pub closed_until: Option<Timestamp>,
}

impl Reader {
    /// One budget; `None` if nothing was ever written about it.
    pub fn budget(&self, name: &str) -> Result<Option<Budget>, LedgerError> {
        let query = Query {
            doing: "reading a budget",
            table: "budgets",
            sql: "SELECT name, tokens, at, closed_until FROM budgets WHERE name = ?1",
        };
        self.row(&query, (name,), read)
    }

    /// All budgets, by name.
    pub fn budgets(&self) -> Result<Vec<Budget>, LedgerError> {
        let query = Query {
            doing: "reading budgets",
            table: "budgets",
            sql: "SELECT name, tokens, at, closed_until FROM budgets ORDER BY name",
        };
        self.rows(&query, (), read)
    }
}

impl Writer<'_> {
    /// Writes a budget; replaces the one of the same name. `tokens` must be a finite number.
    pub fn set_budget(&mut self, budget: &Budget) -> Result<(), LedgerError> {
        assert!(budget.tokens.is_finite(), "{budget:?}");
        self.change(
            "writing a budget",
            "INSERT OR REPLACE INTO budgets (name, tokens, at, closed_until)
             VALUES (?1, ?2, ?3, ?4)",
            (
                &budget.name,
                budget.tokens,
                budget.at.as_millis(),
                budget.closed_until.map(Timestamp::as_millis),
            ),
        )?;
        Ok(())
    }
}

fn read(cells: &mut Cells<'_>) -> Result<Budget, LedgerError> {
    Ok(Budget {
        name: cells.text("name")?,
        tokens: cells.real("tokens")?,
        at: cells.time("at")?,
        closed_until: cells.time_or_null("closed_until")?,
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
        assert_eq!(ledger.budget("arm-writes").unwrap(), None);
        let full =
            Budget { name: "arm-writes".into(), tokens: 200.0, at: at(1), closed_until: None };
        let closed = Budget { tokens: 0.25, at: at(2), closed_until: Some(at(30)), ..full.clone() };
        for budget in [full, closed.clone()] {
            write(&mut ledger, |writer| writer.set_budget(&budget));
            assert_eq!(ledger.budget("arm-writes").unwrap(), Some(budget));
        }
        assert_eq!(ledger.budgets().unwrap(), [closed]);
    }
}
