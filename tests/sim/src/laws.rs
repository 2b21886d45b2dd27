//! What must hold at every moment, and what at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use azslurm_arm_emulator::model::Model;
use azslurm_arm_emulator::model::message::{Method, Request, Response};
use azslurm_core::{NodeName, hostlist};
use azslurm_slurm_model::{JobSeen, JobState, Requeue, Slurmctld};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::glance::{Around, AttemptRow, Glance, LeaseRow};
use crate::lists::Lists;
use crate::refusals::Refusals;
use crate::run::ADMIN;
use crate::script::SECOND;
use crate::untold::{Untold, last_hold};
use crate::world::{Guest, Process};

/// A driver looks every second whether its leases are still its own; a request that it began before
/// may leave as much later.
const LOOK_MAX: i64 = 3 * SECOND;

/// A closure of a bucket that ends so little later than one that is known is the same.
const SAME: i64 = SECOND / 2;

/// The laws, and what is to be known to judge by them.
#[derive(Debug)]
pub struct Laws {
    /// What was broken, in words.
    pub broken: Vec<String>,
    /// VMs that are not ours, lower case.
    pub others: BTreeSet<String>,
    ledger: PathBuf,
    connection: Option<Connection>,
    /// VMs that some ledger has named, lower case: a ledger may be lost.
    intended: BTreeSet<String>,
    /// From which VM the slurmd of a node has registered, and when.
    registered: BTreeMap<String, (String, i64)>,
    /// Since when the ledger wants VMs no more.
    doomed: BTreeMap<String, i64>,
    /// Nodes whose jobs somebody else has ended.
    excused: BTreeSet<String>,
    has_lost_jobs: bool,
    /// When a process may send a request again that was throttled.
    not_before: BTreeMap<(u32, String), i64>,
    glance: Glance,
    /// What each driver is known as.
    drivers: BTreeMap<u32, String>,
    /// VMs whose DELETE has arrived.
    deleted: BTreeSet<String>,
    /// VMs whose PUT has arrived once more after that.
    revived: BTreeSet<String>,
    /// Nodes and generations of the leases that a driver began with.
    leased: BTreeMap<u32, BTreeMap<String, i64>>,
    /// DELETEs of VMs that a process has sent.
    deletes: BTreeSet<(u32, String)>,
    is_throttled: bool,
    /// How often the PUT of a VM was sent and has arrived.
    puts: BTreeMap<String, (u32, u32)>,
    /// PUTs that were refused for good, by node and resource group: when, and which VM.
    refusals: Refusals,
    untold: Untold,
    pub(crate) lists: Lists,
    /// VMs that were wanted when slurmctld lost its state, and whose slurmd it has not heard of
    /// since.
    unheard: BTreeSet<String>,
    /// The availability set of each VM.
    sets: BTreeMap<String, Value>,
}

impl Laws {
    /// Of a ledger that may not be there yet.
    pub fn new(ledger: PathBuf) -> Laws {
        Laws {
            broken: Vec::new(),
            others: BTreeSet::new(),
            ledger,
            connection: None,
            intended: BTreeSet::new(),
            registered: BTreeMap::new(),
            doomed: BTreeMap::new(),
            excused: BTreeSet::new(),
            has_lost_jobs: false,
            not_before: BTreeMap::new(),
            glance: Glance::default(),
            drivers: BTreeMap::new(),
            deleted: BTreeSet::new(),
            revived: BTreeSet::new(),
            leased: BTreeMap::new(),
            deletes: BTreeSet::new(),
            is_throttled: false,
            puts: BTreeMap::new(),
            refusals: Refusals::default(),
            untold: Untold::default(),
            lists: Lists::default(),
            unheard: BTreeSet::new(),
            sets: BTreeMap::new(),
        }
    }

    /// A driver begins its work for a holder.
    pub fn drives(&mut self, process: u32, holder: &str) {
        self.drivers.insert(process, holder.to_owned());
        let is_its = |row: &&LeaseRow| row.holder.as_deref() == Some(holder);
        let leases = self.glance.leases.iter().filter(|(_, row)| is_its(row));
        let leased = leases.map(|(node, row)| (node.clone(), row.generation)).collect();
        self.leased.insert(process, leased);
    }

