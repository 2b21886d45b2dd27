//! Who may call: an instance metadata service and an Entra token authority in small, and the check
//! of the bearer tokens that both have issued.
//!
//! ```text
//! imds.rs       GET  /metadata/identity/oauth2/token     managed identities
//! authority.rs  POST /{tenant}/oauth2/v2.0/token         secret, certificate, federated token
//! discovery.rs  GET  …/openid-configuration, /common/discovery/instance, /metadata/endpoints
//! control.rs         /_emulator/identity/…               faults, expiry, revocation, history
//! ```
//!
//! Tokens are JWTs signed with a key of this process, so that a token from another run, or one
//! that was edited, is refused. Times are those of the real clock: a client compares them with its
//! own.
//!
//! Must never: know a resource or a right: who may do what is the model's.

mod assertion;
mod authority;
mod control;
mod discovery;
mod imds;
mod jwt;
mod options;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use imds::{Parameters, check_metadata_request};
pub use options::{
    CLIENT_ID, CLIENT_SECRET, ClientOptions, Federation, IdentityOptions, ManagedIdentity,
    SYSTEM_CLIENT_ID, SYSTEM_OBJECT_ID, TENANT, USER_CLIENT_ID, USER_OBJECT_ID, USER_RESOURCE_ID,
};

/// Most token requests that are remembered. A test that makes more than this counts, it does not
/// read; the oldest go first.
const REQUESTS_KEPT: usize = 100_000;

/// Who called, as the token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Principal {
    /// The directory object behind the call; rate limits are counted by it.
    pub object_id: String,
    /// The application (client) id.
    pub client_id: String,
    /// The tenant that issued the token.
    pub tenant: String,
}

/// Why a call is refused at the door, with the code and the text that Azure uses. Always 401.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// No `Authorization` header.
    #[error("Authentication failed. The 'Authorization' header is missing.")]
    Missing,
    /// The header is not `Bearer <token>`.
    #[error("Authentication failed. The 'Authorization' header is provided in an invalid format.")]
    BadHeader,
    /// Not a token of ours, or one that was changed or revoked.
    #[error("The access token is invalid.")]
    Invalid,
    /// The token's time is over.
    #[error(
        "The access token expiry UTC time '{expiry}' is earlier than current UTC time '{now}'."
    )]
    Expired {
        /// End of the token's life.
        expiry: String,
        /// The present.
        now: String,
    },
    /// A good token, but for another service.
    #[error(
        "The access token has been obtained for wrong audience or resource '{got}'. It should \
         exactly match with one of the allowed audiences {allowed}."
    )]
    Audience {
        /// What the token was issued for.
        got: String,
        /// What would have been right, quoted and joined by commas.
        allowed: String,
    },
}

impl TokenProblem {
    /// Azure's error code.
    pub fn code(&self) -> &'static str {
        match self {
            TokenProblem::Missing => "AuthenticationFailed",
            TokenProblem::BadHeader => "AuthenticationFailedInvalidHeader",
            TokenProblem::Invalid => "InvalidAuthenticationToken",
            TokenProblem::Expired { .. } => "ExpiredAuthenticationToken",
            TokenProblem::Audience { .. } => "InvalidAuthenticationTokenAudience",
        }
    }

    /// The answer's body, in ARM's error shape.
    pub fn body(&self) -> Value {
        json!({ "error": { "code": self.code(), "message": self.to_string() } })
    }

    /// Value of the `WWW-Authenticate` header that goes with the 401.
    pub fn challenge(&self, tenant: &str) -> String {
        let what = match self {
            TokenProblem::Missing | TokenProblem::BadHeader => "The access token is missing",
            TokenProblem::Invalid
            | TokenProblem::Expired { .. }
            | TokenProblem::Audience { .. } => "The access token is not valid",
        };
        format!(
            "Bearer authorization_uri=\"https://login.windows.net/{tenant}\", \
             error=\"invalid_token\", error_description=\"{what}\""
        )
    }
}

