//! What a node of a nodeset has, by Azure's word of the size and the person's.

use azslurm_core::NodesetName;
use azslurm_core::config::{Config, Nodeset};
use azslurm_core::size::{Size, Sizes};

use super::RenderError;

/// The kernel and the hypervisor keep some hundred MB of every VM, however small.
const MEMORY_KEPT_MB: u64 = 1024;
/// Smaller sizes keep half: more than nothing must be left.
const MEMORY_LEFT_PERCENT: u64 = 50;

/// What a NodeName line says of the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeShape {
    /// CPUs.
    pub cpus: u32,
    /// Sockets, cores per socket, threads per core, where all CPUs of the size are used.
    pub sockets: Option<(u32, u32, u32)>,
    /// RealMemory.
    pub memory_mb: u64,
    /// The size's own memory, before the margin.
    pub memory_of_size_mb: u64,
    /// Gres, `gpu:8`.
    pub gres: Vec<String>,
    /// USD per hour, of Spot where the nodeset is.
    pub price: Option<f64>,
    /// Regions that it may come in.
    pub regions: Vec<String>,
}

/// The shape of a nodeset's nodes. Where it may come in several regions that differ, the least of
/// each: Slurm drains a node that has less than its line says.
///
/// # Errors
/// A size is not known in a region.
pub fn shape(
    config: &Config,
    (name, nodeset): (&NodesetName, &Nodeset),
    sizes: &Sizes,
) -> Result<NodeShape, RenderError> {
    let mut least: Option<NodeShape> = None;
    for site in nodeset.open_sites().iter().filter_map(|site| config.sites.get(site)) {
        let size = sizes.get(&site.region, &nodeset.sku);
        let size = size.ok_or_else(|| RenderError::SizeUnknown {
            nodeset: name.clone(),
            sku: nodeset.sku.clone(),
            region: site.region.clone(),
        })?;
        let here = of_size(nodeset, size, site.region.as_str());
        least = Some(match least {
            None => here,
            Some(least) => lesser(least, here),
        });
    }
    Ok(least.expect("the config has a site for every nodeset"))
}

fn of_size(nodeset: &Nodeset, size: &Size, region: &str) -> NodeShape {
    let line = &nodeset.line;
    let all = size.vcpus_available.max(1);
    let cpus = line.cpus.unwrap_or(all);
    let gres = match (line.gres.is_empty(), size.gpus) {
        (false, _) => line.gres.clone(),
        (true, 0) => Vec::new(),
        (true, gpus) => vec![format!("gpu:{gpus}")],
    };
    let margin = size.memory_mb * u64::from(line.memory_margin_percent) / 100;
    let least_left = size.memory_mb * MEMORY_LEFT_PERCENT / 100;
    let left = size.memory_mb.saturating_sub(margin.max(MEMORY_KEPT_MB)).max(least_left);
    NodeShape {
        cpus,
        sockets: (cpus == all).then(|| size.shape()),
        memory_mb: line.real_memory_mb.unwrap_or(left),
        memory_of_size_mb: size.memory_mb,
        gres,
        price: if nodeset.is_spot() { size.price_spot } else { size.price },
        regions: vec![region.to_owned()],
    }
}

fn lesser(one: NodeShape, other: NodeShape) -> NodeShape {
    let (few, many) = if other.cpus < one.cpus { (other, one) } else { (one, other) };
    let dearest = match (few.price, many.price) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    let mut regions = [few.regions, many.regions].concat();
    regions.sort();
    regions.dedup();
    NodeShape {
        memory_mb: few.memory_mb.min(many.memory_mb),
        memory_of_size_mb: few.memory_of_size_mb.min(many.memory_of_size_mb),
        price: dearest,
        regions,
        cpus: few.cpus,
        sockets: few.sockets,
        gres: few.gres,
    }
}
