//! Owns: who may name whom (`ARCHITECTURE.md`, "The map"), checked in the Cargo.toml files, the
//! sources and the top-level folder. Must never be made to pass by widening an arrow without
//! changing the map.
//!
//! ```text
//! core ← slurm, azure, ledger ← program ← suspend ← resume, resume_fail, slurm-conf
//!      ← sync ← tests, packaging/generate
//! ```

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, Where, rust_sources};

/// Our packages from left to right. suspend comes before resume_fail, which deletes by its
/// functions.
const LEFT_TO_RIGHT: [&str; 18] = [
    "azslurm-core",
    "azslurm-slurm",
    "azslurm-azure",
    "azslurm-ledger",
    "azslurm-program",
    "azslurm-suspend",
    "azslurm-resume",
    "azslurm-resume-fail",
    "azslurm-conf",
    "azslurm-sync",
    "azslurm-arm-emulator",
    "azslurm-slurm-model",
    "azslurm-sim",
    "azslurm-test-cluster",
    "azslurm-fuzz",
    "azslurm-bench",
    "azslurm-tests",
    "azslurm-generate",
];

/// The packages of ours that a package may name; `None` for one that is not on the map.
fn may_name(package: &str) -> Option<&'static [&'static str]> {
    let first = match package {
        // The emulator and the cluster know nothing of ours, so that they cannot share our
        // mistakes.
        "azslurm-core" | "azslurm-arm-emulator" | "azslurm-test-cluster" => 0,
        "azslurm-slurm" | "azslurm-azure" | "azslurm-ledger" => 1,
        "azslurm-program" => 4,
        "azslurm-suspend" | "azslurm-conf" => 5,
        "azslurm-resume" | "azslurm-resume-fail" => 6,
        "azslurm-sync" => 9,
        // It shares names and host lists; how azslurm reads its words is what its tests show.
        "azslurm-slurm-model" => 2,
        "azslurm-sim" => 12,
        // Inputs are read by the programs' own readers, and by nothing of the tests.
        "azslurm-fuzz" => 10,
        // It runs the shipped programs, and reads host lists by itself.
        "azslurm-bench" => 14,
        "azslurm-tests" => 15,
        // The definitions of the programs' command lines, and nothing of the tests.
        "azslurm-generate" => 10,
        _ => return None,
    };
    Some(&LEFT_TO_RIGHT[..first])
}

/// What the tests of any package but core's may name besides.
const FOR_TESTS: [&str; 2] = ["azslurm-arm-emulator", "azslurm-test-cluster"];

/// Outside crates of core: nothing that does I/O, reads a clock or draws a number.
const OUTSIDE_CORE: [&str; 7] =
    ["jiff", "serde", "serde_json", "smol_str", "strsim", "thiserror", "toml"];
const OUTSIDE_CORE_TESTS: [&str; 1] = ["proptest"];

/// Outside crates that are named in one place, and by the tests listed beside it.
const ONE_PLACE: [(&str, &[&str]); 5] = [
    (
        "reqwest",
        &["azslurm-azure", "azslurm-arm-emulator", "azslurm-bench", "azslurm-sim", "azslurm-tests"],
    ),
    ("azure_core", &["azslurm-azure", "azslurm-sim"]),
    ("azure_identity", &["azslurm-azure"]),
    ("azure_mgmt_compute", &["azslurm-azure"]),
    (
        "rusqlite",
        &["azslurm-ledger", "azslurm-fuzz", "azslurm-sim", "azslurm-test-cluster", "azslurm-tests"],
    ),
];

/// Packages whose library has another name than the package.
const LIBRARIES: [(&str, &str); 1] = [("rustls-webpki", "webpki")];

/// Who may start a process: the one place that runs `scontrol`, and the front that starts its
/// driver.
const STARTS_PROCESSES: [&str; 2] = ["crates/slurm/", "crates/program/"];

