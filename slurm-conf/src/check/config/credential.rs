//! Who we are for Azure.

use azslurm_core::config::{CloudName, Credential, SecretSource};
use azslurm_program::check::{Finding, Pitfall};

use super::files::credential_at;
use crate::check::scene::Scene;

const CHECK: &str = "credential";

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, site) in &scene.config.sites {
        let finding = match &site.credential {
            Credential::AzureCli => Finding::warning(
                CHECK,
                "whoever is logged in to az is used, with all that they may do",
                "use the managed identity of the head node (`azslurm-conf role` prints its rights)",
            )
            .because("the login ends, mostly when nobody looks, and SlurmUser has none of its own"),
            Credential::ClientSecret { secret: SecretSource::Inline(_), .. } => Finding::warning(
                CHECK,
                "the secret stands in the config",
                "use a managed identity, or client_secret_file with mode 600",
            )
            .because("a config is shown, copied and kept in version control"),
            Credential::ManagedIdentity(_)
            | Credential::ClientSecret { secret: SecretSource::File(_), .. }
            | Credential::ClientCertificate { .. }
            | Credential::WorkloadIdentity { .. } => continue,
        };
        let key = match &site.credential {
            Credential::ClientSecret { .. } => "client_secret",
            Credential::AzureCli
            | Credential::ManagedIdentity(_)
            | Credential::ClientCertificate { .. }
            | Credential::WorkloadIdentity { .. } => "type",
        };
        let at = credential_at(scene, &format!("site.{name}.credential.{key}"));
        findings.push(finding.of(Pitfall::Security).at(at));
    }
    findings.extend(cloud(scene));
    findings
}

/// Endpoints without TLS; the metadata service of a VM has none anywhere.
fn cloud(scene: &Scene<'_>) -> Vec<Finding> {
    let cloud = &scene.config.cloud;
    match cloud.name {
        CloudName::Public | CloudName::UsGov | CloudName::China => return Vec::new(),
        CloudName::Custom => {}
    }
    let of = &cloud.endpoints;
    let endpoints = [
        ("authority", &of.authority),
        ("resource_manager", &of.resource_manager),
        ("resource_graph", &of.resource_graph),
    ];
    let plain = endpoints.into_iter().filter(|(_, url)| url.starts_with("http://"));
    plain
        .map(|(key, url)| {
            let said = format!("{url} is asked without TLS");
            Finding::warning(CHECK, said, "use https; http is for tests on this machine")
                .because("tokens for all of the cloud go there in the clear")
                .of(Pitfall::Security)
                .at(scene.at(&format!("cloud.{key}")))
        })
        .collect()
}
