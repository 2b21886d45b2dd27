//! Opening: the one place that opens SQLite. It refuses every file that is not a ledger of ours before it
//! changes anything in it, and must never repair one.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mknod};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::{LedgerError, Reader};

/// How long a writer waits for the others. SQLite's waiting is unfair: with 8 writers on a slow disk single
/// waits of 6 s were seen (STACK, SQLite), so this is several times that, and a program that waits longer
/// should say so rather than hang.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// `application_id` of the file's header: "azSl".
const APPLICATION_ID: i32 = 0x617a_536c;

/// Who may read the file: SlurmUser and its group. No secret is in it, but operation addresses and node names.
const FILE_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP);

/// Between tries to turn on WAL, where SQLite does not wait by itself. It happens once in a file's life.
const WAL_TRY_PAUSE: Duration = Duration::from_millis(5);

/// More than the crate has different statements, so that none is ever prepared twice.
const STATEMENTS_CACHED: usize = 64;

/// Migration N (from 1) brings schema N-1 to N. Released ones are never edited.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// The schema that this program writes: `user_version` of the file's header.
pub const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// The tables of [`SCHEMA`].
const TABLES: [&str; 6] = ["attempts", "blocks", "budgets", "events", "holds", "leases"];

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
    prepare(Reader { connection, path })
}

/// Whether a file is there that may be a ledger.
fn exists(path: &Path) -> Result<bool, LedgerError> {
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

fn unreadable(path: &Path, error: io::Error) -> LedgerError {
    LedgerError::Unreadable { path: path.to_owned(), source: Box::new(error) }
}

/// Makes the empty file. By mknod and not by open: closing a descriptor of the file would end the locks of
/// every other connection that this process has to it (POSIX; sqlite.org/howtocorrupt.html, 2.2).
fn create(path: &Path) -> Result<(), LedgerError> {
    match mknod(path, SFlag::S_IFREG, FILE_MODE, 0) {
        Ok(()) => give_to_owner_of_directory(path).map_err(|error| unreadable(path, error)),
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(unreadable(path, errno.into())),
    }
}

/// A ledger that root creates (a person who runs `azslurm-sync`) must not lock SlurmUser out.
fn give_to_owner_of_directory(path: &Path) -> io::Result<()> {
    let file = fs::metadata(path)?;
    let directory = fs::metadata(directory_of(path))?;
    if file.uid() == 0 && directory.uid() != 0 {
        std::os::unix::fs::chown(path, Some(directory.uid()), Some(directory.gid()))?;
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Reader, LedgerError> {
    // No CREATE: the file is there, and if somebody moves it away now, no other with another mode must appear.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| LedgerError::of(path, "opening it", error))?;
    Ok(Reader { connection, path: path.to_owned() })
}

/// Looks at the file, then sets the connection up, then brings the schema up to ours.
fn prepare(reader: Reader) -> Result<Reader, LedgerError> {
    let failed = reader.while_("opening it");
    reader.connection.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
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
    // One statement, so that another process that just makes the ledger is seen before or after, not between.
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
    if application_id != APPLICATION_ID && !is_empty {
        return Err(LedgerError::Foreign { path, application_id });
    }
    if schema > SCHEMA {
        return Err(LedgerError::Newer { path, found: schema, known: SCHEMA });
    }
    Ok(schema)
}

/// WAL is kept in the file's header: only the first process of a file's life really turns it on. SQLite answers
/// "busy" at once, without waiting, when two do so at the same moment.
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

/// Each migration in a transaction of its own, which looks again whether another process was faster.
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
