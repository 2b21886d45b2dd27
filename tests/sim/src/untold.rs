//! The law that passes mend what others have left behind: slurmctld is told of nodes that cannot
//! come or have lost their VMs, and the deletions of the dead are gone on with.

use std::collections::BTreeMap;

use azslurm_slurm_model::{NodeSeen, Slurmctld};
use rusqlite::Connection;

use crate::glance::{AttemptRow, Glance};

/// So many passes may find a node without a VM that slurmctld waits for or believes to be up: one
/// begins before the other's words are heard, and one may be just asking for a VM.
const PASSES_MAX: u32 = 3;
/// One that has lost its VM while slurmctld believes it to be up: the pass that finds it says so.
const LOST_PASSES_MAX: u32 = 1;

/// In how many passes in a row a node was found about which something should have been done, and
/// how many are too many.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    passes: BTreeMap<String, (u32, u32)>,
}

/// Until when the longest hold lasts; 0 without any.
pub(crate) fn last_hold(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(until), 0) FROM holds", (), |row| row.get(0))
}

impl Untold {
    /// A pass has ended well. `lives`: whether a holder does; `has_holds`: whether a place is held.
    pub(crate) fn passed(
        &mut self,
        glance: &Glance,
        slurm: &Slurmctld,
        (lives, has_holds): (&dyn Fn(&str) -> bool, bool),
    ) -> Vec<String> {
        let mut nodes: BTreeMap<&String, Vec<&AttemptRow>> = BTreeMap::new();
        for row in glance.attempts.values() {
            nodes.entry(&row.node).or_default().push(row);
        }
        let mut passes = BTreeMap::new();
        for (node, rows) in nodes {
            let holder = glance.leases.get(node).and_then(|row| row.holder.as_ref());
            let is_held = holder.is_some_and(|holder| lives(holder));
            let has_work = rows.iter().any(|row| row.state == "delete-intended");
            let is_left = has_work && holder.is_some() && !is_held;
            let seen = slurm.node(node).filter(|_| !is_held);
            let is_wrong = seen.as_ref().is_some_and(|seen| is_waiting(seen, &rows, has_holds));
            if is_left || is_wrong {
                let before = self.passes.get(node).map_or(0, |(passes, _)| *passes);
                let is_lost = seen.is_some_and(|seen| is_up_without_vm(&seen, &rows));
                let most = if is_lost { LOST_PASSES_MAX } else { PASSES_MAX };
                passes.insert(node.clone(), (before + 1, most));
            }
        }
        self.passes = passes;
        let long = self.passes.iter().filter(|(_, (passes, most))| passes >= most);
        long.map(|(node, (passes, _))| {
            format!(
                "{passes} passes have left {node} as it is, which has no VM that slurmctld could \
                 wait for, or one whose deletion a dead program has left behind"
            )
        })
        .collect()
    }
}

/// Whether slurmctld waits for something that does not come, and we could tell it so.
fn is_waiting(seen: &NodeSeen, rows: &[&AttemptRow], has_holds: bool) -> bool {
    let flags = seen.flags;
    if rows.iter().any(|row| row.is_wanted()) || flags.drain || flags.power_down {
        return false;
    }
    if seen.is_down {
        // Its hold is over, and no other may stand in its way.
        let is_ours = seen.reason.as_deref().is_some_and(|why| why.starts_with("azslurm: "));
        return is_ours && flags.powering_up && !has_holds && rows.iter().all(|row| row.is_over());
    }
    !flags.powering_down && (flags.powering_up || is_up_without_vm(seen, rows))
}

fn is_up_without_vm(seen: &NodeSeen, rows: &[&AttemptRow]) -> bool {
    let flags = seen.flags;
    let is_lost = rows.last().is_some_and(|row| row.why.as_deref() == Some("evicted"));
    is_lost && !seen.is_down && !flags.powering_up && !flags.powered_down && !flags.powering_down
}
