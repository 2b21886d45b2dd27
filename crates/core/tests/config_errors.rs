//! Every way in which a config can be wrong, with the exact line that a person reads. Each case
//! changes one thing in a config that is fine.

use azslurm_core::config::{self, Config, ConfigErrors};

/// A config that is fine, with the keys that are needed and no other.
const FINE: &str = concat!(
    r#"[cluster]
name = "demo"

[site.west]
subscription = "11111111-1111-1111-1111-111111111111"
region = "westeurope"
resource_group = "hpc"
subnet = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/net"#,
    r#"/providers/Microsoft.Network/virtualNetworks/v/subnets/s"

[nodeset.htc]
nodes = "htc-[1-4]"
sites = ["west"]
sku = "Standard_D4s_v5"
image = "publisher:offer:sku:latest"
ssh_public_key_file = "/etc/azslurm/admin.pub"
"#
);

fn errors_of(text: &str) -> ConfigErrors {
    config::parse(text).expect_err("this config is wrong")
}

/// What is said when `from` in the fine config reads `to`.
fn said(from: &str, to: &str) -> String {
    assert_eq!(FINE.matches(from).count(), 1, "{from:?} is there once");
    errors_of(&FINE.replace(from, to)).to_string()
}

/// What is said when lines are added at the end, which is the table `[nodeset.htc]`.
fn said_with(added: &str) -> String {
    errors_of(&format!("{FINE}{added}\n")).to_string()
}

