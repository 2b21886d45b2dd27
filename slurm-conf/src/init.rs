//! `azslurm-conf init`: the first azslurm.toml, with what a person says and nothing else.
//!
//! The questions are a table; what an answer may be the parser of the config decides, and whoever
//! is wrong is asked again.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use azslurm_core::config;

use crate::write::{self, WriteError};

/// Whoever gives no good answer so often is not asked again.
const TRIES_MAX: usize = 5;

/// One thing that a config needs and nobody can guess.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Its flag without the dashes, which is also its name in [`Answers`].
    pub name: &'static str,
    /// The key of the config that it answers; `NODESET` stands for the nodeset's name.
    pub key: &'static str,
    /// What a person is asked.
    pub text: &'static str,
    /// What Enter means; `None`: it must be said.
    pub default: Option<&'static str>,
}

/// All questions in the order in which they are asked.
pub const QUESTIONS: [Question; 11] = [
    Question {
        name: "cluster",
        key: "cluster.name",
        text: "The cluster's name, as in slurm.conf; it is written on every VM",
        default: None,
    },
    Question {
        name: "controller",
        key: "slurm.controller",
        text: "The host name of slurmctld, as the VMs reach it",
        default: Some("HOST"),
    },
    Question {
        name: "subscription",
        key: "site.main.subscription",
        text: "The subscription's id (`az account show --query id`)",
        default: None,
    },
    Question {
        name: "region",
        key: "site.main.region",
        text: "The region, such as westeurope (`az account list-locations`)",
        default: None,
    },
    Question {
        name: "resource-group",
        key: "site.main.resource_group",
        text: "The resource group for the VMs; it must exist",
        default: None,
    },
    Question {
        name: "subnet",
        key: "site.main.subnet",
        text: "The subnet's resource id (`az network vnet subnet show --query id`)",
        default: None,
    },
    Question {
        name: "nodeset",
        key: "nodeset",
        text: "A name for the first kind of nodes",
        default: Some("htc"),
    },
    Question {
        name: "nodes",
        key: "nodeset.NODESET.nodes",
        text: "Its nodes, as a Slurm host list",
        default: Some("NODESET-[001-010]"),
    },
    Question {
        name: "sku",
        key: "nodeset.NODESET.sku",
        text: "Their VM size",
        default: Some("Standard_D4s_v5"),
    },
    Question {
        name: "image",
        key: "nodeset.NODESET.image",
        text: "Their image: publisher:offer:sku:version, or the id of one of yours",
        default: Some("almalinux:almalinux-x86_64:9-gen2:latest"),
    },
    Question {
        name: "ssh-public-key-file",
        key: "nodeset.NODESET.ssh_public_key_file",
        text: "The file of the administrator's public key",
        default: Some("/etc/azslurm/admin.pub"),
    },
];

/// What was said, by the names of the questions, and `host`: the name of this machine.
pub type Answers = BTreeMap<&'static str, String>;

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Answers are missing, and nobody can be asked.
    #[error("these must be said: {}", names.join(" "))]
    Missing {
        /// Their flags.
        names: Vec<String>,
    },
    /// Answers are wrong, and nobody can be asked again.
    #[error("{}", problems.join("\n"))]
    Wrong {
        /// A line each.
        problems: Vec<String>,
    },
    /// The file is there.
    #[error(
        "{path} is there already, and nothing is overwritten: change it by hand (`azslurm-conf \
         example` shows every key), or name another file with --out"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The terminal is gone.
    #[error("cannot ask")]
    Ask(#[source] io::Error),
}

/// Whom the missing answers are had from.
pub enum Asked<'a> {
    /// Nobody: what has a default gets it (`--yes`).
    Nobody,
    /// A person: where the questions go, and where answers come from.
    Person(&'a mut dyn BufRead, &'a mut dyn Write),
}

/// Asks for what was not said and writes the file, which must not be there yet.
///
/// # Errors
/// [`InitError`]: nothing was written.
pub fn init(mut answers: Answers, mut asked: Asked<'_>, out: &Path) -> Result<String, InitError> {
    let exists = || InitError::Exists { path: out.to_owned() };
    if out.exists() {
        return Err(exists());
    }
    complete(&mut answers, &mut asked)?;
    let text = agreed(&mut answers, &mut asked)?;
    match write::fresh(out, &text) {
        Ok(()) => {}
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
        Err(error) => return Err(error.into()),
    }
    Ok(format!(
        "wrote {0}\nnext: azslurm-conf role --config {0}    the rights that it needs in Azure\n\
         then: azslurm-conf check --config {0}   everything that would fail later",
        out.display()
    ))
}

