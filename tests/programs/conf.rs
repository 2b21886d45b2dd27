//! `azslurm-conf` against Azure: a good world is silent, and each part of it broken costs its own
//! finding and no other. The files are the example's; slurm.conf is nobody's matter here.

use std::fs;

use azslurm_core::attempt::AttemptState;
use serde_json::{Value, json};

use crate::bench::{Bench, KEY, SUBNET, all, assert_names, said};

const NETWORK: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/\
    providers/Microsoft.Network/virtualNetworks/vnet";
const GROUP: &str =
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/hpc/providers";
const PLAN: &str = "acme:hpc:nine";

/// Ten plain nodes in zones and two blocks of four with InfiniBand; an image with a plan, one of a
/// gallery, an identity for the VMs, a price list.
fn bench() -> Bench {
    let bench = Bench::start_in("[throttle]\nenforce = false\n");
    let identity = format!("{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/node");
    put(&bench, &identity, json!({"location": "westeurope"}));
    bench.emulator.post("/offers", &offers()).unwrap();
    let more = format!(
        "zones = [\"1\", \"2\"]\nidentities = [\"{identity}\"]\n\
         [nodeset.hb]\nnodes = \"hb[1-8]\"\nsites = [\"west\"]\nsku = \"Standard_HB120rs_v3\"\n\
         interconnect = \"infiniband\"\nblock_nodes = 4\nimage_plan = \"{PLAN}\"\n\
         image = \"acme:hpc:nine:latest\"\nssh_public_key = \"{KEY}\"\n\
         [nodeset.spot]\nnodes = \"s[1-4]\"\nsites = [\"west\"]\nsku = \"Standard_D8ds_v5\"\n\
         priority = \"spot\"\nmax_price = 0.2\nos_disk = {{ ephemeral = \"cache-disk\" }}\n\
         image = \"{GROUP}/Microsoft.Compute/galleries/g/images/i\"\nssh_public_key = \"{KEY}\"\n"
    );
    let text = bench.config(&more).replace("nodes = \"n[1-1000]\"", "nodes = \"n[1-10]\"");
    let prices = format!("prices = \"{}\"\n[site.west]\n", bench.emulator.endpoints().arm_http);
    bench.write_config(&text.replacen("[site.west]\n", &prices, 1));
    bench
}

/// What is for sale in the good world.
fn offers() -> Value {
    json!({"images_with_plan": ["acme"], "unknown_images": [], "unaccepted_plans": [],
        "unregistered_providers": [], "restrictions": [], "images": [],
        "prices": {"Standard_HB120rs_v3": 3.6}})
}

/// A PUT by whoever owns it.
fn put(bench: &Bench, id: &str, body: Value) {
    bench.emulator.post("/resources", &json!({"id": id, "body": body})).unwrap();
}

