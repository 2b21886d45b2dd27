//! The power saving thread: `_do_power_work()` of 22.05 (SLURM.md §2.4).

use azslurm_core::{NodeName, hostlist};
use serde_json::{Map, Value, json};

use crate::node::Reason;
use crate::seen::RequeueWhy;
use crate::settings::Version;
use crate::{NEVER, Slurmctld};

/// slurmctld compares whole seconds with `<`: what is due is seen in the second after.
const SECOND_MS: i64 = 1_000;

/// `power_save_interval`: how often the thread looks when nothing has changed, for what a rate
/// left over.
const INTERVAL_MS: i64 = 10_000;

/// Rates are per minute.
const MINUTE_MS: f64 = 60_000.0;

/// A program that slurmctld called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// ResumeProgram.
    Resume {
        /// Its argument, a host list.
        nodes: String,
        /// What stands in SLURM_RESUME_FILE.
        resume_file: String,
    },
    /// SuspendProgram.
    Suspend {
        /// Its argument, a host list.
        nodes: String,
    },
    /// ResumeFailProgram.
    ResumeFail {
        /// Its argument, a host list.
        nodes: String,
    },
}

/// The decaying counters of ResumeRate and SuspendRate (until 23.11).
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    resumed: f64,
    suspended: f64,
    looked_at: i64,
}

impl Rates {
    fn look(&mut self, now: i64) {
        let since = (now - self.looked_at) as f64;
        let left = if since >= MINUTE_MS { 0.0 } else { (MINUTE_MS - since) / MINUTE_MS };
        self.resumed *= left;
        self.suspended *= left;
        self.looked_at = now;
    }
}

fn is_within(rate: u32, used: f64) -> bool {
    // slurmctld counts in floats and compares them rounded.
    rate == 0 || used.round() < f64::from(rate)
}

/// What one pass finds.
#[derive(Default)]
struct Found {
    wake: Vec<usize>,
    sleep: Vec<usize>,
    failed: Vec<usize>,
    jobs: Vec<Value>,
    is_limited: bool,
}

impl Slurmctld {
    pub(crate) fn power_pass(&mut self, now: i64) {
        self.power_at = NEVER;
        self.rates.look(now);
        let mut found = Found::default();
        self.find_jobs_to_resume(&mut found);
        for at in 0..self.nodes.len() {
            let before = self.nodes[at].flags;
            let was_off = before.powered_down && !before.power_down;
            self.wake(at, now, &mut found);
            if !was_off {
                self.sleep(at, now, &mut found);
            }
            self.end_power_down(at, now);
            self.end_power_up(at, now, &mut found);
        }
        self.call(found.sleep.as_slice(), |nodes| Call::Suspend { nodes });
        let resume_file = self.resume_file(&found);
        self.call(&found.wake, |nodes| Call::Resume { nodes, resume_file });
        self.call(&found.failed, |nodes| Call::ResumeFail { nodes });
        let due = self.nodes.iter().map(|node| self.power_due(node)).min().unwrap_or(NEVER);
        // What is overdue was held back by a rate, or waits for a change that will be told.
        let due = if due <= now { NEVER } else { due };
        let rest = if found.is_limited { now + INTERVAL_MS } else { NEVER };
        self.power_at = self.power_at.min(due).min(rest);
    }

    /// Configuring jobs with nodes that are off: `_build_resume_job_list()` after a start.
    pub(crate) fn jobs_to_resume(&self) -> Vec<usize> {
        let needs = |at: &usize| {
            let job = &self.jobs[*at];
            job.has_nodes() && job.nodes.iter().any(|node| self.nodes[*node].is_saving)
        };
        self.active.iter().copied().filter(needs).collect()
    }

