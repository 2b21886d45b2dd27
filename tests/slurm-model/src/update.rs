//! `scontrol update nodename=… state=…`: `update_node()` and `_valid_node_state_change()` of 22.05
//! (SLURM.md §3.1).

use crate::Slurmctld;
use crate::node::{Node, Reason};
use crate::power::power_off;
use crate::seen::RequeueWhy;
use crate::slurmd::PING_DOWN_MS;

/// The reason that slurmctld gives a drain of its own.
const ASAP: &str = "POWER_DOWN_ASAP";

/// `state=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Down,
    Drain,
    Fail,
    Idle,
    PowerDown,
    PowerDownAsap,
    PowerDownForce,
    PowerUp,
    Resume,
    Undrain,
}

impl Verb {
    pub(crate) fn of_word(word: &str) -> Option<Verb> {
        Some(match word.to_ascii_lowercase().as_str() {
            "down" => Verb::Down,
            "drain" => Verb::Drain,
            "fail" => Verb::Fail,
            "idle" => Verb::Idle,
            "power_down" => Verb::PowerDown,
            "power_down_asap" => Verb::PowerDownAsap,
            "power_down_force" => Verb::PowerDownForce,
            "power_up" => Verb::PowerUp,
            "resume" => Verb::Resume,
            "undrain" => Verb::Undrain,
            _other => return None,
        })
    }

    /// scontrol itself refuses these without a reason.
    pub(crate) fn needs_reason(self) -> bool {
        match self {
            Verb::Down | Verb::Drain | Verb::Fail => true,
            Verb::Idle
            | Verb::PowerDown
            | Verb::PowerDownAsap
            | Verb::PowerDownForce
            | Verb::PowerUp
            | Verb::Resume
            | Verb::Undrain => false,
        }
    }

    fn is_power(self) -> bool {
        match self {
            Verb::PowerDown | Verb::PowerDownAsap | Verb::PowerDownForce | Verb::PowerUp => true,
            Verb::Down | Verb::Drain | Verb::Fail | Verb::Idle | Verb::Resume | Verb::Undrain => {
                false
            }
        }
    }

    fn is_allowed(self, node: &Node) -> bool {
        match self {
            Verb::Down
            | Verb::Drain
            | Verb::Fail
            | Verb::Undrain
            | Verb::PowerDown
            | Verb::PowerDownAsap
            | Verb::PowerDownForce
            | Verb::PowerUp => true,
            Verb::Resume => {
                let flags = node.flags;
                flags.powering_down || node.is_down || flags.drain || flags.fail
            }
            Verb::Idle => node.is_down || node.is_idle(),
        }
    }

    /// `_equivalent_node_state()`: nothing is done if the reason is the same as well.
    fn is_so(self, node: &Node) -> bool {
        match self {
            Verb::Down => node.is_down,
            Verb::Drain => node.flags.drain,
            Verb::Fail => node.flags.fail,
            Verb::Idle
            | Verb::PowerDown
            | Verb::PowerDownAsap
            | Verb::PowerDownForce
            | Verb::PowerUp
            | Verb::Resume
            | Verb::Undrain => false,
        }
    }
}

impl Slurmctld {
    /// Says a verb, or only a reason, about one node. Returns whether it was allowed; the reason is
    /// set even if it was not.
    pub(crate) fn update_node(
        &mut self,
        at: usize,
        verb: Option<Verb>,
        reason: Option<&str>,
        now: i64,
    ) -> bool {
        let node = &self.nodes[at];
        let same_reason = node.reason.as_ref().map(|old| old.text.as_str()) == reason;
        if same_reason && verb.is_none_or(|verb| verb.is_so(node)) {
            return true;
        }
        if let Some(text) = reason.filter(|text| !text.is_empty()) {
            self.set_reason(at, text, now);
        }
        let is_allowed = verb.is_none_or(|verb| verb.is_allowed(&self.nodes[at]));
        if let Some(verb) = verb.filter(|_| is_allowed) {
            self.say(at, verb, now);
            self.touch(now);
        }
        // Whatever was said, a healthy node is told to the accounting; not so by the power verbs.
        let node = &self.nodes[at];
        let is_healthy = !node.is_down && !node.flags.drain && !node.flags.fail;
        if is_healthy && !verb.is_some_and(Verb::is_power) {
            self.node_is_up(at);
        }
        is_allowed
    }

    /// `clusteracct_storage_g_node_up()`: what the reason was for is over.
    pub(crate) fn node_is_up(&mut self, at: usize) {
        if self.settings.version.is_before_23() || self.settings.has_accounting {
            self.nodes[at].reason = None;
        }
    }

