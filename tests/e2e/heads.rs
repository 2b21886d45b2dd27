//! Two head nodes: the backup takes over with a ledger that is empty, and the primary takes control
//! back with one that has slept. Jobs run on, nodes that boot come, and Azure has one VM for each.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use azslurm_test_cluster::{Cluster, ClusterSpec, Head, JobId};
use serde_json::json;

use crate::story::{CYCLE, SOON, end, restarts, spec};

fn two_heads(name: &str, nodes: u32) -> ClusterSpec {
    ClusterSpec {
        has_two_heads: true,
        config_text: "[sync]\ninterval_seconds = 5\n".to_owned(),
        // A backup takes control when the primary is silent for so long.
        extra_conf: vec!["SlurmctldTimeout=15".to_owned()],
        ..spec(name, nodes)
    }
}

/// A job of one node that runs until its file is there.
struct Waiting {
    job: JobId,
    go_on: PathBuf,
}

impl Waiting {
    /// With arguments of sbatch's.
    fn submit(cluster: &Cluster, number: u32, arguments: &[&str]) -> Result<Waiting> {
        let go_on = cluster.dir().join(format!("go-on-{number}"));
        let wait = format!("while [ ! -e {} ]; do sleep 1; done", go_on.display());
        let arguments = [&["-N1", "--requeue"], arguments].concat();
        let job = cluster.sbatch(&arguments, &format!("#!/bin/bash\n{wait}\n"))?;
        Ok(Waiting { job, go_on })
    }

    fn node(&self, cluster: &Cluster) -> Result<String> {
        let job = self.job.to_string();
        Ok(cluster.client("squeue", &["-h", "-a", "-o", "%N", "-j", &job])?.trim().to_owned())
    }

    fn let_go(&self, cluster: &Cluster) -> Result<()> {
        fs::write(&self.go_on, "")?;
        cluster.wait_for_job(CYCLE, self.job, "COMPLETED")
    }
}

/// How many VMs were ever made, and how many of them are there.
fn vms(cluster: &Cluster) -> Result<(usize, usize)> {
    let ever = cluster.emulator().resources()?;
    let ever = ever.iter().filter(|one| one.is_a("virtualMachines")).count();
    Ok((ever, cluster.emulator().vms()?.len()))
}

/// A node boots for a job of its own, and a head that takes control now reads so in the state that
/// slurmctld has saved.
fn begin_to_boot(cluster: &Cluster, number: u32) -> Result<Waiting> {
    let (ever, _) = vms(cluster)?;
    let waiting = Waiting::submit(cluster, number, &[])?;
    cluster.wait_for(SOON, "a VM to be asked for", || Ok(vms(cluster)?.0 == ever + 1))?;
    let node = waiting.node(cluster)?;
    have_state_saved(cluster, &node)?;
    let state = cluster.node_state(&node)?;
    ensure!(state.contains("POWERING_UP"), "the node is to be booting still: {state}");
    Ok(waiting)
}

/// An allocation alone makes slurmctld save nothing for up to five minutes; a submission and an
/// update make it save all jobs and all nodes (22.05.8).
fn have_state_saved(cluster: &Cluster, node: &str) -> Result<()> {
    let asked_at = SystemTime::now();
    cluster.sbatch(&["--hold"], "#!/bin/sh\n")?;
    cluster.scontrol(&["update", &format!("nodename={node}"), "weight=1"])?;
    let state = cluster.dir().join("state/slurmctld");
    cluster.wait_for(SOON, "slurmctld to save its state", || {
        let is_newer = |file: &str| {
            let saved_at = fs::metadata(state.join(file)).and_then(|saved| saved.modified());
            saved_at.is_ok_and(|saved_at| saved_at > asked_at)
        };
        Ok(is_newer("job_state") && is_newer("node_state"))
    })
}

fn wait_for_log(cluster: &Cluster, head: Head, words: &str) -> Result<()> {
    let what = format!("the programs on {} to say {words:?}", head.name());
    cluster.wait_for(CYCLE, &what, || Ok(cluster.head_log(head).contains(words)))
}

fn wait_for_control(cluster: &Cluster, what: &str) -> Result<()> {
    cluster.wait_for(CYCLE, what, || Ok(cluster.node_states().is_ok()))
}

/// The jobs run, on their first try.
fn all_run(cluster: &Cluster, jobs: &[&Waiting]) -> Result<()> {
    for one in jobs {
        cluster.wait_for_job(CYCLE, one.job, "RUNNING")?;
        ensure!(restarts(cluster, one.job)? == 0, "job {} was begun again", one.job);
    }
    Ok(())
}

#[test]
#[ignore = "minutes of waiting: make test-long"]
fn a_backup_takes_over_and_the_primary_takes_back_what_runs_and_what_boots() -> Result<()> {
    let cluster = Cluster::start(&two_heads("heads", 4))?;
    Head::ALL.into_iter().try_for_each(|head| cluster.start_head_daemon(head))?;
    wait_for_log(&cluster, Head::Two, "standing by: slurmctld is active on head1")?;
    let (one, two) = (Waiting::submit(&cluster, 1, &[])?, Waiting::submit(&cluster, 2, &[])?);
    all_run(&cluster, &[&one, &two])?;
    // Slow enough for slurmctld to save its state in between.
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 30_000, "retry_after_s": 1 }))?;
    let three = begin_to_boot(&cluster, 3)?;

    cluster.kill_head(Head::One)?;
    wait_for_control(&cluster, "the backup to take control")?;
    wait_for_log(&cluster, Head::Two, "it is taken for the node's")?;
    all_run(&cluster, &[&one, &two, &three])?;
    ensure!(vms(&cluster)? == (3, 3), "the backup made or deleted a VM: {:?}", vms(&cluster)?);

    // What the primary's ledger does not know: the node's VM goes, and it gets another.
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 5_000, "retry_after_s": 1 }))?;
    let node = two.node(&cluster)?;
    two.let_go(&cluster)?;
    cluster.wait_for(CYCLE, "the second VM to be deleted", || Ok(vms(&cluster)? == (3, 2)))?;
    let again = Waiting::submit(&cluster, 5, &["--nodelist", &node])?;
    all_run(&cluster, &[&one, &three, &again])?;
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 30_000, "retry_after_s": 1 }))?;
    let four = begin_to_boot(&cluster, 4)?;

    cluster.start_head(Head::One)?;
    wait_for_log(&cluster, Head::Two, "standing by: slurmctld is active on head1")?;
    cluster.start_head_daemon(Head::One)?;
    wait_for_log(&cluster, Head::One, "another head node may have acted")?;
    wait_for_log(&cluster, Head::One, "it is not the node's")?;
    let running = [&one, &three, &again, &four];
    all_run(&cluster, &running)?;
    wait_for_log(&cluster, Head::One, "what other head nodes did before")?;
    all_run(&cluster, &running)?;
    ensure!(vms(&cluster)? == (5, 4), "the primary made or deleted a VM: {:?}", vms(&cluster)?);

    running.into_iter().try_for_each(|waiting| waiting.let_go(&cluster))?;
    cluster.wait_for(CYCLE, "no VM to be left", || Ok(vms(&cluster)?.1 == 0))?;
    Head::ALL.into_iter().try_for_each(|head| cluster.stop_head_daemon(head))?;
    end(&cluster).context("after the fail back")
}
