//! Scheduled events, as a VM gets them from its metadata service.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use serde_json::{Value, json};
use support::{SUBSCRIPTION, Setup, setup, until, vm_body};

const NEWEST: &str = "2020-07-01";

impl Setup {
    async fn metadata(&self, vm: &str, rest: &str) -> (u16, Value) {
        let url = format!("{}/vm/{vm}/metadata/{rest}", self.emulator.urls().imds);
        let answer = self.client.get(url).header("Metadata", "true").send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn events(&self, vm: &str, version: &str) -> Vec<Value> {
        let (status, body) =
            self.metadata(vm, &format!("scheduledevents?api-version={version}")).await;
        assert_eq!(status, 200, "{body}");
        body["Events"].as_array().unwrap().clone()
    }

    async fn acknowledge(&self, vm: &str, id: &Value) -> u16 {
        let url = format!(
            "{}/vm/{vm}/metadata/scheduledevents?api-version={NEWEST}",
            self.emulator.urls().imds
        );
        let body = json!({"StartRequests": [{"EventId": id}]});
        let request = self.client.post(url).header("Metadata", "true").json(&body);
        request.send().await.unwrap().status().as_u16()
    }

    async fn put(&self, name: &str, body: &Value) {
        let created = self.send("PUT", &self.vm(name), Some(body)).await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(self.end_of(&created).await["status"], "Succeeded");
    }

    async fn power(&self, name: &str) -> String {
        let url = self.vm(name).replace('?', "/instanceView?");
        let answer = self.get(&url).await;
        let statuses = answer.body["statuses"].as_array().cloned().unwrap_or_default();
        let power = statuses.iter().filter_map(|one| one["code"].as_str());
        power.filter(|code| code.starts_with("PowerState/")).collect()
    }
}

fn spot(name: &str) -> Value {
    let mut body = vm_body(name);
    body["properties"]["priority"] = json!("Spot");
    body["properties"]["evictionPolicy"] = json!("Delete");
    body
}

#[tokio::test]
async fn an_eviction_with_notice_is_announced_to_its_vm_and_happens_then() {
    let setup = setup();
    setup.put("a", &spot("node-a")).await;
    setup.put("b", &vm_body("node-b")).await;
    setup.control("/evict", &json!({"vm": "a", "notice_s": 3600}));
    let events = setup.events("a", NEWEST).await;
    assert_eq!(
        (&events[0]["EventType"], &events[0]["EventStatus"]),
        (&json!("Preempt"), &json!("Scheduled"))
    );
    assert_eq!(events[0]["Resources"], json!(["a"]));
    assert!(events[0]["NotBefore"].as_str().unwrap().ends_with(" GMT"));
    assert_eq!(setup.events("b", NEWEST).await, Vec::<Value>::new());
    assert_eq!(setup.get(&setup.vm("a")).await.status, 200);
    setup.control("/time", &json!({"advance_ms": 3_600_000}));
    until("the eviction", || setup.emulator.alive("Microsoft.Compute/virtualMachines").len() == 1)
        .await;
    assert_eq!(setup.emulator.get("/events", "").unwrap()["events"], json!([]));
}

#[tokio::test]
async fn an_acknowledged_event_begins_at_once_and_an_unknown_one_is_refused() {
    let setup = setup();
    setup.put("a", &spot("node-a")).await;
    setup.control("/evict", &json!({"vm": "node-a", "notice_s": 3600}));
    let id = setup.events("a", NEWEST).await[0]["EventId"].clone();
    assert_eq!(setup.acknowledge("a", &json!("other")).await, 400);
    assert_eq!(setup.get(&setup.vm("a")).await.status, 200);
    assert_eq!(setup.acknowledge("a", &id).await, 200);
    until("the eviction", || setup.emulator.alive("Microsoft.Compute/virtualMachines").is_empty())
        .await;
}

#[tokio::test]
async fn a_simulated_eviction_is_announced() {
    let setup = setup();
    setup.control("/delays", &json!({"eviction_ms": 3_600_000}));
    setup.put("a", &spot("node-a")).await;
    let url = setup.vm("a").replace('?', "/simulateEviction?");
    assert_eq!(setup.send("POST", &url, None).await.status, 204);
    assert_eq!(setup.events("a", NEWEST).await[0]["EventType"], "Preempt");
}

#[tokio::test]
async fn every_vm_of_an_availability_set_sees_the_events_of_all() {
    let setup = setup();
    let set = setup.url("Microsoft.Compute/availabilitySets/block");
    let body = json!({"location": "westeurope", "sku": {"name": "Aligned"},
        "properties": {"platformFaultDomainCount": 1, "platformUpdateDomainCount": 1}});
    assert_eq!(setup.send("PUT", &set, Some(&body)).await.status, 200);
    let id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc/providers/Microsoft.Compute\
         /availabilitySets/block"
    );
    for name in ["a", "b"] {
        let mut body = vm_body(name);
        body["properties"]["availabilitySet"] = json!({ "id": id });
        setup.put(name, &body).await;
    }
    setup.put("c", &vm_body("c")).await;
    setup.control("/events", &json!({"kind": "Reboot", "vms": ["a"], "notice_s": 900}));
    assert_eq!(setup.events("b", NEWEST).await[0]["Resources"], json!(["a"]));
    assert_eq!(setup.events("c", NEWEST).await, Vec::<Value>::new());
}

