//! A model of slurmctld's power saving, for simulations: nodes, jobs, timeouts, rates, verbs and
//! words as `SLURM.md` measured them with 22.05.8, and what 24.11 does otherwise where that is
//! cheap to say.
//!
//! It is a plain value: no I/O, no clock, no chance. Time is milliseconds since 1970 and never
//! runs backwards here; a `now` before the last one counts as the last one. Whatever is due before
//! a call is done before it, and [`Slurmctld::advance`] hands out the programs that slurmctld
//! called meanwhile.
//!
//! ```text
//! submit ─► schedule ─► power pass ─► Call::Resume ─► slurmd_registers ─► every 30 s: job starts
//!                          ├─ ResumeTimeout ─► Call::ResumeFail, jobs requeued
//!                          └─ SuspendTime, POWER_DOWN ─► Call::Suspend ─► SuspendTimeout ─► off
//! ```
//!
//! Not modelled: reservations, dynamic nodes, arrays, priorities (jobs go by their number),
//! SuspendExc*, features, topologies, and the reboot verbs. Numbers of jobs go on after a lost
//! state, where a real slurmctld begins at 1 again, so that a job has one number in a story.

mod client;
mod ending;
mod events;
mod job;
mod node;
mod power;
mod schedule;
mod seen;
mod settings;
mod show;
mod slurmd;
mod update;

use azslurm_core::NodeName;

use crate::job::{Job, Phase};
use crate::node::Node;
use crate::power::Rates;

pub use client::Output;
pub use node::{Flags, Slurmd};
pub use power::Call;
pub use seen::{Exit, JobSeen, JobState, NodeSeen, Requeue, RequeueWhy, Signal};
pub use settings::{JobSpec, NodeSpec, Settings, Version};

/// No event.
pub(crate) const NEVER: i64 = i64::MAX;

/// slurmctld, and what its slurmds do.
#[derive(Clone, Debug)]
pub struct Slurmctld {
    settings: Settings,
    nodes: Vec<Node>,
    jobs: Vec<Job>,
    /// Places in `jobs` of those that have not ended.
    active: Vec<usize>,
    /// Configuring jobs for which ResumeProgram has to be called.
    resume_jobs: Vec<usize>,
    calls: Vec<Call>,
    rates: Rates,
    booted_at: i64,
    clock: i64,
    schedule_at: i64,
    power_at: i64,
    is_stopped: bool,
    hung_until: i64,
    due_at: i64,
}

impl Slurmctld {
    /// A slurmctld without any state, at `now`: every node is off.
    ///
    /// # Panics
    ///
    /// If a node's name is not one.
    pub fn new(settings: Settings, now: i64) -> Slurmctld {
        let nodes = settings.nodes.iter().map(node_of).collect();
        Slurmctld {
            settings,
            nodes,
            jobs: Vec::new(),
            active: Vec::new(),
            resume_jobs: Vec::new(),
            calls: Vec::new(),
            rates: Rates::default(),
            booted_at: now,
            clock: now,
            schedule_at: NEVER,
            power_at: NEVER,
            is_stopped: false,
            hung_until: i64::MIN,
            due_at: NEVER,
        }
    }

    /// What it was made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Does what is due, and hands out the calls of programs since the last time, in their order.
    pub fn advance(&mut self, now: i64) -> Vec<Call> {
        self.catch_up(now);
        std::mem::take(&mut self.calls)
    }

    /// When [`Slurmctld::advance`] has something to do next.
    pub fn next_event_at(&self) -> Option<i64> {
        let at = if self.calls.is_empty() { self.due_at } else { self.clock };
        (at != NEVER).then_some(at)
    }

    /// `sbatch`, or `srun` and `salloc`. Returns the job's number.
    pub fn submit(&mut self, spec: JobSpec, now: i64) -> u32 {
        let now = self.catch_up(now);
        let at = self.jobs.len();
        let id = u32::try_from(at + 1).expect("a test submits fewer than four billion jobs");
        self.jobs.push(Job::new(id, spec, now));
        self.active.push(at);
        self.touch(now);
        self.refresh();
        id
    }

    /// `scancel`. A job that has ended or never was stays as it is.
    pub fn cancel(&mut self, job: u32, now: i64) {
        let now = self.catch_up(now);
        if let Some(at) = self.job_at(job) {
            self.cancel_job(at, now);
        }
        self.refresh();
    }

    /// slurmctld ends. Until [`Slurmctld::restart`] it does nothing and answers nobody.
    pub fn stop(&mut self, now: i64) {
        self.catch_up(now);
        self.is_stopped = true;
        self.refresh();
    }

    /// slurmctld begins, and ends before if it had not. One that keeps its state does not call
    /// ResumeProgram again for nodes that are powering up. One that lost it believes that every
    /// node is off, and knows no job; VMs that run go unseen until their slurmd registers.
    pub fn restart(&mut self, keeps_state: bool, now: i64) {
        self.stop(now);
        let now = self.clock;
        self.is_stopped = false;
        self.hung_until = i64::MIN;
        self.booted_at = now;
        self.rates = Rates::default();
        if !keeps_state {
            self.lose_state(now);
        }
        self.resume_jobs = self.jobs_to_resume();
        for at in 0..self.nodes.len() {
            self.greet(at, now);
        }
        for at in &self.active {
            self.jobs[*at].ready_at = NEVER;
        }
        self.touch(now);
        self.refresh();
    }

