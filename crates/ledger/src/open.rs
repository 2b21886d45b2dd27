//! Opening: the one place that opens SQLite. It refuses every file that is not a ledger of ours
//! before it changes anything in it, and must never repair one.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mknod};
use rusqlite::backup::Progress;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use crate::reader::identity;
use crate::{LedgerError, Reader};

/// How long a writer waits for the others. SQLite's waiting is unfair: with 8 writers on a slow
/// disk single waits of 6 s were seen (STACK, SQLite), so this is several times that, and a program
/// that waits longer should say so rather than hang.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// `application_id` of the file's header: "azSl".
const APPLICATION_ID: i32 = 0x617a_536c;

/// "azSx": what is left of a ledger that was replaced, for those who had waited for it.
pub(crate) const REPLACED_ID: i32 = 0x617a_5378;

/// Who may read the file: SlurmUser and its group. No secret is in it, but operation addresses and
/// node names.
const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP);

/// Between tries to turn on WAL, where SQLite does not wait by itself. It happens once in a file's
/// life.
const WAL_TRY_PAUSE: Duration = Duration::from_millis(5);

/// More than the crate has different statements, so that none is ever prepared twice.
const STATEMENTS_CACHED: usize = 64;

/// Migration N (from 1) brings schema N-1 to N. Released ones are never edited.
const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
];

/// The schema that this program writes: `user_version` of the file's header.
pub const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// The tables of [`SCHEMA`].
const TABLES: [&str; 9] = [
    "attempts",
    "blocks",
    "budget_waiters",
    "budgets",
    "daemon",
    "events",
    "facts",
    "holds",
    "leases",
];

pub(crate) fn open(path: &Path) -> Result<Reader, LedgerError> {
    if !exists(path)? {
        create(path)?;
    }
    let reader = connect(path)?;
    if reader.connection.is_readonly("main").map_err(reader.while_("opening it"))? {
        return Err(LedgerError::Unwritable { path: path.to_owned() });
    }
    prepare(reader)
}

pub(crate) fn open_existing(path: &Path) -> Result<Reader, LedgerError> {
    if !exists(path)? {
        return Err(LedgerError::Missing { path: path.to_owned() });
    }
    prepare(connect(path)?)
}

pub(crate) fn in_memory() -> Result<Reader, LedgerError> {
    let path = PathBuf::from(":memory:");
    let connection = Connection::open_in_memory()
        .map_err(|error| LedgerError::of(&path, "opening it", error))?;
    prepare(Reader { connection, path, file: None, checked: RefCell::default() })
}

/// The file in memory; it is only read.
pub(crate) fn copy_in_memory(path: &Path) -> Result<Reader, LedgerError> {
    if !exists(path)? {
        return Err(LedgerError::Missing { path: path.to_owned() });
    }
    let failed = |error| LedgerError::of(path, "reading a copy of it", error);
    let mut connection = Connection::open_in_memory().map_err(failed)?;
    connection.restore(MAIN_DB, path, None::<fn(Progress)>).map_err(failed)?;
    prepare(Reader { connection, path: path.to_owned(), file: None, checked: RefCell::default() })
}

