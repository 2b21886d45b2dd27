//! azslurm-power.conf: the programs, the timeouts, and what Slurm must have on for cloud nodes
//! (SLURM.md §5).

use azslurm_core::config::{Config, Topology};
use azslurm_slurm::SlurmVersion;

use super::{Around, POWER, Shapes, has_blocks, header};

/// From here on cloud nodes' addresses come with their registration, and caches go by themselves.
const REGISTERED_ADDRESSES: SlurmVersion = SlurmVersion::new(23, 11, 0);
/// From here on nodes that are off are shown without PrivateData=cloud.
const ALWAYS_SHOWN: SlurmVersion = SlurmVersion::new(23, 2, 0);

/// A setting with the reason that stands above it.
struct Setting {
    key: &'static str,
    value: String,
    why: &'static str,
}

fn setting(key: &'static str, value: impl ToString, why: &'static str) -> Setting {
    Setting { key, value: value.to_string(), why }
}

pub(super) fn text(config: &Config, shapes: &Shapes<'_>, around: &Around) -> String {
    let mut text = header(POWER);
    let settings = programs(config).into_iter().chain(times(config));
    let settings = settings.chain(switches(config, shapes, around));
    for Setting { key, value, why } in settings {
        text.push_str(&format!("\n# {why}\n"));
        match around.set_elsewhere.get(&key.to_ascii_lowercase()) {
            None => text.push_str(&format!("{key}={value}\n")),
            Some(place) => {
                text.push_str(&format!("# {key}={value} is wanted here, and {place} sets it\n"));
            }
        }
    }
    text
}

fn programs(config: &Config) -> Vec<Setting> {
    let path = |name: &str| config.power.program_dir.join(name).display().to_string();
    vec![
        setting("ResumeProgram", path("azslurm-resume"), "Makes the VMs of nodes that jobs need."),
        setting("SuspendProgram", path("azslurm-suspend"), "Deletes the VMs of idle nodes."),
        setting(
            "ResumeFailProgram",
            path("azslurm-resume-fail"),
            "Deletes what did not come before ResumeTimeout; slurmctld calls nobody else then.",
        ),
    ]
}

fn times(config: &Config) -> Vec<Setting> {
    let resume = config.slurm.resume_timeout.as_secs();
    let suspend = config.power.suspend_timeout.as_secs();
    vec![
        setting(
            "ResumeTimeout",
            resume,
            "Longer than the slowest VM needs until slurmd registers.",
        ),
        setting("SuspendTimeout", suspend, "Longer than an old VM may still register."),
        setting(
            "ResumeRate",
            0,
            "All nodes of a job in one call; azslurm keeps to Azure's limits.",
        ),
        setting("SuspendRate", 0, "The same."),
        setting("SuspendTime", "INFINITE", "Only partitions that say so are powered off."),
    ]
}

fn switches(config: &Config, shapes: &Shapes<'_>, around: &Around) -> Vec<Setting> {
    let is_old = around.version < REGISTERED_ADDRESSES;
    let always = "enable_configless,idle_on_node_suspend";
    let parameters = if is_old { format!("cloud_reg_addrs,{always}") } else { always.to_owned() };
    let mut settings = vec![
        setting("ReturnToService", 2, "A VM that comes late serves."),
        setting(
            "SlurmctldParameters",
            parameters,
            "Nodes get slurm.conf from slurmctld; those that were down come back when off.",
        ),
    ];
    if around.version < ALWAYS_SHOWN {
        settings.push(setting("PrivateData", "cloud", "Shows nodes that are off."));
    }
    if is_old {
        let why = "Cloud nodes do not know each other's addresses.";
        settings.push(setting("TreeWidth", 65533, why));
        let why = "Addresses change with every VM.";
        settings.push(setting("CommunicationParameters", "NoAddrCache", why));
    }
    if shapes.values().any(|shape| shape.gres.iter().any(|gres| gres.starts_with("gpu:"))) {
        settings.push(setting("GresTypes", "gpu", "There are GPUs."));
    }
    if has_blocks(config) {
        let plugin = match config.slurm.topology {
            Topology::Tree => "topology/tree",
            Topology::Block => "topology/block",
        };
        settings.push(setting("TopologyPlugin", plugin, "No job runs over two InfiniBand blocks."));
    }
    settings
}
