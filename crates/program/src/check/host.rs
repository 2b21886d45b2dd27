//! This machine: the config's file, the log's place, who we are, and whether slurmctld answers.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use azslurm_core::config::Config;
use azslurm_slurm::SlurmError;
use nix::unistd::{AccessFlags, access};

use super::Finding;
use super::settings::Settings;
use crate::exit::chain_of;
use crate::{ConfigFileError, Loaded};

/// Where journald listens.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// A slurmctld that needs longer for its settings is too busy for its jobs too.
const ANSWER_EXPECTED_MAX: Duration = Duration::from_secs(5);

/// The config's file. What is wrong with it its own error tells.
pub fn config(loaded: &Result<Loaded, ConfigFileError>) -> Finding {
    let check = "config";
    let error = match loaded {
        Ok(Loaded { config, path }) => {
            let Config { sites, nodesets, cluster, .. } = config;
            let (sites, sets) = (sites.len(), nodesets.len());
            let path = path.display();
            let text = format!("{path}: cluster {cluster}, {sites} sites, {sets} nodesets");
            return Finding::ok(check, text);
        }
        Err(error) => error,
    };
    let fix = match error {
        ConfigFileError::Unreadable { .. } => {
            "name it with --config or AZSLURM_CONFIG, or make it: `azslurm-conf example`; nothing \
             that needs it is checked"
        }
        ConfigFileError::WritableByOthers { .. } => "make root its owner, and `chmod go-w` it",
        ConfigFileError::SecretReadableByOthers { .. } => "`chmod o-r` it",
        ConfigFileError::Invalid { .. } => "correct the lines that are named",
    };
    Finding::error(check, chain_of(error), fix)
}

/// Whether journald takes lines.
pub fn has_journal() -> bool {
    UnixDatagram::unbound().and_then(|socket| socket.connect(JOURNAL)).is_ok()
}

/// Whether a log file takes lines; it is not made. `Err` why not.
pub fn takes_lines(file: &Path) -> Result<(), String> {
    let opened = OpenOptions::new().append(true).open(file).map(drop);
    let folder = file.parent().unwrap_or(Path::new("/"));
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let may = access(folder, AccessFlags::W_OK | AccessFlags::X_OK);
            may.map_err(|errno| format!("{}: {}", folder.display(), errno.desc()))
        }
        opened => opened.map_err(|error| error.to_string()),
    }
}

/// Where the log goes. `file`: of `[log]`, and whether it takes lines.
pub fn log(has_journal: bool, file: Option<(&Path, Result<(), String>)>) -> Finding {
    let check = "log";
    match (has_journal, file) {
        (_, Some((file, Err(why)))) => Finding::error(
            check,
            format!("the log {} cannot be written: {why}", file.display()),
            "make its folder for SlurmUser, or correct `file` in [log]",
        ),
        (true, _) => Finding::ok(check, "journald takes our lines"),
        (false, Some((file, Ok(())))) => {
            let text = format!("there is no journald; lines go to {}", file.display());
            Finding::ok(check, text)
        }
        (false, None) => Finding::warning(
            check,
            "there is no journald and no file: what slurmctld's programs say is lost",
            "set `file` in [log]",
        ),
    }
}

/// Who we are. `slurm`: SlurmUser's number, if it is known.
pub fn user(ours: u32, slurm: Option<u32>) -> Finding {
    let check = "user";
    match slurm {
        _ if ours == 0 => Finding::ok(check, "this is root"),
        Some(slurm) if slurm == ours => Finding::ok(check, "this is SlurmUser"),
        Some(slurm) => Finding::warning(
            check,
            format!("this is user {ours}, and SlurmUser is {slurm}: not all can be seen"),
            "run it as SlurmUser or root",
        ),
        None => Finding::ok(check, format!("this is user {ours}")),
    }
}

/// Whether slurmctld answers. `took`: how long it needed.
pub fn slurmctld(settings: &Result<Settings, SlurmError>, took: Duration) -> Finding {
    let check = "slurmctld";
    let seconds = took.as_secs_f32();
    match settings {
        Ok(settings) => {
            let version = settings.value("SLURM_VERSION");
            let text = format!("Slurm {version} answers within {seconds:.1} s");
            match took > ANSWER_EXPECTED_MAX {
                false => Finding::ok(check, text),
                true => Finding::warning(
                    check,
                    format!("{text}: it is busy"),
                    "see `sdiag` and slurmctld's log; each pass asks it twice",
                ),
            }
        }
        Err(error @ SlurmError::NotRun { .. }) => Finding::error(
            check,
            chain_of(error),
            "install Slurm's client programs, or set bin_dir in [slurm]",
        ),
        Err(error) => Finding::error(
            check,
            chain_of(error),
            "start slurmctld, or set conf in [slurm] to its slurm.conf: `scontrol ping` shows \
             whether it is there",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::Level;

    #[test]
    fn root_and_slurm_user_see_all() {
        assert_eq!(user(0, Some(64030)).level, Level::Ok);
        assert_eq!(user(64030, Some(64030)).level, Level::Ok);
        assert_eq!(user(1000, Some(64030)).level, Level::Warning);
        assert_eq!(user(1000, None).level, Level::Ok);
    }

    #[test]
    fn lines_must_go_somewhere() {
        let folder = tempfile::tempdir().unwrap();
        let level = |has_journal, file: Option<&Path>| {
            log(has_journal, file.map(|file| (file, takes_lines(file)))).level
        };
        let good = folder.path().join("azslurm.log");
        let bad = folder.path().join("absent/azslurm.log");
        assert_eq!(level(true, None), Level::Ok);
        assert_eq!(level(false, Some(&good)), Level::Ok);
        assert!(!good.exists(), "looking makes nothing");
        assert_eq!(level(true, Some(&bad)), Level::Error);
        assert_eq!(level(true, Some(folder.path())), Level::Error);
        assert_eq!(level(false, None), Level::Warning);
    }

    #[test]
    fn a_slurmctld_that_is_slow_is_told_from_one_that_is_absent() {
        let version = Some("22.05.8".to_owned());
        let said = [("slurm_version".to_owned(), version)];
        let settings = Ok(Settings::from(BTreeMap::from(said)));
        let quick = slurmctld(&settings, Duration::from_millis(100));
        assert_eq!(
            (quick.level, quick.text.as_str()),
            (Level::Ok, "Slurm 22.05.8 answers within 0.1 s")
        );
        assert_eq!(slurmctld(&settings, Duration::from_secs(6)).level, Level::Warning);
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        let absent = Err(SlurmError::NotRun { program: "/usr/bin/scontrol".into(), source });
        let absent = slurmctld(&absent, Duration::ZERO);
        assert_eq!(absent.level, Level::Error);
        assert!(absent.fix.unwrap().contains("bin_dir"));
    }
}
