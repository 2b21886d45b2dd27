//! Every kind of credential, from the config's type to an answer of Resource Manager, against the
//! emulator's authority and metadata service; and that a refusal tells the cause and no secret.
//!
//! `crates/azure/tests/credentials.rs` checks what is sent; here the other side judges it.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use azslurm_arm_emulator::identity::{
    CLIENT_ID, CLIENT_SECRET, Endpoint, Fault, Federation, IdentityOptions, SYSTEM_CLIENT_ID,
    TENANT, USER_CLIENT_ID, USER_OBJECT_ID, USER_RESOURCE_ID,
};
use azslurm_arm_emulator::model::config::SUBSCRIPTION;
use azslurm_arm_emulator::{Emulator, Options};
use azslurm_azure::{Answer, Arm, AzureError, Place};
use azslurm_core::config::{
    Cloud, CloudName, Credential, Endpoints, Limits, ManagedIdentity, SecretSource,
};
use azslurm_core::secret::Secret;

const CERTIFICATE: &str = include_str!("arm-emulator/testdata/client-certificate.pem");
const KEY: &str = include_str!("arm-emulator/testdata/client-key.pem");
const OTHER_CERTIFICATE: &str = include_str!("arm-emulator/testdata/other-certificate.pem");
const OTHER_KEY: &str = include_str!("arm-emulator/testdata/other-key.pem");

/// `{"iss": "https://issuer.test/", "sub": "system:azslurm", "aud": "api://AzureADTokenExchange"}`,
/// good until 2100, signed by nobody: the emulator cannot know the issuer's key.
const FEDERATED: &str = "\
    eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0LyIsInN1YiI6InN5c3RlbTp\
    henNsdXJtIiwiYXVkIjoiYXBpOi8vQXp1cmVBRFRva2VuRXhjaGFuZ2UiLCJleHAiOjQxMDI0NDQ4MDB\
    9.c2lnbmF0dXJl";
/// The same of `system:somebody`.
const FEDERATED_OTHER: &str = "\
    eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0LyIsInN1YiI6InN5c3RlbTp\
    zb21lYm9keSIsImF1ZCI6ImFwaTovL0F6dXJlQURUb2tlbkV4Y2hhbmdlIiwiZXhwIjo0MTAyNDQ0ODA\
    wfQ.c2lnbmF0dXJl";

struct Azure {
    emulator: Emulator,
    folder: tempfile::TempDir,
}

impl Azure {
    fn start() -> Azure {
        let mut identities = IdentityOptions::default();
        let client = &mut identities.clients[0];
        client.certificates.push(CERTIFICATE.to_owned());
        client.federations.push(Federation::new("https://issuer.test/", "system:azslurm"));
        let emulator = Emulator::start(Options { identities, ..Options::default() }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), emulator.ca_pem()).unwrap();
        Azure { emulator, folder }
    }

    /// A client over HTTPS, as in the field.
    fn arm(&self, credential: &Credential) -> Arm {
        let urls = self.emulator.urls();
        let cloud = Cloud {
            name: CloudName::Custom,
            endpoints: Endpoints {
                authority: urls.authority.clone(),
                resource_manager: urls.arm_https.clone(),
                audience: "https://management.azure.com".to_owned(),
                resource_graph: urls.arm_https.clone(),
                prices: None,
                imds: urls.imds.clone(),
            },
            ca_bundle: Some(self.folder.path().join("ca.pem")),
        };
        let limits =
            Limits { requests_in_flight: 64, request_timeout: Duration::from_secs(30), tries: 3 };
        Arm::new(&cloud, credential, &limits).unwrap()
    }

    /// A file that only its owner may read.
    fn secret_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    fn certificate(&self, certificate: &str, key: &str) -> Credential {
        Credential::ClientCertificate {
            tenant: TENANT.to_owned(),
            client: CLIENT_ID.to_owned(),
            certificate_file: self.secret_file("client.pem", &format!("{key}{certificate}")),
        }
    }

    fn workload_identity(&self, token: &str) -> Credential {
        Credential::WorkloadIdentity {
            tenant: TENANT.to_owned(),
            client: CLIENT_ID.to_owned(),
            token_file: self.secret_file("token", token),
        }
    }

    /// Who asked for tokens, and what each was answered.
    fn asked(&self) -> Vec<(String, u16)> {
        let requests = self.emulator.identities().requests();
        requests.into_iter().map(|request| (request.who, request.status)).collect()
    }
}

