//! The ledger's file and its folder.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use azslurm_ledger::{Ledger, LedgerError, SCHEMA};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::disk::Disk;
use super::{Finding, Pitfall};
use crate::exit::chain_of;

const CHECK: &str = "ledger";
/// SQLite needs room for its log, and a full disk stops every program of ours.
const FREE_MIN: u64 = 256 * 1024 * 1024;
/// A million events, which the config allows, are about 200 MB.
const SIZE_EXPECTED_MAX: u64 = 2 * 1024 * 1024 * 1024;
const MEBIBYTE: u64 = 1024 * 1024;

/// A folder or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSeen {
    /// Its owner.
    pub owner: u32,
    /// Its mode bits.
    pub mode: u32,
    /// Its size.
    pub bytes: u64,
}

/// What is seen of a ledger's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSeen {
    /// The file's path.
    pub path: PathBuf,
    /// Its folder; `Err` why it cannot be seen.
    pub folder: Result<FileSeen, String>,
    /// Whether we may write there.
    pub may_write: bool,
    /// What the folder is on.
    pub disk: Disk,
    /// Bytes that are free there.
    pub free: Option<u64>,
    /// The file; `Err` why it cannot be seen, `None` if it is not there.
    pub file: Result<Option<FileSeen>, String>,
}

