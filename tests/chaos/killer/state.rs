//! The killer's folder. Many processes append to it at once; each line is one write.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::sentence::Points;

/// What is started through a wrapper.
const PROGRAMS: [&str; 5] =
    ["azslurm-resume", "azslurm-suspend", "azslurm-resume-fail", "azslurm-sync", "azslurm-conf"];

/// The killer, seen from the run.
#[derive(Debug)]
pub struct Killer {
    folder: PathBuf,
    seed: u64,
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Kills {
    /// Programs started through wrappers.
    pub starts: u64,
    /// How many were killed.
    pub kills: u64,
    /// Distinct (program, call, what it touches, before or after) where one was.
    pub kinds: BTreeSet<String>,
    /// The same, each occurrence by itself.
    pub points: usize,
    /// What was seen, and where nobody was killed.
    pub spared: BTreeSet<String>,
}

impl Kills {
    /// For each program: how many of its boundaries were hit, and how many it has shown.
    pub fn by_program(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut programs: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        let program = |kind: &'_ str| kind.find(" | ").unwrap_or(kind.len());
        for (kind, is_hit) in
            self.kinds.iter().map(|kind| (kind, 1)).chain(self.spared.iter().map(|kind| (kind, 0)))
        {
            let (hit, seen) = programs.entry(&kind[..program(kind)]).or_default();
            *hit += is_hit;
            *seen += 1;
        }
        programs
    }
}

impl Killer {
    /// Makes the folder, with wrappers for all programs. It kills nobody yet.
    pub fn new(folder: &Path, seed: u64) -> Result<Killer> {
        let bin = folder.join("bin");
        fs::create_dir_all(&bin)?;
        let this = std::env::current_exe().context("the running program")?;
        for program in PROGRAMS {
            // slurmctld of 22.05 starts programs with three closed descriptors and no PATH.
            let (this, folder) = (this.display(), folder.display());
            let text = format!("#!/bin/sh\nexec '{this}' under '{folder}' {program} \"$@\"\n");
            let path = bin.join(program);
            fs::write(&path, text)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
        let killer = Killer { folder: folder.to_owned(), seed };
        killer.spare_all()?;
        Ok(killer)
    }

    /// Where the wrappers are.
    pub fn program_dir(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on so many of a thousand runs of programs are in danger.
    pub fn endanger(&self, per_mille: u64) -> Result<()> {
        let path = self.folder.join("mode");
        let new = self.folder.join("mode.new");
        fs::write(&new, format!("{} {per_mille}", self.seed))?;
        Ok(fs::rename(new, path)?)
    }

    /// From now on nobody is killed.
    pub fn spare_all(&self) -> Result<()> {
        self.endanger(0)
    }

    /// What came of it until now.
    pub fn kills(&self) -> Kills {
        let state = State { folder: self.folder.clone() };
        let lines = state.lines();
        let (seen, killed) = (points("seen", &lines), points("killed", &lines));
        Kills {
            starts: fs::metadata(self.folder.join("starts")).map_or(0, |starts| starts.len()),
            kills: lines.iter().filter(|line| line.verb == "killed").count() as u64,
            points: killed.values().map(BTreeMap::len).sum(),
            spared: seen.into_keys().filter(|kind| !killed.contains_key(kind)).collect(),
            kinds: killed.into_keys().collect(),
        }
    }
}

/// A line of `points`.
struct Line {
    verb: String,
    kind: String,
    occurrence: u32,
}

/// Where `verb` was said.
fn points(verb: &str, lines: &[Line]) -> Points {
    let mut points = Points::new();
    for line in lines.iter().filter(|line| line.verb == verb) {
        *points.entry(line.kind.clone()).or_default().entry(line.occurrence).or_default() += 1;
    }
    points
}

/// The killer, seen from its wrappers and tracers.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
}

impl State {
    /// The state in this folder.
    pub fn of(folder: &Path) -> State {
        State { folder: folder.to_owned() }
    }

    /// The seed, and how many of a thousand runs are in danger.
    pub fn mode(&self) -> (u64, u64) {
        let text = fs::read_to_string(self.folder.join("mode")).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Counts a start; the number of this one, nearly: two at one moment may get the same.
    pub fn count_start(&self) -> Result<u64> {
        let mut starts = self.append("starts")?;
        starts.write_all(b".")?;
        Ok(starts.metadata()?.len())
    }

    /// What programs have shown, and where they were killed.
    pub fn points(&self) -> (Points, Points) {
        let lines = self.lines();
        (points("seen", &lines), points("killed", &lines))
    }

    /// Adds `verb kind occurrence` and more words.
    pub fn tell(&self, (verb, kind): (&str, &str), occurrence: u32, more: &str) -> Result<()> {
        let line = format!("{verb}\t{kind}\t{occurrence}\t{more}\n");
        Ok(self.append("points")?.write_all(line.as_bytes())?)
    }

    /// A word for who looks for faults of the killer itself.
    pub fn note(&self, text: &str) {
        // There is nobody else to tell.
        let _noted = self.append("notes").and_then(|mut notes| Ok(writeln!(notes, "{text}")?));
    }

    fn append(&self, name: &str) -> Result<File> {
        Ok(OpenOptions::new().create(true).append(true).open(self.folder.join(name))?)
    }

    fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.folder.join("points")).unwrap_or_default();
        let line = |text: &str| {
            let mut words = text.split('\t').map(str::to_owned);
            let (verb, kind) = (words.next()?, words.next()?);
            Some(Line { verb, kind, occurrence: words.next()?.parse().ok()? })
        };
        text.lines().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_tells_where_programs_were_killed_and_where_not() {
        let folder = tempfile::tempdir().unwrap();
        let killer = Killer::new(folder.path(), 5).unwrap();
        let state = State::of(folder.path());
        assert_eq!(state.mode(), (5, 0));
        killer.endanger(500).unwrap();
        assert_eq!(state.mode(), (5, 500));
        assert_eq!((state.count_start().unwrap(), state.count_start().unwrap()), (1, 2));
        for (verb, kind, occurrence) in
            [("killed", "a", 1), ("killed", "a", 2), ("seen", "a", 4), ("seen", "b", 1)]
        {
            state.tell((verb, kind), occurrence, "").unwrap();
        }
        let kills = Kills {
            starts: 2,
            kills: 2,
            kinds: ["a".to_owned()].into(),
            points: 2,
            spared: ["b".to_owned()].into(),
        };
        assert_eq!(killer.kills(), kills);
        let kinds = ["p | a", "p driver | a"].map(str::to_owned).into();
        let kills = Kills { kinds, spared: ["p | b".to_owned()].into(), ..Kills::default() };
        assert_eq!(kills.by_program(), [("p", (1, 2)), ("p driver", (1, 1))].into());
    }
}
