//! Scenes: each cell of the decision matrices laid by hand, whatever chance would have to do for
//! it. A node comes up as always; then slurmctld is led to a view of it by its own verbs and clocks
//! while our programs die, the ledger's rows are rewritten to a state, and somebody who lives may
//! have the lease, and a hold every place. What the pass that follows meets is the cell, and from
//! there everything must agree again, with the laws in force.
//!
//! The jobs of a scene's node are nobody's fault: a ledger that says "to be deleted" of a VM that
//! works has no history in which nothing else went wrong.

use std::time::Duration;

use azslurm_core::NodeName;
use azslurm_core::attempt::{AttemptState, EndReason};
use azslurm_core::decide::{LeaseView, SlurmView, Standing};
use azslurm_core::hold::HoldScope;
use azslurm_ledger::{Hold, Holder, LeaseAsk, LedgerError, Take};
use azslurm_program::alive::Alive;
use azslurm_program::exit::Stop;
use azslurm_slurm::reason::reason;
use azslurm_slurm_model::JobSpec;
use rusqlite::Connection;

use crate::cells::{AttemptCell, NodeCell};
use crate::clients::of;
use crate::place::{NODESETS, STRANGER};
use crate::programs::Machine;
use crate::run::{Outcome, Stage};
use crate::script::{MINUTE, SECOND, Step, What};

/// When the ledger is rewritten, in milliseconds: a node that slurmd has left by then is dead to
/// slurmctld for longer than a pass asks for.
const LAID: i64 = 1000 * SECOND;
/// The first pass begins then, in seconds: nothing has moved since.
pub(crate) const FIRST_PASS: u64 = 1001;
/// A node that idles for so long is not suspended before the scene is laid.
pub(crate) const IDLE_TIME: i64 = 25 * MINUTE;
/// slurmctld wakes one node a minute: a second one is about to be called.
pub(crate) const WAKE_RATE: u32 = 1;
/// slurmd is silent from then on: SlurmdTimeout and what passes wait for fit in between.
const SILENT: i64 = LAID - 720 * SECOND;
/// A node is told to power down so long before, and is off: SuspendTimeout is over.
const OFF: i64 = LAID - 130 * SECOND;
/// What is to be under way still.
const JUST: i64 = LAID - 10 * SECOND;
/// What somebody says last: a slurmd that is well registers again within seconds.
const LAST: i64 = LAID - SECOND / 2;
/// Lease, hold, silence and cleaning up last for so long.
const LASTS: i64 = MINUTE;
/// The node, and a neighbour that only takes slurmctld's rate.
const NODE: &str = "n1";
const OTHER: &str = "n2";
/// Places of [`crate::script::PROGRAMS`].
const RESUME: usize = 0;
const SUSPEND: usize = 2;

/// The newest attempt of the node, if it has one, and why it ends.
pub type Row = Option<(AttemptState, Option<EndReason>)>;

/// A row of each state, and of each reason that makes a difference.
const ROWS: [Row; 11] = [
    None,
    Some((AttemptState::Intended, None)),
    Some((AttemptState::Accepted, None)),
    Some((AttemptState::Running, None)),
    Some((AttemptState::Refused, None)),
    Some((AttemptState::DeleteIntended, Some(EndReason::Suspended))),
    Some((AttemptState::Deleting, Some(EndReason::Suspended))),
    Some((AttemptState::Gone, Some(EndReason::Suspended))),
    Some((AttemptState::DeleteIntended, Some(EndReason::Evicted))),
    Some((AttemptState::Deleting, Some(EndReason::Evicted))),
    Some((AttemptState::Gone, Some(EndReason::Evicted))),
];

/// What is laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// How slurmctld sees the node.
    pub slurm: SlurmView,
    /// What the ledger says of it.
    pub row: Row,
    /// Whether somebody who lives has its lease.
    pub lease: LeaseView,
    /// Whether a hold is on all its places.
    pub is_held: bool,
}

