//! What is looked at before a VM is made: rights, registrations, terms, images, networks, prices;
//! and that what a look says is what a PUT meets.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use serde_json::{Value, json};
use support::{SUBSCRIPTION, Setup, setup, vm_body};

const NETWORK: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/\
    providers/Microsoft.Network/virtualNetworks/vnet";

async fn read(setup: &Setup, path: &str) -> Value {
    let answer = setup.get(&url(setup, path)).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

fn url(setup: &Setup, path: &str) -> String {
    format!("{}{path}?api-version=2024-07-01", setup.emulator.urls().arm_http)
}

#[tokio::test]
async fn who_lacks_an_action_is_refused_and_sees_it_in_the_permissions() {
    let setup = setup();
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc");
    let path = format!("{group}/providers/Microsoft.Authorization/permissions");
    assert_eq!(read(&setup, &path).await["value"][0]["actions"], json!(["*"]));
    setup.control(
        "/rights",
        &json!({"grants": [
            {"scope": "/", "actions": ["*"], "not_actions": ["*/virtualMachines/write"]},
            {"scope": "/subscriptions/elsewhere", "actions": ["*"]}]}),
    );
    let seen = read(&setup, &path).await;
    assert_eq!(seen["value"].as_array().unwrap().len(), 1);
    assert_eq!(seen["value"][0]["notActions"], json!(["*/virtualMachines/write"]));
    let refused = setup.put_vm("a").await;
    assert_eq!((refused.status, refused.code()), (403, "AuthorizationFailed"));
    let text = refused.body["error"]["message"].as_str().unwrap();
    assert!(text.contains("'Microsoft.Compute/virtualMachines/write' over scope"), "{text}");
    setup.control(
        "/rights",
        &json!({"grants": [
            {"scope": group, "actions": ["*"]}, {"scope": "/", "actions": ["*/read"]}]}),
    );
    let refused = setup.put_vm("a").await;
    assert_eq!((refused.status, refused.code()), (403, "LinkedAuthorizationFailed"));
    let text = refused.body["error"]["message"].as_str().unwrap();
    assert!(text.contains("'Microsoft.Network/virtualNetworks/subnets/join/action'"), "{text}");
    assert_eq!(setup.get(&setup.vm("a")).await.status, 404, "and may be read");
}

#[tokio::test]
async fn a_provider_that_is_not_registered_makes_nothing() {
    let setup = setup();
    let path = format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute");
    assert_eq!(read(&setup, &path).await["registrationState"], "Registered");
    setup.control("/offers", &json!({"unregistered_providers": ["microsoft.compute"]}));
    assert_eq!(read(&setup, &path).await["registrationState"], "NotRegistered");
    let refused = setup.put_vm("a").await;
    assert_eq!((refused.status, refused.code()), (409, "MissingSubscriptionRegistration"));
}

#[tokio::test]
async fn terms_are_accepted_before_a_vm_of_the_plan_is_made() {
    let setup = setup();
    setup.control("/offers", &json!({"unaccepted_plans": ["acme:"], "images_with_plan": ["acme"]}));
    let image = format!(
        "/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westeurope\
         /publishers/acme/artifacttypes/vmimage/offers/hpc/skus/nine/versions"
    );
    let versions = read(&setup, &image).await;
    let version = versions[0]["name"].as_str().unwrap();
    let shown = read(&setup, &format!("{image}/{version}")).await;
    assert_eq!(
        shown["properties"]["plan"],
        json!({"publisher": "acme", "product": "hpc", "name": "nine"})
    );
    assert_eq!(shown["properties"]["hyperVGeneration"], "V2");
    assert_eq!(setup.get(&url(&setup, &format!("{image}/latest"))).await.status, 404);
    let mut body = vm_body("a");
    body["properties"]["storageProfile"]["imageReference"] =
        json!({"publisher": "acme", "offer": "hpc", "sku": "nine", "version": "latest"});
    body["plan"] = json!({"publisher": "acme", "product": "hpc", "name": "nine"});
    let refused = setup.send("PUT", &setup.vm("a"), Some(&body)).await;
    assert_eq!(refused.code(), "MarketplacePurchaseEligibilityFailed");
    let terms = format!(
        "/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MarketplaceOrdering/offerTypes\
         /virtualmachine/publishers/acme/offers/hpc/plans/nine/agreements/current"
    );
    let mut agreement = read(&setup, &terms).await;
    assert_eq!(agreement["properties"]["accepted"], false);
    agreement["properties"]["accepted"] = json!(true);
    let accepted = setup.send("PUT", &url(&setup, &terms), Some(&agreement)).await;
    assert_eq!(accepted.body["properties"]["accepted"], true);
    assert_eq!(setup.send("PUT", &setup.vm("a"), Some(&body)).await.status, 201);
}

#[tokio::test]
async fn an_image_of_a_gallery_is_where_it_was_replicated() {
    let setup = setup();
    setup.control(
        "/offers",
        &json!({"images": [{"contains": "/images/i", "regions": ["northeurope"],
            "generation": "V1", "architecture": "Arm64", "disk_gb": 64,
            "retires": "2026-12-01T00:00:00Z"}]}),
    );
    let image = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc/providers/Microsoft.Compute\
         /galleries/g/images/i"
    );
    let shown = read(&setup, &image).await;
    assert_eq!(shown["properties"]["hyperVGeneration"], "V1");
    assert_eq!(shown["properties"]["architecture"], "Arm64");
    let versions = read(&setup, &format!("{image}/versions")).await;
    let version = &versions["value"][0];
    let profile = &version["properties"]["publishingProfile"];
    assert_eq!(profile["targetRegions"][0]["name"], "North Europe");
    assert_eq!(version["properties"]["storageProfile"]["osDiskImage"]["sizeInGB"], 64);
    let mut body = vm_body("a");
    body["properties"]["storageProfile"]["imageReference"] = json!({ "id": image });
    let refused = setup.send("PUT", &setup.vm("a"), Some(&body)).await;
    assert_eq!((refused.status, refused.code()), (404, "GalleryImageNotFound"));
    let shared = |region: &str| {
        format!(
            "/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/{region}\
             /communityGalleries/c/images/i"
        )
    };
    assert_eq!(setup.get(&url(&setup, &shared("westeurope"))).await.status, 404);
    assert_eq!(read(&setup, &shared("northeurope")).await["name"], "i");
    let version = read(&setup, &format!("{}/versions/2.0.0", shared("northeurope"))).await;
    assert_eq!(version["name"], "2.0.0");
}

