//! A Key Vault, as far as a VM reads a secret of it: `GET /secrets/{name}` and
//! `/secrets/{name}/{version}`, over HTTPS, with a token for vaults. (azure-rest-api-specs,
//! keyvault/data-plane/Microsoft.KeyVault/stable/7.4/secrets.json; the texts as people quote them
//! in public issues)
//!
//! A test puts a secret there by `POST /_emulator/vault`. Must never: answer without TLS, or with
//! ARM's token.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::identity::Parameters;
use crate::tls::{OverTls, origin};

/// What tokens for a vault are issued for.
const AUDIENCE: &str = "https://vault.azure.net";
/// The only version of each secret.
const VERSION: &str = "0123456789abcdef0123456789abcdef";
/// When it was made, for the answer's form.
const MADE_AT: u64 = 1_790_000_000;

/// The secrets of the vault, by name.
#[derive(Debug, Default)]
pub struct Vault(BTreeMap<String, Secret>);

#[derive(Debug)]
struct Secret {
    value: String,
    readers: Option<Vec<String>>,
}

/// What a test says of a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    name: String,
    /// Absent: the secret goes.
    value: Option<String>,
    /// Client ids that may read it. Absent: everybody with a token.
    readers: Option<Vec<String>>,
}

impl Vault {
    /// Puts or removes a secret.
    pub fn put(&mut self, put: Put) {
        match put.value {
            Some(value) => self.0.insert(put.name, Secret { value, readers: put.readers }),
            None => self.0.remove(&put.name),
        };
    }
}

/// Routes of the vault.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/secrets/{name}", get(newest))
        .route("/secrets/{name}/{version}", get(of_version))
        .with_state(shared)
}

async fn newest(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    answer(&shared, (&name, VERSION), &parameters, &request)
}

async fn of_version(
    State(shared): State<Arc<Shared>>,
    Path((name, version)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    answer(&shared, (&name, &version), &parameters, &request)
}

fn answer(
    shared: &Shared,
    (name, version): (&str, &str),
    parameters: &Parameters,
    request: &Request,
) -> Response {
    if request.extensions().get::<OverTls>().is_none() {
        return refused(StatusCode::FORBIDDEN, ("Forbidden", None), "HTTPS is required.");
    }
    let caller = match shared.identities.check_for(request.headers(), &[AUDIENCE]) {
        Ok(caller) => caller,
        Err(problem) => {
            let tenant = &shared.identities.options().tenant;
            let challenge = format!(
                "Bearer authorization=\"https://login.microsoftonline.com/{tenant}\", \
                 resource=\"{AUDIENCE}\""
            );
            let text = format!("AKV10000: {problem}");
            let refused = refused(StatusCode::UNAUTHORIZED, ("Unauthorized", None), &text);
            return ([(header::WWW_AUTHENTICATE, challenge)], refused).into_response();
        }
    };
    if !parameters.contains_key("api-version") {
        let text = "api-version must be specified";
        return refused(StatusCode::BAD_REQUEST, ("BadParameter", None), text);
    }
    let vault = shared.vault();
    let Some(secret) = vault.0.get(name).filter(|_| version == VERSION) else {
        let text = format!(
            "A secret with (name/id) {name} was not found in this key vault. If you recently \
             deleted this secret you may be able to recover it using the correct recovery command."
        );
        return refused(StatusCode::NOT_FOUND, ("SecretNotFound", None), &text);
    };
    if secret.readers.as_ref().is_some_and(|readers| !readers.contains(&caller.client_id)) {
        let text = format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny \
             assignments or role definitions were changed recently, please observe propagation \
             time.\r\nCaller: appid={};oid={}\r\nAction: \
             'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\n",
            caller.client_id, caller.object_id
        );
        let code = ("Forbidden", Some("ForbiddenByRbac"));
        return refused(StatusCode::FORBIDDEN, code, &text);
    }
    let origin = origin(request.extensions(), request.headers());
    let attributes = json!({
        "enabled": true, "created": MADE_AT, "updated": MADE_AT,
        "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
    });
    Json(json!({
        "value": secret.value,
        "id": format!("{origin}/secrets/{name}/{VERSION}"),
        "attributes": attributes,
        "tags": { "file-encoding": "base64" },
    }))
    .into_response()
}

fn refused(status: StatusCode, (code, inner): (&str, Option<&str>), text: &str) -> Response {
    let mut error = json!({ "code": code, "message": text });
    if let Some(inner) = inner {
        error["innererror"] = json!({ "code": inner });
    }
    let body: Value = json!({ "error": error });
    (status, Json(body)).into_response()
}
