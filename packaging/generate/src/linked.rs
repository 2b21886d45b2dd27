//! What is linked into the programs: crates by cargo's word, and what the system's linker adds.
//! Must not leave anything out: whoever gets the programs gets these licenses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// Name and version.
pub type Key = (String, String);

/// A crate, as `cargo metadata` tells of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Crate {
    /// Its id in the graph.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression, if it says one.
    pub license: Option<String>,
    /// Where its source is kept.
    pub repository: Option<String>,
    /// Who wrote it, if it says so.
    pub authors: Vec<String>,
    /// `None` for our own.
    pub source: Option<String>,
    manifest_path: PathBuf,
}

impl Crate {
    /// Its sources.
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }

    /// Its license, in the form of today.
    pub fn license(&self) -> String {
        self.license.as_deref().unwrap_or("NOASSERTION").replace('/', " OR ")
    }
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

/// All of it.
#[derive(Debug)]
pub struct Linked {
    /// By name and version.
    pub crates: BTreeMap<Key, Crate>,
    /// Who names whom, of those.
    pub edges: BTreeMap<Key, BTreeSet<Key>>,
}

impl Linked {
    /// Reads what cargo has said.
    pub fn read(metadata: &Path, tree: &Path) -> Result<Linked> {
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("{}", path.display()));
        Linked::of(&read(metadata)?, &read(tree)?)
    }

    fn of(metadata: &str, tree: &str) -> Result<Linked> {
        let metadata: Metadata = serde_json::from_str(metadata).context("cargo's metadata")?;
        let wanted = keys(tree)?;
        let by_id: BTreeMap<&str, Key> =
            metadata.packages.iter().map(|one| (one.id.as_str(), key(one))).collect();
        let known = metadata.packages.iter().map(|one| (key(one), one.clone()));
        let crates: BTreeMap<Key, Crate> = known.filter(|(key, _)| wanted.contains(key)).collect();
        if let Some((name, version)) = wanted.iter().find(|key| !crates.contains_key(*key)) {
            bail!("cargo's tree has {name} {version}, and its metadata has not");
        }
        let mut edges = BTreeMap::new();
        for node in &metadata.resolve.nodes {
            let Some(from) = by_id.get(node.id.as_str()).filter(|key| wanted.contains(*key)) else {
                continue;
            };
            let to = node.dependencies.iter().filter_map(|id| by_id.get(id.as_str()));
            let to: BTreeSet<Key> = to.filter(|key| wanted.contains(*key)).cloned().collect();
            edges.insert(from.clone(), to);
        }
        Ok(Linked { crates, edges })
    }

    /// Those that are not our own.
    pub fn foreign(&self) -> impl Iterator<Item = &Crate> {
        self.crates.values().filter(|one| one.source.is_some())
    }
}

fn key(one: &Crate) -> Key {
    (one.name.clone(), one.version.clone())
}

/// Lines such as `serde v1.0.1 (proc-macro)`; a crate that was told before has ` (*)` at its end.
fn keys(tree: &str) -> Result<BTreeSet<Key>> {
    let mut keys = BTreeSet::new();
    for line in tree.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let version = words.next().and_then(|word| word.strip_prefix('v'));
        let version =
            version.with_context(|| format!("{line:?} of cargo's tree has no version"))?;
        keys.insert((name.to_owned(), version.to_owned()));
    }
    if keys.is_empty() {
        bail!("cargo's tree is empty");
    }
    Ok(keys)
}

/// Something that is linked in and is no crate, such as the C library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its license, as SPDX has it.
    pub license: String,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Part, String> {
        match text.split('=').collect::<Vec<_>>().as_slice() {
            [name, version, license] if ![name, version, license].contains(&&"") => Ok(Part {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                license: (*license).to_owned(),
            }),
            _other => Err(format!("{text:?} is not NAME=VERSION=LICENSE")),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "packages": [
            {"id": "a", "name": "ours", "version": "0.1.0", "license": "MIT", "repository": null,
             "authors": [], "source": null, "manifest_path": "/ours/Cargo.toml"},
            {"id": "b", "name": "theirs", "version": "2.0.0", "license": "MIT/Apache-2.0",
             "repository": "https://x.example", "authors": ["A. Writer <a@x.example>"],
             "source": "registry", "manifest_path": "/nowhere/Cargo.toml"},
            {"id": "c", "name": "for-tests", "version": "3.0.0", "license": "GPL-3.0",
             "repository": null, "authors": [], "source": "registry",
             "manifest_path": "/nowhere/Cargo.toml"}
        ],
        "resolve": {"nodes": [
            {"id": "a", "dependencies": ["b", "c"]}, {"id": "b", "dependencies": []},
            {"id": "c", "dependencies": []}
        ]}
    }"#;

    /// One crate of ours that names one of others.
    pub fn sample() -> Linked {
        let tree = "ours v0.1.0 (/ours)\ntheirs v2.0.0 (proc-macro)\n\ntheirs v2.0.0 (*)\n";
        Linked::of(METADATA, tree).expect("the sample can be read")
    }

    #[test]
    fn what_is_not_in_the_tree_is_not_linked_in() {
        let linked = sample();
        let foreign: Vec<&str> = linked.foreign().map(|one| one.name.as_str()).collect();
        assert_eq!(foreign, ["theirs"]);
        let edges = &linked.edges[&("ours".to_owned(), "0.1.0".to_owned())];
        assert_eq!(edges.len(), 1, "{edges:?}");
    }

    #[test]
    fn a_crate_that_metadata_does_not_know_is_an_error() {
        assert!(Linked::of(METADATA, "other v1.0.0\n").is_err());
        assert!(Linked::of(METADATA, "").is_err());
        assert!(Linked::of(METADATA, "theirs\n").is_err());
    }

    #[test]
    fn a_part_of_the_system_has_all_three_words() {
        let part: Part = "glibc=2.36=LGPL-2.1-or-later".parse().expect("whole");
        assert_eq!(part.version, "2.36");
        assert!("glibc=2.36".parse::<Part>().is_err());
        assert!("glibc==MIT".parse::<Part>().is_err());
    }
}
