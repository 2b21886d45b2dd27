//! A job is cancelled while its nodes power up: they come, stay idle, and go.

use anyhow::Result;
use azslurm_test_cluster::Cluster;
use serde_json::json;

use crate::story::{CYCLE, SOON, SRUN, check, end, spec};

#[test]
fn a_job_cancelled_while_its_nodes_power_up_leaves_nothing() -> Result<()> {
    let cluster = Cluster::start(&spec("cancel", 3))?;
    cluster.emulator().set_delays(&json!({ "vm_create_ms": 6000 }))?;
    let job = cluster.sbatch(&["-N3"], SRUN)?;
    cluster
        .wait_for(SOON, "three VMs to be asked for", || Ok(cluster.emulator().vms()?.len() == 3))?;
    cluster.scancel(job)?;
    cluster.wait_for(CYCLE, "the VMs to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    check(&cluster, "the job never ran", cluster.job_output(job).is_none())?;
    end(&cluster)
}
