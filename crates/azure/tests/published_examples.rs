//! The examples that Azure publishes with its API: our reading takes them as the answers that they
//! are, and what we write has no member that no published request has. The folder is not part of
//! this repository; without it the tests say that they were skipped.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use azslurm_azure::{
    Answer, GroupSpec, OperationState, ProvisioningState, ResourceId, SentMark, SetSpec, Started,
    VmBody, VmPower, group_id,
};
use azslurm_core::config::{
    EphemeralPlacement, EvictionPolicy, Image, ImageReference, Plan, Priority, Region, Sku, Zone,
};
use azslurm_core::facts::{SkuFacts, Usage};
use azslurm_core::vm::VmSpec;
use fake::{Do, Fake, answer, place, soon, spec, with};
use serde_json::{Value, json};

const VM: &str = "n1-0abcdefg";

/// The folder, or nothing and a line that says so.
fn folder() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/azure/examples");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

fn read(name: &str) -> Option<Value> {
    let path = folder()?.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
}

fn names() -> Vec<String> {
    let Some(folder) = folder() else { return Vec::new() };
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
    names.sort();
    names
}

/// All answers of an example, as the server is to give them.
fn answers(example: &Value) -> Vec<(u16, Do)> {
    let responses = example["responses"].as_object().expect("an example has responses");
    let one = |(status, response): (&String, &Value)| {
        let status: u16 = status.parse().unwrap();
        let body = &response["body"];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let location = response["headers"].as_object().and_then(|headers| {
            headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"))
        });
        let headers = location.map(|(_, url)| ("location", url.as_str().unwrap().to_owned()));
        (status, Do::Answer(status, headers.into_iter().collect(), body))
    };
    responses.iter().map(one).collect()
}

#[tokio::test]
async fn every_answer_to_a_create_is_taken() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    for name in names().iter().filter(|name| name.starts_with("vm-create-")) {
        for (status, reaction) in answers(&read(name).unwrap()) {
            azure.next([reaction]);
            let reply =
                arm.put_vm(&place(), &spec(VM), soon(9), &SentMark::default()).await.unwrap();
            // They carry no headers: the VM itself is followed while it is being made.
            let is_followed = matches!(reply.answer, Answer::Done(Started::Operation { .. }));
            assert!(is_followed, "{name} {status}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn every_shown_vm_is_read() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    let (Some(get), Some(view)) = (read("vm-get.json"), read("vm-get-instance-view.json")) else {
        return;
    };
    let mut body = get["responses"]["200"]["body"].clone();
    azure.next([answer(200, body.clone())]);
    let vm_name = VM.parse().unwrap();
    let reply = arm.get_vm(&place(), &vm_name).await.unwrap();
    let Answer::Done(Some(vm)) = reply.answer else { panic!("{reply:?}") };
    assert_eq!((vm.power, vm.name.as_str()), (None, "myVM"));
    assert!(vm.sku.is_some() && vm.nics.len() == 1 && vm.vm_id.is_some());
    body["properties"]["instanceView"] = view["responses"]["200"]["body"].clone();
    azure.next([answer(200, body)]);
    let reply = arm.get_vm(&place(), &vm_name).await.unwrap();
    let Answer::Done(Some(vm)) = reply.answer else { panic!("{reply:?}") };
    assert_eq!(vm.power, Some(VmPower::Running));
    assert_eq!(vm.statuses.len(), 2);
}

#[tokio::test]
async fn every_list_is_read() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    for name in ["vm-list-max.json", "vm-list-all-max.json"] {
        let Some(example) = read(name) else { return };
        let body = &example["responses"]["200"]["body"];
        azure.next([answer(200, body.clone())]);
        let listing = arm.list_vms("S-1", "rg").await.unwrap();
        assert_eq!(listing.odd, 0, "{name}: {:?}", listing.odd_because);
        assert_eq!(listing.items.len(), body["value"].as_array().unwrap().len(), "{name}");
        // Its next page is named with a placeholder, which gets no token.
        assert!(!listing.complete, "{name}");
        let vm = &listing.items[0];
        assert!(vm.time_created.is_some() && vm.provisioning_state != ProvisioningState::Failed);
    }
    let (Some(nic), Some(set)) = (read("nic-get.json"), read("vmss-vm-list-max.json")) else {
        return;
    };
    azure.next([answer(200, json!({"value": [nic["responses"]["200"]["body"]]}))]);
    let nics = arm.list_nics("S-1", "rg").await.unwrap();
    assert!(nics.items[0].managed_by.as_deref().unwrap().ends_with("/virtualMachines/vm1"));
    azure.next([answer(200, set["responses"]["200"]["body"].clone())]);
    assert!(!arm.list_vms("S-1", "rg").await.unwrap().items.is_empty());
}