    /// What the ledger says beside what it said.
    pub fn glance(&mut self, now: i64, processes: &[Process], azure: &Model) -> Vec<String> {
        if self.connection().is_none() {
            return Vec::new();
        }
        let Laws { glance, connection, drivers, revived, lists, doomed, .. } = self;
        let runs = |process: &u32| processes.get(*process as usize - 1).is_some_and(Process::runs);
        let drives = |holder: &str| drivers.iter().any(|(one, of)| of == holder && runs(one));
        let alive = || {
            let names = azure.history().alive("Microsoft.Compute/virtualMachines");
            names.map(str::to_ascii_lowercase).collect()
        };
        let around = Around {
            wall: azslurm_program::now().as_millis(),
            now,
            drives: &drives,
            alive: &alive,
            revived,
            lists,
        };
        let looked = connection.as_ref().map(|connection| glance.look(connection, &around));
        for (vm, _) in glance.attempts.iter().filter(|(_, row)| !row.is_wanted()) {
            doomed.entry(vm.clone()).or_insert(now);
        }
        // A ledger that cannot be read is another law's.
        looked.and_then(Result::ok).unwrap_or_default()
    }

    /// The ledger's file is about to be taken away.
    pub fn ledger_goes(&mut self) {
        self.remember();
        self.connection = None;
        self.glance = Glance::default();
    }

