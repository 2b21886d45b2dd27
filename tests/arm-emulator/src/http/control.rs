//! The control interface under `/_emulator`: what tests set and ask. A wrong request is answered
//! with 400 and what is allowed. Other crates depend on these shapes.

use std::sync::Arc;

use axum::Router;
use axum::body::{self, Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Shared;
use super::faults::Fault;
use crate::model::capacity::Room;
use crate::model::quota::Allowance;
use crate::model::rights::Rights;
use crate::model::scheduled::EventKind;
use crate::model::seed::{Leaves, Seed};
use crate::model::time::Millis;
use crate::model::vnet_use::{Crowd, Peering};

/// Where the control interface begins.
const ROOT: &str = "/_emulator";

/// Longest control body.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// What can be asked for; shown when something else was.
const ALLOWED: [&str; 36] = [
    "GET /resources?alive=true|false",
    "GET /calls",
    "POST /calls/reset",
    "GET /log?since=N",
    "POST /capacity {region, sku, zone?, spot?, in_set?, vms, late?, code?, message?}",
    "POST /quota {region, name, limit, subscription?}",
    "GET /delays",
    "POST /delays {preset?, vm_create_ms?, vm_delete_ms?, …, retry_after_s?}",
    "POST /habits {changed_case?, nic_reserved_ms?, …}",
    "POST /offers {unknown_images?, images_with_plan?, spot_price?, images?, unaccepted_plans?, \
     unregistered_providers?, restrictions?, prices?}",
    "POST /rights {grants: [{scope, actions, not_actions?}]}",
    "POST /subnets {subnet, take}",
    "POST /peerings {vnet, name, remote, state}",
    "POST /resources {id, body}: a PUT by somebody else, with every right",
    "GET /faults",
    "POST /faults {method?, path_contains?, times?, skip?, kind?, status?, body?, headers?, …}",
    "DELETE /faults",
    "DELETE /faults/{id}",
    "POST /evict {vm, notice_s?}",
    "GET /events",
    "POST /events {kind: Preempt|Terminate|Reboot|Redeploy|Freeze, vms, notice_s?}",
    "DELETE /events",
    "DELETE /events/{id}",
    "POST /boot {never: [computerName]}",
    "GET /time",
    "POST /time {advance_ms?, scale?}",
    "POST /graph {lag_ms}",
    "POST /throttle {enforce?, arm_reads?, …}",
    "POST /vms {vm, vanish: true} or {vm, leaves: [nic|disk]}",
    "POST /seed {template, vms: [{id, words: {…}, tags?}]}",
    "POST /vault {name, value?, readers?: [client id]}",
    "POST /identity/faults {endpoint: imds|authority, \
     faults: [{status?, retry_after_s?, delay_ms?}]}",
    "POST /identity/expire",
    "POST /identity/revoke",
    "GET /identity/requests",
    "POST /shutdown",
];

/// Routes of the control interface.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_emulator", axum::routing::any(serve))
        .route("/_emulator/{*rest}", axum::routing::any(serve))
        .with_state(shared)
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = body::to_bytes(body, BODY_MAX).await.unwrap_or_default();
    let (status, answer) = match parse_body(&bytes) {
        Ok(body) => {
            let path = parts.uri.path().trim_start_matches(ROOT);
            control(&shared, (&parts.method, path, parts.uri.query().unwrap_or("")), &body)
        }
        Err(text) => refused(&text),
    };
    let mut response = Response::new(Body::from(answer.to_string()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn parse_body(bytes: &Bytes) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(bytes).map_err(|error| format!("the body is not JSON: {error}"))
}

fn refused(text: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({"error": text, "allowed": &ALLOWED[..]}))
}

/// Answers a control request: verb, path below `/_emulator` and query; and its body.
pub fn control(
    shared: &Shared,
    (method, path, query): (&Method, &str, &str),
    body: &Value,
) -> (StatusCode, Value) {
    let done = match (method.as_str(), path) {
        ("GET", _) => ask(shared, path, query),
        ("POST", _) => set(shared, path, body),
        ("DELETE", _) => delete(shared, path),
        _ => Err(format!("{method} {path} is not known")),
    };
    done.map_or_else(|text| refused(&text), |answer| (StatusCode::OK, answer))
}

fn ask(shared: &Shared, path: &str, query: &str) -> Result<Value, String> {
    let member = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    match path {
        "/resources" => {
            let alive = match member("alive").as_deref() {
                None => None,
                Some("true") => Some(true),
                Some("false") => Some(false),
                Some(other) => return Err(format!("alive is '{other}': true or false")),
            };
            let list = shared.with_model(|model, _| model.history().to_json(alive));
            Ok(json!({ "resources": list }))
        }
        "/calls" => Ok(shared.calls().counts()),
        "/log" => {
            let since = member("since").map_or(Ok(0), |text| {
                text.parse().map_err(|_| format!("since is '{text}': a number"))
            })?;
            Ok(shared.calls().log(since))
        }
        "/delays" => Ok(json!(shared.model().delays())),
        "/faults" => Ok(json!({ "faults": shared.faults().list() })),
        "/time" => Ok(time_json(shared)),
        "/events" => Ok(json!({ "events": shared.model().announcements() })),
        _ => Err(format!("GET {path} is not known")),
    }
}

fn time_json(shared: &Shared) -> Value {
    let now = crate::model::time::control(shared.clock.now());
    json!({"now": now, "scale": shared.clock.scale()})
}

/// An eviction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evict {
    vm: String,
    #[serde(default)]
    notice_s: f64,
}

