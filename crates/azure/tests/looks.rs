//! What is looked at before anything is made, as the emulator shows it.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of it")]
mod emulator;

use std::collections::BTreeMap;
use std::fmt::Debug;

use azslurm_arm_emulator::model::config::SUBSCRIPTION;
use azslurm_azure::{
    Answer, Arm, AzureError, ImageSeen, ImageWanted, Price, Prices, Reply, Reservation,
};
use azslurm_core::config::{ImageReference, Plan, Region, Sku};
use emulator::{cloud, limits, region};
use serde_json::json;

fn done<T: Debug>(reply: Result<Reply<T>, AzureError>) -> T {
    match reply.unwrap().answer {
        Answer::Done(done) => done,
        Answer::Refused(refusal) => panic!("{refusal:?}"),
    }
}

fn network() -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network\
         /virtualNetworks/vnet"
    )
}

fn hpc() -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc")
}

#[tokio::test]
async fn groups_registrations_and_what_vms_use_are_read() {
    let (emulator, arm) = emulator::start();
    let group = done(arm.look_group(SUBSCRIPTION, "hpc").await).unwrap();
    assert_eq!((group.location.as_str(), group.state.as_str()), ("westeurope", "Succeeded"));
    assert_eq!(done(arm.look_group(SUBSCRIPTION, "gone").await), None);
    let provider = "Microsoft.Network";
    let state = done(arm.look_registration(SUBSCRIPTION, provider).await);
    assert_eq!(state.as_deref(), Some("Registered"));
    emulator.post("/offers", &json!({ "unregistered_providers": [provider] })).unwrap();
    let state = done(arm.look_registration(SUBSCRIPTION, provider).await);
    assert_eq!(state.as_deref(), Some("NotRegistered"));
    for (kind, is_there) in [("there", true), ("gone", false)] {
        let identity =
            format!("{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{kind}", hpc());
        let reserved =
            format!("{}/providers/Microsoft.Compute/capacityReservationGroups/{kind}", hpc());
        if is_there {
            for id in [&identity, &reserved] {
                let body = json!({"location": "westeurope", "zones": ["2"]});
                let body = json!({"id": id, "body": body});
                emulator.post("/resources", &body).unwrap();
            }
        }
        assert_eq!(done(arm.look_identity(&identity).await).is_some(), is_there);
        let seen = done(arm.look_reservation(&reserved).await);
        let there = Reservation { location: "westeurope".into(), zones: vec!["2".into()] };
        assert_eq!(seen, is_there.then_some(there));
    }
}

#[tokio::test]
async fn rights_are_read_at_their_scope() {
    let (emulator, arm) = emulator::start();
    let write = "Microsoft.Compute/virtualMachines/write";
    let all = done(arm.permissions(&hpc()).await);
    assert!(all.iter().any(|one| one.allows(write)));
    let grants = json!({"grants": [
        {"scope": hpc(), "actions": ["*"], "not_actions": ["*/virtualMachines/write"]},
        {"scope": "/", "actions": ["*/read"]}]});
    emulator.post("/rights", &grants).unwrap();
    let all = done(arm.permissions(&hpc()).await);
    assert_eq!(all.len(), 2);
    assert!(!all.iter().any(|one| one.allows(write)));
    assert!(all.iter().any(|one| one.allows("Microsoft.Compute/disks/write")));
    let above = done(arm.permissions(&format!("/subscriptions/{SUBSCRIPTION}")).await);
    assert!(!above.iter().any(|one| one.allows("Microsoft.Compute/disks/write")));
    emulator.post("/rights", &json!({"grants": []})).unwrap();
    let refused = arm.permissions(&hpc()).await.unwrap().answer;
    assert!(matches!(refused, Answer::Refused(refusal) if refusal.status == 403));
}

