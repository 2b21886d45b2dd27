//! What is rendered of a config: every byte of it is in golden files, which are read in review
//! (`UPDATE_GOLDEN=1 cargo test --test render` rewrites them).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use azslurm_conf::render::{self, Around, RenderError};
use azslurm_core::config::{self, Config, Region};
use azslurm_core::size::{Size, Sizes};
use azslurm_slurm::{Conf, SlurmVersion};

const OLD: SlurmVersion = SlurmVersion::new(22, 5, 8);
const NEW: SlurmVersion = SlurmVersion::new(24, 11, 5);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/render")
}

fn text() -> String {
    std::fs::read_to_string(folder().join("azslurm.toml")).expect("the config of the test")
}

fn parsed(text: &str) -> Config {
    config::parse(text).unwrap_or_else(|errors| panic!("{}", errors.render("azslurm.toml")))
}

/// `(region, name, vCPUs, threads, GiB, GPUs, price, Spot price)`.
type Row = (&'static str, &'static str, u32, u32, u64, u32, Option<f64>, Option<f64>);

const ROWS: [Row; 4] = [
    ("westeurope", "Standard_D4s_v5", 4, 2, 16, 0, Some(0.23), Some(0.046)),
    ("westeurope", "Standard_HB120rs_v3", 120, 1, 456, 0, Some(4.68), None),
    // A region in which it has less: what is rendered must hold in both.
    ("northeurope", "Standard_HB120rs_v3", 120, 1, 448, 0, Some(5.04), None),
    ("westeurope", "Standard_ND96isr_H100_v5", 96, 1, 1900, 8, None, None),
];

fn size((_, name, vcpus, threads, gib, gpus, price, price_spot): Row) -> Size {
    let family = if name.contains("HB") { "standardHBv3Family" } else { "family" };
    Size {
        name: name.to_owned(),
        family: family.to_owned(),
        vcpus,
        vcpus_available: vcpus,
        threads_per_core: threads,
        memory_mb: gib * 1024,
        gpus,
        is_rdma: name.contains("HB"),
        is_spot_capable: true,
        has_accelerated_networking: true,
        architecture: "x64".to_owned(),
        generations: vec!["V2".to_owned()],
        ephemeral_mb: BTreeMap::new(),
        zones: Vec::new(),
        zones_restricted: Vec::new(),
        is_offered: true,
        price,
        price_spot,
    }
}

fn sizes() -> Sizes {
    let mut sizes = Sizes::default();
    for row in ROWS {
        sizes.insert(&Region::new(row.0).expect("a region"), size(row));
    }
    sizes
}

fn rendered(text: &str, version: SlurmVersion) -> BTreeMap<&'static str, String> {
    render::files(&parsed(text), &sizes(), &Around::new(version, None)).expect("all is known")
}

#[test]
fn every_byte_is_as_it_was_read_in_review() {
    for (version, name) in [(OLD, "22.05"), (NEW, "24.11")] {
        for (file, text) in rendered(&text(), version) {
            let golden = folder().join(name).join(file);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::create_dir_all(golden.parent().expect("a folder")).expect("made");
                std::fs::write(&golden, &text).expect("written");
            }
            let kept = std::fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(text, kept, "{}", golden.display());
        }
    }
}

#[test]
fn topology_block_names_the_smallest_block_and_partitions_keep_jobs_to_one() {
    let text = text().replace("[slurm]\n", "[slurm]\ntopology = \"block\"\n");
    let files = rendered(&text, NEW);
    let lines: Vec<&str> =
        files[render::TOPOLOGY].lines().filter(|line| line.starts_with("Block")).collect();
    let wanted = [
        "BlockName=hb-b1 Nodes=hb-[01-04]",
        "BlockName=hb-b2 Nodes=hb-[05-08]",
        "BlockName=hb-b3 Nodes=hb-[09-10]",
        "BlockSizes=2",
    ];
    assert_eq!(lines, wanted);
    assert!(files[render::POWER].contains("\nTopologyPlugin=topology/block\n"));
    let partition = |text: &str, name: &str| {
        let nodes = rendered(text, NEW).remove(render::NODES).expect("nodes");
        let begin = format!("PartitionName={name} ");
        nodes.lines().find(|line| line.starts_with(&begin)).expect("it is there").to_owned()
    };
    assert!(partition(&text, "hpc").ends_with(" MaxNodes=4"));
    assert!(!partition(&text, "cloud").contains("MaxNodes"));
    let said =
        text.replace("nodesets = [\"hb\"]", "nodesets = [\"hb\"]\noptions = [\"MaxNodes=2\"]");
    assert!(partition(&said, "hpc").ends_with(" SuspendTime=300 MaxNodes=2"));
}