impl LedgerSeen {
    /// Looks at the file system.
    pub fn look(path: &Path) -> LedgerSeen {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let room = statvfs(folder).map(|room| room.blocks_available() * room.fragment_size());
        LedgerSeen {
            path: path.to_owned(),
            folder: look_at(folder).map_err(|error| error.to_string()),
            may_write: access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok(),
            disk: Disk::look(folder),
            free: room.ok(),
            file: match look_at(path) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

fn look_at(path: &Path) -> io::Result<FileSeen> {
    let seen = fs::metadata(path)?;
    Ok(FileSeen { owner: seen.uid(), mode: seen.mode() & 0o7777, bytes: seen.size() })
}

/// The place. `slurm_user`: SlurmUser's number, if it is known.
pub fn place(seen: &LedgerSeen, slurm_user: Option<u32>) -> Vec<Finding> {
    let folder = seen.path.parent().unwrap_or(Path::new("/")).display();
    let of = match &seen.folder {
        Ok(of) => *of,
        Err(why) => {
            let text = format!("the ledger's folder {folder} cannot be used: {why}");
            let fix = format!("`install -d -m 0700 -o slurm -g slurm {folder}` (for SlurmUser)");
            return vec![Finding::error(CHECK, text, fix)];
        }
    };
    let mut findings = Vec::new();
    if let Some(slurm) = slurm_user.filter(|slurm| *slurm != of.owner) {
        findings.push(Finding::error(
            CHECK,
            format!("{folder} belongs to user {}, and SlurmUser is {slurm}", of.owner),
            format!("`chown -R {slurm} {folder}`: what slurmctld starts runs as SlurmUser"),
        ));
    } else if !seen.may_write {
        findings.push(Finding::error(
            CHECK,
            format!("{folder} cannot be written by this user"),
            "run doctor as SlurmUser or root, or give the folder to SlurmUser",
        ));
    }
    if of.mode & 0o022 != 0 {
        let text = format!("{folder} may be written by others (mode {:04o})", of.mode);
        findings.push(Finding::error(CHECK, text, format!("`chmod go-w {folder}`")));
    }
    if let Disk::Network(kind) = seen.disk {
        findings.push(Finding::error(
            CHECK,
            format!("{folder} is on {kind}, where SQLite's locks cannot be relied on"),
            "set `path` in [ledger] to a local disk",
        ));
    }
    if let Some(free) = seen.free.filter(|free| *free < FREE_MIN) {
        let text = format!("only {} MiB are free on the disk of {folder}", free / MEBIBYTE);
        findings.push(Finding::error(CHECK, text, "free some: a full disk stops every program"));
    }
    findings.extend(file(seen));
    findings.into_iter().map(|finding| finding.of(Pitfall::Storage)).collect()
}

fn file(seen: &LedgerSeen) -> Vec<Finding> {
    let shown = seen.path.display();
    let of = match &seen.file {
        Ok(Some(of)) => *of,
        Ok(None) => {
            let text = format!("there is no ledger at {shown} yet: the first program makes it");
            return vec![Finding::ok(CHECK, text)];
        }
        Err(why) => {
            let text = format!("the ledger {shown} cannot be seen: {why}");
            return vec![Finding::error(CHECK, text, "run doctor as SlurmUser or root")];
        }
    };
    let mut findings = Vec::new();
    if of.mode & 0o007 != 0 {
        let text = format!("the ledger {shown} is open to everybody (mode {:04o})", of.mode);
        findings.push(Finding::warning(CHECK, text, format!("`chmod o-rwx {shown}`")));
    }
    if of.bytes > SIZE_EXPECTED_MAX {
        let text = format!("the ledger {shown} has {} MiB", of.bytes / MEBIBYTE);
        let fix = "lower events_days or events_max in [ledger]; passes prune the rest";
        findings.push(Finding::warning(CHECK, text, fix));
    }
    findings
}

/// The contents: whether it opens, and whether SQLite finds it whole.
pub fn contents(opened: &Result<Ledger, LedgerError>) -> Vec<Finding> {
    let ledger = match opened {
        Ok(ledger) => ledger,
        // Told with its place.
        Err(LedgerError::Missing { .. } | LedgerError::NoDirectory { .. }) => return Vec::new(),
        Err(error) => {
            let fix = "the message says what to do; VMs outlive their ledger, and are found again";
            return vec![Finding::error(CHECK, chain_of(error), fix)];
        }
    };
    match ledger.quick_check() {
        Ok(complaints) if complaints.is_empty() => {
            vec![Finding::ok(CHECK, format!("it is whole, with schema {SCHEMA}"))]
        }
        Ok(complaints) => vec![Finding::error(
            CHECK,
            format!("SQLite finds it corrupt: {}", complaints.join("; ")),
            "move it and the -wal and -shm files beside it away: a new one is made, and VMs are \
             found again by their tags",
        )],
        Err(error) => {
            vec![Finding::error(CHECK, chain_of(&error), "see who holds it, and look again")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    fn good() -> LedgerSeen {
        LedgerSeen {
            path: "/var/lib/azslurm/ledger.db".into(),
            folder: Ok(FileSeen { owner: 64030, mode: 0o700, bytes: 4096 }),
            may_write: true,
            disk: Disk::Local,
            free: Some(1 << 34),
            file: Ok(Some(FileSeen { owner: 64030, mode: 0o640, bytes: 1 << 20 })),
        }
    }

    #[test]
    fn each_fault_of_a_ledgers_place_is_named() {
        assert_eq!(place(&good(), Some(64030)), []);
        let file = |mode, bytes| Ok(Some(FileSeen { owner: 64030, mode, bytes }));
        let folder = |owner, mode| Ok(FileSeen { owner, mode, bytes: 4096 });
        use Level::{Error, Ok as Fine, Warning};
        let cases = [
            (LedgerSeen { folder: Err("No such file".into()), ..good() }, Error, "install -d"),
            (LedgerSeen { folder: folder(0, 0o700), ..good() }, Error, "chown -R 64030"),
            (LedgerSeen { may_write: false, ..good() }, Error, "as SlurmUser or root"),
            (LedgerSeen { folder: folder(64030, 0o770), ..good() }, Error, "chmod go-w"),
            (LedgerSeen { disk: Disk::Network("NFS"), ..good() }, Error, "a local disk"),
            (LedgerSeen { free: Some(1 << 20), ..good() }, Error, "free some"),
            (LedgerSeen { file: Ok(None), ..good() }, Fine, ""),
            (LedgerSeen { file: Err("denied".into()), ..good() }, Error, "as SlurmUser or root"),
            (LedgerSeen { file: file(0o644, 1), ..good() }, Warning, "chmod o-rwx"),
            (LedgerSeen { file: file(0o640, 1 << 32), ..good() }, Warning, "events_max"),
        ];
        for (seen, level, fix) in cases {
            let findings = place(&seen, Some(64030));
            assert_eq!(findings.len(), 1, "{seen:?}: {findings:?}");
            assert_eq!(findings[0].level, level, "{findings:?}");
            assert!(findings[0].fix.as_deref().unwrap_or_default().contains(fix), "{findings:?}");
        }
    }

    #[test]
    fn a_ledger_that_is_whole_is_said_to_be_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let level = |path: &Path| {
            let found = contents(&Ledger::open_existing(path));
            found.first().map(|finding| finding.level)
        };
        assert_eq!(level(&path), None, "it is told with its place");
        drop(Ledger::open(&path).unwrap());
        assert_eq!(level(&path), Some(Level::Ok));
        assert!(LedgerSeen::look(&path).file.unwrap().is_some());
        // The pages behind the first are gone to ruin.
        let mut bytes = fs::read(&path).unwrap();
        let page = 4096;
        bytes[page..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        assert_eq!(level(&path), Some(Level::Error));
    }
}
