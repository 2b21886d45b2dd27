//! VMs that never boot: ResumeTimeout, resume-fail, and the guard that keeps more of them from
//! being made until one shows that they boot again.

use anyhow::Result;
use azslurm_test_cluster::Cluster;

use crate::story::{
    CYCLE, SOON, SRUN, check, down_for, end, holds_end, pass, passes_until, spec, vm_calls,
};

const REASON: &str = "azslurm: configuration: BootFailure";

/// One request of these nodes did not boot lately.
fn has_failed_before(cluster: &Cluster) -> Result<()> {
    let ledger = rusqlite::Connection::open(cluster.ledger_path())?;
    ledger.busy_timeout(SOON)?;
    let sql = "INSERT INTO holds (scope, code, text, strikes, since, struck_at, until)
               SELECT DISTINCT 'boot:' || nodeset || '/' || image, 'BootFailure', 'earlier', 1,
                   intended_at - 1000, intended_at - 1000, intended_at - 1000
               FROM attempts WHERE node = 'hpc-001'";
    ledger.execute(sql, [])?;
    Ok(())
}

#[test]
fn a_node_whose_vm_never_boots_loses_it_and_is_usable_again() -> Result<()> {
    let mut spec = spec("timeout", 2);
    spec.resume_timeout = std::time::Duration::from_secs(60);
    let cluster = Cluster::start(&spec)?;
    cluster.emulator().never_boot(&["hpc-001", "hpc-002"])?;
    let jobs = [
        cluster.sbatch(&["-N1", "--requeue"], SRUN)?,
        cluster.sbatch(&["-N1", "--requeue"], SRUN)?,
    ];
    cluster.wait_for(CYCLE, "both VMs", || Ok(cluster.emulator().vms()?.len() == 2))?;
    has_failed_before(&cluster)?;
    cluster.wait_for(CYCLE, "ResumeTimeout to pass", || {
        Ok(cluster.slurmctld_log().contains("not resumed by ResumeTimeout"))
    })?;
    cluster.wait_for(CYCLE, "the VMs to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    let log = || std::fs::read_to_string(cluster.log_path());
    check(&cluster, "the log says what to look at", log()?.contains("slurmd did not register"))?;
    // The guard is closed, and both nodes say so. No job is given them.
    passes_until(
        &cluster,
        "both nodes to say why",
        |_| Ok(down_for(&cluster, REASON)?.len() == 2),
    )?;
    let asked = vm_calls(&cluster, "PUT")?;
    check(&cluster, &format!("two VMs were made: {asked}"), asked == 2)?;
    // The image is good again. One node tries; the other waits for what comes of it.
    cluster.emulator().never_boot(&[])?;
    holds_end(&cluster)?;
    pass(&cluster)?;
    let held = down_for(&cluster, REASON)?;
    check(&cluster, &format!("one is held: {held:?}"), held.len() == 1)?;
    pass(&cluster)?;
    check(&cluster, "and stays so", down_for(&cluster, REASON)? == held)?;
    passes_until(&cluster, "the one that tried to end the guard", |_| {
        Ok(down_for(&cluster, REASON)?.is_empty())
    })?;
    let asked = vm_calls(&cluster, "PUT")?;
    check(&cluster, &format!("one VM showed it: {asked}"), asked == 3)?;
    for job in jobs {
        cluster.wait_for_job(CYCLE * 2, job, "COMPLETED")?;
    }
    end(&cluster)
}
