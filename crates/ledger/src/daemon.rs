//! Which daemon of azslurm-sync acts: one row. Passes by hand need no such row; what keeps passes
//! apart is the leases of nodes.

use azslurm_core::Timestamp;

use crate::reader::Query;
use crate::{Holder, LedgerError, Reader, Writer};

/// The daemon that acts, or acted until its time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonRow {
    /// One life of the daemon.
    pub holder: Holder,
    /// The machine that it runs on.
    pub host: String,
    /// Grows with every change of the holder, from 1.
    pub generation: i64,
    /// Since when it acts.
    pub since: Timestamp,
    /// Until when it has said that it acts.
    pub until: Timestamp,
}

impl DaemonRow {
    /// Whether `by` may act instead: it is the same life, or this one's time is over, or it is
    /// known to be dead.
    pub fn may_be_followed(&self, by: &Holder, now: Timestamp, is_dead: bool) -> bool {
        self.holder == *by || self.until <= now || is_dead
    }
}

impl Reader {
    /// The daemon that acts; `None` if there never was one.
    pub fn daemon(&self) -> Result<Option<DaemonRow>, LedgerError> {
        let query = Query {
            doing: "reading which daemon acts",
            table: "daemon",
            sql: "SELECT id, holder, host, generation, since, until FROM daemon WHERE id = 1",
        };
        self.row(&query, (), |cells| {
            cells.integer("id")?;
            Ok(DaemonRow {
                holder: cells.name("holder")?,
                host: cells.text("host")?,
                generation: cells.generation("generation")?,
                since: cells.time("since")?,
                until: cells.time("until")?,
            })
        })
    }
}

impl Writer<'_> {
    /// `holder` acts from `now` until `until`, on `host`. Whether it may is the caller's to know,
    /// in this transaction: [`DaemonRow::may_be_followed`].
    pub fn set_daemon(
        &mut self,
        (holder, host): (&Holder, &str),
        (now, until): (Timestamp, Timestamp),
    ) -> Result<(), LedgerError> {
        let before = self.daemon()?;
        let (generation, since) = match before {
            Some(row) if row.holder == *holder => (row.generation, row.since),
            Some(row) => (row.generation + 1, now),
            None => (1, now),
        };
        self.change(
            "writing which daemon acts",
            "INSERT OR REPLACE INTO daemon (id, holder, host, generation, since, until)
             VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            (holder.as_str(), host, generation, since.as_millis(), until.as_millis()),
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use crate::sample::{at, write};

    fn holder(pid: u32) -> Holder {
        Holder::new("daemon", at(0), pid)
    }

    #[test]
    fn a_daemon_is_followed_after_its_time_or_its_death_and_not_before() {
        let row = DaemonRow {
            holder: holder(1),
            host: "head".to_owned(),
            generation: 1,
            since: at(0),
            until: at(100),
        };
        assert!(!row.may_be_followed(&holder(2), at(99), false));
        assert!(row.may_be_followed(&holder(2), at(100), false));
        assert!(row.may_be_followed(&holder(2), at(1), true));
        assert!(row.may_be_followed(&holder(1), at(1), false), "it goes on itself");
    }

    #[test]
    fn the_generation_grows_with_the_holder_and_not_with_renewals() {
        let mut ledger = Ledger::in_memory().unwrap();
        assert_eq!(ledger.daemon().unwrap(), None);
        let mut acts = |pid: u32, now: i64| {
            write(&mut ledger, |writer| {
                writer.set_daemon((&holder(pid), "head"), (at(now), at(now + 10)))
            });
            let row = ledger.daemon().unwrap().unwrap();
            assert_eq!((row.holder, row.until), (holder(pid), at(now + 10)));
            (row.generation, row.since)
        };
        assert_eq!(acts(1, 0), (1, at(0)));
        assert_eq!(acts(1, 5), (1, at(0)));
        assert_eq!(acts(2, 30), (2, at(30)));
        assert_eq!(acts(1, 60), (3, at(60)));
    }
}
