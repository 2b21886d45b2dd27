//! What can be wrong with the ledger, each with what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the ledger could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// [`crate::Ledger::open_existing`] found no file.
    #[error(
        "there is no ledger at {path}: no program of azslurm has run yet, or `path` in [ledger] \
         names another file"
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The directory of the ledger does not exist.
    #[error(
        "the ledger's directory {directory} does not exist: create it for SlurmUser, for example \
         with `install -d -m 0700 -o slurm -g slurm {directory}`, or set `path` in [ledger]"
    )]
    NoDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The file cannot be opened, or not be created.
    #[error(
        "the ledger {path} cannot be opened: it and its directory must belong to SlurmUser, and \
         this program must run as SlurmUser or root"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file can be read, but not written.
    #[error(
        "the ledger {path} cannot be written: it and its directory must belong to SlurmUser, on a \
         disk that is mounted for writing, and this program must run as SlurmUser or root"
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
    },
    /// Something else than an SQLite file.
    #[error(
        "{path} is not a ledger, nor any SQLite file: set `path` in [ledger] to another file, or, \
         if this was the ledger, move it away: a new one is made, and \
         VMs are found again by their tags, so only history is lost"
    )]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// An SQLite file of another program.
    #[error(
        "{path} is the SQLite file of another program (application id {application_id:#x}): set \
         `path` in [ledger] to another file"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The `application_id` of its header; 0 if its maker set none.
        application_id: i32,
    },
    /// A ledger whose schema we do not know yet.
    #[error(
        "the ledger {path} was made by a newer azslurm (schema {found}, this program knows up to \
         {known}): upgrade this package, or move the file and the -wal and -shm files beside it \
         away: a new one is made, and VMs are found again by their tags, so only history is lost"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Our schema.
        known: i64,
    },
    /// SQLite says that the file is corrupt.
    #[error(
        "the ledger {path} is corrupt: run `azslurm-sync rebuild --anew`, which keeps it beside \
         and writes a new one from Azure and Slurm; only history and holds are lost"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A value that we would never have written.
    #[error(
        "the ledger {path} is damaged ({table} {row:?} has {column} {found}): run `azslurm-sync \
         rebuild --anew`, which keeps it beside and writes a new one from Azure and Slurm; only \
         history and holds are lost"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The first column of the row.
        row: String,
        /// The column.
        column: &'static str,
        /// What it holds, cut to 80 characters.
        found: String,
    },
    /// Another program did not let us write for [`crate::BUSY_TIMEOUT`].
    #[error(
        "the ledger {path} was locked by another program for {seconds} s while {doing}: see who \
         holds it with `fuser {path}`; nothing was written"
    )]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long we waited.
        seconds: u64,
        /// What we were doing.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The disk is full, or a quota is used up.
    #[error(
        "no space is left for the ledger {path} while {doing}: free some on its disk; nothing was \
         written"
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// What we were doing.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// It cannot be replaced now.
    #[error(
        "the ledger {path} is in use, or has just been made: see who has it open with `fuser \
         {path}`, stop that (`systemctl stop azslurm-sync`), and try again; nothing was changed"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It was moved away, deleted or replaced while this program had it open.
    #[error(
        "the ledger {path} was taken away or replaced while this program worked with it: nothing \
         more is written; what it was doing is carried on by the next pass of azslurm-sync"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// Anything else that SQLite says.
    #[error("the ledger {path} failed while {doing}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What we were doing.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

impl LedgerError {
    /// An error of SQLite with what we were doing to which file.
    pub(crate) fn of(path: &Path, doing: &'static str, source: rusqlite::Error) -> LedgerError {
        let path = path.to_owned();
        let Some(code) = source.sqlite_error_code() else {
            return LedgerError::Sqlite { path, doing, source };
        };
        if is_of_shm_size(&source) {
            return LedgerError::Full { path, doing, source };
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "SQLite's codes, not ours")]
        match code {
            // "locking protocol" is how WAL reports that it lost too many races for its locks.
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed => {
                let seconds = crate::BUSY_TIMEOUT.as_secs();
                LedgerError::Busy { path, seconds, doing, source }
            }
            ErrorCode::NotADatabase => LedgerError::NotALedger { path },
            ErrorCode::DatabaseCorrupt => LedgerError::Corrupt { path, source },
            ErrorCode::DiskFull => LedgerError::Full { path, doing, source },
            ErrorCode::ReadOnly => LedgerError::Unwritable { path },
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                LedgerError::Unreadable { path, source: Box::new(source) }
            }
            _ => LedgerError::Sqlite { path, doing, source },
        }
    }
}

/// The index of the WAL cannot be made or made larger: SQLite says so where a disk without space
/// shows first when a ledger is opened.
fn is_of_shm_size(source: &rusqlite::Error) -> bool {
    let error = source.sqlite_error();
    error.is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn a_disk_without_space_is_told_also_where_only_the_index_of_the_wal_finds_none() {
        let of = |code| {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            LedgerError::of(Path::new("/l"), "opening it", source)
        };
        assert!(matches!(of(ffi::SQLITE_FULL), LedgerError::Full { .. }));
        assert!(matches!(of(ffi::SQLITE_IOERR_SHMSIZE), LedgerError::Full { .. }));
        assert!(matches!(of(ffi::SQLITE_IOERR_READ), LedgerError::Sqlite { .. }));
    }
}