/// The symbol trap of a static binary; the simulation's kernel and its hook in SQLite.
const UNSAFE: [&str; 3] = [
    "crates/program/src/no_name_service.rs",
    "tests/sim/src/commits.rs",
    "tests/sim/src/libc_seam.rs",
];

/// The top-level folder, dot-files and `target` aside.
const TOP_LEVEL: [&str; 23] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docs",
    "packaging",
    "resume",
    "resume_fail",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "slurm-conf",
    "suspend",
    "sync",
    "tests",
];

/// What one Cargo.toml says.
struct Package {
    name: String,
    /// Its folder, as it stands in the workspace's `members`.
    folder: String,
    dependencies: BTreeSet<String>,
    dev_dependencies: BTreeSet<String>,
}

impl Package {
    fn parse(folder: &str, text: &str) -> Package {
        let manifest: toml::Table = text.parse().expect("a Cargo.toml is TOML");
        let name = manifest["package"]["name"].as_str().expect("a package has a name");
        let mut package = Package {
            name: name.to_owned(),
            folder: folder.to_owned(),
            dependencies: BTreeSet::new(),
            dev_dependencies: BTreeSet::new(),
        };
        package.read(&manifest);
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        for target in targets.into_iter().flat_map(toml::Table::values) {
            package.read(target.as_table().expect("a target is a table"));
        }
        package
    }

    fn read(&mut self, table: &toml::Table) {
        let named = |kind: &str| -> BTreeSet<String> {
            let named = table.get(kind).and_then(toml::Value::as_table);
            named.into_iter().flatten().map(|(key, value)| crate_of(key, value)).collect()
        };
        self.dependencies.append(&mut named("dependencies"));
        self.dependencies.append(&mut named("build-dependencies"));
        self.dev_dependencies.append(&mut named("dev-dependencies"));
    }

    /// Everything that is wrong with what the package names.
    fn complaints(&self) -> Vec<String> {
        let Some(may) = may_name(&self.name) else {
            return vec![format!("{} is not on the map: give it its place here", self.name)];
        };
        let is_core = self.name == "azslurm-core";
        let mut complaints = Vec::new();
        for name in &self.dependencies {
            let may_name = may.contains(&name.as_str());
            self.complain(&mut complaints, name, may_name, &OUTSIDE_CORE);
        }
        for name in &self.dev_dependencies {
            let for_tests = !is_core && FOR_TESTS.contains(&name.as_str());
            let may_name = may.contains(&name.as_str()) || for_tests;
            let outside = [&OUTSIDE_CORE[..], &OUTSIDE_CORE_TESTS[..]].concat();
            self.complain(&mut complaints, name, may_name, &outside);
        }
        complaints
    }

    /// What the package names and does not use: it costs everybody's build and nobody would miss
    /// it.
    fn unused(&self, sources: &[Source], others: &[&str]) -> Vec<String> {
        let mine = |path: &str| {
            let is_in = |folder: &str| path.starts_with(&format!("{folder}/"));
            is_in(&self.folder) && !others.iter().any(|o| o.len() > self.folder.len() && is_in(o))
        };
        let is_used = |name: &String| {
            let library = LIBRARIES.iter().find(|(package, _)| package == name);
            let word = library.map_or_else(|| name.replace('-', "_"), |(_, it)| (*it).to_owned());
            let uses = |source: &&Source| !source.find(&[&word], Where::Everywhere).is_empty();
            sources.iter().filter(|source| mine(&source.path)).any(|source| uses(&source))
        };
        let named = self.dependencies.union(&self.dev_dependencies);
        let tell = |name| format!("{} names {name} and does not use it", self.name);
        named.filter(|name| !is_used(name)).map(tell).collect()
    }

