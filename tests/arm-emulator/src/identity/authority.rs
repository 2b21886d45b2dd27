//! The OAuth2 token endpoint, `POST /{tenant}/oauth2/v2.0/token`, for client credentials by
//! secret, certificate and federated token, with Entra's errors. (LEARN: OAuth 2.0 client
//! credentials flow; Microsoft Entra authentication and authorization error codes)
//!
//! Must never: offer a flow that needs a person.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use serde_json::json;

use super::assertion::{self, Proof};
use super::{ClientOptions, Endpoint, Fault, Identities, Principal, same_resource};
use crate::tls::origin;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Public authority, which a client that is led here by its transport names in its assertions.
const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";

pub(super) fn router() -> Router<Arc<Identities>> {
    Router::new().route("/{tenant}/oauth2/v2.0/token", post(token))
}

/// A refusal in Entra's words.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    error: &'static str,
    code: u32,
    text: String,
}

impl Refused {
    pub(super) fn invalid_client(code: u32, text: String) -> Refused {
        Refused { status: StatusCode::UNAUTHORIZED, error: "invalid_client", code, text }
    }

    pub(super) fn invalid_request(code: u32, text: String) -> Refused {
        Refused { status: StatusCode::BAD_REQUEST, error: "invalid_request", code, text }
    }

    fn other(error: &'static str, code: u32, text: String) -> Refused {
        Refused { status: StatusCode::BAD_REQUEST, error, code, text }
    }

    fn from_fault(fault: &Fault) -> Refused {
        let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match status {
            StatusCode::BAD_REQUEST => Refused::other(
                "unauthorized_client",
                700_016,
                "Application was not found in the directory (asked for by a test).".into(),
            ),
            StatusCode::UNAUTHORIZED => Refused::invalid_client(
                7_000_215,
                "Invalid client secret provided (asked for by a test).".into(),
            ),
            status => Refused {
                status,
                error: "temporarily_unavailable",
                code: 90_033,
                text: "A transient error has occurred. Please try again.".into(),
            },
        }
    }

    fn into_response(self, retry_after_s: Option<u64>) -> Response {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let (trace, correlation) = (random_id(), random_id());
        let description = format!(
            "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}",
            self.code, self.text
        );
        let body = json!({
            "error": self.error, "error_description": description, "error_codes": [self.code],
            "timestamp": now, "trace_id": trace, "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        });
        let mut response = (self.status, no_store(), Json(body)).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn no_store() -> [(header::HeaderName, &'static str); 1] {
    [(header::CACHE_CONTROL, "no-store, no-cache")]
}

/// A random UUID, version 4.
fn random_id() -> String {
    let mut bytes: [u8; 16] = std::array::from_fn(|_| 0);
    let random = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    random.expect("the system's random source works, or TLS would not either");
    let number = u128::from_be_bytes(bytes) & !(0xf << 76 | 0x3 << 62) | (0x4 << 76 | 0x2 << 62);
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

type Form = BTreeMap<String, String>;

async fn token(
    State(identities): State<Arc<Identities>>,
    Path(tenant): Path<String>,
    request: axum::extract::Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_MAX).await.unwrap_or_else(|_| Bytes::new());
    let form: Form = url::form_urlencoded::parse(&body).into_owned().collect();
    if let Some(fault) = identities.next_fault(Endpoint::Authority).await {
        let refused = Refused::from_fault(&fault);
        identities.record(Endpoint::Authority, "fault", refused.status.as_u16());
        return refused.into_response(fault.retry_after_s);
    }
    let audiences = audiences(&head.extensions, &head.headers, &tenant);
    match answer(&identities, &tenant, &form, &audiences) {
        Ok((who, response)) => {
            identities.record(Endpoint::Authority, who, StatusCode::OK.as_u16());
            response
        }
        Err(refused) => {
            identities.record(Endpoint::Authority, "refused", refused.status.as_u16());
            refused.into_response(None)
        }
    }
}

/// Largest token request that is read: an assertion with its certificate chain is some kilobytes.
const BODY_MAX: usize = 256 * 1024;

/// The spellings of this endpoint that an assertion may name as its audience.
fn audiences(extensions: &Extensions, headers: &HeaderMap, tenant: &str) -> Vec<String> {
    let origins = [origin(extensions, headers), PUBLIC_AUTHORITY.to_owned()];
    let paths = ["oauth2/v2.0/token", "v2.0", "oauth2/token"];
    let spell = |origin: &String| paths.map(|path| format!("{origin}/{tenant}/{path}"));
    origins.iter().flat_map(spell).collect()
}

fn answer(
    identities: &Identities,
    tenant: &str,
    form: &Form,
    audiences: &[String],
) -> Result<(&'static str, Response), Refused> {
    check_tenant(identities, tenant)?;
    let grant = field(form, "grant_type")?;
    if grant != "client_credentials" {
        let text = format!("The app requested an unsupported grant type '{grant}'.");
        return Err(Refused::other("unsupported_grant_type", 70_003, text));
    }
    let client = find_client(identities, tenant, field(form, "client_id")?)?;
    let who = prove(client, form, audiences)?;
    let resource = resource(identities, field(form, "scope")?)?;
    let principal = Principal {
        object_id: client.principal_id().to_owned(),
        client_id: client.client_id.clone(),
        tenant: identities.options.tenant.clone(),
    };
    let issued = identities.issue(&principal, resource);
    let body = json!({
        "token_type": "Bearer", "expires_in": issued.lifetime,
        "ext_expires_in": issued.lifetime, "access_token": issued.token,
    });
    Ok((who, (no_store(), Json(body)).into_response()))
}

fn check_tenant(identities: &Identities, tenant: &str) -> Result<(), Refused> {
    if identities.options.tenant.eq_ignore_ascii_case(tenant) {
        return Ok(());
    }
    let text = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are \
         signing into the correct cloud. Check with your subscription administrator, this may \
         happen if there are no active subscriptions for the tenant."
    );
    Err(Refused::invalid_request(90_002, text))
}

fn field<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refused> {
    form.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or_else(|| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        Refused::invalid_request(900_144, text)
    })
}

fn find_client<'a>(
    identities: &'a Identities,
    tenant: &str,
    client_id: &str,
) -> Result<&'a ClientOptions, Refused> {
    let mut clients = identities.options.clients.iter();
    clients.find(|client| client.client_id.eq_ignore_ascii_case(client_id)).ok_or_else(|| {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory \
             '{tenant}'. This can happen if the application has not been installed by the \
             administrator of the tenant or consented to by any user in the tenant. You may have \
             sent your authentication request to the wrong tenant."
        );
        Refused::other("unauthorized_client", 700_016, text)
    })
}

