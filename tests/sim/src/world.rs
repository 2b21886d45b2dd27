//! The world of one schedule: Azure and slurmctld as models, the guests of Azure's VMs, the weather
//! between them, our processes, and what happened, in words. Every effect of a process goes through
//! here, and is judged here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use azslurm_arm_emulator::model::Model;
use azslurm_arm_emulator::model::chance::Chance;
use azslurm_arm_emulator::model::message::{BootOrder, Effect, Method, Request, Response};
use azslurm_slurm_model::{Call, Output, Slurmctld};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::laws::Laws;
use crate::script::{SECOND, below};
use crate::weather::{SlurmMood, Weather, capitals, is_graph, unavailable};

/// The wall clock at the beginning: 2026-01-01T00:00:00Z.
pub const BEGAN_MS: i64 = 1_767_225_600_000;
/// A guest boots within this time at least, and at most this much longer.
const BOOT_MIN: i64 = 10 * SECOND;
const BOOT_MORE: u64 = 30_000;

/// A slurmctld that has lost its state has heard of all slurmds after this, in milliseconds.
const AGAIN_MORE: u64 = 40_000;

/// What runs in a VM.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The node that its slurmd is.
    pub node: String,
    /// The VM's name.
    pub vm: String,
    /// The kernel's boot time.
    pub booted: i64,
    /// When slurmd registers, or would have.
    pub registers: i64,
    /// Whether it has.
    pub is_registered: bool,
    /// Whether slurmd works at all.
    pub is_good: bool,
    /// When it registers once more with a slurmctld that has begun anew.
    pub again: Option<i64>,
}

/// A process of ours.
#[derive(Debug)]
pub struct Process {
    /// Its program.
    pub program: &'static str,
    /// How to end it.
    pub handle: Option<AbortHandle>,
    /// It is killed before its so many-th effect from now.
    pub dies_in: Option<u32>,
    /// It was killed.
    pub is_dead: bool,
    /// It has ended by itself.
    pub is_done: bool,
}

impl Process {
    /// Whether it runs.
    pub fn runs(&self) -> bool {
        !self.is_dead && !self.is_done
    }
}

/// Everything.
pub struct World {
    /// Azure.
    pub azure: Model,
    /// slurmctld.
    pub slurm: Slurmctld,
    /// The guests, by `vmId`.
    pub guests: BTreeMap<String, Guest>,
    /// What is wrong.
    pub weather: Weather,
    /// Our processes; number 1 is the first.
    pub processes: Vec<Process>,
    /// Programs whose next process dies so many effects after its start.
    pub doomed: Vec<(&'static str, u32)>,
    /// What must hold.
    pub laws: Laws,
    /// What happened, in words.
    pub story: Vec<String>,
    /// Whether anybody wants to read it.
    pub is_told: bool,
    /// Everything that is left to chance.
    pub chance: Chance,
    /// Somebody has done something.
    pub news: Arc<Notify>,
    /// Resource Graph names resource groups in another case than they were asked for in (FACTS §8).
    pub has_odd_case: bool,
    pub(crate) began: Instant,
}

impl World {
    /// At its beginning.
    pub fn new(azure: Model, slurm: Slurmctld, laws: Laws, chance: Chance) -> World {
        World {
            azure,
            slurm,
            guests: BTreeMap::new(),
            weather: Weather::default(),
            processes: Vec::new(),
            doomed: Vec::new(),
            laws,
            story: Vec::new(),
            is_told: false,
            chance,
            news: Arc::new(Notify::new()),
            has_odd_case: false,
            began: Instant::now(),
        }
    }

    /// The true time, in milliseconds since 1970: nobody sets it.
    pub fn now(&self) -> i64 {
        BEGAN_MS + i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// When a true time is, as tokio counts.
    pub fn instant(&self, at: i64) -> Instant {
        self.began + Duration::from_millis(u64::try_from(at - BEGAN_MS).unwrap_or_default())
    }

    /// Adds to the story.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.is_told {
            let at = (self.now() - BEGAN_MS) as f64 / 1000.0;
            self.story.push(format!("{at:9.3} s  {}", what()));
        }
    }

    /// A law is broken.
    pub fn broken(&mut self, what: String) {
        self.tell(|| format!("BROKEN: {what}"));
        self.laws.broken.push(what);
    }

    /// A pass has ended well.
    pub fn passed(&mut self) {
        self.glance();
        let is_heard = self.slurm_mood() == SlurmMood::Well;
        let said =
            if is_heard { self.laws.passed(&self.slurm, &self.processes) } else { Vec::new() };
        said.into_iter().for_each(|what| self.broken(what));
        self.laws.look();
        self.news.notify_one();
    }

