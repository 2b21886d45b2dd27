//! Stories of the model, without HTTP: stages of a VM's life, room, quota, Spot, placement,
//! networks, pages, lag. Shared fixtures for the tests of the parts.

use serde_json::{Value, json};

use super::Model;
use super::config::{Config, SUBSCRIPTION};
use super::message::{Effect, Method, Request, Response};
use super::time::{Millis, SECOND};

/// When the tests begin.
pub(super) const T0: Millis = 1_700_000_000_000;
/// The version that the tests speak.
pub(super) const VERSION: &str = "2024-11-01";

/// The default model, without rate limits.
pub(super) fn model() -> Model {
    let mut config = Config::default();
    config.throttle.enforce = false;
    Model::new(&config, T0).unwrap()
}

/// A path below the group `hpc`.
pub(super) fn path(rest: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc/providers/{rest}")
}

/// The path of a VM.
pub(super) fn vm(name: &str) -> String {
    path(&format!("Microsoft.Compute/virtualMachines/{name}"))
}

/// Id of the default subnet.
pub(super) fn subnet() -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network\
         /virtualNetworks/vnet/subnets/compute"
    )
}

/// A body that is accepted.
pub(super) fn body() -> Value {
    json!({
        "location": "westeurope",
        "tags": {"azslurm-node": "n1"},
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "storageProfile": {
                "imageReference": {"publisher": "Canonical", "offer": "ubuntu-24_04-lts",
                                   "sku": "server", "version": "latest"},
                "osDisk": {"createOption": "FromImage", "caching": "ReadOnly",
                           "deleteOption": "Delete",
                           "managedDisk": {"storageAccountType": "Premium_LRS"}},
            },
            "osProfile": {
                "computerName": "n1",
                "adminUsername": "azslurm",
                "linuxConfiguration": {
                    "disablePasswordAuthentication": true,
                    "ssh": {"publicKeys": [{"path": "/home/azslurm/.ssh/authorized_keys",
                                            "keyData": "ssh-ed25519 AAAA test"}]},
                },
            },
            "networkProfile": {
                "networkApiVersion": "2020-11-01",
                "networkInterfaceConfigurations": [{
                    "name": "nic",
                    "properties": {
                        "primary": true,
                        "deleteOption": "Delete",
                        "ipConfigurations": [{
                            "name": "ip",
                            "properties": {"primary": true, "subnet": {"id": subnet()}},
                        }],
                    },
                }],
            },
        },
    })
}

/// Asks at a time.
pub(super) fn ask(model: &mut Model, request: Request, at: Millis) -> Response {
    model.apply(&request.with_query("api-version", VERSION), T0 + at)
}

/// PUT.
pub(super) fn put(model: &mut Model, path: &str, body: Value, at: Millis) -> Response {
    ask(model, Request::new(Method::Put, path).with_body(body), at)
}

/// Any call without a body.
pub(super) fn call(model: &mut Model, method: Method, path: &str, at: Millis) -> Response {
    ask(model, Request::new(method, path), at)
}

/// GET, and the body.
pub(super) fn get(model: &mut Model, path: &str, at: Millis) -> Value {
    call(model, Method::Get, path, at).body.unwrap()
}

/// The end of an operation: its document.
fn ended(model: &mut Model, response: &Response, at: Millis) -> Value {
    let url = response.header_value("azure-asyncoperation").unwrap();
    let (path, query) =
        url.trim_start_matches("https://management.azure.com").split_once('?').unwrap();
    let mut request = Request::new(Method::Get, path);
    request.query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    model.apply(&request, T0 + at).body.unwrap()
}

fn code(response: &Response) -> &str {
    response.body.as_ref().unwrap()["error"]["code"].as_str().unwrap()
}

fn codes(model: &mut Model, name: &str, at: Millis) -> Vec<String> {
    let view = get(model, &format!("{}/instanceView", vm(name)), at);
    let statuses = view["statuses"].as_array().unwrap().clone();
    statuses.iter().map(|status| status["code"].as_str().unwrap().to_owned()).collect()
}

