//! The instance metadata service: tokens of managed identities, and a minimal instance document.
//! (FACTS §7.1; LEARN: How to use managed identities to acquire an access token, Azure Instance
//! Metadata Service)
//!
//! Must never: answer a request that came through a proxy, or one without the `Metadata` header.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::{Endpoint, Fault, Identities, ManagedIdentity, Principal};

pub(super) fn router() -> Router<Arc<Identities>> {
    Router::new()
        .route("/metadata/identity/oauth2/token", get(token))
        .route("/metadata/instance", get(instance))
}

/// The query of a request.
pub(crate) type Parameters = BTreeMap<String, String>;

struct Refused {
    status: StatusCode,
    error: &'static str,
    text: String,
    retry_after_s: Option<u64>,
}

impl Refused {
    fn bad_request(text: impl Into<String>) -> Refused {
        Refused {
            status: StatusCode::BAD_REQUEST,
            error: "invalid_request",
            text: text.into(),
            retry_after_s: None,
        }
    }

    fn from_fault(fault: &Fault) -> Refused {
        let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (error, text) = match status.as_u16() {
            400 => ("invalid_request", "Identity not found"),
            410 => ("gone", "The metadata service is being updated"),
            429 => ("too_many_requests", "Too many requests"),
            _ => ("unknown_error", "The request failed (asked for by a test)"),
        };
        Refused { status, error, text: text.into(), retry_after_s: fault.retry_after_s }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.text });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

async fn token(
    State(identities): State<Arc<Identities>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let who = asked_for(&parameters);
    let fault = identities.next_fault(Endpoint::Imds).await;
    let answer = match fault {
        Some(fault) => Err(Refused::from_fault(&fault)),
        None => answer(&identities, &parameters, &headers),
    };
    let response =
        answer.map_or_else(IntoResponse::into_response, |body| Json(body).into_response());
    identities.record(Endpoint::Imds, &who, response.status().as_u16());
    response
}

/// The parameters that choose an identity. Both spellings of the resource id are in use.
const CHOICES: [&str; 4] = ["client_id", "object_id", "msi_res_id", "mi_res_id"];

fn asked_for(parameters: &Parameters) -> String {
    let chosen = CHOICES.iter().find_map(|name| Some(format!("{name}={}", parameters.get(*name)?)));
    chosen.unwrap_or_else(|| "system".into())
}

fn answer(
    identities: &Identities,
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Result<Value, Refused> {
    check_request(parameters, headers)?;
    let resource = parameters.get("resource").filter(|resource| !resource.is_empty());
    let resource = resource
        .ok_or_else(|| Refused::bad_request("Required query variable 'resource' is missing"))?;
    let identity = choose(&identities.options.identities, parameters)?;
    if !identities.knows_resource(resource) {
        let tenant = &identities.options.tenant;
        return Err(Refused {
            error: "invalid_resource",
            ..Refused::bad_request(format!(
                "AADSTS500011: The resource principal named {resource} was not found in the \
                 tenant named {tenant}."
            ))
        });
    }
    let principal = Principal {
        object_id: identity.object_id.clone(),
        client_id: identity.client_id.clone(),
        tenant: identities.options.tenant.clone(),
    };
    let issued = identities.issue(&principal, resource);
    // Every number is a string here, other than in the authority's answer.
    Ok(json!({
        "access_token": issued.token,
        "client_id": identity.client_id,
        "expires_in": issued.lifetime.to_string(),
        "expires_on": issued.expires_on.to_string(),
        "ext_expires_in": issued.lifetime.to_string(),
        "not_before": issued.not_before.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    }))
}

/// The refusal of a request that the service does not answer: without its header or an api-version,
/// or through a proxy.
pub(crate) fn check_metadata_request(
    parameters: &Parameters,
    headers: &HeaderMap,
) -> Option<Response> {
    check_request(parameters, headers).err().map(IntoResponse::into_response)
}

fn check_request(parameters: &Parameters, headers: &HeaderMap) -> Result<(), Refused> {
    let metadata = headers.get("metadata").and_then(|value| value.to_str().ok());
    if !metadata.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Refused::bad_request("Required metadata header not specified"));
    }
    if headers.contains_key("x-forwarded-for") {
        return Err(Refused::bad_request("Request must not contain the header X-Forwarded-For"));
    }
    if !parameters.contains_key("api-version") {
        return Err(Refused::bad_request("Required query variable 'api-version' is missing"));
    }
    Ok(())
}

/// The identity that is meant: the named one; without a name the system-assigned one, or the only
/// user-assigned one.
fn choose<'a>(
    identities: &'a [ManagedIdentity],
    parameters: &Parameters,
) -> Result<&'a ManagedIdentity, Refused> {
    let named: Vec<_> = CHOICES.iter().filter_map(|n| Some((*n, parameters.get(*n)?))).collect();
    let found = match named.as_slice() {
        [] => return choose_default(identities),
        [(name, wanted)] => identities.iter().find(|identity| {
            let id = match *name {
                "client_id" => Some(&identity.client_id),
                "object_id" => Some(&identity.object_id),
                _ => identity.resource_id.as_ref(),
            };
            id.is_some_and(|id| id.eq_ignore_ascii_case(wanted))
        }),
        [_, _, ..] => {
            let text = "Only one of client_id, object_id and msi_res_id may be specified";
            return Err(Refused::bad_request(text));
        }
    };
    found.ok_or_else(|| Refused::bad_request("Identity not found"))
}

fn choose_default(identities: &[ManagedIdentity]) -> Result<&ManagedIdentity, Refused> {
    if let Some(system) = identities.iter().find(|identity| identity.resource_id.is_none()) {
        return Ok(system);
    }
    match identities {
        [] => Err(Refused::bad_request("Identity not found")),
        [only] => Ok(only),
        [_, _, ..] => Err(Refused::bad_request(
            "Multiple user assigned identities exist, please specify the clientId / resourceId \
             of the identity in the token request",
        )),
    }
}

/// The document of a VM that a cluster's controller might be. Every value is a string.
async fn instance(Query(parameters): Query<Parameters>, headers: HeaderMap) -> Response {
    if let Err(refused) = check_request(&parameters, &headers) {
        return refused.into_response();
    }
    Json(json!({
        "compute": {
            "azEnvironment": "AzurePublicCloud",
            "location": "westeurope",
            "name": "controller",
            "osType": "Linux",
            "priority": "",
            "evictionPolicy": "",
            "placementGroupId": "",
            "provider": "Microsoft.Compute",
            "resourceGroupName": "cluster",
            "resourceId": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/\
                           cluster/providers/Microsoft.Compute/virtualMachines/controller",
            "subscriptionId": "00000000-0000-0000-0000-000000000000",
            "tags": "",
            "tagsList": [],
            "userData": "",
            "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
            "vmScaleSetName": "",
            "vmSize": "Standard_D2s_v5",
            "zone": "",
        },
        "network": { "interface": [{
            "ipv4": {
                "ipAddress": [{ "privateIpAddress": "10.0.0.4", "publicIpAddress": "" }],
                "subnet": [{ "address": "10.0.0.0", "prefix": "24" }],
            },
            "ipv6": { "ipAddress": [] },
            "macAddress": "002248112233",
        }] },
    }))
    .into_response()
}
