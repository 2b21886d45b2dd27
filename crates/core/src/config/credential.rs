//! `[credential]` and `[site.NAME.credential]`.

use super::checks;
use super::reader::Section;
use super::types::{Credential, ManagedIdentity, SecretSource};
use crate::secret::Secret;

#[derive(Clone, Copy)]
enum Kind {
    ManagedIdentity,
    ClientSecret,
    ClientCertificate,
    WorkloadIdentity,
    AzureCli,
}

const KINDS: [(&str, Kind); 5] = [
    ("managed-identity", Kind::ManagedIdentity),
    ("client-secret", Kind::ClientSecret),
    ("client-certificate", Kind::ClientCertificate),
    ("workload-identity", Kind::WorkloadIdentity),
    ("azure-cli", Kind::AzureCli),
];

impl Kind {
    /// The keys that go with it, besides `type`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::ManagedIdentity => &["client_id", "object_id", "resource_id"],
            Kind::ClientSecret => {
                &["tenant_id", "client_id", "client_secret", "client_secret_file"]
            }
            Kind::ClientCertificate => &["tenant_id", "client_id", "certificate_file"],
            Kind::WorkloadIdentity => &["tenant_id", "client_id", "token_file"],
            Kind::AzureCli => &[],
        }
    }
}

/// Reads a credential that is there.
pub(super) fn credential(section: &Section<'_>) -> Option<Credential> {
    let kind = section.needed_choice("type", &KINDS)?;
    refuse_keys_of_other_kinds(section, kind);
    match kind {
        Kind::ManagedIdentity => managed_identity(section).map(Credential::ManagedIdentity),
        Kind::ClientSecret => {
            let (tenant, client) = application(section);
            let secret = secret_source(section);
            Some(Credential::ClientSecret { tenant: tenant?, client: client?, secret: secret? })
        }
        Kind::ClientCertificate => {
            let (tenant, client) = application(section);
            let certificate_file = needed_path(section, "certificate_file");
            Some(Credential::ClientCertificate {
                tenant: tenant?,
                client: client?,
                certificate_file: certificate_file?,
            })
        }
        Kind::WorkloadIdentity => {
            let (tenant, client) = application(section);
            let token_file = needed_path(section, "token_file");
            Some(Credential::WorkloadIdentity {
                tenant: tenant?,
                client: client?,
                token_file: token_file?,
            })
        }
        Kind::AzureCli => Some(Credential::AzureCli),
    }
}

fn refuse_keys_of_other_kinds(section: &Section<'_>, kind: Kind) {
    let others = KINDS.iter().flat_map(|(_, other)| other.keys());
    let mut foreign: Vec<&str> =
        others.copied().filter(|key| section.has(key) && !kind.keys().contains(key)).collect();
    foreign.sort_unstable();
    foreign.dedup();
    let name = KINDS.iter().find(|(_, other)| other.keys() == kind.keys()).map(|(name, _)| name);
    let name = name.expect("KINDS holds every kind, and no two have the same keys");
    for key in foreign {
        let allowed = match kind.keys() {
            [] => "no other key".to_owned(),
            keys => keys.join(", "),
        };
        section.fault(key, format!("does not go with type = {name:?}, which takes {allowed}"));
    }
}

fn application(section: &Section<'_>) -> (Option<String>, Option<String>) {
    (section.needed("tenant_id", checks::tenant), section.needed("client_id", checks::guid))
}

fn needed_path(section: &Section<'_>, key: &str) -> Option<std::path::PathBuf> {
    if !section.has(key) {
        section.fault(key, "is missing: the path of the file");
    }
    section.path(key)
}

fn secret_source(section: &Section<'_>) -> Option<SecretSource> {
    match (section.has("client_secret"), section.has("client_secret_file")) {
        (true, true) => {
            section.fault("client_secret_file", "goes not together with client_secret: keep one");
            None
        }
        (false, false) => {
            section.fault("client_secret_file", "is missing: the path of a file with the secret");
            None
        }
        (false, true) => section.path("client_secret_file").map(SecretSource::File),
        (true, false) => section
            .checked("client_secret", |text| match text.trim().is_empty() {
                true => Err("is empty".to_owned()),
                false => Ok(Secret::new(text)),
            })
            .map(SecretSource::Inline),
    }
}

fn managed_identity(section: &Section<'_>) -> Option<ManagedIdentity> {
    let named: Vec<&str> =
        Kind::ManagedIdentity.keys().iter().copied().filter(|key| section.has(key)).collect();
    if let [_, second, ..] = named.as_slice() {
        section.fault(second, format!("goes not together with {}: keep one", named[0]));
    }
    let identity = checks::id_of_kind("Microsoft.ManagedIdentity/userAssignedIdentities");
    let client = section.checked("client_id", checks::guid).map(ManagedIdentity::ClientId);
    let object = section.checked("object_id", checks::guid).map(ManagedIdentity::ObjectId);
    let resource = section.checked("resource_id", identity).map(ManagedIdentity::ResourceId);
    match named.is_empty() {
        true => Some(ManagedIdentity::System),
        false => client.or(object).or(resource),
    }
}
