//! Quotas and sizes, page by page.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod emulator;
#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use azslurm_azure::{Answer, AzureError};
use azslurm_core::config::{Limits, Sku};
use azslurm_core::facts::{QUOTA_CORES, QUOTA_SPOT_CORES, SkuFacts};
use emulator::{place, region};
use fake::{Do, Fake, answer, limits, refused};
use serde_json::{Value, json};

fn sku(name: &str) -> Sku {
    Sku::new(name).unwrap()
}

#[tokio::test]
async fn the_quotas_of_a_region_are_read() {
    let (emulator, arm) = emulator::start();
    let quota = json!({"region": "westeurope", "name": "standardHBv3Family", "limit": 240});
    emulator.post("/quota", &quota).unwrap();
    let reply = arm.usages(&place().subscription, &region()).await.unwrap();
    let Answer::Done(usages) = reply.answer else { panic!("{:?}", reply.answer) };
    let of = |name: &str| usages.iter().find(|usage| usage.name.eq_ignore_ascii_case(name));
    let family = of("standardHBv3Family").unwrap();
    assert_eq!((family.used, family.limit), (0, 240));
    assert!(of(QUOTA_CORES).is_some() && of(QUOTA_SPOT_CORES).is_some());
}

#[tokio::test]
async fn the_sizes_of_a_region_are_read() {
    let (_emulator, arm) = emulator::start();
    let reply = arm.sku_facts(&place().subscription, &region()).await.unwrap();
    let Answer::Done(sizes) = reply.answer else { panic!("{:?}", reply.answer) };
    let hb = SkuFacts {
        family: "standardHBv3Family".into(),
        vcpus: 120,
        is_rdma: true,
        is_offered: true,
    };
    assert_eq!(sizes[&sku("Standard_HB120rs_v3")], hb);
    assert_eq!(sizes[&sku("Standard_HB120-16rs_v3")], hb, "quota counts the whole size");
    let plain = &sizes[&sku("Standard_D4s_v5")];
    assert_eq!((plain.vcpus, plain.is_rdma, plain.is_offered), (4, false, true));
    assert!(!sizes[&sku("Standard_HB60rs")].is_offered, "a retired size is restricted");
    assert_eq!(sizes.len(), azslurm_arm_emulator::catalog::skus().len());
}

#[tokio::test]
async fn a_size_is_read_with_all_that_is_configured_by_it() {
    let (_emulator, arm) = emulator::start();
    let reply = arm.sizes(&place().subscription, &region()).await.unwrap();
    let Answer::Done(sizes) = reply.answer else { panic!("{:?}", reply.answer) };
    let of = |name: &str| sizes.iter().find(|size| size.name == name).unwrap();
    let hb = of("Standard_HB120-16rs_v3");
    assert_eq!((hb.vcpus, hb.vcpus_available, hb.threads_per_core), (120, 16, 1));
    assert_eq!((hb.memory_mb, hb.is_rdma, hb.gpus), (456 * 1024, true, 0));
    assert_eq!((hb.architecture.as_str(), hb.is_spot_capable), ("x64", true));
    assert_eq!(hb.shape(), (2, 8, 1));
    assert!(hb.ephemeral_mb["ResourceDisk"] > 100 * 1024, "{:?}", hb.ephemeral_mb);
    let plain = of("Standard_D4s_v5");
    assert_eq!((plain.shape(), plain.zones.len()), ((1, 2, 2), 3));
    assert!(plain.ephemeral_mb.is_empty() && plain.zones_restricted.is_empty());
    assert!(!of("Standard_HB60rs").is_offered);
}

fn usage(name: &str, used: i64) -> Value {
    json!({"unit": "Count", "currentValue": used, "limit": 9, "name": {"value": name}})
}

#[tokio::test]
async fn pages_are_followed_and_an_odd_row_costs_itself_alone() {
    let azure = Fake::start().await;
    let next = format!("{}/odd?%24skiptoken=a%2Fb", azure.url);
    azure.next([
        answer(
            200,
            json!({"value": [usage("b", 1), {"name": 3}, usage("c", -1)], "nextLink": next}),
        ),
        answer(200, json!({"value": [3, usage("a", 2)], "nextLink": ""})),
    ]);
    let reply = azure.arm().usages("S-1", &region()).await.unwrap();
    let Answer::Done(usages) = reply.answer else { panic!("{:?}", reply.answer) };
    let seen: Vec<_> = usages.iter().map(|usage| (usage.name.as_str(), usage.used)).collect();
    assert_eq!(seen, [("b", 1), ("a", 2)]);
    let paths: Vec<String> = azure.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths[1], "/odd?%24skiptoken=a%2Fb");
}

fn size(name: &str, restrictions: &Value) -> Value {
    json!({"resourceType": "virtualMachines", "name": name, "family": "f",
        "locations": ["westeurope"], "restrictions": restrictions,
        "capabilities": [{"name": "vCPUs", "value": "4"}]})
}

#[tokio::test]
async fn what_is_no_vm_size_is_left_out() {
    let azure = Fake::start().await;
    let next = format!("{}/2", azure.url);
    let not_here = json!([{"type": "Location"}]);
    azure.next([
        answer(
            200,
            json!({"nextLink": next, "value": [{"resourceType": "disks", "name": "Premium_LRS"},
                size("Standard_A", &json!([])), size("Standard_B", &not_here), {"name": 3}]}),
        ),
        answer(
            200,
            json!({"value": [size("Standard_A", &not_here), size("Standard_B", &json!([]))]}),
        ),
    ]);
    let reply = azure.arm().sku_facts("S-1", &region()).await.unwrap();
    let Answer::Done(sizes) = reply.answer else { panic!("{:?}", reply.answer) };
    let names: Vec<&str> = sizes.keys().map(Sku::as_str).collect();
    assert_eq!(names, ["Standard_A", "Standard_B"]);
    assert!(sizes.values().all(|facts| facts.is_offered), "one row that offers it is enough");
    assert_eq!(
        azure.seen()[0].path,
        "/subscriptions/S-1/providers/Microsoft.Compute/skus\
         ?api-version=2021-07-01&$filter=location%20eq%20%27westeurope%27"
    );
}

#[tokio::test]
async fn a_list_that_breaks_off_is_none() {
    let azure = Fake::start().await;
    let arm = azure.arm_with(Limits { tries: 1, ..limits() });
    let page = |next: &str| answer(200, json!({"value": [usage("a", 1)], "nextLink": next}));
    let good = format!("{}/2", azure.url);
    let first = format!(
        "{}/subscriptions/S-1/providers/Microsoft.Compute/locations/westeurope/usages\
         ?api-version=2024-07-01",
        azure.url
    );
    for (script, is_refused) in [
        (vec![refused(403, "AuthorizationFailed")], true),
        (vec![page(&good), refused(403, "AuthorizationFailed")], true),
        (vec![page(&good), refused(500, "A")], true),
        (vec![page(&good), Do::Cut], false),
        (vec![page(&good), answer(200, json!({}))], false),
        (vec![page(&good), Do::Answer(200, vec![], "{\"value\": [1".into())], false),
        (vec![page("https://evil.example/")], false),
        (vec![page(&first)], false),
        (vec![page(&good); 101], false),
    ] {
        let azure_says = script.len();
        azure.next(script);
        match arm.usages("S-1", &region()).await {
            Ok(reply) => assert!(is_refused && matches!(reply.answer, Answer::Refused(_))),
            Err(AzureError::Body { .. } | AzureError::Lost { .. }) => assert!(!is_refused),
            Err(error) => panic!("{azure_says} answers: {error:?}"),
        }
    }
}
