//! Lines of nodes and partitions in slurm.conf.

use azslurm_conf::check::seen::Running;

use crate::good::{CONF, CONFIG};
use crate::mistakes;

const NODES: &str = "/etc/slurm/azslurm-nodes.conf";

mistakes! {
    nodes_that_are_not_cloud: Error, "htc-[001-100] are State=UNKNOWN, and not CLOUD",
        (NODES, "NodeName=htc"), |good| good.replace(NODES, "Weight=30 State=CLOUD", "Weight=30");
    nodes_with_too_many_cpus: Error, "htc-[001-100] have 8 CPUs here, and their VMs 4",
        (NODES, "NodeName=htc"), |good| {
            good.replace(
                NODES,
                "CPUs=4 Sockets=1 CoresPerSocket=2 ThreadsPerCore=2 RealMemory=15074",
                "Sockets=1 CoresPerSocket=4 ThreadsPerCore=2 RealMemory=15074",
            );
        };
    nodes_with_too_few_cpus: Warning, "htc-[001-100] have 1 CPUs here, and their VMs 4",
        (NODES, "NodeName=htc"), |good| {
            good.replace(
                NODES,
                "CPUs=4 Sockets=1 CoresPerSocket=2 ThreadsPerCore=2 RealMemory=15074",
                "RealMemory=15074",
            );
        };
    nodes_with_all_of_their_memory: Error, "htc-[001-100] have RealMemory=16384",
        (NODES, "NodeName=htc"), |good| good.replace(NODES, "=15074", "=16384");
    nodes_without_their_memory: Warning, "hb-[01-64] have RealMemory=1, and their VMs 466944",
        (NODES, "NodeName=hb"), |good| good.replace(NODES, "RealMemory=443597 ", "");
    nodes_with_more_gpus_than_they_have: Error, "gpu-[1-2] have 8 GPUs here, and their VMs 4",
        (NODES, "NodeName=gpu"), |good| good.replace(NODES, "gpu:a100:4", "gpu:a100:8");
    nodes_without_their_gpus: Warning, "gpu-[1-2] have 0 GPUs here, and their VMs 4",
        (NODES, "NodeName=gpu"), |good| good.replace(NODES, " Gres=gpu:a100:4", "");
    nodes_without_a_feature: Warning, "hb-[01-64] lack the features infiniband",
        (NODES, "NodeName=hb"), |good| good.replace(NODES, ",infiniband", "");
    nodes_with_a_fixed_address: Warning, "gpu-[1-2] have a NodeAddr in slurm.conf",
        (NODES, "NodeName=gpu"), |good| {
            good.replace_first(NODES, " State=CLOUD", " NodeAddr=10.0.0.[8-9] State=CLOUD");
        };
    nodes_that_are_defined_twice: Error, "hb-[03-04] are defined at /etc/slurm/azslurm-nodes.conf:",
        (CONF, "NodeName=hb-[03-04]"), |good| {
            let line = "NodeName=hb-[03-04] CPUs=120 RealMemory=440000 State=CLOUD \
                        Features=hb,standard_hb120rs_v3,infiniband";
            good.append(CONF, line);
        };
    nodes_in_the_file_of_cyclecloud: Warning, "defined in azure.conf, which CycleCloud's azslurm",
        ("/etc/slurm/azure.conf", "NodeName=gpu"), |good| {
            let nodes = good.texts[std::path::Path::new(NODES)].clone();
            let (line, rest): (Vec<&str>, Vec<&str>) =
                nodes.lines().partition(|line| line.starts_with("NodeName=gpu"));
            good.texts.insert(NODES.into(), rest.join("\n"));
            good.append("/etc/slurm/azure.conf", line[0]);
            good.append(CONF, "include azure.conf");
        };
    nodes_that_slurm_does_not_have: Error, "nodeset htc has htc-100, and slurmctld does not know",
        ("", ""), |good| {
            good.is_running = true;
            good.tweak(|seen| {
                let Running::Answered { nodes, .. } = &mut seen.running else { panic!("it runs") };
                nodes.retain(|node| node.name.as_str() != "htc-100");
            });
        };
    cloud_nodes_of_no_nodeset: Warning, "old-[1-3] are CLOUD nodes in no nodeset", ("", ""),
        |good| {
        good.append(CONF, "NodeName=old-[1-3] CPUs=4 State=CLOUD");
        good.append("/etc/slurm/topology.conf", "SwitchName=old Nodes=old-[1-3]");
    };
    names_that_differ_by_case: Error, "HTC-001 differ from nodes of azslurm.toml only by case",
        (CONF, "NodeName=HTC-001"), |good| {
            good.append(CONF, "NodeName=HTC-001 CPUs=4");
            good.append("/etc/slurm/topology.conf", "SwitchName=htc2 Nodes=HTC-001");
        };
    a_partition_that_slurm_does_not_have: Error, "slurm.conf has no partition spot",
        (CONFIG, "[partition.spot]"), |good| {
            good.replace(NODES, "PartitionName=spot Nodes=spot SuspendTime=600\n", "");
        };
    a_partition_without_its_nodes: Warning, "partition hpc lacks hb-[33-64]",
        (NODES, "PartitionName=hpc"), |good| {
            good.replace(NODES, "hpc Nodes=hb ", "hpc Nodes=hb-[01-32] ");
        };
    a_partition_with_nodes_that_nobody_defines: Error,
        "partition own has cpu-5, which no line defines",
        (CONF, "PartitionName=own"),
        |good| good.replace(CONF, "own Nodes=cpu-[1-4]", "own Nodes=cpu-[1-5]");
    a_partition_with_foreign_nodes: Note, "partition htc has cpu-[1-4] beside nodes of azslurm",
        (NODES, "PartitionName=htc"),
        |good| good.replace(
            NODES,
            "PartitionName=htc Nodes=htc ",
            "PartitionName=htc Nodes=htc,cpu-[1-4] ",
        );
    a_partition_line_that_powers_blocks_down: Warning, "powered down after each job",
        (NODES, "PartitionName=hpc"),
        |good| good.replace(NODES, "MaxTime=2-00:00:00", "PowerDownOnIdle=YES");
    a_partition_line_that_spreads_jobs: Warning, "(LLN)", (NODES, "PartitionName=spot"),
        |good| good.replace(NODES, "Nodes=spot SuspendTime", "Nodes=spot LLN=YES SuspendTime");
    a_partition_line_that_is_inactive: Warning, "the partition is INACTIVE",
        (NODES, "PartitionName=spot"),
        |good| good.replace(
            NODES,
            "Nodes=spot SuspendTime",
            "Nodes=spot State=INACTIVE SuspendTime",
        );
    a_default_of_partitions_counts_for_those_below: Warning, "(LLN)", (CONF, "PartitionName=late"),
        |good| good.append(CONF, "PartitionName=DEFAULT LLN=YES\nPartitionName=late Nodes=htc");
}
