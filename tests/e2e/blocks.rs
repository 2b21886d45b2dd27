//! Nodesets with InfiniBand: blocks, and gangs that move as a whole.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use azslurm_test_cluster::{Cluster, JobId, Resource, infiniband};

use crate::story::{CYCLE, SOON, SRUN, check, end};

const SKU: &str = "Standard_HB120rs_v3";

fn sets(cluster: &Cluster) -> Result<Vec<Resource>> {
    let resources = cluster.emulator().resources()?;
    Ok(resources.into_iter().filter(|seen| seen.is_a("availabilitySets")).collect())
}

/// The set of each living VM, as Azure shows it: by node.
fn set_of_each(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    let sql = "SELECT a.node, b.name FROM attempts AS a JOIN blocks AS b
               ON a.block = b.block AND a.incarnation = b.incarnation WHERE a.ended_at IS NULL";
    let mut statement = ledger.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn ran_on(cluster: &Cluster, job: JobId) -> usize {
    let output = cluster.job_output(job).unwrap_or_default();
    output.lines().filter(|line| line.contains("ran on")).count()
}

#[test]
fn two_jobs_over_several_nodes_never_share_a_block() -> Result<()> {
    let cluster = Cluster::start(&infiniband("blocks", 8, 4))?;
    let script = "#!/bin/bash\nsrun -l bash -c 'echo ran on $SLURMD_NODENAME'\nsleep 10\n";
    let jobs = [cluster.sbatch(&["-N4"], script)?, cluster.sbatch(&["-N3"], script)?];
    cluster.wait_for(SOON, "seven VMs", || Ok(cluster.emulator().vms()?.len() == 7))?;
    let sets_of = set_of_each(&cluster)?;
    let used: BTreeSet<&String> = sets_of.values().collect();
    check(&cluster, &format!("two sets: {sets_of:?}"), used.len() == 2)?;
    for (node, set) in &sets_of {
        let number: u32 = node.rsplit('-').next().unwrap_or_default().parse()?;
        let of_block = sets_of.iter().filter(|(other, _)| {
            let other: u32 = other.rsplit('-').next().unwrap_or_default().parse().unwrap_or(0);
            (other - 1) / 4 == (number - 1) / 4
        });
        check(&cluster, "one set for each block", of_block.into_iter().all(|(_, s)| s == set))?;
    }
    for job in jobs {
        cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    }
    check(&cluster, "all ran", ran_on(&cluster, jobs[0]) == 4 && ran_on(&cluster, jobs[1]) == 3)?;
    end(&cluster)?;
    let made = sets(&cluster)?;
    check(&cluster, "each set was made once and is gone", made.len() == 2)
}

#[test]
fn a_gang_of_sixteen_moves_to_the_next_site_when_the_first_is_full() -> Result<()> {
    let cluster = Cluster::start(&infiniband("gang", 16, 16))?;
    cluster.emulator().set_capacity("westeurope", SKU, Some(9))?;
    let job = cluster.sbatch(&["-N16", "--requeue"], SRUN)?;
    cluster.wait_for(SOON, "sixteen VMs in the north and none in the west", || {
        let vms = cluster.emulator().vms()?;
        let north = vms.iter().filter(|vm| vm.location.as_deref() == Some("northeurope")).count();
        Ok(north == 16 && vms.len() == 16)
    })?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    check(&cluster, "it ran on all", ran_on(&cluster, job) == 16)?;
    let restarts =
        cluster.client("squeue", &["-h", "-t", "all", "-o", "%r", "-j", &job.to_string()])?;
    check(&cluster, &format!("it was not requeued: {restarts}"), restarts.trim() == "None")?;
    end(&cluster)?;
    let sets = sets(&cluster)?;
    check(&cluster, "a set at each site, both gone", sets.len() == 2)
}
