//! What a node is told when it boots: whether cloud-init takes it, whether it fits, and what in it
//! will go wrong.

use std::path::Path;

use azslurm_core::config::{Interconnect, Nodeset};
use azslurm_core::{NodeName, NodesetName};
use azslurm_program::check::{Finding, Pitfall};

use crate::check::scene::Scene;
use crate::node_init;

const CHECK: &str = "user-data";
/// Azure's limit for user data before base64 (FACTS §1.1).
const BYTES_MAX: usize = 65_535;
/// What cloud-init takes for its own (its documentation of user data formats).
const BEGINNINGS: [&str; 8] = [
    "#!",
    "#cloud-config",
    "#cloud-boothook",
    "#include",
    "#part-handler",
    "## template:",
    "Content-Type:",
    "MIME-Version:",
];
/// What is a secret wherever it stands, in lower case.
const SECRETS: [(&str, &str); 5] = [
    ("private key-----", "a private key"),
    ("accountkey=", "the key of a storage account"),
    ("sharedaccesskey=", "a shared access key"),
    ("?sv=", "a shared access signature"),
    ("&sig=", "a shared access signature"),
];
/// What is a secret where a value is given to it, by `:` or `=`.
const NAMES_OF_SECRETS: [(&str, &str); 4] = [
    ("client_secret", "the secret of an application"),
    ("password", "a password"),
    ("passwd", "a password"),
    ("munge_key", "a MUNGE key"),
];
/// How a value begins that is none: a variable, a place-holder, a locked password, a file.
const NO_VALUES: &[char] = &['$', '<', '{', '*', '!', '/', '#'];
/// Words for a secret that is fetched, or for none.
const NO_SECRETS: [&str; 6] =
    ["lock_passwd", "ssh_pwauth", "passwordauthentication", "nopasswd", "vault", "disable"];

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, nodeset) in &scene.config.nodesets {
        let Some(path) = &nodeset.user_data_file else {
            let text =
                format!("nodeset {name} has no user data: its image starts slurmd by itself");
            let fix = format!(
                "name a user_data_file (`azslurm-conf node-init {name}` writes one), unless the \
                 image finds slurmctld, has the MUNGE key, and starts slurmd with -b"
            );
            let finding = Finding::note(CHECK, text, fix).of(Pitfall::StartUpTime);
            findings.push(finding.at(scene.at(&format!("nodeset.{name}"))));
            continue;
        };
        let text = scene.seen.file(path).and_then(|seen| seen.text.as_deref());
        let Some(text) = text else { continue };
        findings.extend(length(scene, (name, nodeset), text));
        findings.extend(configless(scene, path, text));
        if node_init::is_ours(text) {
            findings.extend(stale(scene, name, text));
            continue;
        }
        findings.extend(form(path, text));
        findings.extend(secrets(path, text));
        findings.extend(controller(scene, path, text));
        findings.extend(slurmd(path, text));
        findings.extend(infiniband(nodeset, path, text));
    }
    findings
}

/// A line of the file.
fn line_at(path: &Path, index: usize) -> Option<String> {
    Some(format!("{}:{}", path.display(), index + 1))
}

/// The first line that `is_it`, from 0; comments do nothing.
fn line_with(text: &str, is_it: impl Fn(&str) -> bool) -> Option<usize> {
    let is_comment = |line: &str| line.trim_start().starts_with('#');
    text.lines().position(|line| !is_comment(line) && is_it(line))
}

fn length(
    scene: &Scene<'_>,
    (name, nodeset): (&NodesetName, &Nodeset),
    text: &str,
) -> Option<Finding> {
    let longest = nodeset.nodes.iter().max_by_key(|node| node.as_str().len());
    let text = text
        .replace("{cluster}", scene.config.cluster.as_str())
        .replace("{node}", longest.map_or("", NodeName::as_str))
        .replace("{nodeset}", name.as_str())
        .replace("{controller}", &scene.config.slurm.controller);
    if text.len() <= BYTES_MAX {
        return None;
    }
    let said = format!("the user data of {name} has {} bytes, Azure takes {BYTES_MAX}", text.len());
    let fix = "put the bulk on shared storage or into the image, and let user data fetch it";
    let finding = Finding::error(CHECK, said, fix).because("no VM can be made with it");
    Some(finding.at(scene.at_nodeset(name, "user_data_file")))
}

/// Ours, and not what this config means for this nodeset.
fn stale(scene: &Scene<'_>, name: &NodesetName, text: &str) -> Option<Finding> {
    let fix = format!("`azslurm-conf node-init {name} --out` that file, one for each nodeset");
    let at = scene.at_nodeset(name, "user_data_file");
    let finding = match node_init::user_data(scene.config, name) {
        Ok(now) if now == text => return None,
        Ok(_) => {
            let said = format!("the user data of {name} was written for another config or nodeset");
            Finding::warning(CHECK, said, fix).because("nodes boot by what the config said then")
        }
        Err(error) => {
            let said = format!("the user data of {name} cannot be written any more: {error}");
            Finding::error(CHECK, said, "correct what is named, and write it again")
        }
    };
    Some(finding.at(at).of(Pitfall::StaticThinking))
}