#[tokio::test]
async fn a_subnet_its_network_and_its_rules_are_read() {
    let (emulator, arm) = emulator::start();
    let subnet = format!("{}/subnets/compute", network());
    let group = network().replace("virtualNetworks/vnet", "networkSecurityGroups/nsg");
    let rule = json!({"name": "ssh", "properties": {"priority": 100, "access": "Deny",
        "direction": "Inbound", "protocol": "Tcp", "sourceAddressPrefix": "*",
        "destinationAddressPrefixes": ["10.0.0.0/8", "VirtualNetwork"], "sourcePortRange": "*",
        "destinationPortRanges": ["22", "6000-7000"]}});
    let body = json!({"location": "westeurope", "properties": {"securityRules": [rule]}});
    emulator.post("/resources", &json!({"id": group, "body": body})).unwrap();
    let body = json!({"properties": {"addressPrefix": "10.0.0.0/20",
        "networkSecurityGroup": {"id": group}, "defaultOutboundAccess": false,
        "delegations": [{"name": "d", "properties": {"serviceName": "Microsoft.Web/x"}}]}});
    emulator.post("/resources", &json!({"id": subnet, "body": body})).unwrap();
    emulator.post("/subnets", &json!({"subnet": subnet, "take": 3})).unwrap();
    let seen = done(arm.look_subnet(&subnet).await).unwrap();
    assert_eq!((seen.prefixes.as_slice(), seen.used), (&["10.0.0.0/20".to_owned()][..], 3));
    assert_eq!(seen.security_group.as_deref(), Some(group.as_str()));
    assert_eq!((seen.nat_gateway, seen.has_default_outbound), (None, Some(false)));
    assert_eq!(seen.delegations, ["Microsoft.Web/x"]);
    assert_eq!(done(arm.look_subnet(&format!("{subnet}x")).await), None);
    let uses = done(arm.subnet_use(&network()).await);
    assert_eq!((uses[0].used, uses[0].limit), (3, 4091));
    assert_eq!(uses[0].subnet, subnet.to_uppercase().parse().unwrap());
    let rules = done(arm.look_security_group(&group).await).unwrap();
    assert_eq!(rules.len(), 7);
    let ssh = &rules[0];
    assert!(ssh.is_inbound && !ssh.is_allow && !ssh.has_application_groups);
    assert_eq!((ssh.sources.as_slice(), ssh.ports.len()), (&["*".to_owned()][..], 2));
    assert_eq!(ssh.destinations, ["10.0.0.0/8", "VirtualNetwork"]);
    let peering = json!({"vnet": network(), "name": "p", "remote": "/r", "state": "Initiated"});
    emulator.post("/peerings", &peering).unwrap();
    let seen = done(arm.look_network(&network()).await).unwrap();
    assert_eq!((seen.location.as_str(), seen.prefixes.len()), ("westeurope", 1));
    assert_eq!((seen.peerings[0].state.as_str(), seen.dns_servers.len()), ("Initiated", 0));
}

async fn image(arm: &Arm, region: &Region, image: ImageReference) -> Option<ImageSeen> {
    let wanted = ImageWanted { subscription: SUBSCRIPTION, region, image: &image };
    done(arm.look_image(wanted).await)
}

fn urn(offer: &str, version: &str) -> ImageReference {
    ImageReference::Urn {
        publisher: "acme".into(),
        offer: offer.into(),
        sku: "nine".into(),
        version: version.into(),
    }
}

