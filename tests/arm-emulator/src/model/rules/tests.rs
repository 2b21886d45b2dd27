//! Each rule of the table by one row: the body that breaks it alone, and Azure's code.

use serde_json::{Value, json};

use super::super::tests::{T0, VERSION, body, model, path, put, vm};
use super::super::{Model, VmPut, ids::ResourceId};
use super::{Case, RULES};

/// How a row breaks its rule: name of the rule, name of the VM, api-version, change of the body.
struct Row {
    rule: &'static str,
    name: &'static str,
    version: &'static str,
    change: fn(&mut Value),
}

fn row(rule: &'static str, change: fn(&mut Value)) -> Row {
    Row { rule, name: "n1", version: VERSION, change }
}

/// Sets a member of `properties`; the path is made as far as it is missing.
fn set(body: &mut Value, pointer: &str, value: Value) {
    let mut at = &mut body["properties"];
    for name in pointer.split('/') {
        at = match name.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[name],
        };
    }
    *at = value;
}

fn remove(body: &mut Value, pointer: &str, name: &str) {
    let object = body["properties"].pointer_mut(pointer).unwrap().as_object_mut().unwrap();
    object.remove(name).unwrap();
}

const OS_DISK: &str = "storageProfile/osDisk";
const KEYS: &str = "osProfile/linuxConfiguration/ssh/publicKeys";

fn ephemeral(body: &mut Value) {
    set(body, "hardwareProfile/vmSize", json!("Standard_D2ds_v5"));
    set(body, &format!("{OS_DISK}/diffDiskSettings"), json!({"option": "Local"}));
}

fn set_id(name: &str) -> Value {
    json!({ "id": path(&format!("Microsoft.Compute/availabilitySets/{name}")) })
}

fn simple_rows() -> Vec<Row> {
    vec![
        row("unknown-member", |b| set(b, "hardwarProfile", json!({}))),
        Row { version: "2020-12-01", ..row("member-of-later-version", |_| {}) },
        Row { name: "_n1", ..row("vm-name", |_| {}) },
        row("size-missing", |b| remove(b, "/hardwareProfile", "vmSize")),
        row("size-unknown", |b| set(b, "hardwareProfile/vmSize", json!("Standard_Z1"))),
        row("size-retired", |b| set(b, "hardwareProfile/vmSize", json!("Standard_HB60rs"))),
        row("size-restricted", |b| {
            set(b, "hardwareProfile/vmSize", json!("Standard_D8s_v5"));
            b["zones"] = json!(["2"]);
        }),
        row("region-unknown", |b| b["location"] = json!("atlantis")),
        row("computer-name-missing", |b| remove(b, "/osProfile", "computerName")),
        row("computer-name", |b| set(b, "osProfile/computerName", json!("a_b"))),
        row("admin-name-missing", |b| remove(b, "/osProfile", "adminUsername")),
        row("admin-name-banned", |b| set(b, "osProfile/adminUsername", json!("root"))),
        row("no-way-in", |b| set(b, KEYS, json!([]))),
        row("ssh-key", |b| set(b, &format!("{KEYS}/0/path"), json!("/root/.ssh/authorized_keys"))),
        row("custom-data", |b| set(b, "osProfile/customData", json!("not base64!"))),
        row("user-data", |b| set(b, "userData", json!("AAAA".repeat(22_000)))),
        row("durations", |b| set(b, "extensionsTimeBudget", json!("PT3H"))),
        row("tags", |b| b["tags"] = json!({"long": "x".repeat(257)})),
        row("image-missing", |b| remove(b, "/storageProfile", "imageReference")),
        row("image-unknown", |b| set(b, "storageProfile/imageReference/sku", json!("no-such"))),
        row("gallery-image-unknown", |b| {
            set(b, "storageProfile/imageReference", json!({"id": "/galleries/g/images/no-such"}));
        }),
        row("plan-missing", |b| set(b, "storageProfile/imageReference/offer", json!("paid"))),
        row("terms-not-accepted", |b| {
            b["plan"] = json!({"publisher": "p", "product": "closed", "name": "n"});
        }),
        row("image-generation", |b| {
            set(b, "hardwareProfile/vmSize", json!("Standard_HB176rs_v4"));
            set(b, "storageProfile/imageReference/sku", json!("old-gen1"));
        }),
        row("image-architecture", |b| {
            set(b, "hardwareProfile/vmSize", json!("Standard_D4ps_v5"));
        }),
        row("disk-words", |b| set(b, &format!("{OS_DISK}/deleteOption"), json!("Remove"))),
        row("no-nic", |b| set(b, "networkProfile", json!({}))),
        row("inline-nic-version", |b| remove(b, "/networkProfile", "networkApiVersion")),
        row("both-kinds-of-nic", |b| {
            set(b, "networkProfile/networkInterfaces", json!([{"id": "x"}]));
        }),
        row("accelerated-networking", |b| {
            set(b, "storageProfile/imageReference/sku", json!("old-gen1"));
            set(b, "hardwareProfile/vmSize", json!("Standard_D2_v2"));
            let config = "networkProfile/networkInterfaceConfigurations/0/properties";
            set(b, &format!("{config}/enableAcceleratedNetworking"), json!(true));
        }),
        row("inline-nic-static-address", |b| {
            let config = "networkProfile/networkInterfaceConfigurations/0/properties";
            let pointer = format!("{config}/ipConfigurations/0/properties/privateIPAddress");
            set(b, &pointer, json!("10.0.0.9"));
        }),
    ]
}