fn fine_with(added: &str) -> Config {
    let text = format!("{FINE}{added}\n");
    config::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// Ends in `…` when only the beginning matters.
fn assert_says(found: &str, wanted: &str) {
    match wanted.strip_suffix('…') {
        Some(beginning) => assert!(found.starts_with(beginning), "{found}\nwanted: {wanted}"),
        None => assert_eq!(found, wanted),
    }
}

#[test]
fn the_fine_config_is_fine() {
    let config = fine_with("");
    assert_eq!(config.nodesets.len(), 1);
    assert!(!config.holds_secret());
}

#[test]
fn a_text_that_is_not_toml_names_its_places() {
    assert_says(
        &errors_of("[cluster\nname = \"x\"\n").to_string(),
        "1:9: not TOML: unclosed table…",
    );
    let duplicate = errors_of("[cluster]\nname = 'a'\nname = 'b'\n").to_string();
    assert_says(&duplicate, "3:1: not TOML: duplicate key");
    let secret = errors_of("[credential]\nclient_secret = hunter2\n").to_string();
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn an_unknown_key_or_table_is_an_error_with_what_was_probably_meant() {
    assert_says(
        &said("region = ", "regoin = \"x\"\nregion = "),
        "6:1: site.west.regoin: is not known; did you mean \"region\"?",
    );
    assert_says(
        &said_with("[nodesets.x]"),
        "16:2: nodesets: is not known; did you mean \"nodeset\"?",
    );
    assert_says(
        &said("name = \"demo\"", "name = \"demo\"\nbin_dir = \"/usr/bin\""),
        "3:1: cluster.bin_dir: is not known; it belongs in [slurm]",
    );
    assert_says(&said_with("[weather]"), "16:2: weather: is not known");
}

#[test]
fn a_missing_key_names_its_table_and_line() {
    assert_says(
        &said("region = \"westeurope\"\n", ""),
        "4:1: site.west.region: is missing: [site.west] needs it",
    );
    assert_says(
        &said("name = \"demo\"\n", ""),
        "1:1: cluster.name: is missing: [cluster] needs it",
    );
    let all = errors_of("").to_string();
    assert_says(
        &all,
        "1:1: cluster.name: is missing: [cluster] needs it\n\
         1:1: site: is missing: at least one table [site.NAME] is needed\n\
         1:1: nodeset: is missing: at least one table [nodeset.NAME] is needed",
    );
    assert_says(
        &said("ssh_public_key_file = \"/etc/azslurm/admin.pub\"\n", ""),
        "10:1: nodeset.htc.ssh_public_key_file: is missing: the path of a public key file…",
    );
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_text() {
    let text = FINE
        .replace("\"demo\"", "\"De mo\"")
        .replace("westeurope", "West Europe")
        .replace("[1-4]", "[4-1]")
        .replace("[\"west\"]", "[\"wst\"]");
    let errors = errors_of(&text);
    let lines: Vec<usize> = errors.as_slice().iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 6, 11, 12], "{errors}");
    let rendered = errors.render("/etc/azslurm/azslurm.toml");
    assert!(
        rendered.starts_with(
            "/etc/azslurm/azslurm.toml:2:8: cluster.name: \"De mo\" is not a cluster name"
        ),
        "{rendered}"
    );
    assert_eq!(rendered.lines().count(), 4);
}

#[test]
fn values_of_sites_are_checked() {
    let cases = [
        (
            "\"westeurope\"",
            "\"West Europe\"",
            "6:10: site.west.region: \"West Europe\" is not a region…",
        ),
        (
            "\"westeurope\"",
            "5",
            "6:10: site.west.region: text in quotes is wanted here, not the number 5",
        ),
        (
            "\"hpc\"",
            "\"hpc.\"",
            "7:18: site.west.resource_group: \"hpc.\" is not the name of a resource…",
        ),
        (
            "subscription = \"1",
            "subscription = \"x",
            "5:16: site.west.subscription: \"x1111111-1111…",
        ),
        (
            "/subnets/s",
            "",
            "8:10: site.west.subnet: \"/subscriptions/11111111-1111-1111-1111-111111111111…",
        ),
        (
            "/subnets/s",
            "/subnets/s/",
            "8:10: site.west.subnet: \"/subscriptions/11111111-1111-1111-1111-1…",
        ),
        (
            "subnet = \"/subscriptions/1",
            "subnet = \"/subscriptions/2",
            "8:10: site.west.subnet: is in subscription 21111111-1111-1111-1111-111111111111, …",
        ),
        (
            "[site.west]",
            "[site.West]",
            "4:7: site.West: \"West\" is not a site name: lower-case letters…",
        ),
    ];
    for (from, to, wanted) in cases {
        assert_says(&said(from, to), wanted);
    }
}

#[test]
fn values_of_nodesets_are_checked() {
    let cases = [
        (
            "htc-[1-4]",
            "htc-[1-4],x[3-1]",
            "11:9: nodeset.htc.nodes: \"htc-[1-4],x[3-1]\" is not a host list: at \
             character 13, \"3-1\" \
             runs downwards: write the lower number first",
        ),
        ("htc-[1-4]", "", "11:9: nodeset.htc.nodes: names no node"),
        (
            "htc-[1-4]",
            "HTC-[1-4]",
            "11:9: nodeset.htc.nodes: HTC-[1-4] cannot be VMs: their names…",
        ),
        ("htc-[1-4]", "htc-[1-4,3-5]", "11:9: nodeset.htc.nodes: htc-[3-4] twice in the list"),
        (
            "[\"west\"]",
            "[\"wset\"]",
            "12:10: nodeset.htc.sites[0]: \"wset\" is not a site: did you mean \"west\"?",
        ),
        (
            "[\"west\"]",
            "[\"mars\"]",
            "12:10: nodeset.htc.sites[0]: \"mars\" is not a site: there are west",
        ),
        (
            "[\"west\"]",
            "[\"west\", \"west\"]",
            "12:18: nodeset.htc.sites[1]: \"west\" is there twice",
        ),
        ("[\"west\"]", "[]", "12:9: nodeset.htc.sites: is empty: at least one is needed"),
        ("[\"west\"]", "\"west\"", "12:9: nodeset.htc.sites: a list of texts, […"),
        ("Standard_D4s_v5", "D4 v5", "13:7: nodeset.htc.sku: \"D4 v5\" is not a VM size…"),
        (
            "publisher:offer:sku:latest",
            "publisher:offer:sku",
            "14:9: nodeset.htc.image: \"publisher:off…",
        ),
        (
            "\"/etc/azslurm/admin.pub\"",
            "\"admin.pub\"",
            "15:23: nodeset.htc.ssh_public_key_file: \"admin.pub\" is not \
          an absolute path: begin it with '/'",
        ),
        ("[nodeset.htc]", "[nodeset.H_TC]", "10:10: nodeset.H_TC: \"H_TC\" is not a nodeset name…"),
    ];
    for (from, to, wanted) in cases {
        assert_says(&said(from, to), wanted);
    }
}

#[test]
fn zones_prices_and_what_excludes_one_another_are_checked() {
    let cases = [
        (
            "zones = [\"1\", \"10\"]",
            "16:15: nodeset.htc.zones[1]: \"10\" is not an availability zone…",
        ),
        (
            "zones = [1]",
            "16:10: nodeset.htc.zones[0]: text in quotes is wanted here, not the number 1",
        ),
        (
            "priority = \"sport\"",
            "16:12: nodeset.htc.priority: \"sport\" is not one of \"regular\", \"spot\"; did you \
          mean \"spot\"?",
        ),
        ("max_price = 0.1", "16:13: nodeset.htc.max_price: is for priority = \"spot\" only"),
        (
            "eviction_policy = \"delete\"",
            "16:19: nodeset.htc.eviction_policy: is for priority = \"spot\" only",
        ),
        ("priority = \"spot\"\nmax_price = 0", "17:13: nodeset.htc.max_price: 0 is not a price…"),
        (
            "priority = \"spot\"\nmax_price = 0.1234567",
            "17:13: nodeset.htc.max_price: 0.1234567 is not a price…",
        ),
        (
            "priority = \"spot\"\nmax_price = nan",
            "17:13: nodeset.htc.max_price: a number is wanted here…",
        ),
        (
            "priority = \"spot\"\nmax_price = \"1\"",
            "17:13: nodeset.htc.max_price: a number is wanted here…",
        ),
        (
            "block_nodes = 16",
            "16:15: nodeset.htc.block_nodes: is for interconnect = \"infiniband\" only…",
        ),
        (
            "interconnect = \"infiniband\"\nblock_nodes = 201",
            "17:15: nodeset.htc.block_nodes: 201 is not between 1 and 200",
        ),
        (
            "interconnect = \"infiniband\"\nzone_policy = \"spread\"",
            "17:15: nodeset.htc.zone_policy: is for zones…",
        ),
        ("zone_policy = \"even\"", "16:15: nodeset.htc.zone_policy: \"even\" is not…"),
        ("spill = \"always\"", "16:9: nodeset.htc.spill: \"always\" is not…"),
        ("cores_max = 0", "16:13: nodeset.htc.cores_max: 0 is not between 1 and…"),
        (
            "priority = \"spot\"\ninterconnect = \"infiniband\"",
            "17:16: nodeset.htc.interconnect: \"infiniband\" needs an availability set, and \
             Azure takes no \
             Spot VM into one: use priority = \"regular\", or interconnect = \"none\"…",
        ),
        (
            "zones = [\"1\"]\ninterconnect = \"infiniband\"",
            "16:9: nodeset.htc.zones: interconnect = \"infiniband\"…",
        ),
        (
            "priority = \"spot\"\neviction_policy = \"deallocate\"\n\
             os_disk = { ephemeral = \"cache-disk\" }",
            "17:19: nodeset.htc.eviction_policy: \"deallocate\" is impossible with an ephemeral…",
        ),
    ];
    for (added, wanted) in cases {
        assert_says(&said_with(added), wanted);
    }
}

#[test]
fn images_accounts_disks_and_tags_of_nodesets_are_checked() {
    let cases = [
        ("image_plan = \"a:b\"", "16:14: nodeset.htc.image_plan: \"a:b\" is not a purchase plan…"),
        (
            "admin_username = \"root\"",
            "16:18: nodeset.htc.admin_username: \"root\" is a name that Azure refuses…",
        ),
        (
            "admin_username = \"Ann\"",
            "16:18: nodeset.htc.admin_username: \"Ann\" is not a user name…",
        ),
        (
            "ssh_public_key = \"x\"",
            "15:23: nodeset.htc.ssh_public_key_file: goes not together with ssh_public_key…",
        ),
        (
            "identities = [\"me\"]",
            "16:15: nodeset.htc.identities[0]: \"me\" is not a resource id: /subscriptions/ID/…",
        ),
        (
            "capacity_reservation_group = \"/subscriptions/11111111-1111-1111-1111-111111111111\
             /resourceGroups/g/providers/Microsoft.Compute/images/i\"",
            "16:30: nodeset.htc.capacity_reservation_group: \"/subscriptions/…",
        ),
        (
            "accelerated_networking = 1",
            "16:26: nodeset.htc.accelerated_networking: true or false is wanted here…",
        ),
        (
            "os_disk = { size_gb = 0 }",
            "16:23: nodeset.htc.os_disk.size_gb: 0 is not between 1 and 4095",
        ),
        (
            "os_disk = { size_gb = -1 }",
            "16:23: nodeset.htc.os_disk.size_gb: -1 is not between 1 and 4095",
        ),
        (
            "os_disk = { type = \"Fast\" }",
            "16:20: nodeset.htc.os_disk.type: \"Fast\" is not one of \"Standard_LRS\"…",
        ),
        (
            "os_disk = 3",
            "16:11: nodeset.htc.os_disk: a table [nodeset.NAME.os_disk] is wanted here",
        ),
        (
            "[nodeset.htc.tags]\nazslurm-x = \"y\"",
            "17:13: nodeset.htc.tags.azslurm-x: begins with \"azslurm-\"…",
        ),
        (
            "[nodeset.htc.tags]\n\"a/b\" = \"y\"",
            "17:9: nodeset.htc.tags.\"a/b\": holds '/': Azure allows none…",
        ),
        (
            "[nodeset.htc.tags]\na = \"y\"\nA = \"z\"",
            "17:5: nodeset.htc.tags.a: is there twice: Azure compares…",
        ),
        (
            "[nodeset.htc.tags]\na = 1",
            "17:5: nodeset.htc.tags.a: text in quotes is wanted here, not the number 1",
        ),
    ];
    for (added, wanted) in cases {
        assert_says(&said_with(added), wanted);
    }
}

#[test]
fn limits_of_tags_are_azures() {
    let long = format!("[nodeset.htc.tags]\na = \"{}\"", "x".repeat(257));
    assert!(said_with(&long).contains("is too long for a tag: at most 256 characters"));
    let many: String = (0..41).map(|index| format!("t{index} = \"v\"\n")).collect();
    assert_says(
        &said_with(&format!("[nodeset.htc.tags]\n{many}")),
        "16:1: nodeset.htc.tags: 41 tags: at most 40…",
    );
}

#[test]
fn a_node_is_in_one_nodeset() {
    let second = FINE[FINE.find("[nodeset.htc]").unwrap()..]
        .replace("[nodeset.htc]", "[nodeset.other]")
        .replace("htc-[1-4]", "htc-[3-9]");
    assert_says(
        &said_with(&second),
        "17:9: nodeset.other.nodes: htc-[3-4] also in nodeset htc: one nodeset per node",
    );
}

#[test]
fn numbers_and_words_of_the_service_tables_are_checked() {
    let cases = [
        (
            "[slurm]\ncommand_timeout_seconds = 0",
            "17:27: slurm.command_timeout_seconds: 0 is not between 1 and 3600",
        ),
        (
            "[slurm]\nresume_timeout_seconds = \"1h\"",
            "17:26: slurm.resume_timeout_seconds: a whole number is wanted here, \
          not the text 1h",
        ),
        (
            "[slurm]\nbin_dir = \"bin\"",
            "17:11: slurm.bin_dir: \"bin\" is not an absolute path: begin it with '/'",
        ),
        (
            "[slurm]\ncontroller = \"$(id)\"",
            "17:14: slurm.controller: \"$(id)\" is not a host name…",
        ),
        (
            "[ledger]\nevents_days = 4000",
            "17:15: ledger.events_days: 4000 is not between 1 and 3650",
        ),
        (
            "[ledger]\nevents_max = 99999999999999999999",
            "17:14: ledger.events_max: 99999999999999999999 is not…",
        ),
        (
            "[log]\nlevel = \"trace\"",
            "17:9: log.level: \"trace\" is not one of \"error\", \"warn\", \"info\", \"debug\"…",
        ),
        (
            "[sync]\ninterval_seconds = 4",
            "17:20: sync.interval_seconds: 4 is not between 5 and 600",
        ),
        ("[sync]\ninterval = 30", "17:1: sync.interval: is not known"),
        (
            "[limits]\ntries = 2.5",
            "17:9: limits.tries: a whole number is wanted here, not the number 2.5",
        ),
        (
            "[limits]\nrequests_in_flight = 0x1000",
            "17:22: limits.requests_in_flight: 0x1000 is not between 1 and 1000",
        ),
    ];
    for (added, wanted) in cases {
        assert_says(&said_with(added), wanted);
    }
    assert_eq!(fine_with("[limits]\nrequests_in_flight = 0x10").limits.requests_in_flight, 16);
}

#[test]
fn endpoints_are_named_for_a_custom_cloud_alone_and_all_of_them() {
    assert_says(
        &said_with("[cloud]\nimds = \"http://127.0.0.1:80\""),
        "17:8: cloud.imds: is for name = \"custom\" only…",
    );
    assert_says(
        &said_with("[cloud]\nname = \"custom\"\nauthority = \"https://a\"\nimds = \"https://i\""),
        "16:1: cloud.resource_manager: is missing: [cloud] needs it\n\
         16:1: cloud.resource_graph: is missing: [cloud] needs it",
    );
    let with = |url: &str| {
        format!(
            "[cloud]\nname = \"custom\"\nauthority = \"{url}\"\n\
             resource_manager = \"https://arm.example:8443\"\n\
             resource_graph = \"https://arg\"\nimds = \"http://169.254.169.254\""
        )
    };
    for bad in [
        "ftp://a",
        "https://a/",
        "https://a/path",
        "https://u@a",
        "https://a:0",
        "https://a?b",
        "https://",
        "http://arm.example",
        "http://10.0.0.1",
        "login",
        "https://a:99999",
        "http://127.0.0.1.example",
    ] {
        let said = said_with(&with(bad));
        assert!(said.starts_with(&format!("18:13: cloud.authority: \"{bad}\" ")), "{said}");
    }
    for good in ["https://a", "http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:80"] {
        let endpoints = fine_with(&with(good)).cloud.endpoints;
        assert_eq!(endpoints.authority, good);
        assert_eq!(endpoints.audience, "https://arm.example:8443");
    }
}

#[test]
fn the_endpoints_of_azures_clouds_are_known() {
    let cases = [
        ("public", "https://login.microsoftonline.com", "https://management.azure.com"),
        ("usgov", "https://login.microsoftonline.us", "https://management.usgovcloudapi.net"),
        ("china", "https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
    ];
    for (name, authority, manager) in cases {
        let endpoints = fine_with(&format!("[cloud]\nname = \"{name}\"")).cloud.endpoints;
        let found = [&endpoints.authority, &endpoints.resource_manager, &endpoints.audience];
        assert_eq!(found, [authority, manager, manager]);
        assert_eq!(endpoints.resource_graph, manager);
        assert_eq!(endpoints.imds, "http://169.254.169.254");
    }
}

#[test]
fn a_hundred_thousand_nodes_are_read_and_compared() {
    let second = FINE[FINE.find("[nodeset.htc]").unwrap()..]
        .replace("[nodeset.htc]", "[nodeset.other]")
        .replace("htc-[1-4]", "b[1-50000]");
    let text = FINE.replace("htc-[1-4]", "a[1-50000]") + &second;
    let config = config::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.nodesets.values().map(|nodeset| nodeset.nodes.len()).sum::<usize>(), 100_000);
    let node = "b40000".parse().unwrap();
    assert_eq!(config.nodeset_of(&node).map(|(name, _)| name.as_str()), Some("other"));
}

#[test]
fn what_nodes_do_at_their_boot_is_checked() {
    for (added, wanted) in [
        (
            "[node_init]\nmunge_key_secret = \"hunter2\"",
            "17:20: node_init.munge_key_secret: \"hunter2\" is not a secret of Key Vault: \
             https://VAULT.vault.azure.net/secrets/NAME",
        ),
        (
            "[node_init]\nmunge_key_file = \"/k\"\n\
             munge_key_secret = \"https://v.vault.azure.net/secrets/k\"",
            "17:18: node_init.munge_key_file: goes not together with munge_key_secret: keep one",
        ),
        (
            "[node_init]\nhosts = [\"head\"]",
            "17:10: node_init.hosts[0]: \"head\" is not a line for /etc/hosts: an address and its \
             names, such as \"10.0.0.4 head\"",
        ),
        (
            "[node_init]\nscratch = \"/\"",
            "17:11: node_init.scratch: \"/\" is the root of all files: name a \
             folder, or \"\" for none",
        ),
        (
            "[node_init]\nwait_seconds = 5",
            "17:16: node_init.wait_seconds: 5 is not between 10 and 3600",
        ),
        ("[node_init]\nwait = 5", "17:1: node_init.wait: is not known…"),
        (
            "[mount.a]\ntype = \"nsf\"\nsource = \"s:/v\"\npath = \"/v\"",
            "17:8: mount.a.type: \"nsf\" is not one of \"nfs\", \"lustre\"; did you mean \"nfs\"?",
        ),
        (
            "[mount.a]\ntype = \"lustre\"\nsource = \"s:/v\"\npath = \"/v\"",
            "18:10: mount.a.source: \"s:/v\" is not a Lustre source: address@tcp:/name, such as \
             10.0.2.4@tcp:/lustrefs",
        ),
        (
            "[mount.a]\ntype = \"nfs\"\nsource = \"s:/v\"",
            "16:1: mount.a.path: is missing: [mount.a] needs it",
        ),
        (
            "[mount.a]\ntype = \"nfs\"\nsource = \"s:/v\"\npath = \"/usr\"",
            "19:8: mount.a.path: \"/usr\" cannot be mounted on: name a folder of its own, such as \
             /shared",
        ),
        (
            "[mount.a]\ntype = \"nfs\"\nsource = \"s:/v\"\npath = \"/v\"\nnodesets = [\"hct\"]",
            "20:13: mount.a.nodesets[0]: \"hct\" is not a nodeset: did you mean \"htc\"?",
        ),
        (
            "[mount.a]\ntype = \"nfs\"\nsource = \"s:/v\"\npath = \"/v\"\n\
             [mount.b]\ntype = \"nfs\"\nsource = \"s:/w\"\npath = \"/v\"\nnodesets = [\"htc\"]",
            "23:8: mount.b.path: is that of [mount.a] too, on the same nodes",
        ),
    ] {
        assert_says(&said_with(added), wanted);
    }
    let config = fine_with("[node_init]\nscratch = \"\"\nprogram = \"\"");
    assert_eq!((config.node_init.scratch, config.node_init.program), (None, None));
}
