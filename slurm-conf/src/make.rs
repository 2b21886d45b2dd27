//! `azslurm-conf render`: loads the config, learns the sizes, makes the files, prints or writes
//! them. What they say is [`crate::render`]'s.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use azslurm_core::config::Config;
use azslurm_core::size::Sizes;
use azslurm_program::{ConfigFileError, Loaded, config_file, exit};
use azslurm_slurm::{Conf, Slurm, SlurmError, SlurmVersion};

use crate::prices;
use crate::render::{self, Around, RenderError};
use crate::sizes::{self, SizesError};
use crate::write::{self, WriteError};

/// Where slurm.conf is when nobody says otherwise.
const SLURM_CONF: &str = "/etc/slurm/slurm.conf";

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// No config.
    #[error(transparent)]
    Config(#[from] ConfigFileError),
    /// slurm.conf is there and cannot be read.
    #[error("cannot read {path}")]
    SlurmConf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Slurm's version is not known.
    #[error(
        "cannot learn for which Slurm to write: `scontrol --version` failed; say it by \
         --slurm-version, or correct bin_dir in [slurm]"
    )]
    Version(#[source] SlurmError),
    /// No sizes.
    #[error(transparent)]
    Sizes(#[from] SizesError),
    /// What is known does not make a file.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl MakeError {
    /// 2 for what nothing can begin with, 1 for what failed on the way.
    pub fn exit_code(&self) -> u8 {
        match self {
            MakeError::Config(_) | MakeError::SlurmConf { .. } | MakeError::Version(_) => {
                exit::CANNOT_START
            }
            MakeError::Sizes(_) | MakeError::Render(_) | MakeError::Write(_) => exit::FAILED,
        }
    }
}

/// How the files are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Azure is asked again for what is known.
    pub is_fresh: bool,
    /// The Slurm that reads them; `None`: the one that is installed.
    pub version: Option<SlurmVersion>,
}

/// What was made, and of what.
#[derive(Debug)]
pub struct Made {
    /// The config.
    pub loaded: Loaded,
    /// slurm.conf, if it is there.
    pub conf: Option<Conf>,
    /// What was known of the sizes.
    pub sizes: Sizes,
    /// The files by name.
    pub files: BTreeMap<&'static str, String>,
}

/// Makes the files and changes nothing but the list of sizes beside the config, which is kept.
///
/// # Errors
/// [`MakeError`].
pub async fn files(flag: Option<&Path>, wanted: Wanted) -> Result<Made, MakeError> {
    let loaded = config_file::load(flag)?;
    let conf = slurm_conf(&loaded.config)?;
    let version = match wanted.version {
        Some(version) => version,
        None => {
            let slurm = Slurm::new(&loaded.config.slurm);
            slurm.installed_version().await.map_err(MakeError::Version)?
        }
    };
    let sizes = learn(&loaded, wanted.is_fresh).await?;
    let around = Around::new(version, conf.as_ref());
    let files = render::files(&loaded.config, &sizes, &around)?;
    Ok(Made { loaded, conf, sizes, files })
}

/// Where slurm.conf of a config is: the config says it, or the environment, or Slurm's default.
pub fn slurm_conf_path(config: &Config) -> PathBuf {
    let named = config.slurm.conf.clone();
    let named = named.or_else(|| std::env::var_os("SLURM_CONF").map(PathBuf::from));
    named.unwrap_or_else(|| PathBuf::from(SLURM_CONF))
}

fn slurm_conf(config: &Config) -> Result<Option<Conf>, MakeError> {
    let path = slurm_conf_path(config);
    match Conf::read(&path) {
        Ok(conf) => Ok(Some(conf)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MakeError::SlurmConf { path, source }),
    }
}

/// The sizes, from beside the config or from Azure. A folder that nobody may write only costs the
/// next run its question.
async fn learn(loaded: &Loaded, is_fresh: bool) -> Result<Sizes, SizesError> {
    let config = &loaded.config;
    let mut known = sizes::kept(&loaded.path)?;
    let nothing = Sizes::default();
    let unknown = sizes::missing(config, if is_fresh { &nothing } else { &known });
    if unknown.is_empty() {
        return Ok(known);
    }
    let regions: Vec<&str> = unknown.iter().map(|(_, region)| region.as_str()).collect();
    eprintln!("asking Azure for the VM sizes of {} …", regions.join(", "));
    sizes::ask(config, &unknown, &mut known).await?;
    if let Err(error) = prices::fill(config, &mut known).await {
        eprintln!("{}; nodes are weighed without prices", exit::chain_of(&error));
    }
    if let Err(error) = sizes::keep(&loaded.path, &known) {
        eprintln!("{}; the next run will ask Azure again", exit::chain_of(&error));
    }
    Ok(known)
}

/// The text to print: all files, or what was written where.
///
/// # Errors
/// [`MakeError`].
pub async fn render(
    flag: Option<&Path>,
    wanted: Wanted,
    out: Option<&Path>,
) -> Result<String, MakeError> {
    let made = files(flag, wanted).await?;
    let Some(folder) = out else {
        let texts: Vec<&str> = made.files.values().map(String::as_str).collect();
        return Ok(texts.join("\n"));
    };
    let mut lines = Vec::new();
    for (name, text) in &made.files {
        let path = folder.join(name);
        write::whole(&path, text)?;
        let by = render::INCLUDED_BY.iter().find(|(ours, _)| ours == name);
        let by = by.map_or("slurm.conf", |(_, by)| by);
        lines.push(format!("{}: to be included by {by}", path.display()));
    }
    Ok(lines.join("\n"))
}
