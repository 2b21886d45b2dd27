//! What a wrapper does: it starts a tracer that holds on to this process, and becomes the program.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::state::State;
use crate::arguments::Under;
use crate::chance::Chance;

/// Becomes the program; returns only when it cannot.
pub fn under(of: &Under) -> Result<()> {
    let state = State::of(&of.state);
    let (seed, per_mille) = state.mode();
    if per_mille > 0 {
        let number = state.count_start()?;
        let is_daemon = of.arguments.iter().any(|word| word == "daemon");
        // One that is spared would be the only one of the run.
        if is_daemon || Chance::of(seed, number).below(1000) < per_mille {
            start_tracer(of, number)?;
        }
    }
    let this = std::env::current_exe().context("the running program")?;
    let error = Command::new(this.with_file_name(&of.program)).args(&of.arguments).exec();
    Err(error).with_context(|| format!("become {}", of.program))
}

/// Waits until the tracer holds on to this process.
fn start_tracer(of: &Under, number: u64) -> Result<()> {
    let verb = of.arguments.iter().find(|word| ["daemon", "pass"].contains(&word.as_str()));
    let role = verb.map_or(of.program.clone(), |verb| format!("{} {verb}", of.program));
    let mut tracer = Command::new(std::env::current_exe().context("the running program")?)
        .args(["trace".as_ref(), of.state.as_os_str(), role.as_ref()])
        .args([std::process::id().to_string(), number.to_string()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start the tracer")?;
    let mut said = [0; super::tracer::READY.len()];
    let pipe = tracer.stdout.as_mut().context("the tracer has no output")?;
    pipe.read_exact(&mut said).context("the tracer ended before it was ready")
}