/// One of the two places that hand out tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The instance metadata service.
    Imds,
    /// The OAuth2 token endpoint.
    Authority,
}

/// What happens to one token request instead of, or before, its proper answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Status to answer with (400, 401, 410, 429, 500, …); `None` answers properly.
    pub status: Option<u16>,
    /// Value of `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
    /// Time to wait before answering, in milliseconds.
    pub delay_ms: u64,
}

/// A token request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenRequest {
    /// Where it was made.
    pub endpoint: Endpoint,
    /// Who asked: `system`, `client_id=…`, `secret`, `certificate`, `federated` and the like.
    pub who: String,
    /// The status of the answer.
    pub status: u16,
}

#[derive(Debug, Default)]
struct State {
    audiences: Vec<String>,
    faults: BTreeMap<Endpoint, VecDeque<Fault>>,
    requests: VecDeque<TokenRequest>,
    serial: u64,
    expired_below: u64,
    revoked_below: u64,
}

/// The directory: who exists, what was issued, and what goes wrong next.
pub struct Identities {
    options: IdentityOptions,
    key: jwt::Key,
    state: Mutex<State>,
}

impl Identities {
    /// A directory with these identities and a signing key of its own.
    pub fn new(options: IdentityOptions) -> Identities {
        let state = State { audiences: options.audiences.clone(), ..State::default() };
        Identities { options, key: jwt::Key::random(), state: Mutex::new(state) }
    }

    /// What this directory was made with.
    pub fn options(&self) -> &IdentityOptions {
        &self.options
    }

    /// Accepts tokens for one more audience: the emulator's own ARM URL, once it is known.
    pub fn allow_audience(&self, audience: &str) {
        self.state().audiences.push(audience.to_owned());
    }

    /// Who makes this call. Lenient directories accept any bearer token, as whoever it names.
    ///
    /// # Errors
    /// The reason to answer 401 with.
    pub fn check(&self, headers: &HeaderMap) -> Result<Principal, TokenProblem> {
        let audiences = self.state().audiences.clone();
        let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
        self.check_for(headers, &audiences)
    }

