//! The user data as a text: what is in it for each kind of config, and what never is. That it
//! works is shown by `tests/programs/node_init.rs` and `tests/e2e/node_init.rs`.

use azslurm_conf::node_init::{NodeInitError, is_ours, is_stale, user_data};
use azslurm_core::NodesetName;
use azslurm_core::config::{self, Config};

const PLAIN: &str = "[cluster]\nname = \"demo\"\n[slurm]\ncontroller = \"head\"\n[site.west]\n\
    subscription = \"11111111-1111-1111-1111-111111111111\"\nregion = \"westeurope\"\n\
    resource_group = \"hpc\"\nsubnet = \"/subscriptions/11111111-1111-1111-1111-111111111111/\
    resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/s\"\n";
const NODESET: &str = "sites = [\"west\"]\nsku = \"Standard_HB120rs_v3\"\n\
    image = \"almalinux:almalinux-hpc:8_10-hpc-gen2:latest\"\nssh_public_key_file = \"/k\"\n";
const IDENTITIES: &str = "identities = [\"/subscriptions/11111111-1111-1111-1111-111111111111/\
    resourceGroups/hpc/providers/Microsoft.ManagedIdentity/userAssignedIdentities/node\"]\n";
const SECRET: &str = "munge_key_secret = \"https://hpc.vault.azure.net/secrets/munge\"\n";
const MOUNTS: &str = "[mount.z]\ntype = \"nfs\"\nsource = \"s:/v\"\npath = \"/shared\"\n\
    [mount.a]\ntype = \"lustre\"\nsource = \"10.0.2.4@tcp:/fs\"\npath = \"/shared/fast\"\n\
    [mount.other]\ntype = \"nfs\"\nsource = \"s:/w\"\npath = \"/w\"\nnodesets = [\"b\"]\n";

