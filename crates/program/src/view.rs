//! A node as slurmctld tells it, reduced to what decisions see.

use std::time::Duration;

use azslurm_core::Timestamp;
use azslurm_core::boot::CODE_NODE_INIT;
use azslurm_core::decide::{SlurmView, Whose};
use azslurm_core::node::{NodeBase, NodeFlag, NodeState};
use azslurm_slurm::reason::BETWEEN;
use azslurm_slurm::{Node, reason};

/// slurmctld's own reason for a node that missed ResumeTimeout. 22.05 puts it in the place of the
/// reason that was there, later versions behind it (SLURM.md §3).
const RESUME_TIMEOUT: &str = "ResumeTimeout reached";
/// slurmctld's own reason for a node that it gave up after SlurmdTimeout (SLURM.md §3).
const NOT_RESPONDING: &str = "Not responding";
/// A node that slurmctld has given up may answer again for so long, when its network or slurmctld's
/// is back, or slurmd was only restarted; it is back in service then (ReturnToService). As
/// SlurmdTimeout has passed before, nobody has used it for longer.
pub const DEAD_AFTER: Duration = Duration::from_secs(10 * 60);

/// The view of who need not know how long a node has been silent: none is `Dead`.
pub fn of(node: &Node) -> SlurmView {
    of_at(node, Timestamp::from_millis(0))
}

/// The view at a time. A node that is down for a reason of ours, or for slurmctld's ResumeTimeout,
/// is ours to set back; every other reason is a person's word, but slurmctld's own that the node
/// does not answer.
pub fn of_at(node: &Node, at: Timestamp) -> SlurmView {
    // Nearly all nodes have none, and are seen by each pass.
    let Some(text) = node.reason.as_deref() else {
        return SlurmView::of(&node.state, Whose::Person);
    };
    let is_old = node.reason_at.is_some_and(|since| at >= since.plus(DEAD_AFTER));
    let whose = if is_ours(text, &node.state) {
        Whose::Ours
    } else if is_old && is_silent(text) {
        Whose::SilentForLong
    } else {
        Whose::Person
    };
    SlurmView::of(&node.state, whose)
}

/// slurmctld's word stands alone, or behind what was said of a healthy node: by us, or by itself.
fn is_silent(text: &str) -> bool {
    let mut parts: Vec<&str> = text.split(BETWEEN).map(str::trim).collect();
    let is_its = |part: &&str| *part == NOT_RESPONDING || *part == RESUME_TIMEOUT;
    parts.pop() == Some(NOT_RESPONDING)
        && parts.iter().all(|part| is_its(part) || reason::parse_ours(part).is_some())
}

/// Whether slurmctld has the node down because it missed ResumeTimeout.
pub fn missed_resume_timeout(node: &Node) -> bool {
    let last = node.reason.as_deref().and_then(|text| text.split(BETWEEN).last());
    node.state.base == NodeBase::Down && last.is_some_and(|part| part.trim() == RESUME_TIMEOUT)
}

/// What a node says of the step of its set-up that failed, as its reason has it.
pub fn failed_set_up(node: &Node) -> Option<String> {
    let first = node.reason.as_deref()?.split(BETWEEN).next()?;
    let ours = reason::parse_ours(first.trim())?;
    (ours.code == CODE_NODE_INIT).then_some(ours.text)
}

/// Whether its reason is of our own making, whatever slurmctld has added.
pub fn has_our_reason(node: &Node) -> bool {
    let first = node.reason.as_deref().and_then(|text| text.split(BETWEEN).next());
    first.is_some_and(|part| reason::parse_ours(part.trim()).is_some())
}

/// Whether a person has closed the node: it is draining or failing, and not for a reason of ours. A
/// drain of ours is the node agent's, before Azure takes or stops the VM.
pub fn is_closing_by_person(node: &Node) -> bool {
    let text = node.reason.as_deref().unwrap_or_default();
    is_closing(&node.state) && !is_ours(text, &node.state)
}

fn is_closing(state: &NodeState) -> bool {
    state.has(&NodeFlag::Drain) || state.has(&NodeFlag::Fail)
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
    is_timed_out && !is_closing(state)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SINCE: Timestamp = Timestamp::from_millis(1_000_000_000_000);

    fn down(text: &str) -> Node {
        Node {
            name: "n1".parse().unwrap(),
            state: "DOWN+CLOUD+NOT_RESPONDING".parse().unwrap(),
            reason: Some(text.to_owned()),
            comment: None,
            reason_at: Some(SINCE),
            partitions: Arc::default(),
            cpus: None,
            real_memory_mb: None,
            weight: None,
        }
    }

    #[test]
    fn a_node_is_dead_when_slurmctld_alone_has_called_it_so_for_long() {
        let (soon, late) = (SINCE.plus(DEAD_AFTER / 2), SINCE.plus(DEAD_AFTER));
        let ours = "azslurm: evicted: Azure took the Spot VM back: it is gone";
        for (text, at, expected) in [
            ("Not responding".to_owned(), late, SlurmView::Dead),
            ("Not responding".to_owned(), soon, SlurmView::Down),
            (format!("{ours} : Not responding"), late, SlurmView::Dead),
            ("ResumeTimeout reached : Not responding".to_owned(), late, SlurmView::Dead),
            ("bad dimm : Not responding".to_owned(), late, SlurmView::Down),
            ("Not responding : Low RealMemory".to_owned(), late, SlurmView::Down),
            ("Not responding, says Bob".to_owned(), late, SlurmView::Down),
            ("bad dimm".to_owned(), late, SlurmView::Down),
        ] {
            assert_eq!(of_at(&down(&text), at), expected, "{text}");
            assert_eq!(of(&down(&text)), SlurmView::Down, "{text}");
        }
    }

    #[test]
    fn a_node_tells_what_of_its_set_up_failed_whatever_slurmctld_adds() {
        let ours = "azslurm: node-init: munge: no key";
        for (text, expected) in [
            (ours.to_owned(), Some("munge: no key")),
            (format!("{ours} : ResumeTimeout reached"), Some("munge: no key")),
            ("azslurm: infiniband: no key".to_owned(), None),
            (format!("bad dimm : {ours}"), None),
        ] {
            assert_eq!(failed_set_up(&down(&text)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn only_our_words_and_resume_timeout_are_ours_to_undo() {
        let down = "DOWN+CLOUD+POWERED_DOWN";
        let drained = "DOWN+CLOUD+DRAIN+POWERED_DOWN";
        let ours = "azslurm: capacity: no room, next try 2026-11-21T01:53:05Z";
        let agents = "azslurm: preempt: event 1-2: Azure takes this VM back now";
        for (text, state, expected) in [
            (ours.to_owned(), down, true),
            (agents.to_owned(), "MIXED+CLOUD+DRAIN", true),
            (format!("{agents} : Kill task failed"), "MIXED+CLOUD+DRAIN", false),
            ("bad dimm".to_owned(), "MIXED+CLOUD+DRAIN", false),
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
