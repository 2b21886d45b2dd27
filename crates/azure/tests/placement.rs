//! Placement groups and availability sets, from the first PUT to the last deletion.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod emulator;
#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use azslurm_azure::{Answer, AzureError, GroupSpec, Reply, SentMark, SetSpec, group_id, set_id};
use azslurm_core::config::{Image, ImageReference, Sku};
use azslurm_core::vm::VmSpec;
use emulator::{place, region};
use fake::{Do, Fake, answer, refused, soon, with};
use serde_json::{Value, json};

const NAME: &str = "c-hb-b1-0abcdefg";
const SIZE: &str = "Standard_HB120rs_v3";

fn group(size: &str) -> GroupSpec {
    let (name, skus) = (NAME.to_owned(), vec![Sku::new(size).unwrap()]);
    GroupSpec { name, region: region(), skus, tags: [("a".to_owned(), "b".to_owned())].into() }
}

fn set() -> SetSpec {
    let placement_group = group_id(&place(), NAME);
    let tags = [("azslurm-cluster".to_owned(), "c".to_owned())].into();
    SetSpec { name: NAME.to_owned(), region: region(), placement_group, tags }
}

/// A VM that the emulator takes, in the set.
fn member() -> VmSpec {
    let subscription = place().subscription;
    VmSpec {
        sku: Sku::new(SIZE).unwrap(),
        image: Image {
            reference: ImageReference::Urn {
                publisher: "Canonical".into(),
                offer: "ubuntu-24_04-lts".into(),
                sku: "server".into(),
                version: "latest".into(),
            },
            plan: None,
        },
        subnet: format!(
            "/subscriptions/{subscription}/resourceGroups/net/providers/Microsoft.Network\
             /virtualNetworks/vnet/subnets/compute"
        ),
        availability_set: Some(set_id(&place(), NAME)),
        ..fake::spec("n1-0abcdefg")
    }
}

#[track_caller]
fn code<T: std::fmt::Debug>(reply: Reply<T>) -> (u16, String) {
    match reply.answer {
        Answer::Refused(refusal) => (refusal.status, refusal.code),
        Answer::Done(done) => panic!("done: {done:?}"),
    }
}

#[tokio::test]
async fn a_group_and_its_set_are_made_once_however_often_they_are_asked_for() {
    let (emulator, arm) = emulator::start();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let reply = arm.put_placement_group(&place(), &group(SIZE), soon(20)).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(()));
        let reply = arm.put_availability_set(&place(), &set(), soon(20)).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(()));
        assert!(reply.request_id.is_some());
        let kinds = ["proximityPlacementGroups", "availabilitySets"];
        seen.push(kinds.map(|kind| emulator.alive(&format!("Microsoft.Compute/{kind}"))));
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].iter().all(|alive| alive.len() == 1), "{seen:#?}");
    let reply = arm.get_availability_set(&place(), NAME).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(Some(0)));
}

#[tokio::test]
async fn what_is_absent_is_deleted_and_has_no_members() {
    let (_emulator, arm) = emulator::start();
    let reply = arm.get_availability_set(&place(), NAME).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(None));
    let mut nowhere = place();
    nowhere.resource_group = "never-made".into();
    for place in [place(), nowhere.clone()] {
        let reply = arm.delete_availability_set(&place, NAME).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(()));
        let reply = arm.delete_placement_group(&place, NAME).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(()));
    }
    let reply = arm.get_availability_set(&nowhere, NAME).await.unwrap();
    assert_eq!(code(reply), (404, "ResourceGroupNotFound".to_owned()));
    let reply = arm.put_availability_set(&place(), &set(), soon(20)).await.unwrap();
    assert!(matches!(reply.answer, Answer::Refused(_)), "without its group: {reply:?}");
}

#[tokio::test]
async fn a_set_with_a_member_stays_and_so_does_its_group() {
    let (emulator, arm) = emulator::start();
    arm.put_placement_group(&place(), &group(SIZE), soon(20)).await.unwrap();
    arm.put_availability_set(&place(), &set(), soon(20)).await.unwrap();
    let reply = arm.put_vm(&place(), &member(), soon(20), &SentMark::default()).await.unwrap();
    assert!(matches!(reply.answer, Answer::Done(_)), "{reply:?}");
    let reply = arm.get_availability_set(&place(), NAME).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(Some(1)));
    let reply = arm.delete_availability_set(&place(), NAME).await.unwrap();
    assert_eq!(code(reply).0, 409);
    let reply = arm.delete_placement_group(&place(), NAME).await.unwrap();
    assert_eq!(code(reply).0, 409);
    let again = arm.put_availability_set(&place(), &set(), soon(20)).await.unwrap();
    assert_eq!(again.answer, Answer::Done(()), "and asking for it again takes nothing away");
    let reply = arm.get_availability_set(&place(), NAME).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(Some(1)));
    assert_eq!(emulator.alive("Microsoft.Compute/virtualMachines").len(), 1);
}

