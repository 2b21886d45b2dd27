//! `azslurm-conf check`: is everything that azslurm rests on as it must be? Each area has a thin
//! look, and rules that are pure: from what was seen to findings.

pub mod azure;
pub mod config;
pub mod look;
pub mod scene;
pub mod seen;
pub mod slurm;

use std::path::Path;

use azslurm_core::config::{Config, Credential, Nodeset, Priority, Site};
use azslurm_core::hostlist::fold_set;
use azslurm_core::{NodesetName, SiteName};
use azslurm_program::check::{Finding, Level};
use azslurm_program::config_file::{self, ConfigFileError, Loaded};
use azslurm_program::{exit, now};
use serde_json::{Value, json};

use self::scene::Scene;
use self::seen::Seen;
use crate::sizes;

/// What is asked, and not read from files.
const ASKED: [&str; 2] = ["slurmctld", "Azure"];

/// What a check found.
#[derive(Debug)]
pub struct Report {
    loaded: Result<Loaded, ConfigFileError>,
    findings: Vec<Finding>,
    not_checked: Vec<&'static str>,
}

/// Loads the config as the programs do (its place, its mode, its text), and looks at what it rests
/// on. `is_offline`: neither slurmctld nor Azure is asked.
pub async fn check(flag: Option<&Path>, is_offline: bool) -> Report {
    let loaded = config_file::load(flag);
    let mut report = Report { loaded, findings: Vec::new(), not_checked: Vec::new() };
    if is_offline {
        report.not_checked.extend(ASKED);
    }
    if let Ok(loaded) = &report.loaded {
        let mut seen = look::look(loaded, is_offline).await;
        let of_azure = match is_offline {
            true => azure::offline(&loaded.config, (&seen.path, &seen.text), &seen.sizes, now()),
            false => {
                let azure = azure::look(&loaded.config).await;
                // Newer than what is kept; what Azure did not tell stays as it was kept.
                seen.sizes.extend(azure.sizes(&loaded.config));
                azure::judge(&loaded.config, &seen, &azure)
            }
        };
        report.findings = findings(&loaded.config, &seen);
        report.findings.extend(of_azure);
        report.not_checked.extend(not_known(&loaded.config, &seen));
    }
    report
}

