//! All that is known of a change before anybody is asked: files, words, faults. Nothing is written
//! but the list of sizes beside the config.

use std::collections::BTreeMap;
use std::path::Path;

use azslurm_program::{Loaded, config_file};
use azslurm_slurm::{Slurm, SlurmVersion};
use serde_json::{Value, json};

use super::disk::{Aside, Folder};
use super::{ApplyError, Asked};
use crate::change::{Files, Words, files, unified};
use crate::make::{self, MakeError, Wanted};

/// A change, ready to be judged.
#[derive(Debug)]
pub struct Prepared {
    /// The config.
    pub loaded: Loaded,
    /// slurmctld.
    pub slurm: Slurm,
    /// The Slurm that is installed.
    pub version: SlurmVersion,
    /// Slurm's folder.
    pub folder: Folder,
    /// What is written.
    pub files: Files,
    /// The change, tried.
    pub aside: Aside,
    /// What changes.
    pub words: Words,
}

/// Renders, compares and tries.
///
/// # Errors
/// No config, no sizes, no slurm.conf, or files that cannot be read.
pub async fn prepare(flag: Option<&Path>, asked: &Asked) -> Result<Prepared, ApplyError> {
    let loaded = config_file::load(flag).map_err(MakeError::from)?;
    let slurm = Slurm::new(&loaded.config.slurm);
    let version = slurm.installed_version().await.map_err(MakeError::Version)?;
    let made = make::files(flag, Wanted { version: Some(version), ..Wanted::default() }).await?;
    let conf = made
        .conf
        .ok_or_else(|| ApplyError::NoSlurmConf { path: make::slurm_conf_path(&loaded.config) })?;
    let folder = Folder::read(&conf)?;
    let files = files(&folder.before, &made.files, version, asked.is_stopped);
    let aside = folder.aside(&conf, &files)?;
    let words = Words::between(&folder.standing, &aside.standing);
    Ok(Prepared { loaded: made.loaded, slurm, version, folder, files, aside, words })
}

impl Prepared {
    /// What stands against the change before anybody is asked.
    pub async fn faults(&self, asked: &Asked) -> Vec<String> {
        let mut faults = self.aside.standing.faults.clone();
        if faults.is_empty()
            && let Err(error) = self.slurm.can_parse(&self.aside.slurm_conf()).await
        {
            let why = azslurm_program::exit::chain_of(&error);
            faults.push(format!("Slurm cannot read what would be written: {why}"));
        }
        if !asked.is_forced {
            let edited = self.files.edited.iter().map(|name| {
                format!(
                    "{name} was changed by somebody since it was written: bring the change into \
                     azslurm.toml, or say --force to lose it ({name}.old keeps it)"
                )
            });
            faults.extend(edited);
        }
        faults
    }

    /// For people: words, notes, diff.
    pub fn text(&self) -> String {
        if self.files.after.is_empty() && self.words.is_empty() {
            return "nothing changes: Slurm's files say what the config says\n".to_owned();
        }
        let mut text = String::new();
        for line in self.words.lines().into_iter().chain(self.notes()) {
            text.push_str(&format!("{line}\n"));
        }
        let folder = self.folder.path.display().to_string();
        let diff = unified(&folder, &self.folder.before.texts, &self.files);
        format!("{text}\n{diff}")
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let folder = self.folder.path.display().to_string();
        let names: Vec<&String> = self.files.after.keys().collect();
        let old: &BTreeMap<String, String> = &self.folder.before.texts;
        json!({
            "folder": folder,
            "files": names,
            "changes": self.words.json(),
            "diff": unified(&folder, old, &self.files),
            "edited": self.files.edited,
            "notes": self.notes(),
        })
    }

    /// What a person should know besides.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.folder.is_unfinished {
            let text = "note: an earlier apply was ended in the middle; this one completes it";
            notes.push(text.to_owned());
        }
        let unnoted = self.files.unnoted.iter();
        notes.extend(unnoted.map(|name| {
            format!("note: {name} was not written by apply; what it says now is kept as {name}.old")
        }));
        let is_old = self.version < crate::render::TAKES_NEW_NAMES;
        let late = self.words.settings.iter().filter(|(key, ..)| is_old && is_late(key));
        notes.extend(late.map(|(key, ..)| {
            format!("note: slurmctld before 23.11 takes {key} at its next start only")
        }));
        notes
    }
}

/// Settings that a reconfigure of an old slurmctld passes over without a word (measured with
/// 22.05.8).
fn is_late(key: &str) -> bool {
    ["topologyplugin", "grestypes", "selecttype", "plugindir", "slurmctldport"].contains(&key)
}
