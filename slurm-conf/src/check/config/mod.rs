//! Rules about a config that is well-formed, and unwise or without what it names.

mod cores;
mod credential;
pub mod files;
mod nodesets;
mod partitions;
mod service;
mod user_data;

pub(in crate::check) use partitions::option as partition_option;

use azslurm_program::check::Finding;

use super::scene::Scene;

/// All of them.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = files::check(scene);
    findings.extend(user_data::check(scene));
    findings.extend(credential::check(scene));
    findings.extend(service::check(scene));
    findings.extend(nodesets::check(scene));
    findings.extend(cores::check(scene));
    findings.extend(partitions::check(scene));
    findings
}
