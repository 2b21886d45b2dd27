//! The files that the config names: whether they are there, who may read and who may write them.

use std::path::{Path, PathBuf};

use azslurm_core::config::{Config, Credential, SecretSource, TextSource};
use azslurm_program::check::{Finding, Pitfall};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::check::scene::Scene;
use crate::check::seen::{Access, PathSeen, Reach};

const CHECK: &str = "files";
/// Whoever may write what decides who gets into VMs decides who gets into VMs.
const OTHERS_WRITE: u32 = 0o022;
/// A secret is nobody else's either.
const OTHERS_READ: u32 = 0o004;
/// Azure takes no shorter RSA key (Azure's documentation of SSH keys for Linux VMs).
const RSA_BITS_MIN: usize = 2048;

/// A file that the config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The key that names it.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The administrator's public key.
    PublicKey,
    /// Cloud-init's text.
    UserData,
    /// A secret, or a certificate with its key.
    Secret,
    /// A token that something else writes.
    Token,
    /// Certificates to trust.
    Authorities,
}

impl Kind {
    /// Whether rules read it. What is secret is never read.
    pub fn is_read(self) -> bool {
        match self {
            Kind::PublicKey | Kind::UserData | Kind::Authorities => true,
            Kind::Secret | Kind::Token => false,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::PublicKey => "the public key",
            Kind::UserData => "the user data",
            Kind::Secret => "the secret",
            Kind::Token => "the token",
            Kind::Authorities => "the bundle of authorities",
        }
    }
}

/// All files that a config names and that azslurm reads.
pub fn named(config: &Config) -> Vec<Named> {
    let mut files = Vec::new();
    let mut add = |key: String, path: &Path, kind| {
        let is_known = |one: &Named| one.path == path && one.kind == kind;
        if !files.iter().any(is_known) {
            files.push(Named { key, path: path.to_owned(), kind });
        }
    };
    for (name, nodeset) in &config.nodesets {
        if let TextSource::File(path) = &nodeset.ssh_public_key {
            add(format!("nodeset.{name}.ssh_public_key_file"), path, Kind::PublicKey);
        }
        if let Some(path) = &nodeset.user_data_file {
            add(format!("nodeset.{name}.user_data_file"), path, Kind::UserData);
        }
    }
    for (name, site) in &config.sites {
        let key = |key: &str| format!("site.{name}.credential.{key}");
        match &site.credential {
            Credential::ClientSecret { secret: SecretSource::File(path), .. } => {
                add(key("client_secret_file"), path, Kind::Secret);
            }
            Credential::ClientCertificate { certificate_file, .. } => {
                add(key("certificate_file"), certificate_file, Kind::Secret);
            }
            Credential::WorkloadIdentity { token_file, .. } => {
                add(key("token_file"), token_file, Kind::Token);
            }
            Credential::ManagedIdentity(_)
            | Credential::AzureCli
            | Credential::ClientSecret { secret: SecretSource::Inline(_), .. } => {}
        }
    }
    if let Some(path) = &config.cloud.ca_bundle {
        add("cloud.ca_bundle".to_owned(), path, Kind::Authorities);
    }
    files
}

/// Where a credential's key stands: at the site, or for all sites. `key`:
/// `site.west.credential.type`.
pub(super) fn credential_at(scene: &Scene<'_>, key: &str) -> Option<String> {
    let (table, last) = key.rsplit_once('.')?;
    let (site, _) = table.rsplit_once('.')?;
    // A table that is not there has the place of the one around it.
    match scene.at(table) == scene.at(site) {
        true => scene.at(&format!("credential.{last}")),
        false => scene.at(key),
    }
}

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for named in named(scene.config) {
        let Some(seen) = scene.seen.file(&named.path) else { continue };
        let at = || match named.kind {
            Kind::Secret | Kind::Token => credential_at(scene, &named.key),
            Kind::PublicKey | Kind::UserData | Kind::Authorities => scene.at(&named.key),
        };
        let found = match reachable(scene, &named, seen) {
            Some(finding) => vec![finding],
            None => modes(&named, seen).into_iter().chain(contents(&named, seen)).collect(),
        };
        findings.extend(found.into_iter().map(|finding| finding.at(at())));
    }
    for (name, nodeset) in &scene.config.nodesets {
        if let TextSource::Inline(text) = &nodeset.ssh_public_key {
            let at = || scene.at_nodeset(name, "ssh_public_key");
            findings.extend(weak_key(text, "ssh_public_key").map(|finding| finding.at(at())));
        }
    }
    findings
}