#[tokio::test]
async fn what_is_empty_is_deleted_from_the_inside() {
    let (emulator, arm) = emulator::start();
    arm.put_placement_group(&place(), &group(SIZE), soon(20)).await.unwrap();
    arm.put_availability_set(&place(), &set(), soon(20)).await.unwrap();
    let reply = arm.delete_placement_group(&place(), NAME).await.unwrap();
    assert_eq!(code(reply).0, 409, "its set is still in it");
    let reply = arm.delete_availability_set(&place(), NAME).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(()));
    let reply = arm.delete_placement_group(&place(), NAME).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(()));
    for kind in ["proximityPlacementGroups", "availabilitySets"] {
        assert!(emulator.alive(&format!("Microsoft.Compute/{kind}")).is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn a_group_for_a_size_that_no_datacenter_has_is_refused() {
    let (emulator, arm) = emulator::start();
    let spec = group("Standard_HB9000rs_v9");
    let reply = arm.put_placement_group(&place(), &spec, soon(20)).await.unwrap();
    let Answer::Refused(refusal) = reply.answer else { panic!("{:?}", reply.answer) };
    assert_eq!(refusal.code, "OverconstrainedAllocationRequest");
    assert!(refusal.text.contains("Constraints applied are:"), "{}", refusal.text);
    assert!(emulator.alive("Microsoft.Compute/proximityPlacementGroups").is_empty());
}

#[tokio::test]
async fn a_name_that_cannot_be_one_is_never_sent() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    for bad in ["", "..", "a/b", "a-"] {
        let config = |error: AzureError| matches!(error, AzureError::Config { .. });
        let spec = GroupSpec { name: bad.into(), ..group(SIZE) };
        assert!(config(arm.put_placement_group(&place(), &spec, soon(9)).await.unwrap_err()));
        let spec = SetSpec { name: bad.into(), ..set() };
        assert!(config(arm.put_availability_set(&place(), &spec, soon(9)).await.unwrap_err()));
        assert!(config(arm.delete_placement_group(&place(), bad).await.unwrap_err()));
        assert!(config(arm.delete_availability_set(&place(), bad).await.unwrap_err()));
        assert!(config(arm.get_availability_set(&place(), bad).await.unwrap_err()));
    }
    assert!(azure.seen().is_empty());
}

#[tokio::test]
async fn anything_but_a_plain_success_is_no_success() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    for (status, is_done) in [(200, true), (201, true), (202, false), (400, false), (409, false)] {
        azure.next([answer(status, json!({})), answer(status, json!({}))]);
        let group = arm.put_placement_group(&place(), &group(SIZE), soon(9)).await.unwrap();
        let set = arm.put_availability_set(&place(), &set(), soon(9)).await.unwrap();
        assert_eq!(group.answer == Answer::Done(()), is_done, "{status}");
        assert_eq!(set.answer == Answer::Done(()), is_done, "{status}");
    }
    azure.next([Do::Answer(200, vec![], "<html>".into())]);
    let error = arm.get_availability_set(&place(), NAME).await.unwrap_err();
    assert!(matches!(error, AzureError::Body { .. }), "{error:?}");
    azure.next([refused(404, "Surprise")]);
    let reply = arm.get_availability_set(&place(), NAME).await.unwrap();
    assert_eq!(code(reply), (404, "Surprise".to_owned()));
    azure.next([refused(404, "Surprise")]);
    let reply = arm.delete_availability_set(&place(), NAME).await.unwrap();
    assert_eq!(code(reply), (404, "Surprise".to_owned()));
}

#[tokio::test]
async fn whatever_azure_calls_absent_is_deleted_already() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    for code in ["ResourceNotFound", "NotFound", "ResourceGroupNotFound"] {
        azure.next([refused(404, code), refused(404, code)]);
        let reply = arm.delete_availability_set(&place(), NAME).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(()), "{code}");
        let reply = arm.delete_placement_group(&place(), NAME).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(()), "{code}");
    }
}

/// What a deletion says that Azure takes with 202, and the requests that it took.
async fn deleted(azure: &Fake, headers: &[(&'static str, &str)], polls: &[Do]) -> (Value, usize) {
    let before = azure.seen().len();
    azure.next([with(202, headers, json!({}))]);
    azure.next(polls.iter().cloned());
    let reply = azure.arm().delete_availability_set(&place(), NAME).await.unwrap();
    let said = match reply.answer {
        Answer::Done(()) => json!("done"),
        Answer::Refused(refusal) => json!([refusal.status, refusal.code]),
    };
    (said, azure.seen().len() - before)
}

#[tokio::test]
async fn a_deletion_that_goes_on_is_followed_to_its_end() {
    let azure = Fake::start().await;
    let url = format!("{}/subscriptions/s/operations/1", azure.url);
    let named = [("azure-asyncoperation", url.as_str()), ("retry-after", "0")];
    let status = |word: &str| with(200, &[("retry-after", "0")], json!({"status": word}));
    let running = || status("InProgress");
    let failed = answer(200, json!({"status": "Failed", "error": {"code": "InUse"}}));
    let ends = [
        (vec![running(), status("Succeeded")], json!("done"), 3),
        (vec![running(), running(), failed], json!([202, "InUse"]), 4),
        (vec![status("Canceled")], json!([202, "Canceled"]), 2),
        (vec![refused(404, "NotFound")], json!("done"), 2),
        (vec![refused(403, "AuthorizationFailed")], json!("done"), 2),
        (vec![running(); 12], json!("done"), 13),
    ];
    for (polls, said, requests) in ends {
        assert_eq!(deleted(&azure, &named, &polls).await, (said, requests), "{polls:?}");
    }
    let foreign = [("location", "https://evil.example/operations/1")];
    assert_eq!(deleted(&azure, &foreign, &[]).await, (json!("done"), 1), "no token goes there");
    assert_eq!(deleted(&azure, &[], &[]).await, (json!("done"), 1));
}