    /// As [`Identities::check`], for a service other than ARM.
    pub fn check_for(
        &self,
        headers: &HeaderMap,
        audiences: &[&str],
    ) -> Result<Principal, TokenProblem> {
        let value = headers.get(header::AUTHORIZATION).ok_or(TokenProblem::Missing)?;
        let value = value.to_str().map_err(|_| TokenProblem::BadHeader)?;
        let token = match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            Some(_) | None => return Err(TokenProblem::BadHeader),
        };
        match self.check_token(token, audiences) {
            Err(_) if self.options.lenient => Ok(self.anybody()),
            checked => checked,
        }
    }

    fn check_token(&self, token: &str, audiences: &[&str]) -> Result<Principal, TokenProblem> {
        let claims = self.key.verify(token).ok_or(TokenProblem::Invalid)?;
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| claims[name].as_u64().unwrap_or_default();
        let (serial, expiry, now) = (number("serial"), number("exp"), unix_now());
        let state = self.state();
        if serial < state.revoked_below {
            return Err(TokenProblem::Invalid);
        }
        if serial < state.expired_below || expiry <= now {
            let (expiry, now) = (utc_text(expiry.min(now)), utc_text(now));
            return Err(TokenProblem::Expired { expiry, now });
        }
        let got = text("aud");
        if !audiences.iter().any(|allowed| same_resource(allowed, &got)) {
            let quoted: Vec<_> = audiences.iter().map(|a| format!("'{a}'")).collect();
            return Err(TokenProblem::Audience { got, allowed: quoted.join(",") });
        }
        Ok(Principal { object_id: text("oid"), client_id: text("appid"), tenant: text("tid") })
    }

    fn anybody(&self) -> Principal {
        Principal {
            object_id: options::ANYBODY_OBJECT_ID.to_owned(),
            client_id: options::ANYBODY_OBJECT_ID.to_owned(),
            tenant: self.options.tenant.clone(),
        }
    }

    /// The next requests at `endpoint` meet these faults, one each, in this order; what was left
    /// of earlier faults is dropped.
    pub fn set_faults(&self, endpoint: Endpoint, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.insert(endpoint, faults.into_iter().collect());
    }

    /// The next `times` requests at `endpoint` are refused with `status`.
    pub fn set_refusal(&self, endpoint: Endpoint, status: u16, times: usize) {
        let fault = Fault { status: Some(status), ..Fault::default() };
        self.set_faults(endpoint, vec![fault; times]);
    }

    /// From now on all tokens that were issued so far count as expired.
    pub fn expire_tokens(&self) {
        let mut state = self.state();
        state.expired_below = state.serial;
    }

    /// From now on all tokens that were issued so far count as invalid.
    pub fn revoke_tokens(&self) {
        let mut state = self.state();
        state.revoked_below = state.serial;
    }

    /// The token requests so far, oldest first.
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.state().requests.iter().cloned().collect()
    }

    /// Issues a token that the emulator itself accepts: for tests that do not care how it is got.
    pub fn token_for_tests(&self) -> String {
        let audience = self.state().audiences.first().cloned().unwrap_or_default();
        self.issue(&self.anybody(), &audience).token
    }

    fn issue(&self, principal: &Principal, audience: &str) -> Issued {
        let mut state = self.state();
        let serial = state.serial;
        state.serial += 1;
        drop(state);
        let lifetime = self.options.token_lifetime_s;
        let now = unix_now();
        let issuer = format!("https://sts.windows.net/{}/", principal.tenant);
        let token = self.key.sign(&json!({
            "aud": audience, "iss": issuer, "iat": now, "nbf": now, "exp": now + lifetime,
            "appid": principal.client_id, "appidacr": "1", "idtyp": "app",
            "oid": principal.object_id, "sub": principal.object_id, "tid": principal.tenant,
            "serial": serial, "ver": "1.0",
        }));
        Issued { token, not_before: now, expires_on: now + lifetime, lifetime }
    }

    /// Whether somebody of this tenant can be asked a token for `resource`.
    fn knows_resource(&self, resource: &str) -> bool {
        let state = self.state();
        let mut known = state.audiences.iter().map(String::as_str).chain(options::OTHER_SERVICES);
        known.any(|known| same_resource(known, resource))
    }

    /// Takes the next fault of `endpoint` and waits as long as it says.
    async fn next_fault(&self, endpoint: Endpoint) -> Option<Fault> {
        let fault = self.state().faults.get_mut(&endpoint).and_then(VecDeque::pop_front)?;
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        fault.status.is_some().then_some(fault)
    }

    fn record(&self, endpoint: Endpoint, who: &str, status: u16) {
        let mut state = self.state();
        if state.requests.len() == REQUESTS_KEPT {
            state.requests.pop_front();
        }
        state.requests.push_back(TokenRequest { endpoint, who: who.to_owned(), status });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}

struct Issued {
    token: String,
    not_before: u64,
    expires_on: u64,
    lifetime: u64,
}

/// The routes of the metadata service, of the authority and of discovery.
pub fn router(identities: Arc<Identities>) -> Router {
    let routes = imds::router().merge(authority::router()).merge(discovery::router());
    routes.with_state(identities)
}

/// The control routes, under `/_emulator/identity/`.
pub fn control_router(identities: Arc<Identities>) -> Router {
    control::router().with_state(identities)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn utc_text(unix: u64) -> String {
    let second = i64::try_from(unix).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(second).map_or_else(
        |_| unix.to_string(),
        |time| time.strftime("%-m/%-d/%Y %-I:%M:%S %p").to_string(),
    )
}

/// Azure compares audiences and tenants without case, and takes a trailing slash or leaves it.
fn same_resource(a: &str, b: &str) -> bool {
    a.trim_end_matches('/').eq_ignore_ascii_case(b.trim_end_matches('/'))
}

#[cfg(test)]
mod tests;
