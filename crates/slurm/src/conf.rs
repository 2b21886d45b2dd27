//! Reading slurm.conf and what belongs to it (topology.conf, gres.conf), with every file that it
//! includes. Nothing is judged here, and no default is known; slurmctld itself says what it made of
//! it (`scontrol show config`).
//!
//! The grammar is that of `src/common/parse_config.c`: `#` begins a comment unless `\` stands
//! before it, a `\` at the end continues a line, `include FILE` reads another file there, relative
//! ones from the folder of the first file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Slurm itself knows no limit; a file that includes itself would never end.
const FILES_MAX: usize = 1_000;

/// One line of a conf file, joined with those that continue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfLine {
    /// The file that it stands in.
    pub file: PathBuf,
    /// Where it begins, from 1.
    pub line: usize,
    /// The first key as written: `NodeName`, `ResumeProgram`.
    pub key: String,
    /// What stands behind its `=`, up to the next blank outside of quotes, without the quotes.
    pub value: String,
    /// The further `Key=Value` pairs: `State=CLOUD` of a node.
    pub more: Vec<(String, String)>,
    /// The whole line, without its comment.
    pub text: String,
}

impl ConfLine {
    /// The value of one of its further keys, in any case.
    pub fn get(&self, key: &str) -> Option<&str> {
        let pair = self.more.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        Some(&pair.1)
    }

    /// `file:line`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// A conf file with its includes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conf {
    /// The first file.
    pub path: PathBuf,
    /// All lines in the order in which Slurm reads them.
    pub lines: Vec<ConfLine>,
    /// All files, the first one first.
    pub files: Vec<PathBuf>,
    /// Lines that include a file which cannot be read, and why: `(place, file, why)`.
    pub unreadable: Vec<(String, PathBuf, String)>,
}

impl Conf {
    /// Reads a file and all that it includes.
    ///
    /// # Errors
    /// The first file cannot be read.
    pub fn read(path: &Path) -> io::Result<Conf> {
        Conf::read_by(path, &read_text)
    }

    /// As [`Conf::read`], with whatever gives the text of a file.
    ///
    /// # Errors
    /// The first file cannot be read.
    pub fn read_by(path: &Path, read: &dyn Fn(&Path) -> io::Result<String>) -> io::Result<Conf> {
        let text = read(path)?;
        let mut conf = Conf { path: path.to_owned(), ..Conf::default() };
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        conf.take((path, &text), &folder, read);
        Ok(conf)
    }

    /// The lines of one text as if it were a file that includes nothing that can be read.
    pub fn of_text(path: &Path, text: &str) -> Conf {
        let mut conf = Conf { path: path.to_owned(), ..Conf::default() };
        let nothing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        conf.take((path, text), Path::new("/nonexistent"), &nothing);
        conf
    }

    /// The last line with this key, in any case: what counts for a setting.
    pub fn last(&self, key: &str) -> Option<&ConfLine> {
        self.lines.iter().rev().find(|line| line.key.eq_ignore_ascii_case(key))
    }

    /// All lines with this key, in any case.
    pub fn all<'c>(&'c self, key: &'c str) -> impl Iterator<Item = &'c ConfLine> {
        self.lines.iter().filter(move |line| line.key.eq_ignore_ascii_case(key))
    }

    fn take(
        &mut self,
        (file, text): (&Path, &str),
        folder: &Path,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) {
        self.files.push(file.to_owned());
        let known: BTreeSet<PathBuf> = self.files.iter().cloned().collect();
        for (number, text) in joined(text) {
            match included(&text) {
                Some(name) => {
                    let place = format!("{}:{number}", file.display());
                    let path = folder.join(name);
                    match self
                        .may_include(&known, &path)
                        .and_then(|()| read(&path).map_err(|error| error.to_string()))
                    {
                        Ok(text) => self.take((&path, &text), folder, read),
                        Err(why) => self.unreadable.push((place, path, why)),
                    }
                }
                None => self.lines.extend(line_of(file, number, text)),
            }
        }
    }

    fn may_include(&self, above: &BTreeSet<PathBuf>, path: &Path) -> Result<(), String> {
        match above.contains(path) || self.files.len() >= FILES_MAX {
            true => Err("it is included above already".to_owned()),
            false => Ok(()),
        }
    }
}

