//! A batch job of three nodes runs on VMs that were not there, and they are gone afterwards.

use anyhow::Result;

use crate::story::{CYCLE, SOON, SRUN, check, end, spec, vm_calls, vm_lists};
use azslurm_test_cluster::Cluster;

#[test]
fn a_job_of_three_nodes_runs_and_its_vms_are_gone_afterwards() -> Result<()> {
    let mut spec = spec("batch", 4);
    spec.user_data = Some("#!/bin/sh\n# {cluster} {node} {nodeset}\n".to_owned());
    let cluster = Cluster::start(&spec)?;
    let job = cluster.sbatch(&["-N3"], SRUN)?;
    cluster.wait_for(SOON, "three VMs to be made", || Ok(cluster.emulator().vms()?.len() == 3))?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let output = cluster.job_output(job).unwrap_or_default();
    for rank in 0..3 {
        let line = format!("{rank}: ran on hpc-00{}", rank + 1);
        check(&cluster, &format!("no {line:?} in {output:?}"), output.contains(&line))?;
    }
    check(&cluster, "one PUT per VM", vm_calls(&cluster, "PUT")? == 3)?;
    check(&cluster, "no list call on the way up", vm_lists(&cluster)? == 0)?;
    // Nobody asks for it: SuspendTime passes.
    cluster.wait_for(CYCLE, "the VMs to be gone", || Ok(cluster.emulator().vms()?.is_empty()))?;
    end(&cluster)
}

#[test]
fn status_shows_what_all_three_think_of_a_node() -> Result<()> {
    let cluster = Cluster::start(&spec("status", 2))?;
    cluster.scontrol(&["update", "nodename=hpc-001", "state=power_up"])?;
    cluster.wait_for(CYCLE, "the node to be up", || {
        Ok(cluster.node_state("hpc-001")? == "IDLE+CLOUD")
    })?;
    let mut status = serde_json::Value::Null;
    cluster.wait_for(SOON, "the driver to have followed the VM", || {
        let words = ["nodes", "--azure", "--json", "hpc-001"];
        let output = cluster.run_program("azslurm-sync", &words)?;
        status = serde_json::from_slice(&output.stdout)?;
        Ok(status["rows"][0]["ledger"] != "accepted")
    })?;
    let row = &status["rows"][0];
    check(&cluster, &format!("{status}"), row["slurm"] == "IDLE+CLOUD")?;
    check(&cluster, &format!("{status}"), row["ledger"] == "running")?;
    check(&cluster, &format!("{status}"), row["azure"] == "Succeeded/running")?;
    let mut sources = status["sources"].as_array().into_iter().flatten();
    check(&cluster, &format!("{status}"), sources.all(|one| one["unknown"].is_null()))?;
    let table = cluster.run_program("azslurm-sync", &["nodes", "--azure"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let is_there =
        ["hpc-001", "hpc-002", "running", "Succeeded/running", "IDLE+CLOUD+POWERED_DOWN"];
    check(&cluster, &table, is_there.iter().all(|word| table.contains(word)))?;
    let doctor = cluster.run_program("azslurm-sync", &["doctor", "--json"])?;
    let doctor: serde_json::Value = serde_json::from_slice(&doctor.stdout)?;
    for wanted in ["config", "slurmctld", "nodes", "user", "azure", "clock"] {
        let findings = doctor["findings"].as_array().into_iter().flatten();
        let levels: Vec<_> =
            findings.filter(|one| one["check"] == wanted).map(|one| &one["level"]).collect();
        let is_good = !levels.is_empty() && levels.iter().all(|level| **level == "ok");
        check(&cluster, &format!("doctor finds {wanted} good: {doctor}"), is_good)?;
    }
    // A person who calls ResumeProgram by hand for a node that is up takes nothing from it.
    cluster.run_program("azslurm-resume", &["hpc-001"])?;
    cluster.wait_for(SOON, "the second driver to end", || {
        let log = std::fs::read_to_string(cluster.log_path())?;
        Ok(log.matches("driven to the end").count() == 2)
    })?;
    check(&cluster, "one VM was ever asked for", vm_calls(&cluster, "PUT")? == 1)?;
    check(&cluster, "and none deleted", vm_calls(&cluster, "DELETE")? == 0)?;
    end(&cluster)
}
