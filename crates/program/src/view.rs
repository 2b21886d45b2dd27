//! A node as slurmctld tells it, reduced to what decisions see.

use azslurm_core::decide::SlurmView;
use azslurm_core::node::{NodeBase, NodeFlag, NodeState};
use azslurm_slurm::{Node, reason};

/// slurmctld's own reason for a node that missed ResumeTimeout. 22.05 puts it in the place of the
/// reason that was there, later versions behind it (SLURM.md §3).
const RESUME_TIMEOUT: &str = "ResumeTimeout reached";
/// What slurmctld puts between the two.
const BETWEEN: &str = " : ";

/// The view. A node that is down for a reason of ours, or for slurmctld's ResumeTimeout, is ours to
/// set back; every other reason is a person's word.
pub fn of(node: &Node) -> SlurmView {
    let is_ours = node.reason.as_deref().is_some_and(|text| is_ours(text, &node.state));
    SlurmView::of(&node.state, is_ours)
}

/// Whether slurmctld has the node down because it missed ResumeTimeout.
pub fn missed_resume_timeout(node: &Node) -> bool {
    let last = node.reason.as_deref().and_then(|text| text.split(BETWEEN).last());
    node.state.base == NodeBase::Down && last.is_some_and(|part| part.trim() == RESUME_TIMEOUT)
}

/// Whether its reason is of our own making, whatever slurmctld has added.
pub fn has_our_reason(node: &Node) -> bool {
    let first = node.reason.as_deref().and_then(|text| text.split(BETWEEN).next());
    first.is_some_and(|part| reason::parse_ours(part.trim()).is_some())
}

fn is_ours(text: &str, state: &NodeState) -> bool {
    let mut parts = text.split(BETWEEN).map(str::trim);
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    // Whatever else slurmctld adds to our words (too little memory, say) needs a person.
    let is_our_word = reason::parse_ours(first).is_some();
    if is_our_word && rest.iter().all(|part| *part == RESUME_TIMEOUT) {
        return true;
    }
    // The reason of an earlier day, ours or not, stays on a healthy node, and slurmctld adds to it.
    // A drain is a person's all the same.
    let is_timed_out = rest.last().copied().unwrap_or(first) == RESUME_TIMEOUT;
    is_timed_out && !state.has(&NodeFlag::Drain) && !state.has(&NodeFlag::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_words_and_resume_timeout_are_ours_to_undo() {
        let down = "DOWN+CLOUD+POWERED_DOWN";
        let drained = "DOWN+CLOUD+DRAIN+POWERED_DOWN";
        let ours = "azslurm: capacity: no room, next try 2026-11-21T01:53:05Z";
        for (text, state, expected) in [
            (ours.to_owned(), down, true),
            (format!("{ours} : ResumeTimeout reached"), down, true),
            (format!("{ours} : ResumeTimeout reached : ResumeTimeout reached"), drained, true),
            (format!("{ours} : Low RealMemory"), down, false),
            (format!("{ours} : Low RealMemory"), drained, false),
            (format!("{ours} : ResumeTimeout reached : Low RealMemory"), down, false),
            (format!("{ours} : Low RealMemory : ResumeTimeout reached"), down, true),
            (format!("{ours} : Low RealMemory : ResumeTimeout reached"), drained, false),
            ("ResumeTimeout reached".to_owned(), drained, false),
            ("ResumeTimeout reached".to_owned(), "DOWN+CLOUD+FAIL+POWERED_DOWN", false),
            ("ResumeTimeout reached : Low RealMemory".to_owned(), down, false),
            ("ResumeTimeout reached".to_owned(), down, true),
            ("bad dimm : ResumeTimeout reached".to_owned(), down, true),
            ("bad dimm : ResumeTimeout reached".to_owned(), drained, false),
            ("bad dimm".to_owned(), down, false),
            ("ResumeTimeout reached, says Bob".to_owned(), down, false),
            (String::new(), down, false),
        ] {
            assert_eq!(is_ours(&text, &state.parse().unwrap()), expected, "{text} {state}");
        }
    }
}