#[test]
fn the_same_is_rendered_twice_and_from_tables_in_another_order() {
    let mut tables: Vec<String> = Vec::new();
    for line in text().lines().skip(1) {
        match line.starts_with('[') {
            true => tables.push(format!("{line}\n")),
            false => {
                tables.iter_mut().last().map_or((), |last| last.push_str(&format!("{line}\n")))
            }
        }
    }
    let turned: String = tables.into_iter().rev().collect();
    assert_eq!(rendered(&text(), OLD), rendered(&text(), OLD));
    assert_eq!(rendered(&text(), OLD), rendered(&turned, OLD));
}

#[test]
fn a_setting_of_a_persons_stays_and_ours_says_where_it_is() {
    let conf = Conf::of_text(
        Path::new("/etc/slurm/slurm.conf"),
        "ClusterName=demo\nslurmctldparameters=enable_configless\n",
    );
    let around = Around::new(NEW, Some(&conf));
    let files = render::files(&parsed(&text()), &sizes(), &around).expect("all is known");
    let power = &files[render::POWER];
    let said = "# SlurmctldParameters=enable_configless,idle_on_node_suspend is wanted here, and \
                /etc/slurm/slurm.conf:2 sets it\n";
    assert!(power.contains(said), "{power}");
    assert!(!power.contains("\nSlurmctldParameters="), "{power}");
}

#[test]
fn our_own_files_in_slurm_conf_are_nobody_elses() {
    let ours = Conf::of_text(Path::new("/etc/slurm/azslurm-power.conf"), "ReturnToService=1\n");
    let around = Around::new(NEW, Some(&ours));
    assert!(around.set_elsewhere.is_empty());
}

#[test]
fn without_infiniband_and_gpus_there_is_no_file_for_them() {
    let text = text();
    let begin = text.find("[nodeset.gpu]").expect("it is there");
    let middle = text.find("[nodeset.htc]").expect("it is there");
    let end = text.find("[partition.gpu]").expect("it is there");
    let plain = format!("{}{}", &text[..begin], &text[middle..end]);
    let files = rendered(&plain, OLD);
    let names: Vec<&str> = files.keys().copied().collect();
    assert_eq!(names, [render::NODES, render::POWER]);
    assert!(!files[render::POWER].contains("TopologyPlugin"), "{}", files[render::POWER]);
}

#[test]
fn without_a_partition_each_nodeset_is_one() {
    let text = text();
    let plain = &text[..text.find("[partition.cloud]").expect("it is there")];
    let nodes = &rendered(plain, OLD)[render::NODES];
    for name in ["gpu", "hb", "htc", "spot"] {
        let line = format!("PartitionName={name} Nodes={name} SuspendTime=300");
        assert!(nodes.contains(&line), "{nodes}");
    }
}

#[test]
fn a_size_that_azure_does_not_have_is_named_with_who_wants_it() {
    let config = parsed(&text().replace("Standard_D4s_v5", "Standard_D4s_v55"));
    let error = render::files(&config, &sizes(), &Around::new(NEW, None)).expect_err("unknown");
    let RenderError::SizeUnknown { nodeset, sku, .. } = &error;
    assert_eq!((nodeset.as_str(), sku.as_str()), ("htc", "Standard_D4s_v55"));
    assert!(error.to_string().contains("az vm list-skus --location westeurope"), "{error}");
}

#[test]
fn the_memory_is_never_more_than_the_guest_sees_and_never_nothing() {
    let with = |lines: &str| {
        let text = text().replace("[nodeset.htc]\n", &format!("[nodeset.htc]\n{lines}\n"));
        let nodes = rendered(&text, OLD).remove(render::NODES).expect("nodes");
        let line = nodes.lines().find(|line| line.starts_with("NodeName=htc-")).expect("htc");
        line.split(' ').find(|pair| pair.starts_with("RealMemory=")).expect("memory").to_owned()
    };
    assert_eq!(with(""), "RealMemory=15360", "at least a GB less");
    assert_eq!(with("memory_margin_percent = 10"), "RealMemory=14746");
    assert_eq!(with("real_memory_mb = 15000"), "RealMemory=15000");
}
