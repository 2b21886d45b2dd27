//! The emulator's command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use azslurm_arm_emulator::Options;
use azslurm_arm_emulator::boot::BootOptions;
use azslurm_arm_emulator::model::config::Config;
use clap::Parser;

/// Azure Resource Manager in small, for tests.
#[derive(Parser)]
#[command(version)]
pub struct Arguments {
    /// Address for HTTP; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Address for HTTPS; by default another port of the same address
    #[arg(long)]
    pub listen_https: Option<SocketAddr>,
    /// Another address for the instance metadata service
    #[arg(long)]
    pub imds_listen: Option<SocketAddr>,
    /// Written, whole, once everything is served: JSON with the URLs
    #[arg(long)]
    pub ready_file: PathBuf,
    /// Certificate of the HTTPS authority, PEM; written before the ready file
    #[arg(long)]
    pub ca_file: PathBuf,
    /// What there is at the start, TOML; a built-in set without it
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Who may call, TOML; one application and two managed identities without it
    #[arg(long)]
    pub identities: Option<PathBuf>,
    /// Accept any bearer token
    #[arg(long)]
    pub any_token: bool,
    /// Program that every running VM runs
    #[arg(long)]
    pub boot: Option<PathBuf>,
    /// Directory for the output of boot programs
    #[arg(long, requires = "boot")]
    pub boot_log: Option<PathBuf>,
    /// How many times as fast as real time the clock runs
    #[arg(long, default_value_t = 1.0)]
    pub time_scale: f64,
    /// End when the process (strictly: the thread of it) that started this one ends
    #[arg(long)]
    pub die_with_parent: bool,
}

impl Arguments {
    /// What they ask for.
    ///
    /// # Errors
    /// A file that cannot be read or is not right, with its name.
    pub fn options(&self) -> anyhow::Result<Options> {
        anyhow::ensure!(
            self.time_scale > 0.0 && self.time_scale.is_finite(),
            "time scale {} is not a positive number",
            self.time_scale
        );
        let config = self.config.as_deref().map_or(Ok(Config::default()), read)?;
        let identities = self.identities.as_deref().map_or(Ok(Default::default()), read)?;
        let mut options = Options { config, identities, ..Options::default() };
        options.identities.lenient |= self.any_token;
        options.listen = self.listen;
        options.listen_https = self.listen_https;
        options.listen_imds = self.imds_listen;
        options.time_scale = self.time_scale;
        options.boot = self
            .boot
            .clone()
            .map(|program| BootOptions { program, log_dir: self.boot_log.clone() });
        Ok(options)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not right", path.display()))
}
