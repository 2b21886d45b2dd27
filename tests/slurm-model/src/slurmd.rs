//! What slurmctld learns of slurmd: registrations, pings, silence. `validate_node_specs()`,
//! `_node_did_resp()` and `ping_nodes()` of 22.05.

use crate::job::Phase;
use crate::node::{Reason, Slurmd};
use crate::seen::RequeueWhy;
use crate::{NEVER, Slurmctld};

/// A verb that wants a registration has the node pinged at once; the next turn takes a moment.
pub(crate) const PING_SOON_MS: i64 = 1_000;

/// A node that is set DOWN and whose slurmd answers is back within 4 s (22.05, measured).
pub(crate) const PING_DOWN_MS: i64 = 3_000;

/// slurmctld pings every third of SlurmdTimeout.
const PINGS_PER_TIMEOUT: i64 = 3;

/// slurmctld's reason for a node whose slurmd it has given up.
pub(crate) const NOT_RESPONDING: &str = "Not responding";

impl Slurmctld {
    /// slurmd starts on a node whose kernel booted at `boot_time`, and registers. It tries again
    /// by itself while slurmctld is stopped. A node that is not slurmctld's is not heard.
    pub fn slurmd_registers(&mut self, node: &str, boot_time: i64, now: i64) {
        let now = self.catch_up(now);
        let Some(at) = self.node_at(node) else { return };
        self.nodes[at].slurmd = Slurmd::Alive { boot_time };
        if self.is_stopped {
            self.nodes[at].wants_to_register = true;
            return;
        }
        self.hear_start(at, now);
        self.refresh();
    }

    /// slurmd falls silent (killed, its VM gone, its network cut), or answers again.
    pub fn slurmd_alive(&mut self, node: &str, alive: bool, now: i64) {
        let now = self.catch_up(now);
        let Some(at) = self.node_at(node) else { return };
        let record = &mut self.nodes[at];
        record.slurmd = match (record.slurmd, alive) {
            (Slurmd::Alive { boot_time }, false) => Slurmd::Silent { boot_time, since: now },
            (Slurmd::Silent { boot_time, .. }, true) => Slurmd::Alive { boot_time },
            (same @ (Slurmd::Absent | Slurmd::Alive { .. } | Slurmd::Silent { .. }), _) => same,
        };
        if record.is_alive() {
            self.hear_again(at, now);
        } else if record.is_pinged() {
            self.hear_no_end(at);
        }
        self.refresh();
    }

    /// After a start slurmctld asks every node that should be up to register, and those that had
    /// waited do.
    pub(crate) fn greet(&mut self, at: usize, now: i64) {
        let node = &mut self.nodes[at];
        node.last_response = now;
        // A node that is not off counts as busy until now; how long it was idle is not kept.
        if !node.flags.powered_down {
            node.last_busy = Some(now);
        }
        if node.is_alive() && node.is_pinged() {
            node.ping_at = now + PING_SOON_MS;
        }
        if std::mem::take(&mut node.wants_to_register) && node.is_alive() {
            self.hear_start(at, now);
        }
    }

    fn hear_start(&mut self, at: usize, now: i64) {
        let node = &mut self.nodes[at];
        let Slurmd::Alive { boot_time } = node.slurmd else { return };
        node.boot_time = Some(boot_time);
        node.started_at = Some(now);
        if node.waits_for_boot() || node.waits_for_power_down(self.settings.suspend_timeout_ms) {
            return;
        }
        self.forget_jobs_before(at, boot_time, now);
        self.register(at, now);
    }

    /// A node that has booted has none of the jobs that ran on it: they are requeued, and those
    /// that were being cleaned up are clean.
    fn forget_jobs_before(&mut self, at: usize, boot_time: i64, now: i64) {
        let began_before = |job: &usize| {
            let job = &self.jobs[*job];
            job.phase == Phase::Running && job.started_at.is_some_and(|start| start < boot_time)
        };
        let is_rebooted = self.nodes[at].jobs.iter().any(began_before);
        if is_rebooted || self.nodes[at].flags.completing {
            self.end_on_boot(at, now, is_rebooted);
        }
    }

    fn end_on_boot(&mut self, at: usize, now: i64, is_rebooted: bool) {
        for place in self.active.clone() {
            let job = &mut self.jobs[place];
            job.completing.retain(|(node, _)| *node != at);
            self.finish_if_clean(place, now);
        }
        if is_rebooted {
            // The node answers that it has no job: nothing of them is left to clean up.
            let was_down = std::mem::replace(&mut self.nodes[at].is_down, true);
            self.kill_jobs_on(at, RequeueWhy::Rebooted, now);
            self.nodes[at].is_down = was_down;
        }
        self.settle_node(at, now);
    }