fn by_secret(client: &str, secret: SecretSource) -> Credential {
    Credential::ClientSecret { tenant: TENANT.to_owned(), client: client.to_owned(), secret }
}

fn good_secret() -> Credential {
    by_secret(CLIENT_ID, SecretSource::Inline(Secret::new(CLIENT_SECRET)))
}

/// One call, which only a token that Resource Manager accepts can answer.
async fn call(arm: &Arm) -> Result<(), AzureError> {
    let place = Place {
        subscription: SUBSCRIPTION.to_owned(),
        resource_group: "hpc".to_owned(),
        region: None,
    };
    let reply = arm.get_vm(&place, &"never-made".parse().unwrap()).await?;
    assert_eq!(reply.answer, Answer::Done(None));
    assert!(reply.request_id.is_some());
    Ok(())
}

/// The refusal of a token: its status and its words.
async fn refusal(arm: &Arm) -> (Option<u16>, String) {
    let error = call(arm).await.unwrap_err();
    let AzureError::Token { status, .. } = &error else { panic!("{error:?}") };
    (*status, format!("{error} {error:?}"))
}

#[tokio::test]
async fn a_managed_identity_opens_the_door_by_each_of_its_names() {
    for (identity, who) in [
        (ManagedIdentity::System, "system".to_owned()),
        (ManagedIdentity::ClientId(USER_CLIENT_ID.into()), format!("client_id={USER_CLIENT_ID}")),
        (
            ManagedIdentity::ClientId(SYSTEM_CLIENT_ID.into()),
            format!("client_id={SYSTEM_CLIENT_ID}"),
        ),
        (ManagedIdentity::ObjectId(USER_OBJECT_ID.into()), format!("object_id={USER_OBJECT_ID}")),
        (
            ManagedIdentity::ResourceId(USER_RESOURCE_ID.into()),
            format!("msi_res_id={USER_RESOURCE_ID}"),
        ),
    ] {
        let azure = Azure::start();
        call(&azure.arm(&Credential::ManagedIdentity(identity))).await.unwrap();
        assert_eq!(azure.asked(), [(who, 200)]);
    }
}

#[tokio::test]
async fn a_client_secret_opens_the_door_from_the_config_and_from_a_file() {
    let azure = Azure::start();
    call(&azure.arm(&good_secret())).await.unwrap();
    let file = azure.secret_file("secret", &format!("{CLIENT_SECRET}\n"));
    call(&azure.arm(&by_secret(CLIENT_ID, SecretSource::File(file)))).await.unwrap();
    assert_eq!(azure.asked(), [("secret".to_owned(), 200), ("secret".to_owned(), 200)]);
}

#[tokio::test]
async fn a_client_certificate_opens_the_door() {
    let azure = Azure::start();
    call(&azure.arm(&azure.certificate(CERTIFICATE, KEY))).await.unwrap();
    assert_eq!(azure.asked(), [("certificate".to_owned(), 200)]);
}

#[tokio::test]
async fn a_workload_identity_opens_the_door() {
    let azure = Azure::start();
    call(&azure.arm(&azure.workload_identity(FEDERATED))).await.unwrap();
    assert_eq!(azure.asked(), [("federated".to_owned(), 200)]);
}

#[tokio::test]
async fn a_wrong_secret_is_told_with_entra_s_number_and_not_shown() {
    let azure = Azure::start();
    let wrong = "t0p-secret-but-wrong";
    let (status, words) =
        refusal(&azure.arm(&by_secret(CLIENT_ID, SecretSource::Inline(Secret::new(wrong))))).await;
    assert_eq!(status, Some(401));
    assert!(words.contains("client-secret") && words.contains("AADSTS7000215"), "{words}");
    assert!(!words.contains(wrong), "{words}");
    assert_eq!(azure.asked().len(), 1, "a refusal is not asked for again");
}

