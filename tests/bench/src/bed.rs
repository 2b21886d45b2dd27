//! One cluster for one measurement: a scratch directory with a config, a ledger, a slurmctld of
//! files, and an emulator of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use azslurm_test_cluster::{Call, EmulatorClient};
use serde_json::{Value, json};

use crate::measure::{self, Cost};
use crate::replay::Script;
use crate::scontrol;
use crate::strace::{self, Counts};

/// Where all VMs are.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
/// Their size.
pub const SKU: &str = "Standard_D4s_v5";
/// A node that is asked for before anything is measured, so that what is learned once a week is
/// known: not one of those that are measured.
pub const FIRST: &str = "first1";
/// The log of system calls, in the scratch directory.
const STRACE: &str = "strace.log";
const READY_MAX: Duration = Duration::from_secs(30);

/// How one bed differs from the usual one.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Nodes `n[1-…]`.
    pub nodes: u32,
    /// How many times as fast as real time Azure's operations are.
    pub time_scale: f64,
    /// Whether Azure's documented rate limits hold; otherwise they are out of the way.
    pub is_limited: bool,
    /// What is added to the config.
    pub more: String,
}

impl Wanted {
    /// So many nodes, and no limit but the machine's.
    pub fn nodes(nodes: u32) -> Wanted {
        Wanted { nodes, time_scale: 1.0, is_limited: false, more: String::new() }
    }
}

/// See above.
pub struct Bed {
    dir: tempfile::TempDir,
    programs: PathBuf,
    /// Its control interface.
    pub emulator: EmulatorClient,
    process: Child,
}

