//! What Azure shows, read one thing at a time out of its JSON. Only the id must be there; a row
//! without it is odd and costs that row alone.

use std::collections::BTreeMap;
use std::str::FromStr;

use azslurm_core::Timestamp;
use azslurm_core::config::{Region, Sku};
use azslurm_core::facts::{SkuFacts, Usage};
use azslurm_core::size::Size;
use azslurm_core::vm::{TAG_ATTEMPT, TAG_NODE, TAG_NODESET};
use serde_json::Value;

use crate::refusal::{innermost, one_line};
use crate::row::GraphRow;
use crate::vm::Marks;
use crate::{
    Activity, Leftover, Placement, ProvisioningState, ResourceId, Vm, VmPower, VmRow, VmStatus,
};

const MIB_PER_GIB: f64 = 1024.0;
/// No VM has a tenth of it; more is no number of gigabytes.
const MEMORY_GB_MAX: f64 = 1e6;

/// A VM of Resource Manager, with or without its instance view.
pub fn vm(value: &Value) -> Result<Vm, String> {
    let id = id(value)?;
    let tags = tags(value);
    let marks = Marks::of(&tags);
    let statuses = statuses(value.pointer("/properties/instanceView/statuses"));
    Ok(Vm {
        name: text(value, "/name").unwrap_or_else(|| id.name().to_owned()),
        cluster: marks.cluster,
        node: marks.node,
        attempt: marks.attempt,
        nodeset: marks.nodeset,
        tags,
        location: text(value, "/location"),
        zones: texts(value.pointer("/zones")),
        sku: text(value, "/properties/hardwareProfile/vmSize"),
        priority: text(value, "/properties/priority"),
        provisioning_state: provisioning(text(value, "/properties/provisioningState").as_deref()),
        power: statuses.iter().find_map(|status| VmPower::from_code(&status.code)),
        time_created: text(value, "/properties/timeCreated").and_then(|time| timestamp(&time)),
        vm_id: text(value, "/properties/vmId"),
        nics: nics(value),
        availability_set: text(value, "/properties/availabilitySet/id")
            .and_then(|id| id.rsplit('/').next().map(str::to_owned)),
        os_disk: text(value, "/properties/storageProfile/osDisk/managedDisk/id"),
        statuses,
        id,
    })
}

/// A row of our Resource Graph query for VMs (`graph.rs` projects these members).
pub fn row(row: &GraphRow<'_>) -> Result<VmRow, String> {
    let id = id_of(row.text("id"))?;
    let owned = |name: &str| row.text(name).map(str::to_owned);
    Ok(VmRow {
        name: owned("name").unwrap_or_else(|| id.name().to_owned()),
        node: marked(row, TAG_NODE),
        attempt: marked(row, TAG_ATTEMPT),
        nodeset: marked(row, TAG_NODESET),
        location: owned("location"),
        zones: row.zones().map(str::to_owned).collect(),
        sku: owned("vmSize"),
        provisioning_state: provisioning(row.text("prov")),
        power: row.text("power").and_then(VmPower::from_code),
        id,
    })
}

/// What a tag says, if it is there and can be a name of its kind. Tag names have no case in Azure.
fn marked<T: FromStr>(row: &GraphRow<'_>, tag: &str) -> Option<T> {
    row.tags().find(|(name, _)| name.eq_ignore_ascii_case(tag))?.1.parse().ok()
}

/// A NIC; `managed_by` is the VM that it is attached to.
pub fn nic(value: &Value) -> Result<Leftover, String> {
    leftover(value, "/properties/virtualMachine/id")
}

/// A disk.
pub fn disk(value: &Value) -> Result<Leftover, String> {
    leftover(value, "/managedBy")
}

