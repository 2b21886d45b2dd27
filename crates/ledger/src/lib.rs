//! The ledger: what neither Slurm nor Azure knows. Who works on a node and until when (leases),
//! what was tried and what is known of it (attempts), where not to try and how fast (holds,
//! budgets), and the history of all that (events), in one SQLite file that many short-lived
//! processes share.
//!
//! ```text
//! Ledger::open ─► Ledger ──write──► Writer: lease ─► intend ─► record … ─► release
//!                    │                 │           (one IMMEDIATE transaction)
//!                    └────► Reader ◄───┘           (every read, inside or out)
//! ```
//!
//! - Every change of an attempt takes `&Lease`, and its transaction looks whether that lease still
//!   holds: a late write of a holder that expired or was superseded changes nothing.
//! - One transaction is one fsync: callers put a whole batch into one [`Ledger::write`].
//! - This crate opens SQLite, and nothing else. It must never call Azure or Slurm, read a clock
//!   (`now` is handed in), or decide anything: which changes make sense is
//!   [`azslurm_core::attempt::AttemptState::after`].

mod attempt;
mod block;
mod budget;
mod copy;
mod daemon;
mod error;
mod event;
mod fact;
mod hold;
mod known;
mod lease;
mod open;
mod reader;
mod record;
mod replace;
mod settle;

use std::ops::Deref;
use std::path::Path;

use rusqlite::{Transaction, TransactionBehavior};

pub use budget::Budget;
pub use daemon::DaemonRow;
pub use error::LedgerError;
pub use event::{EVENTS_SHOWN_DEFAULT, Event, EventFilter, ROWS_PRUNED_MAX};
pub use fact::Fact;
pub use hold::Hold;
pub use lease::{Holder, HolderError, Lease, LeaseAnswer, LeaseAsk, LeaseRow, Take};
pub use open::{BUSY_TIMEOUT, SCHEMA};
pub use reader::Reader;
pub use record::Recorded;
pub use replace::discard;

/// One connection to the ledger. All reads are there by `Deref` to [`Reader`]; each is one
/// statement and therefore one consistent view.
#[derive(Debug)]
pub struct Ledger {
    reader: Reader,
    transactions: u64,
}

impl Ledger {
    /// Opens the ledger to work with it; creates the file (mode 0640, in a directory that exists)
    /// and brings an older schema up to ours. Safe when several processes do so at the same moment.
    pub fn open(path: &Path) -> Result<Ledger, LedgerError> {
        open::open(path).map(Ledger::of)
    }

    /// Opens the ledger for a program that only looks. A file that is not there is
    /// [`LedgerError::Missing`] and is not created; a file that we may only read is enough while
    /// another program has it open.
    pub fn open_existing(path: &Path) -> Result<Ledger, LedgerError> {
        open::open_existing(path).map(Ledger::of)
    }

    /// A ledger that lives and dies with this value: for the simulation and for tests.
    pub fn in_memory() -> Result<Ledger, LedgerError> {
        open::in_memory().map(Ledger::of)
    }

    fn of(reader: Reader) -> Ledger {
        Ledger { reader, transactions: 0 }
    }

    /// One IMMEDIATE transaction: committed, and on disk, when `work` returns `Ok`; rolled back
    /// when it returns `Err` or panics. Others wait meanwhile (at most [`BUSY_TIMEOUT`]): `work`
    /// must not wait for anything.
    pub fn write<T, E: From<LedgerError>>(
        &mut self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let reader = &self.reader;
        let transaction =
            Transaction::new_unchecked(&reader.connection, TransactionBehavior::Immediate)
                .map_err(reader.while_("beginning a transaction"))?;
        reader.check_in_place()?;
        // Dropping the transaction on the way out rolls it back.
        let done = work(&mut Writer { reader })?;
        transaction.commit().map_err(reader.while_("committing a transaction"))?;
        self.transactions += 1;
        Ok(done)
    }

