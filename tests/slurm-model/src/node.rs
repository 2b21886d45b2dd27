//! A node's record, and its state in slurmctld's words.

use azslurm_core::NodeName;

use crate::NEVER;
use crate::settings::NodeSpec;

/// The flags of a node's state (`NODE_STATE_*`), each as slurmctld names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `COMPLETING`: a job is being cleaned up.
    pub completing: bool,
    /// `DRAIN`.
    pub drain: bool,
    /// `FAIL`.
    pub fail: bool,
    /// `MAINTENANCE`.
    pub maintenance: bool,
    /// `POWER_DOWN`: asked for.
    pub power_down: bool,
    /// `POWER_UP`: asked for.
    pub power_up: bool,
    /// `POWERED_DOWN`.
    pub powered_down: bool,
    /// `NOT_RESPONDING`.
    pub not_responding: bool,
    /// `POWERING_DOWN`: SuspendProgram was called.
    pub powering_down: bool,
    /// `POWERING_UP`: ResumeProgram was called.
    pub powering_up: bool,
}

impl Flags {
    /// The words in slurmctld's own order.
    fn words(self) -> [(&'static str, bool); 10] {
        [
            ("COMPLETING", self.completing),
            ("DRAIN", self.drain),
            ("FAIL", self.fail),
            ("MAINTENANCE", self.maintenance),
            ("POWER_DOWN", self.power_down),
            ("POWER_UP", self.power_up),
            ("POWERED_DOWN", self.powered_down),
            ("NOT_RESPONDING", self.not_responding),
            ("POWERING_DOWN", self.powering_down),
            ("POWERING_UP", self.powering_up),
        ]
    }
}

/// A reason, who said it and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) text: String,
    pub(crate) user: String,
    pub(crate) at: i64,
}

/// The daemon on the node, as it is, not as slurmctld believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slurmd {
    /// There is none, or it has not been heard of yet.
    Absent,
    /// It answers.
    Alive {
        /// When its kernel booted.
        boot_time: i64,
    },
    /// It has been heard of, and answers no more.
    Silent {
        /// When its kernel booted.
        boot_time: i64,
        /// Since when it is silent.
        since: i64,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) spec: NodeSpec,
    /// Base state DOWN; otherwise it follows from its jobs.
    pub(crate) is_down: bool,
    pub(crate) flags: Flags,
    /// slurmctld's `power_node_bitmap`: off, or on its way there.
    pub(crate) is_saving: bool,
    /// slurmctld's `booting_node_bitmap`.
    pub(crate) is_booting: bool,
    pub(crate) reason: Option<Reason>,
    pub(crate) comment: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) host_name: Option<String>,
    /// Jobs that have it, running or configuring.
    pub(crate) jobs: Vec<usize>,
    /// How many of its CPUs they use.
    pub(crate) cpus_used: usize,
    /// When ResumeProgram was called for it; `None` once it has registered or timed out.
    pub(crate) boot_asked_at: Option<i64>,
    /// When SuspendProgram was called for it last.
    pub(crate) suspend_asked_at: Option<i64>,
    /// Since when it has no job; `None` while it is off.
    pub(crate) last_busy: Option<i64>,
    pub(crate) boot_time: Option<i64>,
    pub(crate) started_at: Option<i64>,
    pub(crate) last_response: i64,
    pub(crate) slurmd: Slurmd,
    /// A slurmd that found no slurmctld tries again until there is one.
    pub(crate) wants_to_register: bool,
    /// When slurmctld pings it out of turn.
    pub(crate) ping_at: i64,
}

impl Node {
    /// As a node with `State=CLOUD` begins.
    pub(crate) fn new(name: NodeName, spec: NodeSpec) -> Node {
        Node {
            name,
            spec,
            is_down: false,
            flags: Flags { powered_down: true, ..Flags::default() },
            is_saving: true,
            is_booting: false,
            reason: None,
            comment: None,
            address: None,
            host_name: None,
            jobs: Vec::new(),
            cpus_used: 0,
            boot_asked_at: None,
            suspend_asked_at: None,
            last_busy: None,
            boot_time: None,
            started_at: None,
            last_response: 0,
            slurmd: Slurmd::Absent,
            wants_to_register: false,
            ping_at: NEVER,
        }
    }

    /// `IDLE`, `MIXED`, `ALLOCATED` or `DOWN`.
    pub(crate) fn base(&self) -> &'static str {
        if self.is_down {
            "DOWN"
        } else if self.jobs.is_empty() {
            "IDLE"
        } else if self.cpus_used < self.spec.cpus {
            "MIXED"
        } else {
            "ALLOCATED"
        }
    }

    pub(crate) fn state(&self) -> String {
        let mut text = String::with_capacity(48);
        text.push_str(self.base());
        text.push_str("+CLOUD");
        for (word, _) in self.flags.words().iter().filter(|(_, is_set)| *is_set) {
            text.push('+');
            text.push_str(word);
        }
        text
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.is_down && self.jobs.is_empty()
    }

    /// Whether slurmctld pings it in turn.
    pub(crate) fn is_pinged(&self) -> bool {
        let flags = self.flags;
        !(self.is_saving || flags.powered_down || flags.powering_down || flags.powering_up)
    }

    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.slurmd, Slurmd::Alive { .. })
    }

    /// `waiting_for_node_boot()`: times are compared in whole seconds.
    pub(crate) fn waits_for_boot(&self) -> bool {
        let asked = self.boot_asked_at.unwrap_or(0).div_euclid(1_000);
        let booted = self.boot_time.unwrap_or(0).div_euclid(1_000);
        self.flags.powering_up && booted < asked
    }

    /// `waiting_for_node_power_down()`.
    pub(crate) fn waits_for_power_down(&self, suspend_timeout_ms: i64) -> bool {
        let Some(asked) = self.suspend_asked_at else { return false };
        let until = asked.saturating_add(suspend_timeout_ms);
        self.flags.powering_down && self.boot_time.unwrap_or(0) < until
    }

    /// Whether its slurmd can take a job.
    pub(crate) fn is_ready(&self) -> bool {
        let flags = self.flags;
        !(self.is_saving || flags.powered_down || flags.powering_up || flags.not_responding)
    }

    /// Whether the scheduler may give it to a job.
    pub(crate) fn is_available(&self) -> bool {
        let flags = self.flags;
        let is_closed = self.is_down || flags.drain || flags.fail || flags.maintenance;
        let is_going = flags.powering_down || flags.power_down;
        let is_silent = flags.not_responding && !flags.powered_down && !flags.powering_up;
        // One that is off and set back may be taken while an end is under way: SLURM.md's trap.
        let is_cleaned = !flags.completing || flags.powered_down;
        !is_closed && !is_going && !is_silent && is_cleaned
    }

    /// `_require_node_reg()`: it does not count as answering until it has been pinged.
    pub(crate) fn require_registration(&mut self, now: i64) {
        self.flags.not_responding = true;
        self.boot_time = None;
        self.last_response = now;
        self.ping_at = now + crate::slurmd::PING_SOON_MS;
    }
}