#[tokio::test]
async fn a_subnet_shows_who_is_in_it_and_fills_up() {
    let setup = setup();
    let small = json!({"id": format!("{NETWORK}/subnets/small"),
        "body": {"properties": {"addressPrefix": "10.0.64.0/28"}}});
    setup.control("/resources", &small);
    let path = format!("{NETWORK}/subnets/small");
    assert_eq!(read(&setup, &path).await["properties"].get("ipConfigurations"), None);
    let mut body = vm_body("a");
    let nics = "/properties/networkProfile/networkInterfaceConfigurations";
    body.pointer_mut(nics).unwrap()[0]["properties"]["ipConfigurations"][0]["properties"]["subnet"]
        ["id"] = json!(path);
    assert_eq!(setup.send("PUT", &setup.vm("a"), Some(&body)).await.status, 201);
    let inside = read(&setup, &path).await["properties"]["ipConfigurations"].clone();
    let id = inside[0]["id"].as_str().unwrap();
    assert!(id.contains("/networkInterfaces/") && id.ends_with("/ipConfigurations/ip"), "{id}");
    let crowd = setup.control("/subnets", &json!({"subnet": path, "take": 100}));
    assert_eq!(crowd["taken"], 10);
    let inside = read(&setup, &path).await["properties"]["ipConfigurations"].clone();
    assert_eq!(inside.as_array().unwrap().len(), 11);
    let usages = read(&setup, &format!("{NETWORK}/usages")).await;
    let all = usages["value"].as_array().unwrap();
    let usage = all.iter().find(|one| one["id"] == path.as_str()).unwrap();
    assert_eq!((usage["currentValue"].as_f64(), usage["limit"].as_f64()), (Some(11.0), Some(11.0)));
    body["properties"]["osProfile"]["computerName"] = json!("b");
    let refused = setup.send("PUT", &setup.vm("b"), Some(&body)).await;
    assert_eq!(refused.code(), "SubnetIsFull");
}

#[tokio::test]
async fn a_network_has_peerings_and_a_security_group_its_standing_rules() {
    let setup = setup();
    assert_eq!(read(&setup, NETWORK).await["properties"]["virtualNetworkPeerings"], json!([]));
    setup.control(
        "/peerings",
        &json!({"vnet": NETWORK, "name": "north", "remote": "/x", "state": "Disconnected"}),
    );
    let network = read(&setup, NETWORK).await;
    let peering = &network["properties"]["virtualNetworkPeerings"][0];
    assert_eq!(peering["properties"]["peeringState"], "Disconnected");
    let group = NETWORK.replace("virtualNetworks/vnet", "networkSecurityGroups/closed");
    let rule = json!({"name": "no", "properties": {"priority": 100, "access": "Deny",
        "direction": "Inbound", "protocol": "Tcp", "sourceAddressPrefix": "VirtualNetwork",
        "destinationAddressPrefix": "*", "sourcePortRange": "*", "destinationPortRange": "6818"}});
    let body = json!({"location": "westeurope", "properties": {"securityRules": [rule]}});
    setup.control("/resources", &json!({"id": group, "body": body}));
    let shown = read(&setup, &group).await;
    assert_eq!(shown["properties"]["securityRules"][0]["name"], "no");
    let standing = shown["properties"]["defaultSecurityRules"].as_array().unwrap();
    assert_eq!(standing.len(), 6);
    assert_eq!(standing[0]["properties"]["priority"], 65000);
}

#[tokio::test]
async fn a_size_that_is_restricted_in_a_zone_is_listed_so() {
    let setup = setup();
    let restriction = json!({"sku": "Standard_D4s_v5", "region": "westeurope", "zones": ["1"]});
    setup.control("/offers", &json!({"restrictions": [restriction]}));
    let url = format!(
        "{}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/skus\
         ?api-version=2021-07-01&$filter=location eq 'westeurope'",
        setup.emulator.urls().arm_http
    );
    let list = setup.get(&url).await.body;
    let row = list["value"].as_array().unwrap().iter().find(|one| one["name"] == "Standard_D4s_v5");
    let shown = &row.unwrap()["restrictions"][0];
    assert_eq!(
        (&shown["type"], &shown["restrictionInfo"]["zones"]),
        (&json!("Zone"), &json!(["1"]))
    );
}

#[tokio::test]
async fn prices_are_public() {
    let setup = setup();
    setup.control("/offers", &json!({"prices": {"Standard_D4s_v5": 0.5}}));
    let filter = "serviceName eq 'Virtual Machines' and armRegionName eq 'westeurope' and \
        armSkuName eq 'Standard_D4s_v5'";
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("$filter", filter)
        .finish();
    let url = format!("{}/api/retail/prices?{query}", setup.emulator.urls().prices);
    let page: Value = setup.client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!((&page["Count"], &page["Items"][0]["retailPrice"]), (&json!(6), &json!(0.5)));
    assert_eq!(page["Items"][1]["skuName"], "D4s v5 Spot");
}