    fn find_jobs_to_resume(&mut self, found: &mut Found) {
        let mut waiting = std::mem::take(&mut self.resume_jobs);
        waiting.retain(|at| {
            let job = &self.jobs[*at];
            job.has_nodes() && job.nodes.iter().any(|node| self.nodes[*node].is_saving)
        });
        let rate = self.settings.resume_rate_per_min;
        for at in &waiting {
            if !is_within(rate, self.rates.resumed) {
                found.is_limited = true;
                break;
            }
            let job = &self.jobs[*at];
            let mut now_resumed = Vec::new();
            for node in job.nodes.iter().filter(|node| self.nodes[**node].is_saving) {
                if is_within(rate, self.rates.resumed) {
                    self.rates.resumed += 1.0;
                    now_resumed.push(*node);
                } else {
                    found.is_limited = true;
                }
            }
            found.jobs.push(self.job_value(*at, &now_resumed));
            found.wake.extend(now_resumed);
        }
        found.wake.sort_unstable();
        found.wake.dedup();
        self.resume_jobs = waiting;
    }

    fn job_value(&self, at: usize, resumed: &[usize]) -> Value {
        let job = &self.jobs[at];
        let mut value = Map::new();
        value.insert("job_id".to_owned(), json!(job.id));
        let nodes = self.fold(resumed);
        match self.settings.version {
            Version::V22_05 => {
                value.insert("nodes".to_owned(), json!(nodes));
            }
            Version::V23_11 | Version::V24_11 => {
                value.insert("extra".to_owned(), Value::Null);
                value.insert("features".to_owned(), Value::Null);
                value.insert("nodes_alloc".to_owned(), json!(self.fold(&job.nodes)));
                value.insert("nodes_resume".to_owned(), json!(nodes));
                let shares = if job.spec.is_exclusive { "NO" } else { "OK" };
                value.insert("oversubscribe".to_owned(), json!(shares));
                value.insert("partition".to_owned(), json!(self.partition_of(at)));
                value.insert("reservation".to_owned(), Value::Null);
            }
        }
        Value::Object(value)
    }

    pub(crate) fn partition_of(&self, at: usize) -> &str {
        let job = &self.jobs[at];
        let of_node = || job.nodes.first().or(Some(&0)).and_then(|node| self.nodes.get(*node));
        match &job.spec.partition {
            Some(name) => name,
            None => of_node().map_or("none", |node| &node.spec.partition),
        }
    }

    fn resume_file(&self, found: &Found) -> String {
        if found.wake.is_empty() {
            return String::new();
        }
        let all = match self.settings.version {
            Version::V22_05 => "all_nodes",
            Version::V23_11 | Version::V24_11 => "all_nodes_resume",
        };
        // slurmctld writes the jobs first; a map here would be sorted.
        let (jobs, nodes) = (json!(found.jobs), json!(self.fold(&found.wake)));
        format!("{{\"jobs\":{jobs},\"{all}\":{nodes}}}")
    }

    fn wake(&mut self, at: usize, now: i64, found: &mut Found) {
        let is_for_job = found.wake.binary_search(&at).is_ok();
        let flags = self.nodes[at].flags;
        let is_asked = flags.powered_down && flags.power_up && !flags.powering_down;
        if !is_for_job && !is_asked {
            return;
        }
        if !is_for_job {
            if !is_within(self.settings.resume_rate_per_min, self.rates.resumed) {
                found.is_limited = true;
                return;
            }
            self.rates.resumed += 1.0;
            found.wake.push(at);
            found.wake.sort_unstable();
        }
        let node = &mut self.nodes[at];
        node.flags.power_up = false;
        node.flags.powered_down = false;
        node.flags.powering_up = true;
        node.flags.not_responding = true;
        node.is_saving = false;
        node.is_booting = true;
        node.boot_asked_at = Some(now);
        node.last_response = now;
        self.node_is_up(at);
    }

    /// `_node_state_suspendable()`, and what SuspendProgram's call does to the node.
    fn sleep(&mut self, at: usize, now: i64, found: &mut Found) {
        let suspend_time_ms = self.settings.suspend_time_ms;
        let node = &self.nodes[at];
        let is_old = node.last_busy.is_some_and(|busy| now > busy.saturating_add(suspend_time_ms));
        if !can_sleep(node) || !(node.flags.power_down || is_old) {
            return;
        }
        if !is_within(self.settings.suspend_rate_per_min, self.rates.suspended) {
            found.is_limited = true;
            return;
        }
        self.rates.suspended += 1.0;
        found.sleep.push(at);
        let idle_on_node_suspend = self.settings.idle_on_node_suspend;
        let node = &mut self.nodes[at];
        // The drain of power_down_asap ends here.
        node.flags.drain &= !node.flags.power_down;
        node.flags.powering_down = true;
        node.flags.powered_down = false;
        node.flags.power_down = false;
        node.flags.not_responding = false;
        node.is_saving = true;
        node.suspend_asked_at = Some(now);
        if idle_on_node_suspend {
            node.is_down = false;
            node.flags.drain = false;
            node.flags.fail = false;
        }
    }