fn disk_spot_and_placement_rows() -> Vec<Row> {
    vec![
        row("ephemeral-size", |b| {
            ephemeral(b);
            set(b, "hardwareProfile/vmSize", json!("Standard_D2s_v5"));
        }),
        row("ephemeral-caching", |b| {
            ephemeral(b);
            set(b, &format!("{OS_DISK}/caching"), json!("ReadWrite"));
        }),
        row("ephemeral-placement", |b| {
            ephemeral(b);
            set(b, &format!("{OS_DISK}/diffDiskSettings/placement"), json!("NvmeDisk"));
        }),
        row("ephemeral-too-large", |b| {
            ephemeral(b);
            set(b, &format!("{OS_DISK}/diskSizeGB"), json!(5000));
        }),
        row("ephemeral-detach", |b| {
            ephemeral(b);
            set(b, &format!("{OS_DISK}/deleteOption"), json!("Detach"));
        }),
        row("eviction-policy-without-spot", |b| set(b, "evictionPolicy", json!("Delete"))),
        row("max-price-without-spot", |b| set(b, "billingProfile", json!({"maxPrice": 0.5}))),
        row("max-price-invalid", |b| {
            set(b, "priority", json!("Spot"));
            set(b, "billingProfile", json!({"maxPrice": 0.123_456}));
        }),
        row("max-price-too-low", |b| {
            set(b, "priority", json!("Spot"));
            set(b, "billingProfile", json!({"maxPrice": 0.01}));
        }),
        row("spot-size", |b| {
            set(b, "priority", json!("Spot"));
            set(b, "hardwareProfile/vmSize", json!("Standard_B2ms"));
        }),
        row("spot-in-set", |b| {
            set(b, "priority", json!("Spot"));
            set(b, "availabilitySet", set_id("aligned"));
        }),
        row("zone-unknown", |b| b["zones"] = json!(["4"])),
        row("zones-and-set", |b| {
            b["zones"] = json!(["1"]);
            set(b, "availabilitySet", set_id("aligned"));
        }),
        row("set-and-scale-set", |b| {
            set(b, "availabilitySet", set_id("aligned"));
            set(b, "virtualMachineScaleSet", json!({"id": "x"}));
        }),
        row("set-unfit", |b| set(b, "availabilitySet", set_id("classic"))),
        row("set-missing", |b| set(b, "availabilitySet", set_id("missing"))),
        row("placement-missing", |b| set(b, "proximityPlacementGroup", json!({"id": "x"}))),
        row("placement-unfit", |b| {
            let group = path("Microsoft.Compute/proximityPlacementGroups/other-size");
            set(b, "proximityPlacementGroup", json!({ "id": group }));
        }),
        row("scale-set-unknown", |b| set(b, "virtualMachineScaleSet", json!({"id": "x"}))),
        row("reservation-unknown", |b| {
            set(b, "capacityReservation", json!({"capacityReservationGroup": {"id": "x"}}));
        }),
    ]
}

