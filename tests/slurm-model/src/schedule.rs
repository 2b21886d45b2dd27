//! The scheduler: which waiting job gets which nodes, and when its script starts.

use crate::NEVER;
use crate::Slurmctld;
use crate::job::{Job, Phase};

impl Slurmctld {
    /// One look at all waiting jobs, by number; one that does not fit does not keep others back.
    pub(crate) fn schedule(&mut self, now: i64) {
        self.schedule_at = NEVER;
        for place in 0..self.active.len() {
            let at = self.active[place];
            if !self.jobs[at].is_startable(now) {
                continue;
            }
            if let Some(nodes) = self.choose(&self.jobs[at]) {
                self.allocate(at, nodes, now);
            }
        }
        let waiting = self.active.iter().map(|at| &self.jobs[*at]);
        let begins = waiting.filter(|job| job.phase == Phase::Pending && job.begin_at > now);
        self.schedule_at = begins.map(|job| job.begin_at).min().unwrap_or(NEVER);
    }

    /// Nodes that are up first, then those that are powering up, then those that are off; by
    /// weight and place in each group (SLURM.md §5). `None` if there are not enough.
    fn choose(&self, job: &Job) -> Option<Vec<usize>> {
        let spec = &job.spec;
        let named = |names: &[String], at: usize| {
            names.iter().any(|name| self.nodes[at].name.as_str() == name)
        };
        let mut fit: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.has_room(*at, job) && !named(&spec.excluded, *at))
            .collect();
        let wanted = spec.nodes.max(spec.required.len());
        let found = fit.iter().filter(|at| named(&spec.required, **at)).count();
        if fit.len() < wanted || found < spec.required.len() {
            return None;
        }
        fit.sort_by_key(|at| {
            let node = &self.nodes[*at];
            let power = match (node.is_saving, node.flags.powering_up) {
                (false, false) => 0,
                (false, true) => 1,
                (true, _) => 2,
            };
            (!named(&spec.required, *at), power, node.spec.weight, *at)
        });
        fit.truncate(wanted);
        fit.sort_unstable();
        Some(fit)
    }

    fn has_room(&self, at: usize, job: &Job) -> bool {
        let node = &self.nodes[at];
        let is_in = job.spec.partition.as_ref().is_none_or(|name| *name == node.spec.partition);
        let has_cpus = if job.spec.is_exclusive {
            node.jobs.is_empty()
        } else {
            node.cpus_used < node.spec.cpus
        };
        is_in && has_cpus && node.is_available()
    }

    /// `make_node_alloc()` of each node: the reason of an earlier day goes.
    fn allocate(&mut self, at: usize, nodes: Vec<usize>, now: i64) {
        let job = &mut self.jobs[at];
        for place in &nodes {
            let node = &mut self.nodes[*place];
            node.jobs.push(at);
            node.cpus_used += cpus_of(job, node.spec.cpus);
            node.reason = None;
        }
        // What is left of a first end comes over the job although it has been started again.
        job.first_end.append(&mut job.completing);
        job.is_trapped = false;
        let is_off = nodes.iter().any(|place| self.nodes[*place].is_saving);
        let is_up = nodes.iter().all(|place| self.nodes[*place].is_ready());
        job.nodes = nodes;
        job.allocated_at = Some(now);
        job.ready_at = NEVER;
        job.phase = Phase::Configuring;
        if is_off {
            self.resume_jobs.push(at);
        }
        if is_up {
            self.start(at, now);
        }
        self.power_at = self.power_at.min(now + self.settings.power_delay_ms);
    }

    /// Starts the scripts of configuring jobs whose nodes were found up.
    pub(crate) fn start_ready(&mut self, now: i64) {
        for place in 0..self.active.len() {
            let at = self.active[place];
            let job = &self.jobs[at];
            if job.ready_at > now {
                continue;
            }
            let is_up = job.nodes.iter().all(|node| self.nodes[*node].is_ready());
            self.jobs[at].ready_at = NEVER;
            if is_up && self.jobs[at].phase == Phase::Configuring {
                self.start(at, now);
            }
        }
    }

    fn start(&mut self, at: usize, now: i64) {
        let job = &mut self.jobs[at];
        job.phase = Phase::Running;
        job.started_at = Some(now);
        job.is_unheard = false;
        job.ends_at = now.saturating_add(job.spec.run_ms);
    }
}

/// How many CPUs of a node a job takes.
pub(crate) fn cpus_of(job: &Job, cpus: usize) -> usize {
    if job.spec.is_exclusive { cpus } else { 1 }
}