/// An announcement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Announce {
    kind: EventKind,
    vms: Vec<String>,
    #[serde(default)]
    notice_s: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Boot {
    never: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    advance_ms: Option<Millis>,
    scale: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Graph {
    lag_ms: Millis,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vms {
    vm: String,
    #[serde(default)]
    vanish: bool,
    #[serde(default)]
    leaves: Vec<Leaves>,
}

fn read<T: DeserializeOwned>(body: &Value) -> Result<T, String> {
    serde_json::from_value(body.clone()).map_err(|error| error.to_string())
}

fn set(shared: &Shared, path: &str, body: &Value) -> Result<Value, String> {
    match path {
        "/calls/reset" => {
            shared.calls().reset();
            Ok(json!({}))
        }
        "/capacity" => {
            let room: Room = read(body)?;
            Ok(shared.with_model(|model, _| model.set_room(room)))
        }
        "/quota" => {
            let allowance: Allowance = read(body)?;
            shared.with_model(|model, _| model.set_quota(&allowance));
            Ok(json!(allowance))
        }
        "/delays" => shared.with_model(|model, _| model.change_delays(body)),
        "/habits" => shared.with_model(|model, _| model.change_habits(body)),
        "/offers" => shared.with_model(|model, _| model.change_offers(body)),
        "/rights" => {
            let rights: Rights = read(body)?;
            Ok(shared.with_model(|model, _| model.set_rights(rights)))
        }
        "/subnets" | "/peerings" | "/resources" => set_ground(shared, path, body),
        "/throttle" => shared.with_model(|model, _| model.change_limits(body)),
        "/faults" => {
            let fault: Fault = read(body)?;
            Ok(json!({ "id": shared.faults().add(fault) }))
        }
        "/graph" => {
            let graph: Graph = read(body)?;
            Ok(shared.with_model(|model, _| model.change_graph_lag(graph.lag_ms)))
        }
        "/vault" => {
            shared.vault().put(read(body)?);
            Ok(json!({}))
        }
        "/time" => set_time(shared, &read(body)?),
        "/shutdown" => {
            shared.ending.notify_one();
            Ok(json!({}))
        }
        _ => set_vms(shared, path, body),
    }
}

/// Something that a resource's owner does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owned {
    id: String,
    body: Value,
}

fn set_ground(shared: &Shared, path: &str, body: &Value) -> Result<Value, String> {
    match path {
        "/subnets" => {
            let crowd: Crowd = read(body)?;
            shared.with_model(|model, _| model.crowd(&crowd))
        }
        "/peerings" => {
            let peering: Peering = read(body)?;
            shared.with_model(|model, _| model.peer(&peering))
        }
        "/resources" => {
            let owned: Owned = read(body)?;
            let answer =
                shared.with_model(|model, now| model.put_by_owner(owned.id, owned.body, now));
            answer.map_err(|error| format!("{}: {}", error.code, error.message))
        }
        _ => Err(format!("POST {path} is not known")),
    }
}

fn set_time(shared: &Shared, time: &Time) -> Result<Value, String> {
    if let Some(scale) = time.scale {
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(format!("scale is {scale}: a positive number"));
        }
        shared.clock.set_scale(scale);
    }
    if let Some(by) = time.advance_ms {
        if by < 0 {
            return Err(format!("advance_ms is {by}: time does not go back"));
        }
        shared.clock.advance(by);
    }
    shared.with_model(|_, _| ());
    Ok(time_json(shared))
}

fn set_vms(shared: &Shared, path: &str, body: &Value) -> Result<Value, String> {
    match path {
        "/evict" => {
            let evict: Evict = read(body)?;
            let notice = (evict.notice_s * 1000.0) as Millis;
            shared.with_model(|model, _| model.evict(&evict.vm, notice))?;
            Ok(json!({}))
        }
        "/events" => {
            let asked: Announce = read(body)?;
            let notice = (asked.notice_s * 1000.0) as Millis;
            let id =
                shared.with_model(|model, _| model.announce(asked.kind, &asked.vms, notice))?;
            Ok(json!({ "id": id }))
        }
        "/boot" => {
            let boot: Boot = read(body)?;
            Ok(shared.with_model(|model, _| model.withhold_boot(&boot.never)))
        }
        "/vms" => {
            let vms: Vms = read(body)?;
            match (vms.vanish, vms.leaves.as_slice()) {
                (true, []) => shared.with_model(|model, _| model.vanish(&vms.vm))?,
                (false, parts @ [_, ..]) => {
                    shared.with_model(|model, _| model.leave_behind(&vms.vm, parts))?;
                }
                _ => return Err("either vanish must be true or leaves name parts".to_owned()),
            }
            Ok(json!({}))
        }
        "/seed" => {
            let seed: Seed = read(body)?;
            shared.with_model(|model, now| model.seed(&seed, now))
        }
        _ => Err(format!("POST {path} is not known")),
    }
}

fn delete(shared: &Shared, path: &str) -> Result<Value, String> {
    if path == "/faults" {
        shared.faults().clear();
        return Ok(json!({}));
    }
    if let Some(rest) = path.strip_prefix("/events") {
        let id = rest.strip_prefix('/');
        let gone = shared.with_model(|model, _| model.withdraw(id));
        return match (gone, id) {
            (0, Some(id)) => Err(format!("there is no event {id}")),
            (gone, _) => Ok(json!({ "gone": gone })),
        };
    }
    let id = path.strip_prefix("/faults/").and_then(|id| id.parse().ok());
    match id.map(|id| (id, shared.faults().remove(id))) {
        Some((_, true)) => Ok(json!({})),
        Some((id, false)) => Err(format!("there is no fault {id}")),
        None => Err(format!("DELETE {path} is not known")),
    }
}
