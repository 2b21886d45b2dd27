//! `azslurm-conf apply` grows and shrinks a nodeset while jobs start and run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result};
use azslurm_test_cluster::{Cluster, ClusterSpec};

use crate::story::{CYCLE, SOON, check, end, power_down_idle, restarts, spec, waiting_job};

/// Longer than the nodes that leave need, so that the story's own limits speak first.
const WAIT: &str = "--wait=600";

#[test]
fn a_nodeset_grows_and_shrinks_under_jobs_and_nothing_is_restarted() -> Result<()> {
    let cluster = Cluster::start(&spec_of_story())?;
    cluster.start_daemon()?;
    let pid = cluster.slurmctld_pid();
    let (script, go_on) = waiting_job(&cluster);
    let stays = cluster.sbatch(&["-N2"], &script)?;
    cluster
        .wait_for(SOON, "two VMs to be asked for", || Ok(cluster.emulator().vms()?.len() == 2))?;
    are_registered(&cluster)?;
    let story = Story::new(cluster)?;
    let cluster = &story.cluster;

    // The nodes were in slurm.conf, and are in files of ours from now on; the jobs are starting.
    story.adopt()?;
    for _ in 0..3 {
        story.apply(6)?;
        story.apply(4)?;
    }
    story.apply(6)?;

    // A new node gets a job, and does not leave while it has it.
    let (script, go_on_there) =
        (script.replace("go-on", "go-there"), go_on.with_file_name("go-there"));
    let there = cluster.sbatch(&["-N1", "-w", "hpc-006"], &script)?;
    cluster.wait_for_job(CYCLE, there, "RUNNING")?;
    cluster.wait_for_job(CYCLE, stays, "RUNNING")?;
    let candidate = story.candidate(4)?;
    let files = story.files()?;
    let refused = story.run(&candidate, &["--yes"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let is_refused = refused.status.code() == Some(1) && said.contains("hpc-006 would leave Slurm");
    check(cluster, &format!("refused: {said}"), is_refused && said.contains("have jobs"))?;
    check(cluster, "nothing was written", story.files()? == files)?;

    // It leaves when it is free.
    let mut waiting = cluster.program("azslurm-conf")?;
    waiting.args(["apply", "--yes", WAIT, "--config"]).arg(&candidate);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    cluster.wait_for(SOON, "new jobs to be kept from it", || {
        Ok(cluster.node_state("hpc-006")?.contains("DRAIN"))
    })?;
    fs::write(&go_on_there, "")?;
    cluster.wait_for_job(CYCLE, there, "COMPLETED")?;
    let left = waiting.wait_with_output()?;
    story.is_done(&left, 4)?;
    fs::rename(&candidate, cluster.config_path())?;
    check(cluster, "two VMs are left", cluster.emulator().vms()?.len() == 2)?;

    // It comes back as usable as it was, and nothing has happened to the job that runs.
    story.apply(6)?;
    let state = cluster.node_state("hpc-006")?;
    check(cluster, &format!("usable again: {state}"), state == "IDLE+CLOUD+POWERED_DOWN")?;
    fs::write(&go_on, "")?;
    cluster.wait_for_job(CYCLE, stays, "COMPLETED")?;
    let output = cluster.job_output(stays).unwrap_or_default();
    check(cluster, &output, output.matches("began").count() == 1)?;
    check(
        cluster,
        "no job was requeued",
        restarts(cluster, stays)? + restarts(cluster, there)? == 0,
    )?;
    check(cluster, "slurmctld is the same process", cluster.slurmctld_pid() == pid)?;
    cluster.stop_daemon()?;
    power_down_idle(cluster)?;
    end(cluster)
}

/// A slurmd that starts while a person's nodes are out of slurm.conf, and ours not yet in it, finds
/// no line of its own and ends: that moment is the person's. The job starts up to 30 s after its
/// nodes have registered, so that it is starting all the while.
fn are_registered(cluster: &Cluster) -> Result<()> {
    cluster.wait_for(SOON, "both nodes to register", || {
        let states = cluster.node_states()?;
        Ok(["hpc-001", "hpc-002"].iter().all(|node| !states[*node].contains("POWERING_UP")))
    })
}

fn spec_of_story() -> ClusterSpec {
    let lines = ["cpus = 1", "real_memory_mb = 500", "weight = 1"];
    ClusterSpec {
        nodeset_lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        config_text:
            "[power]\nsuspend_time_seconds = 10\n\n[partition.hpc]\nnodesets = [\"hpc\"]\n\
                      default = true\n"
                .to_owned(),
        ..spec("apply", 8)
    }
}

struct Story {
    cluster: Cluster,
    /// azslurm.toml as the cluster began with it.
    config: String,
    /// slurm.conf without nodes and partitions.
    slurm_conf: String,
    /// What each node has for itself: all of them are on this machine.
    address: String,
    port: u16,
}

impl Story {
    fn new(cluster: Cluster) -> Result<Story> {
        let slurm_conf = fs::read_to_string(cluster.slurm_conf())?;
        let line = |key: &str| slurm_conf.lines().find(|line| line.starts_with(key));
        let nodes = line("NodeName=").context("the cluster has nodes")?;
        let words = nodes.split_whitespace();
        let address =
            words.filter(|word| word.starts_with("NodeHost") || word.starts_with("NodeA"));
        let address = address.map(|word| format!("\"{word}\", ")).collect();
        let port = nodes.split("Port=[").nth(1).and_then(|rest| rest.split('-').next());
        let port = port.context("a range of ports")?.parse()?;
        let is_ours =
            |line: &&str| !["NodeName=", "PartitionName="].iter().any(|key| line.starts_with(key));
        let rest = slurm_conf.lines().filter(is_ours).map(|line| format!("{line}\n")).collect();
        let config = fs::read_to_string(cluster.config_path())?;
        Ok(Story { cluster, config, slurm_conf: rest, address, port })
    }

    /// A config with so many nodes, of eight that Slurm knows.
    fn config_of(&self, nodes: u32) -> String {
        let last = u32::from(self.port) + nodes - 1;
        let (address, port) = (&self.address, self.port);
        let lines = format!(
            "nodes = \"hpc-[001-{nodes:03}]\"\nspare_nodes = \"hpc-[001-008]\"\n\
             node_options = [{address}\"Port=[{port}-{last}]\"]"
        );
        self.config.replace("nodes = \"hpc-[001-008]\"", &lines)
    }

    fn candidate(&self, nodes: u32) -> Result<PathBuf> {
        let path = self.cluster.config_path().with_file_name("azslurm.toml.new");
        fs::write(&path, self.config_of(nodes))?;
        // The programs refuse a config that others may write.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(path)
    }

    fn run(&self, config: &Path, options: &[&str]) -> Result<Output> {
        let mut command = self.cluster.program("azslurm-conf")?;
        Ok(command.arg("apply").args(options).arg("--config").arg(config).output()?)
    }

    /// The nodes are taken out of slurm.conf, and come back by a line that includes ours.
    fn adopt(&self) -> Result<()> {
        fs::write(self.cluster.slurm_conf(), &self.slurm_conf)?;
        self.apply(4)?;
        let text = fs::read_to_string(self.cluster.slurm_conf())?;
        let added = text.strip_prefix(self.slurm_conf.as_str());
        check(&self.cluster, "the rest of slurm.conf is as it was", added.is_some())
    }

    /// Puts a config with so many nodes in its place, and has Slurm take it.
    fn apply(&self, nodes: u32) -> Result<()> {
        fs::rename(self.candidate(nodes)?, self.cluster.config_path())?;
        let output = self.run(&self.cluster.config_path(), &["--yes"])?;
        self.is_done(&output, nodes)?;
        let again = self.run(&self.cluster.config_path(), &["--yes"])?;
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        check(
            &self.cluster,
            &format!("twice changes nothing: {said}"),
            said.contains("nothing changes"),
        )
    }

    fn is_done(&self, output: &Output, nodes: u32) -> Result<()> {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        check(&self.cluster, &format!("applied {nodes}: {said}{error}"), output.status.success())?;
        let usable = self.cluster.client("sinfo", &["-h", "-p", "hpc", "-N", "-o", "%N"])?;
        let usable = usable.lines().count();
        check(&self.cluster, &format!("{nodes} nodes, not {usable}"), usable == nodes as usize)
    }

    /// Everything in Slurm's folder.
    fn files(&self) -> Result<Vec<(String, String)>> {
        let folder = self.cluster.dir().join("etc");
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)?.flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            files.push((entry.file_name().to_string_lossy().into_owned(), text));
        }
        files.sort();
        Ok(files)
    }
}