fn spot(policy: &str) -> Value {
    let mut body = body();
    body["properties"]["priority"] = json!("Spot");
    body["properties"]["evictionPolicy"] = json!(policy);
    body
}

#[test]
fn a_vm_goes_through_its_stages_and_leaves_nothing() {
    let mut model = model();
    let created = put(&mut model, &vm("n1-a"), body(), 0);
    assert_eq!(created.status, 201);
    assert_eq!(created.body.as_ref().unwrap()["properties"]["provisioningState"], "Creating");
    assert_eq!(created.header_value("retry-after"), Some("10"));
    assert_eq!(created.header_value("location"), None);
    assert_eq!(ended(&mut model, &created, 10)["status"], "InProgress");
    assert_eq!(
        codes(&mut model, "n1-a", 200)[0],
        "ProvisioningState/creating/osProvisioningInProgress"
    );
    assert_eq!(ended(&mut model, &created, 300)["status"], "Succeeded");
    assert_eq!(
        codes(&mut model, "n1-a", 301),
        ["ProvisioningState/succeeded", "PowerState/running"]
    );
    let deleted = call(&mut model, Method::Delete, &vm("N1-A"), 400);
    assert_eq!(deleted.status, 202);
    assert!(deleted.header_value("location").unwrap().contains("monitor=true"));
    assert_eq!(get(&mut model, &vm("n1-a"), 401)["properties"]["provisioningState"], "Deleting");
    assert_eq!(code(&put(&mut model, &vm("n1-a"), body(), 402)), "OperationNotAllowed");
    assert_eq!(code(&call(&mut model, Method::Get, &vm("n1-a"), 701)), "NotFound");
    assert_eq!(code(&call(&mut model, Method::Get, &vm("n1-a"), 2000)), "ResourceNotFound");
    assert_eq!(call(&mut model, Method::Delete, &vm("n1-a"), 2001).status, 204);
    let alive = model.history().to_json(Some(true));
    assert!(alive.as_array().unwrap().iter().all(|row| row["seeded"] == true), "{alive}");
}

#[test]
fn the_same_seed_and_calls_give_the_same_answers() {
    let story = || {
        let mut model = model();
        model.change_delays(&json!({"preset": "real"})).unwrap();
        let mut answers = vec![put(&mut model, &vm("a"), body(), 0)];
        answers.push(call(&mut model, Method::Get, &vm("a"), 60 * SECOND));
        answers.push(call(&mut model, Method::Delete, &vm("a"), 300 * SECOND));
        answers.push(call(&mut model, Method::Get, &vm("a"), 900 * SECOND));
        answers
    };
    assert_eq!(story(), story());
}

