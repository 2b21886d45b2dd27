//! Around every call that is not control: its faults, and its line in the record.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use futures::stream;

use super::Shared;
use super::calls::Call;
use super::faults::{Fault, FaultKind};
use crate::model::message::ArmError;

/// A lost answer keeps its connection open this long, then closes it.
const LOST: Duration = Duration::from_secs(600);

/// Put on a request whose operation shall fail.
#[derive(Clone)]
pub struct FailOperation(pub ArmError);

/// Put on an answer: its route, and what it changed.
#[derive(Clone)]
pub struct Served {
    /// Template of the route.
    pub route: String,
    /// What it changed.
    pub effect: Option<String>,
}

/// Marks an answer that is never sent: the connection breaks after this time.
#[derive(Clone, Copy)]
struct NotSent(Duration);

/// The watch over a call.
pub async fn watch(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let (method, uri) = (request.method().to_string(), request.uri().clone());
    let client_request_id = text(request.headers(), "x-ms-client-request-id");
    let fault = shared.faults().meet(&method, uri.path());
    if let Some(fault) = fault.as_ref().filter(|fault| fault.kind() == FaultKind::FailOperation) {
        let body = fault.body.clone().unwrap_or_default();
        request.extensions_mut().insert(FailOperation(ArmError::from_json(409, &body)));
    }
    let (response, marks) = match fault {
        Some(fault) => with_fault(&shared, fault, (request, next)).await,
        None => {
            let response = next.run(request).await;
            let marks = marks(&response);
            (response, marks)
        }
    };
    let not_sent = response.extensions().get::<NotSent>().copied();
    shared.calls().add(Call {
        at: shared.clock.now(),
        method,
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        route: marks.as_ref().map_or_else(|| uri.path().to_owned(), |m| m.route.clone()),
        status: if not_sent.is_some() { 0 } else { response.status().as_u16() },
        request_id: text(response.headers(), "x-ms-request-id"),
        client_request_id,
        effect: marks.and_then(|marks| marks.effect),
    });
    if let Some(NotSent(after)) = not_sent.filter(|not_sent| !not_sent.0.is_zero()) {
        tokio::time::sleep(after).await;
    }
    response
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn marks(response: &Response<Body>) -> Option<Served> {
    response.extensions().get::<Served>().filter(|served| !served.route.is_empty()).cloned()
}

async fn with_fault(
    shared: &Arc<Shared>,
    fault: Fault,
    (request, next): (Request, Next),
) -> (Response<Body>, Option<Served>) {
    let latency = fault.latency_ms as f64 / 1000.0 / shared.clock.scale();
    if latency > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(latency)).await;
    }
    // The route is not known of a call that did not get through.
    let path = request.uri().path().to_owned();
    let route = crate::model::route::Route::parse(&path).map_or(path, |r| r.template().to_owned());
    match fault.kind() {
        FaultKind::Answer => (canned(&fault), Some(Served { route, effect: None })),
        FaultKind::DropBefore => (broken(Duration::ZERO), Some(Served { route, effect: None })),
        FaultKind::DropAfter => {
            let marks = marks(&next.run(request).await);
            (broken(Duration::ZERO), marks)
        }
        FaultKind::LostAnswer => {
            let marks = marks(&next.run(request).await);
            (broken(LOST), marks)
        }
        FaultKind::Delay | FaultKind::FailOperation => {
            let response = next.run(request).await;
            let marks = marks(&response);
            (response, marks)
        }
    }
}

fn canned(fault: &Fault) -> Response<Body> {
    let body = fault.body.as_ref().map(|body| match body.as_str() {
        Some(text) => text.to_owned(),
        None => body.to_string(),
    });
    let mut response = Response::new(body.map_or_else(Body::empty, Body::from));
    *response.status_mut() =
        StatusCode::from_u16(fault.status.unwrap_or(500)).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &fault.headers {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::from_str(&value))
        {
            headers.insert(name, value);
        }
    }
    response
}

/// An answer of which not one byte is sent: its body fails before the server flushes its head, and
/// the server closes the connection. `tests/faults.rs` watches over that.
fn broken(after: Duration) -> Response<Body> {
    let failure = std::io::Error::other("connection dropped by an injected fault");
    let body = stream::iter([Err::<bytes::Bytes, _>(failure)]);
    let mut response = Response::new(Body::from_stream(body));
    response.extensions_mut().insert(NotSent(after));
    response
}
