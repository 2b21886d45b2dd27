//! The control routes of the directory, under `/_emulator/identity/`, for tests that only have the
//! emulator's URL.
//!
//! | route | does |
//! | --- | --- |
//! | `POST faults` | faults for the next requests, see [`Faults`] |
//! | `POST expire` | tokens issued so far are expired |
//! | `POST revoke` | tokens issued so far are invalid |
//! | `GET requests` | the token requests so far |
//!
//! Must never: need a token.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::{get, post};
use serde::Deserialize;

use super::{Endpoint, Fault, Identities, TokenRequest};

pub(super) fn router() -> Router<Arc<Identities>> {
    Router::new()
        .route("/_emulator/identity/faults", post(faults))
        .route("/_emulator/identity/expire", post(expire))
        .route("/_emulator/identity/revoke", post(revoke))
        .route("/_emulator/identity/requests", get(requests))
}

/// `{"endpoint": "imds", "faults": [{"status": 429, "retry_after_s": 3}, {"delay_ms": 50}]}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    endpoint: Endpoint,
    faults: Vec<Fault>,
}

async fn faults(
    State(identities): State<Arc<Identities>>,
    Json(wanted): Json<Faults>,
) -> StatusCode {
    identities.set_faults(wanted.endpoint, wanted.faults);
    StatusCode::NO_CONTENT
}

async fn expire(State(identities): State<Arc<Identities>>) -> StatusCode {
    identities.expire_tokens();
    StatusCode::NO_CONTENT
}

async fn revoke(State(identities): State<Arc<Identities>>) -> StatusCode {
    identities.revoke_tokens();
    StatusCode::NO_CONTENT
}

async fn requests(State(identities): State<Arc<Identities>>) -> Json<Vec<TokenRequest>> {
    Json(identities.requests())
}
