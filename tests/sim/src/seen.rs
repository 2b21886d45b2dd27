//! What passes have found: the cells of the decision matrix that schedules reach, and how many
//! passes the quiet time took.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use azslurm_sync::observe::observe;

use crate::cells::{AttemptCell, NodeCell};
use crate::programs::Machine;

const PAUSE: (u64, u64) = (30, 80);
const PAUSE_OF_LOOK: (u64, u64) = (1, 12);

/// What was found. Of one thread, and shared by its processes.
#[derive(Debug, Default)]
pub struct Seen {
    /// Cells of attempts.
    pub attempts: RefCell<BTreeSet<AttemptCell>>,
    /// Cells of nodes.
    pub nodes: RefCell<BTreeSet<NodeCell>>,
    quiet: Cell<Option<u32>>,
    is_looking: bool,
}

impl Seen {
    /// Nothing yet.
    pub fn new(is_looking: bool) -> Seen {
        Seen { is_looking, ..Seen::default() }
    }

    /// What another has found.
    pub fn of(other: &Seen) -> Seen {
        Seen {
            attempts: RefCell::new(other.attempts.take()),
            nodes: RefCell::new(other.nodes.take()),
            quiet: Cell::new(other.quiet.get()),
            is_looking: other.is_looking,
        }
    }

    /// Looks as a pass does that begins now, without being seen.
    pub async fn look(&self, machine: &Machine) {
        if !self.is_looking {
            return;
        }
        let Ok(session) = machine.session(0) else { return };
        let Ok(seen) = observe(&session).await else { return };
        let held = seen.held(&session);
        for node in seen.nodes(&session) {
            let (slurm, lease) = (seen.slurm_view(node), seen.lease_view(node));
            let cell = (slurm, lease, seen.standing(node), held.contains(&node));
            self.nodes.borrow_mut().insert(cell);
            for attempt in seen.attempts_of(node) {
                self.attempts.borrow_mut().insert((slurm, lease, attempt.state));
            }
        }
    }

    /// Between two passes of the daemon while the cluster is disturbed: seconds at least, and how
    /// much longer at most. Where cells are looked for, passes meet what lasts for seconds.
    pub fn pause(&self) -> (u64, u64) {
        if self.is_looking { PAUSE_OF_LOOK } else { PAUSE }
    }

    /// The quiet time begins.
    pub fn is_quiet_now(&self) {
        self.quiet.set(Some(0));
    }

    /// A pass has ended.
    pub fn passed(&self) {
        self.quiet.set(self.quiet.get().map(|passes| passes + 1));
    }

    /// Passes of the quiet time so far.
    pub fn quiet_passes(&self) -> u32 {
        self.quiet.get().unwrap_or_default()
    }
}
