//! Two head nodes: each with a host name, an address, a slurmctld, files and a ledger of its own,
//! on this one machine. What they share is the directory of slurmctld's state.
//!
//! ```text
//! head1 (127.0.0.1)  etc/head1/{slurm.conf,azslurm.toml}  state/ledger.db
//! head2 (127.0.0.2)  etc/head2/{slurm.conf,azslurm.toml}  state/ledger-2.db
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::install;

/// A host name of its own, and a hosts file that knows all of them.
const SHELL: &str = r#"hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@""#;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The primary.
    One,
    /// The backup.
    Two,
}

impl Head {
    /// Both, in slurm.conf's order.
    pub const ALL: [Head; 2] = [Head::One, Head::Two];

    /// Its host name.
    pub fn name(self) -> &'static str {
        match self {
            Head::One => "head1",
            Head::Two => "head2",
        }
    }

    /// Its address.
    pub(crate) fn address(self) -> &'static str {
        match self {
            Head::One => "127.0.0.1",
            Head::Two => "127.0.0.2",
        }
    }

    /// Its ledger's file in `state`.
    pub(crate) fn ledger(self) -> &'static str {
        match self {
            Head::One => "ledger.db",
            Head::Two => "ledger-2.db",
        }
    }
}

impl Cluster {
    /// The directory of a head's slurm.conf and azslurm.toml.
    pub fn head_dir(&self, head: Head) -> PathBuf {
        self.dir().join("etc").join(head.name())
    }

    /// Starts a head's slurmctld and returns at once: a backup answers nobody but `scontrol ping`.
    pub fn start_head(&self, head: Head) -> Result<()> {
        let mut command = self.on_head(head, Path::new("slurmctld"));
        command.arg("-D").arg("-f").arg(self.head_dir(head).join("slurm.conf"));
        self.start_on_head(head, "slurmctld", &mut command)
    }

    /// Starts a head's daemon of azslurm-sync.
    pub fn start_head_daemon(&self, head: Head) -> Result<()> {
        let mut command = self.on_head(head, &install::program("azslurm-sync")?);
        self.start_on_head(head, "azslurm-sync", command.arg("daemon"))
    }

    /// Ends a head's daemon of azslurm-sync.
    pub fn stop_head_daemon(&self, head: Head) -> Result<()> {
        let name = name_of(head, "azslurm-sync");
        self.end_named(&name)
    }

    /// The machine fails: everything that runs on the head ends at once, slurmctld's programs with
    /// it, and its files stay.
    pub fn kill_head(&self, head: Head) -> Result<()> {
        let line = format!("SLURM_CONF={}", self.head_dir(head).join("slurm.conf").display());
        // Before they are ended, so that nobody takes their end for a failure.
        let daemons = ["slurmctld", "azslurm-sync"].map(|what| self.forget(&name_of(head, what)));
        // What is started in between is found by the next look.
        while let Some(found) = of_environment(&line)? {
            for pid in found {
                // Ended in between.
                let _gone = kill(pid, Signal::SIGKILL);
            }
            std::thread::sleep(crate::WAIT_POLL);
        }
        daemons
            .into_iter()
            .flatten()
            .for_each(|mut daemon| daemon.reap(crate::cluster::REAP_LIMIT));
        Ok(())
    }

    /// What a head's daemon has written to its standard error, and the programs to its log.
    pub fn head_log(&self, head: Head) -> String {
        let path = self.dir().join(format!("log/azslurm-{}.log", head.name()));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Any command as on the head's machine; the environment is the caller's.
    fn on_head(&self, head: Head, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--uts", "--mount", "sh", "-c", SHELL, "on-head", head.name()]);
        command.arg(self.dir().join("etc/hosts")).arg(program);
        command
    }

    fn start_on_head(&self, head: Head, what: &str, command: &mut Command) -> Result<()> {
        let dir = self.head_dir(head);
        let (conf, config) = (dir.join("slurm.conf"), dir.join("azslurm.toml"));
        let variables = [("SLURM_CONF", conf.as_path()), ("AZSLURM_CONFIG", config.as_path())];
        let name = name_of(head, what);
        let daemon = Daemon::start_with(&name, self.dir(), command, &variables)?;
        self.keep_named(name, daemon);
        Ok(())
    }

    /// Each head's files: those of a single head with its own names in them.
    pub(crate) fn write_heads(&self) -> Result<()> {
        let host = install::host_name()?;
        let hosts = Head::ALL.map(|head| format!("{} {}\n", head.address(), head.name()));
        let hosts = format!("127.0.0.1 localhost {host}\n{}", hosts.concat());
        fs::write(self.dir().join("etc/hosts"), hosts)?;
        let dir = self.dir().display();
        for head in Head::ALL {
            let (own, name) = (self.head_dir(head), head.name());
            fs::create_dir_all(&own)?;
            let conf = fs::read_to_string(self.slurm_conf())?;
            // Two controllers must not share these.
            let conf = conf
                .replace(
                    &format!("{dir}/run/slurmctld.pid"),
                    &format!("{dir}/run/slurmctld-{name}.pid"),
                )
                .replace(
                    &format!("{dir}/log/slurmctld.log"),
                    &format!("{dir}/log/slurmctld-{name}.log"),
                );
            fs::write(own.join("slurm.conf"), conf)?;
            let etc = self.dir().join("etc");
            for file in ["cgroup.conf", "topology.conf"].map(PathBuf::from) {
                if etc.join(&file).exists() {
                    fs::copy(etc.join(&file), own.join(&file))?;
                }
            }
            let config = fs::read_to_string(self.config_path())?;
            let config =
                config.replace(&format!("{dir}/state/ledger.db"), &self.ledger_of(head)).replace(
                    &format!("{dir}/log/azslurm.log"),
                    &format!("{dir}/log/azslurm-{name}.log"),
                );
            let path = own.join("azslurm.toml");
            fs::write(&path, config)?;
            // The programs refuse a config that others may write.
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        }
        Ok(())
    }

    fn ledger_of(&self, head: Head) -> String {
        self.dir().join("state").join(head.ledger()).display().to_string()
    }
}

fn name_of(head: Head, what: &str) -> String {
    format!("{what}-{}", head.name())
}

/// Living processes with this line in their environment; `None` if there is none.
fn of_environment(line: &str) -> Result<Option<Vec<Pid>>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|byte| *byte == 0).any(|one| one == line.as_bytes()) {
            found.push(Pid::from_raw(pid));
        }
    }
    if found.iter().any(|pid| *pid == Pid::this()) {
        bail!("the test itself has {line}");
    }
    Ok((!found.is_empty()).then_some(found))
}
