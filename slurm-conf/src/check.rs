//! `azslurm-conf check`: is the config one that the programs can start with?

use std::path::Path;

use azslurm_core::config::{Config, Credential, Nodeset, Priority, Site};
use azslurm_core::hostlist::fold_set;
use azslurm_core::{NodesetName, SiteName};
use azslurm_program::config_file::{self, ConfigFileError, Loaded};
use azslurm_program::exit;
use serde_json::{Value, json};

/// What a fine config may still be wrong about.
const NOT_CHECKED: [&str; 3] = [
    "the files that the config names",
    "slurm.conf (nodes, programs, timeouts)",
    "Azure (rights, subnets, sizes, images, quota)",
];

/// What a check found.
#[derive(Debug)]
pub struct Report(Result<Loaded, ConfigFileError>);

/// Loads the config as the programs do: its place, its mode, its text. Nothing else is opened or
/// asked.
pub fn check(flag: Option<&Path>) -> Report {
    Report(config_file::load(flag))
}

impl Report {
    /// 0: the programs can start with it; 2: they cannot.
    pub fn exit_code(&self) -> u8 {
        if self.0.is_ok() { exit::DONE } else { exit::CANNOT_START }
    }

    /// For people: what the config says, or a line per error.
    pub fn text(&self) -> String {
        match &self.0 {
            Ok(loaded) => fine_text(loaded),
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
        match &self.0 {
            Ok(Loaded { config, path }) => json!({
                "fine": true,
                "file": path.display().to_string(),
                "cluster": config.cluster.as_str(),
                "sites": config.sites.keys().map(SiteName::as_str).collect::<Vec<_>>(),
                "nodesets": config.nodesets.iter().map(nodeset_json).collect::<Vec<_>>(),
                "errors": [],
                "not_checked": NOT_CHECKED,
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

fn fine_text(Loaded { config, path }: &Loaded) -> String {
    let mut lines = vec![format!("{}: fine", path.display())];
    lines.push(format!("cluster {}, ledger {}", config.cluster, config.ledger.path.display()));
    lines.extend(config.sites.iter().map(|(name, site)| site_line(name, site)));
    lines.extend(config.nodesets.iter().map(|(name, nodeset)| nodeset_line(name, nodeset)));
    lines.extend(unused_sites(config));
    lines.push(format!("not checked: {}", NOT_CHECKED.join("; ")));
    lines.join("\n")
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

/// No error: somebody may be about to use it.
fn unused_sites(config: &Config) -> Vec<String> {
    let is_used = |site: &SiteName| config.nodesets.values().any(|set| set.sites.contains(site));
    let unused = config.sites.keys().filter(|site| !is_used(site));
    unused.map(|site| format!("site {site} is used by no nodeset")).collect()
}