    fn end_power_down(&mut self, at: usize, now: i64) {
        let suspend_timeout_ms = self.settings.suspend_timeout_ms;
        let node = &mut self.nodes[at];
        let Some(asked) = node.suspend_asked_at.filter(|_| node.flags.powering_down) else {
            return;
        };
        if now > asked.saturating_add(suspend_timeout_ms) {
            power_off(node);
            node.last_busy = None;
            self.touch(now);
        }
    }

    fn end_power_up(&mut self, at: usize, now: i64, found: &mut Found) {
        let resume_timeout_ms = self.settings.resume_timeout_ms;
        let node = &self.nodes[at];
        let Some(asked) = node.boot_asked_at.filter(|_| is_awaited(node)) else { return };
        if now <= asked.saturating_add(resume_timeout_ms) {
            return;
        }
        let replaces = self.settings.version.is_before_23();
        let user = self.settings.user.clone();
        let node = &mut self.nodes[at];
        node.flags.drain = false;
        node.flags.power_down = false;
        node.flags.powering_up = false;
        node.flags.powered_down = true;
        // 24.11 takes the flag back as well (SLURM.md §3).
        node.flags.not_responding = replaces;
        let before = node.reason.take().filter(|_| !replaces);
        let text = match before {
            Some(before) => format!("{} : ResumeTimeout reached", before.text),
            None => "ResumeTimeout reached".to_owned(),
        };
        node.reason = Some(Reason { text, user, at: now });
        node.is_down = true;
        node.is_saving = true;
        node.is_booting = false;
        self.kill_jobs_on(at, RequeueWhy::ResumeTimeout, now);
        let node = &mut self.nodes[at];
        node.last_busy = None;
        node.boot_asked_at = None;
        found.failed.push(at);
        self.touch(now);
    }

    /// When the thread has to look at a node again if nothing changes.
    fn power_due(&self, node: &crate::node::Node) -> i64 {
        let settings = &self.settings;
        let after = |since: Option<i64>, lasts: i64| {
            since.map_or(NEVER, |since| since.saturating_add(lasts).saturating_add(SECOND_MS))
        };
        let sleeps = if can_sleep(node) && !node.flags.powered_down {
            after(node.last_busy, settings.suspend_time_ms)
        } else {
            NEVER
        };
        let is_going = node.flags.powering_down;
        let off = if is_going {
            after(node.suspend_asked_at, settings.suspend_timeout_ms)
        } else {
            NEVER
        };
        let fails = if is_awaited(node) {
            after(node.boot_asked_at, settings.resume_timeout_ms)
        } else {
            NEVER
        };
        sleeps.min(off).min(fails)
    }

    fn call(&mut self, nodes: &[usize], call: impl FnOnce(String) -> Call) {
        if !nodes.is_empty() {
            let nodes = self.fold(nodes);
            self.calls.push(call(nodes));
        }
    }

    /// A host list, as slurmctld writes it.
    pub(crate) fn fold(&self, nodes: &[usize]) -> String {
        let names: Vec<NodeName> = nodes.iter().map(|at| self.nodes[*at].name.clone()).collect();
        hostlist::fold_sorted(&names)
    }
}

fn can_sleep(node: &crate::node::Node) -> bool {
    let flags = node.flags;
    let is_free = node.is_down || node.jobs.is_empty();
    is_free && !flags.completing && !flags.powering_up && !flags.powering_down
}

fn is_awaited(node: &crate::node::Node) -> bool {
    node.is_booting && node.flags.powering_up && node.flags.not_responding
}

/// From POWERING_DOWN to POWERED_DOWN: the address is forgotten.
pub(crate) fn power_off(node: &mut crate::node::Node) {
    node.flags.powering_down = false;
    node.flags.powered_down = true;
    node.suspend_asked_at = None;
    node.address = None;
    node.host_name = None;
}