    /// slurmctld begins with the state of an earlier moment, a clone of then: 22.05 does not save
    /// an allocation by itself. What it had done since is unknown to it, jobs that were submitted
    /// since are lost, and the slurmds are as they are.
    pub fn restart_from(&mut self, saved: &Slurmctld, now: i64) {
        self.stop(now);
        let present = std::mem::replace(self, saved.clone());
        self.clock = present.clock;
        self.calls = present.calls;
        for (node, real) in self.nodes.iter_mut().zip(present.nodes) {
            node.slurmd = real.slurmd;
            node.wants_to_register = real.wants_to_register;
        }
        for mut job in present.jobs.into_iter().skip(self.jobs.len()) {
            job.lose(present.clock);
            self.jobs.push(job);
        }
        self.is_stopped = true;
        self.refresh();
        self.restart(true, now);
    }

    /// slurmctld answers nobody and does nothing until `until`; then it goes on.
    pub fn hang(&mut self, until: i64, now: i64) {
        self.catch_up(now);
        self.hung_until = until;
        self.refresh();
    }

    /// The end of an earlier job is still under way on a node, whatever became of the node, for
    /// `ms`: a stubborn process, an epilog, or records of jobs and nodes of different age after a
    /// restart. The job that was on it last is completing there if it is being requeued.
    pub fn linger(&mut self, node: &str, ms: i64, now: i64) {
        let now = self.catch_up(now);
        if let Some(at) = self.node_at(node) {
            self.linger_on(at, now + ms);
        }
        self.refresh();
    }

    /// A maintenance reservation begins or ends on a node.
    pub fn maintenance(&mut self, node: &str, is_on: bool, now: i64) {
        let now = self.catch_up(now);
        if let Some(at) = self.node_at(node) {
            self.nodes[at].flags.maintenance = is_on;
        }
        self.touch(now);
        self.refresh();
    }

    /// A node; `None` if slurmctld does not have it.
    pub fn node(&self, name: &str) -> Option<NodeSeen> {
        let at = self.node_at(name)?;
        let node = &self.nodes[at];
        let is_completing = |job: &&usize| {
            let job = &self.jobs[**job];
            job.completing.iter().chain(&job.first_end).any(|(node, _)| *node == at)
        };
        let id = |job: &usize| self.jobs[*job].id;
        Some(NodeSeen {
            name: node.name.to_string(),
            state: node.state(),
            is_down: node.is_down,
            flags: node.flags,
            reason: node.reason.as_ref().map(|reason| reason.text.clone()),
            comment: node.comment.clone(),
            jobs: node.jobs.iter().map(id).collect(),
            completing: self.active.iter().filter(is_completing).map(id).collect(),
            boot_asked_at: node.boot_asked_at,
            slurmd: node.slurmd,
        })
    }

    /// Every job that was ever submitted, by number.
    pub fn jobs(&self) -> Vec<JobSeen> {
        self.jobs.iter().map(|job| self.job_seen(job)).collect()
    }

    /// One job.
    pub fn job(&self, id: u32) -> Option<JobSeen> {
        Some(self.job_seen(&self.jobs[self.job_at(id)?]))
    }

    fn job_seen(&self, job: &Job) -> JobSeen {
        JobSeen {
            id: job.id,
            state: match job.phase {
                Phase::Pending => JobState::Pending,
                Phase::Configuring => JobState::Configuring,
                Phase::Running => JobState::Running,
                Phase::Completing => JobState::Completing,
                Phase::Ended(exit) => JobState::Ended(exit),
            },
            nodes: job.nodes.iter().map(|at| self.nodes[*at].name.to_string()).collect(),
            requeues: job.requeues.clone(),
            submitted_at: job.submitted_at,
            started_at: job.started_at,
            ended_at: job.ended_at,
            admin_comment: job.admin_comment.clone(),
            notices: job.notices.clone(),
            signals: job.signals.clone(),
        }
    }

    fn lose_state(&mut self, now: i64) {
        for at in std::mem::take(&mut self.active) {
            self.jobs[at].lose(now);
        }
        for node in &mut self.nodes {
            let slurmd = node.slurmd;
            let wants_to_register = node.wants_to_register;
            *node = Node::new(node.name.clone(), node.spec.clone());
            node.slurmd = slurmd;
            node.wants_to_register = wants_to_register;
        }
    }

    pub(crate) fn node_at(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name.as_str() == name)
    }

    pub(crate) fn job_at(&self, id: u32) -> Option<usize> {
        let at = usize::try_from(id).ok()?.checked_sub(1)?;
        (at < self.jobs.len()).then_some(at)
    }
}

fn node_of(spec: &NodeSpec) -> Node {
    let name: NodeName = spec.name.parse().expect("a test names its nodes as Slurm does");
    Node::new(name, spec.clone())
}