    fn connection(&mut self) -> Option<&Connection> {
        if self.connection.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            self.connection = Connection::open_with_flags(&self.ledger, flags).ok();
        }
        self.connection.as_ref()
    }

    /// Keeps in mind which VMs the ledger names.
    pub fn remember(&mut self) {
        let Some(connection) = self.connection() else { return };
        let names = || -> rusqlite::Result<Vec<String>> {
            let mut statement = connection.prepare_cached("SELECT lower(vm) FROM attempts")?;
            statement.query_map((), |row| row.get(0))?.collect()
        };
        match names() {
            Ok(names) => self.intended.extend(names),
            Err(error) => self.broken.push(format!("the ledger cannot be read: {error}")),
        }
    }

    /// State of a VM's attempt and since when its deletion is decided.
    fn attempt(&mut self, vm: &str) -> Option<(String, Option<i64>)> {
        let connection = self.connection()?;
        let mut statement = connection
            .prepare_cached(
                "SELECT state, changed_at, delete_intended_at FROM attempts WHERE vm = ?1",
            )
            .ok()?;
        let row = statement.query_row([vm], |row| {
            let (state, changed): (String, i64) = (row.get(0)?, row.get(1)?);
            let doomed: Option<i64> = row.get(2)?;
            Ok((state, changed, doomed))
        });
        let (state, changed, doomed) = row.ok()?;
        let is_over = matches!(state.as_str(), "refused" | "gone");
        Some((state, doomed.or(is_over.then_some(changed))))
    }

    /// A request leaves a process.
    pub fn sent(&mut self, who: &str, process: u32, asked: &Request, now: i64) -> Vec<String> {
        let mut broken = Vec::new();
        let key = (process, key_of(asked));
        if self.not_before.get(&key).is_some_and(|until| now < until - SAME) {
            broken.push(format!(
                "{who} sends {} {} before the time that a 429 said",
                asked.method.as_str(),
                asked.path
            ));
        }
        let Some(vm) = vm_of(&asked.path) else { return broken };
        if asked.method == Method::Delete {
            self.deletes.insert((process, vm.clone()));
        }
        if asked.method != Method::Put {
            return broken;
        }
        match self.attempt(&vm) {
            Some((state, Some(doomed))) if now - doomed > LOOK_MAX => {
                broken.push(format!("{who} sends a PUT of {vm}, which the ledger calls {state}"));
            }
            Some(_) => {}
            None if self.intended.contains(&vm) => {}
            None => broken.push(format!("{who} sends a PUT of {vm}, which no ledger names")),
        }
        self.puts.entry(vm.clone()).or_default().0 += 1;
        self.intended.insert(vm);
        broken
    }

    /// A request reaches Azure.
    pub fn arrives(
        &mut self,
        (who, asked): (&str, &Request),
        guests: &BTreeMap<String, Guest>,
        slurm: &Slurmctld,
    ) -> Vec<String> {
        let is_write = matches!(asked.method, Method::Put | Method::Delete);
        let Some(vm) = vm_of(&asked.path).filter(|_| is_write) else { return Vec::new() };
        if self.others.contains(&vm) {
            return vec![format!("{who}: {} of {vm}, which is not ours", asked.method.as_str())];
        }
        if asked.method != Method::Delete {
            let set = asked.body["properties"]["availabilitySet"]["id"].clone();
            self.sets.insert(vm.clone(), set);
            if self.deleted.contains(&vm) {
                self.revived.insert(vm.clone());
            }
            return self.put_arrives(&vm).into_iter().collect();
        }
        self.deleted.insert(vm.clone());
        let guest = guests.values().find(|guest| guest.vm.eq_ignore_ascii_case(&vm));
        let Some(guest) = guest.filter(|guest| guest.is_registered && guest.is_good) else {
            return Vec::new();
        };
        let registered = self.registered.get(&guest.node).filter(|(of, _)| *of == vm);
        let is_its_vm = registered.is_some();
        if registered.is_some_and(|(_, at)| self.is_given_up(&vm, *at)) {
            self.excuse(&guest.node);
            return Vec::new();
        }
        let why = self.glance.attempts.get(&vm).and_then(|row| row.why.as_deref());
        // A clock that was set makes a slurmctld that has lost its state look older than it is.
        let why = why.filter(|_| !(self.glance.was_set && self.has_lost_jobs));
        if why == Some("orphaned") && self.unheard.contains(&vm) {
            return vec![format!(
                "{who} deletes {vm} by the word of a slurmctld that has just begun"
            )];
        }
        let is_leaving = slurm
            .node(&guest.node)
            .is_none_or(|node| node.flags.powering_down || node.flags.power_down);
        let has = |job: &JobSeen| {
            matches!(job.state, JobState::Running | JobState::Configuring)
                && job.nodes.contains(&guest.node)
        };
        let is_up = slurm.node(&guest.node).is_some_and(|node| {
            !node.is_down && !node.flags.powering_up && !node.flags.powered_down
        });
        if is_its_vm && !is_leaving && is_up && why == Some("orphaned") {
            return vec![format!("{who} deletes {vm}, on which {} is up", guest.node)];
        }
        let jobs = slurm.jobs();
        let Some(job) = jobs.iter().find(|job| is_its_vm && !is_leaving && has(job)) else {
            return Vec::new();
        };
        // It began when another of its nodes came from a VM that was given up before, or will.
        let is_on_given_up = |node: &String| {
            self.registered.get(node).is_some_and(|(vm, at)| self.is_given_up(vm, *at))
        };
        if job.nodes.iter().any(is_on_given_up) {
            self.excuse(&guest.node);
            return Vec::new();
        }
        let runs = job.state == JobState::Running;
        runs.then(|| format!("{who} deletes {vm} while a job runs on {}", guest.node))
            .into_iter()
            .collect()
    }

    /// Whether a VM was given up before its slurmd came, at this moment: its job goes with it.
    fn is_given_up(&self, vm: &str, came: i64) -> bool {
        self.doomed.get(vm).is_some_and(|doomed| came > doomed.saturating_sub(LOOK_MAX))
    }

    /// A PUT that was not answered must not arrive after it was given up.
    fn put_arrives(&mut self, vm: &str) -> Option<String> {
        let (sent, arrived) = self.puts.entry(vm.to_owned()).or_default();
        *arrived += 1;
        // What the network has doubled nobody can know of.
        let is_doubled = arrived > sent;
        let row = self.glance.attempts.get(vm)?;
        (!is_doubled && row.is_over() && !row.was_accepted)
            .then(|| format!("a PUT of {vm} arrives, which the ledger calls {}", row.state))
    }

    /// slurmctld has lost its state: it hears of the slurmds one by one.
    pub fn unheard(&mut self, vms: impl Iterator<Item = String>) {
        let wanted = |vm: &String| self.glance.attempts.get(vm).is_some_and(AttemptRow::is_wanted);
        self.unheard = vms.map(|vm| vm.to_ascii_lowercase()).filter(wanted).collect();
    }

    /// A pass has ended well while slurmctld answered: what it must know it was told, if not by
    /// this pass then by the next.
    pub fn passed(&mut self, slurm: &Slurmctld, processes: &[Process]) -> Vec<String> {
        let wall = azslurm_program::now().as_millis();
        let last_hold = self.connection().and_then(|connection| last_hold(connection).ok());
        let Laws { glance, drivers, untold, .. } = self;
        let lives = |holder: &str| lives(holder, drivers, processes);
        let has_holds = last_hold.is_none_or(|until| until > wall);
        untold.passed(glance, slurm, (&lives, has_holds))
    }

    /// A program of ours says something to slurmctld: what a person has set stays.
    pub fn says(&self, who: &str, words: &[String], slurm: &Slurmctld) -> Option<String> {
        let after = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
        let verb = after("state=")?;
        if !verb.eq_ignore_ascii_case("resume") {
            return None;
        }
        let nodes = hostlist::expand(after("nodename=")?).ok()?;
        let is_kept = |node: &NodeName| {
            let node = slurm.node(node.as_str())?;
            let is_closed = node.is_down || node.flags.drain;
            let is_persons = node.reason.as_deref().is_some_and(|why| why.contains(ADMIN));
            (is_closed && is_persons).then_some(node.name)
        };
        let node = nodes.iter().find_map(is_kept)?;
        Some(format!("{who} says state={verb} of {node}, which a person has closed"))
    }

    /// Jobs of several nodes are in one block each.
    pub fn gangs(&self, slurm: &Slurmctld) -> Option<String> {
        let runs = |job: &&JobSeen| job.state == JobState::Running && job.nodes.len() > 1;
        slurm.jobs().iter().filter(runs).find_map(|job| {
            // A VM that a doubled PUT has made once more, after its deletion, nobody can know of.
            let vms = job.nodes.iter().filter_map(|node| Some(&self.registered.get(node)?.0));
            let sets = vms.filter(|vm| !self.revived.contains(*vm)).map(|vm| self.sets.get(vm));
            let sets: BTreeSet<String> = sets.flatten().map(ToString::to_string).collect();
            (sets.len() > 1).then(|| format!("job {} runs in several blocks: {sets:?}", job.id))
        })
    }

    /// A process has ended by itself, and well.
    pub fn ended(&mut self, who: &str, process: u32) -> Vec<String> {
        let Some(holder) = self.drivers.get(&process).cloned() else { return Vec::new() };
        let Some(connection) = self.connection() else { return Vec::new() };
        let of_holder = || -> rusqlite::Result<Vec<String>> {
            let sql = "SELECT node FROM leases WHERE holder = ?1";
            connection.prepare_cached(sql)?.query_map([&holder], |row| row.get(0))?.collect()
        };
        let kept = of_holder().unwrap_or_default();
        let mut broken = Vec::new();
        if !kept.is_empty() {
            broken.push(format!("{who} has ended and keeps the leases of {kept:?}"));
        }
        // Whoever Azure told to wait may leave its work to others.
        let is_of_deletions = holder.contains("suspend-") || holder.contains("resume-fail-");
        if is_of_deletions && !self.is_throttled {
            let nodes = self.leased.get(&process).cloned().unwrap_or_default();
            broken.extend(
                self.unsent(process, &nodes)
                    .into_iter()
                    .map(|vm| format!("{who} has ended and has never sent the deletion of {vm}")),
            );
        }
        broken
    }

    /// VMs whose deletion was decided by a driver, and that it has not sent.
    fn unsent(&self, process: u32, nodes: &BTreeMap<String, i64>) -> Vec<String> {
        // Another program has taken the node over, with its work.
        let is_taken = |row: &AttemptRow| {
            let lease = self.glance.leases.get(&row.node);
            lease.is_some_and(|lease| lease.generation > row.generation)
        };
        let is_its = |(vm, row): &(&String, &AttemptRow)| {
            nodes.get(&row.node) == Some(&row.generation)
                && !is_taken(row)
                && row.state == "delete-intended"
                && !self.deletes.contains(&(process, (*vm).clone()))
        };
        self.glance.attempts.iter().filter(is_its).map(|(vm, _)| vm.clone()).collect()
    }

    /// An answer reaches a process.
    pub fn answered(&mut self, process: u32, asked: &Request, answer: &Response, now: i64) {
        self.lists.answered(process, asked, answer);
        let vm = vm_of(&asked.path);
        let is_refused = (400..500).contains(&answer.status) && answer.status != 429;
        if let (Some(vm), Method::Put, true) = (&vm, asked.method, is_refused) {
            self.broken.extend(self.refusals.another(vm, &asked.path, now));
        }
        if answer.status != 429 {
            return;
        }
        self.is_throttled = true;
        let wait = answer.header_value("retry-after").and_then(|text| text.parse::<i64>().ok());
        if let Some(wait) = wait {
            self.not_before.insert((process, key_of(asked)), now + wait * SECOND);
        }
    }

    /// Something that is not ours has befallen a node: its jobs may be requeued.
    pub fn excuse(&mut self, node: &str) {
        self.excused.insert(node.to_owned());
    }

    /// slurmctld has begun anew, with its state or without.
    pub fn slurmctld_restarted(&mut self, keeps_state: bool) {
        self.has_lost_jobs |= !keeps_state;
    }

    /// Jobs that ran and were taken from their nodes, and nobody but us can have done it.
    pub fn requeued(&self, slurm: &Slurmctld) -> Vec<String> {
        let is_ours = |requeue: &&Requeue| {
            let is_excused = requeue.node.as_ref().is_some_and(|node| self.excused.contains(node));
            requeue.was_running && !is_excused && !self.has_lost_jobs
        };
        let of_job = |job: JobSeen| {
            let id = job.id;
            let ours: Vec<Requeue> = job.requeues.iter().filter(is_ours).cloned().collect();
            ours.into_iter().map(move |requeue| {
                let Requeue { why, node, .. } = requeue;
                format!("job {id} ran and was requeued ({why:?} of {node:?})")
            })
        };
        slurm.jobs().into_iter().flat_map(of_job).collect()
    }

    /// slurmd of a node has registered from a VM.
    pub fn registered(&mut self, node: &str, vm: &str, now: i64) {
        let vm = vm.to_ascii_lowercase();
        self.unheard.remove(&vm);
        // Once more with a slurmctld that has begun anew: it has been there before.
        let known = self.registered.get(node).filter(|(of, _)| *of == vm);
        let at = known.map_or(now, |(_, at)| *at);
        if self.is_given_up(&vm, at) {
            self.excuse(node);
        }
        self.registered.insert(node.to_owned(), (vm, at));
    }

    /// The ledger can be read, whenever somebody looks.
    pub fn look(&mut self) {
        let Some(connection) = self.connection() else { return };
        let read = connection.query_row("SELECT count(*) FROM budgets", (), |_| Ok(()));
        if let Err(error) = read {
            self.broken.push(format!("the ledger cannot be read: {error}"));
        }
    }

    /// VMs whose work is not finished, by the ledger: name and state.
    pub fn unfinished(&mut self) -> Vec<(String, String)> {
        let Some(connection) = self.connection() else { return Vec::new() };
        let rows = || -> rusqlite::Result<Vec<(String, String)>> {
            let sql = "SELECT vm, state FROM attempts WHERE ended_at IS NULL";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        rows().unwrap_or_default()
    }
}

/// Whether a run of a program lives: its driver, or its front before.
fn lives(holder: &str, drivers: &BTreeMap<u32, String>, processes: &[Process]) -> bool {
    let runs =
        |process: u32| processes.get((process as usize).wrapping_sub(1)).is_some_and(Process::runs);
    let front = crate::lists::process_of(holder);
    front.is_some_and(runs) || drivers.iter().any(|(process, of)| of == holder && runs(*process))
}

fn key_of(asked: &Request) -> String {
    format!("{} {}", asked.method.as_str(), asked.path.to_ascii_lowercase())
}

/// The VM of a VM's own path, lower case.
pub fn vm_of(path: &str) -> Option<String> {
    let path = path.to_ascii_lowercase();
    let (_, name) = path.split_once("/virtualmachines/")?;
    (!name.contains('/')).then(|| name.to_owned())
}
