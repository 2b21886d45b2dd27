//! `azslurm-arm-emulator`: serves until SIGTERM, SIGINT or `POST /_emulator/shutdown`.

mod arguments;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use arguments::Arguments;
use azslurm_arm_emulator::{Serving, run};
use clap::Parser as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.die_with_parent {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
            .context("cannot ask to end with the parent")?;
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let options = arguments.options()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        run(options, |serving| announce(&arguments, serving), stop).await
    })
}

fn announce(arguments: &Arguments, serving: &Serving) -> anyhow::Result<()> {
    write_whole(&arguments.ca_file, serving.ca_pem.as_bytes())?;
    let mut ready = json!(serving.urls);
    ready["pid"] = json!(std::process::id());
    ready["ca_file"] = json!(arguments.ca_file);
    write_whole(&arguments.ready_file, format!("{ready:#}\n").as_bytes())
}

/// Writes a file so that a reader sees all of it or nothing.
fn write_whole(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        std::fs::File::create(&new)?.write_all(content)?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
