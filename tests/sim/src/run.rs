//! One schedule: a script against a cluster, from its beginning to a quiet end, and what it broke.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azslurm_arm_emulator::model::Model;
use azslurm_arm_emulator::model::chance::Chance;
use azslurm_core::attempt::EndReason;
use azslurm_slurm_model::{Call, NodeSpec, Settings, Slurmctld};
use tokio::task::LocalSet;
use tokio::time::sleep_until;

use crate::clients::{Shared, of};
use crate::laws::Laws;
use crate::ledgers::{Ledgers, Yard};
use crate::place::{
    NODESETS, OTHERS, Place, RESUME_TIMEOUT_S, SLURMD_TIMEOUT, SUSPEND_TIME, SUSPEND_TIMEOUT,
    azure, others,
};
use crate::programs::Machine;
use crate::scene::{FIRST_PASS, IDLE_TIME, WAKE_RATE, is_scene};
use crate::script::{MINUTE, SECOND, Step};
use crate::seen::Seen;
use crate::steps::End;
use crate::world::{BEGAN_MS, World};
use crate::{commits, libc_seam};

/// systemd starts the daemon again after this.
const DAEMON_BACK: Duration = Duration::from_secs(5);

/// One of so many clusters has no ledger yet when it begins.
const NEW_CLUSTER_EVERY: u64 = 32;
/// In one of so many there are VMs of others in our resource group.
const OTHERS_EVERY: u64 = 5;
/// In one of so many Resource Graph names resource groups in another case.
const ODD_CASE_EVERY: u64 = 3;

/// One of so many clusters lets its nodes idle for long: longer than a silent node is waited for.
const PATIENT_EVERY: u64 = 16;
const PATIENT_TIME: i64 = 15 * MINUTE;

/// One of so many has a ResumeRate of so many nodes a minute.
const SLOW_EVERY: u64 = 16;
const SLOW_RATE: u32 = 2;

/// In one of so many the daemon begins with the cluster, in the others as many seconds later.
const PASS_FIRST_EVERY: u64 = 8;
const LATE_MAX: u64 = 100;

/// What an administrator writes as reason.
pub(crate) const ADMIN: &str = "looking at it";

/// How a schedule ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The laws that were broken; none if all is well.
    pub broken: Vec<String>,
    /// What happened, if it was to be told.
    pub story: Vec<String>,
    /// What passes found.
    pub seen: Seen,
    /// Requests to Azure and the like: effects of our processes.
    pub processes: usize,
}

/// What is wanted of a schedule beside its laws; each costs time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// What happens, in words.
    pub is_told: bool,
    /// What passes find: the cells of the matrices.
    pub is_looked_at: bool,
}