/// An availability set or a placement group, with what is in it. A list of members that is none is
/// not to be read: nobody may take it for an empty one.
pub fn placement(value: &Value) -> Result<Placement, String> {
    let id = id(value)?;
    let mut members = Vec::new();
    for kind in ["virtualMachines", "virtualMachineScaleSets", "availabilitySets"] {
        match value.pointer("/properties").and_then(|properties| properties.get(kind)) {
            // A member without an id is one all the same.
            Some(Value::Array(some)) => {
                members.extend(some.iter().map(|one| text(one, "/id").unwrap_or_default()));
            }
            None | Some(Value::Null) => {}
            Some(other) => {
                return Err(format!("its {kind} are no list but {}", one_line(&other.to_string())));
            }
        }
    }
    let name = text(value, "/name").unwrap_or_else(|| id.name().to_owned());
    Ok(Placement { name, tags: tags(value), members, id })
}

/// A row of our query for NICs and disks without a VM.
pub fn leftover_row(row: &GraphRow<'_>) -> Result<Leftover, String> {
    let id = id_of(row.text("id"))?;
    let owned = |name: &str| row.text(name).map(str::to_owned);
    Ok(Leftover {
        name: owned("name").unwrap_or_else(|| id.name().to_owned()),
        tags: row.tags().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
        managed_by: owned("vm").or_else(|| owned("managedBy")),
        disk_state: owned("state"),
        time_created: row.text("created").and_then(timestamp),
        id,
    })
}

fn leftover(value: &Value, managed_by: &str) -> Result<Leftover, String> {
    let id = id(value)?;
    let shared = texts(value.pointer("/managedByExtended")).into_iter().next();
    Ok(Leftover {
        disk_state: text(value, "/properties/diskState"),
        time_created: text(value, "/properties/timeCreated").and_then(|time| timestamp(&time)),
        name: text(value, "/name").unwrap_or_else(|| id.name().to_owned()),
        tags: tags(value),
        managed_by: text(value, managed_by).or(shared),
        id,
    })
}

/// How many members an availability set has. Without the list it has none (PUT's answer, FACTS
/// §6.2); a list that is none is not to be read.
pub fn members(value: &Value) -> Result<usize, String> {
    id(value)?;
    match value.pointer("/properties/virtualMachines") {
        Some(Value::Array(members)) => Ok(members.len()),
        None | Some(Value::Null) => Ok(0),
        Some(other) => Err(format!("its members are no list but {}", one_line(&other.to_string()))),
    }
}

/// A quota and its use (FACTS §10).
pub fn usage(value: &Value) -> Result<Usage, String> {
    let name = text(value, "/name/value").ok_or("a usage without a name")?;
    let number = |member: &str| {
        let found = value.get(member).and_then(Value::as_u64);
        found.ok_or_else(|| format!("usage {} without a good {member}", one_line(&name)))
    };
    Ok(Usage { used: number("currentValue")?, limit: number("limit")?, name })
}

/// A size in a region; `None` for what is no VM size, or not of this region (FACTS §10).
pub fn sku(value: &Value, region: &Region) -> Result<Option<(Sku, SkuFacts)>, String> {
    let kind = text(value, "/resourceType").ok_or("a size without a resourceType")?;
    if !kind.eq_ignore_ascii_case("virtualMachines") || is_elsewhere(value, region) {
        return Ok(None);
    }
    let name = text(value, "/name").ok_or("a size without a name")?;
    let odd = |what: &str| format!("size {} without {what}", one_line(&name));
    let sku = Sku::new(&name).ok_or_else(|| odd("a name that can be one"))?;
    let vcpus = capability(value, "vCPUs").and_then(|number| number.parse().ok());
    let facts = SkuFacts {
        family: text(value, "/family").ok_or_else(|| odd("a family"))?,
        vcpus: vcpus.ok_or_else(|| odd("good vCPUs"))?,
        is_rdma: capability(value, "RdmaEnabled").is_some_and(|is| is.eq_ignore_ascii_case("true")),
        is_offered: !is_restricted(value),
    };
    Ok(Some((sku, facts)))
}

