//! Copies of a ledger: for a bug report, and read back on any machine. A copy is a file by itself,
//! without a write-ahead log; the original is only read.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;

use crate::{Ledger, LedgerError, Reader, open};

/// Events that a copy keeps: weeks of a busy cluster, and a file that can be sent by mail.
const EVENTS_COPIED_MAX: i64 = 10_000;

impl Reader {
    /// Writes the ledger of this moment to a new file, with mode 0600. Left out: addresses of
    /// Azure's operations, whose queries are signed, and all but the newest ten thousand events.
    ///
    /// # Errors
    /// The file is there already or cannot be written, or the ledger cannot be read.
    pub fn save_copy(&self, path: &Path) -> Result<(), LedgerError> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| open::unreadable(path, error))?;
        let text = path.display().to_string();
        self.change("copying it", "VACUUM INTO ?1", (&text,))?;
        let failed = |error| LedgerError::of(path, "taking out what a copy must not hold", error);
        let copy = Connection::open(path).map_err(failed)?;
        copy.execute("UPDATE attempts SET operation = NULL", ()).map_err(failed)?;
        let old = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?1";
        copy.execute(old, (EVENTS_COPIED_MAX,)).map_err(failed)?;
        // What was deleted still stands in the file until it is written anew.
        copy.execute_batch("VACUUM").map_err(failed)
    }
}

impl Ledger {
    /// Reads a copy into memory: nothing that is done with it reaches the file. One of an older
    /// schema is brought up to ours there.
    ///
    /// # Errors
    /// It is no ledger of ours, or a newer one.
    pub fn of_copy(path: &Path) -> Result<Ledger, LedgerError> {
        open::copy_in_memory(path).map(Ledger::of)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::sample::{at, leased, new_attempt, write};
    use crate::{Event, EventFilter};

    #[test]
    fn a_copy_holds_the_rows_of_its_moment_and_no_address_of_an_operation() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, lease) = leased();
        write(&mut ledger, |writer| {
            let _done = writer.intend(&lease, &new_attempt("n1", 1), at(0), at(1))?;
            writer.event(&Event::new(at(1), "test", "kept"))
        });
        let vm = ledger.attempts_unfinished().unwrap()[0].is.vm.clone();
        ledger
            .connection
            .execute("UPDATE attempts SET operation = 'https://a/op?sig=abc'", ())
            .unwrap();
        let path = folder.path().join("copy.db");
        ledger.save_copy(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|word| word == b"sig=abc"), "a signature is in the copy");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = Ledger::of_copy(&path).unwrap();
        let attempt = copy.attempt(&vm).unwrap().unwrap();
        assert_eq!(attempt.operation, None);
        assert_eq!(copy.leases().unwrap(), ledger.leases().unwrap());
        let events = copy.events(&EventFilter::default()).unwrap();
        assert!(events.iter().any(|event| event.text == "kept"), "{events:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "one file, no log");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "reading changes nothing");
        assert!(ledger.save_copy(&path).is_err(), "no file is written over");
    }

    #[test]
    fn what_is_no_ledger_is_no_copy_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.db");
        assert!(matches!(Ledger::of_copy(&path), Err(LedgerError::Missing { .. })));
        std::fs::write(&path, "hello\n".repeat(1000)).unwrap();
        let error = Ledger::of_copy(&path).unwrap_err().to_string();
        assert!(error.contains("is not a ledger"), "{error}");
    }
}
