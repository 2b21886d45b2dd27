//! Many requests of slurmctld's at once: each is a front with a driver of its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use azslurm_test_cluster::{Cluster, Resource};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::story::{CYCLE, SOON, SRUN, check, end, ran_on, resumes, spec, vm_calls};

/// A front waits for the ledger for half a minute at most, so that those that have been seen are
/// stopped until all are there.
fn stop_fronts(cluster: &Cluster) -> Result<Vec<Pid>> {
    let fronts = resumes(cluster, false)?;
    for front in &fronts {
        kill(*front, Signal::SIGSTOP).context("stop")?;
    }
    Ok(fronts)
}

#[test]
fn ten_requests_at_once_give_each_node_one_vm() -> Result<()> {
    let mut spec = spec("ten", 15);
    spec.resume_timeout = 3 * SOON;
    // The last node is up long after the first.
    spec.suspend_time = SOON;
    let cluster = Cluster::start(&spec)?;
    // The ledger exists, and somebody holds its write lock: no front gets on.
    cluster.run_program("azslurm-sync", &["pass"])?;
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.execute_batch("BEGIN IMMEDIATE")?;
    let mut jobs = Vec::new();
    for number in 0..10_usize {
        let nodes = 1 + number % 2;
        jobs.push((cluster.sbatch(&[&format!("-N{nodes}")], SRUN)?, nodes));
        // slurmctld puts jobs of one moment into one request.
        cluster.wait_for(SOON, "the front of the job to be there", || {
            Ok(stop_fronts(&cluster)?.len() == number + 1)
        })?;
    }
    check(&cluster, "nothing was asked for yet", vm_calls(&cluster, "PUT")? == 0)?;
    ledger.execute_batch("ROLLBACK")?;
    drop(ledger);
    for front in resumes(&cluster, false)? {
        kill(front, Signal::SIGCONT).context("continue")?;
    }
    for (job, nodes) in &jobs {
        cluster.wait_for_job(CYCLE, *job, "COMPLETED")?;
        check(&cluster, &format!("job {job}"), ran_on(&cluster, *job) == *nodes)?;
    }
    let puts = vm_calls(&cluster, "PUT")?;
    check(&cluster, &format!("one PUT for each node: {puts}"), puts == 15)?;
    let mut of_node: BTreeMap<String, usize> = BTreeMap::new();
    let made: Vec<Resource> = cluster.emulator().resources()?;
    for vm in made.iter().filter(|seen| seen.is_a("virtualMachines")) {
        let (node, _) = vm.name.rsplit_once('-').context("a VM without its attempt")?;
        *of_node.entry(node.to_owned()).or_insert(0) += 1;
    }
    let is_one_each = of_node.len() == 15 && of_node.values().all(|count| *count == 1);
    check(&cluster, &format!("one VM for each node: {of_node:?}"), is_one_each)?;
    end(&cluster)
}
