//! A scratch directory with a config, a ledger and an emulator.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use azslurm_core::attempt::{Attempt, AttemptState};
use azslurm_ledger::Ledger;
use azslurm_test_cluster::EmulatorClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// For things that happen within milliseconds on a quiet machine.
pub const SOON: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

pub const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5vIGtleSBpbiB0ZXN0cyBpcyBhIHNlY3JldCBrZXk= x";

/// A second site, in another region of the same subscription.
pub const NORTH: &str = "[site.north]\nsubscription = \"00000000-0000-0000-0000-000000000001\"\n\
    region = \"northeurope\"\nresource_group = \"hpc-north\"\n\
    subnet = \"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net-north/\
    providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute\"\n";

/// The second site, and a nodeset with InfiniBand that goes on to it: `hb[1-nodes]` in blocks of
/// `block_nodes`.
pub fn infiniband(nodes: u32, block_nodes: u32) -> String {
    format!(
        "{NORTH}[nodeset.hb]\nnodes = \"hb[1-{nodes}]\"\nsites = [\"west\", \"north\"]\n\
         spill = \"next-site\"\nsku = \"Standard_HB120rs_v3\"\ninterconnect = \"infiniband\"\n\
         block_nodes = {block_nodes}\nimage = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\n\
         ssh_public_key = \"{KEY}\"\n"
    )
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub emulator: EmulatorClient,
    process: Child,
}

impl Bench {
    pub fn start() -> Bench {
        Bench::start_in("")
    }

    /// With what the emulator's config file says beside the defaults.
    pub fn start_in(azure: &str) -> Bench {
        let dir = tempfile::Builder::new().prefix("azslurm-programs-").tempdir().unwrap();
        let ready = dir.path().join("ready.json");
        fs::write(dir.path().join("azure.toml"), azure).unwrap();
        let process = Command::new(program("azslurm-arm-emulator"))
            .args(["--listen", "127.0.0.1:0", "--die-with-parent", "--ready-file"])
            .arg(&ready)
            .arg("--config")
            .arg(dir.path().join("azure.toml"))
            .arg("--ca-file")
            .arg(dir.path().join("ca.pem"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the emulator", || ready.exists());
        let emulator = EmulatorClient::from_ready_file(&ready).unwrap();
        // Azure's 10 s between polls are nothing that these tests are about.
        emulator.set_delays(&serde_json::json!({ "retry_after_s": 1 })).unwrap();
        // A slurm.conf of a slurmctld that is not there: without one scontrol waits for a minute.
        let conf = "ClusterName=bench\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\n\
            AuthType=auth/none\nCredType=cred/none\nNodeName=n1\nPartitionName=p Nodes=n1\n";
        fs::write(dir.path().join("slurm.conf"), conf).unwrap();
        let bench = Bench { dir, emulator, process };
        bench.write_config(&bench.config(""));
        bench
    }

    /// A good config; `more` goes to its end.
    pub fn config(&self, more: &str) -> String {
        let urls = self.emulator.endpoints();
        let dir = self.dir.path().display();
        format!(
            r#"
[cluster]
name = "bench"
[slurm]
bin_dir = "/nonexistent"
[ledger]
path = "{dir}/ledger.db"
[log]
file = "{dir}/azslurm.log"
[cloud]
name = "custom"
authority = "{authority}"
resource_manager = "{arm}"
audience = "{arm}"
resource_graph = "{graph}"
imds = "{imds}"
ca_bundle = "{dir}/ca.pem"
[site.west]
subscription = "00000000-0000-0000-0000-000000000001"
region = "westeurope"
resource_group = "hpc"
subnet = "{SUBNET}"
[nodeset.n]
nodes = "n[1-1000]"
sites = ["west"]
sku = "Standard_D4s_v5"
image = "microsoft-dsvm:ubuntu-hpc:2204:latest"
ssh_public_key = "{KEY}"
{more}
"#,
            authority = urls.authority,
            arm = urls.arm_http,
            graph = urls.resource_graph,
            imds = urls.imds,
        )
    }

    pub fn write_config(&self, text: &str) {
        fs::write(self.config_path(), text).unwrap();
        fs::set_permissions(self.config_path(), Permissions::from_mode(0o600)).unwrap();
    }

    /// From now on there is a `scontrol` that shows these nodes.
    pub fn scontrol(&self, nodes: &str) {
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("nodes"), nodes).unwrap();
        let config = "BOOT_TIME               = 2026-01-01T00:00:00\n";
        fs::write(bin.join("config"), config).unwrap();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>'{0}/log'\ncase \"$*\" in\n\
             *'show nodes'*) exec /bin/cat '{0}/nodes' ;;\n\
             *'show config'*) exec /bin/cat '{0}/config' ;;\nesac\n\
             echo 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2\nexit 1\n",
            bin.display()
        );
        let program = bin.join("scontrol");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let text = fs::read_to_string(self.config_path()).unwrap();
        let here = format!("bin_dir = \"{}\"", bin.display());
        self.write_config(&text.replace("bin_dir = \"/nonexistent\"", &here));
    }

