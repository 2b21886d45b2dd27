//! The guides in `docs/`: their configs are taken by the parser, and every command of ours in them
//! is run, with the emulator for Azure and a stand-in for scontrol.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use azslurm_core::config;

use crate::bench::{Bench, KEY, program};

/// What a command line may begin with besides our programs: programs of the machine, of Slurm and
/// of Azure. They are not run here.
const OTHERS: [&str; 9] =
    ["install", "systemctl", "sbatch", "scontrol", "az", "make", "apt", "dpkg", "dnf"];
/// What needs a real slurmctld: stories run it (`tests/e2e`); here only its words are checked.
const WITH_SLURMCTLD: [&str; 2] = ["azslurm-conf diff", "azslurm-conf apply"];
/// What says by exit code 1 that it has found something: the world of this test has no slurm.conf.
const FINDS: [&str; 2] = ["azslurm-conf check", "azslurm-sync doctor"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests are in the root").to_owned()
}

fn guides() -> Vec<(String, String)> {
    let mut guides = Vec::new();
    for entry in fs::read_dir(root().join("docs")).expect("there are documents").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            guides.push((name, fs::read_to_string(entry.path()).expect("a document is text")));
        }
    }
    guides.sort();
    guides
}

/// The text of all fenced blocks of a language.
fn blocks(text: &str, language: &str) -> String {
    let mut inside = None;
    let mut found = String::new();
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), Some(_)) => inside = None,
            (Some(of), None) => inside = Some(of == language),
            (None, Some(true)) => found.push_str(&format!("{line}\n")),
            (None, _) => {}
        }
    }
    found
}

/// A guide's config in the world of a bench: its own cluster, sites and nodesets, the bench's
/// clouds, files and scontrol.
fn in_world(bench: &Bench, text: &str) -> String {
    let mut ours: toml::Table = text.parse().expect("a parsed config is TOML");
    let worlds: toml::Table = bench.config("").parse().expect("the bench's config is TOML");
    // Whoever the guide's credential is, the emulator does not know.
    ours.remove("credential");
    for table in ["cloud", "ledger", "log"] {
        ours.insert(table.to_owned(), worlds[table].clone());
    }
    let slurm = ours.entry("slurm").or_insert_with(|| toml::Table::new().into());
    let slurm = slurm.as_table_mut().expect("[slurm] is a table");
    slurm.insert("bin_dir".to_owned(), worlds["slurm"]["bin_dir"].clone());
    toml::to_string(&ours).expect("TOML is written as TOML")
}

/// The places of an installation, in the bench's folder.
fn here(bench: &Bench, text: &str) -> String {
    let dir = bench.dir.path().display();
    let config = bench.config_path().display().to_string();
    let text = text.replace("/etc/azslurm/azslurm.toml", &config);
    text.replace("/etc/azslurm", &dir.to_string())
}

/// Writes the config, and has a slurmctld that knows its nodes, all of them off.
fn settle(bench: &Bench, text: &str) {
    let text = in_world(bench, &here(bench, text));
    let parsed = config::parse(&text).unwrap_or_else(|errors| panic!("{}", errors.render("guide")));
    bench.write_config(&text);
    let nodes: Vec<String> = parsed
        .nodesets
        .values()
        .flat_map(|nodeset| nodeset.nodes.iter().map(ToString::to_string))
        .collect();
    let off: Vec<(&str, &str)> =
        nodes.iter().map(|node| (node.as_str(), "IDLE+CLOUD+POWERED_DOWN")).collect();
    bench.slurmctld_says(&off);
    // The daemon has run, as it has wherever a guide is read.
    let (code, said) = run(bench, "azslurm-sync pass --wait 15");
    assert_eq!(code, Some(0), "{said}");
}

/// Runs a line as a person's shell would.
fn run(bench: &Bench, line: &str) -> (Option<i32>, String) {
    let bin = program("azslurm-conf");
    let bin = bin.parent().expect("a program is in a folder").display().to_string();
    let output = Command::new("/bin/sh")
        .args(["-c", line])
        .env_clear()
        .env("PATH", format!("{bin}:/usr/bin:/bin"))
        .env("AZSLURM_CONFIG", bench.config_path())
        .env("SLURM_CONF", bench.dir.path().join("slurm.conf"))
        .output()
        .expect("a shell");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn begins_with_any(line: &str, begins: &[&str]) -> bool {
    begins.iter().any(|begin| line == *begin || line.starts_with(&format!("{begin} ")))
}

#[test]
fn every_command_of_the_guides_runs() {
    let mut count = 0;
    for (name, text) in guides() {
        let lines = blocks(&text, "sh");
        let is_script = |line: &&str| !line.starts_with("#!");
        let commands: Vec<&str> = lines.lines().take_while(is_script).collect();
        if !commands.iter().any(|line| line.starts_with("azslurm-")) {
            continue;
        }
        let bench = Bench::start();
        fs::write(bench.dir.path().join("admin.pub"), format!("{KEY}\n")).expect("a key");
        let toml = blocks(&text, "toml");
        match toml.is_empty() {
            true => fs::remove_file(bench.config_path()).expect("it was there"),
            false => settle(&bench, &toml),
        }
        for line in commands.into_iter().filter(|line| !line.is_empty()) {
            if !line.starts_with("azslurm-") {
                assert!(begins_with_any(line, &OTHERS), "{name}: what is {line:?}?");
                continue;
            }
            count += 1;
            if begins_with_any(line, &WITH_SLURMCTLD) {
                let (code, said) = run(&bench, &format!("{line} --help"));
                assert_eq!(code, Some(0), "{name}: {line}\n{said}");
                continue;
            }
            let line = here(&bench, line);
            let (code, said) = run(&bench, &line);
            let is_good = code == Some(0) || (code == Some(1) && begins_with_any(&line, &FINDS));
            assert!(is_good, "{name}: {line}\n{code:?}: {said}");
            if line.starts_with("azslurm-conf init ") {
                let written = fs::read_to_string(bench.config_path()).expect("init wrote it");
                settle(&bench, &written);
            }
        }
    }
    assert!(count > 30, "only {count} commands were run");
}

/// The verbs that a program's help lists.
fn verbs(program_name: &str) -> BTreeSet<String> {
    let output = Command::new(program(program_name)).arg("--help").output().expect("it is built");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let of_verbs = lines.take_while(|line| !line.is_empty());
    let names = of_verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn every_verb_that_a_document_names_is_one() {
    let mut texts = guides();
    for name in ["README.md", "packaging/README.md", "ARCHITECTURE.md"] {
        texts.push((name.to_owned(), fs::read_to_string(root().join(name)).expect("it is there")));
    }
    for program_name in ["azslurm-sync", "azslurm-conf"] {
        let known = verbs(program_name);
        assert!(known.len() > 4, "{known:?}");
        for (name, text) in &texts {
            for said in text.split(&format!("`{program_name} ")).skip(1) {
                let word: String =
                    said.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                let is_verb = word.is_empty() || word.starts_with("--") || known.contains(&word);
                assert!(is_verb, "{name}: `{program_name} {word}`: no such verb");
            }
        }
    }
}
