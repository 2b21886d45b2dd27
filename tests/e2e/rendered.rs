//! Slurm's configuration as `azslurm-conf render` writes it, read by a real slurmctld.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use azslurm_test_cluster::{Cluster, ClusterSpec, JobId, NodesetSpec, slurm_version};

use crate::region::west_answers_503;
use crate::story::{CYCLE, SRUN, check, end, holds_end, puts_settle, ran_on};

fn nodeset(name: &str, nodes: u32, lines: &[&str]) -> NodesetSpec {
    NodesetSpec {
        name: name.to_owned(),
        nodes,
        has_ports: true,
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    }
}

const D4: &str = "sku = \"Standard_D4s_v5\"";
const HB: &str = "sku = \"Standard_HB120rs_v3\"";

/// What slurmctld says of one node, by key.
fn fields(line: &str) -> BTreeMap<&str, &str> {
    line.split(' ').filter_map(|pair| pair.split_once('=')).collect()
}

/// What the config means for a node, as slurmctld has to say it.
fn wanted(name: &str) -> [(&'static str, &'static str); 7] {
    match name.split('-').next().unwrap_or_default() {
        "hb" => [
            ("CPUTot", "120"),
            ("Sockets", "2"),
            ("CoresPerSocket", "60"),
            ("ThreadsPerCore", "1"),
            // 456 GB less 5 %.
            ("RealMemory", "443597"),
            ("AvailableFeatures", "hb,standard_hb120rs_v3,westeurope,infiniband"),
            ("Gres", "(null)"),
        ],
        "gpu" => [
            ("CPUTot", "96"),
            ("Sockets", "2"),
            ("CoresPerSocket", "48"),
            ("ThreadsPerCore", "1"),
            ("RealMemory", "1848320"),
            ("AvailableFeatures", "gpu,standard_nd96isr_h100_v5,westeurope"),
            ("Gres", "gpu:8"),
        ],
        _ => [
            ("CPUTot", "4"),
            ("Sockets", "1"),
            ("CoresPerSocket", "2"),
            ("ThreadsPerCore", "2"),
            // 16 GB less one.
            ("RealMemory", "15360"),
            ("AvailableFeatures", "big,standard_d4s_v5,westeurope,mine"),
            ("Gres", "(null)"),
        ],
    }
}

/// The reason why a job waits.
fn reason(cluster: &Cluster, job: JobId) -> Result<String> {
    let job = job.to_string();
    Ok(cluster.client("squeue", &["-h", "-o", "%T %r", "-j", &job])?.trim().to_owned())
}

#[test]
fn ten_thousand_rendered_nodes_are_as_the_config_says_and_no_job_spans_two_blocks() -> Result<()> {
    let big = NodesetSpec {
        has_ports: false,
        ..nodeset("big", 9_990, &["sites = [\"west\"]", D4, "features = [\"mine\"]"])
    };
    let infiniband = ["sites = [\"west\"]", HB, "interconnect = \"infiniband\"", "block_nodes = 4"];
    let gpu = ["sites = [\"west\"]", "sku = \"Standard_ND96isr_H100_v5\""];
    let cluster = Cluster::start(&ClusterSpec {
        name: "rendered".to_owned(),
        nodes: 8,
        rendered: Some(vec![
            big,
            nodeset("hb", 8, &infiniband),
            NodesetSpec { has_ports: false, ..nodeset("gpu", 2, &gpu) },
        ]),
        ..ClusterSpec::default()
    })?;
    let text = cluster.scontrol(&["-a", "show", "nodes", "-o"])?;
    let mut count = 0;
    for line in text.lines().filter(|line| line.starts_with("NodeName=")) {
        let fields = fields(line);
        for (key, value) in wanted(fields["NodeName"]) {
            let found = fields.get(key).copied().unwrap_or_default();
            check(
                &cluster,
                &format!("{key} is {found:?} and not {value}: {line}"),
                found == value,
            )?;
        }
        check(&cluster, line, fields["State"].contains("CLOUD"))?;
        count += 1;
    }
    check(&cluster, &format!("{count} nodes"), count == 10_000)?;
    checked(&cluster)?;
    no_job_spans_two_blocks(&cluster)?;
    end(&cluster)
}

/// Eight nodes `hb` in two blocks.
fn no_job_spans_two_blocks(cluster: &Cluster) -> Result<()> {
    // Five are more than a block has, and eight are there.
    let script = "#!/bin/bash\nsrun -l bash -c 'echo ran on $SLURMD_NODENAME'\nsleep 3\n";
    let too_wide = cluster.sbatch(&["-N5", "-p", "hb"], script);
    let jobs = [
        cluster.sbatch(&["-N4", "-p", "hb", "-J", "one"], script)?,
        cluster.sbatch(&["-N3", "-p", "hb", "-J", "two"], script)?,
    ];
    for job in jobs {
        cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
        let list = cluster.scontrol(&["show", "job", &job.to_string()])?;
        let nodes = list.split_whitespace().find_map(|word| word.strip_prefix("NodeList="));
        let nodes = nodes.context("a job that ran has nodes")?;
        let hosts = cluster.scontrol(&["show", "hostnames", nodes])?;
        let is_first = |host: &str| host.ends_with(['1', '2', '3', '4']);
        let firsts = hosts.lines().filter(|host| is_first(host)).count();
        let all = hosts.lines().count();
        check(cluster, &format!("in one block: {nodes}"), firsts == 0 || firsts == all)?;
    }
    match too_wide {
        Err(_refused) => {}
        Ok(job) => {
            let said = reason(cluster, job)?;
            check(cluster, &format!("it waits: {said}"), said.starts_with("PENDING"))?;
            check(cluster, "it has not run anywhere", ran_on(cluster, job) == 0)?;
            cluster.client("scancel", &[&job.to_string()])?;
        }
    }
    Ok(())
}

