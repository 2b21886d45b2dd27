//! What the HTTP tests share: an emulator, a client, a body that is accepted, waiting.

#![expect(dead_code, reason = "each test target uses its own part")]

use std::time::{Duration, Instant};

use azslurm_arm_emulator::{Emulator, Options};
use serde_json::{Value, json};

/// The subscription of the default configuration.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
/// The version that the tests speak.
pub const VERSION: &str = "api-version=2024-11-01";
/// Longest wait for anything that takes the emulator 300 ms.
const PATIENCE: Duration = Duration::from_secs(20);

/// An emulator with a client that has a token.
pub struct Setup {
    pub emulator: Emulator,
    pub client: reqwest::Client,
    token: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Azure's error code.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("")
    }
}

/// An emulator whose operations are polled at once.
pub fn setup() -> Setup {
    let mut options = Options::default();
    options.config.delays.retry_after_s = None;
    options.config.delays.first_poll_retry_after_s = None;
    options.config.throttle.enforce = false;
    setup_with(options)
}

/// An emulator with these options.
pub fn setup_with(options: Options) -> Setup {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let emulator = Emulator::start(options).unwrap();
    let ca = reqwest::Certificate::from_pem(emulator.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    let token = emulator.token();
    Setup { emulator, client, token }
}

impl Setup {
    /// URL below the group `hpc`, with the version.
    pub fn url(&self, rest: &str) -> String {
        let base = &self.emulator.urls().arm_http;
        format!("{base}/subscriptions/{SUBSCRIPTION}/resourceGroups/hpc/providers/{rest}?{VERSION}")
    }

    /// URL of a VM.
    pub fn vm(&self, name: &str) -> String {
        self.url(&format!("Microsoft.Compute/virtualMachines/{name}"))
    }

    /// Sends a call; the error is the connection's.
    pub async fn try_send(
        &self,
        method: &str,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status, headers, body })
    }

    /// Sends a call.
    pub async fn send(&self, method: &str, url: &str, body: Option<&Value>) -> Answer {
        self.try_send(method, url, body).await.unwrap()
    }

    /// GET.
    pub async fn get(&self, url: &str) -> Answer {
        self.send("GET", url, None).await
    }

    /// PUT of a VM.
    pub async fn put_vm(&self, name: &str) -> Answer {
        self.send("PUT", &self.vm(name), Some(&vm_body(name))).await
    }

    /// Follows the operation of an answer to its end.
    pub async fn end_of(&self, started: &Answer) -> Value {
        let url = started.header("azure-asyncoperation").to_owned();
        assert!(!url.is_empty(), "no operation: {started:?}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let polled = self.get(&url).await;
            assert_eq!(polled.status, 200);
            if polled.body["status"] != "InProgress" {
                return polled.body;
            }
            assert!(Instant::now() < deadline, "{url} does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// POST to the control interface.
    pub fn control(&self, path: &str, body: &Value) -> Value {
        self.emulator.post(path, body).unwrap()
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A body that is accepted.
pub fn vm_body(computer_name: &str) -> Value {
    let subnet = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network\
         /virtualNetworks/vnet/subnets/compute"
    );
    json!({
        "location": "westeurope",
        "tags": {"azslurm-node": computer_name},
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "storageProfile": {
                "imageReference": {"publisher": "Canonical", "offer": "ubuntu-24_04-lts",
                                   "sku": "server", "version": "latest"},
                "osDisk": {"createOption": "FromImage", "deleteOption": "Delete"},
            },
            "osProfile": {
                "computerName": computer_name,
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
                        "ipConfigurations": [{"name": "ip", "properties": {
                            "primary": true, "subnet": {"id": subnet}}}],
                    },
                }],
            },
            "userData": "aGVsbG8gd29ybGQ=",
        },
    })
}