#[tokio::test]
async fn every_page_of_resource_graph_is_read() {
    let azure = Fake::start().await;
    let subscriptions = ["S-1".to_owned()];
    let cluster = "c".parse().unwrap();
    for (name, is_all) in [
        ("graph-basic-objects.json", true),
        ("graph-first-page.json", false),
        ("graph-next-page.json", false),
    ] {
        let Some(example) = read(name) else { return };
        azure.next([answer(200, example["responses"]["200"]["body"].clone())]);
        azure.next([fake::refused(400, "BadRequest")].into_iter().filter(|_| !is_all));
        let listing = azure.arm().query_vms(&subscriptions, &cluster, None).await.unwrap();
        assert_eq!((listing.items.len(), listing.odd), (3, 0), "{name}");
        assert_eq!(listing.complete, is_all, "{name}: {:?}", listing.incomplete_because);
        // What we ask has the members of what is published.
        let seen = azure.seen().into_iter().rev().find(|seen| seen.method == "POST").unwrap();
        let asked = seen.json();
        let published = example["parameters"]["query"].as_object().unwrap();
        let names: BTreeSet<&String> = asked.as_object().unwrap().keys().collect();
        assert!(published.keys().all(|name| names.contains(name)), "{name}");
    }
}

#[tokio::test]
async fn every_deletion_is_taken() {
    let azure = Fake::start().await;
    let Some(example) = read("vm-delete-force.json") else { return };
    for (status, reaction) in answers(&example) {
        azure.next([reaction]);
        let reply = azure.arm().delete_vm(&place(), &VM.parse().unwrap(), true).await.unwrap();
        // The published Location is on another host than the server of this test: the VM is
        // followed instead.
        let is_followed = matches!(reply.answer, Answer::Done(Started::Operation { .. }));
        assert_eq!(is_followed, status == 202, "{status}: {reply:?}");
    }
    let asked = &example["parameters"];
    assert_eq!(asked["forceDeletion"], "true");
    assert!(azure.seen()[0].path.contains("forceDeletion=true"));
    // With the malformed query of the example it is still one URL, sent as it is.
    let url =
        format!("{}/subscriptions/s/operations/1&monitor=true&api-version=2023-09-01", azure.url);
    azure.next([with(202, &[], json!({}))]);
    let reply = azure.arm().poll(&url).await.unwrap();
    assert!(matches!(reply.answer, Answer::Done(OperationState::Running { .. })));
    assert!(url.ends_with(&azure.seen().pop().unwrap().path));
}

/// IMDS's example has no `token_type`, which IMDS does send and `azure_identity` wants, and an
/// expiry in the past.
#[tokio::test]
async fn the_published_token_is_taken() {
    let azure = Fake::start().await;
    let Some(example) = read("imds-identity-token.json") else { return };
    let mut body = example["responses"]["200"]["body"].clone();
    body["token_type"] = json!("Bearer");
    body["expires_on"] = json!("4102444800");
    azure.next_for_tokens([answer(200, body)]);
    azure.arm().put_vm(&place(), &spec(VM), soon(9), &SentMark::default()).await.unwrap();
    assert_eq!(azure.seen()[0].header("authorization"), "Bearer dummytoken");
}

/// Every member of a request or of its answers.
fn members_of(names: &[&str]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for name in names {
        let example = read(name).unwrap();
        paths(&example["parameters"]["parameters"], "", &mut all);
        for response in example["responses"].as_object().unwrap().values() {
            paths(&response["body"], "", &mut all);
        }
    }
    all
}

