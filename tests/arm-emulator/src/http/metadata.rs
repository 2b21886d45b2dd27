//! The metadata service as each VM sees it, below `/vm/{name}`: all of them are on one machine
//! here, and an agent is told the URL of its own.
//!
//! | route | does |
//! | --- | --- |
//! | `GET /vm/{name}/metadata/instance` | the instance document |
//! | `GET /vm/{name}/metadata/scheduledevents` | its events, by the version asked for |
//! | `POST /vm/{name}/metadata/scheduledevents` | `{"StartRequests": [{"EventId": …}]}` |
//!
//! Must never: answer a request that came through a proxy, or one without the `Metadata` header.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::identity::{Parameters, check_metadata_request};

/// Versions of the events' schema.
const VERSIONS: [&str; 7] = [
    "2017-03-01",
    "2017-08-01",
    "2017-11-01",
    "2019-01-01",
    "2019-04-01",
    "2019-08-01",
    "2020-07-01",
];

/// Routes of all VMs.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/vm/{name}/metadata/instance", get(instance))
        .route("/vm/{name}/metadata/scheduledevents", get(events).post(acknowledge))
        .with_state(shared)
}

async fn instance(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = check_metadata_request(&parameters, &headers) {
        return refused;
    }
    answer(shared.model().instance_document(&name))
}

async fn events(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = check(&parameters, &headers) {
        return refused;
    }
    let version = parameters["api-version"].clone();
    answer(shared.with_model(|model, _| model.scheduled_events(&name, &version)))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Acknowledgement {
    start_requests: Vec<StartRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartRequest {
    event_id: String,
}

/// Headers and body.
type Acknowledged = (HeaderMap, String);

async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(parameters): Query<Parameters>,
    request: Acknowledged,
) -> Response {
    let (headers, body) = request;
    if let Some(refused) = check(&parameters, &headers) {
        return refused;
    }
    let Ok(asked) = serde_json::from_str::<Acknowledgement>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "StartRequests is missing or malformed");
    };
    let ids: Vec<String> = asked.start_requests.into_iter().map(|one| one.event_id).collect();
    let seen = shared.with_model(|model, _| model.scheduled_events(&name, VERSIONS[0]));
    if let Err(text) = seen {
        return refused(StatusCode::NOT_FOUND, &text);
    }
    match shared.with_model(|model, _| model.acknowledge(&ids)) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(text) => refused(StatusCode::BAD_REQUEST, &text),
    }
}

fn check(parameters: &Parameters, headers: &HeaderMap) -> Option<Response> {
    if let Some(refused) = check_metadata_request(parameters, headers) {
        return Some(refused);
    }
    let version = parameters.get("api-version").map_or("", String::as_str);
    if VERSIONS.contains(&version) {
        return None;
    }
    let body = json!({
        "error": "Bad request. api-version is invalid or was not specified in the request.",
        "newest-versions": VERSIONS.iter().rev().take(3).collect::<Vec<_>>(),
    });
    Some((StatusCode::BAD_REQUEST, Json(body)).into_response())
}

fn answer(document: Result<Value, String>) -> Response {
    match document {
        Ok(document) => Json(document).into_response(),
        Err(text) => refused(StatusCode::NOT_FOUND, &text),
    }
}

fn refused(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}