    fn complain(&self, to: &mut Vec<String>, name: &str, may_name: bool, core_outside: &[&str]) {
        let is_ours = name.starts_with("azslurm-");
        if is_ours && !may_name {
            to.push(format!("{} must not name {name}", self.name));
        }
        if !is_ours && self.name == "azslurm-core" && !core_outside.contains(&name) {
            to.push(format!("{} must not name {name}: it is not pure", self.name));
        }
        let place = ONE_PLACE.iter().find(|(outside, _)| *outside == name);
        if let Some((_, packages)) = place.filter(|(_, p)| !p.contains(&self.name.as_str())) {
            to.push(format!("{} must not name {name}: {} does", self.name, packages[0]));
        }
    }
}

/// The crate behind a key; a renamed one counts by its real name.
fn crate_of(key: &str, value: &toml::Value) -> String {
    value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

fn manifest(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn line_of(source: &Source, line: usize) -> &str {
    source.text.lines().nth(line - 1).unwrap_or_default().trim()
}

fn starts_processes(source: &Source) -> Vec<String> {
    let path = &source.path;
    let may = path.starts_with("tests/") || STARTS_PROCESSES.iter().any(|p| path.starts_with(p));
    let lines = source.find(&["Command", ":", ":", "new"], Where::OutsideTests);
    let tell = |line| format!("{path}:{line}: starts a process: {}", line_of(source, line));
    lines.into_iter().filter(|_| !may).map(tell).collect()
}

fn is_unsafe(source: &Source) -> Vec<String> {
    let path = &source.path;
    let words = [&["unsafe"][..], &["unsafe_code"][..]];
    let lines = words.iter().flat_map(|words| source.find(words, Where::Everywhere));
    let tell =
        |line| format!("{path}:{line}: only {} may: {}", UNSAFE.join(", "), line_of(source, line));
    lines.filter(|_| !UNSAFE.contains(&path.as_str())).map(tell).collect()
}

fn workspace() -> toml::Table {
    let manifest: toml::Table = manifest(&root().join("Cargo.toml")).parse().expect("TOML");
    manifest["workspace"].as_table().expect("a table").clone()
}

fn packages() -> Vec<Package> {
    let workspace = workspace();
    let members = workspace["members"].as_array().expect("an array");
    let folders = members.iter().map(|member| member.as_str().expect("a path"));
    folders
        .map(|folder| Package::parse(folder, &manifest(&root().join(folder).join("Cargo.toml"))))
        .collect()
}

#[test]
fn each_package_names_only_packages_to_its_left() {
    let packages = packages();
    let complaints: Vec<String> = packages.iter().flat_map(Package::complaints).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(packages.len(), LEFT_TO_RIGHT.len(), "the map names a package that is not there");
}

#[test]
fn crates_keep_their_names_here() {
    let workspace = workspace();
    let dependencies = workspace["dependencies"].as_table().expect("a table");
    for (key, value) in dependencies {
        assert_eq!(*key, crate_of(key, value), "a renamed crate would pass by the rules");
    }
}

#[test]
fn every_dependency_is_used() {
    let (packages, sources) = (packages(), rust_sources(&root()));
    let folders: Vec<&str> = packages.iter().map(|package| package.folder.as_str()).collect();
    let unused: Vec<String> =
        packages.iter().flat_map(|package| package.unused(&sources, &folders)).collect();
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}

#[test]
fn only_slurm_and_the_driver_start_start_processes() {
    let found: Vec<String> = rust_sources(&root()).iter().flat_map(starts_processes).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn unsafe_code_is_in_one_module() {
    let found: Vec<String> = rust_sources(&root()).iter().flat_map(is_unsafe).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_top_level_is_the_map() {
    let entries = fs::read_dir(root()).expect("the repository can be read");
    let found: BTreeSet<String> = entries
        .map(|entry| entry.expect("a listed folder can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    let wanted = TOP_LEVEL.iter().map(|name| (*name).to_owned());
    assert_eq!(found, wanted.collect::<BTreeSet<String>>());
}

#[cfg(test)]
mod each_rule_can_fail {
    use super::*;

    fn package(name: &str, rest: &str) -> Package {
        Package::parse("sync", &format!("[package]\nname = \"{name}\"\n{rest}"))
    }

    fn complaints(name: &str, rest: &str) -> Vec<String> {
        package(name, rest).complaints()
    }

    #[test]
    fn an_arrow_to_the_right_is_told() {
        let right = "[dependencies]\nazslurm-slurm.workspace = true";
        assert_eq!(complaints("azslurm-core", right), ["azslurm-core must not name azslurm-slurm"]);
        assert_eq!(complaints("azslurm-ledger", right).len(), 1);
        assert_eq!(complaints("azslurm-program", right).len(), 0);
        let renamed = "[target.'cfg(unix)'.dependencies]\nx = { package = \"azslurm-sync\" }";
        assert_eq!(complaints("azslurm-resume", renamed).len(), 1);
    }

    #[test]
    fn only_tests_name_the_emulator() {
        let emulator = "azslurm-arm-emulator.workspace = true";
        let dev = format!("[dev-dependencies]\n{emulator}");
        assert_eq!(complaints("azslurm-resume", &dev).len(), 0);
        assert_eq!(complaints("azslurm-core", &dev).len(), 1);
        assert_eq!(complaints("azslurm-resume", &format!("[dependencies]\n{emulator}")).len(), 1);
    }

    #[test]
    fn a_new_package_must_be_put_on_the_map() {
        assert_eq!(complaints("azslurm-new", "").len(), 1);
    }

    #[test]
    fn an_impure_crate_in_core_is_told() {
        assert_eq!(complaints("azslurm-core", "[dependencies]\nrand = \"1\"").len(), 1);
        assert_eq!(complaints("azslurm-core", "[dependencies]\nproptest = \"1\"").len(), 1);
        assert_eq!(complaints("azslurm-core", "[dev-dependencies]\nproptest = \"1\"").len(), 0);
    }

    #[test]
    fn a_dependency_that_nobody_uses_is_told() {
        let package = package("azslurm-sync", "[dependencies]\nserde-json = \"1\"");
        let unused = |path: &str| {
            let text = "use serde_json::Value; // other";
            package.unused(&[Source::new(path, text).expect("Rust")], &["sync", "sync/inner"]).len()
        };
        assert_eq!(unused("sync/src/lib.rs"), 0);
        assert_eq!(unused("sync/inner/src/lib.rs"), 1);
        assert_eq!(unused("synchronous/src/lib.rs"), 1);
    }

    #[test]
    fn a_second_place_for_http_or_sqlite_is_told() {
        for name in ["reqwest", "azure_identity", "rusqlite"] {
            let rest = format!("[dependencies]\n{name} = \"1\"");
            assert_eq!(complaints("azslurm-program", &rest).len(), 1);
        }
    }

    #[test]
    fn a_process_started_elsewhere_is_told_and_one_in_a_test_is_not() {
        let tell = |path: &str, text: &str| {
            starts_processes(&Source::new(path, text).expect("the sample is Rust")).len()
        };
        let text = "fn f() { std::process::Command::new(\"scontrol\"); }";
        assert_eq!(tell("sync/src/lib.rs", text), 1);
        assert_eq!(tell("crates/slurm/src/scontrol.rs", text), 0);
        assert_eq!(tell("sync/tests/story.rs", text), 0);
        assert_eq!(tell("sync/src/lib.rs", &format!("#[cfg(test)] mod tests {{ {text} }}")), 0);
    }

    #[test]
    fn unsafe_elsewhere_is_told() {
        let text = "#[unsafe(no_mangle)]\nfn f() { unsafe { g() } }";
        let source = |path| Source::new(path, text).expect("the sample is Rust");
        assert_eq!(is_unsafe(&source("sync/src/lib.rs")).len(), 2);
        assert_eq!(is_unsafe(&source(UNSAFE[0])).len(), 0);
    }
}