#[tokio::test]
async fn what_a_block_shares_is_asked_for_and_taken_as_published() {
    let azure = Fake::start().await;
    let (Some(group), Some(set)) = (read("ppg-create.json"), read("availability-set-create.json"))
    else {
        return;
    };
    let (region, tags) = (Region::new("westus").unwrap(), [("a".into(), "b".into())].into());
    let (name, skus) = ("b".to_owned(), vec![Sku::new("Basic_A0").unwrap()]);
    let group_spec = GroupSpec { name: name.clone(), region: region.clone(), skus, tags };
    let placement_group = group_id(&place(), &name);
    let set_spec = SetSpec { name, region, placement_group, tags: group_spec.tags.clone() };
    for (status, reaction) in answers(&group) {
        azure.next([reaction]);
        let reply = azure.arm().put_placement_group(&place(), &group_spec, soon(9)).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(()), "{status}");
    }
    for (status, reaction) in answers(&set) {
        azure.next([reaction]);
        let reply = azure.arm().put_availability_set(&place(), &set_spec, soon(9)).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(()), "{status}");
    }
    // Samples of sets leave out what their answers have; no sample of a group has tags.
    let of_groups = members_of(&["ppg-create.json"]);
    let of_sets = members_of(&["availability-set-create.json", "availability-set-get-max.json"]);
    let (first, last) = (azure.seen().remove(0), azure.seen().pop().unwrap());
    for (sent, published) in [(first.json(), of_groups), (last.json(), of_sets)] {
        let mut ours = BTreeSet::new();
        paths(&sent, "", &mut ours);
        ours.retain(|path| !published.contains(path) && !path.starts_with(".tags"));
        assert!(ours.is_empty(), "no published request or answer has {ours:#?}");
    }
    let shown = read("availability-set-get-max.json").unwrap();
    azure.next([answer(200, shown["responses"]["200"]["body"].clone())]);
    let reply = azure.arm().get_availability_set(&place(), "b").await.unwrap();
    assert_eq!(reply.answer, Answer::Done(Some(1)));
}

#[tokio::test]
async fn the_published_facts_are_read() {
    let azure = Fake::start().await;
    let region = Region::new("westus").unwrap();
    let (Some(usages), Some(skus)) = (read("usages-list-max.json"), read("skus-list-region.json"))
    else {
        return;
    };
    let mut page = usages["responses"]["200"]["body"].clone();
    azure.next([answer(200, page.clone())]);
    // Its next page is named with a placeholder, which gets no token: it is no whole list.
    assert!(azure.arm().usages("S-1", &region).await.is_err());
    page["nextLink"] = Value::Null;
    azure.next([answer(200, page), answer(200, skus["responses"]["200"]["body"].clone())]);
    let reply = azure.arm().usages("S-1", &region).await.unwrap();
    let usage = Usage { name: "a".repeat(18), used: 17, limit: 19 };
    assert_eq!(reply.answer, Answer::Done(vec![usage]));
    let reply = azure.arm().sku_facts("S-1", &region).await.unwrap();
    let facts = SkuFacts {
        family: "standardA0_A7Family".into(),
        vcpus: 1,
        is_rdma: false,
        is_offered: true,
    };
    let named = |name: &str| (Sku::new(name).unwrap(), facts.clone());
    let all = [named("Standard_A0"), named("Standard_A1")].into();
    assert_eq!(reply.answer, Answer::Done(all));
    let filter = skus["parameters"]["$filter"].as_str().unwrap();
    let asked = azure.seen().pop().unwrap().path;
    assert!(asked.replace("%20", " ").replace("%27", "'").ends_with(filter), "{asked}");
    assert!(asked.contains("api-version=2021-07-01"));
}

/// Operations that this crate has not got; their ids are read nevertheless.
const NOT_OURS: [&str; 14] = [
    "availability-set-list-by-subscription.json",
    "bulk-delete.json",
    "bulk-get-operation-status.json",
    "imds-instance.json",
    "nic-create.json",
    "ppg-get.json",
    "resource-health-vm.json",
    "scheduled-events-preempt.json",
    "spot-placement-scores.json",
    "vm-deallocate.json",
    "vm-simulate-eviction.json",
    "vm-start.json",
    "vmss-delete-instances.json",
    "vmss-create-priority-mix.json",
];
/// Files that the tests above read.
const OURS: [&str; 16] = [
    "availability-set-create.json",
    "availability-set-get-max.json",
    "ppg-create.json",
    "skus-list-region.json",
    "usages-list-max.json",
    "vm-get.json",
    "vm-get-instance-view.json",
    "vm-list-max.json",
    "vm-list-all-max.json",
    "nic-get.json",
    "vmss-vm-list-max.json",
    "graph-basic-objects.json",
    "graph-first-page.json",
    "graph-next-page.json",
    "vm-delete-force.json",
    "imds-identity-token.json",
];
/// Read as requests, for the shape of ours.
const REQUESTS: [&str; 1] = ["vmss-create-ssh-key.json"];

#[test]
fn every_example_has_its_test_and_every_id_in_it_is_one() {
    for name in names() {
        let is_known = name.starts_with("vm-create-")
            || NOT_OURS.contains(&name.as_str())
            || OURS.contains(&name.as_str())
            || REQUESTS.contains(&name.as_str());
        assert!(is_known, "{name} is new: say what it is");
        check_ids(&name, &read(&name).unwrap());
    }
}

