//! The workspace's sources with every mutation built in, in a folder of their own: what is shipped
//! knows nothing of mutations.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::list::{List, Mutation, built_in};

/// What the copy has beside the sources.
const MODULE: &str = r#"//! Which mutation is on.
use std::sync::OnceLock;

static NAME: OnceLock<Option<String>> = OnceLock::new();

/// Whether it is this one.
pub fn is_on(name: &str) -> bool {
    NAME.get_or_init(|| std::env::var("AZSLURM_MUTANT").ok()).as_deref() == Some(name)
}
"#;
/// The copy's packages have another version, so that what cargo builds of them stands beside what
/// it builds of the workspace's own, in the same target folder.
const VERSION: (&str, &str) = ("version = \"0.1.0\"\n", "version = \"0.1.0-mutants\"\n");
/// Its program has another name for the same reason.
const PROGRAM: (&str, &str) = ("name = \"azslurm-prove\"", "name = \"azslurm-prove-mutants\"");
const CORE: &str = "crates/core/";
/// Cargo's settings are those of the folders around the copy; twice they would not be the same.
const SETTINGS: &str = ".cargo/";

/// Writes the copy of the workspace in `root` to `tree`. Only files that differ are written, so
/// that cargo builds little. How many were.
pub fn write(root: &Path, list: &List, tree: &Path) -> anyhow::Result<usize> {
    for one in &list.mutation {
        ensure!(root.join(&one.file).is_file(), "mutation {}: no file {}", one.name, one.file);
    }
    let mut written = 0;
    for file in files(root)? {
        let Ok(content) = std::fs::read(root.join(&file)) else { continue };
        let content = changed(&file, content, list)?;
        written += usize::from(put(&tree.join(&file), &content)?);
    }
    written += usize::from(put(&tree.join(CORE).join("src/mutant.rs"), MODULE.as_bytes())?);
    Ok(written)
}

/// The files that are the workspace's.
fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").args(words).current_dir(root).output();
    let listed = listed.context("cannot run git")?;
    ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    let names = names.split('\0').filter(|name| !name.is_empty() && !name.starts_with(SETTINGS));
    Ok(names.map(PathBuf::from).collect())
}

fn changed(file: &Path, content: Vec<u8>, list: &List) -> anyhow::Result<Vec<u8>> {
    let name = file.to_str().unwrap_or_default();
    let mutations: Vec<&Mutation> = list.mutation.iter().filter(|one| one.file == name).collect();
    let swap = match name {
        "Cargo.toml" => Some(VERSION),
        "tests/sim/Cargo.toml" => Some(PROGRAM),
        _any_other => None,
    };
    let is_root_of_core = file == Path::new(CORE).join("src/lib.rs");
    if mutations.is_empty() && swap.is_none() && !is_root_of_core {
        return Ok(content);
    }
    let text = String::from_utf8(content).with_context(|| format!("{name} is not UTF-8"))?;
    let mut text = built_in(&text, &mutations, name.starts_with(CORE))?;
    if let Some((from, to)) = swap {
        ensure!(text.matches(from).count() == 1, "{name} does not say {from:?} once");
        text = text.replace(from, to);
    }
    if is_root_of_core {
        text.push_str("\npub mod mutant;\n");
    }
    Ok(text.into_bytes())
}

/// Writes a file unless it is so already.
fn put(path: &Path, content: &[u8]) -> anyhow::Result<bool> {
    if std::fs::read(path).is_ok_and(|there| there == content) {
        return Ok(false);
    }
    let folder = path.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}
