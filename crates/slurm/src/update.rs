//! The words that we say to slurmctld about nodes, and how long lists of nodes become runs of
//! `scontrol`.

use std::fmt;

use azslurm_core::NodeName;

/// Names per run of `scontrol`. slurmctld works a list off under its node lock, node by node;
/// 10,000 take 46 to 300 ms (measured), so a thousand never hold up the scheduler for long.
pub const UPDATE_NAMES_MAX: usize = 1000;

/// Bytes of names per run: half of what Linux takes as one argument (MAX_ARG_STRLEN, 131,072).
/// Folding a list can make it longer by a bracket here and there, never twice as long.
const UPDATE_BYTES_MAX: usize = 64 * 1024;

/// `state=` of `scontrol update nodename=`. What each does in which state is measured; the words
/// below only say what each is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeVerb {
    /// Out of order: its jobs are requeued at once, and nobody is called. Needs a reason.
    Down,
    /// Requeue its jobs at once and call SuspendProgram.
    PowerDownForce,
    /// Call SuspendProgram when its jobs have ended.
    PowerDown,
    /// Call ResumeProgram. Never for a node that is POWERING_UP already: that starts its clock
    /// anew.
    PowerUp,
    /// Back to work: from DOWN and DRAIN, and from POWERING_DOWN (usable at once: only when the VM
    /// is gone).
    Resume,
    /// No new jobs. Needs a reason.
    Drain,
    /// Take back DRAIN, and nothing else.
    Undrain,
    /// From DOWN to IDLE. One that is off, and idle already, may be given jobs again, whatever its
    /// drain or that it does not respond.
    Idle,
}

impl NodeVerb {
    /// scontrol's word.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeVerb::Down => "down",
            NodeVerb::PowerDownForce => "power_down_force",
            NodeVerb::PowerDown => "power_down",
            NodeVerb::PowerUp => "power_up",
            NodeVerb::Resume => "resume",
            NodeVerb::Drain => "drain",
            NodeVerb::Undrain => "undrain",
            NodeVerb::Idle => "idle",
        }
    }

    /// Whether scontrol refuses it without a reason.
    pub(crate) fn needs_reason(self) -> bool {
        match self {
            NodeVerb::Down | NodeVerb::Drain => true,
            NodeVerb::PowerDownForce
            | NodeVerb::PowerDown
            | NodeVerb::PowerUp
            | NodeVerb::Resume
            | NodeVerb::Undrain
            | NodeVerb::Idle => false,
        }
    }
}

impl fmt::Display for NodeVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `nodes`, in parts that fit into one run each. Every node is in exactly one of them.
pub(crate) fn batches(nodes: &[NodeName]) -> Vec<&[NodeName]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, node) in nodes.iter().enumerate() {
        let more = node.as_str().len() + 1;
        if at - start == UPDATE_NAMES_MAX || bytes + more > UPDATE_BYTES_MAX {
            batches.push(&nodes[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    if start < nodes.len() {
        batches.push(&nodes[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize, prefix: &str) -> Vec<NodeName> {
        (0..count).map(|i| format!("{prefix}{i}").parse().unwrap()).collect()
    }

    #[test]
    fn batches_hold_every_node_once_and_never_too_many() {
        for count in [0, 1, 999, 1000, 1001, 2500] {
            let nodes = names(count, "n");
            let batches = batches(&nodes);
            assert_eq!(batches.concat(), nodes);
            assert!(batches.iter().all(|b| !b.is_empty() && b.len() <= UPDATE_NAMES_MAX));
            assert_eq!(batches.len(), count.div_ceil(UPDATE_NAMES_MAX));
        }
    }

    #[test]
    fn long_names_make_smaller_batches() {
        let nodes = names(1000, &"x".repeat(240));
        let batches = batches(&nodes);
        assert_eq!(batches.concat(), nodes);
        let bytes = |batch: &[NodeName]| batch.iter().map(|n| n.as_str().len() + 1).sum::<usize>();
        assert!(batches.iter().all(|batch| bytes(batch) <= UPDATE_BYTES_MAX));
    }
}