#[tokio::test]
async fn events_have_the_members_of_the_version_that_was_asked_for() {
    let setup = setup();
    setup.put("a", &vm_body("a")).await;
    setup.control("/events", &json!({"kind": "Freeze", "vms": ["a"], "notice_s": 900}));
    for (version, name, members) in
        [("2017-03-01", "_a", 6), ("2017-08-01", "a", 6), ("2019-08-01", "a", 8), (NEWEST, "a", 9)]
    {
        let events = setup.events("a", version).await;
        assert_eq!(events[0]["Resources"], json!([name]), "{version}");
        assert_eq!(events[0].as_object().unwrap().len(), members, "{version}");
    }
    let (status, body) = setup.metadata("a", "scheduledevents?api-version=2016-01-01").await;
    assert_eq!((status, &body["newest-versions"][0]), (400, &json!(NEWEST)));
}

#[tokio::test]
async fn a_restart_begins_runs_and_disappears_and_an_event_may_vanish_without_anything() {
    let setup = setup();
    setup.put("a", &vm_body("a")).await;
    let reboot = json!({"kind": "Reboot", "vms": ["a"], "notice_s": 900});
    let id = setup.control("/events", &reboot)["id"].clone();
    assert_eq!(setup.acknowledge("a", &id).await, 200);
    until("the end of the restart", || {
        setup.emulator.get("/events", "").unwrap()["events"] == json!([])
    })
    .await;
    assert_eq!(setup.power("a").await, "PowerState/running");
    setup.control("/events", &reboot);
    let url = format!("{}/events", setup.emulator.urls().control);
    assert_eq!(setup.send("DELETE", &url, None).await.body["gone"], 1);
    assert_eq!(setup.events("a", NEWEST).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_request_that_azure_refuses_is_refused_and_faults_are_met() {
    let setup = setup();
    setup.put("a", &vm_body("node-a")).await;
    let (status, body) = setup.metadata("a", "instance?api-version=2021-02-01").await;
    assert_eq!((status, &body["compute"]["name"]), (200, &json!("a")));
    assert_eq!(body["compute"]["osProfile"]["computerName"], "node-a");
    assert_eq!(setup.metadata("nobody", "instance?api-version=2021-02-01").await.0, 404);
    assert_eq!(setup.metadata("a", "instance").await.0, 400);
    let base = setup.emulator.urls().imds.clone();
    let url = format!("{base}/vm/a/metadata/scheduledevents?api-version={NEWEST}");
    assert_eq!(setup.client.get(&url).send().await.unwrap().status(), 400);
    let proxied = setup.client.get(&url).header("Metadata", "true");
    let proxied = proxied.header("X-Forwarded-For", "10.0.0.1").send().await.unwrap();
    assert_eq!(proxied.status(), 400);
    setup.control("/faults", &json!({"path_contains": "/vm/a/", "status": 410}));
    let asked = format!("scheduledevents?api-version={NEWEST}");
    assert_eq!(setup.metadata("a", &asked).await.0, 410);
    assert_eq!(setup.metadata("a", &asked).await.0, 200);
}
