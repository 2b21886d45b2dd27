//! Resource Manager over HTTP: tokens, operations, pages, limits, refusals, time.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use azslurm_arm_emulator::Options;
use serde_json::{Value, json};
use support::{SUBSCRIPTION, VERSION, setup, setup_with, vm_body};

#[tokio::test]
async fn nobody_is_served_without_a_token() {
    let setup = setup();
    let response = setup.client.get(setup.vm("a")).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("www-authenticate"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "AuthenticationFailed");
}

#[tokio::test]
async fn a_token_of_the_authority_opens_resource_manager_over_https() {
    use azslurm_arm_emulator::identity::{CLIENT_ID, CLIENT_SECRET, TENANT};
    let setup = setup();
    let urls = setup.emulator.urls();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", CLIENT_ID)
        .append_pair("client_secret", CLIENT_SECRET)
        .append_pair("scope", "https://management.azure.com/.default")
        .finish();
    let token_url = format!("{}/{TENANT}/oauth2/v2.0/token", urls.authority);
    let request = setup.client.post(token_url).body(form);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let url = setup.vm("a").replace(&urls.arm_http, &urls.arm_https);
    let put = setup.client.put(url).bearer_auth(token).json(&vm_body("a"));
    let response = put.send().await.unwrap();
    assert_eq!(response.status(), 201);
    // Links lead back the way the call came.
    let operation = response.headers()["azure-asyncoperation"].to_str().unwrap();
    assert!(operation.starts_with(&urls.arm_https), "{operation}");
}

#[tokio::test]
async fn an_operation_has_all_headers_and_both_ways_to_be_followed() {
    let setup = setup_with(Options::default());
    // Long enough that nothing ends before time is moved.
    setup.control("/delays", &json!({"vm_create_ms": 3_600_000, "vm_delete_ms": 3_600_000}));
    let hour = json!({"advance_ms": 3_600_000});
    let created = setup.put_vm("a").await;
    assert_eq!((created.status, created.header("retry-after")), (201, "10"));
    assert_eq!(created.header("x-ms-ratelimit-remaining-subscription-writes"), "199");
    let remaining = created.header("x-ms-ratelimit-remaining-resource").to_owned();
    assert!(remaining.starts_with("Microsoft.Compute/PutVMSubscriptionMaximum;"), "{remaining}");
    assert_eq!(created.header("x-ms-request-id").len(), 36);
    let url = created.header("azure-asyncoperation").to_owned();
    let first = setup.get(&url).await;
    assert_eq!(
        (first.body["status"].as_str(), first.header("retry-after")),
        (Some("InProgress"), "35")
    );
    assert_eq!(setup.get(&url).await.header("retry-after"), "");
    // The opaque part of the URL must come back unchanged.
    let (before, rest) = url.split_once("?p=").unwrap();
    let changed = format!("{before}?p=0{}", &rest[1..]);
    if changed != url {
        assert_eq!(setup.get(&changed).await.status, 404);
    }
    setup.control("/time", &hour);
    assert_eq!(setup.end_of(&created).await["status"], "Succeeded");
    let deleted = setup.send("DELETE", &setup.vm("a"), None).await;
    let location = deleted.header("location").to_owned();
    assert_eq!((deleted.status, setup.get(&location).await.status), (202, 202));
    setup.control("/time", &hour);
    assert_eq!(setup.end_of(&deleted).await["status"], "Succeeded");
    assert_eq!(setup.get(&location).await.status, 204);
}

#[tokio::test]
async fn pages_are_followed_by_their_links() {
    let mut options = Options::default();
    options.config.habits.page_size = 3;
    options.config.throttle.enforce = false;
    let setup = setup_with(options);
    for n in 0..7 {
        assert_eq!(setup.put_vm(&format!("n{n}")).await.status, 201);
    }
    let base = &setup.emulator.urls().arm_http;
    let everywhere = "providers/Microsoft.Compute/virtualMachines";
    let region = "providers/Microsoft.Compute/locations/westeurope/virtualMachines";
    let group = "resourceGroups/hpc/providers/Microsoft.Compute/virtualMachines";
    for list in [everywhere, region, group] {
        let mut next = Some(format!("{base}/subscriptions/{SUBSCRIPTION}/{list}?{VERSION}"));
        let (mut found, mut pages) = (0, 0);
        while let Some(url) = next.take() {
            let page = setup.get(&url).await;
            assert_eq!(page.status, 200);
            found += page.body["value"].as_array().unwrap().len();
            pages += 1;
            next = page.body["nextLink"].as_str().map(str::to_owned);
        }
        assert_eq!((found, pages), (7, 3), "{list}");
    }
    let status =
        format!("{base}/subscriptions/{SUBSCRIPTION}/{everywhere}?{VERSION}&statusOnly=true");
    let row = &setup.get(&status).await.body["value"][0];
    assert!(row["properties"]["instanceView"]["statuses"].is_array());
    assert!(row.get("tags").is_none());
}

