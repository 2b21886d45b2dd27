//! The list of what is linked in, for programs that look for known faults: CycloneDX 1.5. Two
//! builds of one commit give the same list.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::linked::{Crate, Key, Linked, Part};

/// Cargo.lock has the hash of each crate, and `cargo metadata` has not.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// Where SQLite's version stands in the crate that carries its source.
const SQLITE: (&str, &str, &str) =
    ("libsqlite3-sys", "sqlite3/sqlite3.h", "#define SQLITE_VERSION ");

/// The list.
pub fn sbom(linked: &Linked, system: &[Part], (version, epoch): (&str, i64)) -> Result<Value> {
    let hashes = hashes()?;
    let time = Timestamp::from_second(epoch).context("the time of the commit")?;
    let mut components: Vec<Value> =
        linked.crates.iter().map(|(key, one)| component(key, one, hashes.get(key))).collect();
    components.extend(system.iter().map(part));
    components.extend(sqlite(linked)?.as_ref().map(part));
    let dependencies = linked.edges.iter().map(|(from, to)| {
        let to: Vec<String> = to.iter().map(purl).collect();
        json!({ "ref": purl(from), "dependsOn": to })
    });
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.to_string(),
            "component": { "type": "application", "name": "azslurm", "version": version },
        },
        "components": components,
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

fn purl((name, version): &Key) -> String {
    format!("pkg:cargo/{name}@{version}")
}

fn component(key: &Key, one: &Crate, hash: Option<&String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(key),
        "name": key.0,
        "version": key.1,
        "purl": purl(key),
        "licenses": [{ "expression": one.license() }],
    });
    if let Some(hash) = hash {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": hash }]);
    }
    component
}

fn part(part: &Part) -> Value {
    json!({
        "type": "library",
        "bom-ref": format!("{}@{}", part.name, part.version),
        "name": part.name,
        "version": part.version,
        "licenses": [{ "expression": part.license }],
    })
}

/// The SQLite whose source is compiled in.
fn sqlite(linked: &Linked) -> Result<Option<Part>> {
    let (name, header, define) = SQLITE;
    let Some(one) = linked.foreign().find(|one| one.name == name) else { return Ok(None) };
    let path = one.folder().join(header);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let version = text.lines().find_map(|line| line.strip_prefix(define));
    let version = version.with_context(|| format!("{} names no version", path.display()))?;
    Ok(Some(Part {
        name: "sqlite".to_owned(),
        version: version.trim().trim_matches('"').to_owned(),
        license: "blessing".to_owned(),
    }))
}

fn hashes() -> Result<BTreeMap<Key, String>> {
    let lock: toml::Table = LOCK.parse().context("Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let mut hashes = BTreeMap::new();
    for package in packages.into_iter().flatten() {
        let word = |key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        if let (Some(name), Some(version), Some(hash)) =
            (word("name"), word("version"), word("checksum"))
        {
            hashes.insert((name, version), hash);
        }
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linked::tests::sample;

    #[test]
    fn each_part_stands_there_with_its_license_and_who_names_it() {
        let glibc: Part = "glibc=2.36=LGPL-2.1-or-later".parse().expect("whole");
        let sbom = sbom(&sample(), &[glibc], ("1.0.0", 0)).expect("it is made");
        let components = sbom["components"].as_array().expect("an array");
        assert_eq!(components.len(), 3);
        assert_eq!(components[1]["purl"], "pkg:cargo/theirs@2.0.0");
        assert_eq!(components[1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(components[2]["name"], "glibc");
        assert_eq!(sbom["dependencies"][0]["dependsOn"][0], "pkg:cargo/theirs@2.0.0");
        assert_eq!(sbom["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn the_lock_file_gives_hashes() {
        let hashes = hashes().expect("it can be read");
        assert!(hashes.iter().any(|((name, _), hash)| name == "rusqlite" && hash.len() == 64));
    }
}
