//! What the minimal client is to send: the requests of a program and nothing of its reasons.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::measure::{self, Cost};

/// What stands for a VM's name in an address or a body.
pub const VM: &str = "VMNAME";
/// What stands for a node's name.
pub const NODE: &str = "NODENAME";

/// Everything that a minimal client needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    /// The CA of the emulator.
    pub ca: PathBuf,
    /// Where a token is got: a GET with `Metadata: true`.
    pub token_url: String,
    /// How many requests at once.
    pub in_flight: usize,
    /// Requests, in order.
    pub steps: Vec<Step>,
}

/// One kind of request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// `PUT`.
    pub method: String,
    /// Its address.
    pub url: String,
    /// Its body.
    pub body: Option<String>,
    /// Node and VM that it is sent for, each once; none: it is sent once as it stands.
    pub each: Vec<(String, String)>,
    /// How often its operation is asked for afterwards.
    pub polls: u64,
    /// Before that, in milliseconds: an operation that still runs is not asked for.
    pub poll_after_ms: u64,
}

impl Step {
    /// A request that is sent once.
    pub fn once(method: &str, url: String, body: Option<String>) -> Step {
        Step { method: method.to_owned(), url, body, each: Vec::new(), polls: 0, poll_after_ms: 0 }
    }
}

impl Script {
    /// Runs it in a process of its own.
    pub fn run(&self, folder: &Path) -> Result<Cost> {
        let file = folder.join("script.json");
        std::fs::write(&file, serde_json::to_vec(self)?)?;
        let mut command = measure::command()?;
        command.arg(std::env::current_exe()?).arg("minimal").arg(&file);
        measure::run(command).context("the minimal client")
    }
}
