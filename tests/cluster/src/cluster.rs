//! A running cluster: starting it, its daemons, and its end.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::daemon::{Daemon, Guardian};
use crate::emulator::EmulatorClient;
use crate::gate::Gate;
use crate::heads::Head;
use crate::install::{self, PATH};
use crate::interrupt::interrupted;
use crate::ports::{self, Ports};
use crate::render::{self, Machine};
use crate::spec::{ClusterSpec, Programs};

/// munged, the emulator and slurmctld need tenths of a second; a machine that runs many tests needs
/// more.
const START_LIMIT: Duration = Duration::from_secs(60);
/// slurmctld of 24.11 waits for its programs before it ends.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// The daemon of ours.
const SYNC: &str = "azslurm-sync";
/// What the guardian has killed is gone by then.
pub(crate) const REAP_LIMIT: Duration = Duration::from_secs(5);
const START_POLL: Duration = Duration::from_millis(50);

/// A running cluster. When it is dropped, all its processes end and its directory goes; the logs of
/// a failure are kept in `target/cluster-logs/<name>`.
///
/// A failure is: a panic, or that neither [`Cluster::audit`] nor [`Cluster::finish`] was reached.
#[derive(Debug)]
pub struct Cluster {
    spec: ClusterSpec,
    dir: PathBuf,
    port: u16,
    emulator: Option<EmulatorClient>,
    gate: Option<Gate>,
    daemons: Mutex<Daemons>,
    guardian: Mutex<Guardian>,
    keep: PathBuf,
    pub(crate) has_passed: AtomicBool,
    _ports: Ports,
}

#[derive(Debug, Default)]
struct Daemons {
    munged: Option<Daemon>,
    emulator: Option<Daemon>,
    slurmctld: Option<Daemon>,
    azslurm_sync: Option<Daemon>,
    /// Of clusters with two heads: `slurmctld-head1` …
    named: BTreeMap<String, Daemon>,
}

impl Cluster {
    /// Starts munged, the emulator and slurmctld, and waits until all of them answer.
    pub fn start(spec: &ClusterSpec) -> Result<Cluster> {
        install::check()?;
        let programs = programs(spec)?;
        let dir = scratch(&spec.name)?;
        let keep = install::logs_dir()?.join(&spec.name);
        // First of all the guardian: from here on nothing can be left behind.
        let guardian = Guardian::start(&dir, &keep)?;
        let ports = ports::take(spec.nodes + 2)?;
        let mut cluster = Cluster {
            spec: spec.clone(),
            dir,
            port: ports.first,
            emulator: None,
            gate: None,
            daemons: Mutex::default(),
            guardian: Mutex::new(guardian),
            keep,
            has_passed: AtomicBool::new(false),
            _ports: ports,
        };
        cluster.start_munged()?;
        cluster.write_slurm_conf(&programs)?;
        if spec.programs == Programs::Azslurm {
            cluster.start_emulator(&programs)?;
        }
        if spec.rendered.is_some() {
            cluster.render()?;
        }
        if spec.has_two_heads {
            cluster.write_heads()?;
            cluster.start_head(Head::One)?;
            cluster.wait_until_up(Head::One)?;
            cluster.start_head(Head::Two)?;
            cluster.wait_until_up(Head::Two)?;
        } else {
            cluster.start_slurmctld()?;
        }
        Ok(cluster)
    }