impl Bed {
    /// Starts an emulator; the programs are those in `programs`.
    pub fn start(programs: &Path, wanted: &Wanted) -> Result<Bed> {
        let dir = tempfile::Builder::new().prefix("azslurm-bench-").tempdir()?;
        let ready = dir.path().join("ready.json");
        fs::write(dir.path().join("azure.toml"), azure(wanted.is_limited))?;
        let process = Command::new(std::env::current_exe()?.with_file_name("azslurm-arm-emulator"))
            .args(["--listen", "127.0.0.1:0", "--die-with-parent", "--ready-file"])
            .arg(&ready)
            .arg("--config")
            .arg(dir.path().join("azure.toml"))
            .arg("--ca-file")
            .arg(dir.path().join("ca.pem"))
            .args(["--time-scale", &wanted.time_scale.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        wait_for("the emulator", READY_MAX, || ready.exists())?;
        let emulator = EmulatorClient::from_ready_file(&ready)?;
        // Most lines are about our own cost: VMs that come soon, and one poll for each.
        emulator.set_delays(&json!({ "vm_create_ms": 500, "vm_delete_ms": 500,
            "vm_force_delete_ms": 500, "retry_after_s": 1, "first_poll_retry_after_s": 1 }))?;
        let conf = "ClusterName=bench\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\n\
            AuthType=auth/none\nCredType=cred/none\nNodeName=n1\nPartitionName=p Nodes=n1\n";
        fs::write(dir.path().join("slurm.conf"), conf)?;
        let bed = Bed { dir, programs: programs.to_owned(), emulator, process };
        bed.slurm_says("")?;
        bed.configure(&bed.config(wanted))?;
        Ok(bed)
    }

    /// A bed where one node has been brought up and down again.
    pub fn warm(programs: &Path, wanted: &Wanted) -> Result<Bed> {
        let bed = Bed::start(programs, wanted)?;
        bed.run("azslurm-resume", &[FIRST])?;
        bed.run("azslurm-suspend", &[FIRST])?;
        scontrol::take_log(&bed.bin());
        bed.emulator.reset_calls()?;
        Ok(bed)
    }

    fn config(&self, wanted: &Wanted) -> String {
        let urls = self.emulator.endpoints();
        let dir = self.path().display();
        let (arm, imds) = (&urls.arm_https, &urls.imds);
        let Wanted { nodes, more, .. } = wanted;
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/net");
        let nodeset = format!(
            "sites = [\"west\"]\nsku = \"{SKU}\"\n\
             image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\nssh_public_key = \"{KEY}\"\n"
        );
        format!(
            "[cluster]\nname = \"bench\"\n[slurm]\nbin_dir = \"{dir}/bin\"\n\
             [ledger]\npath = \"{dir}/ledger.db\"\n[log]\nfile = \"{dir}/azslurm.log\"\n\
             [cloud]\nname = \"custom\"\nauthority = \"{authority}\"\n\
             resource_manager = \"{arm}\"\naudience = \"{audience}\"\n\
             resource_graph = \"{arm}\"\nimds = \"{imds}\"\n\
             ca_bundle = \"{dir}/ca.pem\"\n\
             [site.west]\nsubscription = \"{SUBSCRIPTION}\"\nregion = \"westeurope\"\n\
             resource_group = \"hpc\"\nsubnet = \"{group}{SUBNET}\"\n\
             [nodeset.n]\nnodes = \"n[1-{nodes}]\"\n{nodeset}\
             [nodeset.first]\nnodes = \"{FIRST}\"\n{nodeset}{more}",
            authority = urls.authority,
            audience = urls.arm_http,
        )
    }

    /// Writes the config.
    pub fn configure(&self, text: &str) -> Result<()> {
        fs::write(self.config_path(), text)?;
        fs::set_permissions(self.config_path(), Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// What slurmctld says of nodes.
    pub fn slurm_says(&self, nodes: &str) -> Result<()> {
        scontrol::install(&self.bin(), nodes)
    }

    /// The scratch directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The config file.
    pub fn config_path(&self) -> PathBuf {
        self.path().join("azslurm.toml")
    }

    /// The ledger.
    pub fn ledger_path(&self) -> PathBuf {
        self.path().join("ledger.db")
    }

    /// Where `scontrol` is.
    pub fn bin(&self) -> PathBuf {
        self.path().join("bin")
    }

    /// A program to be measured, with its arguments behind its config; of Slurm's clients only
    /// their runs are counted.
    pub fn command(&self, name: &str, words: &[&str]) -> Result<Command> {
        self.command_under(&[], (name, words))
    }

    fn command_under(&self, under: &[&str], (name, words): (&str, &[&str])) -> Result<Command> {
        let mut command = measure::command()?;
        command.env("SLURM_CONF", self.path().join("slurm.conf")).args(under);
        command.arg(self.programs.join(name)).arg("--config").arg(self.config_path()).args(words);
        Ok(command)
    }

    /// Runs a program and its driver to their end; what it has cost without Slurm's clients.
    pub fn run(&self, name: &str, words: &[&str]) -> Result<Cost> {
        let mut cost = measure::run(self.command(name, words)?)?;
        let log = fs::read_to_string(self.bin().join("log")).unwrap_or_default();
        let of_clients: f64 = log
            .lines()
            .filter_map(|line| line.split(' ').next())
            .fold(0.0, |sum, micros| sum + micros.parse::<f64>().unwrap_or(0.0));
        cost.cpu_ms -= of_clients / 1000.0;
        Ok(cost)
    }

    /// The same under strace; `None` where there is none.
    pub fn count(&self, name: &str, words: &[&str]) -> Result<Option<Counts>> {
        let log = self.path().join(STRACE);
        let shown = log.display().to_string();
        if Command::new("strace").arg("-V").output().is_err() {
            return Ok(None);
        }
        let strace = ["/usr/bin/env", "strace", "-f", "-q", "-s", "0", "-o", &shown];
        measure::run(self.command_under(&strace, (name, words))?)?;
        let text = fs::read(&log)?;
        fs::remove_file(&log)?;
        Ok(Some(strace::count(&String::from_utf8_lossy(&text))))
    }

    /// A script without steps, for a minimal client against this emulator.
    pub fn script(&self) -> Script {
        let urls = self.emulator.endpoints();
        let token = "metadata/identity/oauth2/token?api-version=2018-02-01&resource=";
        Script {
            ca: self.path().join("ca.pem"),
            token_url: format!("{}/{token}{}", urls.imds, urls.arm_http),
            in_flight: 64,
            steps: Vec::new(),
        }
    }

    /// An address of Resource Manager.
    pub fn arm(&self, path: &str) -> String {
        format!("{}{path}", self.emulator.endpoints().arm_https)
    }

    /// Calls that the emulator has counted, of this method on routes that contain this.
    pub fn calls(&self, method: &str, route: &str) -> Result<u64> {
        let calls = self.emulator.calls()?;
        let is_it = |call: &&Call| {
            (method.is_empty() || call.method == method)
                && call.route.to_ascii_lowercase().contains(&route.to_ascii_lowercase())
        };
        Ok(calls.by.iter().filter(is_it).map(|call| call.count).sum())
    }

    /// The emulator's log of calls from one on.
    pub fn log_since(&self, since: u64) -> Result<Vec<Value>> {
        let mut log = self.emulator.log(since)?;
        Ok(serde_json::from_value(log["entries"].take())?)
    }

    /// How many calls the log has.
    pub fn log_length(&self) -> Result<u64> {
        let log = self.emulator.log(u64::MAX)?;
        Ok(log["next"].as_u64().unwrap_or_default())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

const SUBNET: &str = "/providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute";
/// Who may log in.
pub const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5vIGtleSBpbiB0ZXN0cyBpcyBhIHNlY3JldCBrZXk= x";

/// Room for the largest cluster, and limits that are out of the way unless they are wanted.
fn azure(is_limited: bool) -> String {
    let mut text = "[[vnets]]\ngroup = \"net\"\nname = \"vnet\"\nprefix = \"10.0.0.0/8\"\n\
        subnets = { compute = \"10.0.0.0/16\" }\n[[vnets]]\ngroup = \"net-north\"\n\
        name = \"vnet\"\nprefix = \"11.0.0.0/8\"\nsubnets = { compute = \"11.0.0.0/16\" }\n"
        .to_owned();
    for region in ["westeurope", "northeurope"] {
        for name in ["cores", "virtualMachines", "standardDSv5Family", "standardHBrsv3Family"] {
            text +=
                &format!("[[quota]]\nregion = \"{region}\"\nname = \"{name}\"\nlimit = 10000000\n");
        }
    }
    if !is_limited {
        let wide = "{ max = 1000000.0, refill_per_s = 100000.0 }";
        text += "[throttle]\nenforce = false\n";
        for name in ["arm_reads", "arm_writes", "arm_deletes", "network_writes", "graph"] {
            text += &format!("{name} = {wide}\n");
        }
        text += "[throttle.compute]\n";
        for name in ["PutVM", "UpdateVM", "DeleteVM", "LowCostGet", "HighCostGet", "GetOperation"] {
            text += &format!("{name} = {wide}\n");
        }
    }
    text
}

/// When a call of the emulator's log was answered, in milliseconds since 1970.
pub fn at(call: &Value) -> Result<i64> {
    let at: jiff::Timestamp = call["at"].as_str().context("no time")?.parse()?;
    Ok(at.as_millisecond())
}

/// Looks until it is so.
pub fn wait_for(what: &str, at_most: Duration, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + at_most;
    while !is_so() {
        if Instant::now() > until {
            bail!("not within {} s: {what}", at_most.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
