//! A node as slurmctld tells it, reduced to what decisions see.

use azslurm_core::decide::SlurmView;
use azslurm_slurm::{Node, reason};

/// slurmctld's own reason for a node that missed ResumeTimeout.
const RESUME_TIMEOUT: &str = "ResumeTimeout reached";

/// The view. A node that is down for a reason of ours, or for slurmctld's ResumeTimeout, is ours to
/// set back; every other reason is a person's word.
pub fn of(node: &Node) -> SlurmView {
    let is_ours = node
        .reason
        .as_deref()
        .is_some_and(|text| reason::parse_ours(text).is_some() || text.starts_with(RESUME_TIMEOUT));
    SlurmView::of(&node.state, is_ours)
}
