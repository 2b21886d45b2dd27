//! `azslurm.toml`: its shape, and reading it from text. Opening the file and judging its mode is
//! `azslurm_program`'s.
//!
//! ```text
//! text ──toml──► tables with spans ──sections──► Config
//!                      │ reader: one key, its type, its place    │ checks, across: what is allowed
//!                      └───────────── every error ───────────────┴──► ConfigErrors, all at once
//! ```
//!
//! A value of `[credential]` never appears in an error: what stands under the wrong key may be the
//! secret.

mod across;
mod checks;
mod credential;
mod errors;
mod keys;
mod lines;
mod node_init;
mod nodeset;
mod places;
mod reader;
mod service;
mod site;
mod types;

pub use errors::{ConfigError, ConfigErrors};
pub use keys::{TABLES, TableKeys};
pub use lines::{NodeLine, Partition, Power, Topology};
pub use node_init::{Mount, MountKind, MungeKey, NodeInit, VaultSecret};
pub use places::line_of;
pub use types::*;

use toml::de::DeTable;

use reader::Document;

/// Reads a config. On failure all errors are there, in the order of the text; when the text is not
/// TOML, only those about its syntax.
pub fn parse(text: &str) -> Result<Config, ConfigErrors> {
    let (root, faults) = DeTable::parse_recoverable(text);
    let document = Document::new(text);
    if !faults.is_empty() {
        for fault in &faults {
            document.report(fault.span().unwrap_or(0..0), "", syntax_problem(fault.message()));
        }
        return Err(document.into_errors());
    }
    let config = read(&document, root.get_ref());
    if document.has_errors() {
        return Err(document.into_errors());
    }
    Ok(config.expect("a part of the config is missing only when its error was reported"))
}

/// A config for a bug report: without credentials (who we are, and secrets) and without comments,
/// in which anything may stand. `None` if it is not TOML.
pub fn without_credentials(text: &str) -> Option<String> {
    let mut root: toml::Table = text.parse().ok()?;
    root.remove("credential");
    let sites = root.get_mut("site").and_then(toml::Value::as_table_mut);
    for site in sites.into_iter().flat_map(toml::Table::iter_mut) {
        if let Some(site) = site.1.as_table_mut() {
            site.remove("credential");
        }
    }
    toml::to_string(&root).ok()
}

fn syntax_problem(message: &str) -> String {
    format!("not TOML: {message}")
}

fn read<'t>(document: &'t Document<'t>, root: &'t DeTable<'t>) -> Option<Config> {
    let root = document.root(root);
    let cluster = service::cluster(&root.table("cluster"));
    let slurm = service::slurm(&root.table("slurm"));
    let ledger = service::ledger(&root.table("ledger"));
    let log = service::log(&root.table("log"));
    let sync = service::sync(&root.table("sync"));
    let limits = service::limits(&root.table("limits"));
    let cloud = service::cloud(&root.table("cloud"));
    let sites = site::sites(&root);
    let nodesets = nodeset::nodesets(&root);
    let power = lines::power(&root.table("power"));
    let names: Vec<_> = nodesets.iter().flat_map(|sets| sets.keys().cloned()).collect();
    // With a broken nodeset the names are not known, and no partition could be right.
    let partitions = nodesets.as_ref().and_then(|_| lines::partitions(&root, &names));
    let node_init = node_init::node_init(&root.table("node_init"));
    let mounts = node_init::mounts(&root);
    Some(Config {
        cluster: cluster?,
        slurm,
        ledger,
        log,
        sync,
        limits,
        cloud: cloud?,
        sites: sites?,
        nodesets: nodesets?,
        power,
        partitions: partitions?,
        node_init: node_init?,
        mounts: mounts?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_without_credentials_is_the_same_config_but_for_them() {
        let text = "# hunter1\n[cluster]\nname = \"c\"\n\
            [credential]\ntype = \"client-secret\"\n\
            tenant_id = \"00000000-0000-0000-0000-00000000000a\"\n\
            client_id = \"00000000-0000-0000-0000-00000000000b\"\nclient_secret = \"hunter2\"\n\
            [site.west]\nsubscription = \"00000000-0000-0000-0000-000000000001\"\n\
            region = \"westeurope\"\nresource_group = \"hpc\"\n\
            subnet = \"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/\
            providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute\"\n\
            [nodeset.n]\nnodes = \"n[1-3]\"\nsites = [\"west\"]\nsku = \"Standard_D4s_v5\"\n\
            image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\nssh_public_key_file = \"/k\"\n";
        let of_site = text.replace("[credential]", "[site.west.credential]");
        for text in [text, &of_site] {
            let mut whole = parse(text).unwrap();
            assert!(whole.holds_secret());
            let shared = without_credentials(text).unwrap();
            assert!(!shared.contains("hunter"), "{shared}");
            assert!(!shared.contains("00000000000a") && !shared.contains("00000000000b"));
            let read = parse(&shared).unwrap();
            for (name, site) in &mut whole.sites {
                site.credential = read.sites[name].credential.clone();
            }
            assert_eq!(read, whole);
        }
        assert_eq!(without_credentials("= what"), None);
    }
}
