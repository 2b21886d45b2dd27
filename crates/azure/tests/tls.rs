//! Who may pose as Azure: nobody. A server whose certificate is not good gets neither a token nor a
//! secret, and the message says what is wrong with it.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use std::time::Duration;

use azslurm_azure::{Arm, AzureError};
use azslurm_core::config::{Credential, Limits, ManagedIdentity, SecretSource};
use azslurm_core::secret::Secret;
use fake::{Fake, limits, place};
use rcgen::{CertificateParams, date_time_ymd};

/// A server, the CA that its clients are told to trust, and what they must say about it.
struct Poser {
    what: &'static str,
    server: Fake,
    ca: String,
    words: &'static [&'static str],
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

async fn posers() -> Vec<Poser> {
    let (unknown, _its_own_ca) = Fake::start_tls().await;
    let (_unused, another_ca) = Fake::start_tls().await;
    let (named, named_ca) = Fake::start_tls_as(params("management.azure.com")).await;
    let mut old = params("127.0.0.1");
    old.not_after = date_time_ymd(2020, 1, 1);
    let (expired, expired_ca) = Fake::start_tls_as(old).await;
    let mut young = params("127.0.0.1");
    young.not_before = date_time_ymd(2100, 1, 1);
    let (early, early_ca) = Fake::start_tls_as(young).await;
    let poser = |what, server, ca, words| Poser { what, server, ca, words };
    vec![
        poser("another CA", unknown, another_ca, &["UnknownIssuer", "BadSignature"][..]),
        poser("another name", named, named_ca, &["not valid for name"][..]),
        poser("expired", expired, expired_ca, &["expired"][..]),
        poser("not valid yet", early, early_ca, &["not valid yet"][..]),
    ]
}

fn arm(cloud: azslurm_core::config::Cloud, credential: &Credential) -> Arm {
    let limits = Limits { request_timeout: Duration::from_secs(30), tries: 1, ..limits() };
    Arm::new(&cloud, credential, &limits).unwrap()
}

/// An error and its causes.
fn words_of(error: &AzureError) -> String {
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        words = format!("{words}: {cause}");
        next = cause.source();
    }
    words
}

#[tokio::test]
async fn no_token_goes_to_a_server_whose_certificate_is_not_good() {
    let identity = Fake::start().await;
    for Poser { what, server, ca, words } in posers().await {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), ca).unwrap();
        let mut cloud = server.cloud();
        cloud.endpoints.imds = identity.url.clone();
        cloud.ca_bundle = Some(file.path().to_owned());
        let arm = arm(cloud, &Credential::ManagedIdentity(ManagedIdentity::System));
        let error = arm.get_vm(&place(), &"n1-0abcdefg".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, AzureError::Unreachable { .. }), "{what}: {error:?}");
        let said = words_of(&error);
        assert!(words.iter().any(|word| said.contains(word)), "{what}: {said}");
        assert!(server.seen().is_empty(), "{what}: {:?}", server.seen());
    }
    assert!(!identity.tokens_asked().is_empty(), "there was a token to lose");
}

#[tokio::test]
async fn no_secret_goes_to_an_authority_whose_certificate_is_not_good() {
    // Each is asked several times, with pauses: all at once.
    futures::future::join_all(posers().await.into_iter().map(asked_for_a_token)).await;
}

async fn asked_for_a_token(Poser { what, server, ca, .. }: Poser) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ca).unwrap();
    let mut cloud = server.cloud();
    cloud.ca_bundle = Some(file.path().to_owned());
    let secret = SecretSource::Inline(Secret::new("hunter2"));
    let credential = Credential::ClientSecret { tenant: "t".into(), client: "c".into(), secret };
    let arm = arm(cloud, &credential);
    let error = arm.get_vm(&place(), &"n1-0abcdefg".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, AzureError::Token { status: None, .. }), "{what}: {error:?}");
    assert!(server.tokens_asked().is_empty() && server.seen().is_empty(), "{what}");
}
