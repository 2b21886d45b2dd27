//! From HTTP to the model and back.

use std::sync::Arc;

use axum::Router;
use axum::body::{self, Body};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header};
use serde_json::Value;

use super::Shared;
use super::watch::{FailOperation, Served};
use crate::identity::TokenProblem;
use crate::model::message::{ArmError, Method, Request, Response};
use crate::tls;

/// Longest body; Resource Manager takes 4 MB.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// Header that asks for the caller's own id to be sent back. (ARM RPC: common headers)
const RETURN_CLIENT_ID: &str = "x-ms-return-client-request-id";

/// Everything that is not a token route.
pub fn service(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, request: HttpRequest) -> HttpResponse<Body> {
    let (parts, body) = request.into_parts();
    let principal = match shared.identities.check(&parts.headers) {
        Ok(principal) => principal.object_id,
        Err(problem) => return refuse(&shared, &problem),
    };
    let Some(method) = Method::parse(parts.method.as_str()) else {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    };
    let Ok(bytes) = body::to_bytes(body, BODY_MAX).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let parsed = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
    let body = match parsed {
        Ok(body) => body,
        Err(error) => {
            let text = format!(
                "The request content was invalid and could not be deserialized: '{error}'."
            );
            return write(ArmError::new(400, "InvalidRequestContent", text).to_response(), method);
        }
    };
    let request = Request {
        method,
        path: percent_decoded(parts.uri.path()),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes())
            .into_owned()
            .collect(),
        body,
        base_url: tls::origin(&parts.extensions, &parts.headers),
        principal,
        fail_operation: parts.extensions.get::<FailOperation>().map(|fault| fault.0.clone()),
    };
    let mut response = shared.with_model(|model, now| model.apply(&request, now));
    if let (Some(_), Some(id)) =
        (parts.headers.get(RETURN_CLIENT_ID), parts.headers.get("x-ms-client-request-id"))
    {
        let id = id.to_str().unwrap_or_default();
        response = response.header("x-ms-client-request-id", id);
    }
    write(response, method)
}

fn percent_decoded(path: &str) -> String {
    // `+` stays itself in a path, unlike in a query.
    let escaped = path.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let mut pairs = url::form_urlencoded::parse(escaped.as_bytes());
    pairs.next().map_or_else(String::new, |(name, _)| name.into_owned())
}

fn refuse(shared: &Shared, problem: &TokenProblem) -> HttpResponse<Body> {
    let challenge = problem.challenge(&shared.identities.options().tenant);
    let response = Response::with_body(401, problem.body())
        .header(header::WWW_AUTHENTICATE.as_str(), challenge);
    write(response, Method::Get)
}

fn plain(status: StatusCode) -> HttpResponse<Body> {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn write(response: Response, method: Method) -> HttpResponse<Body> {
    let body = match &response.body {
        Some(body) if method != Method::Head => Body::from(body.to_string()),
        Some(_) | None => Body::empty(),
    };
    let mut written = HttpResponse::new(body);
    *written.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = written.headers_mut();
    if response.body.is_some() {
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value))
        {
            headers.append(name, value);
        }
    }
    let served = Served { route: response.route.to_owned(), effect: response.effect };
    written.extensions_mut().insert(served);
    written
}
