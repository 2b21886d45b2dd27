//! Injected faults, and the control interface that sets them.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{setup, vm_body};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn put_fault(kind: &str) -> Value {
    json!({"method": "PUT", "path_contains": "/virtualMachines/", "kind": kind})
}

#[tokio::test]
async fn a_connection_dropped_before_the_effect_has_none() {
    let setup = setup();
    setup.control("/faults", &put_fault("drop-before"));
    setup.try_send("PUT", &setup.vm("a"), Some(&vm_body("a"))).await.unwrap_err();
    assert_eq!(setup.get(&setup.vm("a")).await.status, 404);
    assert_eq!(setup.put_vm("a").await.status, 201);
}

#[tokio::test]
async fn a_connection_dropped_after_the_effect_has_one() {
    let setup = setup();
    setup.control("/faults", &put_fault("drop-after"));
    setup.try_send("PUT", &setup.vm("a"), Some(&vm_body("a"))).await.unwrap_err();
    assert_eq!(setup.get(&setup.vm("a")).await.status, 200);
    let log = setup.emulator.get("/log", "since=0").unwrap();
    let dropped = &log["entries"][0];
    assert_eq!((&dropped["status"], &dropped["effect"]), (&json!(0), &json!("vm a accepted")));
}

#[tokio::test]
async fn not_one_byte_comes_over_a_dropped_connection() {
    let setup = setup();
    setup.control("/faults", &json!({"kind": "drop-before", "times": 1}));
    let address = setup.emulator.urls().arm_http.trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /subscriptions HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    let end = stream.read_to_end(&mut received).await;
    assert!(received.is_empty(), "{received:?}");
    assert!(end.is_ok() || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_dropped_connection_breaks_over_https_too() {
    let setup = setup();
    setup.control("/faults", &put_fault("drop-after"));
    let urls = setup.emulator.urls();
    let url = setup.vm("a").replace(&urls.arm_http, &urls.arm_https);
    setup.try_send("PUT", &url, Some(&vm_body("a"))).await.unwrap_err();
    assert_eq!(setup.get(&setup.vm("a")).await.status, 200);
}

#[tokio::test]
async fn a_lost_answer_has_its_effect_and_never_comes() {
    let setup = setup();
    setup.control("/faults", &put_fault("lost-answer"));
    let (url, body) = (setup.vm("a"), vm_body("a"));
    let sent = setup.send("PUT", &url, Some(&body));
    let waited = tokio::time::timeout(Duration::from_millis(300), sent).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(setup.get(&setup.vm("a")).await.status, 200);
}

#[tokio::test]
async fn a_given_answer_comes_instead_as_often_as_told() {
    let setup = setup();
    let fault = json!({"path_contains": "/VIRTUALMACHINES/a", "status": 503, "times": 2, "skip": 1,
                       "headers": {"Retry-After": 7},
                       "body": {"error": {"code": "ServerTimeout", "message": "busy"}}});
    let id = setup.control("/faults", &fault)["id"].as_u64().unwrap();
    assert_eq!(setup.put_vm("a").await.status, 201);
    let answer = setup.get(&setup.vm("a")).await;
    assert_eq!(
        (answer.status, answer.code(), answer.header("retry-after")),
        (503, "ServerTimeout", "7")
    );
    let list = setup.emulator.get("/faults", "").unwrap();
    assert_eq!((&list["faults"][0]["id"], &list["faults"][0]["times"]), (&json!(id), &json!(1)));
    let url = format!("{}/faults/{id}", setup.emulator.urls().control);
    assert_eq!(setup.send("DELETE", &url, None).await.status, 200);
    assert_eq!(setup.get(&setup.vm("a")).await.status, 200);
}

#[tokio::test]
async fn a_latency_alone_is_a_delay() {
    let setup = setup();
    setup.control("/faults", &json!({"method": "PUT", "latency_ms": 50}));
    let began = std::time::Instant::now();
    assert_eq!(setup.put_vm("a").await.status, 201);
    assert!(began.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn an_operation_fails_with_the_error_that_was_given() {
    let setup = setup();
    let mut fault = put_fault("fail-operation");
    fault["body"] = json!({"code": "OverconstrainedAllocationRequest", "message": "too much"});
    setup.control("/faults", &fault);
    let created = setup.put_vm("a").await;
    assert_eq!(created.status, 201);
    let end = setup.end_of(&created).await;
    assert_eq!(end["error"]["code"], "OverconstrainedAllocationRequest");
    assert_eq!(setup.get(&setup.vm("a")).await.body["properties"]["provisioningState"], "Failed");
}

#[tokio::test]
async fn token_routes_meet_faults_and_are_counted() {
    let setup = setup();
    setup.control("/faults", &json!({"path_contains": "/metadata/", "status": 410}));
    let base = setup.emulator.urls().imds.clone();
    let url = format!(
        "{base}/metadata/identity/oauth2/token?api-version=2018-02-01\
         &resource=https%3A%2F%2Fmanagement.azure.com%2F"
    );
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let request = setup.client.get(&url).header("Metadata", "true");
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [410, 200]);
    let calls = setup.emulator.get("/calls", "").unwrap();
    assert_eq!(calls["total"], 2);
    setup.control("/calls/reset", &json!({}));
    assert_eq!(setup.emulator.get("/calls", "").unwrap()["total"], 0);
}

#[tokio::test]
async fn a_wrong_control_request_is_told_what_is_allowed() {
    let setup = setup();
    let base = setup.emulator.urls().control.clone();
    let wrong = [
        ("/faults", json!({"kind": "explode"}), "lost-answer"),
        ("/delays", json!({"vm_creat_ms": 1}), "vm_create_ms"),
        ("/capacity", json!({"region": "x"}), "sku"),
        ("/time", json!({"advance_ms": -1}), "does not go back"),
        ("/evict", json!({"vm": "nobody"}), "nobody"),
        ("/nothing", json!({}), "not known"),
    ];
    for (path, body, word) in wrong {
        let answer = setup.send("POST", &format!("{base}{path}"), Some(&body)).await;
        assert_eq!(answer.status, 400, "{path}");
        let text = answer.body["error"].as_str().unwrap();
        assert!(text.contains(word), "{path}: {text}");
        assert!(answer.body["allowed"].as_array().unwrap().len() > 10);
    }
}