fn check_ids(name: &str, value: &Value) {
    match value {
        Value::Object(object) => object.values().for_each(|value| check_ids(name, value)),
        Value::Array(items) => items.iter().for_each(|value| check_ids(name, value)),
        Value::String(text) if text.starts_with("/subscriptions/") => {
            let id: ResourceId = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(id.subscription().is_some(), "{name}: {id}");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

const NIC: &str = ".properties.networkProfile.networkInterfaceConfigurations.properties";

/// Members that we write although no published request that is kept here has them, each with its
/// reason. `true`: the published answers have it, in the same model.
const EXCEPTIONS: [(&str, &str, bool, &str); 8] = [
    ("", ".identity", true, "FACTS 1.1; a top-level member of the VM's model"),
    ("", ".tags", true, "every resource has them; the samples leave them out"),
    ("", ".zones", true, "FACTS 1.1; a top-level member of the VM's model"),
    (
        "",
        ".properties.storageProfile.osDisk.deleteOption",
        true,
        "FACTS 1.1: api-version 2021-03-01 on",
    ),
    ("", ".properties.storageProfile.osDisk.diskSizeGB", true, "FACTS 1.1"),
    ("", ".properties.storageProfile.imageReference.communityGalleryImageId", true, "FACTS 1.1"),
    (NIC, ".enableAcceleratedNetworking", true, "FACTS 1.1: a member of the inline NIC's model"),
    (NIC, ".networkSecurityGroup", true, "FACTS 1.1: a member of the inline NIC's model"),
];

/// Every member of a body by its path; names that are data (tags, identities) are one.
fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            let is_data = path.ends_with(".tags") || path.ends_with(".userAssignedIdentities");
            for (name, value) in object {
                let name = if is_data { "*" } else { name };
                let path = format!("{path}.{name}");
                all.insert(path.clone());
                paths(value, &path, all);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, path, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Bodies that together have every member that we can write.
fn all_that_we_write() -> Vec<VmSpec> {
    let mut spot = spec(VM);
    spot.priority = Priority::Spot { max_price: None, eviction: EvictionPolicy::Delete };
    spot.os_disk.ephemeral = Some(EphemeralPlacement::NvmeDisk);
    spot.zone = Zone::new("1");
    spot.identities = vec!["/identity".into()];
    spot.user_data = Some("data".into());
    spot.capacity_reservation_group = Some("/group".into());
    spot.network_security_group = Some("/nsg".into());
    let mut urn = spec(VM);
    urn.image = Image {
        reference: ImageReference::Urn {
            publisher: "p".into(),
            offer: "o".into(),
            sku: "s".into(),
            version: "v".into(),
        },
        plan: Some(Plan { publisher: "p".into(), product: "o".into(), name: "n".into() }),
    };
    urn.availability_set = Some("/set".into());
    let mut shared = spec(VM);
    shared.image.reference = ImageReference::SharedGallery("/shared".into());
    let mut community = spec(VM);
    community.image.reference = ImageReference::CommunityGallery("/community".into());
    vec![spot, urn, shared, community]
}

#[test]
fn what_we_write_has_the_shape_of_published_requests() {
    let mut published = BTreeSet::new();
    for name in names().iter().filter(|name| name.contains("-create-")) {
        let mut body = read(name).unwrap()["parameters"]["parameters"].clone();
        // A scale set describes its VMs one level below.
        if let Some(profile) = body.pointer_mut("/properties/virtualMachineProfile") {
            let profile = profile.take();
            body["properties"] = profile;
        }
        paths(&body, "", &mut published);
    }
    if published.is_empty() {
        return;
    }
    let mut ours = BTreeSet::new();
    for spec in all_that_we_write() {
        let body = serde_json::from_slice(VmBody::from(&spec).text()).unwrap();
        paths(&body, "", &mut ours);
    }
    let mut shown = BTreeSet::new();
    for vm in
        read("vm-list-max.json").unwrap()["responses"]["200"]["body"]["value"].as_array().unwrap()
    {
        paths(vm, "", &mut shown);
    }
    let mut strange = ours.clone();
    strange.retain(|path| !published.contains(path));
    for (begin, end, is_shown, _) in EXCEPTIONS {
        let path = format!("{begin}{end}");
        assert!(strange.contains(&path), "{path} is no exception (any more)");
        assert_eq!(shown.contains(&path), is_shown, "{path}");
        let below = format!("{path}.");
        strange.retain(|strange| *strange != path && !strange.starts_with(&below));
    }
    assert!(strange.is_empty(), "no published request has {strange:#?}");
}
