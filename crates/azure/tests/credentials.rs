//! Every kind of credential, against an authority and an IMDS of our own over TLS, and what a log
//! may show.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use azslurm_azure::{Answer, Arm, AzureError, SentMark};
use azslurm_core::config::{Credential, Limits, ManagedIdentity, SecretSource};
use azslurm_core::secret::Secret;
use fake::{Fake, TOKEN, answer, limits, place, refused, secret_file, soon, spec};
use serde_json::json;

const VM: &str = "n1-0abcdefg";
const PKCS8: &str = include_str!("data/client-pkcs8.pem");

struct Azure {
    fake: Fake,
    directory: tempfile::TempDir,
}

impl Azure {
    async fn start() -> Azure {
        let (fake, ca) = Fake::start_tls().await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), ca).unwrap();
        Azure { fake, directory }
    }

    fn arm(&self, credential: &Credential) -> Arm {
        let mut cloud = self.fake.cloud();
        cloud.ca_bundle = Some(self.directory.path().join("ca.pem"));
        let limits = Limits { request_timeout: Duration::from_secs(5), ..limits() };
        Arm::new(&cloud, credential, &limits).unwrap()
    }

    /// The form that the authority was sent, by name.
    fn form(&self) -> std::collections::BTreeMap<String, String> {
        let asked = self.fake.tokens_asked().pop().unwrap();
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("POST", "/tenant/oauth2/v2.0/token")
        );
        url::form_urlencoded::parse(&asked.body).into_owned().collect()
    }
}

async fn is_let_in(arm: &Arm) -> Result<(), AzureError> {
    let reply = arm.put_vm(&place(), &spec(VM), soon(60), &SentMark::default()).await?;
    assert!(matches!(reply.answer, Answer::Done(_)), "{reply:?}");
    Ok(())
}

fn by_secret(secret: SecretSource) -> Credential {
    Credential::ClientSecret { tenant: "tenant".into(), client: "client".into(), secret }
}

#[tokio::test]
async fn a_client_secret_opens_the_door() {
    let azure = Azure::start().await;
    let arm = azure.arm(&by_secret(SecretSource::Inline(Secret::new("s3cret&="))));
    is_let_in(&arm).await.unwrap();
    let form = azure.form();
    assert_eq!(form["client_id"], "client");
    assert_eq!(form["client_secret"], "s3cret&=");
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["scope"], "https://management.azure.com/.default");
    assert_eq!(azure.fake.seen()[0].header("authorization"), format!("Bearer {TOKEN}-1"));
}

#[tokio::test]
async fn a_secret_file_is_read_whenever_it_is_needed() {
    let azure = Azure::start().await;
    let path = secret_file(&azure.directory, "secret", "first\n");
    let arm = azure.arm(&by_secret(SecretSource::File(path)));
    is_let_in(&arm).await.unwrap();
    assert_eq!(azure.form()["client_secret"], "first");
    secret_file(&azure.directory, "secret", "second");
    azure.fake.next([refused(401, "InvalidAuthenticationToken")]);
    is_let_in(&arm).await.unwrap();
    assert_eq!(azure.form()["client_secret"], "second");
}

#[tokio::test]
async fn a_secret_that_others_may_read_is_refused_with_the_remedy() {
    let azure = Azure::start().await;
    let path = secret_file(&azure.directory, "secret", "first\n");
    let certificate_file = secret_file(&azure.directory, "client.pem", PKCS8);
    let token_file = secret_file(&azure.directory, "token", "federated");
    let certificate = Credential::ClientCertificate {
        tenant: "tenant".into(),
        client: "client".into(),
        certificate_file: certificate_file.clone(),
    };
    let workload = Credential::WorkloadIdentity {
        tenant: "tenant".into(),
        client: "client".into(),
        token_file: token_file.clone(),
    };
    for (credential, path, mode) in [
        (by_secret(SecretSource::File(path.clone())), &path, 0o644),
        (by_secret(SecretSource::File(path.clone())), &path, 0o620),
        (certificate, &certificate_file, 0o604),
        (workload, &token_file, 0o666),
    ] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = is_let_in(&azure.arm(&credential)).await.unwrap_err().to_string();
        assert!(text.contains(&format!("chmod 600 {}", path.display())), "{text}");
    }
    assert!(azure.fake.tokens_asked().is_empty() && azure.fake.seen().is_empty());
    let missing = by_secret(SecretSource::File("/nowhere/secret".into()));
    let text = is_let_in(&azure.arm(&missing)).await.unwrap_err().to_string();
    assert!(text.contains("/nowhere/secret"), "{text}");
}