/// Whether it is there, and SlurmUser may read it: slurmctld's programs run as SlurmUser.
fn reachable(scene: &Scene<'_>, named: &Named, seen: &PathSeen) -> Option<Finding> {
    let (what, path) = (named.kind.word(), named.path.display());
    if let Some(why) = &seen.missing {
        let fix = "make the file, or correct the path";
        let finding = Finding::error(CHECK, format!("{what} {path} cannot be read: {why}"), fix);
        return Some(match named.kind {
            Kind::PublicKey | Kind::UserData => finding.because("no VM can be made without it"),
            Kind::Secret | Kind::Token | Kind::Authorities => {
                finding.because("nothing can be asked of Azure without it")
            }
        });
    }
    match seen.reach(scene.account.as_ref()?, Access::Read) {
        Reach::Yes | Reach::Unknown => None,
        Reach::No(step) => Some(
            Finding::error(
                CHECK,
                format!(
                    "{what} {path} cannot be read by SlurmUser: {} is of user {} with mode {:04o}",
                    step.path.display(),
                    step.owner,
                    step.mode
                ),
                "give it to SlurmUser (`chown slurm`), or let its group read it",
            )
            .because("slurmctld starts azslurm-resume as SlurmUser"),
        ),
    }
}

fn modes(named: &Named, seen: &PathSeen) -> Option<Finding> {
    let mode = seen.itself()?.mode;
    let (what, path) = (named.kind.word(), named.path.display());
    let is_secret = match named.kind {
        Kind::Secret | Kind::Token => true,
        Kind::PublicKey | Kind::UserData | Kind::Authorities => false,
    };
    if is_secret && mode & (OTHERS_READ | OTHERS_WRITE) != 0 {
        let text = format!("{what} {path} may be read or written by others (mode {mode:04o})");
        let finding = Finding::error(CHECK, text, format!("`chmod 600 {path}`"));
        return Some(finding.of(Pitfall::Security));
    }
    (mode & OTHERS_WRITE != 0).then(|| {
        let text = format!("{what} {path} may be written by others (mode {mode:04o})");
        Finding::warning(CHECK, text, format!("`chmod go-w {path}`"))
            .because("whoever writes it decides who is root on every VM, or whom azslurm trusts")
            .of(Pitfall::Security)
    })
}

fn contents(named: &Named, seen: &PathSeen) -> Option<Finding> {
    let text = seen.text.as_ref()?;
    let path = named.path.display();
    match named.kind {
        Kind::PublicKey => key(text, &path.to_string()),
        Kind::Authorities if !text.contains("-----BEGIN CERTIFICATE-----") => Some(Finding::error(
            CHECK,
            format!("{path} holds no certificate"),
            "put the authorities' certificates there, as PEM",
        )),
        Kind::Authorities | Kind::UserData | Kind::Secret | Kind::Token => None,
    }
}

fn key(text: &str, path: &str) -> Option<Finding> {
    if text.contains("PRIVATE KEY") {
        let text = format!("{path} holds a private key, and every VM would be told it");
        let fix = "name the public half (`.pub`), and make a new pair: this one is no secret any \
                   more if a VM was made with it";
        return Some(Finding::error(CHECK, text, fix).of(Pitfall::Security));
    }
    weak_key(text, path)
}

/// What Azure refuses, or what is too easy to break.
fn weak_key(text: &str, path: &str) -> Option<Finding> {
    let fix = "make one with `ssh-keygen -t ed25519`, and name its .pub";
    let mut words = text.split_whitespace();
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match kind {
        "ssh-ed25519" => None,
        "ssh-rsa" => {
            let bits = rsa_bits(blob).filter(|bits| *bits < RSA_BITS_MIN)?;
            let text =
                format!("{path} is an RSA key of {bits} bits; Azure takes no less than 2048");
            Some(Finding::error(CHECK, text, fix).of(Pitfall::Security))
        }
        other => {
            let other: String = other.chars().take(40).collect();
            let text = format!("{path} is a key of kind {other:?}; Azure takes RSA and Ed25519");
            Some(Finding::error(CHECK, text, fix).of(Pitfall::Security))
        }
    }
}

/// The length of the modulus: the third part of the key (RFC 4253 §6.6).
fn rsa_bits(blob: &str) -> Option<usize> {
    let bytes = STANDARD.decode(blob).ok()?;
    let mut rest = bytes.as_slice();
    let mut part = &[][..];
    for _ in 0..3 {
        let length = u32::from_be_bytes(*rest.first_chunk::<4>()?);
        let length = usize::try_from(length).ok()?;
        part = rest.get(4..4 + length)?;
        rest = &rest[4 + length..];
    }
    let digits = part.iter().position(|byte| *byte != 0).map(|zeros| &part[zeros..])?;
    Some(digits.len() * 8 - digits[0].leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa(bits: usize) -> String {
        let mut blob = Vec::new();
        let mut modulus = vec![0];
        modulus.extend(vec![0xc1; bits / 8]);
        for part in [b"ssh-rsa".as_slice(), &[1, 0, 1], &modulus] {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(part);
        }
        format!("ssh-rsa {} me", STANDARD.encode(blob))
    }

    #[test]
    fn the_bits_of_an_rsa_key_are_those_of_its_modulus() {
        let bits = |text: &str| rsa_bits(text.split(' ').nth(1).unwrap());
        assert_eq!(bits(&rsa(2048)), Some(2048));
        assert_eq!(bits(&rsa(1024)), Some(1024));
        assert_eq!(rsa_bits("AAAA"), None);
        assert_eq!(rsa_bits("not base64"), None);
        assert!(weak_key(&rsa(4096), "k").is_none());
        assert!(weak_key(&rsa(1024), "k").unwrap().text.contains("1024 bits"));
    }
}