#[test]
fn the_same_put_again_is_an_update_and_changes_nothing() {
    let mut model = model();
    put(&mut model, &vm("n1"), body(), 0);
    let during = put(&mut model, &vm("n1"), body(), 100);
    assert_eq!(during.status, 200);
    assert_eq!(ended(&mut model, &during, 300)["status"], "Succeeded");
    let after = put(&mut model, &vm("N1"), body(), 500);
    assert_eq!(after.status, 200);
    assert_eq!(ended(&mut model, &after, 900)["status"], "Succeeded");
    let shown = get(&mut model, &vm("n1"), 1000);
    // What GET shows may be put again.
    assert_eq!(put(&mut model, &vm("n1"), shown, 1100).status, 200);
    assert_eq!(
        get(&mut model, &path("Microsoft.Network/networkInterfaces"), 1200)["value"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn room_that_is_missing_shows_at_put_or_late() {
    let mut model = model();
    let size = "Standard_D2s_v5";
    let room = |late: bool| json!({"region": "westeurope", "sku": size, "vms": 1, "late": late});
    model.set_room(serde_json::from_value(room(false)).unwrap());
    assert_eq!(put(&mut model, &vm("a"), body(), 0).status, 201);
    let refused = put(&mut model, &vm("b"), body(), 0);
    assert_eq!((refused.status, code(&refused)), (409, "SkuNotAvailable"));
    assert_eq!(call(&mut model, Method::Get, &vm("b"), 1).status, 404);

    model.set_room(serde_json::from_value(room(true)).unwrap());
    let late = put(&mut model, &vm("c"), body(), 1000);
    assert_eq!(late.status, 201);
    let end = ended(&mut model, &late, 1300);
    assert_eq!(
        (&end["status"], &end["error"]["code"]),
        (&json!("Failed"), &json!("AllocationFailed"))
    );
    assert_eq!(get(&mut model, &vm("c"), 1301)["properties"]["provisioningState"], "Failed");
    assert_eq!(codes(&mut model, "c", 1301), ["ProvisioningState/failed/AllocationFailed"]);
    // Once there is room the same PUT tries again.
    call(&mut model, Method::Delete, &vm("a"), 2000);
    let again = put(&mut model, &vm("c"), body(), 3000);
    assert_eq!(again.status, 200);
    assert_eq!(ended(&mut model, &again, 3300)["status"], "Succeeded");
}

#[test]
fn a_failed_vm_counts_against_quota_until_it_is_deleted() {
    let mut model = model();
    let quota = json!({"region": "westeurope", "name": "standardDSv5Family", "limit": 2});
    model.set_quota(&serde_json::from_value(quota).unwrap());
    let room = json!({"region": "*", "sku": "*", "vms": 0, "late": true});
    model.set_room(serde_json::from_value(room).unwrap());
    put(&mut model, &vm("a"), body(), 0);
    let refused = put(&mut model, &vm("b"), body(), 1000);
    assert_eq!(code(&refused), "OperationNotAllowed");
    let text = refused.body.unwrap()["error"]["message"].as_str().unwrap().to_owned();
    assert!(text.contains("exceeding approved standardDSv5Family Cores quota"), "{text}");
    call(&mut model, Method::Delete, &vm("a"), 2000);
    assert_eq!(put(&mut model, &vm("b"), body(), 3000).status, 201);
    let place = format!(
        "/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westeurope/usages"
    );
    let usages = get(&mut model, &place, 3001);
    let family = usages["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|u| u["name"]["value"] == "standardDSv5Family");
    assert_eq!(
        (&family.unwrap()["currentValue"], &family.unwrap()["limit"]),
        (&json!(2), &json!(2))
    );
}

#[test]
fn a_newer_operation_preempts_an_older_one() {
    let mut model = model();
    let created = put(&mut model, &vm("a"), body(), 0);
    let deleted = call(&mut model, Method::Delete, &vm("a"), 100);
    let end = ended(&mut model, &created, 100);
    assert_eq!(end["error"]["code"], "OperationPreempted");
    assert_eq!(ended(&mut model, &deleted, 400)["status"], "Succeeded");
}

#[test]
fn power_follows_what_is_asked() {
    let mut model = model();
    put(&mut model, &vm("a"), body(), 0);
    let mut at = 1000;
    for (action, during, after) in [
        ("powerOff", "PowerState/stopping", "PowerState/stopped"),
        ("start", "PowerState/starting", "PowerState/running"),
        ("deallocate", "PowerState/deallocating", "PowerState/deallocated"),
        ("start", "PowerState/starting", "PowerState/running"),
    ] {
        let answer = call(&mut model, Method::Post, &format!("{}/{action}", vm("a")), at);
        assert_eq!(answer.status, 202, "{action}");
        assert_eq!(codes(&mut model, "a", at + 1)[1], during);
        assert_eq!(codes(&mut model, "a", at + 300)[1], after);
        assert_eq!(ended(&mut model, &answer, at + 301)["status"], "Succeeded");
        at += 1000;
    }
    let restart = call(&mut model, Method::Post, &format!("{}/restart", vm("a")), at);
    assert_eq!(ended(&mut model, &restart, at + 300)["status"], "Succeeded");
}

#[test]
fn an_evicted_vm_is_deallocated_and_still_succeeded_or_gone() {
    let mut model = model();
    put(&mut model, &vm("stays"), spot("Deallocate"), 0);
    put(&mut model, &vm("goes"), spot("Delete"), 0);
    put(&mut model, &vm("regular"), body(), 0);
    for name in ["stays", "goes"] {
        let path = format!("{}/simulateEviction", vm(name));
        assert_eq!(call(&mut model, Method::Post, &path, 1000).status, 204);
    }
    let refused = format!("{}/simulateEviction", vm("regular"));
    assert_eq!(call(&mut model, Method::Post, &refused, 1000).status, 409);
    assert_eq!(
        codes(&mut model, "stays", 2000),
        ["ProvisioningState/succeeded", "PowerState/deallocated"]
    );
    let shown = get(&mut model, &vm("stays"), 2000);
    let disk = &shown["properties"]["storageProfile"]["osDisk"];
    assert_eq!(disk.get("diskSizeGB"), None);
    assert_eq!(disk["managedDisk"].get("storageAccountType"), None);
    let id = disk["managedDisk"]["id"].as_str().unwrap().to_owned();
    assert!(id.contains("/resourceGroups/HPC/"), "{id}");
    let disk = ask_disk(&mut model, &id);
    assert_eq!(disk["properties"]["diskState"], "Reserved");
    assert_eq!(call(&mut model, Method::Get, &vm("goes"), 9000).status, 404);
}

fn ask_disk(model: &mut Model, id: &str) -> Value {
    let request = Request::new(Method::Get, id).with_query("api-version", "2024-03-02");
    model.apply(&request, T0 + 3000).body.unwrap()
}

#[test]
fn a_vm_may_vanish_and_boot_commands_hold_up_the_end() {
    let mut model = model();
    model.set_runs_boot_commands(true);
    put(&mut model, &vm("a"), body(), 0);
    let effects = model.advance(T0 + 300);
    let [Effect::Boot(order)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((order.computer_name.as_str(), order.address.as_str()), ("n1", "10.0.0.4"));
    let id = order.vm_id.clone();
    let deleted = call(&mut model, Method::Delete, &vm("a"), 1000);
    let stop = model.advance(T0 + 1000);
    assert_eq!(stop, [Effect::Stop { vm_id: id.clone(), at_once: false }]);
    assert_eq!(ended(&mut model, &deleted, 9000)["status"], "InProgress");
    model.process_ended(&id, "exit status: 0", T0 + 9001);
    assert_eq!(ended(&mut model, &deleted, 9002)["status"], "Succeeded");

    model.withhold_boot(&["N1".to_owned()]);
    put(&mut model, &vm("b"), body(), 10_000);
    assert_eq!(model.advance(T0 + 11_000), []);
    model.vanish("b").unwrap();
    assert_eq!(call(&mut model, Method::Get, &vm("b"), 11_001).status, 404);
}

#[test]
fn separate_nics_are_reserved_after_a_failed_create() {
    let mut model = model();
    let nic = path("Microsoft.Network/networkInterfaces/x");
    let nic_body = json!({"location": "westeurope", "properties": {"ipConfigurations": [
        {"name": "ip", "properties": {"subnet": {"id": subnet()}}}]}});
    assert_eq!(put(&mut model, &nic, nic_body, 0).status, 201);
    let room = json!({"region": "*", "sku": "*", "vms": 0, "late": true});
    model.set_room(serde_json::from_value(room).unwrap());
    let mut with_nic = body();
    with_nic["properties"]["networkProfile"] = json!({"networkInterfaces": [{"id": nic}]});
    put(&mut model, &vm("a"), with_nic.clone(), 0);
    assert_eq!(code(&call(&mut model, Method::Delete, &nic, 1000)), "NicInUse");
    assert_eq!(code(&put(&mut model, &vm("b"), with_nic.clone(), 1000)), "NicInUse");
    call(&mut model, Method::Delete, &vm("a"), 1000);
    let refused = put(&mut model, &vm("b"), with_nic.clone(), 2000);
    assert_eq!((refused.status, code(&refused)), (400, "NicReservedForAnotherVm"));
    assert_eq!(code(&call(&mut model, Method::Delete, &nic, 2000)), "NicReservedForAnotherVm");
    assert_eq!(put(&mut model, &vm("b"), with_nic, 182 * SECOND).status, 201);
}

#[test]
fn a_full_subnet_refuses_and_forced_deletion_holds_the_address() {
    let mut model = model();
    let small = path("Microsoft.Network/virtualNetworks/small");
    let network = json!({"location": "westeurope", "properties": {
        "addressSpace": {"addressPrefixes": ["10.9.0.0/29"]},
        "subnets": [{"name": "s", "properties": {"addressPrefix": "10.9.0.0/29"}}]}});
    assert_eq!(put(&mut model, &small, network, 0).status, 201);
    let mut in_small = body();
    let config = &mut in_small["properties"]["networkProfile"]["networkInterfaceConfigurations"];
    config[0]["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"] =
        json!(format!("{small}/subnets/s"));
    for name in ["a", "b", "c"] {
        assert_eq!(put(&mut model, &vm(name), in_small.clone(), 0).status, 201);
    }
    let full = put(&mut model, &vm("d"), in_small.clone(), 1000);
    assert_eq!((full.status, code(&full)), (400, "SubnetIsFull"));
    let forced = Request::new(Method::Delete, &vm("a")).with_query("forceDeletion", "true");
    assert_eq!(ask(&mut model, forced, 2000).status, 202);
    assert_eq!(code(&put(&mut model, &vm("d"), in_small.clone(), 300 * SECOND)), "SubnetIsFull");
    assert_eq!(put(&mut model, &vm("d"), in_small, 603 * SECOND).status, 201);
}

#[test]
fn lists_have_pages_of_fifty_in_capitals() {
    let mut model = model();
    for n in 0..120 {
        put(&mut model, &vm(&format!("n{n:03}")), body(), 0);
    }
    let mut next = Some(path("Microsoft.Compute/virtualMachines"));
    let (mut names, mut pages) = (Vec::new(), 0);
    let mut query: Vec<(String, String)> = vec![("api-version".into(), VERSION.into())];
    while let Some(path) = next.take() {
        let mut request = Request::new(Method::Get, &path);
        request.query = std::mem::take(&mut query);
        let page = model.apply(&request, T0 + 1000).body.unwrap();
        for row in page["value"].as_array().unwrap() {
            assert!(row["id"].as_str().unwrap().contains("/resourceGroups/HPC/"));
            names.push(row["name"].as_str().unwrap().to_owned());
        }
        pages += 1;
        if let Some(link) = page.get("nextLink").and_then(Value::as_str) {
            let link = link.trim_start_matches("https://management.azure.com");
            let (path, rest) = link.split_once('?').unwrap();
            query = url::form_urlencoded::parse(rest.as_bytes()).into_owned().collect();
            next = Some(path.to_owned());
        }
    }
    names.dedup();
    assert_eq!((names.len(), pages), (120, 3));
}

#[test]
fn resource_graph_lies_behind() {
    let mut model = model();
    model.change_graph_lag(30 * SECOND);
    put(&mut model, &vm("a"), body(), 0);
    let query = json!({"subscriptions": [SUBSCRIPTION], "query":
        "resources | where type =~ 'microsoft.compute/virtualmachines' | project id, name, \
         power=properties.extended.instanceView.powerState.code | order by id asc"});
    let mut rows = |at: Millis| {
        let request = Request::new(Method::Post, "/providers/Microsoft.ResourceGraph/resources")
            .with_body(query.clone())
            .with_query("api-version", "2022-10-01");
        model.apply(&request, T0 + at).body.unwrap()["data"].clone()
    };
    assert_eq!(rows(29 * SECOND), json!([]));
    assert_eq!(rows(31 * SECOND)[0]["power"], "PowerState/running");
}

#[test]
fn a_set_is_bound_from_its_first_placed_vm_to_its_last() {
    let mut model = model();
    let group = path("Microsoft.Compute/proximityPlacementGroups/p");
    assert_eq!(put(&mut model, &group, json!({"location": "westeurope"}), 0).status, 201);
    let set = path("Microsoft.Compute/availabilitySets/s");
    let set_body = json!({"location": "westeurope", "sku": {"name": "Aligned"}, "properties": {
        "platformFaultDomainCount": 1, "platformUpdateDomainCount": 1,
        "proximityPlacementGroup": {"id": group}}});
    assert_eq!(put(&mut model, &set, set_body, 0).status, 200);
    let room = json!({"region": "*", "sku": "*", "in_set": true, "vms": 1, "late": true});
    model.set_room(serde_json::from_value(room).unwrap());
    let mut member = body();
    member["properties"]["availabilitySet"] = json!({ "id": set });
    put(&mut model, &vm("a"), member.clone(), 0);
    let second = put(&mut model, &vm("b"), member.clone(), 1000);
    assert_eq!(ended(&mut model, &second, 2000)["error"]["code"], "AllocationFailed");
    assert_eq!(put(&mut model, &vm("alone"), body(), 2000).status, 201);
    let shown = get(&mut model, &set, 3000);
    assert_eq!(shown["properties"]["virtualMachines"].as_array().unwrap().len(), 2);
    assert!(codes(&mut model, "a", 3000).contains(&"ColocationStatus/Aligned".to_owned()));
    let with_status =
        Request::new(Method::Get, &group).with_query("includeColocationStatus", "true");
    let group_shown = ask(&mut model, with_status, 3000).body.unwrap();
    assert_eq!(group_shown["properties"]["colocationStatus"]["code"], "ColocationStatus/Aligned");
    assert_eq!(call(&mut model, Method::Delete, &set, 3000).status, 409);
    assert_eq!(call(&mut model, Method::Delete, &group, 3000).status, 409);
    for name in ["a", "b"] {
        call(&mut model, Method::Delete, &vm(name), 4000);
    }
    assert_eq!(call(&mut model, Method::Delete, &set, 5000).status, 200);
    assert_eq!(call(&mut model, Method::Delete, &group, 5000).status, 200);
}

#[test]
fn a_group_goes_with_everything_in_it() {
    let mut model = model();
    put(&mut model, &vm("a"), body(), 0);
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/HPC");
    assert_eq!(call(&mut model, Method::Delete, &group, 1000).status, 202);
    assert_eq!(code(&put(&mut model, &vm("b"), body(), 1001)), "ResourceGroupBeingDeleted");
    assert_eq!(call(&mut model, Method::Head, &group, 2000).status, 404);
    assert_eq!(code(&put(&mut model, &vm("b"), body(), 2001)), "ResourceGroupNotFound");
    let alive = model.history().to_json(Some(true)).to_string();
    assert!(!alive.contains("/resourceGroups/hpc/"), "{alive}");
}

#[test]
fn an_injected_failure_shows_at_its_own_moment() {
    let mut model = model();
    let mut request = Request::new(Method::Put, &vm("a")).with_body(body());
    let error = json!({"code": "OSProvisioningTimedOut", "message": "no report"});
    request.fail_operation = Some(super::message::ArmError::from_json(409, &error));
    let created = ask(&mut model, request, 0);
    assert_eq!(ended(&mut model, &created, 299)["status"], "InProgress");
    assert_eq!(ended(&mut model, &created, 300)["error"]["code"], "OSProvisioningTimedOut");
    // The guest did not report, and runs all the same.
    assert_eq!(codes(&mut model, "a", 301)[1], "PowerState/running");
}

#[test]
fn a_nic_of_another_region_is_refused() {
    let mut model = model();
    let subnet = subnet().replace("/net/", "/net-north/");
    let nic = path("Microsoft.Network/networkInterfaces/x").replace("/hpc/", "/hpc-north/");
    let configs = json!([{"name": "ip", "properties": {"subnet": {"id": subnet}}}]);
    let nic_body =
        |location: &str| json!({"location": location, "properties": {"ipConfigurations": configs}});
    assert_eq!(put(&mut model, &nic, nic_body("northeurope"), 0).status, 201);
    let elsewhere = path("Microsoft.Network/networkInterfaces/y");
    let refused = put(&mut model, &elsewhere, nic_body("westeurope"), 0);
    assert_eq!((refused.status, code(&refused)), (400, "InvalidResourceReference"));
    let mut with_nic = body();
    with_nic["properties"]["networkProfile"] = json!({"networkInterfaces": [{"id": nic}]});
    let refused = put(&mut model, &vm("a"), with_nic, 0);
    assert_eq!((refused.status, code(&refused)), (400, "InvalidResourceReference"));
}
