//! The emulator's control API, as tests and the demo use it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::http::request;

/// The emulator's ready file: base URLs without a trailing slash.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoints {
    /// The emulator's process.
    pub pid: u32,
    /// ARM without TLS.
    pub arm_http: String,
    /// ARM with TLS, by the CA of the CA file.
    pub arm_https: String,
    /// Tokens for secrets, certificates and federated tokens.
    pub authority: String,
    /// Tokens for managed identities.
    pub imds: String,
    /// Resource Graph.
    pub resource_graph: String,
    /// The control API.
    pub control: String,
}

/// Something that the emulated Azure has, or had.
#[derive(Debug, Clone, Deserialize)]
pub struct Resource {
    /// ARM id.
    pub id: String,
    /// `Microsoft.Compute/virtualMachines` …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its region.
    #[serde(default)]
    pub location: Option<String>,
    /// Its tags.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// RFC 3339, milliseconds.
    pub created_at: String,
    /// RFC 3339; `None` while it exists.
    #[serde(default)]
    pub deleted_at: Option<String>,
    /// `provisioningState`.
    #[serde(default)]
    pub provisioning_state: Option<String>,
    /// `PowerState/…` of a VM.
    #[serde(default)]
    pub power_state: Option<String>,
    /// What happened to it, oldest first.
    #[serde(default)]
    pub history: Vec<ResourceEvent>,
}

impl Resource {
    /// Whether it is of this type, `virtualMachines`.
    pub fn is_a(&self, kind: &str) -> bool {
        self.kind.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(kind))
    }
}

/// A line of a resource's history.
#[derive(Debug, Clone, Deserialize)]
pub struct ResourceEvent {
    /// RFC 3339, milliseconds.
    pub at: String,
    /// What happened.
    pub event: String,
}

/// API calls that the emulator has answered.
#[derive(Debug, Clone, Deserialize)]
pub struct Calls {
    /// All of them.
    pub total: u64,
    /// By method, route and status.
    pub by: Vec<Call>,
}

/// Calls of one kind.
#[derive(Debug, Clone, Deserialize)]
pub struct Call {
    /// `PUT`.
    pub method: String,
    /// The route, with its variables in braces.
    pub route: String,
    /// HTTP status.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// Talks to one emulator.
#[derive(Debug, Clone)]
pub struct EmulatorClient {
    endpoints: Endpoints,
}

impl EmulatorClient {
    /// From the ready file.
    pub fn from_ready_file(path: &Path) -> Result<EmulatorClient> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let endpoints = serde_json::from_str(&text).context("the emulator's ready file")?;
        Ok(EmulatorClient { endpoints })
    }

    /// Where its parts are.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Everything that was ever made.
    pub fn resources(&self) -> Result<Vec<Resource>> {
        self.listed("/resources")
    }

    /// What exists now.
    pub fn alive(&self) -> Result<Vec<Resource>> {
        self.listed("/resources?alive=true")
    }

    /// VMs that exist now.
    pub fn vms(&self) -> Result<Vec<Resource>> {
        Ok(self.alive()?.into_iter().filter(|seen| seen.is_a("virtualMachines")).collect())
    }

    /// The calls since the start or [`EmulatorClient::reset_calls`].
    pub fn calls(&self) -> Result<Calls> {
        typed(self.get("/calls")?)
    }

    /// Puts a secret into the key vault, which `readers` (client ids) may read.
    pub fn set_secret(&self, name: &str, value: &str, readers: &[&str]) -> Result<()> {
        let secret = json!({ "name": name, "value": value, "readers": readers });
        self.post("/vault", &secret).map(drop)
    }

    /// Counts from 0 again.
    pub fn reset_calls(&self) -> Result<()> {
        self.post("/calls/reset", &json!({})).map(drop)
    }

    /// The emulator's log from entry `since` on, as it tells it.
    pub fn log(&self, since: u64) -> Result<Value> {
        self.get(&format!("/log?since={since}"))
    }

    /// How many VMs of a size a region has room for; `None`: any number.
    pub fn set_capacity(&self, region: &str, sku: &str, vms: Option<u32>) -> Result<()> {
        self.post("/capacity", &json!({ "region": region, "sku": sku, "vms": vms })).map(drop)
    }

    /// The limit of a quota.
    pub fn set_quota(&self, region: &str, name: &str, limit: u32) -> Result<()> {
        self.post("/quota", &json!({ "region": region, "name": name, "limit": limit })).map(drop)
    }

    /// How long things take: `{"vm_create_ms": 2000}`.
    pub fn set_delays(&self, delays: &Value) -> Result<()> {
        self.post("/delays", delays).map(drop)
    }

    /// Adds a fault; its fields are those of the control API.
    pub fn add_fault(&self, fault: &Value) -> Result<Value> {
        self.post("/faults", fault)
    }

    /// Ends all faults.
    pub fn clear_faults(&self) -> Result<()> {
        request("DELETE", &self.url("/faults"), None).map(drop)
    }

    /// Azure takes a Spot VM.
    pub fn evict(&self, vm: &str) -> Result<()> {
        self.post("/evict", &json!({ "vm": vm })).map(drop)
    }

    /// Somebody else deletes a VM.
    pub fn vanish(&self, vm: &str) -> Result<()> {
        self.post("/vms", &json!({ "vm": vm, "vanish": true })).map(drop)
    }

    /// Azure takes a Spot VM after it has announced that.
    pub fn evict_after(&self, vm: &str, notice: std::time::Duration) -> Result<()> {
        let body = json!({ "vm": vm, "notice_s": notice.as_secs_f64() });
        self.post("/evict", &body).map(drop)
    }

    /// Azure announces something for a VM: `Reboot`, `Redeploy`, `Freeze` or `Terminate`.
    pub fn announce(&self, kind: &str, vm: &str, notice: std::time::Duration) -> Result<()> {
        let body = json!({ "kind": kind, "vms": [vm], "notice_s": notice.as_secs_f64() });
        self.post("/events", &body).map(drop)
    }

    /// All that was announced is cancelled.
    pub fn cancel_events(&self) -> Result<()> {
        request("DELETE", &self.url("/events"), None).map(drop)
    }

    /// VMs with these computer names run, and never start their boot command. Replaces the former
    /// list.
    pub fn never_boot(&self, computer_names: &[&str]) -> Result<()> {
        self.post("/boot", &json!({ "never": computer_names })).map(drop)
    }

    /// Moves a virtual clock.
    pub fn advance(&self, by: std::time::Duration) -> Result<()> {
        self.post("/time", &json!({ "advance_ms": u64::try_from(by.as_millis())? })).map(drop)
    }

    /// How far Resource Graph lags behind.
    pub fn set_graph_lag(&self, lag: std::time::Duration) -> Result<()> {
        self.post("/graph", &json!({ "lag_ms": u64::try_from(lag.as_millis())? })).map(drop)
    }

    /// Any GET of the control API; `path` begins with a slash.
    pub fn get(&self, path: &str) -> Result<Value> {
        request("GET", &self.url(path), None)
    }

    /// Any POST of the control API.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        request("POST", &self.url(path), Some(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoints.control)
    }

    fn listed(&self, path: &str) -> Result<Vec<Resource>> {
        typed(self.get(path)?["resources"].take())
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).context("the emulator's answer has another shape")
}
