//! The parts of Slurm's configuration that a config means, as texts to be included. Pure: the same
//! config, sizes and surroundings are the same bytes, on every machine and every day.
//!
//! ```text
//! slurm.conf ──include──► azslurm-power.conf     programs, timeouts, what Slurm must have on
//!            └─include──► azslurm-nodes.conf     NodeName, NodeSet, PartitionName
//! gres.conf ───include──► azslurm-gres.conf      device files, if there are GPUs
//! topology.conf ─include► azslurm-topology.conf  blocks, if there is InfiniBand
//! ```
//!
//! What a person's own slurm.conf sets is the person's: Slurm takes no setting twice, so ours is
//! then a comment that says where theirs is.

mod gres;
mod nodes;
mod power;
mod shape;
mod topology;

use std::collections::BTreeMap;

use azslurm_core::config::{Config, Interconnect, Region, Sku};
use azslurm_core::size::Sizes;
use azslurm_core::{NodesetName, SiteName};
use azslurm_slurm::{Conf, SlurmVersion};

pub use shape::{NodeShape, shape};

/// Included by slurm.conf: nodes and partitions.
pub const NODES: &str = "azslurm-nodes.conf";
/// Included by slurm.conf: power saving.
pub const POWER: &str = "azslurm-power.conf";
/// Included by gres.conf.
pub const GRES: &str = "azslurm-gres.conf";
/// Included by topology.conf.
pub const TOPOLOGY: &str = "azslurm-topology.conf";
/// Each file of ours, and the file of Slurm's that includes it.
pub const INCLUDED_BY: [(&str, &str); 4] = [
    (POWER, "slurm.conf"),
    (NODES, "slurm.conf"),
    (GRES, "gres.conf"),
    (TOPOLOGY, "topology.conf"),
];

/// From here on a reconfigure takes node names that are new or gone. Before it ends slurmctld
/// (measured with 22.05.8: `fatal: MaxNodeCount has changed during reconfig`; the check is in
/// read_config.c up to 23.02).
pub const TAKES_NEW_NAMES: SlurmVersion = SlurmVersion::new(23, 11, 0);

/// What stands around the files that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    /// The Slurm that reads them.
    pub version: SlurmVersion,
    /// What a person's files set, keys in lower case, with the place.
    pub set_elsewhere: BTreeMap<String, String>,
}

impl Around {
    /// With what slurm.conf and its includes set, files of ours left out.
    pub fn new(version: SlurmVersion, conf: Option<&Conf>) -> Around {
        let lines = conf.into_iter().flat_map(|conf| &conf.lines);
        let theirs = lines.filter(|line| {
            let name = line.file.file_name().unwrap_or_default();
            !INCLUDED_BY.iter().any(|(ours, _)| name == *ours)
        });
        let set_elsewhere = theirs.map(|line| (line.key.to_ascii_lowercase(), line.place()));
        Around { version, set_elsewhere: set_elsewhere.collect() }
    }
}

/// Why nothing can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Nothing is known of a size.
    #[error(
        "nodeset {nodeset}: Azure's sizes of {region} are known and {sku} is not among them: \
         `az vm list-skus --location {region} --size {sku}` shows what there is"
    )]
    SizeUnknown {
        /// Who wants it.
        nodeset: NodesetName,
        /// The size.
        sku: Sku,
        /// Where.
        region: Region,
    },
}

/// All files by name; the optional ones only where they say something.
///
/// # Errors
/// [`RenderError`].
pub fn files(
    config: &Config,
    sizes: &Sizes,
    around: &Around,
) -> Result<BTreeMap<&'static str, String>, RenderError> {
    let mut shapes = BTreeMap::new();
    for (name, nodeset) in &config.nodesets {
        shapes.insert(name, shape(config, (name, nodeset), sizes)?);
    }
    let mut files = BTreeMap::new();
    files.insert(POWER, power::text(config, &shapes, around));
    files.insert(NODES, nodes::text(config, &shapes, around));
    if let Some(text) = gres::text(config, &shapes) {
        files.insert(GRES, text);
    }
    if let Some(text) = topology::text(config) {
        files.insert(TOPOLOGY, text);
    }
    Ok(files)
}

/// The shape of each nodeset's nodes.
type Shapes<'c> = BTreeMap<&'c NodesetName, NodeShape>;

/// The first lines of every file.
fn header(name: &str) -> String {
    let (_, by) = INCLUDED_BY.iter().find(|(ours, _)| *ours == name).unwrap_or(&("", "slurm.conf"));
    format!(
        "# {name}: written by azslurm-conf. Do not change it: change azslurm.toml, and run\n\
         # `azslurm-conf apply`. It is part of {by} by the line: include {name}\n"
    )
}

fn has_blocks(config: &Config) -> bool {
    config.nodesets.values().any(|nodeset| match nodeset.interconnect {
        Interconnect::Infiniband => true,
        Interconnect::None => false,
    })
}

/// Names of sites for a comment.
fn names(sites: &[SiteName]) -> String {
    sites.iter().map(SiteName::as_str).collect::<Vec<_>>().join(", ")
}
