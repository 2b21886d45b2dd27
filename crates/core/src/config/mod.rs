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
mod nodeset;
mod reader;
mod service;
mod site;
mod types;

pub use errors::{ConfigError, ConfigErrors};
pub use keys::{TABLES, TableKeys};
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

fn syntax_problem(message: &str) -> String {
    format!("not TOML: {message}")
}

fn read<'t>(document: &'t Document<'t>, root: &'t DeTable<'t>) -> Option<Config> {
    let root = document.root(root);
    let cluster = service::cluster(&root.table("cluster"));
    let slurm = service::slurm(&root.table("slurm"));
    let ledger = service::ledger(&root.table("ledger"));
    let log = service::log(&root.table("log"));
    let limits = service::limits(&root.table("limits"));
    let cloud = service::cloud(&root.table("cloud"));
    let sites = site::sites(&root);
    let nodesets = nodeset::nodesets(&root);
    Some(Config {
        cluster: cluster?,
        slurm,
        ledger,
        log,
        limits,
        cloud: cloud?,
        sites: sites?,
        nodesets: nodesets?,
    })
}