#[tokio::test]
async fn an_application_that_is_not_in_the_tenant_is_told_by_its_name() {
    let azure = Azure::start();
    let nobody = "00000000-0000-0000-0000-00000000dead";
    let secret = "some-secret";
    let (status, words) =
        refusal(&azure.arm(&by_secret(nobody, SecretSource::Inline(Secret::new(secret))))).await;
    assert_eq!(status, Some(400));
    assert!(words.contains("AADSTS700016") && words.contains(nobody), "{words}");
    assert!(!words.contains(secret), "{words}");
}

#[tokio::test]
async fn a_certificate_that_is_not_registered_is_refused_and_its_key_not_shown() {
    let azure = Azure::start();
    let (status, words) =
        refusal(&azure.arm(&azure.certificate(OTHER_CERTIFICATE, OTHER_KEY))).await;
    assert_eq!(status, Some(401));
    assert!(words.contains("client-certificate") && words.contains("AADSTS700027"), "{words}");
    let line = OTHER_KEY.lines().nth(1).unwrap();
    assert!(!words.contains(line), "{words}");
}

#[tokio::test]
async fn a_federated_token_of_somebody_else_is_refused_and_not_shown() {
    let azure = Azure::start();
    let (status, words) = refusal(&azure.arm(&azure.workload_identity(FEDERATED_OTHER))).await;
    assert_eq!(status, Some(401));
    assert!(words.contains("workload-identity") && words.contains("AADSTS70021"), "{words}");
    assert!(words.contains("system:somebody"), "which subject was refused: {words}");
    assert!(!words.contains(FEDERATED_OTHER), "{words}");
}

#[tokio::test]
async fn an_identity_that_the_machine_does_not_have_is_refused_at_once() {
    let azure = Azure::start();
    let nobody = ManagedIdentity::ClientId("00000000-0000-0000-0000-00000000dead".into());
    let (status, words) = refusal(&azure.arm(&Credential::ManagedIdentity(nobody))).await;
    assert_eq!(status, Some(400));
    assert!(words.contains("managed-identity"), "{words}");
    assert_eq!(azure.asked().len(), 1, "a refusal is not asked for again");
}

#[tokio::test]
async fn a_metadata_service_that_is_busy_or_slow_is_asked_again() {
    let azure = Azure::start();
    let busy = Fault { status: Some(429), retry_after_s: Some(1), ..Fault::default() };
    let slow = Fault { delay_ms: 300, ..Fault::default() };
    azure.emulator.identities().set_faults(Endpoint::Imds, [busy, slow]);
    call(&azure.arm(&Credential::ManagedIdentity(ManagedIdentity::System))).await.unwrap();
    assert_eq!(azure.asked(), [("system".to_owned(), 429), ("system".to_owned(), 200)]);
}

#[tokio::test]
async fn an_authority_that_stumbles_is_asked_again() {
    let azure = Azure::start();
    azure.emulator.identities().set_refusal(Endpoint::Authority, 500, 1);
    call(&azure.arm(&good_secret())).await.unwrap();
    assert_eq!(azure.asked(), [("fault".to_owned(), 500), ("secret".to_owned(), 200)]);
}

#[tokio::test]
async fn many_calls_share_one_token() {
    let azure = Azure::start();
    let arm = azure.arm(&good_secret());
    let (a, b, c, d) = tokio::join!(call(&arm), call(&arm), call(&arm), call(&arm));
    for done in [a, b, c, d] {
        done.unwrap();
    }
    call(&arm).await.unwrap();
    assert_eq!(azure.asked().len(), 1);
}

#[tokio::test]
async fn a_token_that_ends_early_is_replaced_and_the_call_is_made() {
    let azure = Azure::start();
    let arm = azure.arm(&good_secret());
    call(&arm).await.unwrap();
    azure.emulator.identities().expire_tokens();
    call(&arm).await.unwrap();
    azure.emulator.identities().revoke_tokens();
    call(&arm).await.unwrap();
    assert_eq!(azure.asked().len(), 3);
}
