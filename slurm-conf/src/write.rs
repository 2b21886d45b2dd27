//! Writing a file whole or not at all: whoever reads it meanwhile, slurmctld among them, finds the
//! old text or the new one, also after a power cut.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What a new file may be for: slurm.conf and its parts are read by every user's commands.
const MODE_NEW: u32 = 0o644;

/// A file that could not be written. What was there is there still.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}; it is as it was")]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Puts `text` in the place of the file, with the owner and mode of what was there.
///
/// # Errors
/// [`WriteError`]: nothing was changed.
pub fn whole(path: &Path, text: &str) -> Result<(), WriteError> {
    replace(path, text).map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Writes a new file; one that is there already is an error and stays.
///
/// # Errors
/// [`WriteError`], of [`io::ErrorKind::AlreadyExists`] if it is there.
pub fn fresh(path: &Path, text: &str) -> Result<(), WriteError> {
    let written = beside(path, text).and_then(|file| {
        // A link, unlike a rename, replaces nothing.
        file.persist_noclobber(path).map_err(|error| error.error)?;
        sync_folder(path)
    });
    written.map_err(|source| WriteError { path: path.to_owned(), source })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // What a symbolic link names is replaced, and not the link.
    let path = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let file = beside(&path, text)?;
    if let Ok(old) = fs::metadata(&path) {
        file.as_file().set_permissions(old.permissions())?;
        let ours = file.as_file().metadata()?;
        if (ours.uid(), ours.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
    }
    file.persist(&path).map_err(|error| error.error)?;
    sync_folder(&path)
}

/// The text in a file of the same folder, on the disk.
fn beside(path: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let mut file = tempfile::Builder::new()
        .prefix(".azslurm-")
        .permissions(Permissions::from_mode(MODE_NEW))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(Permissions::from_mode(MODE_NEW))?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_behind_its_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.conf"), dir.path().join("link.conf"));
        whole(&path, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, MODE_NEW);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        whole(&link, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_fresh_file_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        fresh(&path, "one").unwrap();
        let error = fresh(&path, "two").unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert!(whole(&dir.path().join("no/such/a.conf"), "x").is_err());
    }
}