    /// An answer that counts as a registration.
    fn register(&mut self, at: usize, now: i64) {
        let node = &mut self.nodes[at];
        node.is_booting = false;
        node.is_saving = false;
        let was_off = node.flags.powered_down;
        if node.flags.powering_up || was_off {
            node.last_busy = Some(now);
        }
        node.flags.not_responding = false;
        node.flags.powering_up = false;
        node.flags.powered_down = false;
        node.flags.powering_down = false;
        node.last_response = now;
        node.boot_asked_at = None;
        node.suspend_asked_at = None;
        if was_off {
            self.node_is_up(at);
        }
        self.return_to_service(at, now);
        self.touch(now);
    }

    /// `ReturnToService`: 2 whatever the reason is, 1 for a node that slurmctld itself gave up.
    fn return_to_service(&mut self, at: usize, now: i64) {
        let policy = self.settings.return_to_service;
        let node = &mut self.nodes[at];
        let is_silent = node.reason.as_ref().is_some_and(|reason| reason.text == NOT_RESPONDING);
        let returns = policy >= 2 || (policy == 1 && is_silent);
        if !node.is_down || !returns {
            return;
        }
        node.is_down = false;
        node.last_busy = Some(now);
        if !node.flags.drain && !node.flags.fail {
            self.node_is_up(at);
        }
    }

    /// Ends that are under way on a silent node are confirmed by nobody, until it is given up. On
    /// one that was given up before nobody is waited for.
    fn hear_no_end(&mut self, at: usize) {
        if self.nodes[at].is_down {
            return;
        }
        for place in &self.active {
            let ends = self.jobs[*place].completing.iter_mut();
            ends.filter(|(node, _)| *node == at).for_each(|(_, until)| *until = NEVER);
        }
    }

    /// The network is back: what ended meanwhile is told, and a ping will find the node.
    fn hear_again(&mut self, at: usize, now: i64) {
        let node = &mut self.nodes[at];
        if node.flags.not_responding || node.is_down {
            node.ping_at = now + PING_SOON_MS;
        }
        for place in &self.active {
            let job = &mut self.jobs[*place];
            if job.is_unheard && job.nodes.contains(&at) {
                job.is_unheard = false;
                job.ends_at = now;
            }
            for (node, until) in &mut job.completing {
                if *node == at && *until == NEVER {
                    *until = now + self.settings.completing_ms;
                }
            }
        }
    }

    /// When slurmctld next learns something of a node by itself.
    pub(crate) fn ping_due(&self, at: usize) -> i64 {
        let node = &self.nodes[at];
        let since = match node.slurmd {
            Slurmd::Alive { .. } => return node.ping_at,
            Slurmd::Absent => node.last_response,
            Slurmd::Silent { since, .. } => since.max(node.last_response),
        };
        if !node.is_pinged() || node.is_down {
            return NEVER;
        }
        let period = (self.settings.slurmd_timeout_ms / PINGS_PER_TIMEOUT).max(PING_SOON_MS);
        let patience = if node.flags.not_responding { self.settings.slurmd_timeout_ms } else { 0 };
        let from = since.saturating_add(patience).saturating_add(period).max(self.clock);
        if from == NEVER { NEVER } else { self.turn_from(from, period) }
    }

    /// The first turn of pings that is not before `from`.
    fn turn_from(&self, from: i64, period: i64) -> i64 {
        let turns = (from - self.booted_at + period - 1).div_euclid(period);
        self.booted_at + turns * period
    }

    /// Pings whose time has come.
    pub(crate) fn ping(&mut self, now: i64) {
        for at in 0..self.nodes.len() {
            if self.ping_due(at) > now {
                continue;
            }
            let node = &mut self.nodes[at];
            node.ping_at = NEVER;
            if node.is_alive() {
                self.hear_ping(at, now);
            } else if !node.flags.not_responding {
                node.flags.not_responding = true;
            } else {
                self.give_up(at, now);
            }
        }
    }

    fn hear_ping(&mut self, at: usize, now: i64) {
        let node = &mut self.nodes[at];
        if !node.is_pinged() {
            return;
        }
        if let Slurmd::Alive { boot_time } = node.slurmd {
            node.boot_time = Some(boot_time);
        }
        self.register(at, now);
    }

    /// `set_node_down_ptr()`: a reason that was there stays.
    fn give_up(&mut self, at: usize, now: i64) {
        let user = self.settings.user.clone();
        let node = &mut self.nodes[at];
        let is_free = node.reason.as_ref().is_none_or(|old| old.text.starts_with(NOT_RESPONDING));
        if is_free {
            node.reason = Some(Reason { text: NOT_RESPONDING.to_owned(), user, at: now });
        }
        node.is_down = true;
        self.kill_jobs_on(at, RequeueWhy::NotResponding, now);
        self.touch(now);
    }
}
