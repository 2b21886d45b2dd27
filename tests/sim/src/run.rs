//! One schedule: a script against a cluster, from its beginning to a quiet end, and what was broken.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use azslurm_arm_emulator::model::Model;
use azslurm_arm_emulator::model::capacity::Room;
use azslurm_arm_emulator::model::chance::Chance;
use azslurm_arm_emulator::model::quota::Allowance;
use azslurm_arm_emulator::model::throttle::Limits;
use azslurm_core::attempt::EndReason;
use azslurm_slurm_model::{Call, Exit, JobSpec, JobState, NodeSpec, Settings, Slurmctld};
use serde_json::json;
use tokio::task::LocalSet;
use tokio::time::sleep_until;

use crate::clients::{Shared, of};
use crate::laws::Laws;
use crate::place::{NODESETS, Place, RESUME_TIMEOUT_S, SUBSCRIPTION, azure};
use crate::programs::Machine;
use crate::script::{MINUTE, SECOND, Step, What};
use crate::seen::Seen;
use crate::world::{BEGAN_MS, World};
use crate::{commits, libc_seam};

/// The quiet time ends in agreement within so many passes of the daemon. What takes longest are
/// holds that grew while the cluster was disturbed: an hour at most, and passes are five minutes
/// apart after the first ones.
const QUIET_PASSES_MAX: u32 = 45;
/// systemd starts the daemon again after this.
const DAEMON_BACK: Duration = Duration::from_secs(5);

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

/// Runs a schedule in `folder`, which must be empty.
pub fn run(seed: u64, steps: &[Step], is_told: bool, folder: &std::path::Path) -> Outcome {
    libc_seam::seed_random(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    let local = LocalSet::new();
    let outcome = local.block_on(&runtime, async {
        libc_seam::begin(BEGAN_MS);
        live(seed, steps, is_told, folder).await
    });
    drop(local);
    commits::end();
    libc_seam::end();
    outcome
}

fn world_of(seed: u64, place: &Place) -> World {
    let mut model = Model::new(&azure(seed), BEGAN_MS).expect("the config is the emulator's own");
    model.set_runs_boot_commands(true);
    let nodes = NODESETS
        .iter()
        .flat_map(|nodes| nodes.names().map(|name| NodeSpec::new(&name, nodes.name)));
    let settings = Settings {
        nodes: nodes.collect(),
        resume_timeout_ms: i64::try_from(RESUME_TIMEOUT_S).unwrap_or(0) * SECOND,
        ..Settings::default()
    };
    let slurm = Slurmctld::new(settings, BEGAN_MS);
    let laws = Laws::new(place.ledger.clone());
    World::new(model, slurm, laws, Chance::new(seed ^ 0x5eed))
}

async fn live(seed: u64, steps: &[Step], is_told: bool, folder: &std::path::Path) -> Outcome {
    let place = Arc::new(Place::new(folder));
    let mut world = world_of(seed, &place);
    world.is_told = is_told;
    let world: Shared = Arc::new(Mutex::new(world));
    let judge = Arc::clone(&world);
    commits::begin(Box::new(move |process| of(&judge).may_act(process, "commits")));
    let machine = Machine { world, place, seen: Arc::new(Seen::default()) };
    let mut stage = Stage {
        machine,
        steps,
        next: 0,
        snapshot: None,
        daemon: 0,
        is_quiet: false,
        ends: Vec::new(),
    };
    stage.play().await;
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

struct Stage<'a> {
    machine: Machine,
    steps: &'a [Step],
    next: usize,
    snapshot: Option<std::path::PathBuf>,
    daemon: u32,
    is_quiet: bool,
    ends: Vec<(i64, End)>,
}

impl Stage<'_> {
    async fn play(&mut self) {
        self.daemon = self.machine.daemon();
        loop {
            self.turn();
            if !of(&self.machine.world).laws.broken.is_empty() || self.is_over() {
                return;
            }
            self.keep_daemon().await;
            let wake = {
                let world = of(&self.machine.world);
                let step = self.steps.get(self.next).map(|step| BEGAN_MS + step.at);
                let at = [world.next_at(), step].into_iter().flatten().min();
                world.instant(at.unwrap_or(world.now() + MINUTE).min(world.now() + MINUTE))
            };
            // Whoever acts meanwhile may make something due earlier: looked at once a second.
            let soon = tokio::time::Instant::now() + Duration::from_secs(1);
            sleep_until(wake.min(soon)).await;
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
                Call::Resume { nodes, resume_file } => self.machine.resume(nodes, resume_file),
                Call::Suspend { nodes } => self.machine.suspend(nodes, EndReason::Suspended),
                Call::ResumeFail { nodes } => self.machine.suspend(nodes, EndReason::ResumeTimeout),
            }
        }
    }

    async fn keep_daemon(&mut self) {
        let runs = of(&self.machine.world).processes[self.daemon as usize - 1].runs();
        if !runs {
            tokio::time::sleep(DAEMON_BACK).await;
            self.daemon = self.machine.daemon();
        }
    }
}