/// Runs a schedule.
pub fn run(seed: u64, steps: &[Step], wish: Wish, yard: &mut Yard) -> Outcome {
    libc_seam::seed_random(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    let local = LocalSet::new();
    let place = yard.place();
    let ledgers = yard.begin(&place.ledger, seed.is_multiple_of(NEW_CLUSTER_EVERY));
    let ledgers = Rc::new(ledgers);
    let outcome = local.block_on(&runtime, async {
        libc_seam::begin(BEGAN_MS);
        live((seed, steps), wish, (place, Rc::clone(&ledgers))).await
    });
    // Every process gives its connection back.
    drop(local);
    commits::end();
    libc_seam::end();
    if let Some(ledgers) = Rc::into_inner(ledgers) {
        yard.end(ledgers);
    }
    outcome
}

fn world_of((seed, is_scene): (u64, bool), place: &Place) -> World {
    let mut model = Model::new(&azure(seed), BEGAN_MS).expect("the config is the emulator's own");
    model.set_runs_boot_commands(true);
    let nodes = NODESETS
        .iter()
        .flat_map(|nodes| nodes.names().map(|name| NodeSpec::new(&name, nodes.name)));
    let is_patient = seed % PATIENT_EVERY == PATIENT_EVERY - 1;
    let is_slow = seed % SLOW_EVERY == SLOW_EVERY / 2;
    let (idle_time, rate) = match is_scene {
        true => (IDLE_TIME, WAKE_RATE),
        false => (
            if is_patient { PATIENT_TIME } else { SUSPEND_TIME },
            if is_slow { SLOW_RATE } else { 0 },
        ),
    };
    let settings = Settings {
        nodes: nodes.collect(),
        resume_timeout_ms: i64::try_from(RESUME_TIMEOUT_S).unwrap_or(0) * SECOND,
        suspend_time_ms: idle_time,
        suspend_timeout_ms: SUSPEND_TIMEOUT,
        resume_rate_per_min: rate,
        slurmd_timeout_ms: SLURMD_TIMEOUT,
        ..Settings::default()
    };
    let slurm = Slurmctld::new(settings, BEGAN_MS);
    let mut laws = Laws::new(place.ledger.clone());
    if seed.is_multiple_of(OTHERS_EVERY) {
        let others = serde_json::from_value(others()).expect("it is a seed of the model");
        model.seed(&others, BEGAN_MS).expect("there is room for two");
        laws.others = OTHERS.iter().map(|name| (*name).to_owned()).collect();
    }
    let mut world = World::new(model, slurm, laws, Chance::new(seed ^ 0x5eed));
    world.has_odd_case = seed.is_multiple_of(ODD_CASE_EVERY);
    world
}

async fn live(
    (seed, steps): (u64, &[Step]),
    wish: Wish,
    (place, ledgers): (Arc<Place>, Rc<Ledgers>),
) -> Outcome {
    let mut world = world_of((seed, is_scene(steps)), &place);
    world.is_told = wish.is_told;
    let world: Shared = Arc::new(Mutex::new(world));
    let judge = Arc::clone(&world);
    commits::begin(Box::new(move |process| of(&judge).may_act(process, "commits")));
    let seen = Rc::new(Seen::new(wish.is_looked_at));
    let machine = Machine { world, place, ledgers, seen };
    let mut stage = Stage {
        machine,
        steps,
        next: 0,
        snapshot: None,
        daemon: 0,
        is_quiet: false,
        ends: Vec::new(),
        looked_at: None,
    };
    // Of an empty cluster a first pass finds the same every time.
    let first = match is_scene(steps) {
        true => FIRST_PASS,
        false if seed.is_multiple_of(PASS_FIRST_EVERY) => 0,
        false => seed % LATE_MAX,
    };
    stage.play(first).await;
    commits::end();
    let mut world = of(&stage.machine.world);
    let broken = std::mem::take(&mut world.laws.broken);
    let story = std::mem::take(&mut world.story);
    for process in &mut world.processes {
        if let Some(handle) = process.handle.take() {
            handle.abort();
        }
    }
    let processes = world.processes.len();
    drop(world);
    let seen = &stage.machine.seen;
    let seen = Seen::of(seen);
    Outcome { broken, story, seen, processes }
}

/// A schedule that is being played.
pub(crate) struct Stage<'a> {
    pub(crate) machine: Machine,
    pub(crate) steps: &'a [Step],
    pub(crate) next: usize,
    pub(crate) snapshot: Option<std::path::PathBuf>,
    pub(crate) daemon: u32,
    pub(crate) is_quiet: bool,
    pub(crate) ends: Vec<(i64, End)>,
    /// The pass and half minute of the quiet time that were looked at.
    pub(crate) looked_at: Option<(u32, i64)>,
}

impl Stage<'_> {
    async fn play(&mut self, first: u64) {
        self.daemon = self.machine.daemon(first);
        loop {
            self.turn();
            if !of(&self.machine.world).laws.broken.is_empty() || self.is_over() {
                return;
            }
            self.keep_daemon().await;
            let wake = {
                let world = of(&self.machine.world);
                let step = self.steps.get(self.next).map(|step| BEGAN_MS + step.at);
                let end = self.ends.iter().map(|(at, _)| *at).min();
                let at = [world.next_at(), step, end].into_iter().flatten().min();
                world.instant(at.unwrap_or(world.now() + MINUTE).min(world.now() + MINUTE))
            };
            // Whoever acts meanwhile may make something due earlier.
            let news = Arc::clone(&of(&self.machine.world).news);
            tokio::select! {
                biased;
                () = news.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    fn turn(&mut self) {
        while let Some(step) = self.steps.get(self.next) {
            let now = of(&self.machine.world).now();
            if BEGAN_MS + step.at > now {
                break;
            }
            self.next += 1;
            of(&self.machine.world).tell(|| format!("* {:?}", step.what));
            self.happens(&step.what);
        }
        let calls = {
            let mut world = of(&self.machine.world);
            world.turn();
            world.calls()
        };
        for call in calls {
            of(&self.machine.world).tell(|| format!("slurmctld calls {call:?}"));
            match call {
                Call::Resume { nodes, resume_file } => {
                    self.machine.resume(nodes, Some(resume_file))
                }
                Call::Suspend { nodes } => self.machine.suspend(nodes, EndReason::Suspended),
                Call::ResumeFail { nodes } => self.machine.suspend(nodes, EndReason::ResumeTimeout),
            }
        }
    }

    async fn keep_daemon(&mut self) {
        let runs = of(&self.machine.world).processes[self.daemon as usize - 1].runs();
        if !runs {
            tokio::time::sleep(DAEMON_BACK).await;
            self.daemon = self.machine.daemon(0);
        }
    }
}
