//! Slurm's folder: what stands there, a change tried in a folder aside, written with the old kept
//! beside, and put back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use azslurm_slurm::Conf;
use serde::{Deserialize, Serialize};

use crate::change::{Before, Files, Standing};
use crate::render::INCLUDED_BY;
use crate::write::{self, WriteError};

/// What we have written, so that what a person has changed since is seen.
const NOTES: &str = "azslurm-applied.json";
/// Held while files are written.
const LOCK: &str = ".azslurm-apply.lock";
/// Behind the name of a file that is kept.
const OLD: &str = "old";
/// Slurm's own files that include ours.
const MAIN: [&str; 3] = ["slurm.conf", "gres.conf", "topology.conf"];

/// Why Slurm's folder cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file is there and cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Our notes are no notes.
    #[error(
        "{path} is damaged: remove it; nobody knows then whether a person has changed our files"
    )]
    Notes {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Somebody else is at it.
    #[error("another `azslurm-conf apply` is at work in {folder}: wait until it has ended")]
    Locked {
        /// Slurm's folder.
        folder: PathBuf,
    },
    /// Our lines would go into a file that Slurm does not read.
    #[error("{path}: apply knows Slurm's own name slurm.conf only; name one so in [slurm] conf")]
    OtherName {
        /// The file.
        path: PathBuf,
    },
    /// It is not what was shown any more.
    #[error("{path} has been changed meanwhile, so nothing was written: apply again")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The copy aside cannot be made.
    #[error("cannot try the change in a folder aside ({path})")]
    Aside {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The old file cannot be kept.
    #[error("cannot keep the old {path} beside it; it is as it was")]
    NotKept {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The notes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Notes {
    /// An apply has begun to write and has not ended.
    unfinished: bool,
    /// By name, every text that we may have left there.
    files: BTreeMap<String, Vec<String>>,
}

/// Slurm's folder as it stands.
#[derive(Debug)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub before: Before,
    /// What it means to Slurm.
    pub standing: Standing,
    /// An earlier apply has not come to its end.
    pub is_unfinished: bool,
}

impl Folder {
    /// Reads it; `conf` is slurm.conf with its includes.
    ///
    /// # Errors
    /// A file of Slurm's or ours cannot be read.
    pub fn read(conf: &Conf) -> Result<Folder, DiskError> {
        let path = conf.path.parent().unwrap_or(Path::new("/")).to_owned();
        if conf.path.file_name().is_none_or(|name| name != MAIN[0]) {
            return Err(DiskError::OtherName { path: conf.path.clone() });
        }
        let notes = notes(&path)?;
        let mut before = Before { written: notes.files, ..Before::default() };
        let names = MAIN.iter().copied().chain(INCLUDED_BY.iter().map(|(name, _)| *name));
        for name in names {
            if let Some(text) = read_if_there(&path.join(name))? {
                before.texts.insert(name.to_owned(), text);
            }
        }
        before.includes.insert(MAIN[0].to_owned(), included(conf, &path));
        for name in &MAIN[1..] {
            if let Some(conf) = conf_if_there(&path.join(name))? {
                before.includes.insert((*name).to_owned(), included(&conf, &path));
            }
        }
        let topology = conf_if_there(&path.join("topology.conf"))?;
        let standing = Standing::of(conf, topology.as_ref());
        Ok(Folder { path, before, standing, is_unfinished: notes.unfinished })
    }

    /// Everything still says what it said when it was read: a person has seen and agreed to that.
    ///
    /// # Errors
    /// Somebody has changed a file meanwhile, or it cannot be read.
    pub fn check_as_it_was(&self) -> Result<(), DiskError> {
        let names = MAIN.iter().copied().chain(INCLUDED_BY.iter().map(|(name, _)| *name));
        for name in names {
            let path = self.path.join(name);
            if read_if_there(&path)?.as_ref() != self.before.texts.get(name) {
                return Err(DiskError::Changed { path });
            }
        }
        Ok(())
    }

    /// A copy of the folder's conf files with the change in it, for Slurm's parser and for ours.
    ///
    /// # Errors
    /// [`DiskError::Aside`].
    pub fn aside(&self, conf: &Conf, files: &Files) -> Result<Aside, DiskError> {
        let folder = tempfile::Builder::new().prefix("azslurm-try-").tempdir();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DiskError::Aside { path, source }
        };
        let folder = folder.map_err(failed(&std::env::temp_dir()))?;
        let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
        let topology = conf_if_there(&self.path.join("topology.conf"))?;
        let all = conf.files.iter().chain(topology.iter().flat_map(|conf| &conf.files));
        for file in all {
            if let (Ok(name), Some(text)) = (file.strip_prefix(&self.path), read_if_there(file)?) {
                texts.insert(name.to_owned(), text);
            }
        }
        texts.extend(files.after.iter().map(|(name, text)| (name.into(), text.clone())));
        for (name, text) in &texts {
            let path = folder.path().join(name);
            let parent = path.parent().unwrap_or(folder.path());
            fs::create_dir_all(parent).map_err(failed(parent))?;
            fs::write(&path, self.relative(text)).map_err(failed(&path))?;
        }
        let read = |name: &str| {
            let path = folder.path().join(name);
            conf_if_there(&path)
        };
        let conf = read("slurm.conf")?.unwrap_or_default();
        let mut standing = Standing::of(&conf, read("topology.conf")?.as_ref());
        let (there, here) = (folder.path().display().to_string(), self.path.display().to_string());
        for fault in &mut standing.faults {
            *fault = fault.replace(&there, &here);
        }
        Ok(Aside { folder, standing })
    }

    /// Includes by the whole path, so that they name the copies.
    fn relative(&self, text: &str) -> String {
        let whole = format!("{}/", self.path.display());
        let line = |line: &str| {
            let word = line.trim_start().get(..7).unwrap_or_default();
            match word.eq_ignore_ascii_case("include") {
                true => line.replace(&whole, ""),
                false => line.to_owned(),
            }
        };
        text.split_inclusive('\n').map(line).collect()
    }

    /// Writes all steps; the old files are kept beside, as `<name>.old`.
    ///
    /// # Errors
    /// What was written until then is to be put back.
    pub fn write(&self, files: &Files) -> Result<(), DiskError> {
        let mut notes = Notes { unfinished: true, files: self.before.written.clone() };
        for step in &files.steps {
            notes.files.entry(step.name.clone()).or_default().push(step.text.clone());
        }
        notes.files.retain(|name, _| is_ours(name));
        self.note(&notes)?;
        for name in files.after.keys() {
            self.keep(name)?;
        }
        for step in &files.steps {
            write::whole(&self.path.join(&step.name), &step.text)?;
        }
        Ok(())
    }

    /// Notes that all is written and that slurmctld has it.
    ///
    /// # Errors
    /// The notes cannot be written: the next apply believes that this one has not ended.
    pub fn done(&self, files: &Files) -> Result<(), DiskError> {
        let texts = self.before.texts.iter().chain(&files.after);
        let ours = texts.filter(|(name, _)| is_ours(name));
        let files = ours.map(|(name, text)| (name.clone(), vec![text.clone()])).collect();
        self.note(&Notes { unfinished: false, files })
    }

    /// Puts back what stood there before.
    ///
    /// # Errors
    /// A file cannot be put back; all others are.
    pub fn put_back(&self, files: &Files) -> Result<(), DiskError> {
        let mut failed = None;
        for name in files.after.keys() {
            let path = self.path.join(name);
            let done = match self.before.texts.get(name) {
                Some(text) => write::whole(&path, text),
                None => match fs::remove_file(&path) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        Err(WriteError { path, source })
                    }
                    Ok(()) | Err(_) => Ok(()),
                },
            };
            failed = failed.or(done.err());
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        self.note(&Notes { unfinished: false, files: self.before.written.clone() })
    }

    /// Keeps the file beside itself, with its mode. What an apply has left that did not end is
    /// not what a person wants back: then what was kept before stays.
    fn keep(&self, name: &str) -> Result<(), DiskError> {
        let path = self.path.join(name);
        let kept = self.path.join(format!("{name}.{OLD}"));
        if !path.exists() || (self.is_unfinished && kept.exists()) {
            return Ok(());
        }
        let new = self.path.join(format!(".{name}.{OLD}"));
        let copied = fs::copy(&path, &new).and_then(|_| File::open(&new)?.sync_all());
        let copied = copied.and_then(|()| fs::rename(&new, &kept));
        copied.map_err(|source| DiskError::NotKept { path, source })
    }

    fn note(&self, notes: &Notes) -> Result<(), DiskError> {
        let text = serde_json::to_string_pretty(notes).expect("texts by name are JSON");
        Ok(write::whole(&self.path.join(NOTES), &format!("{text}\n"))?)
    }
}

