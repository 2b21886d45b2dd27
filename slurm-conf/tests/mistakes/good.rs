//! The good installation: the files of `testdata/good` at their places on a head node, and a
//! machine on which all of them are as they should be. A test spoils one thing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use azslurm_conf::check::scene::Scene;
use azslurm_conf::check::seen::{Accounts, Missing, PathSeen, Running, Seen, Step};
use azslurm_conf::check::{self, look, slurm};
use azslurm_conf::render::{self, Around};
use azslurm_core::Timestamp;
use azslurm_core::config::{self, Config};
use azslurm_program::check::Finding;
use azslurm_program::check::disk::Disk;
use azslurm_program::check::ledger::{FileSeen, LedgerSeen};
use azslurm_program::check::settings::Settings;
use azslurm_slurm::{Conf, Slurm, SlurmVersion};

pub const CONFIG: &str = "/etc/azslurm/azslurm.toml";
pub const USER_DATA: &str = "/etc/azslurm/cloud-init.yaml";
pub const KEY: &str = "/etc/azslurm/admin.pub";
pub const SECRET: &str = "/etc/azslurm/client-secret";
pub const AUTHORITIES: &str = "/etc/azslurm/ca.pem";
pub const CONF: &str = "/etc/slurm/slurm.conf";
pub const TOPOLOGY: &str = "/etc/slurm/topology.conf";
pub const STATE: &str = "/shared/slurm/state";
pub const MUNGE_KEY: &str = "/etc/munge/munge.key";
/// A day on which none of the sizes is retired.
const TODAY: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// SlurmUser.
pub const SLURM: u32 = 64030;

const PLACES: [(&str, &str); 9] = [
    ("azslurm.toml", CONFIG),
    ("cloud-init.yaml", USER_DATA),
    ("admin.pub", KEY),
    ("slurm.conf", CONF),
    ("topology.conf", TOPOLOGY),
    ("azslurm-nodes.conf", "/etc/slurm/azslurm-nodes.conf"),
    ("azslurm-power.conf", "/etc/slurm/azslurm-power.conf"),
    ("azslurm-topology.conf", "/etc/slurm/azslurm-topology.conf"),
    ("azslurm-sizes.json", "/etc/azslurm/azslurm-sizes.json"),
];

/// Owner and mode of a path that is not root's with 0644 or 0755.
type Mode = (u32, u32);

/// A change to what was seen.
type Tweak = Box<dyn Fn(&mut Seen)>;

/// The installation.
pub struct Good {
    /// Texts by path.
    pub texts: BTreeMap<PathBuf, String>,
    /// The Slurm that is installed.
    pub version: SlurmVersion,
    /// Whether slurmctld answers, with what its files say.
    pub is_running: bool,
    modes: BTreeMap<PathBuf, Mode>,
    absent: BTreeSet<PathBuf>,
    there: BTreeSet<PathBuf>,
    disks: BTreeMap<PathBuf, Disk>,
    tweaks: Vec<Tweak>,
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/good")
}

impl Good {
    pub fn new() -> Good {
        let read = |(name, place): &(&str, &str)| {
            let text = std::fs::read_to_string(testdata().join(name)).expect("a good file");
            (PathBuf::from(place), text)
        };
        let mut texts: BTreeMap<PathBuf, String> = PLACES.iter().map(read).collect();
        let bundle = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
        texts.insert(AUTHORITIES.into(), bundle.to_owned());
        let modes = [
            (SECRET, (SLURM, 0o600)),
            (STATE, (SLURM, 0o700)),
            (MUNGE_KEY, (110, 0o400)),
            ("/etc/munge", (110, 0o700)),
        ];
        Good {
            texts,
            version: SlurmVersion::new(22, 5, 8),
            is_running: false,
            modes: modes.map(|(path, mode)| (path.into(), mode)).into(),
            absent: slurm::BESIDE.iter().map(PathBuf::from).collect(),
            there: BTreeSet::new(),
            disks: [(PathBuf::from(STATE), Disk::Network("NFS"))].into(),
            tweaks: Vec::new(),
        }
    }

