//! How a VM is shown: the model, the instance view, and what comes of `$expand`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::Model;
use super::dispatch::resource_not_found;
use super::ids::{Key, ResourceId};
use super::message::{Answer, ArmError, Request, Response};
use super::resources::{Power, Provisioning, Vm};
use super::time;

/// Members of `properties` that are taken as asked.
const SHOWN_AS_ASKED: [&str; 16] = [
    "hardwareProfile",
    "additionalCapabilities",
    "securityProfile",
    "diagnosticsProfile",
    "priority",
    "evictionPolicy",
    "billingProfile",
    "licenseType",
    "extensionsTimeBudget",
    "scheduledEventsProfile",
    "capacityReservation",
    "virtualMachineScaleSet",
    "host",
    "hostGroup",
    "platformFaultDomain",
    "applicationProfile",
];

/// Size of an OS disk when nobody says.
const OS_DISK_GB: u64 = 30;

/// User data as text; what is no base64 or no UTF-8 is given as far as it is.
pub(super) fn decoded_user_data(vm: &Vm) -> String {
    let bytes = BASE64_STANDARD.decode(vm.asked.text("/userData")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Model {
    /// GET of a VM.
    pub(super) fn get_vm(&self, id: &ResourceId, request: &Request) -> Answer {
        self.need_group_to_read(id)?;
        let key = id.key();
        let Some(vm) = self.vms.get(&key) else { return Err(self.vm_not_found(id)) };
        let mut body = self.vm_body(&key);
        match request.query("$expand").unwrap_or("").to_ascii_lowercase().as_str() {
            "" => {}
            "instanceview" => body["properties"]["instanceView"] = self.instance_view(vm),
            "userdata" => {
                if let Some(data) = vm.asked.at("/userData") {
                    body["properties"]["userData"] = data.clone();
                }
            }
            other => {
                let text = format!(
                    "The expand parameter '{other}' is not valid. The valid values are \
                     instanceView,userData."
                );
                let error = ArmError::new(400, "InvalidParameter", text).target("$expand");
                return Err(Box::new(error));
            }
        }
        Ok(Response::with_body(200, body).header("ETag", format!("\"{}\"", body_etag(vm))))
    }

    /// GET of the instance view.
    pub(super) fn instance_view_of(&self, id: &ResourceId) -> Answer {
        self.need_group_to_read(id)?;
        match self.vms.get(&id.key()) {
            Some(vm) => Ok(Response::with_body(200, self.instance_view(vm))),
            None => Err(self.vm_not_found(id)),
        }
    }

    /// A group that is going can still be read.
    fn need_group_to_read(&self, id: &ResourceId) -> Result<(), Box<ArmError>> {
        match self.groups.contains_key(&id.group_key()) {
            true => Ok(()),
            false => self.need_group_of(id),
        }
    }

    /// 404 in one of its two codes (FACTS §1.2): just after the end compute answers.
    fn vm_not_found(&self, id: &ResourceId) -> Box<ArmError> {
        match self.just_gone.get(&id.key()).is_some_and(|until| *until > self.now) {
            true => Box::new(ArmError::new(
                404,
                "NotFound",
                "The entity was not found in this Azure location.",
            )),
            false => resource_not_found(id),
        }
    }

    /// The VM as GET shows it.
    pub(super) fn vm_body(&self, key: &Key) -> Value {
        let Some(vm) = self.vms.get(key) else { return Value::Null };
        let mut properties = vm.properties.clone();
        properties.insert("provisioningState".to_owned(), json!(vm.provisioning.word()));
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(vm.common.id.name));
        body.insert("id".to_owned(), json!(vm.common.id.to_string()));
        body.insert("type".to_owned(), json!(vm.common.id.kind.full_type()));
        body.insert("location".to_owned(), json!(vm.common.location));
        if !vm.common.tags.is_empty() {
            body.insert("tags".to_owned(), Value::Object(vm.common.tags.clone()));
        }
        if !vm.asked.zones.is_empty() {
            body.insert("zones".to_owned(), json!(vm.asked.zones));
        }
        if let Some(plan) = &vm.asked.plan {
            body.insert("plan".to_owned(), plan.clone());
        }
        if let Some(identity) = &vm.asked.identity {
            body.insert("identity".to_owned(), self.shown_identity(identity));
        }
        body.insert("properties".to_owned(), Value::Object(properties));
        Value::Object(body)
    }

    /// An identity with the principals that Azure fills in.
    fn shown_identity(&self, identity: &Value) -> Value {
        let mut shown = identity.clone();
        let principal = json!({
            "principalId": "00000000-0000-0000-0000-0000000000f1",
            "clientId": "00000000-0000-0000-0000-0000000000f2",
        });
        if let Some(users) = shown.get_mut("userAssignedIdentities").and_then(Value::as_object_mut)
        {
            users.values_mut().for_each(|user| *user = principal.clone());
        }
        if identity.get("type").and_then(Value::as_str).is_some_and(|t| t.contains("System")) {
            shown["principalId"] = principal["principalId"].clone();
            shown["tenantId"] = json!(self.tenant);
        }
        shown
    }

    /// Computes the part of `properties` that does not change by itself.
    pub(super) fn show_properties(&mut self, key: &Key) {
        let Some(vm) = self.vms.get(key) else { return };
        let mut shown = Map::new();
        for name in SHOWN_AS_ASKED {
            if let Some(value) = vm.asked.at(&format!("/{name}")) {
                shown.insert(name.to_owned(), value.clone());
            }
        }
        shown.insert("vmId".to_owned(), json!(vm.vm_id));
        shown.insert("timeCreated".to_owned(), json!(time::azure(vm.common.created)));
        shown.insert("storageProfile".to_owned(), self.storage_profile(vm));
        if let Some(profile) = os_profile(vm) {
            shown.insert("osProfile".to_owned(), profile);
        }
        shown.insert("networkProfile".to_owned(), self.network_profile(vm));
        for (name, reference) in
            [("availabilitySet", &vm.set), ("proximityPlacementGroup", &vm.group)]
        {
            if let Some(reference) = reference {
                shown.insert(name.to_owned(), json!({ "id": self.reference_to(reference) }));
            }
        }
        if let Some(vm) = self.vms.get_mut(key) {
            vm.properties = shown;
        }
    }

    fn storage_profile(&self, vm: &Vm) -> Value {
        let mut image =
            vm.asked.at("/storageProfile/imageReference").cloned().unwrap_or_else(|| json!({}));
        if image.get("version").is_some_and(|version| version == "latest") {
            image["exactVersion"] = json!("24.04.202611010");
        }
        let mut os = vm.asked.at("/storageProfile/osDisk").cloned().unwrap_or_else(|| json!({}));
        let mut disks = vm.disks.iter();
        os["osType"] = json!("Linux");
        if os.get("deleteOption").is_none() {
            let default = if vm.asked.is_ephemeral() { "Delete" } else { "Detach" };
            os["deleteOption"] = json!(default);
        }
        if vm.asked.is_ephemeral() {
            let name = format!("{}_OsDisk_1_{}", vm.common.id.name, &vm.vm_id[..8]);
            os["name"] = json!(os.get("name").and_then(Value::as_str).unwrap_or(&name));
        } else if let Some(disk) = disks.next().and_then(|part| self.disks.get(&part.key)) {
            os["name"] = json!(disk.common.id.name);
            os["managedDisk"] =
                json!({"storageAccountType": disk.sku, "id": self.reference(&disk.common.id)});
        }
        if os.get("diskSizeGB").is_none() {
            os["diskSizeGB"] = json!(OS_DISK_GB);
        }
        if vm.is_evicted {
            // FACTS §1.3: an evicted VM's model loses both.
            os.as_object_mut().map(|os| os.remove("diskSizeGB"));
            os["managedDisk"].as_object_mut().map(|disk| disk.remove("storageAccountType"));
        }
        let data = disks.zip(vm.asked.list("/storageProfile/dataDisks")).map(|(part, asked)| {
            let mut shown = asked.clone();
            shown["managedDisk"]["id"] = json!(self.reference_to(&part.key));
            shown
        });
        json!({"imageReference": image, "osDisk": os, "dataDisks": data.collect::<Vec<Value>>()})
    }

    fn network_profile(&self, vm: &Vm) -> Value {
        let nics = vm.nics.iter().map(|part| {
            let nic = self.nics.get(&part.key);
            let id = nic.map_or_else(|| part.key.as_str().into(), |n| n.common.id.to_string());
            let option = if part.goes_with_vm { "Delete" } else { "Detach" };
            let is_primary = nic.is_none_or(|nic| nic.is_primary);
            json!({"id": id, "properties": {"primary": is_primary, "deleteOption": option}})
        });
        json!({ "networkInterfaces": nics.collect::<Vec<Value>>() })
    }

    /// The instance view.
    pub(super) fn instance_view(&self, vm: &Vm) -> Value {
        let mut view = Map::new();
        if vm.set.is_some() {
            view.insert("platformUpdateDomain".to_owned(), json!(0));
            view.insert("platformFaultDomain".to_owned(), json!(vm.fault_domain));
        }
        if vm.power == Power::Running && !vm.is_provisioning_os {
            view.insert("computerName".to_owned(), json!(vm.asked.computer_name()));
            view.insert("osName".to_owned(), json!("ubuntu"));
            view.insert("osVersion".to_owned(), json!("24.04"));
        }
        if vm.power == Power::Running {
            let (code, display) = match vm.is_provisioning_os {
                true => ("ProvisioningState/Unavailable", "Not Ready"),
                false => ("ProvisioningState/succeeded", "Ready"),
            };
            let status = json!({"code": code, "level": "Info", "displayStatus": display,
                                "time": time::azure(self.now)});
            view.insert(
                "vmAgent".to_owned(),
                json!({"vmAgentVersion": "2.12.0.4", "statuses": [status]}),
            );
        }
        let disks = vm.disks.iter().filter_map(|part| self.disks.get(&part.key)).map(|disk| {
            let status = json!({"code": "ProvisioningState/succeeded", "level": "Info",
                                "displayStatus": "Provisioning succeeded",
                                "time": time::azure(disk.common.created)});
            json!({"name": disk.common.id.name, "statuses": [status]})
        });
        view.insert("disks".to_owned(), disks.collect::<Vec<Value>>().into());
        view.insert("hyperVGeneration".to_owned(), json!("V2"));
        view.insert("statuses".to_owned(), self.statuses(vm));
        Value::Object(view)
    }

    fn statuses(&self, vm: &Vm) -> Value {
        let mut statuses = vec![provisioning_status(vm, self.now)];
        if let Some(word) = vm.power.word() {
            let code = format!("PowerState/{word}");
            statuses.push(json!({"code": code, "level": "Info",
                                 "displayStatus": format!("VM {word}")}));
        }
        if vm.place.is_some() && (vm.group.is_some() || self.set_has_group(vm)) {
            statuses.push(json!({"code": "ColocationStatus/Aligned", "level": "Info",
                                 "displayStatus": "Aligned"}));
        }
        statuses.into()
    }
}

fn body_etag(vm: &Vm) -> &str {
    vm.vm_id.split('-').next().unwrap_or("1")
}

fn provisioning_status(vm: &Vm, now: time::Millis) -> Value {
    let time = time::azure(now);
    match &vm.provisioning {
        Provisioning::Failed(error) => json!({
            "code": format!("ProvisioningState/failed/{}", error.code),
            "level": "Error",
            "displayStatus": "Provisioning failed",
            "message": error.message,
            "time": time,
        }),
        Provisioning::Creating if vm.is_provisioning_os => json!({
            "code": "ProvisioningState/creating/osProvisioningInProgress",
            "level": "Info",
            "displayStatus": "OS Provisioning In progress",
            "message": "This occurs later in the lifecycle of the VM, after it runs.",
            "time": time,
        }),
        state @ (Provisioning::Creating
        | Provisioning::Updating
        | Provisioning::Succeeded
        | Provisioning::Deleting) => {
            let word = state.word().to_ascii_lowercase();
            let display = match state {
                Provisioning::Succeeded => "Provisioning succeeded",
                Provisioning::Creating
                | Provisioning::Updating
                | Provisioning::Failed(_)
                | Provisioning::Deleting => state.word(),
            };
            json!({"code": format!("ProvisioningState/{word}"), "level": "Info",
                   "displayStatus": display, "time": time})
        }
    }
}

/// The OS profile without its secrets; `customData` never comes back (FACTS §1.1).
fn os_profile(vm: &Vm) -> Option<Value> {
    let mut profile = vm.asked.at("/osProfile")?.clone();
    let members = profile.as_object_mut()?;
    members.remove("adminPassword");
    members.remove("customData");
    members.entry("secrets").or_insert_with(|| json!([]));
    members.entry("allowExtensionOperations").or_insert(json!(true));
    members.entry("requireGuestProvisionSignal").or_insert(json!(true));
    Some(profile)
}