    /// Several reads that see the ledger at one moment. Does not keep anybody from writing
    /// meanwhile.
    pub fn read<T, E: From<LedgerError>>(
        &mut self,
        work: impl FnOnce(&Reader) -> Result<T, E>,
    ) -> Result<T, E> {
        let reader = &self.reader;
        let transaction =
            Transaction::new_unchecked(&reader.connection, TransactionBehavior::Deferred)
                .map_err(reader.while_("beginning to read"))?;
        let done = work(reader)?;
        transaction.commit().map_err(reader.while_("ending to read"))?;
        Ok(done)
    }

    /// How many [`Ledger::write`] of this connection were committed.
    pub fn transactions(&self) -> u64 {
        self.transactions
    }
}

impl Deref for Ledger {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

/// The inside of one write transaction. All reads are there too and see what was written before
/// them.
#[derive(Debug)]
pub struct Writer<'ledger> {
    reader: &'ledger Reader,
}

impl Deref for Writer<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        self.reader
    }
}

#[cfg(test)]
mod sample;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{at, leased, node, write};

    #[test]
    fn a_transaction_that_fails_or_panics_leaves_nothing() {
        let (mut ledger, _) = leased();
        assert_eq!(ledger.transactions(), 1);
        let failed: Result<(), LedgerError> = ledger.write(|writer| {
            writer.event(&Event::new(at(1), "test", "lost"))?;
            Err(LedgerError::Missing { path: "nowhere".into() })
        });
        assert!(matches!(failed, Err(LedgerError::Missing { .. })));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _: Result<(), LedgerError> = ledger.write(|writer| {
                writer.event(&Event::new(at(1), "test", "lost"))?;
                panic!("in the middle");
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(ledger.events(&EventFilter::default()).unwrap(), []);
        assert_eq!(ledger.transactions(), 1);
        write(&mut ledger, |writer| writer.event(&Event::new(at(2), "test", "kept")));
        assert_eq!(ledger.events(&EventFilter::default()).unwrap().len(), 1);
        assert_eq!(ledger.transactions(), 2);
    }

    #[test]
    fn reads_inside_a_transaction_see_its_writes() {
        let (mut ledger, lease) = leased();
        write(&mut ledger, |writer| {
            writer.release(&lease)?;
            assert_eq!(writer.leases()?, []);
            writer.lease(&node("n2"), &sample::ask(lease.holder(), Take::IfFree, 0, 10))?;
            assert_eq!(writer.leases()?.len(), 1);
            Ok(())
        });
    }

    #[test]
    fn a_change_of_another_connection_is_seen_and_our_own_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.db");
        let (mut one, mut other) = (Ledger::open(&path).unwrap(), Ledger::open(&path).unwrap());
        let before = one.version_of_others().unwrap();
        write(&mut one, |writer| writer.event(&Event::new(at(1), "test", "own")));
        assert_eq!(one.version_of_others().unwrap(), before);
        let failed: Result<(), LedgerError> = other.write(|writer| {
            writer.event(&Event::new(at(1), "test", "lost"))?;
            Err(LedgerError::Missing { path: "nowhere".into() })
        });
        assert!(failed.is_err());
        assert_eq!(one.version_of_others().unwrap(), before, "nothing was changed");
        write(&mut other, |writer| writer.event(&Event::new(at(1), "test", "another's")));
        let after = one.version_of_others().unwrap();
        assert_ne!(after, before);
        assert_eq!(one.version_of_others().unwrap(), after);
    }

    #[test]
    fn several_reads_see_one_moment_while_another_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.db");
        let mut one = Ledger::open(&path).unwrap();
        let mut other = Ledger::open(&path).unwrap();
        let seen: Result<(usize, usize), LedgerError> = one.read(|reader| {
            let before = reader.events(&EventFilter::default())?.len();
            write(&mut other, |writer| writer.event(&Event::new(at(1), "test", "new")));
            Ok((before, reader.events(&EventFilter::default())?.len()))
        });
        assert_eq!(seen.unwrap(), (0, 0));
        assert_eq!(one.events(&EventFilter::default()).unwrap().len(), 1);
    }
}
