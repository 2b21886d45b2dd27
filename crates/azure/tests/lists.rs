//! Lists and queries, page by page.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use azslurm_azure::{AzureError, VmPower};
use fake::{Do, Fake, answer, limits, refused};
use serde_json::{Value, json};

fn id(name: &str) -> String {
    format!(
        "/subscriptions/S-1/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/{name}"
    )
}

#[tokio::test]
async fn pages_are_followed_as_azure_names_them() {
    let azure = Fake::start().await;
    let next = format!("{}/subscriptions/S-1/odd?%24skiptoken=a%2Fb&api-version=1", azure.url);
    azure.next([
        answer(200, json!({"value": [{"id": id("a")}, {"name": "no id"}], "nextLink": next})),
        answer(200, json!({"value": [{"id": id("b")}, 3], "nextLink": null})),
    ]);
    let listing = azure.arm().list_vms("S-1", "rg").await.unwrap();
    let names: Vec<&str> = listing.items.iter().map(|vm| vm.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(listing.complete);
    assert_eq!((listing.odd, listing.pages), (2, 2));
    let paths: Vec<String> = azure.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(
        paths[0],
        "/subscriptions/S-1/resourceGroups/rg\
         /providers/Microsoft.Compute/virtualMachines?api-version=2024-07-01"
    );
    assert_eq!(paths[1], "/subscriptions/S-1/odd?%24skiptoken=a%2Fb&api-version=1");
}

#[tokio::test]
async fn a_list_that_breaks_off_says_so() {
    let azure = Fake::start().await;
    let page = |next: String| answer(200, json!({"value": [{"id": id("a")}], "nextLink": next}));
    let good = format!("{}/2", azure.url);
    let first = format!(
        "{}/subscriptions/S-1/resourceGroups/rg\
         /providers/Microsoft.Compute/virtualMachines?api-version=2024-07-01",
        azure.url
    );
    for script in [
        vec![page(good.clone()), refused(500, "A")],
        vec![page(good.clone()), refused(403, "AuthorizationFailed")],
        vec![page(good.clone()), Do::Hang],
        vec![page(good.clone()), answer(200, json!({}))],
        vec![page(good), Do::Answer(200, vec![], "<html>".into())],
        vec![page("https://evil.example/".into())],
        vec![page(first)],
    ] {
        azure.next(script.clone());
        let arm = azure.arm_with(azslurm_core::config::Limits { tries: 1, ..limits() });
        let listing = arm.list_vms("S-1", "rg").await.unwrap();
        assert!(!listing.complete, "{script:?}");
        assert!(listing.incomplete_because.is_some());
        assert_eq!(listing.items.len(), 1);
    }
}

#[tokio::test]
async fn a_list_that_is_refused_is_not_empty_but_incomplete() {
    let azure = Fake::start().await;
    azure.next([refused(403, "AuthorizationFailed")]);
    let listing = azure.arm().list_vms("S-1", "rg").await.unwrap();
    assert!(!listing.complete && listing.items.is_empty());
    assert_eq!(listing.refusal.unwrap().code, "AuthorizationFailed");
    azure.next([Do::Answer(200, vec![], "<html>".into())]);
    let error = azure.arm().list_vms("S-1", "rg").await.unwrap_err();
    assert!(matches!(error, AzureError::Body { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_left_is_listed_with_its_owner() {
    let azure = Fake::start().await;
    azure.next([
        answer(
            200,
            json!({"value": [
                {"id": "/nics/n", "properties": {"virtualMachine": {"id": "/vms/v"}}}
            ]}),
        ),
        answer(
            200,
            json!({"value": [{"id": "/disks/d", "managedBy": "/vms/v", "tags": {"a": "b"}}]}),
        ),
    ]);
    let arm = azure.arm();
    let nics = arm.list_nics("S-1", "rg").await.unwrap();
    let disks = arm.list_disks("S-1", "rg").await.unwrap();
    assert_eq!(nics.items[0].managed_by.as_deref(), Some("/vms/v"));
    assert_eq!((disks.items[0].name.as_str(), disks.items[0].tags["a"].as_str()), ("d", "b"));
    assert_eq!(arm.calls().get, 2);
}

fn row(name: &str) -> Value {
    json!({"id": id(name), "name": name, "tags": {"azslurm-cluster": "c", "azslurm-node": name},
        "prov": "Succeeded", "power": "PowerState/running", "resourceGroup": "rg"})
}

#[tokio::test]
async fn a_query_is_read_to_its_end_once_and_in_order() {
    let azure = Fake::start().await;
    azure.next([
        answer(
            200,
            json!({"totalRecords": 3, "count": 2, "resultTruncated": "false", "$skipToken": "t==",
            "data": [row("b"), row("a")]}),
        ),
        answer(200, json!({"totalRecords": 4, "count": 2, "data": [row("c"), row("B")]})),
    ]);
    let subscriptions = ["S-1".to_owned()];
    let arm = azure.arm();
    let listing = arm.query_vms(&subscriptions, &"c".parse().unwrap(), None).await.unwrap();
    assert!(listing.complete, "{listing:?}");
    let names: Vec<&str> = listing.items.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"], "ids have no case");
    assert_eq!(listing.items[0].power, Some(VmPower::Running));
    assert_eq!(listing.items[0].node.as_ref().unwrap().as_str(), "a");
    let seen = azure.seen();
    assert_eq!(seen[0].path, "/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01");
    let (first, second) = (seen[0].json(), seen[1].json());
    assert_eq!(first["subscriptions"], json!(["S-1"]));
    assert_eq!(first["options"], json!({"resultFormat": "objectArray", "$top": 1000}));
    assert_eq!(second["options"]["$skipToken"], "t==");
    assert_eq!(first["query"], second["query"]);
    assert_eq!(arm.calls().post, 2);
}

#[tokio::test]
async fn a_query_that_breaks_off_says_so() {
    let azure = Fake::start().await;
    let page = || {
        answer(
            200,
            json!({"totalRecords": 3, "count": 2, "$skipToken": "t", "data": [row("b"), row("a")]}),
        )
    };
    for script in [
        vec![page(), refused(500, "A")],
        vec![page(), answer(200, json!({"totalRecords": 3, "count": 0, "data": []}))],
        vec![page(), answer(200, json!({"totalRecords": 2, "count": 0, "data": []}))],
        vec![refused(403, "AuthorizationFailed")],
    ] {
        azure.next(script.clone());
        let arm = azure.arm_with(azslurm_core::config::Limits { tries: 1, ..limits() });
        let listing =
            arm.query_vms(&["S-1".to_owned()], &"c".parse().unwrap(), None).await.unwrap();
        assert!(!listing.complete, "{script:?}");
    }
}

#[tokio::test]
async fn many_nodes_are_asked_for_in_parts_and_none_not_at_all() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    let cluster = "c".parse().unwrap();
    let all = ["S-1".to_owned()];
    let none = arm.query_vms(&all, &cluster, Some(&[])).await.unwrap();
    assert!(none.complete && none.items.is_empty() && azure.seen().is_empty());
    let nowhere = arm.query_vms(&[], &cluster, None).await.unwrap();
    assert!(nowhere.complete && azure.seen().is_empty());
    azure.next((0..2).map(|_| answer(200, json!({"totalRecords": 0, "count": 0, "data": []}))));
    let nodes: Vec<_> = (0..501).map(|number| format!("n{number}").parse().unwrap()).collect();
    let listing = arm.query_vms(&all, &cluster, Some(&nodes)).await.unwrap();
    assert!(listing.complete);
    assert_eq!(azure.seen().len(), 2);
    assert!(azure.seen()[1].json()["query"].as_str().unwrap().contains("in ('n500')"));
}
