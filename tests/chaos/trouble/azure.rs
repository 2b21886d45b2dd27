//! Azure's troubles, by the emulator's control interface, which stands beside the gate.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::bed::{Bed, NODESETS};
use crate::chance::Chance;
use crate::diary::{Diary, now};

/// Where calls go.
const PATHS: [&str; 6] = [
    "/virtualMachines/",
    "/availabilitySets/",
    "/proximityPlacementGroups/",
    "/operations/",
    "ResourceGraph",
    "/virtualMachines",
];

const REGIONS: [&str; 2] = ["westeurope", "northeurope"];
const SIZES: [&str; 2] = ["Standard_D4s_v5", "Standard_HB120rs_v3"];

/// Whatever serves Azure ends: connections are cut and refused until the gate is opened, and tokens
/// that were given before are refused from now on.
pub fn restart(bed: &Bed) -> Result<()> {
    // First what may fail: a trouble that could not be begun is never ended.
    bed.cluster.emulator().post("/identity/revoke", &Value::Null)?;
    bed.cluster.gate().shut();
    Ok(())
}

/// The emulator stands still for a moment. Nobody can ask it meanwhile, the run neither: so it
/// waits here.
pub fn hang(bed: &Bed, chance: &mut Chance) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(bed.cluster.emulator().endpoints().pid)?);
    kill(pid, Signal::SIGSTOP)?;
    thread::sleep(Duration::from_millis(chance.between(1000, 8000)));
    Ok(kill(pid, Signal::SIGCONT)?)
}

/// Some calls fail, some answers are lost.
pub fn fail(bed: &Bed, chance: &mut Chance) -> Result<()> {
    for _ in 0..chance.between(1, 3) {
        bed.cluster.emulator().add_fault(&fault(chance))?;
    }
    Ok(())
}

fn fault(chance: &mut Chance) -> Value {
    let method = chance.pick(&["PUT", "GET", "DELETE", "GET"]).copied().unwrap_or("GET");
    let path = chance.pick(&PATHS).copied().unwrap_or_default();
    let mut fault = json!({
        "method": method,
        "path_contains": path,
        "times": chance.between(1, 6),
        "skip": chance.between(0, 3),
    });
    let kinds = ["drop-before", "drop-after", "lost-answer", "delay", "fail-operation", "answer"];
    let kind = chance.pick(&kinds).copied().unwrap_or("delay");
    fault["kind"] = json!(kind);
    match kind {
        "delay" => fault["latency_ms"] = json!(chance.between(500, 9000)),
        "fail-operation" => {
            fault["method"] = json!("PUT");
            fault["path_contains"] = json!("/virtualMachines/");
            let codes = ["AllocationFailed", "OSProvisioningTimedOut", "InternalExecutionError"];
            let code = chance.pick(&codes).copied().unwrap_or_default();
            fault["body"] = json!({ "code": code, "message": "the run wants it so" });
        }
        "answer" => {
            fault["status"] = json!(chance.pick(&[500, 503, 504, 409]).copied().unwrap_or(500));
            fault["body"] =
                json!({ "error": { "code": "InternalServerError", "message": "try again" } });
        }
        _ => {}
    }
    fault
}

/// Calls are put off.
pub fn throttle(bed: &Bed, chance: &mut Chance) -> Result<()> {
    let method = chance.pick(&["PUT", "GET", "DELETE"]).copied().unwrap_or("PUT");
    let after = chance.between(1, 5).to_string();
    let fault = json!({
        "method": method, "path_contains": "/virtualMachines", "status": 429,
        "times": chance.between(2, 20), "headers": { "Retry-After": after },
        "body": { "error": { "code": "TooManyRequests", "message": "too many calls" } },
    });
    bed.cluster.emulator().add_fault(&fault).map(drop)
}

/// A region has no room for a size, at once or as is found out later.
pub fn refuse(bed: &Bed, chance: &mut Chance) -> Result<()> {
    let region = chance.pick(&REGIONS).copied().unwrap_or_default();
    let sku = chance.pick(&SIZES).copied().unwrap_or_default();
    let room = json!({
        "region": region, "sku": sku, "vms": chance.between(0, 3), "late": chance.one_in(2),
    });
    bed.cluster.emulator().post("/capacity", &room).map(drop)
}

/// There is room everywhere.
pub fn have_room(bed: &Bed) -> Result<()> {
    for (region, sku) in REGIONS.iter().flat_map(|region| SIZES.map(|sku| (*region, sku))) {
        for late in [false, true] {
            let room = json!({ "region": region, "sku": sku, "vms": null, "late": late });
            bed.cluster.emulator().post("/capacity", &room)?;
        }
    }
    Ok(())
}

/// The VMs of up to three nodes run, and nothing more comes of it.
pub fn let_none_boot(bed: &Bed, chance: &mut Chance) -> Result<()> {
    let node = |chance: &mut Chance| {
        let (name, nodes, ..) = chance.pick(&NODESETS)?;
        Some(format!("{name}-{:03}", chance.between(1, u64::from(*nodes))))
    };
    let nodes: Vec<String> = (0..3).filter_map(|_| node(chance)).collect();
    bed.never_boot(&nodes.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Azure takes a Spot VM, if there is one.
pub fn evict(bed: &Bed, chance: &mut Chance, diary: &mut Diary) -> Result<()> {
    let Some(vm) = one_of_ours(bed, chance, "spot-")? else { return Ok(()) };
    diary.say(&format!("evict {vm}"));
    diary.taken.insert(vm.clone(), now());
    bed.cluster.emulator().evict(&vm)
}

/// Somebody deletes a VM, if there is one.
pub fn vanish(bed: &Bed, chance: &mut Chance, diary: &mut Diary) -> Result<()> {
    let Some(vm) = one_of_ours(bed, chance, "")? else { return Ok(()) };
    diary.say(&format!("vanish {vm}"));
    diary.taken.insert(vm.clone(), now());
    bed.cluster.emulator().vanish(&vm)
}

fn one_of_ours(bed: &Bed, chance: &mut Chance, prefix: &str) -> Result<Option<String>> {
    let name = &bed.cluster.spec().name;
    let mut vms = bed.cluster.emulator().vms()?;
    vms.retain(|vm| {
        let of = vm.tags.as_ref().and_then(|tags| tags.get("azslurm-cluster"));
        of == Some(name) && vm.name.starts_with(prefix)
    });
    Ok(chance.pick(&vms).map(|vm| vm.name.clone()))
}
