//! Many nodes that are dead at once: a rule over the whole of a pass, beside the cells of `decide`.

use crate::decide::{NodeAction, NodeReason};

/// So many dead nodes are given back by one pass at most. When more are dead at once it is rather
/// the network between them and slurmctld, and they are back when it is; else slurmctld suspends
/// them after SuspendTime.
pub const DEAD_MAX: usize = 20;

/// Decides about all nodes together: what was decided about each, dead or not.
pub fn spare_the_dead<'a>(decided: impl Iterator<Item = (&'a mut NodeAction, &'a mut NodeReason)>) {
    let mut dead: Vec<_> =
        decided.filter(|(_, reason)| **reason == NodeReason::SlurmdIsDead).collect();
    if dead.len() > DEAD_MAX {
        for (action, reason) in &mut dead {
            (**action, **reason) = (NodeAction::Leave, NodeReason::TooManyAreDead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_dead_node_is_given_back_when_many_are_dead() {
        let dead = (NodeAction::PowerDown, NodeReason::SlurmdIsDead);
        let lost = (NodeAction::PowerDown, NodeReason::VmIsLost);
        let after = |count: usize| {
            let mut all = vec![dead; count];
            all.push(lost);
            spare_the_dead(all.iter_mut().map(|(action, reason)| (action, reason)));
            assert_eq!(all.pop(), Some(lost), "what has lost its VM is another matter");
            all
        };
        assert!(after(DEAD_MAX).iter().all(|said| *said == dead));
        let spared = (NodeAction::Leave, NodeReason::TooManyAreDead);
        assert!(after(DEAD_MAX + 1).iter().all(|said| *said == spared));
    }
}