/// How the application proves who it is; the word is for the record of requests.
fn prove(
    client: &ClientOptions,
    form: &Form,
    audiences: &[String],
) -> Result<&'static str, Refused> {
    if let Some(assertion) = form.get("client_assertion") {
        if field(form, "client_assertion_type")? != ASSERTION_TYPE {
            let text = "The client_assertion_type is not supported.";
            return Err(Refused::invalid_request(900_144, text.into()));
        }
        return Ok(match assertion::check(assertion, client, audiences)? {
            Proof::Certificate => "certificate",
            Proof::Federated => "federated",
        });
    }
    let Some(secret) = form.get("client_secret") else {
        let text = "The request body must contain the following parameter: 'client_assertion' or \
                    'client_secret'.";
        return Err(Refused::invalid_client(7_000_218, text.into()));
    };
    if client.secrets.contains(secret) {
        return Ok("secret");
    }
    let text = format!(
        "Invalid client secret provided. Ensure the secret being sent in the request is the \
         client secret value, not the client secret ID, for a secret added to app '{}'.",
        client.client_id
    );
    Err(Refused::invalid_client(7_000_215, text))
}

/// The service that `scope` asks for. MSAL adds the scopes of OpenID, which say nothing here.
fn resource<'a>(identities: &Identities, scope: &'a str) -> Result<&'a str, Refused> {
    let mut services = scope.split(' ').filter_map(|scope| scope.strip_suffix("/.default"));
    let Some(service) = services.next() else {
        let text = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must \
             have a scope value with /.default suffixed to the resource identifier (application \
             ID URI)."
        );
        return Err(Refused::other("invalid_scope", 1_002_012, text));
    };
    if services.any(|other| !same_resource(other, service)) {
        let text = format!("The provided value for scope {scope} names more than one resource.");
        return Err(Refused::other("invalid_scope", 28_000, text));
    }
    if identities.knows_resource(service) {
        return Ok(service);
    }
    let text = format!(
        "The resource principal named {service} was not found in the tenant named {}. This can \
         happen if the application has not been installed by the administrator of the tenant or \
         consented to by any user in the tenant.",
        identities.options.tenant
    );
    Err(Refused::other("invalid_resource", 500_011, text))
}
