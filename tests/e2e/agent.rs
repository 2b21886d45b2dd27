//! The node agent on each VM: Azure announces, Slurm is told before it happens, jobs are saved.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::{Cluster, ClusterSpec, JobId, infiniband};

use crate::evicted::spot;
use crate::story::{
    CYCLE, SOON, SRUN, check, end, holds_end, passes_until, restarts, vms_grow_old, waiting_job,
};

/// Azure gives 30 seconds; here only an acknowledgement ends the notice.
const NOTICE: Duration = Duration::from_secs(900);

fn with_agent(name: &str, policy: &str, options: &str) -> ClusterSpec {
    ClusterSpec { agent_options: Some(options.to_owned()), ..spot(name, 1, policy) }
}

/// A job that writes how far it is when it gets USR1, and begins there when it runs again.
fn checkpointing_job(cluster: &Cluster) -> (String, PathBuf) {
    let (go_on, saved) = (cluster.dir().join("go-on"), cluster.dir().join("checkpoint"));
    let script = format!(
        "#!/bin/bash\nsaved={}\necho began $SLURM_RESTART_COUNT from $(cat $saved || echo zero)\n\
         trap 'echo seven > $saved; echo saved' USR1\n\
         while [ ! -e {} ]; do sleep 1 & wait $!; done\necho done\n",
        saved.display(),
        go_on.display()
    );
    (script, go_on)
}

fn node_record(cluster: &Cluster) -> Result<String> {
    cluster.scontrol(&["-a", "show", "node", "hpc-001", "-o"])
}

fn is_drained_for(cluster: &Cluster, reason: &str) -> Result<bool> {
    let record = node_record(cluster)?;
    let is_drained = cluster.node_state("hpc-001")?.contains("DRAIN");
    Ok(is_drained && record.contains(&format!("Reason={reason}")))
}

fn running(cluster: &Cluster, script: &str) -> Result<(JobId, String)> {
    cluster.emulator().set_graph_lag(Duration::ZERO)?;
    let job = cluster.sbatch(&["-N1", "--requeue"], script)?;
    cluster.wait_for_job(CYCLE, job, "RUNNING")?;
    // The job is there before its script is: a signal would come too early.
    cluster.wait_for(SOON, "the script to begin", || {
        Ok(cluster.job_output(job).is_some_and(|output| output.contains("began")))
    })?;
    let vm = cluster.emulator().vms()?.first().map(|vm| vm.name.clone());
    Ok((job, vm.context("a job runs without a VM")?))
}

/// The job that waits for its requeue goes on, and the node has become usable again.
fn completes(cluster: &Cluster, job: JobId, go_on: &PathBuf) -> Result<String> {
    fs::write(go_on, "")?;
    vms_grow_old(cluster)?;
    passes_until(cluster, "the job to be completed", |_| {
        holds_end(cluster)?;
        Ok(cluster.job_state(job)? == "COMPLETED")
    })?;
    cluster.job_output(job).context("the job has no output")
}

#[test]
fn a_warned_job_saves_its_state_before_its_vm_is_taken_and_resumes_from_it() -> Result<()> {
    let options = "--signal USR1 --requeue-before 885 --acknowledge";
    let cluster = Cluster::start(&with_agent("agent-del", "delete", options))?;
    let (script, go_on) = checkpointing_job(&cluster);
    let (job, vm) = running(&cluster, &script)?;

    // Announced and cancelled: the node takes jobs again, and this one has noticed nothing.
    cluster.emulator().announce("Freeze", &vm, NOTICE)?;
    let freeze = "azslurm: freeze: event ";
    cluster.wait_for(SOON, "the drain for a freeze", || is_drained_for(&cluster, freeze))?;
    cluster.emulator().cancel_events()?;
    cluster.wait_for(SOON, "the drain to be taken back", || {
        Ok(!cluster.node_state("hpc-001")?.contains("DRAIN"))
    })?;
    ensure!(cluster.job_state(job)? == "RUNNING" && restarts(&cluster, job)? == 0);

    cluster.emulator().evict_after(&vm, NOTICE)?;
    let preempt = "azslurm: preempt: event ";
    cluster.wait_for(SOON, "the drain for an eviction", || is_drained_for(&cluster, preempt))?;
    let is_there = cluster.emulator().vms()?.iter().any(|one| one.name == vm);
    check(&cluster, "the node is drained before the VM goes", is_there)?;
    cluster.wait_for(SOON, "the requeue", || Ok(restarts(&cluster, job)? == 1))?;
    let saved = fs::read_to_string(cluster.dir().join("checkpoint"))?;
    ensure!(saved.trim() == "seven", "the job got its signal before the requeue: {saved}");
    // Long before its time: the agent has acknowledged.
    cluster.wait_for(SOON, "the VM to be taken", || Ok(cluster.emulator().vms()?.is_empty()))?;

    let output = completes(&cluster, job, &go_on)?;
    ensure!(output.contains("began 1 from seven") && output.contains("done"), "{output}");
    end(&cluster)
}

