//! What only a test can do: many VMs at once that nobody asked for over HTTP, and VMs whose end
//! leaves something behind.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Model;
use super::ids::{Kind, ResourceId};
use super::message::{Method, Request};
use super::route::Route;
use super::time::Millis;

/// The version that seeds are written in.
const VERSION: &str = "2024-07-01";

/// A part of a VM.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Leaves {
    /// Its network interfaces.
    Nic,
    /// Its disks.
    Disk,
}

/// VMs to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// The body of each PUT; `{word}` in it is replaced.
    template: Value,
    vms: Vec<SeedVm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedVm {
    id: String,
    words: BTreeMap<String, String>,
    #[serde(default)]
    tags: Map<String, Value>,
}

impl Model {
    /// Makes VMs as their PUTs would, without HTTP, rate limits and operations to follow.
    ///
    /// # Errors
    /// The first refusal, in Azure's words.
    pub fn seed(&mut self, seed: &Seed, now: Millis) -> Result<Value, String> {
        let template = seed.template.to_string();
        for vm in &seed.vms {
            let replaced = vm.words.iter().fold(template.clone(), |text, (word, value)| {
                text.replace(&format!("{{{word}}}"), value)
            });
            let mut body: Value =
                serde_json::from_str(&replaced).map_err(|error| error.to_string())?;
            body["tags"] = Value::Object(vm.tags.clone());
            let id = vm_id(&vm.id)?;
            let request = Request::new(Method::Put, &vm.id)
                .with_query("api-version", VERSION)
                .with_body(body);
            self.put_vm(&id, &request).map_err(|error| format!("{}: {error:?}", vm.id))?;
        }
        self.run_until(now);
        Ok(json!({ "made": seed.vms.len() }))
    }

    /// When the VM ends, these parts of it stay, whatever its `deleteOption` says.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn leave_behind(&mut self, name: &str, parts: &[Leaves]) -> Result<(), String> {
        let key = self.vm_named(name)?;
        let Some(vm) = self.vms.get_mut(&key) else { return Ok(()) };
        if parts.contains(&Leaves::Nic) {
            vm.nics.iter_mut().for_each(|part| part.goes_with_vm = false);
        }
        if parts.contains(&Leaves::Disk) {
            vm.disks.iter_mut().for_each(|part| part.goes_with_vm = false);
        }
        Ok(())
    }
}

fn vm_id(text: &str) -> Result<ResourceId, String> {
    match Route::parse(text) {
        Ok(Route::Resource(id)) if id.kind == Kind::Vm => Ok(id),
        _ => Err(format!("'{text}' is not the id of a VM")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Spread;
    use super::super::tests::{T0, body, model, vm};
    use super::*;

    #[test]
    fn seeded_vms_run_and_what_they_leave_is_not_attached() {
        let mut model = model();
        model.delays.vm_create_ms = Spread::Fixed(0);
        let mut template = body();
        template["properties"]["osProfile"]["computerName"] = json!("{node}");
        let one = |node: &str| json!({"id": vm(&format!("{node}-a")), "words": {"node": node}});
        let seed = json!({"template": template, "vms": [one("n1"), one("n2")]});
        let seed: Seed = serde_json::from_value(seed).unwrap();
        assert_eq!(model.seed(&seed, T0).unwrap()["made"], 2);
        assert_eq!(model.vms.len(), 2);
        assert!(model.vms.values().all(|vm| vm.provisioning.word() == "Succeeded"));
        model.leave_behind("n2-a", &[Leaves::Nic, Leaves::Disk]).unwrap();
        model.vanish("n1-a").unwrap();
        model.vanish("n2-a").unwrap();
        model.run_until(T0 + 1);
        assert_eq!((model.vms.len(), model.nics.len(), model.disks.len()), (0, 1, 1));
        assert!(model.nics.values().all(|nic| nic.vm.is_none()));
        assert!(model.disks.values().all(|disk| disk.vm.is_none()));
        assert!(model.leave_behind("n3-a", &[Leaves::Nic]).is_err());
    }
}