    /// A process has ended by itself, and well.
    pub fn ended(&mut self, process: u32) {
        self.glance();
        let said = self.laws.ended(&self.name_of(process), process);
        said.into_iter().for_each(|what| self.broken(what));
    }

    fn name_of(&self, process: u32) -> String {
        let of = |process: &Process| process.program;
        let program = self.processes.get((process as usize).wrapping_sub(1)).map_or("?", of);
        format!("{program}#{process}")
    }

    /// Whether a process lives to do something; one whose time has come dies here.
    pub fn may_act(&mut self, process: u32, what: &str) -> bool {
        let index = (process as usize).wrapping_sub(1);
        let Some(of) = self.processes.get_mut(index) else { return true };
        match of.dies_in.as_mut() {
            Some(0) => {
                of.dies_in = None;
                self.kill(process, what);
                return false;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let may = !of.is_dead;
        if may && self.is_told {
            let name = self.name_of(process);
            self.tell(|| format!("{name}: {what}"));
        }
        may
    }

    /// SIGKILL, just before it does `what`.
    pub fn kill(&mut self, process: u32, what: &str) {
        let name = self.name_of(process);
        let of = &mut self.processes[process as usize - 1];
        if !of.runs() {
            return;
        }
        of.is_dead = true;
        if let Some(handle) = of.handle.take() {
            handle.abort();
        }
        self.news.notify_one();
        self.tell(|| format!("{name} is killed before: {what}"));
    }

    /// A request leaves a process.
    pub fn watch_sending(&mut self, process: u32, asked: &Request) {
        let (now, name) = (self.now(), self.name_of(process));
        self.glance();
        let said = self.laws.sent(&name, process, asked, now);
        said.into_iter().for_each(|what| self.broken(what));
    }

    /// How many effects a new process of a program has, if it dies.
    pub(crate) fn doom_of(&mut self, program: &str) -> Option<u32> {
        let at = self.doomed.iter().position(|(of, _)| *of == program)?;
        Some(self.doomed.swap_remove(at).1)
    }

    /// What must hold whenever somebody looks.
    pub fn glance(&mut self) {
        let said = self.laws.glance(self.now(), &self.processes, &self.azure);
        let said = said.into_iter().chain(self.laws.gangs(&self.slurm));
        said.collect::<Vec<_>>().into_iter().for_each(|what| self.broken(what));
    }

    /// An answer reaches a process.
    pub fn watch_answer(&mut self, process: u32, asked: &Request, answer: &Response) {
        let now = self.now();
        self.laws.answered(process, asked, answer, now);
        self.tell(|| {
            let code = answer.body.as_ref().and_then(|body| body["error"]["code"].as_str());
            format!("  answer {} {}", answer.status, code.unwrap_or_default())
        });
    }

    /// A request reaches Azure.
    pub fn arrives(&mut self, process: u32, asked: &Request) -> Response {
        let now = self.now();
        self.turn();
        if now < self.weather.lists_fail && is_rest_of_list(asked) {
            return unavailable();
        }
        let name = self.name_of(process);
        self.glance();
        let said = self.laws.arrives((&name, asked), &self.guests, &self.slurm);
        said.into_iter().for_each(|what| self.broken(what));
        let mut response = self.azure.apply(asked, now);
        if self.has_odd_case && is_graph(&asked.path) {
            capitals(&mut response);
        }
        self.news.notify_one();
        if asked.method != Method::Get {
            self.tell(|| {
                format!("  Azure: {} {}: {}", asked.method.as_str(), asked.path, response.status)
            });
        }
        self.turn();
        response
    }

    /// Somebody says something to slurmctld.
    pub fn tells_slurm(&mut self, process: u32, client: &str, words: &[String]) -> Output {
        let now = self.now();
        if process != 0 {
            let said = self.laws.says(&self.name_of(process), words, &self.slurm);
            said.into_iter().for_each(|what| self.broken(what));
        }
        let output = self.slurm.run(client, words, now);
        self.linger();
        self.news.notify_one();
        if process != 0 && output.status != 0 {
            self.tell(|| format!("  slurmctld says {}: {}", output.status, output.stderr.trim()));
        }
        output
    }

    /// Lets happen in Azure and in its VMs what is due.
    pub fn turn(&mut self) {
        let now = self.now();
        loop {
            let effects = self.azure.advance(now);
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Boot(order) => self.boots(&order),
                    Effect::Stop { vm_id, .. } => self.stops(&vm_id),
                }
            }
        }
        self.register(now);
    }