#[tokio::test]
async fn throttles_are_told_in_both_shapes_and_end_with_time() {
    let setup = setup();
    let limits = json!({"enforce": true, "arm_writes": {"max": 2, "refill_per_s": 0.1}});
    setup.control("/throttle", &limits);
    for name in ["a", "b"] {
        assert_eq!(setup.put_vm(name).await.status, 201);
    }
    let refused = setup.put_vm("c").await;
    assert_eq!((refused.status, refused.code()), (429, "SubscriptionRequestsThrottled"));
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!(wait > 0);
    setup.control("/time", &json!({"advance_ms": wait * 1000}));
    assert_eq!(setup.put_vm("c").await.status, 201);

    let size = json!({"PutVM": {"max": 0, "refill_per_s": 0.01}});
    setup.control(
        "/throttle",
        &json!({"arm_writes": {"max": 99, "refill_per_s": 9}, "compute": size}),
    );
    let refused = setup.put_vm("d").await;
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("OperationNotAllowed")));
    let detail = &refused.body["details"][0];
    assert_eq!(detail["code"], "TooManyRequests");
    let numbers: Value = serde_json::from_str(detail["message"].as_str().unwrap()).unwrap();
    assert_eq!(numbers["operationGroup"], "PutVMSubscriptionMaximum");
    setup.control("/throttle", &json!({"enforce": false}));
    assert_eq!(setup.put_vm("d").await.status, 201);
}

#[tokio::test]
async fn capacity_and_quota_refuse_in_azures_words() {
    let setup = setup();
    let room = json!({"region": "westeurope", "sku": "Standard_D2s_v5", "vms": 0});
    setup.control("/capacity", &room);
    let early = setup.put_vm("a").await;
    assert_eq!((early.status, early.code()), (409, "SkuNotAvailable"));
    let mut late = room.clone();
    late["late"] = json!(true);
    setup.control("/capacity", &late);
    let accepted = setup.put_vm("a").await;
    assert_eq!(accepted.status, 201);
    let end = setup.end_of(&accepted).await;
    assert_eq!(
        (&end["status"], &end["error"]["code"]),
        (&json!("Failed"), &json!("AllocationFailed"))
    );
    assert_eq!(setup.get(&setup.vm("a")).await.body["properties"]["provisioningState"], "Failed");
    let mut free = room;
    free["vms"] = Value::Null;
    setup.control("/capacity", &free);
    setup.control("/quota", &json!({"region": "westeurope", "name": "cores", "limit": 3}));
    let refused = setup.put_vm("b").await;
    assert_eq!((refused.status, refused.code()), (409, "OperationNotAllowed"));
    let text = refused.body["error"]["message"].as_str().unwrap();
    assert!(text.contains("exceeding approved Total Regional Cores quota"), "{text}");
    assert!(text.contains("Current Limit: 3, Current Usage: 2, Additional Required: 2"), "{text}");
}

#[tokio::test]
async fn time_moves_on_request() {
    let setup = setup();
    setup.control("/delays", &json!({"vm_create_ms": 3_600_000}));
    let created = setup.put_vm("a").await;
    let url = created.header("azure-asyncoperation").to_owned();
    assert_eq!(setup.get(&url).await.body["status"], "InProgress");
    setup.control("/time", &json!({"advance_ms": 3_600_001}));
    assert_eq!(setup.get(&url).await.body["status"], "Succeeded");
}

#[tokio::test]
async fn bad_bodies_and_paths_are_refused_in_the_envelope() {
    let setup = setup();
    let url = setup.vm("a").replace(VERSION, "api-version=2020-13-01");
    assert_eq!(setup.get(&url).await.code(), "NoRegisteredProviderFound");
    let url = setup.vm("a").replace(VERSION, "");
    assert_eq!(setup.get(&url).await.code(), "MissingApiVersionParameter");
    let url = setup.vm("a").replace("/hpc/", "/nowhere/");
    assert_eq!(setup.get(&url).await.code(), "ResourceGroupNotFound");
    let url = setup.vm("a").replace(SUBSCRIPTION, "11111111-0000-0000-0000-000000000000");
    assert_eq!(setup.get(&url).await.code(), "SubscriptionNotFound");
    let broken = setup.client.put(setup.vm("a")).bearer_auth(setup.emulator.token()).body("{");
    assert_eq!(broken.send().await.unwrap().status(), 400);
    let zones = json!({"location": "westeurope", "zones": ["9"], "properties": {}});
    assert_eq!(setup.send("PUT", &setup.vm("a"), Some(&zones)).await.status, 400);
}

#[tokio::test]
async fn a_thousand_puts_at_once_are_all_accepted() {
    let setup = setup();
    setup.control("/delays", &json!({"vm_create_ms": 0}));
    let puts = (0..1000).map(|n| {
        let (url, body) = (setup.vm(&format!("n{n}")), vm_body(&format!("n{n}")));
        let setup = &setup;
        async move { setup.send("PUT", &url, Some(&body)).await.status }
    });
    let began = std::time::Instant::now();
    let mut statuses = Vec::new();
    let mut all = futures::stream::FuturesUnordered::from_iter(puts);
    while let Some(status) = futures::StreamExt::next(&mut all).await {
        statuses.push(status);
    }
    println!("1000 PUTs in {:?}", began.elapsed());
    assert_eq!(statuses, vec![201; 1000]);
    assert_eq!(setup.emulator.alive("Microsoft.Compute/virtualMachines").len(), 1000);
    let calls = setup.emulator.get("/calls", "").unwrap();
    assert_eq!(calls["total"], 1000);
}
