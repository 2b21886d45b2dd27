//! Looks at everything that the rules ask for, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use azslurm_program::check::disk::Disk;
use azslurm_program::check::host;
use azslurm_program::check::ledger::LedgerSeen;
use azslurm_program::check::settings::Settings;
use azslurm_program::{Loaded, exit};
use azslurm_slurm::{Conf, Slurm, SlurmError};
use tokio::time::{Instant, timeout};

use super::config::files;
use super::scene::Scene;
use super::seen::{Accounts, Missing, PathSeen, Running, Seen, Step};
use super::slurm;
use crate::make;
use crate::sizes;

/// slurmctld answers within this, or it does not answer.
const SLURM_MAX: Duration = Duration::from_secs(20);
/// What is read of a file at most: user data is 64 KiB, a bundle of authorities some hundred.
const TEXT_MAX: u64 = 4 * 1024 * 1024;

/// Looks at all of it. `is_offline`: slurmctld is not asked.
pub async fn look(loaded: &Loaded, is_offline: bool) -> Seen {
    let config = &loaded.config;
    let path = make::slurm_conf_path(config);
    let conf = Conf::read(&path).map_err(|error| (path, error.to_string()));
    let topology = conf.as_ref().ok().and_then(|conf| Conf::read(&slurm::topology_conf(conf)).ok());
    let slurm = Slurm::new(&config.slurm);
    let running = if is_offline { Running::NotAsked } else { ask(&slurm).await };
    let version = within("scontrol --version", slurm.installed_version()).await.ok();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut seen = Seen {
        text: fs::read_to_string(&loaded.path).unwrap_or_default(),
        path: loaded.path.clone(),
        // Sizes that cannot be read are told by whoever needs them; nothing here does.
        sizes: sizes::kept(&loaded.path).unwrap_or_default(),
        conf,
        topology,
        running,
        version,
        files: BTreeMap::new(),
        accounts: Accounts { passwd: read("/etc/passwd"), group: read("/etc/group") },
        ledger: LedgerSeen::look(&config.ledger.path),
        has_journal: host::has_journal(),
        log: config.log.file.as_deref().map(host::takes_lines),
        munge: Ok(()),
    };
    let scene = Scene::new(config, &seen);
    let munge = slurm::munge_socket(&scene.settings).filter(|_| scene.has_settings);
    let files = paths(&scene).into_iter().map(|(path, is_read)| {
        let seen = look_at(&path, is_read);
        (path, seen)
    });
    let files = files.collect();
    seen.files = files;
    seen.munge = munge.map_or(Ok(()), |socket| answers(&socket));
    seen
}

/// Every path that a rule asks for, and whether its text is needed.
pub fn paths(scene: &Scene<'_>) -> BTreeMap<PathBuf, bool> {
    let Scene { config, seen, settings, .. } = scene;
    let mut paths: BTreeMap<PathBuf, bool> = BTreeMap::new();
    paths.extend(slurm::BESIDE.iter().map(|path| (PathBuf::from(path), false)));
    paths.extend(slurm::programs(settings).map(|path| (path, false)));
    paths.extend(slurm::state_folder(settings).map(|path| (path, false)));
    paths.extend(slurm::munge_key(settings).map(|path| (path.to_owned(), false)));
    paths.insert(slurm::scontrol(config), false);
    paths.insert(seen.path.clone(), false);
    if let Ok(conf) = &seen.conf {
        paths.extend(conf.files.iter().map(|path| (path.clone(), false)));
        paths.insert(slurm::topology_yaml(conf), false);
    }
    let named = files::named(config).into_iter();
    paths.extend(named.map(|named| (named.path, named.kind.is_read())));
    paths
}

async fn ask(slurm: &Slurm) -> Running {
    let begun = Instant::now();
    let settings = within("asking slurmctld for its settings", slurm.config()).await;
    let nodes = match &settings {
        Ok(_) => within("asking slurmctld for its nodes", slurm.nodes()).await,
        Err(_) => Ok(Vec::new()),
    };
    match (settings.map(Settings::from), nodes) {
        (Ok(settings), Ok(nodes)) => Running::Answered { settings, nodes },
        (settings @ Err(_), _) => {
            Running::Silent(Box::new(host::slurmctld(&settings, begun.elapsed())))
        }
        (Ok(_), Err(error)) => {
            Running::Silent(Box::new(host::slurmctld(&Err(error), begun.elapsed())))
        }
    }
}

async fn within<T>(
    what: &str,
    work: impl Future<Output = Result<T, SlurmError>>,
) -> Result<T, SlurmError> {
    match timeout(SLURM_MAX, work).await {
        Ok(done) => done,
        Err(_elapsed) => Err(SlurmError::TimedOut { command: what.to_owned(), limit: SLURM_MAX }),
    }
}

/// Whether something listens at a socket of this machine.
fn answers(socket: &Path) -> Result<(), String> {
    match UnixStream::connect(socket) {
        Ok(_) => Ok(()),
        Err(error) => Err(exit::chain_of(&error)),
    }
}

fn look_at(path: &Path, is_read: bool) -> PathSeen {
    let mut seen = PathSeen::default();
    let mut folders: Vec<&Path> =
        path.ancestors().filter(|one| !one.as_os_str().is_empty()).collect();
    folders.reverse();
    for step in folders {
        match fs::metadata(step) {
            Ok(of) => seen.steps.push(Step {
                path: step.to_owned(),
                owner: of.uid(),
                group: of.gid(),
                mode: of.mode() & 0o7777,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                seen.missing = Some(Missing::Absent);
                return seen;
            }
            Err(error) => {
                seen.missing = Some(Missing::Hidden(error.to_string()));
                return seen;
            }
        }
    }
    seen.disk = Disk::look(path);
    if is_read {
        match text(path) {
            Ok(text) => seen.text = Some(text),
            Err(error) => seen.missing = Some(Missing::Hidden(error.to_string())),
        }
    }
    seen
}

/// The text, with odd bytes kept visible; the rules judge words.
fn text(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(TEXT_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::seen::{Access, Account, Reach};

    #[test]
    fn a_path_is_seen_with_every_folder_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "secret").unwrap();
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(folder.path(), own).unwrap();
        let seen = look_at(&file, true);
        assert_eq!(seen.text.as_deref(), Some("secret"));
        assert_eq!(seen.steps.first().unwrap().path, Path::new("/"));
        assert_eq!(seen.itself().unwrap().path, file);
        let stranger = Account { user: 4_000_000, groups: Some(vec![4_000_000]) };
        let Reach::No(step) = seen.reach(&stranger, Access::Read) else { panic!("{seen:?}") };
        assert_eq!(step.path, folder.path());
        assert!(look_at(&folder.path().join("none/key"), true).is_absent());
        assert!(look_at(&file, false).text.is_none());
    }
}