    fn boots(&mut self, order: &BootOrder) {
        if self.laws.others.contains(&order.name) {
            return;
        }
        let takes = BOOT_MIN + i64::try_from(below(&mut self.chance, BOOT_MORE)).unwrap_or(0);
        let guest = Guest {
            node: order.computer_name.clone(),
            vm: order.name.clone(),
            booted: order.at,
            registers: order.at + takes,
            is_registered: false,
            is_good: self.now() >= self.weather.bad_boots,
            again: None,
        };
        self.azure.process_started(&order.vm_id, "slurmd");
        self.tell(|| format!("  VM {} boots", order.name));
        self.guests.insert(order.vm_id.clone(), guest);
    }

    fn stops(&mut self, vm_id: &str) {
        let now = self.now();
        if let Some(guest) = self.guests.remove(vm_id) {
            self.tell(|| format!("  VM {} stops", guest.vm));
            let has_other =
                self.guests.values().any(|other| other.node == guest.node && other.is_registered);
            if guest.is_registered && !has_other {
                self.slurm.slurmd_alive(&guest.node, false, now);
            }
        }
        self.azure.process_ended(vm_id, "0", now);
    }

    /// slurmd of the guests whose time has come registers; slurmctld must be there to hear it.
    fn register(&mut self, now: i64) {
        if self.slurm_mood() != SlurmMood::Well {
            return;
        }
        let mut come = Vec::new();
        for guest in self.guests.values_mut() {
            if guest.is_good && !guest.is_registered && guest.registers <= now {
                guest.is_registered = true;
                come.push((guest.node.clone(), guest.vm.clone(), guest.booted));
            }
            if guest.is_good && guest.is_registered && guest.again.is_some_and(|at| at <= now) {
                guest.again = None;
                come.push((guest.node.clone(), guest.vm.clone(), guest.booted));
            }
        }
        for (node, vm, booted) in come {
            self.tell(|| format!("  slurmd of {node} registers from {vm}"));
            self.slurm.slurmd_registers(&node, booted, now);
            self.slurm.slurmd_alive(&node, true, now);
            self.laws.registered(&node, &vm, now);
        }
    }

    /// slurmctld has begun anew, and hears of the slurmds of all guests again: at once of those
    /// that it knows, later of those that it has forgotten.
    pub fn register_again(&mut self, keeps_state: bool) {
        self.glance();
        let now = self.now();
        let mut unheard = Vec::new();
        for guest in self.guests.values_mut() {
            if guest.is_registered && guest.is_good {
                let more = if keeps_state { 1 } else { AGAIN_MORE };
                let more = below(&mut self.chance, more);
                guest.again = Some(now + i64::try_from(more).unwrap_or(0));
                unheard.push(guest.vm.clone());
            }
        }
        // By a clock that was set forward slurmctld seems to have begun long ago.
        let is_ahead = azslurm_program::now().as_millis() > now;
        if !keeps_state && !is_ahead {
            self.laws.unheard(unheard.into_iter());
        }
        self.register(now);
    }

    /// What slurmctld wants done now.
    pub fn calls(&mut self) -> Vec<Call> {
        if self.slurm_mood() != SlurmMood::Well {
            return Vec::new();
        }
        let now = self.now();
        let calls = self.slurm.advance(now);
        self.linger();
        calls
    }

    /// When something happens by itself.
    pub fn next_at(&self) -> Option<i64> {
        let now = self.now();
        let mood = [self.weather.slurm_away, self.weather.slurm_hangs];
        let guests = self.guests.values().filter(|guest| guest.is_good && !guest.is_registered);
        let of_slurm = match self.slurm_mood() {
            SlurmMood::Well => self.slurm.next_event_at(),
            SlurmMood::Away | SlurmMood::Hangs => None,
        };
        let all = [self.azure.next_event_at(), of_slurm];
        let all = all.into_iter().flatten().map(|at| at.max(now + 1));
        let later = guests.map(|guest| guest.registers).chain(mood).filter(|at| *at > now);
        all.chain(later).min()
    }
}

/// A page of a list that is not its first, or Resource Graph.
fn is_rest_of_list(asked: &Request) -> bool {
    let path = asked.path.to_ascii_lowercase();
    let is_later = asked.query.iter().any(|(name, _)| name.eq_ignore_ascii_case("$skiptoken"));
    is_later && path.ends_with("/virtualmachines") || is_graph(&path)
}
