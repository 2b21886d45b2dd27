//! Whether the holder of a lease still lives.
//!
//! A lease ends by its time. That alone would leave the nodes of a killed program alone for
//! minutes. So every holder keeps an exclusive flock(2) on a file of its own beside the ledger for
//! as long as any of its processes lives: the front takes it before its first lease and hands it to
//! its driver as standard input; the kernel releases it when the last of them ends, however it
//! ends. Who gets the lock knows that the holder is dead.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use azslurm_core::AttemptId;
use azslurm_ledger::Holder;

/// Files of dead holders are removed once they are this old: long after anybody could still be
/// about to lock one.
const FILE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Why a holder cannot make itself known.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {path}, which shows that {holder} is alive")]
pub struct AliveError {
    path: PathBuf,
    holder: Holder,
    source: io::Error,
}

/// Opens with `options`, and makes the file if it is not there. What root makes belongs to whom the
/// folder around it belongs to: otherwise one pass by hand would lock SlurmUser's programs out.
pub(crate) fn open_or_make(options: &OpenOptions, path: &Path) -> io::Result<File> {
    // Only what this very call has made, and by its descriptor: the folder's owner may have put a
    // link there, and root must not give away the file that it leads to.
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            give_to_owner_of_folder(&file, path)?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_there(options, path),
        Err(error) => Err(error),
    }
}

/// Root follows no link in a folder that belongs to somebody else: its owner may have put it there
/// to have root write elsewhere.
fn open_there(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let mut options = options.clone();
    if nix::unistd::geteuid().is_root() && folder_around(path)?.uid() != 0 {
        options.custom_flags(libc::O_NOFOLLOW);
    }
    options.open(path)
}

fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {
            let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
            let made = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
            give_to_owner_of_folder(&made, path)
        }
        // A link would lead what is made, and removed, elsewhere.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_folder = fs::symlink_metadata(path)?.is_dir();
            if is_folder { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
        }
        Err(error) => Err(error),
    }
}

fn folder_around(path: &Path) -> io::Result<fs::Metadata> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::metadata(folder.unwrap_or(Path::new(".")))
}

