//! What clients ask before they ask for a token: OpenID configuration, instance discovery (MSAL),
//! and ARM's list of endpoints (azure-cli). (python-clients.md §3)
//!
//! Must never: need a token.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::Identities;
use crate::tls::origin;

pub(super) fn router() -> Router<Arc<Identities>> {
    Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(openid))
        .route("/common/discovery/instance", get(instances))
        .route("/metadata/endpoints", get(endpoints))
}

/// Names that stand for "any tenant" in an authority URL.
const ANY_TENANT: [&str; 2] = ["common", "organizations"];

async fn openid(
    State(identities): State<Arc<Identities>>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let known = &identities.options.tenant;
    if !known.eq_ignore_ascii_case(&tenant) && !ANY_TENANT.contains(&tenant.as_str()) {
        let text = format!("AADSTS90002: Tenant '{tenant}' not found.");
        let body = json!({ "error": "invalid_tenant", "error_description": text });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    let base = format!("{}/{tenant}", origin(request.extensions(), request.headers()));
    Json(json!({
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": format!("{base}/v2.0"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "tenant_region_scope": "EU",
        "cloud_instance_name": "emulator",
    }))
    .into_response()
}

async fn instances(request: Request) -> Json<Value> {
    let origin = origin(request.extensions(), request.headers());
    let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
    Json(json!({
        "tenant_discovery_endpoint":
            format!("{origin}/common/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": host, "preferred_cache": host, "aliases": [host],
        }],
    }))
}

/// azure-cli reads all of these at `az cloud register`, and stops with a `KeyError` without the
/// suffixes.
async fn endpoints(request: Request) -> Json<Value> {
    let base = origin(request.extensions(), request.headers());
    Json(json!({
        "name": "AzslurmEmulator",
        "portal": base,
        "authentication": {
            "loginEndpoint": base, "audiences": [format!("{base}/")],
            "tenant": "common", "identityProvider": "AAD",
        },
        "resourceManager": base,
        "graph": format!("{base}/"),
        "graphAudience": format!("{base}/"),
        "microsoftGraphResourceId": format!("{base}/"),
        "media": base, "batch": base, "gallery": base, "sqlManagement": base,
        "activeDirectoryDataLake": base,
        "suffixes": {
            "storage": "core.local", "keyVaultDns": "vault.local",
            "sqlServerHostname": "sql.local", "acrLoginServer": "acr.local",
            "azureDataLakeStoreFileSystem": "adl.local",
            "azureDataLakeAnalyticsCatalogAndJob": "adla.local",
            "mhsmDns": "mhsm.local", "mysqlServerEndpoint": "my.local",
            "postgresqlServerEndpoint": "pg.local", "mariadbServerEndpoint": "ma.local",
            "synapseAnalytics": "syn.local", "attestationEndpoint": "att.local",
        },
    }))
}