/// With topology/block, which 22.05 does not have.
#[test]
fn no_job_spans_two_blocks_by_topology_block_where_slurm_has_it() -> Result<()> {
    if slurm_version()? < (23, 11) {
        eprintln!("skipped: this Slurm has no topology/block; `make test-slurms` has one that has");
        return Ok(());
    }
    let lines = ["sites = [\"west\"]", HB, "interconnect = \"infiniband\"", "block_nodes = 4"];
    let cluster = Cluster::start(&ClusterSpec {
        name: "block".to_owned(),
        nodes: 8,
        slurm_lines: vec!["topology = \"block\"".to_owned()],
        rendered: Some(vec![nodeset("hb", 8, &lines)]),
        ..ClusterSpec::default()
    })?;
    no_job_spans_two_blocks(&cluster)?;
    end(&cluster)
}

/// What `azslurm-conf check` warns of here and is so: a cluster of tests is in a hurry, on one
/// machine, and as root.
const OF_TESTS: [&str; 12] = [
    "http://127.0.0.1",
    "resume_timeout_seconds is 60",
    "5 tries of 60 s",
    "nodes are deleted after",
    "suspend_timeout_seconds is 10",
    "no nodeset uses site north",
    "ResumeTimeout is 60 s",
    "SuspendTimeout is 10 s",
    "config_overrides",
    "SlurmUser is root",
    "Standard_ND96isr_H100_v5 of gpu has InfiniBand",
    // All nodes are on one machine, with an address and a port for each.
    "hb-[001-008] have a NodeAddr",
];

/// A check of a real slurmctld with rendered nodes finds nothing in what is rendered.
fn checked(cluster: &Cluster) -> Result<()> {
    let output = cluster.run_program("azslurm-conf", &["check", "--json"])?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    check(cluster, &format!("no error: {report:#}"), output.status.code() == Some(0))?;
    let findings = report["findings"].as_array().into_iter().flatten();
    let is_strange = |one: &&serde_json::Value| {
        let text = one["text"].as_str().unwrap_or_default();
        // What the emulator's subnet has room for is told by a story of its own.
        one["level"] != "note"
            && one["check"] != "azure"
            && !OF_TESTS.iter().any(|usual| text.starts_with(usual))
    };
    let strange: Vec<&serde_json::Value> = findings.filter(is_strange).collect();
    check(cluster, &format!("{strange:#?}"), strange.is_empty())?;
    check(cluster, &format!("{report:#}"), report["not_checked"] == serde_json::json!([]))
}

/// Where the VMs that were made since are.
fn new_regions(cluster: &Cluster, before: usize) -> Result<Vec<String>> {
    let vms = cluster.emulator().resources()?.into_iter();
    let vms = vms.filter(|seen| seen.is_a("virtualMachines"));
    Ok(vms.filter_map(|vm| vm.location).skip(before).collect())
}

/// One job to its end; the regions of the VMs that were made for it.
fn run(cluster: &Cluster, partition: &str) -> Result<Vec<String>> {
    let before = new_regions(cluster, 0)?.len();
    let job = cluster.sbatch(&["-N2", "--exclusive", "--requeue", "-p", partition], SRUN)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    new_regions(cluster, before)
}

#[test]
#[ignore = "minutes of waiting: make test-long"]
fn one_controller_serves_two_regions_loses_one_and_has_it_back() -> Result<()> {
    let spills = ["sites = [\"west\", \"north\"]", D4, "spill = \"next-site\""];
    let cluster = Cluster::start(&ClusterSpec {
        name: "regions".to_owned(),
        nodes: 10,
        resume_timeout: Duration::from_secs(90),
        rendered: Some(vec![
            nodeset("any", 6, &spills),
            nodeset("north", 2, &["sites = [\"north\"]", D4]),
            nodeset("west", 2, &["sites = [\"west\"]", D4]),
        ]),
        config_text: "[limits]\ntries = 2\n".to_owned(),
        ..ClusterSpec::default()
    })?;
    let at = |regions: &[String], region: &str| regions == [region, region];
    // A partition for each region: a job goes where it is sent.
    for (partition, region) in [("west", "westeurope"), ("north", "northeurope")] {
        let made = run(&cluster, partition)?;
        check(&cluster, &format!("{partition}: {made:?}"), at(&made, region))?;
    }
    // The west is lost: what may go elsewhere goes, what may not is told so, at once.
    west_answers_503(&cluster)?;
    let job = cluster.sbatch(&["-N2", "--exclusive", "-p", "any", "-w", "any-[001-002]"], SRUN)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let made = new_regions(&cluster, 4)?;
    check(&cluster, &format!("any, without the west: {made:?}"), at(&made, "northeurope"))?;
    // The west is back.
    cluster.emulator().clear_faults()?;
    holds_end(&cluster)?;
    let job = cluster.sbatch(&["-N2", "--exclusive", "-p", "any", "-w", "any-[003-004]"], SRUN)?;
    cluster.wait_for_job(CYCLE, job, "COMPLETED")?;
    let made = new_regions(&cluster, 6)?;
    check(&cluster, &format!("any, in the west again: {made:?}"), at(&made, "westeurope"))?;
    puts_settle(&cluster)?;
    end(&cluster)
}