fn give_to_owner_of_folder(made: &File, path: &Path) -> io::Result<()> {
    let folder = folder_around(path)?;
    if made.metadata()?.uid() == 0 && folder.uid() != 0 {
        fchown(made, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

/// The proof that a holder lives: an open, locked file. Dropping it without handing it on ends the
/// proof.
#[derive(Debug)]
pub struct Alive {
    file: File,
    path: PathBuf,
}

impl Alive {
    /// Makes `holder` known as alive.
    pub fn begin(ledger: &Path, holder: &Holder) -> Result<Alive, AliveError> {
        let path = path_of(ledger, holder);
        let failed = |source| AliveError { path: path.clone(), holder: holder.clone(), source };
        make_folder(&folder_of(ledger)).map_err(failed)?;
        let file = open_or_make(OpenOptions::new().write(true).mode(0o640), &path);
        let file = file.map_err(failed)?;
        file.try_lock().map_err(|error| failed(error.into()))?;
        Ok(Alive { file, path })
    }

    /// The file, for a child's standard input: the child then keeps the proof.
    pub fn hand_on(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Whether the proof can still be seen: its file is where others look for it. Somebody may have
    /// removed it together with the ledger.
    pub fn is_seen(&self) -> bool {
        let of = |file: io::Result<fs::Metadata>| file.ok().map(|file| (file.dev(), file.ino()));
        let is_there = of(fs::symlink_metadata(&self.path));
        is_there.is_some() && is_there == of(self.file.metadata())
    }

    /// The holder has done its work: its file goes.
    pub fn end(self) {
        remove(&self.path);
    }
}

/// Removes the file of a holder that has done its work, in the process that got the lock handed on.
pub fn end(ledger: &Path, holder: &Holder) {
    remove(&path_of(ledger, holder));
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("cannot remove {}: {error}", path.display()),
    }
}

/// Whether a process of `holder` lives on this machine. A file that cannot be judged counts as
/// alive: then the lease's own time decides.
pub fn is_alive(ledger: &Path, holder: &Holder) -> bool {
    match open_to_judge(&path_of(ledger, holder)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => true,
        },
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// The holders that live on this machine, whatever ledger they work with.
pub fn living(ledger: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder_of(ledger)) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_living =
        |name: &String| name.parse::<Holder>().is_ok_and(|holder| is_alive(ledger, &holder));
    names.filter(is_living).collect()
}

/// Removes the files of holders that are long dead, and no others: the folder may be a link that
/// its owner has laid to a place where only root may remove.
pub fn prune(ledger: &Path) {
    let folder = folder_of(ledger);
    let Ok(entries) = fs::read_dir(&folder) else { return };
    let is_ours = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(is_of_a_run);
    for path in entries.flatten().filter(is_ours).map(|entry| entry.path()) {
        if is_long_dead(&path) {
            remove(&path);
        }
    }
}

/// Whether a file is named as [`Holder::new`] names runs: program, attempt, process.
fn is_of_a_run(name: &str) -> bool {
    let mut parts = name.rsplitn(3, '-');
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    parts.next().is_some_and(is_number)
        && parts.next().is_some_and(|at| at.parse::<AttemptId>().is_ok())
        && parts.next().is_some_and(|program| !program.is_empty())
}

fn is_long_dead(path: &Path) -> bool {
    let Ok(file) = fs::symlink_metadata(path) else { return false };
    let age = file.modified().map(|at| at.elapsed());
    let is_old = matches!(age, Ok(Ok(age)) if age > FILE_AGE_MAX);
    is_old && file.is_file() && open_to_judge(path).is_ok_and(|file| file.try_lock().is_ok())
}

/// Opens what should be a holder's file: nothing behind a link, and without waiting for the other
/// end of a FIFO.
fn open_to_judge(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn folder_of(ledger: &Path) -> PathBuf {
    let mut name = ledger.file_name().unwrap_or_default().to_owned();
    name.push(".holders");
    ledger.with_file_name(name)
}

fn path_of(ledger: &Path, holder: &Holder) -> PathBuf {
    folder_of(ledger).join(holder.as_str())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use azslurm_core::Timestamp;

    use super::*;

    #[test]
    fn a_holder_lives_as_long_as_any_of_its_processes() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        let holder = Holder::new("test", Timestamp::from_millis(0), 1);
        assert!(!is_alive(&ledger, &holder));
        let alive = Alive::begin(&ledger, &holder).unwrap();
        assert!(is_alive(&ledger, &holder));
        let mut child = Command::new("/bin/sleep")
            .arg("600")
            .stdin(Stdio::from(alive.hand_on().unwrap()))
            .spawn()
            .unwrap();
        drop(alive);
        assert!(is_alive(&ledger, &holder), "the child has the lock");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_alive(&ledger, &holder), "the kernel has released it");
    }

    #[test]
    fn a_proof_that_somebody_has_removed_is_not_seen_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        let holder = Holder::new("test", Timestamp::from_millis(0), 4);
        let alive = Alive::begin(&ledger, &holder).unwrap();
        assert!(alive.is_seen());
        fs::remove_file(path_of(&ledger, &holder)).unwrap();
        assert!(!alive.is_seen());
        let again = Alive::begin(&ledger, &holder).unwrap();
        assert!(!alive.is_seen() && again.is_seen());
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_folder() {
        if !nix::unistd::geteuid().is_root() {
            println!("left out: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12_345), Some(12_346)).unwrap();
        let ledger = folder.path().join("ledger.db");
        let holder = Holder::new("test", Timestamp::from_millis(0), 3);
        let _alive = Alive::begin(&ledger, &holder).unwrap();
        for path in [folder_of(&ledger), path_of(&ledger, &holder)] {
            let made = fs::metadata(&path).unwrap();
            assert_eq!((made.uid(), made.gid()), (12_345, 12_346), "{}", path.display());
        }
    }

    #[test]
    fn root_gives_away_only_what_it_has_made() {
        if !nix::unistd::geteuid().is_root() {
            println!("left out: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("secret");
        fs::write(&target, "").unwrap();
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(12_345), Some(12_346)).unwrap();
        let link = theirs.join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let dangling = theirs.join("dangling");
        let absent = folder.path().join("absent");
        std::os::unix::fs::symlink(&absent, &dangling).unwrap();
        assert!(open_or_make(OpenOptions::new().append(true), &link).is_err());
        assert_eq!(fs::metadata(&target).unwrap().uid(), 0);
        assert!(open_or_make(OpenOptions::new().append(true), &dangling).is_err());
        assert!(!absent.exists(), "root makes nothing behind a link");
    }

    #[test]
    fn only_files_of_long_dead_runs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        // The owner of the ledger's folder has laid a link where root removes.
        std::os::unix::fs::symlink(&elsewhere, folder_of(&ledger)).unwrap();
        let now = std::time::SystemTime::now();
        let old = now - FILE_AGE_MAX - Duration::from_secs(60);
        let run = |pid| Holder::new("azslurm-sync", Timestamp::from_millis(0), pid);
        let (dead, young) = (run(1).to_string(), run(2).to_string());
        for (name, at) in [("passwd", old), ("a-b-1", old), (&dead, old), (&young, now)] {
            let file = File::create(elsewhere.join(name)).unwrap();
            file.set_modified(at).unwrap();
        }
        std::os::unix::fs::symlink("passwd", elsewhere.join(run(3).as_str())).unwrap();
        prune(&ledger);
        let mut left: Vec<String> = fs::read_dir(&elsewhere)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["a-b-1".to_owned(), young, run(3).to_string(), "passwd".to_owned()]);
        // And no run begins behind such a link.
        assert!(Alive::begin(&ledger, &run(4)).is_err());
        assert!(!elsewhere.join(run(4).as_str()).exists());
    }

    #[test]
    fn what_cannot_be_judged_without_waiting_counts_as_alive() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        fs::create_dir(folder_of(&ledger)).unwrap();
        let run = |pid| Holder::new("azslurm-sync", Timestamp::from_millis(0), pid);
        let link = path_of(&ledger, &run(2));
        std::os::unix::fs::symlink("/dev/null", link).unwrap();
        assert!(is_alive(&ledger, &run(2)));
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::unistd::mkfifo(&path_of(&ledger, &run(1)), mode).unwrap();
        // It answers, whatever it says.
        let _said = is_alive(&ledger, &run(1));
    }

    #[test]
    fn two_holders_do_not_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        let one = Holder::new("test", Timestamp::from_millis(0), 1);
        let other = Holder::new("test", Timestamp::from_millis(0), 2);
        let alive = Alive::begin(&ledger, &one).unwrap();
        assert!(!is_alive(&ledger, &other));
        assert!(Alive::begin(&ledger, &one).is_err());
        alive.end();
        assert!(!is_alive(&ledger, &one));
    }
}
