//! azslurm-gres.conf: where a node finds its GPUs.

use azslurm_core::config::Config;
use azslurm_core::hostlist::fold_set;

use super::{GRES, Shapes, header};

/// `None`: no node has a GPU. What else is in `gres` needs lines of the person's own.
pub(super) fn text(config: &Config, shapes: &Shapes<'_>) -> Option<String> {
    let mut lines = Vec::new();
    for (name, nodeset) in &config.nodesets {
        let mut first = 0;
        for (kind, count) in shapes[name].gres.iter().filter_map(|gres| gpus(gres)) {
            let kind = kind.map(|kind| format!(" Type={kind}")).unwrap_or_default();
            let last = first + count - 1;
            let range = if count == 1 { first.to_string() } else { format!("[{first}-{last}]") };
            let nodes = fold_set(&nodeset.nodes);
            lines.push(format!("NodeName={nodes} Name=gpu{kind} File=/dev/nvidia{range}\n"));
            first += count;
        }
    }
    (!lines.is_empty()).then(|| format!("{}\n{}", header(GRES), lines.concat()))
}

/// Type and count of `gpu:8` and `gpu:h100:8`; `None` for other gres, and for none of them.
fn gpus(gres: &str) -> Option<(Option<&str>, u32)> {
    let parts: Vec<&str> = gres.split(':').collect();
    let (kind, count) = match parts.as_slice() {
        ["gpu", count] => (None, count),
        ["gpu", kind, count] => (Some(*kind), count),
        _ => return None,
    };
    Some((kind, count.parse().ok().filter(|count| *count > 0)?))
}