/// Text in which odd bytes are kept visible: Slurm itself takes any.
fn read_text(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// Lines without comments, joined where one ends with `\`; with the number of their first. Empty
/// ones are left out.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut is_continued = false;
    for (index, line) in text.lines().enumerate() {
        let line = without_comment(line);
        let line = line.trim_end();
        let (body, goes_on) = match line.strip_suffix('\\') {
            Some(body) => (body, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| is_continued) {
            Some((_, last)) => last.push_str(body),
            None => lines.push((index + 1, body.to_owned())),
        }
        is_continued = goes_on;
    }
    lines.retain(|(_, line)| !line.trim().is_empty());
    lines
}

fn without_comment(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut is_escaped = false;
    for letter in line.chars() {
        if letter == '#' && !is_escaped {
            break;
        }
        if letter == '#' {
            kept.pop();
        }
        is_escaped = letter == '\\';
        kept.push(letter);
    }
    kept
}

fn included(line: &str) -> Option<&str> {
    let (word, name) = line.trim().split_once(char::is_whitespace)?;
    word.eq_ignore_ascii_case("include").then(|| name.trim().trim_matches('"'))
}

fn line_of(file: &Path, number: usize, text: String) -> Option<ConfLine> {
    let mut pairs = pairs(&text).into_iter();
    let (key, value) = pairs.next()?;
    Some(ConfLine {
        file: file.to_owned(),
        line: number,
        key,
        value,
        more: pairs.collect(),
        text: text.trim().to_owned(),
    })
}

/// `Key=Value` pairs; a value in quotes may hold blanks, and a `Key += Value` is one of `Key`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim().trim_end_matches(['+', '-', '*', '/']).trim_end();
        let after = after.trim_start();
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
        };
        pairs.push((key.to_owned(), value.to_owned()));
        rest = behind.trim_start();
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Conf {
        Conf::of_text(Path::new("/etc/slurm/slurm.conf"), text)
    }

    #[test]
    fn lines_come_with_their_place_their_keys_and_without_comments() {
        let conf = of("# all\nClusterName=demo # mine\n\n\
             NodeName=n[1-2] CPUs=4 \\\n   State=CLOUD Reason=\"a b\"\nSuspendProgram = /bin/x\n");
        assert_eq!(conf.lines.len(), 3);
        assert_eq!(conf.last("clustername").unwrap().value, "demo");
        let nodes = conf.all("nodename").next().unwrap();
        assert_eq!((nodes.line, nodes.value.as_str()), (4, "n[1-2]"));
        assert_eq!(nodes.get("state"), Some("CLOUD"));
        assert_eq!(nodes.get("REASON"), Some("a b"));
        assert_eq!(nodes.place(), "/etc/slurm/slurm.conf:4");
        assert_eq!(conf.last("SuspendProgram").unwrap().value, "/bin/x");
    }

    #[test]
    fn the_last_line_of_a_setting_counts_and_an_escaped_hash_stays() {
        let conf = of("TreeWidth=50\ntreewidth=65533\nMailProg=/bin/a\\#b\nPort += 3\n");
        assert_eq!(conf.last("TreeWidth").unwrap().value, "65533");
        assert_eq!(conf.last("MailProg").unwrap().value, "/bin/a#b");
        assert_eq!(conf.last("Port").unwrap().value, "3");
    }

    #[test]
    fn included_files_are_read_in_their_place_and_those_that_are_not_there_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("slurm.conf"), "A=1\nInclude azslurm-nodes.conf\ninclude gone.conf\nB=2\n")
            .unwrap();
        fs::write(path("azslurm-nodes.conf"), "NodeName=n1\ninclude slurm.conf\n").unwrap();
        let conf = Conf::read(&path("slurm.conf")).unwrap();
        let keys: Vec<&str> = conf.lines.iter().map(|line| line.key.as_str()).collect();
        assert_eq!(keys, ["A", "NodeName", "B"]);
        assert_eq!(conf.lines[1].file, path("azslurm-nodes.conf"));
        assert_eq!(conf.files.len(), 2);
        let odd: Vec<&Path> = conf.unreadable.iter().map(|(_, file, _)| file.as_path()).collect();
        assert_eq!(odd, [path("slurm.conf"), path("gone.conf")]);
        assert!(conf.unreadable[1].0.ends_with("slurm.conf:3"));
        assert!(Conf::read(&path("nothing")).is_err());
    }
}