/// Every question gets an answer.
fn complete(answers: &mut Answers, asked: &mut Asked<'_>) -> Result<(), InitError> {
    let mut missing = Vec::new();
    for question in QUESTIONS {
        if answers.contains_key(question.name) {
            continue;
        }
        let default = question.default.map(|text| named(text, answers));
        let answer = match asked {
            Asked::Nobody => default,
            Asked::Person(answer, ask) => put(&question, default.as_deref(), (answer, ask))?,
        };
        match answer {
            Some(answer) => drop(answers.insert(question.name, answer)),
            None => missing.push(format!("--{}", question.name)),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(InitError::Missing { names: missing }) }
}

/// Asks one question until there is an answer; `None`: nobody answers any more.
fn put(
    question: &Question,
    default: Option<&str>,
    (answer, ask): (&mut dyn BufRead, &mut dyn Write),
) -> Result<Option<String>, InitError> {
    for _ in 0..TRIES_MAX {
        let shown = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        write!(ask, "{}{shown}: ", question.text).map_err(InitError::Ask)?;
        ask.flush().map_err(InitError::Ask)?;
        let mut line = String::new();
        if answer.read_line(&mut line).map_err(InitError::Ask)? == 0 {
            return Ok(None);
        }
        let line = line.trim();
        match (line, default) {
            ("", Some(default)) => return Ok(Some(default.to_owned())),
            ("", None) => continue,
            (line, _) => return Ok(Some(line.to_owned())),
        }
    }
    Ok(None)
}

/// The text that the parser takes; wrong answers are asked for again.
fn agreed(answers: &mut Answers, asked: &mut Asked<'_>) -> Result<String, InitError> {
    for _ in 0..TRIES_MAX {
        let text = text(answers);
        let Err(errors) = config::parse(&text) else { return Ok(text) };
        let mut problems = Vec::new();
        let mut again = Vec::new();
        for error in errors.as_slice() {
            let question =
                QUESTIONS.iter().find(|question| is_about(question, answers, &error.key));
            let flag =
                question.map_or(error.key.clone(), |question| format!("--{}", question.name));
            problems.push(format!("{flag}: {}", error.problem));
            again.extend(question.filter(|question| {
                !again.iter().any(|other: &&Question| other.name == question.name)
            }));
        }
        let Asked::Person(answer, ask) = asked else { return Err(InitError::Wrong { problems }) };
        for problem in &problems {
            writeln!(ask, "{problem}").map_err(InitError::Ask)?;
        }
        if again.is_empty() {
            return Err(InitError::Wrong { problems });
        }
        for question in again {
            let default = question.default.map(|text| named(text, answers));
            match put(question, default.as_deref(), (answer, ask))? {
                Some(answer) => drop(answers.insert(question.name, answer)),
                None => return Err(InitError::Wrong { problems }),
            }
        }
    }
    Err(InitError::Wrong { problems: vec!["too many wrong answers".to_owned()] })
}

/// With the nodeset's name in its place.
fn named(text: &str, answers: &Answers) -> String {
    let text = text.replace("NODESET", answers.get("nodeset").map_or("htc", String::as_str));
    text.replace("HOST", answers.get("host").map_or("localhost", String::as_str))
}

fn is_about(question: &Question, answers: &Answers, key: &str) -> bool {
    let own = named(question.key, answers);
    let nodeset = &answers["nodeset"];
    let is_table =
        || [format!("nodeset.{nodeset}"), format!("nodeset.{nodeset:?}")].contains(&key.to_owned());
    key == own || (question.name == "nodeset" && is_table())
}

/// The config of some answers: they alone, each with a word about it.
fn text(answers: &Answers) -> String {
    let quoted = |name: &str| toml_text(answers.get(name).map_or("", String::as_str));
    let nodeset = answers.get("nodeset").map_or("", String::as_str);
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let nodeset = match nodeset.chars().all(is_bare) {
        true => nodeset.to_owned(),
        false => toml_text(nodeset),
    };
    format!(
        "# azslurm.toml, made by azslurm-conf init. `azslurm-conf example` shows every key.\n\
         # After every change: azslurm-conf check, azslurm-conf diff, azslurm-conf apply\n\n\
         [cluster]\n\
         # Written on every VM. Changing it orphans the VMs that exist.\n\
         name = {cluster}\n\n\
         [slurm]\n\
         # Where slurmd on the VMs finds slurmctld.\n\
         controller = {controller}\n\n\
         # A place where VMs are made, by the managed identity of this machine.\n\
         [site.main]\n\
         subscription = {subscription}\n\
         region = {region}\n\
         resource_group = {group}\n\
         subnet = {subnet}\n\n\
         # Nodes of one kind, and a Slurm partition of the same name.\n\
         [nodeset.{nodeset}]\n\
         nodes = {nodes}\n\
         sites = [\"main\"]\n\
         sku = {sku}\n\
         image = {image}\n\
         ssh_public_key_file = {key}\n",
        cluster = quoted("cluster"),
        controller = quoted("controller"),
        subscription = quoted("subscription"),
        region = quoted("region"),
        group = quoted("resource-group"),
        subnet = quoted("subnet"),
        nodes = quoted("nodes"),
        sku = quoted("sku"),
        image = quoted("image"),
        key = quoted("ssh-public-key-file"),
    )
}

/// A TOML basic string; JSON's escapes are TOML's.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBNET: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/net/\
                          providers/Microsoft.Network/virtualNetworks/v/subnets/s";

    fn said() -> Answers {
        BTreeMap::from([
            ("cluster", "demo".to_owned()),
            ("subscription", "11111111-1111-1111-1111-111111111111".to_owned()),
            ("region", "westeurope".to_owned()),
            ("resource-group", "hpc".to_owned()),
            ("subnet", SUBNET.to_owned()),
        ])
    }

    /// `init` with a person who types `lines`; what it said, and what became of it.
    fn typed(answers: Answers, lines: &str, out: &Path) -> (String, Result<String, InitError>) {
        let mut said = Vec::new();
        let result = init(answers, Asked::Person(&mut lines.as_bytes(), &mut said), out);
        (String::from_utf8(said).unwrap(), result)
    }

    #[test]
    fn with_yes_what_has_a_default_gets_it_and_the_rest_is_named_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("azslurm.toml");
        let mut few = said();
        few.remove("subnet");
        few.remove("region");
        let error = init(few, Asked::Nobody, &out).unwrap_err();
        assert_eq!(error.to_string(), "these must be said: --region --subnet");
        assert!(!out.exists());
        let text = init(said(), Asked::Nobody, &out).unwrap();
        assert!(text.contains("next: azslurm-conf role"), "{text}");
        let written = std::fs::read_to_string(&out).unwrap();
        let config = config::parse(&written).unwrap();
        let (name, nodeset) = config.nodesets.first_key_value().unwrap();
        assert_eq!((name.as_str(), nodeset.nodes.len()), ("htc", 10));
        let is_key = |line: &&str| line.contains(" = ");
        assert_eq!(written.lines().filter(is_key).count(), 11, "nothing else: {written}");
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("azslurm.toml");
        std::fs::write(&out, "mine").unwrap();
        let error = init(said(), Asked::Nobody, &out).unwrap_err();
        assert!(error.to_string().contains("is there already"), "{error}");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine");
    }

    #[test]
    fn a_person_is_asked_for_what_was_not_said_and_again_for_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("azslurm.toml");
        let mut few = said();
        few.insert("region", "West Europe".to_owned());
        let lines = "\nhb\n\nStandard_HB120rs_v3\n\n\nwesteurope\n";
        let (said, result) = typed(few, lines, &out);
        result.unwrap();
        assert!(said.contains("Its nodes, as a Slurm host list [hb-[001-010]]: "), "{said}");
        assert!(said.contains("--region: \"West Europe\" is not a region"), "{said}");
        let config = config::parse(&std::fs::read_to_string(&out).unwrap()).unwrap();
        let (name, nodeset) = config.nodesets.first_key_value().unwrap();
        assert_eq!((name.as_str(), nodeset.sku.as_str()), ("hb", "Standard_HB120rs_v3"));
        assert_eq!(config.sites.values().next().unwrap().region.as_str(), "westeurope");
    }

    #[test]
    fn whoever_goes_away_or_is_wrong_without_being_asked_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("azslurm.toml");
        let (_, result) = typed(said(), "head\nhtc\n", &out);
        assert!(matches!(result, Err(InitError::Missing { .. })));
        let mut wrong = said();
        wrong.insert("cluster", "A \"cluster\"\n[x]".to_owned());
        wrong.insert("nodeset", "a b".to_owned());
        let error = init(wrong, Asked::Nobody, &out).unwrap_err().to_string();
        assert!(error.contains("--cluster: ") && error.contains("--nodeset: "), "{error}");
        assert!(!out.exists());
    }
}