/// Whether a file is there that may be a ledger.
fn exists(path: &Path) -> Result<bool, LedgerError> {
    refuse_led_elsewhere(path)?;
    match fs::metadata(path) {
        Ok(file) if file.is_file() => Ok(true),
        // Opening a FIFO would wait for ever.
        Ok(_) => Err(LedgerError::NotALedger { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = directory_of(path);
            if directory.is_dir() {
                return Ok(false);
            }
            Err(LedgerError::NoDirectory { directory: directory.to_owned() })
        }
        Err(error) => Err(unreadable(path, error)),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(crate) fn unreadable(path: &Path, error: io::Error) -> LedgerError {
    LedgerError::Unreadable { path: path.to_owned(), source: Box::new(error) }
}

/// Makes the empty file. By mknod and not by open: closing a descriptor of the file would end the
/// locks of every other connection that this process has to it (POSIX;
/// sqlite.org/howtocorrupt.html, 2.2).
pub(crate) fn create(path: &Path) -> Result<(), LedgerError> {
    match mknod(path, SFlag::S_IFREG, FILE_MODE, 0) {
        Ok(()) => give_to_owner_of_directory(path).map_err(|error| unreadable(path, error)),
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(unreadable(path, errno.into())),
    }
}

/// A ledger that root creates (a person who runs `azslurm-sync`) must not lock SlurmUser out. The
/// directory's owner may have put a link in its place meanwhile: the file that a link leads to is
/// not given away.
fn give_to_owner_of_directory(path: &Path) -> io::Result<()> {
    let file = fs::symlink_metadata(path)?;
    let directory = fs::metadata(directory_of(path))?;
    if file.uid() == 0 && directory.uid() != 0 && file.nlink() == 1 {
        std::os::unix::fs::lchown(path, Some(directory.uid()), Some(directory.gid()))?;
    }
    Ok(())
}

/// Root works on no ledger behind a link in a directory that belongs to somebody else, who may have
/// laid it to a file that only root may write.
fn refuse_led_elsewhere(path: &Path) -> Result<(), LedgerError> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let is_link = fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink());
    let owner = fs::metadata(directory_of(path)).map(|directory| directory.uid());
    if is_link && !matches!(owner, Ok(0)) {
        let why = "root follows no link in a directory of another user: run this as that user";
        return Err(unreadable(path, io::Error::other(why)));
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Reader, LedgerError> {
    // No CREATE: the file is there, and if somebody moves it away now, no other with another mode
    // must appear.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| LedgerError::of(path, "opening it", error))?;
    Ok(Reader {
        connection,
        path: path.to_owned(),
        file: identity(path),
        checked: RefCell::default(),
    })
}

/// Looks at the file, then sets the connection up, then brings the schema up to ours.
fn prepare(reader: Reader) -> Result<Reader, LedgerError> {
    let failed = reader.while_("opening it");
    reader.connection.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    // A schema that somebody else wrote (a copy in a bug report) runs no function of SQLite's that
    // does more than compute.
    reader.connection.execute_batch("PRAGMA trusted_schema = OFF;").map_err(&failed)?;
    // Plans do not depend on the values that are bound: else SQLite prepares statements with a
    // range anew for each value (sqlite.org/queryplanner-ng.html, 4).
    let stable = DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
    reader.connection.set_db_config(stable, true).map_err(&failed)?;
    reader.connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    let schema = schema_of(&reader)?;
    turn_on_wal(&reader)?;
    reader
        .connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(&failed)?;
    if schema < SCHEMA {
        migrate(&reader)?;
    }
    check_tables(&reader)?;
    drop(failed);
    Ok(reader)
}

/// The file's schema, 0 for an empty file. Any file that is not ours, or newer, is refused.
fn schema_of(reader: &Reader) -> Result<i64, LedgerError> {
    let path = reader.path.clone();
    // One statement, so that another process that just makes the ledger is seen before or after,
    // not between.
    let (application_id, schema, objects): (i32, i64, i64) = reader
        .connection
        .query_row(
            "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema)
             FROM pragma_application_id AS a, pragma_user_version AS v",
            (),
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(reader.while_("opening it"))?;
    let is_empty = application_id == 0 && schema == 0 && objects == 0;
    if application_id == REPLACED_ID {
        return Err(LedgerError::Replaced { path });
    }
    if application_id != APPLICATION_ID && !is_empty {
        return Err(LedgerError::Foreign { path, application_id });
    }
    if schema > SCHEMA {
        return Err(LedgerError::Newer { path, found: schema, known: SCHEMA });
    }
    Ok(schema)
}

/// WAL is kept in the file's header: only the first process of a file's life really turns it on.
/// SQLite answers "busy" at once, without waiting, when two do so at the same moment.
fn turn_on_wal(reader: &Reader) -> Result<(), LedgerError> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        let turned: Result<String, rusqlite::Error> =
            reader.connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0));
        let error = match turned.map_err(reader.while_("turning on its write-ahead log")) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let is_busy = matches!(error, LedgerError::Busy { .. });
        if !is_busy || Instant::now() >= deadline {
            return Err(error);
        }
        thread::sleep(WAL_TRY_PAUSE);
    }
}

