//! The routes, called without a network.

use super::*;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use tower::ServiceExt as _;

const CERTIFICATE: &str = include_str!("../../testdata/client-certificate.pem");
const KEY: &str = include_str!("../../testdata/client-key.pem");
const OTHER_CERTIFICATE: &str = include_str!("../../testdata/other-certificate.pem");
const OTHER_KEY: &str = include_str!("../../testdata/other-key.pem");

const ARM: &str = "https://management.azure.com/";
const TOKEN_URL: &str = "https://login.test/11111111-1111-1111-1111-111111111111/oauth2/v2.0/token";

fn identities() -> Arc<Identities> {
    let mut options = IdentityOptions::default();
    options.clients[0].certificates.push(CERTIFICATE.into());
    options.clients[0].federations.push(Federation::new("https://issuer.test/", "system:azslurm"));
    options.clients[0].federated_tokens.push("opaque".into());
    Arc::new(Identities::new(options))
}

fn whole_router(identities: &Arc<Identities>) -> Router {
    router(Arc::clone(identities)).merge(control_router(Arc::clone(identities)))
}

async fn send(identities: &Arc<Identities>, request: Request<Body>) -> (StatusCode, Value) {
    let response: Response<Body> = whole_router(identities).oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn imds(query: &str) -> Request<Body> {
    let resource = "resource=https%3A%2F%2Fmanagement.azure.com%2F";
    let path = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&{resource}{query}");
    Request::get(path).header("Metadata", "true").body(Body::empty()).unwrap()
}

fn oauth(tenant: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::post(format!("/{tenant}/oauth2/v2.0/token"))
        .header("host", "login.test")
        .extension(crate::tls::OverTls)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap()
}

const SCOPE: (&str, &str) = ("scope", "https://management.azure.com/.default");
const GRANT: (&str, &str) = ("grant_type", "client_credentials");

fn with_secret(client_id: &str, secret: &str) -> Request<Body> {
    oauth(TENANT, &[GRANT, SCOPE, ("client_id", client_id), ("client_secret", secret)])
}

fn with_assertion(assertion: &str) -> Request<Body> {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let fields = [
        GRANT,
        SCOPE,
        ("client_id", CLIENT_ID),
        ("client_assertion_type", kind),
        ("client_assertion", assertion),
    ];
    oauth(TENANT, &fields)
}

fn bearer(token: &Value) -> HeaderMap {
    let value = format!("Bearer {}", token.as_str().unwrap());
    HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
}

fn claims() -> Value {
    let now = unix_now();
    json!({ "aud": TOKEN_URL, "iss": CLIENT_ID, "sub": CLIENT_ID, "nbf": now, "exp": now + 600 })
}

fn signed(header: &Value, claims: &Value, key: &str) -> String {
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let signed = format!("{}.{}", jwt::encode(header.to_string()), jwt::encode(claims.to_string()));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", jwt::encode(signature))
}

fn thumbprint(algorithm: &'static ring::digest::Algorithm, pem: &str) -> String {
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    jwt::encode(ring::digest::digest(algorithm, &der))
}

fn sha256_header(pem: &str) -> Value {
    let thumbprint = thumbprint(&ring::digest::SHA256, pem);
    json!({ "alg": "RS256", "typ": "JWT", "x5t#S256": thumbprint })
}

#[tokio::test]
async fn every_name_of_a_managed_identity_gives_its_token() {
    let identities = identities();
    let resource = USER_RESOURCE_ID.to_uppercase();
    for (query, object_id) in [
        (String::new(), SYSTEM_OBJECT_ID),
        (format!("&client_id={USER_CLIENT_ID}"), USER_OBJECT_ID),
        (format!("&object_id={USER_OBJECT_ID}"), USER_OBJECT_ID),
        (format!("&msi_res_id={USER_RESOURCE_ID}"), USER_OBJECT_ID),
        (format!("&mi_res_id={resource}"), USER_OBJECT_ID),
        (format!("&client_id={SYSTEM_CLIENT_ID}"), SYSTEM_OBJECT_ID),
    ] {
        let (status, body) = send(&identities, imds(&query)).await;
        assert_eq!(status, 200, "{query}: {body}");
        let principal = identities.check(&bearer(&body["access_token"])).unwrap();
        assert_eq!(principal.object_id, object_id, "{query}");
        assert_eq!(principal.tenant, TENANT);
        for member in ["expires_in", "expires_on", "not_before", "resource", "token_type"] {
            assert!(body[member].is_string(), "{member} in {body}");
        }
        assert_eq!(body["client_id"], principal.client_id);
        assert_eq!(body["resource"], ARM);
    }
}

#[tokio::test]
async fn an_identity_that_the_vm_does_not_have_is_not_found() {
    let (status, body) = send(&identities(), imds("&client_id=0")).await;
    assert_eq!(status, 400);
    assert_eq!(body["error"], "invalid_request");
    assert_eq!(body["error_description"], "Identity not found");

    let both = format!("&client_id={USER_CLIENT_ID}&object_id={USER_OBJECT_ID}");
    assert_eq!(send(&identities(), imds(&both)).await.0, 400);
}

#[tokio::test]
async fn without_a_name_the_system_identity_is_meant_or_the_only_one() {
    let only = |identities: &[ManagedIdentity]| {
        let options = IdentityOptions { identities: identities.to_vec(), ..Default::default() };
        Arc::new(Identities::new(options))
    };
    let user = IdentityOptions::default().identities[1].clone();
    let other = ManagedIdentity { client_id: "other".into(), ..user.clone() };
    assert_eq!(send(&only(&[]), imds("")).await.0, 400);
    assert_eq!(send(&only(std::slice::from_ref(&user)), imds("")).await.0, 200);
    let (status, body) = send(&only(&[user, other]), imds("")).await;
    assert_eq!(status, 400);
    assert!(body["error_description"].as_str().unwrap().starts_with("Multiple user assigned"));
}

#[tokio::test]
async fn the_metadata_service_wants_its_header_and_no_proxy() {
    let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=x";
    let bare = Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(send(&identities(), bare).await.0, 400);
    let mut proxied = imds("");
    proxied.headers_mut().insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
    assert_eq!(send(&identities(), proxied).await.0, 400);

    let instance = "/metadata/instance?api-version=2021-02-01";
    let instance = Request::get(instance).header("metadata", "True").body(Body::empty()).unwrap();
    let (status, body) = send(&identities(), instance).await;
    assert_eq!((status, &body["compute"]["name"]), (StatusCode::OK, &json!("controller")));
}

#[tokio::test]
async fn a_good_secret_gives_a_token_for_arm() {
    let identities = identities();
    let (status, body) = send(&identities, with_secret(CLIENT_ID, CLIENT_SECRET)).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 3600);
    let principal = identities.check(&bearer(&body["access_token"])).unwrap();
    assert_eq!(principal.client_id, CLIENT_ID);
}

