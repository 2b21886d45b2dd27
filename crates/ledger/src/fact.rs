//! Facts of Azure that are kept for a while: JSON by what it is about. What it means is the
//! caller's.

use azslurm_core::Timestamp;

use crate::reader::{Cells, Query};
use crate::{LedgerError, Reader, Writer};

/// Something that Azure said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about. The key.
    pub key: String,
    /// JSON.
    pub text: String,
    /// When Azure said so.
    pub at: Timestamp,
}

impl Reader {
    /// All facts, by key.
    pub fn facts(&self) -> Result<Vec<Fact>, LedgerError> {
        let query = Query {
            doing: "reading facts",
            table: "facts",
            sql: "SELECT key, text, at FROM facts ORDER BY key",
        };
        self.rows(&query, (), read)
    }

    /// One fact.
    pub fn fact(&self, key: &str) -> Result<Option<Fact>, LedgerError> {
        let query = Query {
            doing: "reading a fact",
            table: "facts",
            sql: "SELECT key, text, at FROM facts WHERE key = ?1",
        };
        self.row(&query, (key,), read)
    }
}

impl Writer<'_> {
    /// Writes a fact; replaces an older one about the same.
    pub fn set_fact(&mut self, fact: &Fact) -> Result<(), LedgerError> {
        let sql = "INSERT INTO facts (key, text, at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (key) DO UPDATE SET text = excluded.text, at = excluded.at
                   WHERE excluded.at >= facts.at";
        self.change("writing a fact", sql, (&fact.key, &fact.text, fact.at.as_millis()))?;
        Ok(())
    }

    /// Forgets facts that were said before a time. How many.
    pub fn prune_facts(&mut self, before: Timestamp) -> Result<usize, LedgerError> {
        self.change("pruning facts", "DELETE FROM facts WHERE at < ?1", (before.as_millis(),))
    }
}

fn read(cells: &mut Cells<'_>) -> Result<Fact, LedgerError> {
    Ok(Fact { key: cells.text("key")?, text: cells.text("text")?, at: cells.time("at")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use crate::sample::{at, write};

    #[test]
    fn a_fact_is_what_was_said_last_until_it_is_pruned() {
        let mut ledger = Ledger::in_memory().unwrap();
        let fact =
            |text: &str, time| Fact { key: "usages/s/r".into(), text: text.into(), at: time };
        for said in [fact("1", at(1)), fact("3", at(3)), fact("2", at(2))] {
            write(&mut ledger, |writer| writer.set_fact(&said));
        }
        assert_eq!(ledger.facts().unwrap(), [fact("3", at(3))]);
        assert_eq!(ledger.fact("usages/s/r").unwrap(), Some(fact("3", at(3))));
        assert_eq!(ledger.fact("usages/s/q").unwrap(), None);
        assert_eq!(write(&mut ledger, |writer| writer.prune_facts(at(3))), 0);
        assert_eq!(write(&mut ledger, |writer| writer.prune_facts(at(4))), 1);
    }
}