/// What a check found of Azure, as `level text`.
fn findings(bench: &Bench) -> Vec<String> {
    let output = bench.run_conf(&["check", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let of_azure =
        report["findings"].as_array().unwrap().iter().filter(|one| one["check"] == "azure");
    let line = |one: &Value| {
        assert!(one["fix"].as_str().is_some_and(|fix| fix.len() > 10), "{one}");
        format!("{} {}", one["level"].as_str().unwrap(), one["text"].as_str().unwrap())
    };
    of_azure.map(line).collect()
}

/// What a check found of anything else, with these words in it.
fn others(bench: &Bench, word: &str) -> Vec<String> {
    let output = bench.run_conf(&["check", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let texts = report["findings"].as_array().unwrap().iter().filter(|one| one["check"] != "azure");
    let texts = texts.map(|one| one["text"].as_str().unwrap().to_owned());
    texts.filter(|text| text.contains(word)).collect()
}

/// Exactly one finding, with these words.
fn one(bench: &Bench, words: &[&str]) {
    let findings = findings(bench);
    assert_eq!(findings.len(), 1, "{words:?}: {findings:#?}");
    assert_names(&findings[0], words);
}

/// Grants exactly what `azslurm-conf role` prints.
fn grant_what_role_prints(bench: &Bench) -> Value {
    let output = bench.run_conf(&["role", "--json"]);
    said(&output, 0);
    let rights: Value = serde_json::from_slice(&output.stdout).unwrap();
    let grants: Vec<Value> = rights["assignments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let roles = rights["roles"].as_array().unwrap();
            let role = roles.iter().find(|role| role["Name"] == one["role"]).unwrap();
            json!({"scope": one["scope"], "actions": role["Actions"]})
        })
        .collect();
    let grants = json!({ "grants": grants });
    bench.emulator.post("/rights", &grants).unwrap();
    grants
}

/// Everybody may do everything, but for these actions.
fn deny(bench: &Bench, actions: &[&str]) {
    let grants = json!({"grants": [{"scope": "/", "actions": ["*"], "not_actions": actions}]});
    bench.emulator.post("/rights", &grants).unwrap();
}

#[test]
fn with_the_rights_that_role_prints_a_check_is_silent_and_vms_of_every_kind_are_made() {
    let bench = bench();
    let grants = grant_what_role_prints(&bench);
    assert_eq!(findings(&bench), Vec::<String>::new());
    for nodes in ["n1", "hb[1-4]", "s1"] {
        let output = bench.resume_gang(nodes);
        said(&output, 0);
    }
    let attempts = bench.attempts("six VMs", |attempts| {
        attempts.len() == 6 && all(AttemptState::Running)(attempts)
    });
    assert_eq!(attempts.len(), 6, "nothing was refused");
    assert_eq!(findings(&bench), Vec::<String>::new(), "what runs is held against nobody");
    // One action less is noticed by both.
    let mut less = grants;
    for grant in less["grants"].as_array_mut().unwrap() {
        let actions = grant["actions"].as_array_mut().unwrap();
        actions.retain(|action| action != "Microsoft.Network/virtualNetworks/subnets/join/action");
    }
    bench.emulator.post("/rights", &less).unwrap();
    one(&bench, &["error site west", "virtualNetworks/subnets/join/action", "subnets/compute"]);
}

#[test]
fn each_right_that_is_missing_costs_its_own_finding_and_no_other() {
    let bench = bench();
    deny(&bench, &["*/virtualMachines/write"]);
    one(&bench, &["error site west", "Microsoft.Compute/virtualMachines/write"]);
    deny(&bench, &["*/usages/read"]);
    let seen = findings(&bench);
    assert_eq!(seen.len(), 2, "the lack, and what cannot be read: {seen:#?}");
    assert_names(&seen[0], &["warning site west", "Microsoft.Compute/locations/usages/read"]);
    assert_names(&seen[1], &["note site west: the quotas of westeurope cannot be read: 403"]);
    deny(&bench, &["Microsoft.Network/virtualNetworks/read"]);
    one(&bench, &["note site west: network", "virtualNetworks/vnet cannot be read: 403"]);
    deny(&bench, &["Microsoft.MarketplaceOrdering/*"]);
    one(&bench, &["note nodeset hb at site west: the terms of plan acme:hpc:nine cannot be read"]);
    deny(&bench, &["*/versions/read"]);
    let seen = findings(&bench);
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert_names(&seen[0], &["error site west", "galleries/images/versions/read", "/images/i"]);
    for (line, nodeset) in seen[1..].iter().zip(["hb", "n", "spot"]) {
        assert_names(line, &[&format!("note nodeset {nodeset} at site west: image")]);
    }
    deny(&bench, &["Microsoft.Authorization/permissions/read"]);
    let seen = findings(&bench);
    assert!(seen.iter().all(|line| line.starts_with("note site west: what the identity may do")));
    assert_eq!(seen.len(), 5, "a note for each scope: {seen:#?}");
}

#[test]
fn what_azure_does_not_sell_or_has_not_got_is_found() {
    let bench = bench();
    let with = |changes: Value, words: &[&str]| {
        bench.emulator.post("/offers", &offers()).unwrap();
        bench.emulator.post("/offers", &changes).unwrap();
        one(&bench, words);
    };
    with(
        json!({"unregistered_providers": ["Microsoft.Network"]}),
        &["error site west: subscription", "not registered for Microsoft.Network"],
    );
    with(
        json!({"unaccepted_plans": ["acme:"]}),
        &["error nodeset hb at site west: the terms of plan acme:hpc:nine are not accepted"],
    );
    let restrict = |zones: Value| {
        let sku = "Standard_D4s_v5";
        json!({"restrictions": [{"sku": sku, "region": "westeurope", "zones": zones}]})
    };
    with(restrict(json!(["1"])), &["warning nodeset n", "zone 1 of westeurope", "had in 2, 3"]);
    with(restrict(json!([])), &["error nodeset n", "Standard_D4s_v5 is not offered"]);
    with(
        json!({"unknown_images": ["ubuntu-hpc"]}),
        &["error nodeset n at site west: image microsoft-dsvm:ubuntu-hpc", "does not exist"],
    );
    with(
        json!({"images": [{"contains": "/images/i", "regions": ["northeurope"]}]}),
        &["error nodeset spot", "galleries/g/images/i is not in westeurope"],
    );
    with(
        json!({"images": [{"contains": "ubuntu-hpc", "architecture": "Arm64"}]}),
        &["error nodeset n", "is Arm64, and Standard_D4s_v5 is x64"],
    );
    with(
        json!({"images": [{"contains": "ubuntu-hpc", "retires": "2020-01-01T00:00:00Z"}]}),
        &["error nodeset n", "has ended on 2020-01-01"],
    );
    with(
        json!({"images": [{"contains": "/images/i", "disk_gb": 300}]}),
        &["error nodeset spot", "cache-disk has 200 GiB, and the image needs 300 GiB"],
    );
    with(
        json!({"prices": {"Standard_D8ds_v5": 2.0}}),
        &["error nodeset spot", "Spot costs 0.4000 USD an hour, and max_price is 0.2"],
    );
    with(
        json!({"prices": {"Standard_HB120rs_v3": 30.0}}),
        &["note nodeset hb", "8 nodes cost 240 USD an hour (30.00 each"],
    );
    bench.emulator.post("/offers", &offers()).unwrap();
    bench.emulator.set_quota("westeurope", "standardHBv3Family", 480).unwrap();
    one(&bench, &["warning quota standardHBv3Family of westeurope", "480 for this", "need 960"]);
    bench.emulator.set_quota("westeurope", "standardHBv3Family", 479).unwrap();
    one(&bench, &["error quota standardHBv3Family", "one block of nodeset hb (4 nodes) needs 480"]);
}

#[test]
fn what_is_wrong_with_the_network_is_found() {
    let bench = bench();
    let crowd =
        |take: u32| bench.emulator.post("/subnets", &json!({"subnet": SUBNET, "take": take}));
    let compute = |more: Value| {
        let mut body = json!({"properties": {"addressPrefix": "10.0.0.0/20"}});
        body["properties"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        put(&bench, SUBNET, body);
    };
    let group = NETWORK.replace("virtualNetworks/vnet", "networkSecurityGroups/closed");
    let rule = json!({"name": "no-slurm", "properties": {"priority": 100, "access": "Deny",
        "direction": "Inbound", "protocol": "Tcp", "sourceAddressPrefix": "VirtualNetwork",
        "destinationAddressPrefix": "*", "sourcePortRange": "*",
        "destinationPortRange": "6000-7000"}});
    let body = json!({"location": "westeurope", "properties": {"securityRules": [rule]}});
    put(&bench, &group, body);
    compute(json!({"networkSecurityGroup": {"id": group}}));
    one(&bench, &["error site west: rule no-slurm", "security group closed denies", "port 6818"]);
    compute(json!({"defaultOutboundAccess": false}));
    one(&bench, &["warning site west: the subnet is private", "NAT gateway"]);
    compute(json!({}));
    let peer = |state: &str| {
        let peering = json!({"vnet": NETWORK, "name": "hub", "remote": "/hub", "state": state});
        bench.emulator.post("/peerings", &peering).unwrap();
    };
    peer("Disconnected");
    one(&bench, &["warning site west: peering hub", "Disconnected"]);
    peer("Connected");
    crowd(4091 - 21).unwrap();
    one(&bench, &["warning site west: the subnet has 21 of 4091 addresses", "22 nodes"]);
    crowd(18).unwrap();
    one(&bench, &["error site west: the subnet has 3 of 4091", "block of nodeset hb needs 4"]);
}

#[test]
fn a_check_offline_asks_nothing_and_one_without_azure_ends_with_one_finding() {
    let bench = bench();
    bench.emulator.reset_calls().unwrap();
    let output = bench.run_conf(&["check", "--offline", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(bench.emulator.calls().unwrap().total, 0);
    let asked: Vec<&Value> = report["not_checked"].as_array().unwrap().iter().collect();
    assert!(asked.contains(&&json!("Azure")), "{report:#}");
    let good = fs::read_to_string(bench.config_path()).unwrap();
    let imds = format!("imds = \"{}\"", bench.emulator.endpoints().imds);
    bench.write_config(&good.replace(&imds, "imds = \"http://127.0.0.1:1\""));
    one(&bench, &["error no token for west, as the system-assigned managed identity"]);
    let prices = format!("prices = \"{}\"", bench.emulator.endpoints().arm_http);
    bench.write_config(&good.replace(&prices, "prices = \"http://127.0.0.1:1\""));
    one(&bench, &["note prices are not known"]);
}

#[test]
fn what_the_config_says_of_a_size_is_judged_by_what_azure_says_now() {
    let bench = bench();
    assert_eq!(others(&bench, "cpus of n"), Vec::<String>::new());
    let good = fs::read_to_string(bench.config_path()).unwrap();
    bench.write_config(&good.replace("[nodeset.n]\n", "[nodeset.n]\ncpus = 8\n"));
    assert_eq!(others(&bench, "cpus of n").len(), 1);
    assert_eq!(findings(&bench), Vec::<String>::new(), "and is told once");
    let kept = bench.dir.path().join("azslurm-sizes.json");
    assert!(!kept.exists(), "a check writes nothing");
}

#[test]
fn nodes_are_weighed_by_what_they_cost() {
    let bench = bench();
    let output = bench.run_conf(&["render", "--slurm-version", "24.11.0"]);
    said(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_names(&text, &["3.60", "USD an hour"]);
}
