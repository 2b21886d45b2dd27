//! What is not azslurm's, and what a person has said: never touched.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use azslurm_test_cluster::{Cluster, ClusterSpec, Resource};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::story::{
    CYCLE, SOON, SRUN, check, end, pass, passes_until, power_down_idle, spec, vm_calls,
    vms_grow_old, waiting_job,
};

/// Adds two nodes that stand in a rack, one of which is dead, and starts the slurmd of the other.
fn add_rack(cluster: &Cluster) -> Result<Child> {
    let path = cluster.slurm_conf();
    let conf = fs::read_to_string(&path)?;
    let nodes = conf.lines().find(|line| line.starts_with("NodeName=")).context("no nodes")?;
    let value = |key: &str| {
        let mut words = nodes.split(' ').filter_map(|word| word.strip_prefix(key));
        words.next().with_context(|| format!("no {key} in {nodes}"))
    };
    let (host, ports) = (value("NodeHostname=")?, value("Port=[")?.trim_end_matches(']'));
    let last: u16 = ports.rsplit('-').next().context("no ports")?.parse()?;
    let rack = format!(
        "NodeName=rack-1 NodeHostname={host} NodeAddr=127.0.0.1 Port={} CPUs=1 State=UNKNOWN\n\
         NodeName=rack-2 NodeHostname=rack-2 NodeAddr=127.0.0.1 Port=1 CPUs=1 State=UNKNOWN\n\
         PartitionName=rack Nodes=rack-[1-2] State=UP\nSuspendExcParts=rack\n",
        // Where a gate would be.
        last + 1
    );
    fs::write(&path, conf + &rack)?;
    cluster.restart_slurmctld()?;
    let spool = cluster.dir().join("spool/rack-1");
    fs::create_dir_all(&spool)?;
    let mut slurmd = Command::new("slurmd");
    slurmd.args(["-D", "-N", "rack-1", "-f"]).arg(&path).env("SLURM_CONF", &path);
    slurmd.current_dir(spool).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    slurmd.spawn().context("slurmd")
}

/// Another cluster that has VMs of its own for nodes of the same names in the same group.
struct Other<'a> {
    cluster: &'a Cluster,
    ledger: PathBuf,
}

impl Other<'_> {
    fn start(cluster: &Cluster) -> Result<Other<'_>> {
        let ledger = cluster.dir().join("state/other.db");
        let text = fs::read_to_string(cluster.config_path())?;
        let name = format!("name = \"{}\"", cluster.spec().name);
        let ours = cluster.ledger_path().display().to_string();
        let text = text.replace(&name, "name = \"other\"");
        let text = text.replace(&ours, &ledger.display().to_string());
        fs::write(cluster.dir().join("etc/other.toml"), text)?;
        Ok(Other { cluster, ledger })
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.cluster.program(name)?;
        command.env("AZSLURM_CONFIG", self.cluster.dir().join("etc/other.toml"));
        let output = command.args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{name} of the other cluster: {said}");
        Ok(())
    }

    /// The audit finds the intents of its VMs in the one ledger that it reads.
    fn tell_the_audit(&self) -> Result<()> {
        let ledger = rusqlite::Connection::open(self.cluster.ledger_path())?;
        ledger.execute("ATTACH ?1 AS other", [self.ledger.to_str()])?;
        ledger.execute("INSERT INTO main.attempts SELECT * FROM other.attempts", [])?;
        Ok(())
    }
}

/// Ends the slurmd of a node, and not its VM.
fn kill_slurmd(cluster: &Cluster, node: &str) -> Result<()> {
    let conf = cluster.slurm_conf().display().to_string();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let bytes = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&bytes).into_owned();
        let has = |wanted: &str| arguments.split('\0').any(|word| word == wanted);
        if arguments.starts_with("slurmd") && has(node) && has(&conf) {
            return Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?);
        }
    }
    anyhow::bail!("{node} has no slurmd")
}

/// Passes decide nothing about anything.
fn passes_leave_all(cluster: &Cluster, vms: usize) -> Result<()> {
    vms_grow_old(cluster)?;
    for _ in 0..2 {
        let report = pass(cluster)?;
        let is_still = report["lines"].as_array().is_some_and(Vec::is_empty)
            && report["orphans"].as_array().is_some_and(Vec::is_empty);
        check(cluster, &format!("a pass does nothing: {report}"), is_still)?;
    }
    let found = cluster.emulator().vms()?.len();
    check(cluster, &format!("{vms} VMs are there: {found}"), found == vms)
}

