//! What is due, and when. One step does everything of one moment, in slurmctld's order; nothing
//! else moves the model's time.

use crate::job::Phase;
use crate::{NEVER, Slurmctld};

impl Slurmctld {
    /// Does all that is due up to `now`. Returns the time that it is then.
    pub(crate) fn catch_up(&mut self, now: i64) -> i64 {
        while self.due_at <= now {
            self.clock = self.clock.max(self.due_at);
            self.step(self.clock);
            self.refresh();
        }
        self.clock = self.clock.max(now);
        self.clock
    }

    fn step(&mut self, now: i64) {
        self.finish_ends(now);
        self.end_scripts(now);
        self.ping(now);
        self.start_ready(now);
        if self.schedule_at <= now {
            self.schedule(now);
        }
        if self.power_at <= now {
            self.power_pass(now);
        }
    }

    /// Something has changed: the scheduler and the power saving thread look at it soon.
    pub(crate) fn touch(&mut self, now: i64) {
        self.schedule_at = self.schedule_at.min(now + self.settings.schedule_delay_ms);
        self.power_at = self.power_at.min(now + self.settings.power_delay_ms);
    }

    /// Computes the next event. To be called after every change.
    pub(crate) fn refresh(&mut self) {
        if self.is_stopped {
            self.due_at = NEVER;
            return;
        }
        self.await_ready();
        let jobs = self.active.iter().map(|at| self.jobs[*at].due_at());
        let nodes = (0..self.nodes.len()).map(|at| self.ping_due(at));
        let due = jobs.chain(nodes).min().unwrap_or(NEVER);
        let due = due.min(self.schedule_at).min(self.power_at);
        self.due_at = if due == NEVER { NEVER } else { due.max(self.hung_until) };
    }

    /// Configuring jobs whose nodes are all up start with the next look of `job_time_limit()`.
    fn await_ready(&mut self) {
        let period = self.settings.ready_check_ms;
        let looks = (self.clock - self.booted_at).div_euclid(period) + 1;
        let next = self.booted_at + looks * period;
        for at in &self.active {
            let job = &mut self.jobs[*at];
            if job.phase != Phase::Configuring {
                continue;
            }
            if !job.nodes.iter().all(|node| self.nodes[*node].is_ready()) {
                job.ready_at = NEVER;
            } else if job.ready_at == NEVER {
                job.ready_at = next;
            }
        }
    }
}
