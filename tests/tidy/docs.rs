//! Owns: that what the documents name exists: files, constants of a limits table, tests. Must never
//! judge their words.
//!
//! In a document, `` `crates/x/src/y.rs` `` is a file, `` `some_test()` `` is a function of the
//! tree, and a table row that begins with `` `SOME_MAX` `` and names a Rust file says that the
//! constant is there.

use std::fs;
use std::path::Path;

use crate::Violation;
use crate::source::{Source, Where};

/// Endings of the files that a document may name.
const ENDINGS: [&str; 7] = [".rs", ".toml", ".sh", ".txt", ".sql", ".md", ".tsv"];

/// Every document of the repository, by path, with its text.
pub fn documents(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["", "docs/", "packaging/"] {
        let entries = fs::read_dir(root.join(folder)).expect("the folder is on the map");
        for entry in entries {
            let path = entry.expect("a listed folder can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                let text = fs::read_to_string(&path).expect("a document is text");
                found.push((format!("{folder}{name}"), text));
            }
        }
    }
    found.sort();
    found
}

/// Everything that `document` names and that is not there.
pub fn names(document: &(String, String), root: &Path, sources: &[Source]) -> Vec<Violation> {
    let (path, text) = document;
    let mut found = Vec::new();
    let mut is_example = false;
    for (index, line) in text.lines().enumerate() {
        is_example ^= line.trim_start().starts_with("```");
        if is_example {
            continue;
        }
        for text in missing(line, root, sources) {
            found.push(Violation { path: path.clone(), line: index + 1, rule: "document", text });
        }
    }
    found
}

fn missing(line: &str, root: &Path, sources: &[Source]) -> Vec<String> {
    let named: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    let mut missing = Vec::new();
    for name in &named {
        if is_file(name) && !root.join(name).exists() {
            missing.push(format!("names the file {name}, which does not exist"));
        }
        if let Some(function) = name.strip_suffix("()").filter(|name| is_function(name)) {
            let is_there = |source: &Source| has(source, "fn", function);
            if !sources.iter().any(is_there) {
                missing.push(format!("names the function {function}, which does not exist"));
            }
        }
    }
    let constant = named.first().filter(|name| line.starts_with("| `") && is_constant(name));
    let file = named.iter().find(|name| is_file(name) && name.ends_with(".rs"));
    if let (Some(constant), Some(file)) = (constant, file) {
        let is_there = |source: &Source| source.path == **file && has(source, "const", constant);
        if !sources.iter().any(is_there) {
            missing.push(format!("names the constant {constant}, which {file} does not have"));
        }
    }
    missing
}

fn has(source: &Source, keyword: &str, name: &str) -> bool {
    !source.find(&[keyword, name], Where::Everywhere).is_empty()
}

fn is_file(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    name.contains('/')
        && !name.starts_with('/')
        && name.chars().all(is_plain)
        && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_function(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_constant(name: &str) -> bool {
    name.contains('_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}