/// Rows over a VM that exists.
fn change_rows() -> Vec<Row> {
    vec![
        Row { name: "there", ..row("immutable-property", |b| set(b, "priority", json!("Spot"))) },
        Row { name: "there", ..row("immutable-property", |b| b["zones"] = json!(["2"])) },
        Row {
            name: "there",
            ..row("immutable-property", |b| set(b, "osProfile/computerName", json!("other")))
        },
        Row {
            name: "ephemeral",
            ..row("resize-of-ephemeral", |b| {
                ephemeral(b);
                set(b, "hardwareProfile/vmSize", json!("Standard_D4ds_v5"));
            })
        },
    ]
}

fn furnished() -> Model {
    let mut model = model();
    let offers = json!({"unknown_images": ["no-such"], "images_with_plan": ["paid"],
        "spot_price": 0.05, "unaccepted_plans": [":closed:"],
        "images": [{"contains": "old-gen1", "generation": "V1"}],
        "restrictions": [{"sku": "Standard_D8s_v5", "region": "westeurope", "zones": ["2"]}]});
    model.change_offers(&offers).unwrap();
    for (name, sku) in [("aligned", "Aligned"), ("classic", "Classic")] {
        let set = json!({"location": "westeurope", "sku": {"name": sku}, "properties": {
            "platformFaultDomainCount": 1, "platformUpdateDomainCount": 1}});
        let path = path(&format!("Microsoft.Compute/availabilitySets/{name}"));
        assert_eq!(put(&mut model, &path, set, 0).status, 200);
    }
    let group = json!({"location": "westeurope",
                       "properties": {"intent": {"vmSizes": ["Standard_D4s_v5"]}}});
    let path = path("Microsoft.Compute/proximityPlacementGroups/other-size");
    assert_eq!(put(&mut model, &path, group, 0).status, 201);
    assert_eq!(put(&mut model, &vm("there"), body(), 0).status, 201);
    let mut with_ephemeral = body();
    ephemeral(&mut with_ephemeral);
    assert_eq!(put(&mut model, &vm("ephemeral"), with_ephemeral, 0).status, 201);
    model.advance(T0 + 1000);
    model
}

/// The first rule that objects.
fn broken(model: &Model, row: &Row) -> Option<&'static str> {
    let mut body = body();
    (row.change)(&mut body);
    let id = ResourceId::parse(&vm(row.name)).unwrap();
    let put = VmPut::parse(&body).unwrap();
    let existing = model.vms.get(&id.key());
    let case = Case { id: &id, put: &put, version: row.version, model, existing };
    RULES.iter().find(|rule| (rule.objects)(&case).is_some()).map(|rule| rule.name)
}

#[test]
fn every_rule_refuses_its_own_body() {
    let model = furnished();
    let rows: Vec<Row> = [simple_rows(), disk_spot_and_placement_rows(), change_rows()]
        .into_iter()
        .flatten()
        .collect();
    for row in &rows {
        assert_eq!(broken(&model, row), Some(row.rule), "row of {}", row.rule);
    }
    for rule in RULES {
        let has_row = rows.iter().any(|row| row.rule == rule.name);
        assert!(has_row, "{} has no row", rule.name);
    }
}

#[test]
fn a_body_without_fault_breaks_no_rule() {
    let model = furnished();
    assert_eq!(broken(&model, &row("none", |_| {})), None);
    assert_eq!(broken(&model, &row("none", ephemeral)), None);
    let member = row("none", |b| set(b, "availabilitySet", set_id("aligned")));
    assert_eq!(broken(&model, &member), None);
}

#[test]
fn a_refusal_has_azures_status_code_and_target() {
    let mut model = furnished();
    let mut banned = body();
    set(&mut banned, "osProfile/adminUsername", json!("root"));
    let refused = put(&mut model, &vm("n1"), banned, 2000);
    let error = &refused.body.unwrap()["error"];
    assert_eq!(refused.status, 400);
    assert_eq!(
        (&error["code"], &error["target"]),
        (&json!("InvalidParameter"), &json!("adminUsername"))
    );
    let mut moved = body();
    moved["location"] = json!("northeurope");
    let refused = put(&mut model, &vm("there"), moved, 2000);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.body.unwrap()["error"]["code"], "InvalidResourceLocation");
}

#[test]
fn the_two_hundred_and_first_vm_does_not_fit_into_a_set() {
    let mut model = furnished();
    let mut member = body();
    set(&mut member, "availabilitySet", set_id("aligned"));
    for n in 0..200 {
        assert_eq!(put(&mut model, &vm(&format!("m{n}")), member.clone(), 2000).status, 201);
    }
    assert_eq!(put(&mut model, &vm("m200"), member, 2000).status, 409);
}
