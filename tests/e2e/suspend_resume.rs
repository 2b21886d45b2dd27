//! Nodes come again while their old VMs are still going.

use anyhow::Result;
use azslurm_test_cluster::Cluster;
use serde_json::json;

use crate::story::{CYCLE, SOON, SRUN, check, end, passes_until, spec};

#[test]
fn a_node_is_resumed_while_its_old_vm_is_still_being_deleted() -> Result<()> {
    let cluster = Cluster::start(&spec("again", 1))?;
    let first = cluster.sbatch(&["-N1"], SRUN)?;
    cluster.wait_for_job(CYCLE, first, "COMPLETED")?;
    cluster.emulator().set_delays(&json!({ "vm_force_delete_ms": 60_000 }))?;
    let second_asked = std::cell::Cell::new(None);
    cluster.wait_for(CYCLE, "the old VM to be dying and the node to be off", || {
        let vms = cluster.emulator().vms()?;
        let is_dying = vms.iter().any(|vm| vm.provisioning_state.as_deref() == Some("Deleting"));
        if is_dying && second_asked.get().is_none() {
            second_asked.set(Some(cluster.sbatch(&["-N1"], SRUN)?));
        }
        Ok(is_dying)
    })?;
    let second = second_asked.get().expect("the wait ended with a job");
    cluster.wait_for(CYCLE, "two VMs of one node, one of them dying", || {
        Ok(cluster.emulator().vms()?.len() == 2)
    })?;
    cluster.wait_for_job(CYCLE, second, "COMPLETED")?;
    let vms = cluster.emulator().resources()?;
    let vms = vms.iter().filter(|resource| resource.is_a("virtualMachines")).count();
    check(&cluster, &format!("two VMs were made, not {vms}"), vms == 2)?;
    cluster.emulator().set_delays(&json!({ "vm_force_delete_ms": 100 }))?;
    end(&cluster)
}

#[test]
fn a_node_whose_vm_is_confirmed_gone_is_usable_at_once() -> Result<()> {
    let mut spec = spec("return", 1);
    spec.suspend_timeout = std::time::Duration::from_secs(600);
    let cluster = Cluster::start(&spec)?;
    let job = cluster.sbatch(&["-N1"], SRUN)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    cluster.wait_for(CYCLE, "the node to be powering down", || {
        Ok(cluster.node_state("hpc-001")?.contains("POWERING_DOWN"))
    })?;
    cluster.wait_for(SOON, "the VM to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    passes_until(&cluster, "a pass to set the node back long before SuspendTimeout", |_| {
        let state = cluster.node_state("hpc-001")?;
        Ok(state.contains("POWERED_DOWN") && !state.contains("POWERING_DOWN"))
    })?;
    end(&cluster)
}