/// What happens to the node of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A job for it, which computes so long.
    Job(i64),
    /// An administrator, or whoever else, says this verb.
    Says(&'static str),
    /// The same of its neighbour.
    SaysOfOther(&'static str),
    /// It is set down with a reason of ours.
    Refused,
    /// The end of its job takes its time.
    Completes,
    /// Its slurmd is silent.
    SlurmdDies,
    /// Ledger, lease, hold, and Azure.
    Laid,
}

impl Scene {
    /// Every scene: each row under each view, with a free or held lease, with or without a hold.
    pub fn all() -> Vec<Scene> {
        let mut all = Vec::new();
        for slurm in SlurmView::ALL {
            for row in ROWS {
                for lease in [LeaseView::Free, LeaseView::Held] {
                    let of = |is_held| Scene { slurm, row, lease, is_held };
                    all.extend([false, true].map(of));
                }
            }
        }
        all
    }

    /// The cell of the matrix of nodes that the next pass meets.
    fn node_cell(&self) -> NodeCell {
        (self.slurm, self.lease, Standing::of(self.row), self.is_held)
    }

    /// That of the matrix of attempts, if there is one.
    fn attempt_cell(&self) -> Option<AttemptCell> {
        self.row.map(|(state, _)| (self.slurm, self.lease, state))
    }

    /// Whether Azure has the VM. Where a PUT is only intended it may or may not.
    fn has_vm(&self) -> bool {
        match self.row {
            None => true,
            Some((AttemptState::Refused | AttemptState::Gone, _)) => false,
            Some((_, Some(EndReason::Evicted))) => false,
            Some((AttemptState::Intended, _)) => self.is_held,
            Some(_) => true,
        }
    }

    fn node(&self) -> &'static str {
        if self.slurm == SlurmView::Absent { STRANGER } else { NODE }
    }

    /// The script that leads there and away again.
    pub fn steps(self) -> Vec<Step> {
        let act = |at, act| Step { at, what: What::Scene(self, act) };
        let is_slurms = self.slurm != SlurmView::Absent;
        let computes = if self.slurm == SlurmView::OffCompleting { LAID } else { 5 * SECOND };
        let mut steps = vec![if is_slurms {
            act(SECOND, Act::Job(computes))
        } else {
            Step { at: SECOND, what: What::ByHand }
        }];
        steps.extend(self.leading(act));
        steps.push(act(LAID, Act::Laid));
        // The cluster works afterwards.
        let after = if is_slurms { Act::Job(5 * SECOND) } else { Act::Says("resume") };
        steps.push(act(LAID + 2 * LASTS, after));
        steps.sort_by_key(|step| step.at);
        steps
    }

    /// How slurmctld comes to its view.
    fn leading(self, act: impl Fn(i64, Act) -> Step) -> Vec<Step> {
        let dies = |at, program| Step { at, what: What::KillNext(program, 0) };
        let off = || vec![dies(OFF, SUSPEND), act(OFF, Act::Says("power_down_force"))];
        let ending = || vec![dies(JUST, SUSPEND), act(JUST, Act::Says("power_down_force"))];
        let booting = || {
            let mut steps = off();
            steps.extend([dies(JUST, RESUME), act(JUST, Act::Says("power_up"))]);
            steps
        };
        let (mut steps, last) = match self.slurm {
            SlurmView::Unknown => (vec![Step { at: LAST, what: What::SlurmDown(LASTS) }], None),
            SlurmView::Absent | SlurmView::Up => (Vec::new(), None),
            SlurmView::Off => (off(), None),
            SlurmView::AboutToBoot => {
                let mut steps = off();
                steps.push(act(JUST, Act::SaysOfOther("power_up")));
                (steps, Some(Act::Says("power_up")))
            }
            SlurmView::Booting => (booting(), None),
            SlurmView::BootingRefused => (booting(), Some(Act::Refused)),
            SlurmView::BootingByPerson => (booting(), Some(Act::Says("down"))),
            SlurmView::PoweringDown => (ending(), None),
            SlurmView::PoweringDownByPerson => (ending(), Some(Act::Says("down"))),
            SlurmView::OffFailed => (off(), Some(Act::Refused)),
            SlurmView::OffCompleting => (ending(), Some(Act::Completes)),
            SlurmView::OffByPerson => (off(), Some(Act::Says("down"))),
            SlurmView::Down => (Vec::new(), Some(Act::Says("down"))),
            SlurmView::Dead => (vec![act(SILENT, Act::SlurmdDies)], None),
        };
        steps.extend(last.map(|last| act(LAST, last)));
        steps
    }

    /// What of it was not met by any pass of its schedule.
    pub fn missed(&self, outcome: &Outcome) -> Vec<String> {
        let mut missed = Vec::new();
        if !outcome.seen.nodes.borrow().contains(&self.node_cell()) {
            missed.push(format!("no pass met the node's cell of {self:?}"));
        }
        let is_met = |cell: &AttemptCell| outcome.seen.attempts.borrow().contains(cell);
        if self.attempt_cell().is_some_and(|cell| !is_met(&cell)) {
            missed.push(format!("no pass met the attempt's cell of {self:?}"));
        }
        missed
    }
}

/// Whether a script is that of a scene.
pub(crate) fn is_scene(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.what, What::Scene(..)))
}