#[tokio::test]
async fn images_of_each_kind_are_read() {
    let (emulator, arm) = emulator::start();
    let here = region();
    emulator
        .post(
            "/offers",
            &json!({"unknown_images": ["gone"], "images_with_plan": ["paid"], "images": [
                {"contains": "old", "generation": "V1", "retires": "2026-12-01T00:00:00Z"},
                {"contains": "arm", "architecture": "Arm64", "regions": ["northeurope"]}]}),
        )
        .unwrap();
    let plain = image(&arm, &here, urn("plain", "latest")).await.unwrap();
    assert_eq!(plain.generation.as_deref(), Some("V2"));
    assert_eq!(plain.architecture.as_deref(), Some("x64"));
    assert_eq!((plain.disk_gb, plain.is_in_region, plain.plan), (Some(30), Some(true), None));
    let old = image(&arm, &here, urn("old", "1.2.3")).await.unwrap();
    assert_eq!(old.generation.as_deref(), Some("V1"));
    assert_eq!(old.retires.as_deref(), Some("2026-12-01T00:00:00Z"));
    let plan = Plan { publisher: "acme".into(), product: "paid".into(), name: "nine".into() };
    assert_eq!(image(&arm, &here, urn("paid", "latest")).await.unwrap().plan, Some(plan.clone()));
    assert_eq!(image(&arm, &here, urn("gone", "latest")).await, None);
    assert_eq!(image(&arm, &here, urn("gone", "1.2.3")).await, None);
    assert_eq!(done(arm.look_terms(SUBSCRIPTION, &plan).await), Some(true));
    emulator.post("/offers", &json!({"unaccepted_plans": ["acme"]})).unwrap();
    assert_eq!(done(arm.look_terms(SUBSCRIPTION, &plan).await), Some(false));
    let gallery = format!("{}/providers/Microsoft.Compute/galleries/g/images", hpc());
    for (name, is_here) in [("arm", false), ("arm/versions/1.0.0", false), ("plain", true)] {
        let seen = image(&arm, &here, ImageReference::Id(format!("{gallery}/{name}"))).await;
        assert_eq!(seen.unwrap().is_in_region, Some(is_here), "{name}");
    }
    assert_eq!(image(&arm, &here, ImageReference::Id(format!("{gallery}/gone"))).await, None);
    let own = format!("{}/providers/Microsoft.Compute/images/own", hpc());
    let body = json!({"location": "westeurope", "properties": {"hyperVGeneration": "V1",
        "storageProfile": {"osDisk": {"diskSizeGB": 40}}}});
    emulator.post("/resources", &json!({"id": own, "body": body})).unwrap();
    let seen = image(&arm, &here, ImageReference::Id(own)).await.unwrap();
    assert_eq!((seen.generation.as_deref(), seen.disk_gb), (Some("V1"), Some(40)));
    assert_eq!(seen.is_in_region, Some(true));
    let community = |name: &str| {
        ImageReference::CommunityGallery(format!("/communityGalleries/c/images/{name}/versions/1"))
    };
    assert_eq!(image(&arm, &here, community("arm")).await, None);
    let north = Region::new("northeurope").unwrap();
    let seen = image(&arm, &north, community("arm")).await.unwrap();
    assert_eq!(seen.architecture.as_deref(), Some("Arm64"));
}

#[tokio::test]
async fn prices_are_read_without_a_token() {
    let (emulator, _) = emulator::start();
    let prices = Prices::new(&cloud(&emulator), &limits()).unwrap().unwrap();
    emulator.post("/offers", &json!({"prices": {"Standard_D4s_v5": 0.5}})).unwrap();
    // More than one question, and more than a page.
    let mut sizes: Vec<Sku> = azslurm_arm_emulator::catalog::skus()
        .iter()
        .map(|sku| Sku::new(sku.name).unwrap())
        .take(40)
        .collect();
    sizes.push(Sku::new("Standard_Unheard_v9").unwrap());
    let found: BTreeMap<Sku, Price> = prices.of(&region(), &sizes).await.unwrap();
    assert_eq!(found.len(), 40);
    let price = found[&Sku::new("Standard_D4s_v5").unwrap()];
    assert_eq!(price, Price { regular: Some(0.5), spot: Some(0.1) });
    let mut without = cloud(&emulator);
    without.endpoints.prices = None;
    assert!(Prices::new(&without, &limits()).unwrap().is_none());
    without.endpoints.prices = Some("http://127.0.0.1:1".to_owned());
    let absent = Prices::new(&without, &limits()).unwrap().unwrap();
    let error = absent.of(&region(), &sizes).await.unwrap_err();
    assert!(matches!(error, AzureError::Unreachable { .. }), "{error:?}");
}
