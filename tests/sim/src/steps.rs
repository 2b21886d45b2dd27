//! What happens to a cluster besides its own work, done to the world.

use std::time::Duration;

use azslurm_arm_emulator::model::capacity::Room;
use azslurm_arm_emulator::model::quota::Allowance;
use azslurm_arm_emulator::model::throttle::Limits;
use azslurm_slurm_model::{JobSpec, JobState};
use serde_json::json;

use crate::clients::of;
use crate::libc_seam;
use crate::place::{NODESETS, REGIONS, STRANGER, SUBSCRIPTION};
use crate::run::{ADMIN, Stage};
use crate::script::{PROGRAMS, SECOND, What};
use crate::weather::Weather;
use crate::world::Process;

/// Azure's word for a fault of its own while it makes a VM (FACTS §4).
const FAULT: &str = "InternalExecutionError";

/// Something that ends by itself.
#[derive(Debug)]
pub(crate) enum End {
    Room(Room),
    Quota(usize),
    Throttle,
    Lag,
    Maintenance(String),
}

impl Stage<'_> {
    pub(crate) fn happens(&mut self, what: &What) {
        match what {
            What::Submit(nodeset, nodes, run_ms) => self.submit(*nodeset, (*nodes, *run_ms)),
            What::Cancel(pick) => self.cancel(*pick),
            What::Pass(follow) => {
                let follow = u64::try_from(*follow).unwrap_or_default();
                self.machine.pass_by_hand(Duration::from_millis(follow));
            }
            What::Kill(pick, effects) => self.kill(*pick, *effects),
            What::KillNext(program, effects) => {
                let doom = (PROGRAMS[*program], *effects);
                of(&self.machine.world).doomed.push(doom);
            }
            What::KillAll => self.kill_all(|_| true),
            What::RestartSlurm(keeps, takes_along) => self.restart_slurm(*keeps, *takes_along),
            What::Full(nodeset, one_region, late, time) => {
                self.fill(room(*nodeset, *one_region, *late), *time);
            }
            What::OneLeft(nodeset, one_region, late, time) => {
                self.fill(Room { vms: Some(1), ..room(*nodeset, *one_region, *late) }, *time);
            }
            What::Faulty(nodeset, late, time) => {
                let code = Some(FAULT.to_owned());
                self.fill(Room { code, ..room(*nodeset, true, *late) }, *time);
            }
            What::NoQuota(nodeset, time) => {
                of(&self.machine.world).azure.set_quota(&allowance(*nodeset, Some(0)));
                self.ends_after(*time, End::Quota(*nodeset));
            }
            What::Throttle(at_door, time) => self.throttle(*at_door, *time),
            What::Lag(time) => {
                of(&self.machine.world).azure.change_graph_lag(60 * SECOND);
                self.ends_after(*time, End::Lag);
            }
            What::SlurmDown(time) => self.weather(|weather| &mut weather.slurm_away, *time),
            What::SlurmHangs(time) => self.weather(|weather| &mut weather.slurm_hangs, *time),
            What::Lossy(share, time) => {
                of(&self.machine.world).weather.lossy.0 = *share;
                self.weather(|weather| &mut weather.lossy.1, *time);
            }
            What::Outage(time) => self.weather(|weather| &mut weather.outage, *time),
            What::Slow(time) => self.weather(|weather| &mut weather.slow, *time),
            What::ListsFail(time) => self.weather(|weather| &mut weather.lists_fail, *time),
            What::BadBoots(time) => self.weather(|weather| &mut weather.bad_boots, *time),
            What::Evict(pick) => self.vm_goes(*pick, true),
            What::Vanish(pick) => self.vm_goes(*pick, false),
            What::SlurmdDies(pick) => self.slurmd_dies(*pick),
            What::LoseLedger => self.lose_ledger(),
            What::RollBackLedger => self.roll_back_ledger(),
            What::StepClock(by) => libc_seam::step_clock(*by),
            What::ByHand => self.machine.resume(STRANGER.to_owned(), None),
            What::Drain(pick) => self.admin(*pick, "drain"),
            What::Down(pick) => self.admin(*pick, "down"),
            What::Resume(pick) => self.admin(*pick, "resume"),
            What::PowerDown(pick, true) => self.admin(*pick, "power_down_force"),
            What::PowerDown(pick, false) => self.admin(*pick, "power_down"),
            What::PowerUp(pick) => self.admin(*pick, "power_up"),
            What::Linger(time) => self.weather(|weather| &mut weather.lingers, *time),
            What::Maintenance(pick, time) => self.maintenance(*pick, *time),
            What::Scene(scene, act) => self.act(scene, *act),
        }
    }

    fn submit(&mut self, nodeset: usize, (nodes, run_ms): (usize, i64)) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        let of = &NODESETS[nodeset];
        // topology.conf keeps a job within a block.
        let names: Vec<String> = match of.name {
            "hb" => of.names().skip(usize::from(run_ms % 2 == 0) * 2).take(2).collect(),
            _ => Vec::new(),
        };
        let spec = JobSpec {
            partition: Some(of.name.to_owned()),
            nodes,
            run_ms,
            requeue: true,
            required: names.into_iter().take(nodes).collect(),
            ..JobSpec::default()
        };
        let job = world.slurm.submit(spec, now);
        world.tell(|| format!("  job {job}"));
        drop(world);
        if self.steps.iter().any(|step| step.what == What::RollBackLedger) {
            self.take_snapshot();
        }
    }

    fn cancel(&mut self, pick: u64) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        let jobs = world.slurm.jobs();
        let open: Vec<u32> = jobs
            .iter()
            .filter(|job| !matches!(job.state, JobState::Ended(_)))
            .map(|job| job.id)
            .collect();
        if let Some(job) = picked(&open, pick).copied() {
            world.tell(|| format!("  scancel {job}"));
            world.slurm.cancel(job, now);
        }
    }

    fn kill(&mut self, pick: u64, effects: u32) {
        let mut world = of(&self.machine.world);
        let running: Vec<usize> =
            (0..world.processes.len()).filter(|index| world.processes[*index].runs()).collect();
        if let Some(process) = picked(&running, pick) {
            world.processes[*process].dies_in = Some(effects);
        }
    }

    fn kill_all(&mut self, which: impl Fn(&Process) -> bool) {
        let mut world = of(&self.machine.world);
        let all: Vec<u32> = (1u32..)
            .zip(&world.processes)
            .filter(|(_, process)| process.runs() && which(process))
            .map(|(number, _)| number)
            .collect();
        all.into_iter().for_each(|number| world.kill(number, "anything more"));
    }

    fn restart_slurm(&mut self, keeps_state: bool, takes_along: bool) {
        if takes_along {
            // systemd kills what is left of its control group.
            self.kill_all(|process| !matches!(process.program, "sync" | "pass"));
        }
        let mut world = of(&self.machine.world);
        let now = world.now();
        world.slurm.restart(keeps_state, now);
        world.laws.slurmctld_restarted(keeps_state);
        world.register_again(keeps_state);
    }

    fn ends_after(&mut self, time: i64, end: End) {
        let now = of(&self.machine.world).now();
        self.ends.push((now + time, end));
    }

    fn fill(&mut self, room: Room, time: i64) {
        of(&self.machine.world).azure.set_room(room.clone());
        self.ends_after(time, End::Room(Room { vms: None, ..room }));
    }

    fn throttle(&mut self, at_door: bool, time: i64) {
        let mut limits = json!(Limits::default());
        let few = json!({"max": 1.0, "refill_per_s": 0.05});
        match at_door {
            true => ["arm_writes", "arm_deletes"].iter().for_each(|name| {
                limits[name] = few.clone();
                limits["arm_global_factor"] = json!(1.0);
            }),
            false => ["PutVM", "DeleteVM", "LowCostGet"].iter().for_each(|name| {
                limits["compute"][name] = few.clone();
            }),
        }
        let changed = of(&self.machine.world).azure.change_limits(&limits);
        changed.expect("these are members of the limits");
        self.ends_after(time, End::Throttle);
    }

    fn maintenance(&mut self, pick: u64, time: i64) {
        let node = self.node(pick);
        {
            let mut world = of(&self.machine.world);
            let now = world.now();
            world.tell(|| format!("  maintenance of {node}"));
            world.slurm.maintenance(&node, true, now);
        }
        self.ends_after(time, End::Maintenance(node));
    }

    pub(crate) fn end_what_is_over(&mut self) {
        let mut world = of(&self.machine.world);
        let now = world.now();
        for (_, end) in self.ends.extract_if(.., |(at, _)| *at <= now) {
            match end {
                End::Room(room) => drop(world.azure.set_room(room)),
                End::Quota(nodeset) => world.azure.set_quota(&allowance(nodeset, None)),
                End::Throttle => {
                    let usual = json!(Limits::default());
                    world.azure.change_limits(&usual).expect("the usual limits are limits");
                }
                End::Lag => drop(world.azure.change_graph_lag(0)),
                End::Maintenance(node) => world.slurm.maintenance(&node, false, now),
            }
        }
    }

    fn weather(&mut self, which: impl Fn(&mut Weather) -> &mut i64, time: i64) {
        let mut world = of(&self.machine.world);
        let until = world.now() + time;
        *which(&mut world.weather) = until;
    }

    fn vm_goes(&mut self, pick: u64, is_spot: bool) {
        let mut world = of(&self.machine.world);
        let vms: Vec<(String, String)> = world
            .guests
            .values()
            .filter(|guest| !is_spot || guest.node.starts_with('s'))
            .map(|guest| (guest.vm.clone(), guest.node.clone()))
            .collect();
        let Some((vm, node)) = picked(&vms, pick).cloned() else { return };
        world.tell(|| format!("  VM {vm}"));
        world.laws.excuse(&node);
        let done = match is_spot {
            true => world.azure.evict(&vm, 0),
            false => world.azure.vanish(&vm),
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

    fn take_snapshot(&mut self) {
        let ledger = &self.machine.place.ledger;
        let to = ledger.with_file_name("snapshot.db");
        let _absent = std::fs::remove_file(&to);
        self.snapshot = None;
        // Where there is none, none is made.
        let with = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let Ok(connection) = rusqlite::Connection::open_with_flags(ledger, with) else { return };
        let name = to.to_string_lossy().into_owned();
        if connection.execute("VACUUM INTO ?1", [name]).is_ok() {
            self.snapshot = Some(to);
        }
    }

    fn lose_ledger(&mut self) {
        of(&self.machine.world).laws.ledger_goes();
        self.machine.ledgers.lose();
        let ledger = &self.machine.place.ledger;
        for end in ["", "-wal", "-shm"] {
            let mut name = ledger.as_os_str().to_owned();
            name.push(end);
            let _absent = std::fs::remove_file(name);
        }
    }

    fn roll_back_ledger(&mut self) {
        self.lose_ledger();
        if let Some(snapshot) = &self.snapshot {
            let ledger = &self.machine.place.ledger;
            std::fs::copy(snapshot, ledger).expect("the snapshot is beside the ledger");
        }
    }

    fn admin(&mut self, pick: u64, verb: &str) {
        let node = self.node(pick);
        self.says(&node, verb);
    }

    /// A node, rather one that is not off: about those people have something to say.
    fn node(&self, pick: u64) -> String {
        let world = of(&self.machine.world);
        let is_used =
            |name: &String| world.slurm.node(name).is_some_and(|node| !node.flags.powered_down);
        let all = all_nodes();
        let used: Vec<String> = all.iter().filter(|name| is_used(name)).cloned().collect();
        let from = if used.is_empty() || pick.is_multiple_of(4) { &all } else { &used };
        picked(from, pick / 4).cloned().expect("a cluster has nodes")
    }

    /// An administrator says it.
    pub(crate) fn says(&self, node: &str, verb: &str) {
        self.says_because(node, verb, ADMIN);
    }

    /// Somebody says it. The reason counts where Slurm wants one.
    pub(crate) fn says_because(&self, node: &str, verb: &str, reason: &str) {
        let mut world = of(&self.machine.world);
        if verb != "resume" {
            world.laws.excuse(node);
        }
        let mut words =
            vec!["update".to_owned(), format!("nodename={node}"), format!("state={verb}")];
        if matches!(verb, "down" | "drain") {
            words.push(format!("reason={reason}"));
        }
        let output = world.tells_slurm(0, "scontrol", &words);
        world.tell(|| format!("  admin: {} -> {}", words.join(" "), output.status));
    }
}

fn all_nodes() -> Vec<String> {
    NODESETS.iter().flat_map(|of| of.names().collect::<Vec<_>>()).collect()
}

/// No room for a size, in the first region or everywhere, at PUT or later.
fn room(nodeset: usize, one_region: bool, late: bool) -> Room {
    Room {
        region: if one_region { REGIONS[0] } else { "*" }.to_owned(),
        sku: NODESETS[nodeset].sku.to_owned(),
        zone: None,
        spot: None,
        in_set: false,
        vms: Some(0),
        late,
        code: None,
        message: None,
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
        region: REGIONS[0].to_owned(),
        name: name.to_owned(),
        limit,
    }
}