#[test]
fn a_persons_drain_outlives_an_eviction_and_the_jobs_are_saved_all_the_same() -> Result<()> {
    let mut spec = with_agent("agent-off", "deallocate", "");
    // slurmctld itself suspends a drained node that is idle, and forgets the drain then: the VM
    // must be gone before.
    spec.suspend_time = Duration::from_secs(40);
    let cluster = Cluster::start(&spec)?;
    let (script, go_on) = checkpointing_job(&cluster);
    let (job, vm) = running(&cluster, &script)?;
    cluster.scontrol(&["update", "nodename=hpc-001", "state=drain", "reason=bad dimm"])?;
    cluster.emulator().evict_after(&vm, Duration::from_secs(15))?;
    cluster.wait_for(SOON, "the requeue", || Ok(restarts(&cluster, job)? == 1))?;
    ensure!(is_drained_for(&cluster, "bad dimm")?, "{}", node_record(&cluster)?);
    cluster.wait_for(SOON, "the VM to be deallocated", || {
        let vms = cluster.emulator().get("/resources?alive=true")?.to_string();
        Ok(vms.contains("PowerState/deallocated"))
    })?;
    ensure!(is_drained_for(&cluster, "bad dimm")?, "{}", node_record(&cluster)?);
    cluster.scontrol(&["update", "nodename=hpc-001", "state=undrain"])?;
    let output = completes(&cluster, job, &go_on)?;
    ensure!(output.contains("began 1 from zero"), "no signal was asked for: {output}");
    end(&cluster)
}

/// What a VM finds of InfiniBand when it boots.
fn set_key(cluster: &Cluster, node: &str, key: &str) -> Result<()> {
    let device = cluster.dir().join("sysfs").join(node).join("class/infiniband/mlx5_0");
    let keys = device.join("ports/1/pkeys");
    fs::create_dir_all(&keys)?;
    fs::write(keys.join("0"), format!("{key}\n"))?;
    Ok(fs::write(keys.join("1"), "0x7fff\n")?)
}

#[test]
fn a_vm_outside_the_infiniband_partition_of_its_block_is_replaced_before_slurmd_starts()
-> Result<()> {
    let mut spec = infiniband("agent-ib", 2, 2);
    spec.checks_infiniband = true;
    let cluster = Cluster::start(&spec)?;
    set_key(&cluster, "hpc-001", "0x8012")?;
    set_key(&cluster, "hpc-002", "0x8013")?;
    let (script, go_on) = waiting_job(&cluster);
    let first = cluster.sbatch(&["-w", "hpc-001"], &script)?;
    cluster.wait_for_job(CYCLE, first, "RUNNING")?;
    let second = cluster.sbatch(&["-w", "hpc-002", "--requeue"], SRUN)?;
    let found = "hpc-002 has partition key 0x8013 and hpc-001 of its block has 0x8012";
    cluster.wait_for(CYCLE, "the node to be set down", || {
        let record = cluster.scontrol(&["-a", "show", "node", "hpc-002", "-o"])?;
        Ok(record.contains(&format!("Reason=azslurm: infiniband: {found}")))
    })?;
    let strange = cluster.emulator().vms()?.into_iter().find(|vm| vm.name.starts_with("hpc-002"));
    let strange = strange.context("a node is checked without a VM")?.name;
    set_key(&cluster, "hpc-002", "0x8012")?;
    passes_until(&cluster, "the job to run on another VM", |_| {
        Ok(cluster.job_state(second)? == "COMPLETED")
    })?;
    let is_gone = cluster.emulator().vms()?.iter().all(|vm| vm.name != strange);
    check(&cluster, "the VM outside the partition is gone", is_gone)?;
    fs::write(&go_on, "")?;
    cluster.wait_for_job(SOON, first, "COMPLETED")?;
    end(&cluster)
}