    /// What it was asked to be.
    pub fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    /// The scratch directory: `etc`, `log`, `run`, `state`, `spool`, `home`, `bin`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `azslurm.toml`, beside slurm.conf.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("etc/azslurm.toml")
    }

    /// slurm.conf.
    pub fn slurm_conf(&self) -> PathBuf {
        self.dir.join("etc/slurm.conf")
    }

    /// azslurm's ledger.
    pub fn ledger_path(&self) -> PathBuf {
        self.dir.join(&self.spec.ledger_folder).join("ledger.db")
    }

    /// The log of azslurm's programs (where there is no journald).
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log/azslurm.log")
    }

    /// The emulator.
    ///
    /// # Panics
    /// When the cluster was started with [`Programs::Fake`].
    pub fn emulator(&self) -> &EmulatorClient {
        self.emulator.as_ref().expect("a cluster with stand-in programs has no emulator")
    }

    /// The gate before Resource Manager.
    ///
    /// # Panics
    /// When the cluster was not asked to have one.
    pub fn gate(&self) -> &Gate {
        self.gate.as_ref().expect("ClusterSpec::has_gate gives a cluster its gate")
    }

    /// slurmctld's process, while it runs.
    pub fn slurmctld_pid(&self) -> Option<u32> {
        self.daemons().slurmctld.as_ref().map(Daemon::pid)
    }

    /// A program of ours with the environment of the cluster: not started yet.
    pub fn program(&self, name: &str) -> Result<Command> {
        let mut command = self.command(&program(&self.spec, name)?);
        command.env("AZSLURM_CONFIG", self.config_path());
        Ok(command)
    }

    /// Runs a program of ours to its end.
    pub fn run_program(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = self.program(name)?;
        command.args(arguments).output().with_context(|| format!("run {name}"))
    }

    /// Any command with the environment of a client of the cluster.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("HOME", self.dir.join("home"))
            .env("SLURM_CONF", self.slurm_conf())
            .current_dir(self.dir.join("home"));
        command
    }

    /// Ends slurmctld and waits for its end.
    pub fn stop_slurmctld(&self) -> Result<()> {
        let slurmctld = self.daemons().slurmctld.take();
        slurmctld.map_or(Ok(()), |mut slurmctld| slurmctld.stop(STOP_LIMIT))
    }

    /// Starts slurmctld and waits until it answers.
    pub fn start_slurmctld(&self) -> Result<()> {
        let mut command = Command::new("slurmctld");
        command.arg("-D").arg("-f").arg(self.slurm_conf());
        let slurmctld = Daemon::start("slurmctld", &self.dir, &mut command)?;
        self.daemons().slurmctld = Some(slurmctld);
        self.wait_for_ping("is UP")
    }

    /// Waits until the slurmctld of a head answers, as the active one or in stand-by.
    pub fn wait_until_up(&self, head: Head) -> Result<()> {
        self.wait_for_ping(&format!("at {} is UP", head.name()))
    }

    fn wait_for_ping(&self, words: &str) -> Result<()> {
        self.wait_until_ready("slurmctld", || {
            let output = self.command(Path::new("scontrol")).arg("ping").output()?;
            Ok(String::from_utf8_lossy(&output.stdout).contains(words))
        })
    }

    pub(crate) fn keep_named(&self, name: String, daemon: Daemon) {
        self.daemons().named.insert(name, daemon);
    }

    pub(crate) fn forget(&self, name: &str) -> Option<Daemon> {
        self.daemons().named.remove(name)
    }

    pub(crate) fn end_named(&self, name: &str) -> Result<()> {
        self.forget(name).map_or(Ok(()), |mut daemon| daemon.stop(STOP_LIMIT))
    }

    /// Ends slurmctld and starts it again.
    pub fn restart_slurmctld(&self) -> Result<()> {
        self.stop_slurmctld()?;
        self.start_slurmctld()
    }

    /// Starts `azslurm-sync daemon` and waits until it is ready. It ends with the cluster, or by
    /// [`Cluster::stop_daemon`].
    pub fn start_daemon(&self) -> Result<()> {
        let socket = self.dir.join("run/notify.sock");
        // Of an earlier daemon.
        let _absent = fs::remove_file(&socket);
        let heard = UnixDatagram::bind(&socket)?;
        heard.set_nonblocking(true)?;
        let mut command = Command::new(install::program(SYNC)?);
        let variables = [("NOTIFY_SOCKET", socket.as_path())];
        let daemon = Daemon::start_with(SYNC, &self.dir, command.arg("daemon"), &variables)?;
        self.daemons().azslurm_sync = Some(daemon);
        let mut buffer = [0; 4096];
        self.wait_until_ready(SYNC, || {
            Ok(heard.recv(&mut buffer).is_ok_and(|length| buffer[..length].starts_with(b"READY=1")))
        })
    }

    /// Ends the daemon of azslurm-sync and waits for its end.
    pub fn stop_daemon(&self) -> Result<()> {
        let daemon = self.daemons().azslurm_sync.take();
        daemon.map_or(Ok(()), |mut daemon| daemon.stop(STOP_LIMIT))
    }

    /// An error if a daemon has ended that nobody has stopped.
    pub(crate) fn check_daemons(&self) -> Result<()> {
        let mut daemons = self.daemons();
        let Daemons { munged, emulator, slurmctld, azslurm_sync, named } = &mut *daemons;
        for (name, daemon) in named.iter_mut() {
            if let Some(status) = daemon.ended() {
                bail!("{name} has ended with {status}: {}", self.log_tail(name));
            }
        }
        let all = [
            ("munged", munged),
            ("emulator", emulator),
            ("slurmctld", slurmctld),
            (SYNC, azslurm_sync),
        ];
        for (name, daemon) in all {
            if let Some(status) = daemon.as_mut().and_then(Daemon::ended) {
                bail!("{name} has ended with {status}: {}", self.log_tail(name));
            }
        }
        Ok(())
    }

    /// Ends the cluster as a success; waits until all its processes are gone.
    pub fn finish(self) -> Result<()> {
        self.has_passed.store(true, Ordering::SeqCst);
        self.end()
    }

    fn start_munged(&self) -> Result<()> {
        let run = self.dir.join("run");
        let key = run.join("munge.key");
        let mut random = [0; 128];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        fs::write(&key, random)?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let option = |name: &str, file: &str| format!("--{name}={}/{file}", self.dir.display());
        let mut command = Command::new("munged");
        command.args(["--force", "--foreground", "--num-threads=2"]).args([
            option("socket", "run/munge.sock"),
            option("key-file", "run/munge.key"),
            option("pid-file", "run/munged.pid"),
            option("log-file", "log/munged.log"),
            option("seed-file", "run/munged.seed"),
        ]);
        let munged = Daemon::start("munged", &self.dir, &mut command)?;
        self.daemons().munged = Some(munged);
        self.wait_until_ready("munged", || Ok(run.join("munge.sock").exists()))
    }

    fn start_emulator(&mut self, programs: &[PathBuf; 3]) -> Result<()> {
        let ready = self.dir.join("run/emulator.json");
        let mut command = Command::new(install::program("azslurm-arm-emulator")?);
        command.args(["--listen", "127.0.0.1:0", "--ready-file"]).arg(&ready);
        command.arg("--ca-file").arg(self.dir.join("etc/emulator-ca.pem"));
        command.arg("--boot").arg(self.dir.join("bin/boot"));
        if let Some(config) = &self.spec.emulator_config {
            let path = self.dir.join("etc/emulator.config");
            fs::write(&path, config)?;
            command.arg("--config").arg(path);
        }
        command.args(&self.spec.emulator_args);
        let emulator = Daemon::start("emulator", &self.dir, &mut command)?;
        self.daemons().emulator = Some(emulator);
        self.wait_until_ready("emulator", || Ok(ready.exists()))?;
        let emulator = EmulatorClient::from_ready_file(&ready)?;
        let host = install::host_name()?;
        let machine = self.machine(&host, programs)?;
        let gate = self.spec.has_gate.then(|| self.new_gate(&emulator)).transpose()?;
        let azure = (emulator.endpoints(), gate.as_ref().map(Gate::url));
        let text = render::azslurm_toml(&self.spec, &machine, azure);
        fs::write(self.config_path(), text)?;
        // The programs refuse a config that others may write.
        fs::set_permissions(self.config_path(), Permissions::from_mode(0o600))?;
        if let Some(user_data) = &self.spec.user_data {
            fs::write(self.dir.join("etc/user-data"), user_data)?;
        }
        self.gate = gate;
        self.emulator = Some(emulator);
        Ok(())
    }

    fn new_gate(&self, emulator: &EmulatorClient) -> Result<Gate> {
        let arm = &emulator.endpoints().arm_https;
        let target = arm.strip_prefix("https://").unwrap_or(arm).parse();
        // Behind the ports of slurmctld and of the nodes.
        let port = self.port + u16::try_from(self.spec.nodes)? + 1;
        Gate::new(port, target.with_context(|| format!("the emulator's address {arm}"))?)
    }

    fn write_slurm_conf(&self, programs: &[PathBuf; 3]) -> Result<()> {
        let host = install::host_name()?;
        let machine = self.machine(&host, programs)?;
        fs::write(self.slurm_conf(), render::slurm_conf(&self.spec, &machine))?;
        if machine.version >= (23, 2) {
            // Older ones do not know the word, and do with a mounted /sys/fs/cgroup.
            fs::write(self.dir.join("etc/cgroup.conf"), "CgroupPlugin=disabled\n")?;
        }
        if let Some(topology) = render::topology(&self.spec) {
            fs::write(self.dir.join("etc/topology.conf"), topology)?;
        }
        let boot = self.dir.join("bin/boot");
        let agent = install::bin_dir()?.join("azslurm-sync");
        let has_namespaces = install::has_namespaces();
        let script = render::boot_script(&self.spec, &self.dir, &agent, has_namespaces);
        fs::write(&boot, script)?;
        fs::set_permissions(&boot, Permissions::from_mode(0o755))?;
        if self.spec.boots_user_data {
            crate::vm::install_vm(&self.dir)?;
        }
        Ok(())
    }

    fn machine<'a>(&'a self, host: &'a str, programs: &'a [PathBuf; 3]) -> Result<Machine<'a>> {
        Ok(Machine {
            dir: &self.dir,
            host,
            port: self.port,
            version: install::slurm_version()?,
            programs: programs.each_ref().map(PathBuf::as_path),
        })
    }

    fn wait_until_ready(
        &self,
        name: &str,
        mut is_ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !is_ready()? {
            self.check_daemons()?;
            if interrupted() {
                bail!("interrupted");
            }
            if Instant::now() > deadline {
                let limit = START_LIMIT.as_secs();
                bail!("{name} is not ready after {limit} s: {}", self.log_tail(name));
            }
            thread::sleep(START_POLL);
        }
        Ok(())
    }

    /// The last words of a daemon, for an error.
    fn log_tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.dir.join(format!("log/{name}.out"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("; ")
    }

    fn daemons(&self) -> std::sync::MutexGuard<'_, Daemons> {
        // A panic of another thread while it held the lock does not make the daemons unusable.
        self.daemons.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn end(&self) -> Result<()> {
        let has_passed = self.has_passed.load(Ordering::SeqCst) && !thread::panicking();
        if !has_passed {
            self.dump_emulator();
        }
        let mut guardian = self.guardian.lock().map_err(|_| anyhow!("the guardian is lost"))?;
        let finished = guardian.finish(has_passed);
        let mut daemons = self.daemons();
        let Daemons { munged, emulator, slurmctld, azslurm_sync, named } = &mut *daemons;
        let single = [munged, emulator, slurmctld, azslurm_sync].map(Option::take);
        let named = std::mem::take(named);
        for mut daemon in single.into_iter().flatten().chain(named.into_values()) {
            daemon.reap(REAP_LIMIT);
        }
        finished
    }

    /// What the emulator knows, beside the logs of a failure.
    fn dump_emulator(&self) {
        let Some(emulator) = &self.emulator else { return };
        for (path, name) in
            [("/resources", "resources"), ("/calls", "calls"), ("/log?since=0", "log")]
        {
            if let Ok(answer) = emulator.get(path) {
                let file = self.dir.join(format!("log/emulator-{name}.json"));
                // The logs are kept for a failure that has happened already: this one adds nothing.
                let _written = fs::write(file, format!("{answer:#}"));
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let is_kept = !self.has_passed.load(Ordering::SeqCst) || thread::panicking();
        if let Err(error) = self.end() {
            eprintln!("cluster {}: {error:#}", self.spec.name);
        }
        if is_kept && self.keep.exists() {
            eprintln!("cluster {}: logs are in {}", self.spec.name, self.keep.display());
        }
    }
}

/// ResumeProgram, SuspendProgram, ResumeFailProgram.
fn programs(spec: &ClusterSpec) -> Result<[PathBuf; 3]> {
    match &spec.programs {
        Programs::Azslurm => Ok([
            program(spec, "azslurm-resume")?,
            program(spec, "azslurm-suspend")?,
            program(spec, "azslurm-resume-fail")?,
        ]),
        Programs::Fake { resume, suspend, resume_fail } => {
            Ok([resume.clone(), suspend.clone(), resume_fail.clone()])
        }
    }
}

/// A program of ours: the built one, or what the spec has in its place.
fn program(spec: &ClusterSpec, name: &str) -> Result<PathBuf> {
    spec.program_dir.as_ref().map_or_else(|| install::program(name), |dir| Ok(dir.join(name)))
}

/// A fresh directory under `/tmp`, with its parts. `/tmp` itself and not TMPDIR: the path of
/// munge's socket must stay below 108 bytes.
fn scratch(name: &str) -> Result<PathBuf> {
    let dir = tempfile::Builder::new().prefix(&format!("azslurm-{name}-")).tempdir_in("/tmp")?;
    // From here on the guardian removes it.
    let dir = dir.keep();
    // Jobs of other users have to read below it.
    fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
    for part in ["etc", "log", "run", "state/slurmctld", "spool", "home", "bin"] {
        fs::create_dir_all(dir.join(part))?;
    }
    Ok(dir)
}