fn is_said(cluster: &Cluster, node: &str, words: &str) -> Result<bool> {
    Ok(cluster.scontrol(&["-a", "show", "node", node, "-o"])?.contains(words))
}

fn update(cluster: &Cluster, node: &str, words: &[&str]) -> Result<()> {
    let node = format!("nodename={node}");
    cluster.scontrol(&[&["update", &node][..], words].concat()).map(drop)
}

/// A whole cycle beside a rack and another cluster. A person drains a node with a running job,
/// sets one down that is booting, and one loses its slurmd.
#[test]
fn a_persons_word_the_rack_and_another_clusters_vms_are_never_touched() -> Result<()> {
    let cluster = Cluster::start(&ClusterSpec {
        suspend_time: Duration::from_secs(600),
        resume_timeout: Duration::from_secs(600),
        ..spec("untouched", 3)
    })?;
    let _slurmd = add_rack(&cluster)?;
    let other = Other::start(&cluster)?;
    cluster.emulator().never_boot(&["hpc-001", "hpc-002"])?;
    other.run("azslurm-resume", &["hpc-[001-002]"])?;
    cluster.wait_for(SOON, "the other cluster's VMs to run without a slurmd", || {
        let vms = cluster.emulator().vms()?;
        let is_done = |vm: &&Resource| vm.provisioning_state.as_deref() == Some("Succeeded");
        Ok(vms.iter().filter(is_done).count() == 2)
    })?;
    cluster.emulator().never_boot(&["hpc-002"])?;

    let (script, go_on) = waiting_job(&cluster);
    let in_rack = cluster.sbatch(&["-prack", "-wrack-1"], &script)?;
    let job = cluster.sbatch(&["-whpc-001"], &script)?;
    update(&cluster, "hpc-[002-003]", &["state=power_up"])?;
    cluster.wait_for_job(CYCLE, in_rack, "RUNNING")?;
    cluster.wait_for_job(CYCLE, job, "RUNNING")?;
    cluster.wait_for(CYCLE, "a node to be idle", || {
        Ok(cluster.node_state("hpc-003")? == "IDLE+CLOUD")
    })?;
    update(&cluster, "hpc-001", &["state=drain", "reason=looks odd"])?;
    update(&cluster, "hpc-002", &["state=down", "reason=bad dimm"])?;
    kill_slurmd(&cluster, "hpc-003")?;
    passes_leave_all(&cluster, 5)?;
    check(&cluster, "the job runs on", cluster.job_state(job)? == "RUNNING")?;
    let booting = cluster.node_state("hpc-002")?;
    let is_kept = booting.starts_with("DOWN") && booting.contains("POWERING_UP");
    check(&cluster, &format!("it is down and booting: {booting}"), is_kept)?;

    fs::write(&go_on, "")?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    cluster.wait_for_job(CYCLE, in_rack, "COMPLETED")?;
    cluster.wait_for(CYCLE, "slurmctld to give up the silent node", || {
        Ok(cluster.node_state("hpc-003")?.starts_with("DOWN"))
    })?;
    passes_leave_all(&cluster, 5)?;
    let silent = is_said(&cluster, "hpc-003", " Reason=Not responding [")?;
    check(&cluster, "slurmctld's own words", silent)?;
    check(&cluster, "the drain's reason", is_said(&cluster, "hpc-001", " Reason=looks odd [")?)?;
    check(&cluster, "the down's reason", is_said(&cluster, "hpc-002", " Reason=bad dimm [")?)?;

    update(&cluster, "hpc-001", &["state=resume"])?;
    let again = cluster.sbatch(&["-whpc-001"], SRUN)?;
    cluster.wait_for_job(CYCLE, again, "COMPLETED")?;
    check(&cluster, "it is used again, with its VM", vm_calls(&cluster, "PUT")? == 5)?;
    update(&cluster, "hpc-002", &["state=power_down_force"])?;
    update(&cluster, "hpc-003", &["state=power_down"])?;
    power_down_idle(&cluster)?;
    passes_until(&cluster, "our VMs to be gone", |_| Ok(cluster.emulator().vms()?.len() == 2))?;
    check(&cluster, "the rack", cluster.node_state("rack-1")? == "IDLE")?;
    let racks = cluster.scontrol(&["-a", "show", "nodes", "rack-[1-2]"])?;
    check(&cluster, &format!("nothing was said of it: {racks}"), !racks.contains("azslurm"))?;
    other.run("azslurm-suspend", &["hpc-[001-002]"])?;
    cluster.wait_for(SOON, "its VMs to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    other.tell_the_audit()?;
    end(&cluster)
}