    /// Puts other words in the place of some that are there, wherever they are.
    pub fn replace(&mut self, path: &str, old: &str, new: &str) {
        let text = self.texts.get_mut(Path::new(path)).expect("a file of the good installation");
        assert!(text.contains(old), "{old:?} is not in {path}:\n{text}");
        *text = text.replace(old, new);
    }

    /// The same at the first place alone.
    pub fn replace_first(&mut self, path: &str, old: &str, new: &str) {
        let text = self.texts.get_mut(Path::new(path)).expect("a file of the good installation");
        assert!(text.contains(old), "{old:?} is not in {path}:\n{text}");
        *text = text.replacen(old, new, 1);
    }

    /// The ledger's folder belongs to root.
    pub fn ledger_of_root(&mut self) {
        self.tweak(|seen| seen.ledger.folder.iter_mut().for_each(|folder| folder.owner = 0));
    }

    /// Adds lines at the end of a file.
    pub fn append(&mut self, path: &str, lines: &str) {
        let text = self.texts.entry(path.into()).or_default();
        text.push_str(lines);
        text.push('\n');
    }

    /// Another owner and mode.
    pub fn mode(&mut self, path: &str, mode: Mode) {
        self.modes.insert(path.into(), mode);
    }

    /// It is not there.
    pub fn remove(&mut self, path: &str) {
        self.texts.remove(Path::new(path));
        self.there.remove(Path::new(path));
        self.absent.insert(path.into());
    }

    /// It is there.
    pub fn add(&mut self, path: &str) {
        self.absent.remove(Path::new(path));
        self.there.insert(path.into());
    }

    /// What it is on.
    pub fn disk(&mut self, path: &str, disk: Disk) {
        self.disks.insert(path.into(), disk);
    }

    /// Anything else.
    pub fn tweak(&mut self, tweak: impl Fn(&mut Seen) + 'static) {
        self.tweaks.push(Box::new(tweak));
    }

    pub fn config(&self) -> Config {
        let text = &self.texts[Path::new(CONFIG)];
        config::parse(text).unwrap_or_else(|errors| panic!("{}", errors.render(CONFIG)))
    }

