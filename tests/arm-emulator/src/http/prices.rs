//! The retail price list: public, so no token is asked for.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::get;
use serde_json::json;

use super::Shared;
use super::watch::Served;
use crate::model::prices;
use crate::tls;

const PATH: &str = "/api/retail/prices";

/// Its one route.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().route(PATH, get(answer)).with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let member = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query);
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let skip = member("$skip").parse().unwrap_or(0);
    let url = format!("{}{PATH}", tls::origin(request.extensions(), request.headers()));
    let page = prices::page(shared.model().prices(), (&member("$filter"), skip), &url);
    let (status, body) = match page {
        Ok(page) => (StatusCode::OK, page),
        Err(text) => {
            (StatusCode::BAD_REQUEST, json!({"Error": {"Code": "BadRequest", "Message": text}}))
        }
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.extensions_mut().insert(Served { route: PATH.to_owned(), effect: None });
    response
}
