//! A config that is well-formed and unwise.

use crate::good::CONFIG;
use crate::mistakes;

const GUID: &str = "33333333-3333-3333-3333-333333333333";

/// Another site.
fn site(name: &str, group: &str) -> String {
    let network = "providers/Microsoft.Network/virtualNetworks/v/subnets/s";
    format!(
        "[site.{name}]\nsubscription = \"{GUID}\"\nregion = \"eastus\"\n\
         resource_group = \"{group}\"\n\
         subnet = \"/subscriptions/{GUID}/resourceGroups/n/{network}\"\n"
    )
}

mistakes! {
    the_azure_cli_as_credential: Warning, "whoever is logged in to az is used",
        (CONFIG, "type = \"azure-cli\""),
        |good| good.append(CONFIG, "[site.west.credential]\ntype = \"azure-cli\"");
    a_secret_in_the_config: Warning, "the secret stands in the config",
        (CONFIG, "client_secret ="), |good| {
            let file = "client_secret_file = \"/etc/azslurm/client-secret\"";
            good.replace(CONFIG, file, "client_secret = \"hunter2\"");
        };
    an_endpoint_without_tls: Warning, "http://127.0.0.1:8443 is asked without TLS",
        (CONFIG, "authority ="), |good| {
            let cloud = "[cloud]\nname = \"custom\"\nauthority = \"http://127.0.0.1:8443\"\n\
                resource_manager = \"https://a.example\"\nresource_graph = \"https://a.example\"\n\
                imds = \"http://169.254.169.254\"\n";
            good.replace(CONFIG, "[cloud]\n", cloud);
        };
    a_site_that_no_nodeset_uses: Warning, "no nodeset uses site east",
        (CONFIG, "[site.east]"), |good| good.append(CONFIG, &site("east", "a"));
    two_sites_that_are_one: Warning, "site second is the same place as first",
        (CONFIG, "[site.second]"), |good| {
            good.append(CONFIG, &(site("first", "a") + &site("second", "A")));
            let sites = "sites = [\"west\", \"north\"]";
            good.replace(CONFIG, sites, "sites = [\"west\", \"north\", \"first\", \"second\"]");
        };
    a_nodeset_in_no_partition: Warning, "nodeset spot is in no partition",
        (CONFIG, "[nodeset.spot]"), |good| {
            good.replace(CONFIG, "[partition.spot]\nnodesets = [\"spot\"]\n", "");
        };
    no_default_partition: Note, "no partition is the default",
        (CONFIG, "[partition.gpu]"), |good| good.replace(CONFIG, "default = true\n", "");
    a_partition_over_two_regions: Warning, "northeurope and westeurope together",
        (CONFIG, "nodesets = [\"spot\", \"htc\"]"), |good| {
            good.replace(CONFIG, "nodesets = [\"spot\"]", "nodesets = [\"spot\", \"htc\"]");
            let spot = "nodes = \"spot-[1-20]\"\nsites = [\"west\"]";
            good.replace(CONFIG, spot, "nodes = \"spot-[1-20]\"\nsites = [\"north\"]");
            // Regular, so that only the regions differ; and what the size has is not known there.
            good.replace(CONFIG, "priority = \"spot\"\neviction_policy = \"delete\"\n", "");
            good.replace("/etc/azslurm/azslurm-sizes.json", "\"westeurope\":", "\"nowhere\":");
            good.replace(NODES, "Nodes=spot SuspendTime", "Nodes=spot,htc SuspendTime");
        };
    a_partition_with_infiniband_and_without: Warning, "with InfiniBand and without together",
        (CONFIG, "nodesets = [\"hb\", \"htc\"]"), |good| {
            good.replace(CONFIG, "nodesets = [\"hb\"]", "nodesets = [\"hb\", \"htc\"]");
            good.replace(NODES, "Nodes=hb SuspendTime", "Nodes=hb,htc SuspendTime");
        };
    a_partition_of_spot_and_others: Note, "Spot nodes and others together",
        (CONFIG, "nodesets = [\"spot\", \"htc\"]"), |good| {
            good.replace(CONFIG, "nodesets = [\"spot\"]", "nodesets = [\"spot\", \"htc\"]");
            good.replace(NODES, "Nodes=spot SuspendTime", "Nodes=spot,htc SuspendTime");
        };
    infiniband_nodes_that_go_after_each_job: Warning, "powered down after each job",
        (CONFIG, "options ="),
        |good| good.replace(CONFIG, "\"MaxTime=2-00:00:00\"", "\"PowerDownOnIdle=YES\"");
    jobs_that_are_spread_over_all_nodes: Warning, "as many nodes as there are (LLN)",
        (CONFIG, "options ="), |good| good.replace(CONFIG, "\"MaxTime=2-00:00:00\"", "\"LLN=yes\"");
    a_partition_that_is_down: Warning, "the partition is DOWN", (CONFIG, "options ="),
        |good| good.replace(CONFIG, "\"MaxTime=2-00:00:00\"", "\"State=DOWN\"");
    cores_for_less_than_a_node: Error, "cores_max is 100, and one node of hb has 120",
        (CONFIG, "cores_max = 100"),
        |good| good.replace(CONFIG, "cores_max = 7680", "cores_max = 100");
    cores_for_less_than_a_block: Error, "cores_max is 3000, and one block of hb has 3840",
        (CONFIG, "cores_max = 3000"),
        |good| good.replace(CONFIG, "cores_max = 7680", "cores_max = 3000");
    cores_for_less_than_all_nodes: Note, "cores_max is 5000, and all nodes of hb have 7680",
        (CONFIG, "cores_max = 5000"),
        |good| good.replace(CONFIG, "cores_max = 7680", "cores_max = 5000");
    a_site_with_cores_for_less_than_a_block: Error, "cores_max is 1200, and one block of hb",
        (CONFIG, "cores_max = 1200"),
        |good| good.replace(CONFIG, "cores_max = 8000", "cores_max = 1200");
    a_last_block_that_is_smaller: Note, "the last block of hb has 16 nodes, and the others 24",
        (CONFIG, "block_nodes"), |good| {
            good.replace(CONFIG, "block_nodes = 32", "block_nodes = 24");
            blocks(good, &["hb-[01-24]", "hb-[25-48]", "hb-[49-64]"]);
        };
    blocks_of_one_node: Warning, "each node of hb is a block of its own",
        (CONFIG, "block_nodes"), |good| {
            good.replace(CONFIG, "block_nodes = 32", "block_nodes = 1");
            let nodes: Vec<String> = (1..=64).map(|n| format!("hb-{n:02}")).collect();
            let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
            blocks(good, &nodes);
        };
    infiniband_that_is_not_used: Warning, "has InfiniBand, and interconnect is \"none\"",
        (CONFIG, "sku = \"Standard_HB120rs_v3\""), |good| {
            let words = "interconnect = \"infiniband\"\nblock_nodes = 32\n";
            good.replace(CONFIG, words, "");
            good.replace(NODES, ",infiniband", "");
        };
    spot_vms_that_stay_when_they_are_taken: Warning, "are kept, switched off",
        (CONFIG, "eviction_policy"), |good| {
            good.replace(CONFIG, "policy = \"delete\"", "policy = \"deallocate\"");
        };
    several_sites_and_no_way_to_them: Note, "hb never goes to north",
        (CONFIG, "spill"), |good| {
            good.replace(CONFIG, "\"next-site\"", "\"never\"");
            good.replace(NODES, ",infiniband", ",westeurope,infiniband");
        };
    one_zone_only: Note, "must be in zone 2",
        (CONFIG, "zones"), |good| good.replace(CONFIG, "[\"1\", \"2\", \"3\"]", "[\"2\"]");
    the_latest_image: Note, "gpu takes the latest version of its image",
        (CONFIG, "image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\""), |good| {
            good.replace_first(CONFIG, "22.04.2025030701", "latest");
        };
    hard_disks: Warning, "the OS disks of htc are hard disks",
        (CONFIG, "type = \"Standard_LRS\""),
        |good| good.replace(CONFIG, "\"StandardSSD_LRS\"", "\"Standard_LRS\"");
    no_accelerated_networking: Warning, "htc has no accelerated networking",
        (CONFIG, "accelerated_networking"), |good| {
            let line = "memory_margin_percent = 8\n";
            good.replace(CONFIG, line, &format!("{line}accelerated_networking = false\n"));
        };
    no_memory_margin: Warning, "the memory margin of htc is 0 %",
        (CONFIG, "memory_margin_percent"),
        |good| good.replace(CONFIG, "margin_percent = 8", "margin_percent = 0");
    all_of_the_memory: Error, "real_memory_mb of htc is 16384, and Standard_D4s_v5 has 16384",
        (CONFIG, "real_memory_mb"), |good| {
            good.replace(CONFIG, "memory_margin_percent = 8", "real_memory_mb = 16384");
        };
    more_cpus_than_there_are: Error, "cpus of htc is 8, and Standard_D4s_v5 has 4",
        (CONFIG, "cpus"), |good| {
            good.replace(
                CONFIG,
                "memory_margin_percent = 8",
                "memory_margin_percent = 8\ncpus = 8",
            );
            good.replace(
                NODES,
                "CPUs=4 Sockets=1 CoresPerSocket=2 ThreadsPerCore=2 RealMemory=15074",
                "CPUs=8 RealMemory=15074",
            );
        };
    more_gpus_than_there_are: Error, "gres of gpu has 8 GPUs, and Standard_NC96ads_A100_v4 has 4",
        (CONFIG, "gres"), |good| {
            good.replace(CONFIG, "gpu:a100:4", "gpu:a100:8");
            good.replace(NODES, "gpu:a100:4", "gpu:a100:8");
        };
    fewer_gpus_than_there_are: Warning, "gres of gpu has 2 GPUs", (CONFIG, "gres"), |good| {
        good.replace(CONFIG, "gpu:a100:4", "gpu:a100:2");
        good.replace(NODES, "gpu:a100:4", "gpu:a100:2");
    };
    a_node_that_is_the_controller: Error, "htc-001 of htc is the controller as well",
        (CONFIG, "nodes = \"htc"),
        |good| good.replace(
            CONFIG,
            "controller = \"head1\"",
            "controller = \"htc-001.hpc.internal\"",
        );
    nodes_that_differ_by_a_zero: Warning, "spot-[1-2,01-02] differ only by zeros",
        (CONFIG, "nodes = \"spot"), |good| {
            good.replace(CONFIG, "\"spot-[1-20]\"", "\"spot-[1-20],spot-[01-02]\"");
            for file in [NODES, "/etc/slurm/azslurm-topology.conf"] {
                good.replace(file, "spot-[1-20]", "spot-[1-20],spot-[01-02]");
            }
        };
    too_little_time_to_boot: Warning,
        "resume_timeout_seconds is 350, and 100 nodes of htc may need 600",
        (CONFIG, "resume_timeout_seconds"), |good| {
            let line = "controller = \"head1\"\n";
            good.replace(CONFIG, line, &format!("{line}resume_timeout_seconds = 350\n"));
        };
    requests_that_outlast_the_resume: Warning, "20 tries of 600 s each",
        (CONFIG, "request_timeout_seconds"), |good| {
            good.append(CONFIG, "[limits]\nrequest_timeout_seconds = 600\ntries = 20");
        };
    few_requests_for_many_nodes: Warning, "requests_in_flight is 2, and there are 186 nodes",
        (CONFIG, "requests_in_flight"),
        |good| good.append(CONFIG, "[limits]\nrequests_in_flight = 2");
    more_requests_than_are_of_use: Note, "requests_in_flight is 500",
        (CONFIG, "requests_in_flight"),
        |good| good.append(CONFIG, "[limits]\nrequests_in_flight = 500");
    nodes_that_go_before_the_next_job: Warning, "deleted after 30 s without a job",
        (CONFIG, "suspend_time_seconds = 30"),
        |good| good.replace(CONFIG, "suspend_time_seconds = 600", "suspend_time_seconds = 30");
    nodes_that_are_idle_for_a_day: Warning, "paid for 86400 s after their last job",
        (CONFIG, "suspend_time_seconds = 86400"),
        |good| good.replace(CONFIG, "suspend_time_seconds = 300", "suspend_time_seconds = 86400");
    a_short_suspend_timeout_in_the_config: Warning, "suspend_timeout_seconds is 30",
        (CONFIG, "suspend_timeout_seconds"), |good| {
            good.replace(CONFIG, "[power]\n", "[power]\nsuspend_timeout_seconds = 30\n");
        };
    a_daemon_that_seldom_looks: Warning, "azslurm-sync looks every 600 s only",
        (CONFIG, "interval_seconds"), |good| good.append(CONFIG, "[sync]\ninterval_seconds = 600");
    a_log_of_faults_only: Warning, "the log tells no decision",
        (CONFIG, "level"), |good| good.replace(CONFIG, "level = \"info\"", "level = \"error\"");
    a_log_of_everything: Note, "the log tells everything",
        (CONFIG, "level"), |good| good.replace(CONFIG, "level = \"info\"", "level = \"debug\"");
}

const NODES: &str = "/etc/slurm/azslurm-nodes.conf";

/// Other blocks in the topology than the good ones.
fn blocks(good: &mut crate::good::Good, blocks: &[&str]) {
    let path = "/etc/slurm/azslurm-topology.conf";
    let kept: Vec<String> = good.texts[std::path::Path::new(path)]
        .lines()
        .filter(|line| !line.contains("=hb-b"))
        .map(str::to_owned)
        .collect();
    let ours = blocks.iter().enumerate();
    let ours = ours.map(|(at, nodes)| format!("SwitchName=hb-b{} Nodes={nodes}", at + 1));
    let lines: Vec<String> = kept.into_iter().chain(ours).collect();
    good.texts.insert(path.into(), lines.join("\n"));
}