/// Nodesets `a` with these keys and `b`, and tables behind them.
fn config(keys: &str, tables: &str) -> Config {
    let a = format!("[nodeset.a]\nnodes = \"a-[1-40]\"\n{NODESET}{keys}");
    let b = format!("[nodeset.b]\nnodes = \"b-1\"\n{NODESET}");
    let text = format!("{PLAIN}{a}{b}{tables}");
    config::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn name(text: &str) -> NodesetName {
    text.parse().expect("it is a nodeset's name")
}

fn made(keys: &str, tables: &str) -> String {
    user_data(&config(keys, tables), &name("a")).expect("it is whole")
}

/// The steps that the script goes through, as it calls them.
fn steps(text: &str) -> String {
    let calls = text.lines().filter_map(|line| line.trim().strip_prefix("step "));
    let names: Vec<&str> = calls.filter_map(|call| call.split(' ').next()).collect();
    names.join(" ")
}

#[test]
fn the_steps_are_those_that_the_config_means_in_the_order_that_each_needs() {
    let infiniband = "interconnect = \"infiniband\"\nblock_nodes = 16\n";
    for (keys, tables, expected) in [
        ("", "", "hosts munge slurmctld scratch program agent slurmd"),
        ("", "[node_init]\nscratch = \"\"\nprogram = \"\"\n", "hosts munge slurmctld slurmd"),
        (
            IDENTITIES,
            &format!("[node_init]\n{SECRET}packages = [\"munge\"]\n{MOUNTS}"),
            "hosts packages munge slurmctld mounts scratch program agent slurmd",
        ),
        // The key is on a mount: nobody can be told of one that fails.
        (
            "",
            &format!("[node_init]\nmunge_key_file = \"/shared/key\"\n{MOUNTS}"),
            "hosts mounts munge slurmctld scratch program agent slurmd",
        ),
        (infiniband, "", "hosts munge slurmctld scratch program infiniband agent slurmd"),
    ] {
        let text = made(keys, tables);
        assert_eq!(steps(&text), expected);
        for (number, step) in expected.split(' ').enumerate() {
            let line = format!("#   {:2} {step:10} ", number + 1);
            assert!(text.contains(&line), "the head tells what {step} does and costs: {text}");
        }
        assert!(text.len() < 64 * 1024 && text.starts_with("#cloud-config\n") && is_ours(&text));
        assert_eq!(text, made(keys, tables), "the same config gives the same bytes");
    }
}

#[test]
fn names_are_put_in_by_resume_at_one_place_each_and_in_no_word_of_the_shells() {
    let text = made("", "[node_init]\nconf_server = \"h1:6817,h2\"\n");
    assert!(text.contains("\n    NODE='{node}'\n    CLUSTER='{cluster}'\n"), "{text}");
    assert!(text.contains("\n    CONF_SERVER='h1:6817,h2'\n"), "{text}");
    assert!(made("", "").contains("\n    CONF_SERVER='{controller}:6817'\n"));
    for text in [text, made("", "")] {
        for (placeholder, at_most) in
            [("{node}", 1), ("{cluster}", 1), ("{controller}", 1), ("{nodeset}", 0)]
        {
            assert!(text.matches(placeholder).count() <= at_most, "{placeholder}: {text}");
        }
        assert!(!text.contains("${node") && text.is_ascii());
    }
}

#[test]
fn a_nodeset_mounts_what_is_its_own_a_folder_before_what_is_inside_it() {
    let text = made("", &format!("[node_init]\n{MOUNTS}"));
    let mounting: Vec<&str> = text.lines().filter(|line| line.contains("\" mount_one ")).collect();
    assert_eq!(
        mounting,
        [
            "    \tuntil_done \"$WAIT\" mount_one nfs s:/v /shared \
             vers=4.1,hard,nconnect=4,noatime || return 1",
            "    \tuntil_done \"$WAIT\" mount_one lustre 10.0.2.4@tcp:/fs /shared/fast \
             noatime,flock || return 1",
        ]
    );
}

#[test]
fn the_token_is_for_the_vault_and_for_the_nodesets_own_identity() {
    let text = made(IDENTITIES, &format!("[node_init]\n{SECRET}"));
    assert!(text.contains("MUNGE_SECRET='https://hpc.vault.azure.net/secrets/munge'"), "{text}");
    let url = "TOKEN_URL='http://169.254.169.254/metadata/identity/oauth2/token\
        ?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net&msi_res_id=%2Fsubscriptions";
    assert!(text.contains(url) && text.contains("userAssignedIdentities%2Fnode'"), "{text}");
}

#[test]
fn infiniband_is_checked_with_the_blocks_of_the_config() {
    let text = made("interconnect = \"infiniband\"\nblock_nodes = 16\n", "");
    assert!(text.contains("BLOCK_NODES='a-[1-40]'\n    BLOCK_SIZE='16'"), "{text}");
    assert!(text.find("step infiniband") < text.find("step slurmd"));
}

#[test]
fn the_agents_unit_has_the_programs_place_and_options() {
    let text = made("", "[node_init]\nprogram = \"/shared/bin/sync\"\nagent_options = \"--x 1\"\n");
    let unit = text.split_once("azslurm-node-agent.service").expect("it has the unit").1;
    assert!(unit.contains("ExecStart=/shared/bin/sync node-agent $NODE_AGENT_OPTIONS\n"), "{unit}");
    assert!(unit.contains("Environment=\"NODE_AGENT_OPTIONS=--x 1\"\n"), "{unit}");
    assert!(unit.contains("Environment=SLURM_CONF=/run/azslurm/slurm.conf\n"), "{unit}");
    let none = made("", "[node_init]\nprogram = \"\"\n");
    assert!(!none.contains("azslurm-node-agent.service"), "{none}");
}

#[test]
fn what_the_nodes_could_not_do_is_refused_with_a_way_out() {
    let refusal = |config: &Config, nodeset| {
        user_data(config, &name(nodeset)).expect_err("it cannot work").to_string()
    };
    let unknown = refusal(&config("", ""), "c");
    assert_eq!(unknown, "c: the config has the nodesets a, b");
    let secret = config("", &format!("[node_init]\n{SECRET}"));
    assert_eq!(user_data(&secret, &name("a")), Err(NodeInitError::NoIdentity(name("a"))));
    let mut nobody = config("", "");
    nobody.slurm.controller.clear();
    assert!(refusal(&nobody, "a").starts_with("[slurm] controller is missing"));
    let unchecked = config("interconnect = \"infiniband\"\n", "[node_init]\nprogram = \"\"\n");
    assert!(refusal(&unchecked, "a").contains("nodeset a has InfiniBand"));
    let many: Vec<String> = (0..3000).map(|n| format!("\"10.0.0.4 name-of-server-{n}\"")).collect();
    let long = config("", &format!("[node_init]\nhosts = [{}]\n", many.join(", ")));
    assert!(matches!(user_data(&long, &name("a")), Err(NodeInitError::TooLong(_))));
}

#[test]
fn user_data_is_stale_when_the_config_means_another_and_only_ours_is_judged() {
    let (before, after) = (config("", ""), config("", "[node_init]\nwait_seconds = 60\n"));
    let text = user_data(&before, &name("a")).expect("it is whole");
    assert!(!is_stale(&before, &name("a"), &text) && is_stale(&after, &name("a"), &text));
    let theirs = "#cloud-config\n# by hand\npackages: [munge]\n";
    assert!(!is_ours(theirs) && !is_stale(&after, &name("a"), theirs));
}
