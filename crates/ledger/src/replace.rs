//! Putting a ledger that was built beside in the place of another, which is kept under another
//! name.
//!
//! A write-ahead log is found by its name, and the last connection removes it by its name: a file
//! that changes places while somebody has it open is how SQLite files are corrupted
//! (sqlite.org/howtocorrupt.html, 4). So the old ledger is taken out of that mode first, which
//! SQLite does only for its last user; what is left of it then says that it was replaced, to
//! whoever has waited for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::open::{REPLACED_ID, create, unreadable};
use crate::{Ledger, LedgerError};

/// Others have the ledger open for milliseconds, or for minutes: longer waiting does not help.
const ALONE_WAIT: Duration = Duration::from_secs(5);
/// What SQLite keeps beside a file.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

impl Ledger {
    /// Puts the ledger at `built`, which nobody has open, in the place of the one at `path`, if
    /// there is one: that is kept at `aside`. Whether it was. All of it is done, or nothing.
    ///
    /// # Errors
    /// [`LedgerError::InUse`]: somebody has the old one open, or has just made one. What is at
    /// `path` is then as it was.
    pub fn install(built: &Path, path: &Path, aside: &Path) -> Result<bool, LedgerError> {
        let is_there = fs::exists(path).map_err(|error| unreadable(path, error))?;
        if !is_there {
            put(built, path, aside)?;
            return Ok(false);
        }
        match keep(path, aside) {
            // Those who wait for the old one find what it is as soon as this connection ends.
            Ok(_old) => fs::rename(built, path).map_err(|error| unreadable(path, error))?,
            // Nobody can work with that one.
            Err(LedgerError::Corrupt { .. }) => {
                fs::rename(path, aside).map_err(|error| unreadable(path, error))?;
                put(built, path, aside)?;
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// Copies the ledger at `path` to `aside`, and marks it as replaced. Nobody else gets at it before
/// the connection is dropped.
fn keep(path: &Path, aside: &Path) -> Result<Connection, LedgerError> {
    let old = alone(path)?;
    create(aside)?;
    let text = aside.display().to_string();
    let failed = |error| LedgerError::of(path, "keeping a copy of it", error);
    old.execute("VACUUM INTO ?1", (&text,)).map_err(failed)?;
    old.pragma_update(None, "application_id", REPLACED_ID).map_err(failed)?;
    Ok(old)
}

/// Removes a ledger that was built and is not wanted, with what stands beside it.
pub fn discard(built: &Path) {
    for file in std::iter::once(built.to_owned()).chain(BESIDE.iter().map(|end| with(built, end))) {
        // It need not be there.
        let _absent = fs::remove_file(file);
    }
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Gives `built` the name `path`, which nothing has. The remains of a ledger that is gone would be
/// taken for the new one's.
fn put(built: &Path, path: &Path, aside: &Path) -> Result<(), LedgerError> {
    for end in BESIDE {
        match fs::rename(with(path, end), with(aside, end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unreadable(path, error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    match fs::hard_link(built, path) {
        Ok(()) => fs::remove_file(built).map_err(|error| unreadable(built, error)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(LedgerError::InUse { path: path.to_owned() })
        }
        Err(error) => Err(unreadable(path, error)),
    }
}

/// The only connection to a ledger, which is a file by itself then. Nobody else gets at it before
/// this is dropped.
fn alone(path: &Path) -> Result<Connection, LedgerError> {
    let failed = |error| {
        let error = LedgerError::of(path, "taking it out of use", error);
        let is_busy = matches!(error, LedgerError::Busy { .. });
        if is_busy { LedgerError::InUse { path: path.to_owned() } } else { error }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let old = Connection::open_with_flags(path, flags).map_err(failed)?;
    old.busy_timeout(ALONE_WAIT).map_err(failed)?;
    let mode = |sql: &str| old.query_row(sql, (), |row| row.get::<_, String>(0)).map_err(failed);
    mode("PRAGMA journal_mode = DELETE")?;
    mode("PRAGMA locking_mode = EXCLUSIVE")?;
    old.execute_batch("BEGIN EXCLUSIVE; COMMIT").map_err(failed)?;
    if mode("PRAGMA journal_mode")? != "delete" {
        return Err(LedgerError::InUse { path: path.to_owned() });
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{at, write};
    use crate::{Event, EventFilter};

    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn file(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn make(&self, name: &str, text: &str) -> Ledger {
            let mut ledger = Ledger::open(&self.file(name)).unwrap();
            write(&mut ledger, |writer| writer.event(&Event::new(at(1), "test", text)));
            ledger
        }

        fn text(&self, name: &str) -> String {
            let ledger = Ledger::open_existing(&self.file(name)).unwrap();
            ledger.events(&EventFilter::default()).unwrap().remove(0).text
        }

        fn install(&self) -> Result<bool, LedgerError> {
            Ledger::install(&self.file("built"), &self.file("ledger"), &self.file("aside"))
        }
    }

    fn place() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    #[test]
    fn the_old_ledger_is_kept_and_the_new_one_stands_in_its_place() {
        let place = place();
        drop(place.make("ledger", "old"));
        drop(place.make("built", "new"));
        assert!(place.install().unwrap());
        assert_eq!((place.text("ledger"), place.text("aside")), ("new".into(), "old".into()));
        assert!(!place.file("built").exists());
    }

    #[test]
    fn a_ledger_that_somebody_has_open_stays_as_it_is() {
        let place = place();
        let mut used = place.make("ledger", "old");
        drop(place.make("built", "new"));
        let error = place.install().unwrap_err();
        assert!(matches!(error, LedgerError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("fuser"), "{error}");
        write(&mut used, |writer| writer.event(&Event::new(at(2), "test", "more")));
        drop(used);
        assert_eq!(place.text("ledger"), "old");
        assert!(!place.file("aside").exists());
    }

    #[test]
    fn a_corrupt_ledger_is_kept_as_it_is() {
        let place = place();
        let mut ledger = place.make("ledger", "old");
        write(&mut ledger, |writer| {
            (2..2000).try_for_each(|number| {
                writer.event(&Event::new(at(number), "test", "one of many".repeat(9)))
            })
        });
        drop(ledger);
        let mut bytes = fs::read(place.file("ledger")).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0xa5);
        fs::write(place.file("ledger"), &bytes).unwrap();
        drop(place.make("built", "new"));
        assert!(place.install().unwrap());
        assert_eq!(place.text("ledger"), "new");
        assert_eq!(fs::read(place.file("aside")).unwrap()[half..], bytes[half..]);
    }

    #[test]
    fn the_remains_of_a_lost_ledger_are_not_taken_for_the_new_ones() {
        let place = place();
        let lost = place.make("ledger", "old");
        fs::remove_file(place.file("ledger")).unwrap();
        assert!(place.file("ledger-wal").exists());
        drop(place.make("built", "new"));
        assert!(!place.install().unwrap());
        drop(lost);
        assert_eq!(place.text("ledger"), "new");
        assert!(place.file("aside-wal").exists());
    }

    #[test]
    fn a_ledger_that_was_made_meanwhile_is_not_replaced() {
        let place = place();
        drop(place.make("ledger", "theirs"));
        drop(place.make("built", "new"));
        let put = put(&place.file("built"), &place.file("ledger"), &place.file("aside"));
        assert!(matches!(put, Err(LedgerError::InUse { .. })));
        assert_eq!(place.text("ledger"), "theirs");
    }

    #[test]
    fn whoever_works_with_a_ledger_that_is_gone_or_replaced_is_told_at_its_next_write() {
        for is_replaced in [false, true] {
            let place = place();
            let mut ledger = place.make("ledger", "old");
            fs::remove_file(place.file("ledger")).unwrap();
            if is_replaced {
                discard(&place.file("ledger"));
                drop(place.make("ledger", "new"));
            }
            let late: Result<(), LedgerError> =
                ledger.write(|writer| writer.event(&Event::new(at(2), "test", "late")));
            let error = late.unwrap_err();
            assert!(matches!(error, LedgerError::Replaced { .. }), "{error}");
        }
    }
}