#[tokio::test]
async fn refusals_have_entra_s_numbers_and_never_the_secret() {
    let wrong = "my-wrong-secret";
    for (request, status, error, code) in [
        (with_secret(CLIENT_ID, wrong), 401, "invalid_client", 7_000_215),
        (with_secret("nobody", wrong), 400, "unauthorized_client", 700_016),
        (oauth("nowhere", &[GRANT, SCOPE]), 400, "invalid_request", 90_002),
        (oauth(TENANT, &[SCOPE]), 400, "invalid_request", 900_144),
        (oauth(TENANT, &[("grant_type", "password")]), 400, "unsupported_grant_type", 70_003),
        (
            oauth(TENANT, &[GRANT, SCOPE, ("client_id", CLIENT_ID)]),
            401,
            "invalid_client",
            7_000_218,
        ),
        (
            oauth(
                TENANT,
                &[
                    GRANT,
                    ("scope", "https://nothing.test/.default"),
                    ("client_id", CLIENT_ID),
                    ("client_secret", CLIENT_SECRET),
                ],
            ),
            400,
            "invalid_resource",
            500_011,
        ),
        (
            oauth(
                TENANT,
                &[
                    GRANT,
                    ("scope", "https://management.azure.com/"),
                    ("client_id", CLIENT_ID),
                    ("client_secret", CLIENT_SECRET),
                ],
            ),
            400,
            "invalid_scope",
            1_002_012,
        ),
    ] {
        let (got, body) = send(&identities(), request).await;
        assert_eq!(got.as_u16(), status, "{body}");
        assert_eq!(body["error"], error);
        assert_eq!(body["error_codes"], json!([code]));
        let text = body["error_description"].as_str().unwrap();
        assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
        assert!(!body.to_string().contains(wrong), "{body}");
    }
}

