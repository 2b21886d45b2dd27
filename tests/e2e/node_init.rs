//! Nodes that come by the user data of `azslurm-conf node-init`: each VM is a machine of its own,
//! where cloud-init's code runs it, munged has its key from the vault, and slurmd its
//! configuration from slurmctld.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::{Cluster, ClusterSpec};

use crate::story::{CYCLE, end, passes_until, spec};

/// The emulator's user-assigned identity, and its client id.
const IDENTITY: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/\
    identities/providers/Microsoft.ManagedIdentity/userAssignedIdentities/azslurm";
const CLIENT: &str = "55555555-5555-5555-5555-555555555555";

/// The config as the cluster has written it, with `[node_init]` and what is behind it, and the user
/// data made anew of that.
fn make_user_data(cluster: &Cluster, plain: &str, more: &str) -> Result<()> {
    let setting = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        line.with_context(|| key.to_owned())
    };
    let slurm_conf = fs::read_to_string(cluster.slurm_conf())?;
    let port = setting(&slurm_conf, "SlurmctldPort=")?;
    let host = setting(plain, "controller = ")?;
    let host = host.trim_matches('"');
    let vault = &cluster.emulator().endpoints().arm_https;
    let program = cluster.program("azslurm-sync")?;
    let program = program.get_program().to_string_lossy().into_owned();
    let node_init = format!(
        "\n[node_init]\nmunge_key_secret = \"{vault}/secrets/munge\"\n\
         hosts = [\"127.0.0.1 {host}\"]\nconf_server = \"{host}:{port}\"\n\
         program = \"{program}\"\nwait_seconds = 20\n{more}"
    );
    fs::write(cluster.config_path(), format!("{plain}{node_init}"))?;
    let file = cluster.dir().join("etc/user-data");
    let file = file.to_string_lossy();
    let made = cluster.run_program("azslurm-conf", &["node-init", "hpc", "--out", &file])?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

fn explained(cluster: &Cluster, node: &str) -> Result<String> {
    let story = cluster.run_program("azslurm-sync", &["explain", node])?;
    Ok(String::from_utf8_lossy(&story.stdout).into_owned())
}

/// One word of what stands in a file, as base64 has it.
fn base64(cluster: &Cluster, name: &str) -> Result<String> {
    let key = cluster.dir().join(name);
    let output = Command::new("base64").arg("-w0").arg(key).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn a_node_whose_set_up_fails_says_why_and_with_mended_user_data_it_joins_and_runs_a_job()
-> Result<()> {
    let cluster = Cluster::start(&ClusterSpec {
        boots_user_data: true,
        user_data: Some("to be made".to_owned()),
        nodeset_lines: vec![format!("identities = [\"{IDENTITY}\"]")],
        ..spec("node-init", 2)
    })?;
    let plain = fs::read_to_string(cluster.config_path())?;
    fs::remove_file(cluster.dir().join("etc/user-data"))?;
    let key = base64(&cluster, "run/munge.key")?;
    cluster.emulator().set_secret("munge", &key, &[CLIENT])?;
    let mount =
        "[mount.shared]\ntype = \"nfs\"\nsource = \"127.0.0.1:/none\"\npath = \"/shared\"\n";
    make_user_data(&cluster, &plain, mount)?;

    let first = cluster.sbatch(&["-w", "hpc-001"], "#!/bin/sh\ntrue\n")?;
    cluster.wait_for(CYCLE, "the node to say what failed", || {
        let record = cluster.scontrol(&["-a", "show", "node", "hpc-001", "-o"])?;
        Ok(record.contains("Reason=azslurm: node-init: mounts: "))
    })?;
    cluster.scancel(first)?;
    let story = explained(&cluster, "hpc-001")?;
    ensure!(story.contains("(azslurm: node-init: mounts: "), "{story}");
    passes_until(&cluster, "the VM to go", |_| Ok(cluster.emulator().vms()?.is_empty()))?;
    let story = explained(&cluster, "hpc-001")?;
    ensure!(story.contains("the set-up of hpc-001 failed: mounts: "), "{story}");
    ensure!(story.contains("boot failure 1 in a row") || story.contains("boot-failed"), "{story}");

    make_user_data(&cluster, &plain, "")?;
    let script = "#!/bin/sh\nsrun sh -c 'echo ran on $(hostname) with $SLURM_CONF'\n";
    let second = cluster.sbatch(&["-w", "hpc-002"], script)?;
    cluster.wait_for_job(CYCLE, second, "COMPLETED")?;
    let output = cluster.job_output(second).context("the job has no output")?;
    ensure!(output.contains("ran on hpc-002 with"), "the VM has the node's name: {output}");
    // Where slurmd keeps what slurmctld has handed out.
    ensure!(output.contains("/conf-cache/slurm.conf"), "{output}");
    let console = fs::read_to_string(cluster.dir().join("vm/hpc-002/console"))?;
    ensure!(console.contains("node-init: the node is up"), "{console}");
    end(&cluster)
}