    /// A stand-in for scontrol, by which slurmctld has these nodes in these states.
    pub fn slurmctld_says(&self, nodes: &[(&str, &str)]) {
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let line = |(node, state): &(&str, &str)| format!("NodeName={node} State={state}\n");
        fs::write(bin.join("nodes"), nodes.iter().map(line).collect::<String>()).unwrap();
        let script = "#!/bin/sh\ncase \"$*\" in *nodes*) cat \"${0%/*}/nodes\";; \
            *--version*) echo slurm-wlm 22.05.8;; \
            *config*) echo BOOT_TIME = 2026-01-01T00:00:00;; esac\n";
        for (client, script) in [("scontrol", script), ("squeue", "#!/bin/sh\n")] {
            fs::write(bin.join(client), script).unwrap();
            fs::set_permissions(bin.join(client), Permissions::from_mode(0o755)).unwrap();
        }
        let text = fs::read_to_string(self.config_path()).unwrap();
        self.write_config(&text.replace("/nonexistent", &bin.display().to_string()));
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("azslurm.toml")
    }

    pub fn ledger_path(&self) -> PathBuf {
        self.dir.path().join("ledger.db")
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::open_existing(&self.ledger_path()).unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("azslurm.log")).unwrap_or_default()
    }

    /// A program with the bare environment that slurmctld gives.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.env_clear().env("SLURM_CONF", self.dir.path().join("slurm.conf")).arg("--config");
        command.arg(self.config_path()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name).args(arguments).output().unwrap()
    }

    /// azslurm-conf with the config, which stands behind its verb.
    pub fn run_conf(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("azslurm-conf"));
        command.env_clear().env("SLURM_CONF", self.dir.path().join("slurm.conf"));
        command.args(&arguments[..1]).arg("--config").arg(self.config_path());
        command.args(&arguments[1..]).stdin(Stdio::null()).output().unwrap()
    }

    /// Writes a resume file as slurmctld does: one job of all `nodes`.
    pub fn resume_file(&self, nodes: &str) -> PathBuf {
        let path = self.dir.path().join("resume.json");
        let job = serde_json::json!({ "job_id": 7, "nodes_resume": nodes, "nodes_alloc": nodes });
        let file = serde_json::json!({ "all_nodes_resume": nodes, "jobs": [job] });
        fs::write(&path, file.to_string()).unwrap();
        path
    }

    /// Asks for `nodes`, which one job wants together.
    pub fn resume_gang(&self, nodes: &str) -> Output {
        let mut command = self.command("azslurm-resume");
        command.env("SLURM_RESUME_FILE", self.resume_file(nodes)).arg(nodes).output().unwrap()
    }

    /// The emulator's log of calls, in the order of their answers.
    pub fn log_of_calls(&self) -> Vec<serde_json::Value> {
        let mut log = self.emulator.log(0).unwrap();
        serde_json::from_value(log["entries"].take()).unwrap()
    }

    /// Waits until the attempts of the ledger are as wanted, and returns them.
    pub fn attempts(&self, what: &str, are: impl Fn(&[Attempt]) -> bool) -> Vec<Attempt> {
        let mut last = Vec::new();
        wait_for(what, || {
            last = self.ledger().attempts_latest().unwrap();
            are(&last)
        });
        last
    }

    /// Waits until the driver has ended: its leases are free.
    pub fn wait_for_the_driver(&self) {
        wait_for("the driver to end", || self.ledger().leases().unwrap().is_empty());
    }

    /// Calls that the emulator answered with this method on a route that ends so.
    pub fn calls(&self, method: &str, route_end: &str) -> u64 {
        let calls = self.emulator.calls().unwrap();
        let is_it = |call: &&azslurm_test_cluster::Call| {
            call.method == method
                && call.route.to_ascii_lowercase().ends_with(&route_end.to_ascii_lowercase())
        };
        calls.by.iter().filter(is_it).map(|call| call.count).sum()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for driver in drivers(&self.config_path()) {
            // It may have ended by itself in this moment.
            let _gone = kill(driver, Signal::SIGKILL);
        }
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

pub const SUBNET: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/\
    providers/Microsoft.Network/virtualNetworks/vnet/subnets/compute";

/// Drivers that still work with this config: they would wait for Azure long after a test that
/// failed.
fn drivers(config: &Path) -> Vec<Pid> {
    let wanted = config.display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_ours = processes.filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(process.path().join("cmdline")).ok()?;
        let is_ours = line.split('\0').any(|word| word == wanted) && line.contains("--drive");
        is_ours.then(|| Pid::from_raw(pid))
    });
    of_ours.collect()
}

/// A built program: beside the folder of the tests.
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join(name);
    assert!(program.exists(), "{} is not built: `make build`", program.display());
    program
}

pub fn wait_for(what: &str, is_so: impl FnMut() -> bool) {
    wait(what, SOON, is_so);
}

/// For hundreds of VMs within Azure's limits.
pub fn wait_longer_for(what: &str, is_so: impl FnMut() -> bool) {
    wait(what, SOON * 4, is_so);
}

fn wait(what: &str, at_most: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + at_most;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", at_most.as_secs());
        std::thread::sleep(POLL);
    }
}

pub fn all(state: AttemptState) -> impl Fn(&[Attempt]) -> bool {
    move |attempts| !attempts.is_empty() && attempts.iter().all(|a| a.state == state)
}

/// Standard error of a program that must have ended with `code`.
pub fn said(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

pub fn assert_names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}