/// Each migration in a transaction of its own, which looks again whether another process was
/// faster.
fn migrate(reader: &Reader) -> Result<(), LedgerError> {
    for (number, sql) in (1i64..).zip(MIGRATIONS) {
        let failed = reader.while_("bringing its schema up to date");
        let transaction =
            Transaction::new_unchecked(&reader.connection, TransactionBehavior::Immediate)
                .map_err(&failed)?;
        if schema_of(reader)? >= number {
            continue;
        }
        transaction.execute_batch(sql).map_err(&failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(&failed)?;
        transaction.pragma_update(None, "user_version", number).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
    }
    Ok(())
}

/// Looks whether the tables of our schema are there, which also reads and checks the schema itself.
fn check_tables(reader: &Reader) -> Result<(), LedgerError> {
    for table in TABLES {
        let is_there: bool = reader
            .connection
            .prepare_cached("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1")
            .and_then(|mut statement| statement.query_row((table,), |row| row.get(0)))
            .map_err(reader.while_("looking for its tables"))?;
        if !is_there {
            return Err(LedgerError::Damaged {
                path: reader.path.clone(),
                table: "sqlite_schema",
                row: table.to_owned(),
                column: "name",
                found: "no such table".to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;
    use crate::sample::{at, write};
    use crate::{Event, EventFilter, Ledger};

    fn place() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.db");
        (directory, path)
    }

    /// Opening is refused in both ways, with these words, and the file stays as it was.
    fn refused(path: &Path, words: &str) {
        let before = fs::read(path).ok();
        for opened in [Ledger::open(path), Ledger::open_existing(path)] {
            let text = opened.unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(!text.contains("  "), "{text}");
        }
        assert_eq!(fs::read(path).ok(), before);
    }

    #[test]
    fn a_new_ledger_may_be_read_by_slurms_group_and_by_nobody_else() {
        let (_directory, path) = place();
        drop(Ledger::open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let again = Ledger::open(&path).unwrap();
        assert_eq!(schema_of(&again).unwrap(), SCHEMA);
        let pragma = |name: &str| -> String {
            let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
            again.connection.query_row(&sql, (), |row| row.get(0)).unwrap()
        };
        assert_eq!(pragma("journal_mode"), "wal");
        assert_eq!(pragma("synchronous"), "2");
        assert_eq!(pragma("foreign_keys"), "1");
        assert_eq!(pragma("trusted_schema"), "0");
        assert_eq!(pragma("application_id"), APPLICATION_ID.to_string());
    }

    #[test]
    fn what_was_committed_is_there_when_the_ledger_is_opened_again() {
        let (_directory, path) = place();
        let mut ledger = Ledger::open(&path).unwrap();
        write(&mut ledger, |writer| writer.event(&Event::new(at(1), "test", "kept")));
        drop(ledger);
        let again = Ledger::open_existing(&path).unwrap();
        assert_eq!(again.events(&EventFilter::default()).unwrap()[0].text, "kept");
    }

    #[test]
    fn a_ledger_whose_maker_was_killed_before_its_first_write_is_finished() {
        for open in [Ledger::open, Ledger::open_existing] {
            let (_directory, path) = place();
            fs::write(&path, b"").unwrap();
            assert_eq!(schema_of(&open(&path).unwrap()).unwrap(), SCHEMA);
        }
    }

    #[test]
    fn looking_at_a_ledger_that_is_not_there_does_not_make_one() {
        let (_directory, path) = place();
        let error = Ledger::open_existing(&path).unwrap_err();
        assert!(matches!(error, LedgerError::Missing { .. }));
        assert!(error.to_string().contains("no program of azslurm has run yet"));
        assert!(!path.exists());
    }

    #[test]
    fn root_works_on_no_ledger_behind_a_link_of_another_user() {
        if !nix::unistd::geteuid().is_root() {
            println!("left out: only root can be led where others may not go");
            return;
        }
        let (directory, path) = place();
        let theirs = directory.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        let link = theirs.join("ledger.db");
        fs::write(&path, b"").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::os::unix::fs::chown(&theirs, Some(12_345), Some(12_346)).unwrap();
        for opened in [Ledger::open(&link), Ledger::open_existing(&link)] {
            let text = format!("{:?}", opened.unwrap_err());
            assert!(text.contains("root follows no link"), "{text}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"", "it is as it was");
        // What was put in the place of a file that root has made is not given away.
        give_to_owner_of_directory(&link).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
        // In root's own directory a link is root's word.
        std::os::unix::fs::chown(&theirs, Some(0), Some(0)).unwrap();
        assert_eq!(schema_of(&Ledger::open(&link).unwrap()).unwrap(), SCHEMA);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named_with_the_way_to_make_it() {
        let (directory, _) = place();
        let missing = directory.path().join("azslurm");
        let error = Ledger::open(&missing.join("ledger.db")).unwrap_err().to_string();
        let way = format!("install -d -m 0700 -o slurm -g slurm {}`", missing.display());
        assert!(error.contains(&way), "{error}");
        assert!(!missing.exists());
    }

    #[test]
    fn what_is_no_file_is_no_ledger() {
        let (directory, path) = place();
        refused(directory.path(), "is not a ledger");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR).unwrap();
        let error = Ledger::open(&path).unwrap_err();
        assert!(matches!(error, LedgerError::NotALedger { .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_not_sqlite_is_refused() {
        for content in ["hello\n".to_owned(), "NodeName=n1\n".repeat(1000)] {
            let (_directory, path) = place();
            fs::write(&path, content).unwrap();
            refused(&path, "is not a ledger, nor any SQLite file: set `path` in [ledger]");
        }
    }

    #[test]
    fn the_file_of_another_program_is_refused_and_not_touched() {
        let makes = [
            ("PRAGMA application_id = 7; CREATE TABLE t (x);", "(application id 0x7)"),
            ("CREATE TABLE t (x);", "(application id 0x0)"),
            ("PRAGMA user_version = 3;", "(application id 0x0)"),
            ("PRAGMA application_id = 7;", "is the SQLite file of another program"),
        ];
        for (sql, words) in makes {
            let (_directory, path) = place();
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            refused(&path, words);
        }
    }

    #[test]
    fn a_ledger_from_the_future_is_refused_with_both_schemas() {
        let (_directory, path) = place();
        drop(Ledger::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        refused(
            &path,
            &format!("newer azslurm (schema 7, this program knows up to {SCHEMA}): upgrade this"),
        );
    }

    #[test]
    fn a_ledger_of_an_older_schema_is_brought_up_to_ours_and_forgets_its_budgets() {
        for schema in 1..3 {
            let (_directory, path) = place();
            let old = Connection::open(&path).unwrap();
            for sql in &MIGRATIONS[..schema] {
                old.execute_batch(sql).unwrap();
            }
            old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
            old.pragma_update(None, "user_version", schema as i64).unwrap();
            let closure = "INSERT INTO budgets (name, tokens, at) VALUES ('west/put/s', 0, 0)";
            old.execute_batch(closure).unwrap();
            drop(old);
            let ledger = Ledger::open(&path).unwrap();
            assert_eq!(schema_of(&ledger).unwrap(), SCHEMA);
            assert_eq!(ledger.budgets().unwrap(), []);
            assert_eq!(ledger.budget_waiters("writes").unwrap(), []);
        }
    }

    #[test]
    fn a_ledger_without_one_of_its_tables_is_damaged() {
        let (_directory, path) = place();
        drop(Ledger::open(&path).unwrap());
        Connection::open(&path).unwrap().execute_batch("DROP TABLE holds").unwrap();
        refused(&path, "is damaged (sqlite_schema \"holds\" has name no such table)");
    }

    #[test]
    fn a_torn_ledger_is_corrupt() {
        let (_directory, path) = place();
        drop(Ledger::open(&path).unwrap());
        let whole = fs::read(&path).unwrap();
        // The first page says that there are more.
        fs::write(&path, &whole[..4096]).unwrap();
        refused(&path, "is corrupt: run `azslurm-sync rebuild --anew`, which keeps it beside");
    }

    #[test]
    fn corruption_deep_inside_is_said_when_it_is_met() {
        let (_directory, path) = place();
        drop(Ledger::open(&path).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        // All pages after those of the schema.
        let pages_kept = 3 * 4096;
        bytes[pages_kept..].fill(0xa5);
        fs::write(&path, &bytes).unwrap();
        let corrupt = Ledger::open(&path).and_then(|ledger| {
            ledger.leases()?;
            ledger.attempts_latest()?;
            ledger.events(&EventFilter::default())
        });
        let error = corrupt.unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn a_lock_that_does_not_end_is_said_with_what_waited() {
        let (_directory, path) = place();
        let one = Ledger::open(&path).unwrap();
        let mut other = Ledger::open(&path).unwrap();
        other.connection.busy_timeout(Duration::ZERO).unwrap();
        one.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let event = Event::new(at(1), "test", "late");
        let error = other.write(|writer| writer.event(&event)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, LedgerError::Busy { .. }), "{text}");
        assert!(text.contains("locked by another program for 30 s while beginning"), "{text}");
        // Reading goes on meanwhile, and writing afterwards.
        assert_eq!(other.events(&EventFilter::default()).unwrap(), []);
        one.connection.execute_batch("ROLLBACK").unwrap();
        write(&mut other, |writer| writer.event(&event));
    }

    #[test]
    fn a_full_disk_is_said_and_leaves_what_was() {
        let (_directory, path) = place();
        let mut ledger = Ledger::open(&path).unwrap();
        let pages: i64 =
            ledger.connection.query_row("PRAGMA page_count", (), |row| row.get(0)).unwrap();
        ledger
            .connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), (), |_| Ok(()))
            .unwrap();
        let error = ledger
            .write(|writer| {
                (0..1000).try_for_each(|number| {
                    writer.event(&Event::new(at(number), "test", "x".repeat(1000)))
                })
            })
            .unwrap_err();
        assert!(matches!(error, LedgerError::Full { .. }), "{error}");
        assert_eq!(ledger.events(&EventFilter::default()).unwrap(), []);
    }

    /// Opens anew, as the programs do, and adds one to what is there.
    fn strike_once(path: &Path) {
        let mut ledger = Ledger::open(path).unwrap();
        write(&mut ledger, |writer| {
            let strikes = writer.hold_of("n")?.map_or(0, |hold| hold.strikes);
            writer.hold(&crate::Hold {
                scope: "n".into(),
                code: String::new(),
                text: String::new(),
                strikes: strikes + 1,
                since: at(0),
                struck_at: at(0),
                until: at(1),
            })
        });
    }

    #[test]
    fn threads_that_write_through_their_own_connections_lose_nothing() {
        let (_directory, path) = place();
        let (threads, each) = (8, 50);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..each).for_each(|_| strike_once(&path)));
            }
        });
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.hold_of("n").unwrap().unwrap().strikes, threads * each);
    }

    /// SQLite's own waiting does not cover this: without the tries of [`turn_on_wal`] about one
    /// round of thirty fails.
    #[test]
    fn a_new_file_that_many_open_at_one_moment_is_opened_by_all() {
        let (rounds, threads) = (200, 8);
        for _ in 0..rounds {
            let (_directory, path) = place();
            let start = std::sync::Barrier::new(threads);
            let open = || {
                start.wait();
                Ledger::open(&path).unwrap()
            };
            thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(open))));
        }
    }
}