fn form(path: &Path, text: &str) -> Option<Finding> {
    if BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)) {
        return None;
    }
    let first: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
    let finding = Finding::error(
        CHECK,
        format!("cloud-init does not take it: the first line is {first:?}"),
        "begin with #cloud-config or #!/bin/bash, without anything before it",
    );
    let why = "cloud-init passes over what it does not know, and the node never joins";
    Some(finding.because(why).at(line_at(path, 0)).of(Pitfall::StartUpTime))
}

fn secrets(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.to_ascii_lowercase();
        let is_fetched = NO_SECRETS.iter().any(|word| line.contains(word));
        let found = SECRETS.iter().find(|(sign, _)| line.contains(sign));
        let named = || NAMES_OF_SECRETS.iter().find(|(name, _)| has_value(&line, name));
        let Some((_, what)) = found.or_else(named).filter(|_| !is_fetched) else { continue };
        let fix = "fetch it at boot: from Key Vault by the VM's identity, or from storage that \
                   only nodes can mount";
        findings.push(
            Finding::error(CHECK, format!("the line looks like {what} in the clear"), fix)
                .because("every user of a node can read its user data from the metadata service")
                .at(line_at(path, index))
                .of(Pitfall::Security),
        );
    }
    findings
}

/// Whether a line gives a value to a name.
fn has_value(line: &str, name: &str) -> bool {
    let quotes = [' ', '"', '\''];
    line.match_indices(name).any(|(at, _)| {
        let rest = line[at + name.len()..].trim_start_matches(quotes);
        let value = rest.strip_prefix([':', '=']).map(|value| value.trim_start_matches(quotes));
        value.is_some_and(|value| !value.is_empty() && !value.starts_with(NO_VALUES))
    })
}

fn controller(scene: &Scene<'_>, path: &Path, text: &str) -> Option<Finding> {
    if !scene.config.slurm.controller.is_empty() {
        return None;
    }
    let index = text.lines().position(|line| line.contains("{controller}"))?;
    let fix = "set controller in [slurm] to the host of slurmctld";
    let said = "{controller} stands here, and the config names none";
    let finding =
        Finding::error(CHECK, said, fix).because("the node would look for slurmctld at \"\"");
    Some(finding.at(line_at(path, index)))
}

/// How and when slurmd is started.
fn slurmd(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let has_option = |line: &str| {
        line.split(|c: char| c.is_whitespace() || "\"'=,".contains(c)).any(|word| word == "-b")
    };
    let options = line_with(text, |line| line.contains("--conf-server"));
    let is_without = line_with(text, has_option).is_none();
    if let Some(index) = options.filter(|_| is_without) {
        let said = "slurmd is started without -b";
        let finding = Finding::warning(CHECK, said, "add -b to the options of slurmd")
            .because("slurmctld passes over a node whose kernel booted before it was asked for");
        findings.push(finding.at(line_at(path, index)).of(Pitfall::StartUpTime));
    }
    let starts = |line: &str| line.contains("slurmd") && line.contains("start");
    let mounts = |line: &str| line.split_whitespace().any(|word| word.trim_matches('-') == "mount");
    let started = line_with(text, starts);
    let last = text.lines().collect::<Vec<_>>().into_iter().rposition(mounts);
    // With functions the order of lines is not that of what is done.
    let has_functions = text.contains("() {");
    if let (Some(started), Some(mounted)) = (started, last)
        && started < mounted
        && !has_functions
    {
        let said = format!("slurmd is started here, and line {} mounts only then", mounted + 1);
        let finding = Finding::warning(CHECK, said, "start slurmd as the last thing")
            .because("a job starts as soon as slurmd does, and does not find its files");
        findings.push(finding.at(line_at(path, started)).of(Pitfall::StartUpTime));
    }
    findings
}

fn configless(scene: &Scene<'_>, path: &Path, text: &str) -> Option<Finding> {
    let index = line_with(text, |line| line.contains("--conf-server"))?;
    let key = "SlurmctldParameters";
    if !scene.has_settings || scene.settings.has_word(key, "enable_configless") {
        return None;
    }
    let said = "nodes ask slurmctld for their configuration, and it does not give it";
    let finding = Finding::error(CHECK, said, "add enable_configless to SlurmctldParameters");
    Some(finding.because("slurmd does not start without one").at(line_at(path, index)))
}

fn infiniband(nodeset: &Nodeset, path: &Path, text: &str) -> Option<Finding> {
    let has_it = match nodeset.interconnect {
        Interconnect::Infiniband => nodeset.accelerated_networking,
        Interconnect::None => false,
    };
    let index = line_with(text, |line| line.contains("mlx5_0")).filter(|_| has_it)?;
    let said = "the device mlx5_0 is named, which need not be the InfiniBand one";
    let fix = "look for the device whose link layer is InfiniBand (`ibstat`): with accelerated \
               networking mlx5_0 may be the Ethernet one";
    Some(Finding::warning(CHECK, said, fix).at(line_at(path, index)).of(Pitfall::InstanceTypes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_from_a_variable_and_from_a_word() {
        for (line, expected) in [
            ("password: hunter2", true),
            ("  export client_secret='abc'", true),
            ("{\"password\": \"x\"}", true),
            ("password=$pass", false),
            ("passwd: '*'", false),
            ("# no password is needed", false),
            ("chpasswd:", false),
            ("password: ${secret}", false),
        ] {
            let found = ["password", "passwd", "client_secret"].iter();
            assert_eq!(found.into_iter().any(|name| has_value(line, name)), expected, "{line}");
        }
    }
}
