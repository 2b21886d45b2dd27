//! An array of twenty single-node jobs: many requests, one after another and at once.

use anyhow::Result;
use azslurm_test_cluster::Cluster;

use crate::story::{CYCLE, check, end, spec};

#[test]
fn an_array_of_twenty_single_node_jobs_runs_on_eight_nodes() -> Result<()> {
    let cluster = Cluster::start(&spec("array", 8))?;
    let script = "#!/bin/bash\necho task $SLURM_ARRAY_TASK_ID on $SLURMD_NODENAME\nsleep 1\n";
    let job = cluster.sbatch(&["-N1", "--array=1-20"], script)?;
    cluster.wait_for(CYCLE * 2, "twenty tasks to be completed", || {
        let states = cluster.task_states(job)?;
        Ok(states.len() == 20 && states.iter().all(|state| state == "COMPLETED"))
    })?;
    let resources = cluster.emulator().resources()?;
    let vms = resources.iter().filter(|resource| resource.is_a("virtualMachines")).count();
    check(&cluster, &format!("8 to 20 VMs were made, not {vms}"), (8..=20).contains(&vms))?;
    end(&cluster)
}