#[tokio::test]
async fn a_client_certificate_opens_the_door() {
    let azure = Azure::start().await;
    let certificate_file = secret_file(&azure.directory, "client.pem", PKCS8);
    let arm = azure.arm(&Credential::ClientCertificate {
        tenant: "tenant".into(),
        client: "client".into(),
        certificate_file,
    });
    is_let_in(&arm).await.unwrap();
    let form = azure.form();
    assert_eq!(
        form["client_assertion_type"],
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    // The signature is checked beside the code that makes it.
    let claims = form["client_assertion"].split('.').nth(1).unwrap();
    let claims =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], format!("{}/tenant/oauth2/v2.0/token", azure.fake.url));
}

#[tokio::test]
async fn a_federated_token_opens_the_door() {
    let azure = Azure::start().await;
    let token_file = secret_file(&azure.directory, "token", "federated");
    let arm = azure.arm(&Credential::WorkloadIdentity {
        tenant: "tenant".into(),
        client: "client".into(),
        token_file,
    });
    is_let_in(&arm).await.unwrap();
    assert_eq!(azure.form()["client_assertion"], "federated");
}

#[tokio::test]
async fn a_managed_identity_opens_the_door() {
    let azure = Azure::start().await;
    for (identity, query) in [
        (ManagedIdentity::System, ""),
        (ManagedIdentity::ClientId("c-1".into()), "&client_id=c-1"),
        (ManagedIdentity::ObjectId("o-1".into()), "&object_id=o-1"),
        (ManagedIdentity::ResourceId("/id/1".into()), "&msi_res_id=%2Fid%2F1"),
    ] {
        is_let_in(&azure.arm(&Credential::ManagedIdentity(identity))).await.unwrap();
        let asked = azure.fake.tokens_asked().pop().unwrap();
        assert!(asked.path.starts_with("/metadata/identity/oauth2/token?api-version="));
        let resource = "&resource=https%3A%2F%2Fmanagement.azure.com";
        assert!(asked.path.ends_with(&format!("{resource}{query}")), "{}", asked.path);
        assert_eq!(asked.header("metadata"), "true");
    }
}

#[tokio::test]
async fn an_identity_that_is_not_there_is_told_with_its_status() {
    let azure = Azure::start().await;
    azure.fake.next_for_tokens([answer(
        400,
        json!({"error": "invalid_request", "error_description": "Identity not found"}),
    )]);
    let arm = azure.arm(&Credential::ManagedIdentity(ManagedIdentity::System));
    let error = is_let_in(&arm).await.unwrap_err();
    assert!(matches!(error, AzureError::Token { status: Some(400), .. }), "{error:?}");
    assert!(azure.fake.seen().is_empty());
}