#[tokio::test]
async fn an_assertion_signed_with_a_registered_certificate_gives_a_token() {
    let sha1 = thumbprint(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, CERTIFICATE);
    let by_sha1 = json!({ "alg": "RS256", "typ": "JWT", "x5t": format!("{sha1}=") });
    let mut with_fraction = claims();
    with_fraction["exp"] = json!(unix_now() as f64 + 60.5);
    for (header, claims) in [
        (sha256_header(CERTIFICATE), claims()),
        (by_sha1, claims()),
        (sha256_header(CERTIFICATE), with_fraction),
    ] {
        let identities = identities();
        let assertion = signed(&header, &claims, KEY);
        let (status, body) = send(&identities, with_assertion(&assertion)).await;
        assert_eq!(status, 200, "{body}");
        identities.check(&bearer(&body["access_token"])).unwrap();
        assert_eq!(identities.requests()[0].who, "certificate");
    }
}

#[tokio::test]
async fn an_assertion_with_anything_wrong_is_refused() {
    let with = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        signed(&sha256_header(CERTIFICATE), &claims, KEY)
    };
    let past = unix_now() - 1000;
    let mut nameless = sha256_header(CERTIFICATE);
    nameless.as_object_mut().unwrap().remove("x5t#S256");
    for (what, assertion, code) in [
        ("unsigned", with("sub", json!(CLIENT_ID)).rsplit_once('.').unwrap().0.to_owned(), 50_027),
        ("another key", signed(&sha256_header(CERTIFICATE), &claims(), OTHER_KEY), 700_027),
        ("unknown", signed(&sha256_header(OTHER_CERTIFICATE), &claims(), OTHER_KEY), 700_027),
        ("no thumbprint", signed(&nameless, &claims(), KEY), 700_027),
        ("expired", with("exp", json!(past)), 700_024),
        ("not yet", with("nbf", json!(unix_now() + 1000)), 700_024),
        ("audience", with("aud", json!("https://elsewhere.test")), 700_023),
        ("subject", with("sub", json!("someone")), 700_021),
        ("issuer", with("iss", json!("someone")), 70_021),
        ("rubbish", "rubbish".into(), 50_027),
    ] {
        let (status, body) = send(&identities(), with_assertion(&assertion)).await;
        assert!(status.is_client_error(), "{what}: {body}");
        assert_eq!(body["error_codes"], json!([code]), "{what}: {body}");
    }
}

#[tokio::test]
async fn a_federated_token_is_good_by_issuer_subject_and_audience_or_literally() {
    let exchange = "api://AzureADTokenExchange";
    let token = |issuer: &str, subject: &str, audience: &str| {
        let claims = json!({
            "iss": issuer, "sub": subject, "aud": audience, "exp": unix_now() + 60,
        });
        signed(&json!({ "alg": "RS256", "kid": "k" }), &claims, OTHER_KEY)
    };
    let issuer = "https://issuer.test/";
    for (assertion, expected) in [
        (token(issuer, "system:azslurm", exchange), 200),
        ("opaque".into(), 200),
        (token(issuer, "system:other", exchange), 401),
        (token("https://other.test/", "system:azslurm", exchange), 401),
        (token(issuer, "system:azslurm", "else"), 401),
    ] {
        let identities = identities();
        let (status, body) = send(&identities, with_assertion(&assertion)).await;
        assert_eq!(status, expected, "{body}");
        if status == 200 {
            assert_eq!(identities.requests()[0].who, "federated");
        }
    }
}

#[tokio::test]
async fn only_our_own_fresh_tokens_for_arm_are_accepted() {
    let identities = identities();
    assert_eq!(identities.check(&HeaderMap::new()), Err(TokenProblem::Missing));
    let basic = HeaderMap::from_iter([(header::AUTHORIZATION, "Basic eA==".parse().unwrap())]);
    assert_eq!(identities.check(&basic), Err(TokenProblem::BadHeader));
    assert_eq!(identities.check(&bearer(&json!("FAKE"))), Err(TokenProblem::Invalid));
    let foreign = super::Identities::new(IdentityOptions::default()).token_for_tests();
    assert_eq!(identities.check(&bearer(&json!(foreign))), Err(TokenProblem::Invalid));

    let vault = identities.issue(&identities.anybody(), "https://vault.azure.net").token;
    let problem = identities.check(&bearer(&json!(vault))).unwrap_err();
    assert_eq!(problem.code(), "InvalidAuthenticationTokenAudience");
    identities.allow_audience("HTTPS://vault.azure.net/");
    identities.check(&bearer(&json!(vault))).unwrap();
}