impl Stage<'_> {
    pub(crate) fn act(&mut self, scene: &Scene, act: Act) {
        let node = scene.node();
        match act {
            Act::Job(run_ms) => self.job_for(node, run_ms),
            Act::Says(verb) => self.says(node, verb),
            Act::SaysOfOther(verb) => self.says(OTHER, verb),
            Act::Refused => {
                self.says_because(node, "down", &reason("capacity", "no room", None));
            }
            Act::Completes => {
                let mut world = of(&self.machine.world);
                let now = world.now();
                world.slurm.linger(node, LASTS, now);
            }
            Act::SlurmdDies => {
                let mut world = of(&self.machine.world);
                let now = world.now();
                let guests = world.guests.values_mut().filter(|guest| guest.node == node);
                guests.for_each(|guest| guest.is_good = false);
                world.slurm.slurmd_alive(node, false, now);
            }
            Act::Laid => self.lay(scene),
        }
    }

    fn job_for(&self, node: &str, run_ms: i64) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        let partition = Some(NODESETS[0].name.to_owned());
        let required = vec![node.to_owned()];
        world.slurm.submit(JobSpec { partition, required, run_ms, ..JobSpec::default() }, now);
    }

    fn lay(&mut self, scene: &Scene) {
        {
            let mut world = of(&self.machine.world);
            world.laws.excuse(scene.node());
            // What the ledger said before is as little its history as that of a lost one.
            world.laws.ledger_goes();
            let guest = world.guests.values().find(|guest| guest.node == scene.node());
            let vm = guest.map(|guest| guest.vm.clone());
            if let Some(vm) = vm.filter(|_| !scene.has_vm()) {
                world.azure.vanish(&vm).expect("it boots or runs");
                world.turn();
            }
        }
        rewrite(&self.machine, scene).expect("the columns are those of the ledger");
        if scene.is_held {
            hold(&self.machine, scene).expect("the ledger is there");
        }
        if scene.lease == LeaseView::Held {
            take_lease(&self.machine, scene.node());
        }
    }
}

/// The node's row, as a program would have left it that wrote this state last.
fn rewrite(machine: &Machine, scene: &Scene) -> rusqlite::Result<()> {
    let now = azslurm_program::now().as_millis();
    let connection = Connection::open(&machine.place.ledger)?;
    let Some((state, why)) = scene.row else {
        connection.execute("DELETE FROM attempts WHERE node = ?1", [scene.node()])?;
        return Ok(());
    };
    let is = |states: &[AttemptState]| states.contains(&state);
    let is_sent = !is(&[AttemptState::Intended, AttemptState::Refused]);
    let ran = is_sent && state != AttemptState::Accepted;
    let is_doomed = ran && state != AttemptState::Running;
    connection.execute(
        "UPDATE attempts SET state = ?2, why = ?3, changed_at = ?4, settles_at = ?4,
             accepted_at = iif(?5, ?4, NULL), running_at = iif(?6, ?4, NULL),
             registered_at = iif(?6, registered_at, NULL), operation = NULL,
             delete_intended_at = iif(?7, ?4, NULL), ended_at = iif(?8, ?4, NULL)
         WHERE node = ?1",
        (
            scene.node(),
            state.word(),
            why.map(EndReason::word),
            now,
            is_sent,
            ran,
            is_doomed,
            state.is_ended(),
        ),
    )?;
    Ok(())
}

fn hold(machine: &Machine, scene: &Scene) -> Result<(), Stop> {
    let name = scene.node().parse::<NodeName>().map_err(Stop::cannot_start)?;
    let config = &machine.place.config;
    let nodeset = config.nodeset_of(&name).map(|(name, _)| name.clone());
    let nodeset = nodeset.expect("the config has the nodes of scenes");
    let now = azslurm_program::now();
    let hold = Hold {
        scope: HoldScope::Nodeset(nodeset).to_string(),
        code: "capacity".to_owned(),
        text: "no room".to_owned(),
        strikes: 1,
        since: now,
        struck_at: now,
        until: now.plus(lasts()),
    };
    let mut session = machine.session(0)?;
    session.ledger.write(|writer| writer.hold(&hold)).map_err(|e: LedgerError| Stop::failed(e))
}

fn lasts() -> Duration {
    Duration::from_millis(LASTS.unsigned_abs())
}

/// Somebody who lives has the lease of a node, does nothing, and dies.
fn take_lease(machine: &Machine, node: &str) {
    let node: NodeName = node.parse().expect("it is a node's name");
    machine.start("pass", |machine, process| async move {
        let now = azslurm_program::now();
        let holder = Holder::new("azslurm-sync", now, std::process::id());
        let ledger = &machine.place.ledger;
        let _alive = Alive::begin(ledger, &holder).map_err(Stop::failed)?;
        let until = now.plus(lasts());
        let ask = LeaseAsk { holder: &holder, take: Take::Seize, now, until };
        {
            let mut session = machine.session(process)?;
            let taken = session.ledger.write(|writer| writer.lease(&node, &ask));
            taken.map_err(|error: LedgerError| Stop::failed(error))?;
        }
        tokio::time::sleep(lasts()).await;
        Ok(())
    });
}
