//! A quota that has no room: nothing is asked for that would be refused, and everybody is told the
//! numbers.

use anyhow::Result;
use azslurm_test_cluster::Cluster;

use crate::story::{
    CYCLE, SOON, SRUN, admin_comments, check, down_for, end, holds_end, passes_until, ran_on,
    restarts, spec, vm_calls,
};

const FAMILY: &str = "standardDSv5Family";
/// Cores of the size that nodes have.
const CORES: u32 = 4;

/// The quota is raised, and the holds' time passes.
fn raise(cluster: &Cluster) -> Result<()> {
    cluster.emulator().set_quota("westeurope", FAMILY, 1000)?;
    holds_end(cluster)
}

#[test]
fn a_quota_of_zero_is_told_in_one_sentence_and_nothing_is_asked_for() -> Result<()> {
    let cluster = Cluster::start(&spec("quota-zero", 6))?;
    cluster.emulator().set_quota("westeurope", FAMILY, 0)?;
    let job = cluster.sbatch(&["-N2", "--requeue"], SRUN)?;
    cluster.wait_for(SOON, "all six nodes to be down with a reason", || {
        Ok(down_for(&cluster, "azslurm: quota")?.len() == 6)
    })?;
    let down = down_for(&cluster, "azslurm: quota")?;
    for (node, reason) in &down {
        let names_all = [FAMILY, "westeurope", "quota is 0"].iter().all(|w| reason.contains(w));
        let is_whole = reason.contains(", next try 2") && !reason.contains("...");
        let is_once = reason.matches("quota is 0").count() == 1;
        check(&cluster, &format!("{node}: {reason}"), names_all && is_whole && is_once)?;
    }
    check(&cluster, "the job was requeued once", restarts(&cluster, job)? == 1)?;
    let comments = admin_comments(&cluster, job)?;
    let says = |comment: &String| {
        comment.contains("waits for hpc-[001-002]") && comment.contains("the quota is 0")
    };
    check(&cluster, &format!("the job says why: {comments:?}"), comments.iter().any(says))?;
    check(&cluster, "nothing was asked for", vm_calls(&cluster, "PUT")? == 0)?;
    raise(&cluster)?;
    passes_until(&cluster, "the job to be completed", |_| {
        Ok(cluster.job_state(job)? == "COMPLETED")
    })?;
    check(&cluster, "it ran on both", ran_on(&cluster, job) == 2)?;
    let puts = vm_calls(&cluster, "PUT")?;
    check(&cluster, &format!("two VMs were asked for: {puts}"), puts == 2)?;
    end(&cluster)
}

#[test]
fn what_a_quota_has_room_for_runs_and_nothing_else_is_asked_for() -> Result<()> {
    let cluster = Cluster::start(&spec("quota-two", 6))?;
    cluster.emulator().set_quota("westeurope", FAMILY, 2 * CORES)?;
    let wide = cluster.sbatch(&["-N3", "--requeue"], SRUN)?;
    // Its own three, and one of the others: there is room for two, so two may be chosen still.
    cluster.wait_for(SOON, "four nodes to be down", || {
        Ok(down_for(&cluster, "azslurm")?.len() == 4)
    })?;
    check(&cluster, "nothing of it was asked for", vm_calls(&cluster, "PUT")? == 0)?;
    let numbers = "standardDSv5Family: 0 of 8 cores used in westeurope, 12 more wanted, next try 2";
    let told = down_for(&cluster, numbers)?;
    check(&cluster, &format!("the numbers are told: {told:?}"), told.len() == 2)?;
    let comments = admin_comments(&cluster, wide)?;
    let is_told = comments.iter().any(|comment| comment.contains(numbers));
    check(&cluster, &format!("the wide job says why: {comments:?}"), is_told)?;
    check(&cluster, "it was requeued once", restarts(&cluster, wide)? == 1)?;
    let go = cluster.dir().join("home/go");
    let script = format!("{SRUN}until [ -e {} ]; do sleep 0.3; done\n", go.display());
    let narrow = cluster.sbatch(&["-N1", "--array=1-3", "--requeue"], &script)?;
    cluster.wait_for(CYCLE, "two of the three small jobs to run", || {
        let states = cluster.task_states(narrow)?;
        Ok(states.iter().filter(|state| *state == "RUNNING").count() == 2)
    })?;
    let puts = vm_calls(&cluster, "PUT")?;
    check(&cluster, &format!("two VMs were asked for: {puts}"), puts == 2)?;
    raise(&cluster)?;
    std::fs::write(&go, "")?;
    passes_until(&cluster, "all jobs to be completed", |_| {
        let mut states = cluster.task_states(narrow)?;
        states.push(cluster.job_state(wide)?);
        Ok(states.len() == 4 && states.iter().all(|state| state == "COMPLETED"))
    })?;
    check(&cluster, "the wide job ran on three", ran_on(&cluster, wide) == 3)?;
    end(&cluster)
}
