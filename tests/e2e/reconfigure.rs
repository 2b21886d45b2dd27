//! `scontrol reconfigure` while sixteen nodes are being resumed.

use std::time::{Duration, Instant};

use anyhow::Result;
use azslurm_test_cluster::Cluster;
use serde_json::json;

use crate::story::{CYCLE, SOON, SRUN, check, end, spec, vm_calls};

/// slurmctld's MessageTimeout: a reconfigure that waits for a program fails with it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn reconfigure_during_a_resume_answers_and_disturbs_nothing() -> Result<()> {
    let cluster = Cluster::start(&spec("reconfigure", 16))?;
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 8000 }))?;
    let job = cluster.sbatch(&["-N16"], SRUN)?;
    cluster.wait_for(SOON, "sixteen VMs to be asked for", || {
        Ok(cluster.emulator().vms()?.len() == 16)
    })?;
    let begun = Instant::now();
    cluster.scontrol(&["reconfigure"])?;
    let took = begun.elapsed();
    check(&cluster, &format!("it took {took:?}"), took < MESSAGE_TIMEOUT)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    check(&cluster, "no VM was asked for twice", vm_calls(&cluster, "PUT")? == 16)?;
    end(&cluster)
}
