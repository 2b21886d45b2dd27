//! `azslurm-arm-emulator`: serves until SIGTERM, SIGINT or `POST /_emulator/shutdown`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use azslurm_arm_emulator::boot::BootOptions;
use azslurm_arm_emulator::model::config::Config;
use azslurm_arm_emulator::{Options, Serving, run};
use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Azure Resource Manager in small, for tests.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address for HTTP; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address for HTTPS; by default another port of the same address
    #[arg(long)]
    listen_https: Option<SocketAddr>,
    /// Another address for the instance metadata service
    #[arg(long)]
    imds_listen: Option<SocketAddr>,
    /// Written, whole, once everything is served: JSON with the URLs
    #[arg(long)]
    ready_file: PathBuf,
    /// Certificate of the HTTPS authority, PEM; written before the ready file
    #[arg(long)]
    ca_file: PathBuf,
    /// What there is at the start, TOML; a built-in set without it
    #[arg(long)]
    config: Option<PathBuf>,
    /// Who may call, TOML; one application and two managed identities without it
    #[arg(long)]
    identities: Option<PathBuf>,
    /// Accept any bearer token
    #[arg(long)]
    any_token: bool,
    /// Program that every running VM runs
    #[arg(long)]
    boot: Option<PathBuf>,
    /// Directory for the output of boot programs
    #[arg(long, requires = "boot")]
    boot_log: Option<PathBuf>,
    /// How many times as fast as real time the clock runs
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// End when the process that started this one ends
    #[arg(long)]
    die_with_parent: bool,
}

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
    let options = options(&arguments)?;
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

fn options(arguments: &Arguments) -> anyhow::Result<Options> {
    anyhow::ensure!(
        arguments.time_scale > 0.0 && arguments.time_scale.is_finite(),
        "time scale {} is not a positive number",
        arguments.time_scale
    );
    let config = arguments.config.as_deref().map_or(Ok(Config::default()), read)?;
    let identities = arguments.identities.as_deref().map_or(Ok(Default::default()), read)?;
    let mut options = Options { config, identities, ..Options::default() };
    options.identities.lenient |= arguments.any_token;
    options.listen = arguments.listen;
    options.listen_https = arguments.listen_https;
    options.listen_imds = arguments.imds_listen;
    options.time_scale = arguments.time_scale;
    options.boot = arguments
        .boot
        .clone()
        .map(|program| BootOptions { program, log_dir: arguments.boot_log.clone() });
    Ok(options)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not right", path.display()))
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
