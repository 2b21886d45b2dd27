//! A VM that never boots: ResumeTimeout, resume-fail, and the node is usable again.

use anyhow::Result;
use azslurm_test_cluster::Cluster;

use crate::story::{CYCLE, SRUN, check, end, spec};

#[test]
fn a_node_whose_vm_never_boots_loses_it_and_is_usable_again() -> Result<()> {
    let mut spec = spec("timeout", 1);
    spec.resume_timeout = std::time::Duration::from_secs(60);
    let cluster = Cluster::start(&spec)?;
    cluster.emulator().never_boot(&["hpc-001"])?;
    let job = cluster.sbatch(&["-N1", "--requeue"], SRUN)?;
    cluster.wait_for(CYCLE, "ResumeTimeout to pass", || {
        Ok(cluster.slurmctld_log().contains("not resumed by ResumeTimeout"))
    })?;
    cluster.wait_for(CYCLE, "the VM to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    cluster.emulator().never_boot(&[])?;
    // The job was requeued, waits its two minutes at most, and runs on the same node with a new VM.
    cluster.wait_for_job(CYCLE * 2, job, "COMPLETED")?;
    let log = std::fs::read_to_string(cluster.log_path())?;
    check(&cluster, "the log says what to look at", log.contains("slurmd did not register"))?;
    end(&cluster)
}