/// A size in a region with all that is configured by it; `None` as for [`sku`]. What is missing is
/// what Azure means by leaving it out.
pub fn size(value: &Value, region: &Region) -> Result<Option<Size>, String> {
    let Some((name, facts)) = sku(value, region)? else { return Ok(None) };
    let number = |name: &str| capability(value, name).and_then(|text| text.parse::<u64>().ok());
    let small = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
    let is = |name: &str| capability(value, name).is_some_and(|is| is.eq_ignore_ascii_case("true"));
    let words = |name: &str| -> Vec<String> {
        let list = capability(value, name).unwrap_or_default().split(',').map(str::trim);
        list.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let memory = capability(value, "MemoryGB").and_then(|text| text.parse::<f64>().ok());
    let memory = memory.filter(|memory| (0.0..=MEMORY_GB_MAX).contains(memory));
    let memory = memory.ok_or_else(|| format!("size {name} without good MemoryGB"))?;
    let (zones, zones_restricted) = zones(value);
    Ok(Some(Size {
        name: name.as_str().to_owned(),
        vcpus_available: small("vCPUsAvailable").unwrap_or(facts.vcpus),
        vcpus: facts.vcpus,
        family: facts.family,
        threads_per_core: small("vCPUsPerCore").unwrap_or(1),
        memory_mb: (memory * MIB_PER_GIB) as u64,
        gpus: small("GPUs").unwrap_or(0),
        is_rdma: facts.is_rdma,
        is_spot_capable: is("LowPriorityCapable"),
        has_accelerated_networking: is("AcceleratedNetworkingEnabled"),
        architecture: capability(value, "CpuArchitectureType").unwrap_or("x64").to_owned(),
        generations: words("HyperVGenerations"),
        ephemeral_mb: match is("EphemeralOSDiskSupported") {
            true => ephemeral(&words("SupportedEphemeralOSDiskPlacements"), number),
            false => BTreeMap::new(),
        },
        zones,
        zones_restricted,
        is_offered: facts.is_offered,
        price: None,
        price_spot: None,
    }))
}

/// The room of each placement. A size that says that it can and not where has the cache disk, as
/// all had before there were others.
fn ephemeral(placements: &[String], number: impl Fn(&str) -> Option<u64>) -> BTreeMap<String, u64> {
    let rooms = [
        ("CacheDisk", number("CachedDiskBytes").map(|bytes| bytes >> 20)),
        ("ResourceDisk", number("MaxResourceVolumeMB")),
        ("NvmeDisk", number("NvmeDiskSizeInMiB")),
    ];
    let is_named = |name: &str| match placements {
        [] => name == "CacheDisk",
        named => named.iter().any(|one| one.eq_ignore_ascii_case(name)),
    };
    let named = rooms.into_iter().filter(|(name, _)| is_named(name));
    named.map(|(name, room)| (name.to_owned(), room.unwrap_or(0))).collect()
}

/// The zones that have a size, and those of them that are closed to the subscription.
fn zones(value: &Value) -> (Vec<String>, Vec<String>) {
    let of = |pointer| texts(value.pointer(pointer));
    let list = value.get("restrictions").and_then(Value::as_array);
    let is_zone =
        |row: &&Value| text(row, "/type").is_some_and(|kind| kind.eq_ignore_ascii_case("Zone"));
    let closed = list.into_iter().flatten().filter(is_zone);
    let mut closed: Vec<String> =
        closed.flat_map(|row| texts(row.pointer("/restrictionInfo/zones"))).collect();
    closed.sort();
    closed.dedup();
    let mut zones = of("/locationInfo/0/zones");
    zones.sort();
    (zones, closed)
}

/// Whether a size names its regions, and this one is not among them. Azure is asked for one region,
/// but a filter that it ignored must not mix the others in.
fn is_elsewhere(value: &Value, region: &Region) -> bool {
    let regions = texts(value.pointer("/locations"));
    !regions.is_empty()
        && !regions.iter().any(|named| named.replace(' ', "").eq_ignore_ascii_case(region.as_str()))
}

/// Whether the subscription may not use a size in the region at all; a restriction of type `Zone`
/// leaves other zones.
fn is_restricted(value: &Value) -> bool {
    let list = value.get("restrictions").and_then(Value::as_array);
    list.into_iter().flatten().any(|restriction| {
        text(restriction, "/type").is_some_and(|kind| kind.eq_ignore_ascii_case("Location"))
    })
}

/// A capability of a size; all values are text.
fn capability<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    let list = value.get("capabilities")?.as_array()?;
    let is_it = |pair: &&Value| {
        let found = pair.get("name").and_then(Value::as_str);
        found.is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    list.iter().find(is_it)?.get("value")?.as_str()
}

/// An entry of the activity log.
pub fn activity(value: &Value) -> Result<Activity, String> {
    let resource = text(value, "/resourceId").ok_or("an entry without a resourceId")?;
    let at = text(value, "/eventTimestamp").and_then(|time| timestamp(&time));
    let sub_status = text(value, "/subStatus/value");
    Ok(Activity {
        resource: resource.parse().map_err(|error: crate::ResourceIdError| error.to_string())?,
        operation: text(value, "/operationName/value").unwrap_or_default(),
        status: text(value, "/status/value").unwrap_or_default(),
        at: at.ok_or("an entry without a time")?,
        text: one_line(&text(value, "/description").or(sub_status).unwrap_or_default()),
        caller: text(value, "/caller"),
        correlation_id: text(value, "/correlationId"),
    })
}

/// How an operation stands, as its body tells: an operation's own `status`, else the
/// `provisioningState` of the resource that was polled instead; `None` where there is neither.
pub enum Standing {
    /// It goes on.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly, with code and text.
    Failed(String, String),
    /// Somebody ended it.
    Canceled,
}

/// Reads an operation's body. Terminal are Succeeded, Failed and Canceled; any other word is
/// running (FACTS §2).
pub fn standing(value: &Value) -> Option<Standing> {
    let word = text(value, "/status")
        .or_else(|| text(value, "/properties/provisioningState"))
        .or_else(|| text(value, "/Status"))?;
    Some(match word.to_ascii_lowercase().as_str() {
        "succeeded" => Standing::Succeeded,
        "failed" => failed(value),
        "canceled" | "cancelled" => Standing::Canceled,
        _ => Standing::Running,
    })
}

fn failed(value: &Value) -> Standing {
    let error = ["error", "Error"].iter().find_map(|name| value.get(*name));
    let (code, text) = match error {
        Some(error) => innermost(error),
        None => failed_status(value),
    };
    Standing::Failed(code, text)
}

/// The error of a VM that was polled itself: `ProvisioningState/failed/AllocationFailed` in its
/// instance view.
fn failed_status(value: &Value) -> (String, String) {
    let statuses = statuses(value.pointer("/properties/instanceView/statuses"));
    let failed = statuses.iter().find_map(|status| {
        let mut parts = status.code.splitn(3, '/');
        let kind = parts.next()?.eq_ignore_ascii_case("ProvisioningState");
        let word = parts.next()?.eq_ignore_ascii_case("failed");
        (kind && word).then(|| (one_line(parts.next().unwrap_or_default()), status.text.clone()))
    });
    failed.unwrap_or_default()
}

fn id(value: &Value) -> Result<ResourceId, String> {
    id_of(value.get("id").and_then(Value::as_str).filter(|text| !text.is_empty()))
}

fn id_of(text: Option<&str>) -> Result<ResourceId, String> {
    let text = text.ok_or_else(|| "a row without an id".to_owned())?;
    text.parse().map_err(|error: crate::ResourceIdError| error.to_string())
}

pub fn text(value: &Value, path: &str) -> Option<String> {
    value.pointer(path)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

pub fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn tags(value: &Value) -> BTreeMap<String, String> {
    let Some(tags) = value.pointer("/tags").and_then(Value::as_object) else {
        return BTreeMap::new();
    };
    let tag = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    tags.iter().map(|(name, value)| (name.clone(), tag(value))).collect()
}

fn nics(value: &Value) -> Vec<String> {
    let list = value.pointer("/properties/networkProfile/networkInterfaces");
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|nic| text(nic, "/id")).collect()
}

fn statuses(list: Option<&Value>) -> Vec<VmStatus> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|status| {
            let words = text(status, "/message").or_else(|| text(status, "/displayStatus"));
            Some(VmStatus {
                code: text(status, "/code")?,
                level: text(status, "/level").unwrap_or_default(),
                text: one_line(&words.unwrap_or_default()),
            })
        })
        .collect()
}

