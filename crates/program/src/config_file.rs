//! Finding `azslurm.toml`, judging its mode, and reading it.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use azslurm_core::config::{Config, ConfigErrors};

/// Where the config is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/azslurm/azslurm.toml";
/// The environment variable that names it.
pub const VARIABLE: &str = "AZSLURM_CONFIG";
/// The config's name beside slurm.conf.
const FILE_NAME: &str = "azslurm.toml";

/// The config and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// The file.
    pub path: PathBuf,
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be opened or read.
    #[error(
        "cannot read the config {path}; name it with --config or {VARIABLE}, or make it with \
         `azslurm-conf example`"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could have written it.
    #[error(
        "the config {path} may be written by others (mode {mode:04o}, owner {owner}): anyone who \
         can \
             write it decides what we run; `chown root {path}; chmod go-w {path}`"
    )]
    WritableByOthers {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner's number.
        owner: u32,
    },
    /// It holds a secret and everybody may read it.
    #[error(
        "the config {path} holds a secret and may be read by others (mode {mode:04o}): \
             `chmod o-r {path}`, or name a file with `client_secret_file`"
    )]
    SecretReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Its text is wrong; all errors are in it, a line each.
    #[error("{}", errors.render(&path.display().to_string()))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        errors: ConfigErrors,
    },
}

/// Reads the config: `flag` (`--config`), else `AZSLURM_CONFIG`, else `azslurm.toml` beside the
/// file that `SLURM_CONF` names (slurmctld sets it for its programs, and nothing else), else
/// [`DEFAULT_PATH`].
pub fn load(flag: Option<&Path>) -> Result<Loaded, ConfigFileError> {
    let path = find(flag, |variable| std::env::var_os(variable).map(PathBuf::from));
    let text = read(&path)?;
    let config = match azslurm_core::config::parse(&text.0) {
        Ok(config) => config,
        Err(errors) => return Err(ConfigFileError::Invalid { path, errors }),
    };
    let mode = text.1.mode() & 0o7777;
    if config.holds_secret() && mode & 0o004 != 0 {
        return Err(ConfigFileError::SecretReadableByOthers { path, mode });
    }
    Ok(Loaded { config, path })
}

fn find(flag: Option<&Path>, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(path) = flag {
        return path.to_owned();
    }
    if let Some(path) = variable(VARIABLE) {
        return path;
    }
    let beside = variable("SLURM_CONF").and_then(|conf| Some(conf.parent()?.join(FILE_NAME)));
    beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(DEFAULT_PATH))
}

/// The text, and what the opened file (not the name) is.
fn read(path: &Path) -> Result<(String, Metadata), ConfigFileError> {
    let unreadable = |source| ConfigFileError::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    let owner = metadata.uid();
    let is_trusted_owner = owner == 0 || owner == nix::unistd::geteuid().as_raw();
    if mode & 0o022 != 0 || !is_trusted_owner {
        return Err(ConfigFileError::WritableByOthers { path: path.to_owned(), mode, owner });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok((text, metadata))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn found(flag: Option<&str>, variables: &[(&str, &str)]) -> PathBuf {
        find(flag.map(Path::new), |wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, path)| path.into())
        })
    }

    #[test]
    fn the_config_is_looked_for_where_the_readme_says() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("slurm.conf");
        let beside = folder.path().join("azslurm.toml");
        let slurm_conf = ("SLURM_CONF", conf.to_str().unwrap());
        assert_eq!(found(Some("/a"), &[("AZSLURM_CONFIG", "/b")]), Path::new("/a"));
        assert_eq!(found(None, &[("AZSLURM_CONFIG", "/b"), slurm_conf]), Path::new("/b"));
        assert_eq!(found(None, &[slurm_conf]), Path::new(DEFAULT_PATH));
        std::fs::write(&beside, "").unwrap();
        assert_eq!(found(None, &[slurm_conf]), beside);
        assert_eq!(found(None, &[]), Path::new(DEFAULT_PATH));
    }

    #[test]
    fn a_config_that_others_may_write_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, is_refused) in [(0o600, false), (0o644, false), (0o660, true), (0o602, true)] {
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
            let error = load(Some(file.path())).unwrap_err();
            let refused = matches!(error, ConfigFileError::WritableByOthers { .. });
            assert_eq!(refused, is_refused, "{mode:o}: {error}");
        }
    }

    #[test]
    fn a_config_that_is_not_there_names_its_path() {
        let error = load(Some(Path::new("/nowhere/azslurm.toml"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/azslurm.toml"), "{error}");
    }
}