/// Something that ends by itself.
#[derive(Debug)]
enum End {
    Room(Room),
    Quota(usize),
    Throttle,
    Lag,
}

impl Stage<'_> {
    fn happens(&mut self, what: &What) {
        match what {
            What::Submit(..) | What::Cancel(_) => self.users(what),
            What::Pass(follow) => {
                let follow = u64::try_from(*follow).unwrap_or_default();
                self.machine.pass_by_hand(Duration::from_millis(follow));
            }
            What::Kill(..) | What::KillAll => self.kills(what),
            What::RestartSlurm(..) | What::SlurmDown(_) | What::SlurmHangs(_) => self.slurm(what),
            What::Full(..) | What::NoQuota(..) | What::Throttle(_) | What::Lag(_) => {
                self.azure(what);
            }
            What::Lossy(..) | What::Slow(_) | What::ListsFail(_) | What::BadBoots(_) => {
                self.weather(what);
            }
            What::Evict(pick) | What::Vanish(pick) | What::DeleteVm(pick) => {
                self.vm_goes(what, *pick);
            }
            What::SlurmdDies(pick) => self.slurmd_dies(*pick),
            What::LoseLedger | What::RollBackLedger => self.ledger(what),
            What::StepClock(by) => libc_seam::step_clock(*by),
            What::Drain(pick) => self.admin(*pick, "drain"),
            What::Down(pick) => self.admin(*pick, "down"),
            What::Resume(pick) => self.admin(*pick, "resume"),
        }
    }

    fn users(&mut self, what: &What) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        match what {
            What::Submit(nodeset, nodes, run_ms) => {
                let of = &NODESETS[*nodeset];
                // topology.conf keeps a job within a block.
                let names: Vec<String> = match of.name {
                    "hb" => of.names().skip(usize::from(run_ms % 2 == 0) * 2).take(2).collect(),
                    _ => Vec::new(),
                };
                let spec = JobSpec {
                    partition: Some(of.name.to_owned()),
                    nodes: *nodes,
                    run_ms: *run_ms,
                    requeue: true,
                    required: names.into_iter().take(*nodes).collect(),
                    ..JobSpec::default()
                };
                let job = world.slurm.submit(spec, now);
                world.tell(|| format!("  job {job}"));
            }
            What::Cancel(pick) => {
                let open: Vec<u32> = world
                    .slurm
                    .jobs()
                    .iter()
                    .filter(|job| !matches!(job.state, JobState::Ended(_)))
                    .map(|job| job.id)
                    .collect();
                if let Some(job) = picked(&open, *pick).copied() {
                    world.tell(|| format!("  scancel {job}"));
                    world.slurm.cancel(job, now);
                }
            }
            _ => {}
        }
        drop(world);
        if self.steps.iter().any(|step| step.what == What::RollBackLedger) {
            self.take_snapshot();
        }
    }

    fn take_snapshot(&mut self) {
        let ledger = &self.machine.place.ledger;
        let to = ledger.with_file_name("snapshot.db");
        let _absent = std::fs::remove_file(&to);
        let Ok(connection) = rusqlite::Connection::open(ledger) else { return };
        let name = to.to_string_lossy().into_owned();
        if connection.execute("VACUUM INTO ?1", [name]).is_ok() {
            self.snapshot = Some(to);
        }
    }

    fn kills(&mut self, what: &What) {
        let mut world = of(&self.machine.world);
        let running: Vec<u32> = (1..=world.processes.len())
            .filter(|number| world.processes[number - 1].runs())
            .filter_map(|number| u32::try_from(number).ok())
            .collect();
        if let What::Kill(pick, effects) = what {
            if let Some(process) = picked(&running, *pick) {
                world.processes[*process as usize - 1].dies_in = Some(*effects);
            }
            return;
        }
        running.into_iter().for_each(|process| world.kill(process, "anything more"));
    }

    fn slurm(&mut self, what: &What) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        match what {
            What::RestartSlurm(keeps_state, takes_along) => {
                if *takes_along {
                    // systemd kills what is left of its control group.
                    let of_slurm = |process: &crate::world::Process| {
                        process.runs() && !matches!(process.program, "sync" | "pass")
                    };
                    let all: Vec<u32> = (1u32..)
                        .zip(&world.processes)
                        .filter(|(_, process)| of_slurm(process))
                        .map(|(number, _)| number)
                        .collect();
                    all.into_iter().for_each(|number| world.kill(number, "slurmctld's restart"));
                }
                world.slurm.restart(*keeps_state, now);
                world.laws.slurmctld_restarted(*keeps_state);
                world.register_again(*keeps_state);
            }
            What::SlurmDown(time) => world.weather.slurm_away = now + time,
            What::SlurmHangs(time) => world.weather.slurm_hangs = now + time,
            _ => {}
        }
    }

    fn azure(&mut self, what: &What) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        match what {
            What::Full(nodeset, one_region, is_late, time) => {
                let region = if *one_region { "westeurope" } else { "*" };
                let room = Room {
                    region: region.to_owned(),
                    sku: NODESETS[*nodeset].sku.to_owned(),
                    zone: None,
                    spot: None,
                    in_set: false,
                    vms: Some(0),
                    late: *is_late,
                    code: None,
                    message: None,
                };
                world.azure.set_room(room.clone());
                self.ends.push((now + time, End::Room(Room { vms: None, ..room })));
            }
            What::NoQuota(nodeset, time) => {
                world.azure.set_quota(&allowance(*nodeset, Some(0)));
                self.ends.push((now + time, End::Quota(*nodeset)));
            }
            What::Throttle(time) => {
                let mut limits = json!(Limits::default());
                for bucket in ["PutVM", "DeleteVM", "LowCostGet"] {
                    limits["compute"][bucket] = json!({"max": 3.0, "refill_per_s": 0.2});
                }
                world.azure.change_limits(&limits).expect("these are members of the limits");
                self.ends.push((now + time, End::Throttle));
            }
            What::Lag(time) => {
                world.azure.change_graph_lag(60 * SECOND);
                self.ends.push((now + time, End::Lag));
            }
            _ => {}
        }
    }

    fn end_what_is_over(&mut self, all: bool) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        for (_, end) in self.ends.extract_if(.., |(at, _)| all || *at <= now) {
            match end {
                End::Room(room) => drop(world.azure.set_room(room)),
                End::Quota(nodeset) => world.azure.set_quota(&allowance(nodeset, None)),
                End::Throttle => {
                    let usual = json!(Limits::default());
                    world.azure.change_limits(&usual).expect("the usual limits are limits");
                }
                End::Lag => drop(world.azure.change_graph_lag(0)),
            }
        }
    }

    fn weather(&mut self, what: &What) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        match what {
            What::Lossy(share, time) => world.weather.lossy = (*share, now + time),
            What::Slow(time) => world.weather.slow = now + time,
            What::ListsFail(time) => world.weather.lists_fail = now + time,
            What::BadBoots(time) => world.weather.bad_boots = now + time,
            _ => {}
        }
    }

    fn vm_goes(&mut self, what: &What, pick: u64) {
        let mut world = of(&self.machine.world);
        let is_spot = matches!(what, What::Evict(_));
        let vms: Vec<(String, String)> = world
            .guests
            .values()
            .filter(|guest| !is_spot || guest.node.starts_with('s'))
            .map(|guest| (guest.vm.clone(), guest.node.clone()))
            .collect();
        let Some((vm, node)) = picked(&vms, pick).cloned() else { return };
        world.tell(|| format!("  VM {vm}"));
        world.laws.excuse(&node);
        let done = match what {
            What::Evict(_) => world.azure.evict(&vm, 0),
            _ => world.azure.vanish(&vm),
        };
        if let Err(why) = done {
            world.tell(|| format!("  {why}"));
        }
    }

    fn slurmd_dies(&mut self, pick: u64) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        let good: Vec<String> = world
            .guests
            .iter()
            .filter(|(_, guest)| guest.is_registered && guest.is_good)
            .map(|(id, _)| id.clone())
            .collect();
        let Some(id) = picked(&good, pick) else { return };
        let Some(guest) = world.guests.get_mut(id) else { return };
        guest.is_good = false;
        let node = guest.node.clone();
        world.tell(|| format!("  slurmd of {node}"));
        world.laws.excuse(&node);
        world.slurm.slurmd_alive(&node, false, now);
    }

    fn ledger(&mut self, what: &What) {
        of(&self.machine.world).laws.ledger_goes();
        let ledger = &self.machine.place.ledger;
        for end in ["", "-wal", "-shm"] {
            let mut name = ledger.as_os_str().to_owned();
            name.push(end);
            let _absent = std::fs::remove_file(name);
        }
        if let (What::RollBackLedger, Some(snapshot)) = (what, &self.snapshot) {
            std::fs::copy(snapshot, ledger).expect("the snapshot is beside the ledger");
        }
    }

    fn admin(&mut self, pick: u64, verb: &str) {
        let nodes: Vec<String> =
            NODESETS.iter().flat_map(|of| of.names().collect::<Vec<_>>()).collect();
        let Some(node) = picked(&nodes, pick) else { return };
        self.says(node, verb);
    }

    fn says(&self, node: &str, verb: &str) {
        let mut world = of(&self.machine.world);
        if verb != "resume" {
            world.laws.excuse(node);
        }
        let mut words =
            vec!["update".to_owned(), format!("nodename={node}"), format!("state={verb}")];
        if verb != "resume" {
            words.push(format!("reason={ADMIN}"));
        }
        let output = world.tells_slurm(0, "scontrol", &words);
        world.tell(|| format!("  admin: {} -> {}", words.join(" "), output.status));
    }

    /// Whether all is over: quiet has come, and everything agrees again.
    fn is_over(&mut self) -> bool {
        self.end_what_is_over(false);
        if !self.is_quiet {
            let is_calm = {
                let world = of(&self.machine.world);
                let (now, weather) = (world.now(), &world.weather);
                let until =
                    [weather.lossy.1, weather.slow, weather.slurm_away, weather.slurm_hangs];
                let more = [weather.lists_fail, weather.bad_boots];
                self.next == self.steps.len() && until.iter().chain(&more).all(|at| *at <= now)
            };
            if !is_calm || !self.ends.is_empty() {
                return false;
            }
            self.be_quiet();
        }
        let left = self.left();
        if left.is_empty() {
            let mut world = of(&self.machine.world);
            let taken = world.laws.requeued(&world.slurm);
            taken.into_iter().for_each(|what| world.broken(what));
            return true;
        }
        let passes = self.machine.seen.quiet_passes();
        if passes >= QUIET_PASSES_MAX {
            let mut world = of(&self.machine.world);
            world.broken(format!("after {passes} quiet passes: {}", left.join("; ")));
        }
        false
    }

    fn be_quiet(&mut self) {
        self.is_quiet = true;
        self.machine.seen.is_quiet_now();
        of(&self.machine.world).tell(|| "* quiet: administrators free what they kept".to_owned());
        let kept = {
            let mut world = of(&self.machine.world);
            world.processes.iter_mut().for_each(|process| process.dies_in = None);
            let nodes = NODESETS.iter().flat_map(|of| of.names().collect::<Vec<_>>());
            let is_kept = |name: &String| {
                let node = world.slurm.node(name);
                node.is_some_and(|node| {
                    node.reason.as_deref().is_some_and(|why| why.contains(ADMIN))
                })
            };
            nodes.filter(is_kept).collect::<Vec<_>>()
        };
        kept.iter().for_each(|node| self.says(node, "resume"));
    }

    /// What does not agree yet, in words.
    fn left(&self) -> Vec<String> {
        let mut world = of(&self.machine.world);
        let mut left = Vec::new();
        for job in world.slurm.jobs() {
            let is_fine = match job.state {
                JobState::Ended(Exit::Completed | Exit::Cancelled) => true,
                JobState::Ended(Exit::LostWithState) => true,
                _ => false,
            };
            if !is_fine {
                left.push(format!("job {} is {:?} on {:?}", job.id, job.state, job.nodes));
            }
        }
        let names = NODESETS.iter().flat_map(|of| of.names().collect::<Vec<_>>());
        for name in names {
            let Some(seen) = world.slurm.node(&name) else { continue };
            if seen.is_down || !seen.flags.powered_down || seen.flags.drain {
                left.push(format!("node {name}: {} ({:?})", seen.state, seen.reason));
            }
        }
        let vms = world.azure.history().alive("Microsoft.Compute/virtualMachines");
        left.extend(vms.map(|name| format!("VM {name} is alive")));
        for kind in
            ["Microsoft.Compute/availabilitySets", "Microsoft.Compute/proximityPlacementGroups"]
        {
            let parts = world.azure.history().alive(kind);
            left.extend(parts.map(|name| format!("{name} is left")));
        }
        let rows = world.laws.unfinished();
        left.extend(rows.into_iter().map(|(vm, state)| format!("{vm} is {state} in the ledger")));
        left
    }
}

fn picked<T>(all: &[T], pick: u64) -> Option<&T> {
    let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
    all.get(usize::try_from(pick % count).unwrap_or_default())
}

fn allowance(nodeset: usize, limit: Option<u64>) -> Allowance {
    let name = match NODESETS[nodeset].name {
        "n" => "standardDSv5Family",
        "hb" => "standardHBrsv3Family",
        _ => "lowPriorityCores",
    };
    Allowance {
        subscription: Some(SUBSCRIPTION.to_owned()),
        region: "westeurope".to_owned(),
        name: name.to_owned(),
        limit,
    }
}