fn provisioning(word: Option<&str>) -> ProvisioningState {
    let Ok(state) = word.unwrap_or_default().parse();
    state
}

/// RFC 3339 with up to nine digits; Azure gives seven.
fn timestamp(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "/subscriptions/s/resourceGroups/RG\
                      /providers/Microsoft.Compute/virtualMachines/n1-0abcdefg";

    #[test]
    fn a_vm_is_read_with_its_tags_and_power() {
        let seen = vm(&json!({
            "id": ID, "name": "n1-0abcdefg", "location": "westeurope", "zones": ["1"],
            "tags": {"AzSlurm-Cluster": "c", "azslurm-node": "n1", "azslurm-attempt": "0abcdefg",
                     "azslurm-nodeset": "hpc", "number": 3, "none": null},
            "properties": {
                "vmId": "v", "priority": "Spot", "provisioningState": "succeeded",
                "timeCreated": "2026-11-21T01:53:05.4681234+00:00",
                "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
                "networkProfile": {"networkInterfaces": [{"id": "/nic/1"}, {}]},
                "storageProfile": {"osDisk": {"managedDisk": {"id": "/disk/1"}}},
                "instanceView": {"statuses": [
                    {"code": "ProvisioningState/succeeded/osProvisioningInProgress",
                     "level": "Info"},
                    {"level": "odd"},
                    {"code": "PowerState/running", "displayStatus": "VM running"},
                    {"code": "ColocationStatus/Aligned", "level": "info"}]}
            }
        }))
        .unwrap();
        assert_eq!(seen.cluster.unwrap().as_str(), "c");
        assert_eq!(seen.node.unwrap().as_str(), "n1");
        assert_eq!(seen.attempt.unwrap().to_string(), "0abcdefg");
        assert_eq!(seen.nodeset.unwrap().as_str(), "hpc");
        assert_eq!(seen.tags["number"], "3");
        assert_eq!(seen.provisioning_state, ProvisioningState::Succeeded);
        assert_eq!(seen.power, Some(VmPower::Running));
        assert_eq!(seen.time_created.unwrap().as_millis(), 1_795_225_985_468);
        assert_eq!(seen.nics, ["/nic/1"]);
        assert_eq!(seen.os_disk.as_deref(), Some("/disk/1"));
        assert_eq!(seen.statuses.len(), 3);
    }

    #[test]
    fn whatever_is_strange_in_a_vm_costs_only_itself() {
        let seen = vm(&json!({
            "id": ID, "name": 7, "location": null, "zones": "1", "tags": ["x"],
            "properties": {
                "provisioningState": "Hibernating", "timeCreated": "yesterday",
                "hardwareProfile": [], "networkProfile": {"networkInterfaces": {}},
                "instanceView": {"statuses": [{"code": "PowerState/dreaming"}, 3]}
            }
        }))
        .unwrap();
        assert_eq!(seen.name, "n1-0abcdefg");
        assert_eq!(seen.provisioning_state, ProvisioningState::Other("Hibernating".into()));
        assert_eq!(seen.power, Some(VmPower::Other("dreaming".into())));
        assert_eq!(seen.time_created, None);
        assert_eq!(seen.cluster, None);
        let bare = vm(&json!({"id": ID})).unwrap();
        assert_eq!(bare.provisioning_state, ProvisioningState::Other(String::new()));
        assert_eq!(bare.power, None);
    }

    #[test]
    fn a_tag_that_is_no_name_is_no_name() {
        let seen = vm(&json!({"id": ID, "tags": {
            "azslurm-cluster": "a/b", "azslurm-node": "n 1", "azslurm-attempt": "x"}}))
        .unwrap();
        assert_eq!((seen.cluster, seen.node, seen.attempt), (None, None, None));
    }

    #[test]
    fn a_row_needs_its_id() {
        for bad in [json!({}), json!({"id": 3}), json!({"id": "no id"}), json!(null), json!("x")] {
            assert!(vm(&bad).is_err() && row_of(&bad).is_err() && nic(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_set_has_as_many_members_as_it_lists() {
        let set = |members: Value| json!({"id": ID, "properties": {"virtualMachines": members}});
        assert_eq!(members(&set(json!([{"id": "/1"}, {"id": "/2"}]))), Ok(2));
        assert_eq!(members(&set(json!([]))), Ok(0));
        assert_eq!(members(&json!({"id": ID, "properties": {}})), Ok(0));
        assert!(members(&set(json!(2))).is_err() && members(&json!({})).is_err());
    }

    #[test]
    fn a_set_or_a_group_says_all_that_is_in_it_and_no_list_is_never_an_empty_one() {
        let of = |properties: Value| {
            placement(&json!({"id": ID, "tags": {"a": "b"}, "properties": properties}))
        };
        let group = json!({"virtualMachines": [{"id": "/1"}, {}], "virtualMachineScaleSets": [],
            "availabilitySets": [{"id": "/2"}]});
        let group = of(group).unwrap();
        assert_eq!(group.members, ["/1", "", "/2"]);
        assert_eq!(group.tags["a"], "b");
        assert_eq!(of(json!({})).unwrap().members, [""; 0]);
        assert_eq!(of(json!({"virtualMachines": null})).unwrap().members, [""; 0]);
        assert!(of(json!({"virtualMachines": "many"})).is_err());
        assert!(placement(&json!({})).is_err());
    }

    #[test]
    fn an_odd_usage_is_told_by_its_name() {
        let row = |used: Value, limit: Value| {
            usage(&json!({"name": {"value": "cores"}, "currentValue": used, "limit": limit}))
        };
        let good = Usage { name: "cores".into(), used: 3, limit: 5 };
        assert_eq!(row(json!(3), json!(5)), Ok(good));
        for (used, limit) in
            [(json!(-1), json!(5)), (json!(3), json!(null)), (json!("3"), json!(5))]
        {
            assert!(row(used, limit).unwrap_err().contains("cores"));
        }
        assert!(
            usage(&json!({"currentValue": 1, "limit": 2})).is_err() && usage(&json!(3)).is_err()
        );
    }

    #[test]
    fn a_size_is_read_and_its_oddities_cost_only_itself() {
        let region = Region::new("westeurope").unwrap();
        let row = |member: &str, with: Value| {
            let mut row = json!({
                "resourceType": "virtualMachines", "name": "Standard_HB120-96rs_v3",
                "family": "standardHBv3Family", "locations": ["WestEurope"],
                "capabilities": [{"name": "vCPUs", "value": "120"},
                    {"name": "vCPUsAvailable", "value": "96"}, 3, {"name": 3},
                    {"name": "RdmaEnabled", "value": "True"}],
                "restrictions": [{"type": "Zone", "reasonCode": "NotAvailableForSubscription"}],
            });
            row[member] = with;
            sku(&row, &region)
        };
        let (name, facts) = row("tier", json!(null)).unwrap().unwrap();
        assert_eq!(name.as_str(), "Standard_HB120-96rs_v3");
        assert_eq!((facts.vcpus, facts.is_offered), (120, true));
        let capabilities = |value: &str| {
            json!([{"name": "vCPUs", "value": "4"},
            {"name": "RdmaEnabled", "value": value}])
        };
        let is_rdma = |value| row("capabilities", capabilities(value)).unwrap().unwrap().1.is_rdma;
        assert!(is_rdma("True") && is_rdma("true") && !is_rdma("False"));
        let restricted = row("restrictions", json!([{"type": "Location"}])).unwrap().unwrap();
        assert!(!restricted.1.is_offered);
        assert!(row("restrictions", json!(null)).unwrap().unwrap().1.is_offered);
        assert_eq!(row("resourceType", json!("disks")), Ok(None));
        assert_eq!(row("locations", json!(["northeurope"])), Ok(None));
        for (member, with) in [
            ("resourceType", json!(3)),
            ("name", json!("")),
            ("name", json!("a b")),
            ("family", json!(null)),
            ("capabilities", json!([{"name": "vCPUs", "value": "many"}])),
            ("capabilities", json!({})),
        ] {
            assert!(row(member, with.clone()).is_err(), "{member} {with}");
        }
    }

    /// A row of Resource Graph out of its text.
    fn row_of(value: &Value) -> Result<VmRow, String> {
        row(&serde_json::from_str(&value.to_string()).unwrap())
    }

    #[test]
    fn a_row_of_resource_graph_is_read() {
        let seen = row_of(&json!({
            "id": ID.to_lowercase(), "name": "n1-0abcdefg", "location": "westeurope",
            "tags": {"AzSlurm-Node": "n1", "azslurm-attempt": "x"}, "zones": null,
            "vmSize": "Standard_D2s_v5", "prov": "Succeeded", "power": "PowerState/deallocated"
        }))
        .unwrap();
        assert_eq!((seen.node, seen.attempt), ("n1".parse().ok(), None));
        assert_eq!(seen.power, Some(VmPower::Deallocated));
        assert_eq!(seen.id, ID.parse().unwrap());
        assert_eq!(seen.zones, Vec::<String>::new());
        let bare = row_of(&json!({"id": ID, "power": null, "tags": null})).unwrap();
        assert_eq!((bare.power, bare.name.as_str()), (None, "n1-0abcdefg"));
    }

    #[test]
    fn an_operation_stands_as_its_status_says() {
        let is = |value: Value| match standing(&value) {
            None => "none".to_owned(),
            Some(Standing::Running) => "running".to_owned(),
            Some(Standing::Succeeded) => "succeeded".to_owned(),
            Some(Standing::Canceled) => "canceled".to_owned(),
            Some(Standing::Failed(code, text)) => format!("{code}: {text}"),
        };
        assert_eq!(is(json!({"status": "InProgress"})), "running");
        assert_eq!(is(json!({"status": "Succeeded"})), "succeeded");
        assert_eq!(is(json!({"status": "Canceled"})), "canceled");
        assert_eq!(is(json!({"status": "SomethingNew"})), "running");
        assert_eq!(is(json!({})), "none");
        assert_eq!(is(json!({"properties": {"provisioningState": "Creating"}})), "running");
        assert_eq!(
            is(json!({"status": "Failed", "error": {"code": "Outer", "message": "o",
                "details": [{"code": "AllocationFailed", "message": "no room"}]}})),
            "AllocationFailed: no room"
        );
        assert_eq!(
            is(json!({"properties": {"provisioningState": "Failed", "instanceView": {"statuses": [
                {"code": "ProvisioningState/failed/AllocationFailed", "message": "no room"}]}}})),
            "AllocationFailed: no room"
        );
        assert_eq!(is(json!({"status": "Failed"})), ": ");
        assert_eq!(
            is(json!({"properties": {"provisioningState": "Failed", "instanceView": {"statuses": [
                {"code": "ProvisioningState/failed/Two\nlines", "message": "m"}]}}})),
            "Two lines: m"
        );
    }

    #[test]
    fn leftovers_say_whose_they_are() {
        let of_vm =
            nic(&json!({"id": ID, "properties": {"virtualMachine": {"id": "/vm"}}})).unwrap();
        assert_eq!(of_vm.managed_by.as_deref(), Some("/vm"));
        let of_nobody = disk(&json!({"id": ID, "managedBy": null})).unwrap();
        assert_eq!(of_nobody.managed_by, None);
    }
}
