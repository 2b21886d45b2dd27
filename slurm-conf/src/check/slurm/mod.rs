//! Rules about Slurm: its files, what slurmctld says, and the machine that it runs on.

mod access;
mod auth;
mod beside;
mod files;
mod heads;
pub mod lines;
mod nodes;
mod partitions;
mod settings;
mod topology;

pub use access::{programs, scontrol};
pub use auth::{munge_key, munge_socket};
pub use beside::PATHS as BESIDE;
pub use heads::state_folder;
pub use topology::{conf as topology_conf, yaml as topology_yaml};

use azslurm_program::check::{Finding, Level, ledger};

use super::scene::Scene;
use super::seen::Running;

/// All of them.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Running::Silent(finding) = &scene.seen.running {
        findings.push(finding.as_ref().clone());
    }
    findings.extend(files::check(scene));
    if scene.has_settings {
        findings.extend(settings::check(scene));
        findings.extend(auth::check(scene));
        findings.extend(heads::check(scene));
        findings.extend(topology::check(scene));
    }
    findings.extend(access::check(scene));
    findings.extend(nodes::check(scene));
    findings.extend(partitions::check(scene));
    findings.extend(beside::check(scene));
    let user = scene.account.as_ref().map(|account| account.user);
    let ledger = ledger::place(&scene.seen.ledger, user);
    let ledger = ledger.into_iter().filter(|finding| finding.level > Level::Ok);
    findings.extend(ledger.map(|finding| finding.at(scene.at("ledger.path"))));
    findings
}
