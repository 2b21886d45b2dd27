//! The licenses and notices of everything that is linked in, each text once. A crate without any is
//! an error and not an omission.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::linked::{Crate, Linked, Part};

/// How files with licenses and notices begin.
const BEGINNINGS: [&str; 5] = ["licen", "copying", "copyright", "notice", "unlicense"];

/// The license that needs no name in it.
const APACHE: &str = include_str!("../../../LICENSE-APACHE");
/// Ours, whose words are everybody's but for the line of the copyright.
const MIT: &str = include_str!("../../../LICENSE-MIT");

const WIDTH: usize = 100;

/// One text for the packages.
pub fn text(linked: &Linked, system: &[Part]) -> Result<String> {
    let mut text = "azslurm's programs are linked with what is listed here. The texts of the \
        licenses follow, each with the names of those that carry it.\n\n"
        .to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in system {
        text += &format!("{} {}: {}\n", part.name, part.version, part.license);
    }
    for one in linked.foreign() {
        let name = format!("{} {}", one.name, one.version);
        let place = one.repository.as_deref().unwrap_or("");
        text += format!("{name}: {} {place}", one.license()).trim_end();
        text.push('\n');
        for license in of(one)? {
            texts.entry(license).or_default().push(name.clone());
        }
    }
    for (license, names) in texts {
        text += &format!("\n{}\n{}\n\n{license}\n", "=".repeat(WIDTH), folded(&names));
    }
    Ok(text)
}

/// The texts that a crate carries, or the standard text of the license that it names: many crates
/// are published without the file.
fn of(one: &Crate) -> Result<Vec<String>> {
    let carried = carried(one.folder())?;
    let license = one.license();
    if !carried.is_empty() {
        return Ok(carried);
    }
    if license.contains("Apache-2.0") {
        return Ok(vec![APACHE.trim().to_owned()]);
    }
    if license == "MIT" {
        let whose = if one.authors.is_empty() {
            format!("the authors of {}", one.name)
        } else {
            one.authors.join(", ")
        };
        let rest = MIT.lines().map(|line| match line.starts_with("Copyright") {
            true => format!("Copyright (c) {whose}"),
            false => line.to_owned(),
        });
        return Ok(vec![rest.collect::<Vec<_>>().join("\n")]);
    }
    bail!("{} {} carries no license, and {license} has no text here", one.name, one.version)
}

fn carried(folder: &Path) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("read {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
        let is_license = BEGINNINGS.iter().any(|begin| name.starts_with(begin));
        if is_license && !name.ends_with(".rs") && entry.path().is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        Ok(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned())
    };
    paths.iter().map(read).collect()
}

/// Names in lines of some width.
fn folded(names: &[String]) -> String {
    let mut lines = vec![String::new()];
    for name in names {
        let line = lines.last_mut().expect("it begins with one");
        if line.len() + name.len() + 2 > WIDTH {
            line.push(',');
            lines.push(name.clone());
        } else {
            *line += if line.is_empty() { "" } else { ", " };
            *line += name;
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linked::tests::sample;

    #[test]
    fn a_crate_without_a_file_gets_the_text_of_what_it_names() {
        let text = text(&sample(), &[]).expect("it has a license");
        assert!(text.contains("theirs 2.0.0: MIT OR Apache-2.0 https://x.example\n"), "{text}");
        assert!(text.contains("Apache License"), "{text}");
        assert!(!text.contains("ours 0.1.0"), "{text}");
    }

    #[test]
    fn the_text_of_mit_names_its_authors_and_not_us() {
        let mut linked = sample();
        let theirs = linked.crates.values_mut().find(|one| one.name == "theirs").expect("it is");
        theirs.license = Some("MIT".to_owned());
        let text = text(&linked, &[]).expect("it has a license");
        assert!(text.contains("Copyright (c) A. Writer <a@x.example>"), "{text}");
        assert!(text.contains("Permission is hereby granted"), "{text}");
    }

    #[test]
    fn a_license_without_any_text_is_an_error() {
        let mut linked = sample();
        let theirs = linked.crates.values_mut().find(|one| one.name == "theirs").expect("it is");
        theirs.license = Some("GPL-3.0-only".to_owned());
        assert!(text(&linked, &[]).is_err());
    }

    #[test]
    fn many_names_are_folded() {
        let names: Vec<String> = (0..40).map(|at| format!("crate-{at} 1.0.0")).collect();
        let text = folded(&names);
        assert!(text.lines().all(|line| line.len() <= WIDTH + 1), "{text}");
        assert_eq!(text.matches("crate-").count(), 40);
    }
}