/// What the rules find, each once, in the order of the rules. What is good is not told.
pub fn findings(config: &Config, seen: &Seen) -> Vec<Finding> {
    let scene = Scene::new(config, seen);
    let all = config::check(&scene).into_iter().chain(slurm::check(&scene));
    let mut findings: Vec<Finding> = Vec::new();
    for finding in all.filter(|finding| finding.level > Level::Ok) {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// What rules would need to know and nothing says.
pub fn not_known(config: &Config, seen: &Seen) -> Vec<&'static str> {
    let scene = Scene::new(config, seen);
    let mut not_known = Vec::new();
    if !sizes::missing(config, &seen.sizes).is_empty() {
        not_known
            .push("CPUs, memory and GPUs of sizes that `azslurm-conf render` has not asked for");
    }
    if scene.has_settings && scene.version().is_none() {
        not_known.push("what depends on Slurm's version, which scontrol does not tell");
    }
    if scene.has_settings && scene.account.is_none() {
        not_known.push("what SlurmUser may do, who is no user of this machine");
    }
    not_known
}

impl Report {
    /// 0: nothing is an error; 1: something is; 2: the programs cannot even start.
    pub fn exit_code(&self) -> u8 {
        let is_error = |finding: &Finding| finding.level == Level::Error;
        match &self.loaded {
            Err(_) => exit::CANNOT_START,
            Ok(_) if self.findings.iter().any(is_error) => exit::FAILED,
            Ok(_) => exit::DONE,
        }
    }

    /// For people: what the config says, or a line per error.
    pub fn text(&self) -> String {
        match &self.loaded {
            Ok(loaded) => self.fine_text(loaded),
            Err(ConfigFileError::Invalid { path, errors }) => {
                let count = match errors.as_slice().len() {
                    1 => "1 error".to_owned(),
                    several => format!("{several} errors"),
                };
                let file = path.display().to_string();
                format!("{}\n{count} in {file}; nothing can start with it", errors.render(&file))
            }
            Err(error) => exit::chain_of(error),
        }
    }

    /// For programs: one object.
    pub fn json(&self) -> Value {
        match &self.loaded {
            Ok(Loaded { config, path }) => json!({
                "fine": self.exit_code() == exit::DONE,
                "file": path.display().to_string(),
                "cluster": config.cluster.as_str(),
                "sites": config.sites.keys().map(SiteName::as_str).collect::<Vec<_>>(),
                "nodesets": config.nodesets.iter().map(nodeset_json).collect::<Vec<_>>(),
                "errors": [],
                "findings": self.findings,
                "not_checked": self.not_checked,
            }),
            Err(ConfigFileError::Invalid { path, errors }) => json!({
                "fine": false,
                "file": path.display().to_string(),
                "errors": errors.as_slice().iter().map(|error| json!({
                    "line": error.line,
                    "column": error.column,
                    "key": error.key,
                    "problem": error.problem,
                    "hint": error.hint,
                })).collect::<Vec<_>>(),
            }),
            Err(error) => json!({
                "fine": false,
                "errors": [{ "problem": exit::chain_of(error) }],
            }),
        }
    }

    fn fine_text(&self, Loaded { config, path }: &Loaded) -> String {
        let mut lines = vec![path.display().to_string()];
        lines.push(format!("cluster {}, ledger {}", config.cluster, config.ledger.path.display()));
        lines.extend(config.sites.iter().map(|(name, site)| site_line(name, site)));
        lines.extend(config.nodesets.iter().map(|(name, nodeset)| nodeset_line(name, nodeset)));
        lines.extend(self.findings.iter().flat_map(Finding::lines));
        if !self.not_checked.is_empty() {
            lines.push(format!("not checked: {}", self.not_checked.join("; ")));
        }
        let count = |level| self.findings.iter().filter(|one| one.level == level).count();
        let counts = [Level::Error, Level::Warning, Level::Note].map(|level| match count(level) {
            1 => format!("1 {}", level.word()),
            several => format!("{several} {}s", level.word()),
        });
        lines.push(match self.findings.is_empty() {
            true => "fine".to_owned(),
            false => counts.join(", "),
        });
        lines.join("\n")
    }
}

fn nodeset_json((name, nodeset): (&NodesetName, &Nodeset)) -> Value {
    json!({
        "name": name.as_str(),
        "nodes": fold_set(&nodeset.nodes),
        "count": nodeset.nodes.len(),
        "sku": nodeset.sku.as_str(),
        "sites": nodeset.sites.iter().map(SiteName::as_str).collect::<Vec<_>>(),
    })
}

fn site_line(name: &SiteName, site: &Site) -> String {
    let credential = match &site.credential {
        Credential::ManagedIdentity(_) => "managed identity",
        Credential::ClientSecret { .. } => "client secret",
        Credential::ClientCertificate { .. } => "client certificate",
        Credential::WorkloadIdentity { .. } => "workload identity",
        Credential::AzureCli => "azure cli",
    };
    let group = &site.resource_group;
    format!("site {name}: {}, resource group {group}, by {credential}", site.region)
}

fn nodeset_line(name: &NodesetName, nodeset: &Nodeset) -> String {
    let spot = match nodeset.priority {
        Priority::Regular => "",
        Priority::Spot { .. } => "Spot ",
    };
    let sites: Vec<&str> = nodeset.sites.iter().map(SiteName::as_str).collect();
    let count = nodeset.nodes.len();
    let nodes = fold_set(&nodeset.nodes);
    format!("nodeset {name}: {count} × {spot}{} in {}: {nodes}", nodeset.sku, sites.join(", "))
}