#[test]
fn a_token_ends_with_its_time_by_order_or_when_revoked() {
    let zero = IdentityOptions { token_lifetime_s: 0, ..Default::default() };
    let zero = Identities::new(zero);
    let problem = zero.check(&bearer(&json!(zero.token_for_tests()))).unwrap_err();
    assert_eq!(problem.code(), "ExpiredAuthenticationToken");

    let identities = identities();
    let token = bearer(&json!(identities.token_for_tests()));
    identities.check(&token).unwrap();
    identities.expire_tokens();
    assert_eq!(identities.check(&token).unwrap_err().code(), "ExpiredAuthenticationToken");
    identities.revoke_tokens();
    assert_eq!(identities.check(&token), Err(TokenProblem::Invalid));
    identities.check(&bearer(&json!(identities.token_for_tests()))).unwrap();
}

#[test]
fn a_lenient_directory_takes_any_bearer_token_but_needs_one() {
    let lenient = Identities::new(IdentityOptions { lenient: true, ..Default::default() });
    lenient.check(&bearer(&json!("FAKE"))).unwrap();
    assert_eq!(lenient.check(&HeaderMap::new()), Err(TokenProblem::Missing));
}

#[test]
fn a_problem_is_told_in_arm_s_shape() {
    let body = TokenProblem::Missing.body();
    assert_eq!(body["error"]["code"], "AuthenticationFailed");
    assert!(TokenProblem::Invalid.challenge(TENANT).contains("error=\"invalid_token\""));
}

#[tokio::test]
async fn faults_meet_the_next_requests_in_order() {
    let identities = identities();
    let faults = json!({ "endpoint": "imds", "faults": [
        { "status": 429, "retry_after_s": 7 }, { "status": 410 }, { "delay_ms": 1 },
    ] });
    let request = Request::post("/_emulator/identity/faults")
        .header("content-type", "application/json")
        .body(Body::from(faults.to_string()))
        .unwrap();
    assert_eq!(send(&identities, request).await.0, 204);
    identities.set_refusal(Endpoint::Authority, 401, 1);

    let throttled = router(Arc::clone(&identities)).oneshot(imds("")).await.unwrap();
    assert_eq!(
        (throttled.status().as_u16(), &throttled.headers()["retry-after"]),
        (429, &header::HeaderValue::from_static("7"))
    );
    assert_eq!(send(&identities, imds("")).await.0, 410);
    assert_eq!(send(&identities, imds("")).await.0, 200);
    assert_eq!(send(&identities, with_secret(CLIENT_ID, CLIENT_SECRET)).await.0, 401);
    assert_eq!(send(&identities, with_secret(CLIENT_ID, CLIENT_SECRET)).await.0, 200);

    let history = Request::get("/_emulator/identity/requests").body(Body::empty()).unwrap();
    let (_, history) = send(&identities, history).await;
    let statuses: Vec<_> =
        history.as_array().unwrap().iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [429, 410, 200, 401, 200]);
}

#[tokio::test]
async fn discovery_leads_back_to_where_it_was_asked() {
    let get = |path: &str| {
        Request::get(path)
            .header("host", "login.test")
            .extension(crate::tls::OverTls)
            .body(Body::empty())
            .unwrap()
    };
    let identities = identities();
    let openid = format!("/{TENANT}/v2.0/.well-known/openid-configuration");
    let (_, body) = send(&identities, get(&openid)).await;
    assert_eq!(body["token_endpoint"], TOKEN_URL);
    let unknown = get("/nowhere/v2.0/.well-known/openid-configuration");
    assert_eq!(send(&identities, unknown).await.0, 400);
    let (_, body) = send(&identities, get("/metadata/endpoints?api-version=2022-09-01")).await;
    assert_eq!(body["resourceManager"], "https://login.test");
    assert!(body["suffixes"]["storage"].is_string());
    let (_, body) = send(&identities, get("/common/discovery/instance")).await;
    assert_eq!(body["metadata"][0]["aliases"], json!(["login.test"]));
}