/// The change, tried aside. The folder goes with it.
#[derive(Debug)]
pub struct Aside {
    folder: tempfile::TempDir,
    /// What Slurm would make of it.
    pub standing: Standing,
}

impl Aside {
    /// slurm.conf in it.
    pub fn slurm_conf(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }
}

/// Keeps others from writing, until it is dropped.
///
/// # Errors
/// Another holds it, or the folder cannot be written.
pub fn lock(folder: &Path) -> Result<File, DiskError> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| WriteError { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(DiskError::Locked { folder: folder.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(WriteError { path, source }.into()),
    }
}

fn is_ours(name: &str) -> bool {
    INCLUDED_BY.iter().any(|(ours, _)| *ours == name)
}

fn notes(folder: &Path) -> Result<Notes, DiskError> {
    let path = folder.join(NOTES);
    match read_if_there(&path)? {
        None => Ok(Notes::default()),
        Some(text) => {
            serde_json::from_str(&text).map_err(|source| DiskError::Notes { path, source })
        }
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, DiskError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiskError::Unreadable { path: path.to_owned(), source }),
    }
}

fn conf_if_there(path: &Path) -> Result<Option<Conf>, DiskError> {
    match Conf::read(path) {
        Ok(conf) => Ok(Some(conf)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiskError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Names of the files in the folder that a conf file includes, those that are not there yet too.
fn included(conf: &Conf, folder: &Path) -> BTreeSet<String> {
    let missing = conf.unreadable.iter().map(|(_, file, _)| file);
    let all = conf.files.iter().skip(1).chain(missing);
    let names = all.filter_map(|file| file.strip_prefix(folder).ok());
    names.map(|name| name.display().to_string()).collect()
}