    fn set_reason(&mut self, at: usize, text: &str, now: i64) {
        let user = self.settings.user.clone();
        self.nodes[at].reason = Some(Reason { text: text.to_owned(), user, at: now });
    }

    fn say(&mut self, at: usize, verb: Verb, now: i64) {
        match verb {
            Verb::Down => self.set_down(at, now),
            Verb::Drain => {
                self.close(at, RequeueWhy::Drained, now);
                self.nodes[at].flags.fail = false;
                self.nodes[at].flags.drain = true;
            }
            Verb::Fail => {
                self.close(at, RequeueWhy::SetFail, now);
                self.nodes[at].flags.drain = false;
                self.nodes[at].flags.fail = true;
            }
            Verb::Idle => self.set_idle(at, now),
            Verb::PowerDown => self.ask_power_down(at),
            Verb::PowerDownAsap => self.power_down_asap(at, now),
            Verb::PowerDownForce => self.power_down_force(at, now),
            Verb::PowerUp => self.power_up(at),
            Verb::Resume => self.set_back(at, now),
            Verb::Undrain => {
                self.nodes[at].flags.drain = false;
                self.nodes[at].require_registration(now);
            }
        }
    }

    fn set_down(&mut self, at: usize, now: i64) {
        let node = &mut self.nodes[at];
        node.is_down = true;
        // A slurmd that answers brings the node back (ReturnToService).
        if node.is_pinged() && !node.flags.not_responding {
            node.ping_at = now + PING_DOWN_MS;
        }
        self.kill_jobs_on(at, RequeueWhy::SetDown, now);
    }

    /// Jobs that wait for the node to come up do not get it.
    fn close(&mut self, at: usize, why: RequeueWhy, now: i64) {
        let node = &self.nodes[at];
        let is_coming = node.flags.powered_down || node.flags.powering_up;
        if !node.is_down && !node.jobs.is_empty() && is_coming {
            self.kill_jobs_on(at, why, now);
        }
    }

    fn set_idle(&mut self, at: usize, now: i64) {
        let node = &mut self.nodes[at];
        node.is_down = false;
        node.flags.drain = false;
        node.flags.fail = false;
        node.last_busy = (!node.flags.powered_down).then_some(now);
        self.spring_trap_if_off(at, now);
    }

    /// `NODE_RESUME`.
    fn set_back(&mut self, at: usize, now: i64) {
        let node = &mut self.nodes[at];
        let was_drained = node.flags.drain;
        node.flags.drain = false;
        node.flags.fail = false;
        if node.flags.powering_down {
            power_off(node);
        }
        if node.is_down || was_drained {
            node.is_down = false;
            node.require_registration(now);
        }
        self.spring_trap_if_off(at, now);
    }

    fn spring_trap_if_off(&mut self, at: usize, now: i64) {
        let flags = self.nodes[at].flags;
        if flags.completing && flags.powered_down {
            self.spring_trap(at, now);
        }
    }

    /// Sets the flag; SuspendProgram is called when the node has no job.
    fn ask_power_down(&mut self, at: usize) {
        let keeps_flag = !self.settings.version.is_before_23();
        let node = &mut self.nodes[at];
        if node.flags.powering_down {
            return;
        }
        if node.is_down {
            node.flags.powering_up = false;
        }
        node.flags.powered_down &= keeps_flag;
        node.flags.power_down = true;
    }

    fn power_down_asap(&mut self, at: usize, now: i64) {
        if self.nodes[at].flags.powering_down {
            return;
        }
        self.nodes[at].flags.drain = true;
        if self.nodes[at].reason.is_none() {
            self.set_reason(at, ASAP, now);
        }
        self.ask_power_down(at);
    }

    fn power_down_force(&mut self, at: usize, now: i64) {
        if self.nodes[at].flags.powering_down {
            return;
        }
        self.kill_jobs_on(at, RequeueWhy::PoweredDown, now);
        let node = &mut self.nodes[at];
        if std::mem::take(&mut node.flags.powering_up) {
            // It has been silent only as long as it was booting.
            node.last_response = now;
        }
        self.ask_power_down(at);
    }

    /// Nothing on a node that is up, DOWN or powering down; a second call of ResumeProgram for one
    /// that is powering up.
    fn power_up(&mut self, at: usize) {
        let flags = &mut self.nodes[at].flags;
        if flags.powered_down {
            flags.power_up = true;
        } else if flags.powering_up {
            flags.powered_down = true;
            flags.power_up = true;
        }
    }
}
