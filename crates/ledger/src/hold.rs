//! Holds: "not here until then", learned from refusals and shared by all programs.

use azslurm_core::Timestamp;

use crate::reader::{Cells, Query};
use crate::{LedgerError, Reader, Writer};

/// Something that is not to be tried for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What is held: SKU and zone, quota of a family and region, … in the words of who made it. The
    /// key.
    pub scope: String,
    /// Why, as a word that we match on.
    pub code: String,
    /// Why, for people.
    pub text: String,
    /// How many times in a row it was refused.
    pub strikes: u32,
    /// Since when.
    pub since: Timestamp,
    /// The latest refusal.
    pub struck_at: Timestamp,
    /// Until when; from then on it does not hold, but its strikes are remembered until it is
    /// pruned.
    pub until: Timestamp,
}

impl Reader {
    /// All holds, those that have ended too, by scope.
    pub fn holds_all(&self) -> Result<Vec<Hold>, LedgerError> {
        let query = Query {
            doing: "reading holds",
            table: "holds",
            sql: "SELECT scope, code, text, strikes, since, struck_at, until FROM holds
                  ORDER BY scope",
        };
        self.rows(&query, (), read)
    }

    /// What holds `now`, by scope.
    pub fn holds(&self, now: Timestamp) -> Result<Vec<Hold>, LedgerError> {
        let query = Query {
            doing: "reading holds",
            table: "holds",
            sql: "SELECT scope, code, text, strikes, since, struck_at, until FROM holds
                  WHERE until > ?1 ORDER BY scope",
        };
        self.rows(&query, (now.as_millis(),), read)
    }

    /// The hold of one scope, also when it has ended.
    pub fn hold_of(&self, scope: &str) -> Result<Option<Hold>, LedgerError> {
        let query = Query {
            doing: "reading a hold",
            table: "holds",
            sql: "SELECT scope, code, text, strikes, since, struck_at, until FROM holds
                  WHERE scope = ?1",
        };
        self.row(&query, (scope,), read)
    }
}

impl Writer<'_> {
    /// Writes a hold; replaces the one of the same scope.
    pub fn hold(&mut self, hold: &Hold) -> Result<(), LedgerError> {
        self.change(
            "writing a hold",
            "INSERT OR REPLACE INTO holds (scope, code, text, strikes, since, struck_at, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                &hold.scope,
                &hold.code,
                &hold.text,
                hold.strikes,
                hold.since.as_millis(),
                hold.struck_at.as_millis(),
                hold.until.as_millis(),
            ),
        )?;
        Ok(())
    }

    /// Takes a hold away and forgets its strikes. Whether it was there.
    pub fn unhold(&mut self, scope: &str) -> Result<bool, LedgerError> {
        let changed =
            self.change("removing a hold", "DELETE FROM holds WHERE scope = ?1", (scope,))?;
        Ok(changed > 0)
    }

    /// Forgets holds that ended before a time. How many.
    pub fn prune_holds(&mut self, ended_before: Timestamp) -> Result<usize, LedgerError> {
        let sql = "DELETE FROM holds WHERE until < ?1";
        self.change("pruning holds", sql, (ended_before.as_millis(),))
    }
}

fn read(cells: &mut Cells<'_>) -> Result<Hold, LedgerError> {
    Ok(Hold {
        scope: cells.text("scope")?,
        code: cells.text("code")?,
        text: cells.text("text")?,
        strikes: cells.number("strikes", |number| u32::try_from(number).ok())?,
        since: cells.time("since")?,
        struck_at: cells.time("struck_at")?,
        until: cells.time("until")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use crate::sample::{at, write};

    #[test]
    fn a_hold_holds_until_its_time_and_its_strikes_are_remembered() {
        let mut ledger = Ledger::in_memory().unwrap();
        let first = Hold {
            scope: "Standard_D4s_v5 westeurope 2".into(),
            code: "zone-full".into(),
            text: "no room".into(),
            strikes: 1,
            since: at(0),
            struck_at: at(0),
            until: at(10),
        };
        write(&mut ledger, |writer| writer.hold(&first));
        assert_eq!(ledger.holds(at(9)).unwrap(), std::slice::from_ref(&first));
        assert_eq!(ledger.holds(at(10)).unwrap(), []);
        assert_eq!(ledger.hold_of(&first.scope).unwrap(), Some(first.clone()));
        let second = Hold { strikes: 2, since: at(11), until: at(40), ..first.clone() };
        write(&mut ledger, |writer| writer.hold(&second));
        assert_eq!(ledger.holds(at(12)).unwrap(), std::slice::from_ref(&second));
        assert_eq!(write(&mut ledger, |writer| writer.prune_holds(at(40))), 0);
        assert_eq!(write(&mut ledger, |writer| writer.prune_holds(at(41))), 1);
        assert_eq!(ledger.hold_of(&first.scope).unwrap(), None);
    }

    #[test]
    fn a_column_is_read_in_whatever_case_the_file_spells_it() {
        let ledger = Ledger::in_memory().unwrap();
        ledger.connection.execute("ALTER TABLE holds RENAME COLUMN code TO Code", ()).unwrap();
        let row = "INSERT INTO holds (scope, code, text, strikes, since, until)
                   VALUES ('image', 'capacity', 'none', 1, 0, 9)";
        ledger.connection.execute(row, ()).unwrap();
        assert_eq!(ledger.holds_all().unwrap()[0].code, "capacity");
    }

    #[test]
    fn a_hold_that_is_taken_away_is_forgotten() {
        let mut ledger = Ledger::in_memory().unwrap();
        let hold = Hold {
            scope: "image".into(),
            code: "image-not-found".into(),
            text: String::new(),
            strikes: 0,
            since: at(0),
            struck_at: at(0),
            until: at(10),
        };
        write(&mut ledger, |writer| writer.hold(&hold));
        assert!(write(&mut ledger, |writer| writer.unhold("image")));
        assert!(!write(&mut ledger, |writer| writer.unhold("image")));
        assert_eq!(ledger.holds(at(1)).unwrap(), []);
    }
}