#[tokio::test]
async fn without_a_metadata_service_the_answer_comes_soon() {
    let fake = Fake::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cloud = fake.cloud();
    cloud.endpoints.imds = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let credential = Credential::ManagedIdentity(ManagedIdentity::System);
    let arm = Arm::new(&cloud, &credential, &limits()).unwrap();
    let begun = Instant::now();
    let text = is_let_in(&arm).await.unwrap_err().to_string();
    assert!(text.contains("cannot reach the metadata service at http://127.0.0.1"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_refused_secret_is_told_with_the_authoritys_reason_to_all_who_wait() {
    let azure = Azure::start().await;
    let no = json!({"error": "invalid_client", "error_codes": [7000215],
        "error_description": "AADSTS7000215: Invalid client secret provided."});
    azure.fake.next_for_tokens([answer(401, no)]);
    let arm = azure.arm(&by_secret(SecretSource::Inline(Secret::new("hunter2-hunter2"))));
    let all = (0..30).map(|_| is_let_in(&arm));
    for result in futures::future::join_all(all).await {
        let error = result.unwrap_err();
        assert!(matches!(error, AzureError::Token { status: Some(401), .. }), "{error:?}");
        assert!(error.to_string().contains("AADSTS7000215"), "{error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
    assert_eq!(azure.fake.tokens_asked().len(), 1);
    assert!(azure.fake.seen().is_empty());
    is_let_in(&arm).await.unwrap();
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let azure = Azure::start().await;
    let stranger = Azure::start().await;
    let http = Fake::start().await;
    let mut cloud = azure.fake.cloud();
    cloud.ca_bundle = Some(stranger.directory.path().join("ca.pem"));
    cloud.endpoints.imds = http.url.clone();
    let credential = Credential::ManagedIdentity(ManagedIdentity::System);
    let arm = Arm::new(&cloud, &credential, &Limits { tries: 1, ..limits() }).unwrap();
    let error = is_let_in(&arm).await.unwrap_err();
    assert!(matches!(error, AzureError::Unreachable { .. }), "{error:?}");
    assert!(azure.fake.seen().is_empty());
}

#[tokio::test]
async fn a_config_that_would_show_a_secret_is_refused() {
    let fake = Fake::start().await;
    let secret = by_secret(SecretSource::Inline(Secret::new("s")));
    let error = Arm::new(&fake.cloud(), &secret, &limits()).unwrap_err().to_string();
    assert!(error.contains("cloud.authority"), "{error}");
    let mut cloud = fake.cloud();
    cloud.endpoints.resource_manager = "http://management.azure.com".into();
    let credential = Credential::ManagedIdentity(ManagedIdentity::System);
    let error = Arm::new(&cloud, &credential, &limits()).unwrap_err().to_string();
    assert!(error.contains("cloud.resource_manager"), "{error}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The whole of a call at the finest level of every library: neither token nor secret is in it.
#[tokio::test]
async fn no_log_shows_a_token_or_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads: with a subscriber of one thread alone, the first use of a line by another
    // test's thread would switch that line off for good.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let azure = Azure::start().await;
    let arm = azure.arm(&by_secret(SecretSource::Inline(Secret::new("hunter2-hunter2"))));
    azure.fake.next([refused(401, "A"), refused(500, "B"), answer(201, json!({}))]);
    is_let_in(&arm).await.unwrap();
    let url = format!("{}/subscriptions/S-1/operations/1?t=SIGNATURE", azure.fake.url);
    arm.poll(&url).await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("azure answered"), "nothing was logged");
    assert!(text.contains("/virtualMachines/n1-0abcdefg"));
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("azslurm_azure")).collect();
    assert!(!ours.join("\n").contains("SIGNATURE"));
    for secret in [TOKEN, "hunter2"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
        assert!(!format!("{arm:?}").contains(secret));
    }
}

/// Runs this test program again with an `az` of our own first in its PATH.
#[test]
fn the_azure_cli_opens_the_door() {
    let directory = tempfile::tempdir().unwrap();
    let answer = r#"{"accessToken":"FROM-AZ","expires_on":4102444800,"tokenType":"Bearer"}"#;
    let script = format!("#!/bin/sh\necho '{answer}'\n");
    let az = directory.path().join("az");
    std::fs::write(&az, script).unwrap();
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o700)).unwrap();
    let run = |path: &Path| {
        let program = std::env::current_exe().unwrap();
        std::process::Command::new(program)
            .args(["--exact", "with_the_azure_cli", "--ignored", "--nocapture"])
            .env("PATH", path)
            .output()
            .unwrap()
    };
    let good = run(directory.path());
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stdout));
    let bad = run(Path::new("/nowhere"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&bad.stdout), String::from_utf8_lossy(&bad.stderr));
    assert!(!bad.status.success() && text.contains("az not found"), "{text}");
}

#[tokio::test]
#[ignore = "run by the_azure_cli_opens_the_door, with its PATH"]
async fn with_the_azure_cli() {
    let fake = Fake::start().await;
    let arm = Arm::new(&fake.cloud(), &Credential::AzureCli, &limits()).unwrap();
    is_let_in(&arm).await.unwrap();
    assert_eq!(fake.seen()[0].header("authorization"), "Bearer FROM-AZ");
}