    fn conf(&self, path: &str) -> io::Result<Conf> {
        let read = |path: &Path| {
            let text = self.texts.get(path).cloned();
            text.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "No such file"))
        };
        Conf::read_by(Path::new(path), &read)
    }

    pub fn seen(&self) -> Seen {
        let config = self.config();
        let conf = self.conf(CONF).map_err(|error| (PathBuf::from(CONF), error.to_string()));
        let sizes = &self.texts[Path::new("/etc/azslurm/azslurm-sizes.json")];
        let mut seen = Seen {
            path: CONFIG.into(),
            text: self.texts[Path::new(CONFIG)].clone(),
            sizes: serde_json::from_str(sizes).expect("a list of sizes"),
            running: self.running(conf.as_ref().ok()),
            conf,
            topology: self.conf(TOPOLOGY).ok(),
            version: Some(self.version),
            files: BTreeMap::new(),
            accounts: Accounts {
                passwd: format!(
                    "root:x:0:0::/root:/bin/sh\nslurm:x:{SLURM}:{SLURM}::/:/bin/false\n"
                ),
                group: format!("slurm:x:{SLURM}:\nadm:x:4:slurm\n"),
            },
            ledger: LedgerSeen {
                path: config.ledger.path.clone(),
                folder: Ok(FileSeen { owner: SLURM, mode: 0o700, bytes: 4096 }),
                may_write: true,
                disk: Disk::Local,
                free: Some(1 << 40),
                file: Ok(None),
            },
            has_journal: true,
            log: config.log.file.as_ref().map(|_| Ok(())),
            munge: Ok(()),
        };
        let paths = look::paths(&Scene::new(&config, &seen));
        let at = |(path, is_read): (PathBuf, bool)| {
            let seen = self.path(&path, is_read);
            (path, seen)
        };
        seen.files = paths.into_iter().map(at).collect();
        for tweak in &self.tweaks {
            tweak(&mut seen);
        }
        seen
    }

    /// slurmctld, with what the files say.
    fn running(&self, conf: Option<&Conf>) -> Running {
        let Some(conf) = conf.filter(|_| self.is_running) else { return Running::NotAsked };
        let lines = slurm::lines::lines(conf, "NodeName");
        let line = |line: &slurm::lines::Line<'_>| -> String {
            let state = match line.get("State") {
                Some("CLOUD") => "IDLE+CLOUD+POWERED_DOWN",
                _ => "IDLE",
            };
            line.names.iter().map(|node| format!("NodeName={node} State={state}\n")).collect()
        };
        // Names that are kept ready are not shown.
        let nodes: String = lines.iter().filter(|line| !line.is_future()).map(line).collect();
        Running::Answered {
            settings: Settings::of_conf(conf).with_version(self.version),
            nodes: Slurm::nodes_of_text(&nodes).expect("nodes"),
        }
    }

    fn path(&self, path: &Path, is_read: bool) -> PathSeen {
        let is_file = self.texts.contains_key(path) || path.extension().is_some();
        let mut folders: Vec<&Path> = path.ancestors().collect();
        folders.reverse();
        let step = |step: &Path| {
            let usual = if step == path && is_file { 0o644 } else { 0o755 };
            let (owner, mode) = self.modes.get(step).copied().unwrap_or((0, usual));
            Step { path: step.to_owned(), owner, group: 0, mode }
        };
        let mut seen = PathSeen {
            steps: folders.into_iter().map(step).collect(),
            missing: None,
            disk: self.disks.get(path).copied().unwrap_or_default(),
            text: self.texts.get(path).filter(|_| is_read).cloned(),
        };
        let is_yaml = path.ends_with("topology.yaml") && !self.there.contains(path);
        if self.absent.contains(path) || is_yaml {
            seen.missing = Some(Missing::Absent);
            seen.steps.pop();
        }
        seen
    }

    pub fn findings(&self) -> Vec<Finding> {
        let (config, seen) = (self.config(), self.seen());
        let of_sizes = check::azure::offline(&config, (&seen.path, &seen.text), &seen.sizes, TODAY);
        check::findings(&config, &seen).into_iter().chain(of_sizes).collect()
    }

    /// `file:line` of the first line that begins with these words; the file alone without any.
    pub fn place(&self, path: &str, words: &str) -> String {
        if words.is_empty() {
            return path.to_owned();
        }
        let text = self.texts.get(Path::new(path)).unwrap_or_else(|| panic!("no text of {path}"));
        let line = text.lines().position(|line| line.trim_start().starts_with(words));
        let line = line.unwrap_or_else(|| panic!("no line {words:?} in {path}"));
        format!("{path}:{}", line + 1)
    }
}

/// The parts that `azslurm-conf render` writes for the good config are those of the good files.
#[test]
fn the_good_files_are_what_is_rendered_of_the_good_config() {
    let good = Good::new();
    let conf = good.conf(CONF).expect("slurm.conf");
    let around = Around::new(good.version, Some(&conf));
    let files = render::files(&good.config(), &good.seen().sizes, &around).expect("all is known");
    for (name, text) in files.into_iter().filter(|(name, _)| *name != render::GRES) {
        let path = testdata().join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).expect("written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, kept, "{}", path.display());
    }
}

#[test]
fn nothing_is_found_in_the_good_installation_offline_and_with_slurmctld() {
    for is_running in [false, true] {
        let good = Good { is_running, ..Good::new() };
        assert_eq!(good.findings(), [], "{is_running}");
        assert_eq!(check::not_known(&good.config(), &good.seen()), [""; 0]);
    }
}
