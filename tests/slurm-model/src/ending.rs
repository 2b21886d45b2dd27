//! How jobs leave their nodes: by their own end, cancelled, requeued, or because a node failed.
//! `kill_running_job_by_node_name()`, `deallocate_nodes()` and `batch_requeue_fini()` of 22.05.

use crate::job::{Ending, Phase};
use crate::schedule::cpus_of;
use crate::seen::{Exit, Requeue, RequeueWhy};
use crate::{NEVER, Slurmctld};

/// slurmctld waits a second longer than the old credentials live.
const AFTER_CREDENTIALS_MS: i64 = 1_000;

impl Slurmctld {
    /// A node fails under its jobs. Those that are being cleaned up on it already are not waited
    /// for any longer.
    pub(crate) fn kill_jobs_on(&mut self, node: usize, why: RequeueWhy, now: i64) {
        for at in self.active.clone() {
            let job = &mut self.jobs[at];
            if job.has_nodes() && job.nodes.contains(&node) {
                self.take_from_node(at, node, why, now);
            } else if job.completing.iter().any(|(place, _)| *place == node) {
                job.completing.retain(|(place, _)| *place != node);
                self.settle_node(node, now);
                self.finish_if_clean(at, now);
            }
        }
    }

    fn take_from_node(&mut self, at: usize, node: usize, why: RequeueWhy, now: i64) {
        let name = self.nodes[node].name.to_string();
        let job = &mut self.jobs[at];
        let was_running = job.phase == Phase::Running;
        job.requeues.push(Requeue { at: now, why, node: Some(name), was_running });
        let is_requeued = job.spec.is_batch && job.spec.requeue;
        let ending = if is_requeued { Ending::Requeue } else { Ending::Exit(Exit::NodeFail) };
        self.deallocate(at, ending, now);
    }

    /// `scontrol requeue`. Returns slurmctld's words if it refuses.
    pub(crate) fn requeue_job(&mut self, at: usize, now: i64) -> Result<(), &'static str> {
        let job = &mut self.jobs[at];
        if !job.spec.requeue {
            return Err("Requested operation is presently disabled");
        }
        if !job.spec.is_batch {
            return Err("Only batch jobs are accepted or processed");
        }
        match job.phase {
            Phase::Pending => return Err("Job is pending execution"),
            Phase::Completing => {
                let Ending::Exit(_) = job.ending else { return Err("Job is pending execution") };
                job.ending = Ending::Requeue;
                job.requeues.push(Requeue {
                    at: now,
                    why: RequeueWhy::Asked,
                    node: None,
                    was_running: false,
                });
                return Ok(());
            }
            // One that is over would begin anew; nobody asks for that here.
            Phase::Ended(_) => return Err("Job/step already completing or completed"),
            Phase::Configuring | Phase::Running => {}
        }
        let was_running = job.phase == Phase::Running;
        job.requeues.push(Requeue { at: now, why: RequeueWhy::Asked, node: None, was_running });
        let is_none_up = job.nodes.iter().all(|node| !self.nodes[*node].is_ready());
        let at_once = self.settings.version.is_before_23() && is_none_up;
        let ending = if at_once { Ending::RequeueAtOnce } else { Ending::Requeue };
        self.deallocate(at, ending, now);
        Ok(())
    }

    pub(crate) fn cancel_job(&mut self, at: usize, now: i64) {
        match self.jobs[at].phase {
            Phase::Pending => {
                self.jobs[at].ending = Ending::Exit(Exit::Cancelled);
                self.finish(at, now);
            }
            Phase::Configuring | Phase::Running => {
                self.deallocate(at, Ending::Exit(Exit::Cancelled), now);
            }
            Phase::Completing => {
                let job = &mut self.jobs[at];
                match job.ending {
                    Ending::Requeue | Ending::RequeueAtOnce => {
                        job.is_trapped = false;
                        job.ending = Ending::Exit(Exit::Cancelled);
                    }
                    Ending::Exit(_) => {}
                }
            }
            Phase::Ended(_) => {}
        }
    }

    /// Takes all its nodes from a job and begins to clean them up. Nodes that are DOWN, off or
    /// powering up are told, and nobody waits for their answer.
    fn deallocate(&mut self, at: usize, ending: Ending, now: i64) {
        let lasts = self.completing_lasts(at, ending);
        let job = &mut self.jobs[at];
        for place in job.nodes.clone() {
            let node = &mut self.nodes[place];
            node.jobs.retain(|other| *other != at);
            node.cpus_used -= cpus_of(job, node.spec.cpus);
            let is_off = node.is_saving || node.flags.powered_down || node.flags.powering_up;
            if !node.is_down && !is_off && lasts > 0 {
                // A slurmd that does not answer confirms nothing until it is given up.
                let until = if node.is_alive() { now + lasts } else { NEVER };
                job.completing.push((place, until));
                node.flags.completing = true;
            }
            if node.jobs.is_empty() {
                node.last_busy = Some(now);
            }
        }
        let over = std::mem::take(&mut job.first_end);
        job.phase = Phase::Completing;
        job.ending = ending;
        (job.ready_at, job.ends_at) = (NEVER, NEVER);
        job.is_unheard = false;
        self.resume_jobs.retain(|other| *other != at);
        for (place, _) in over {
            self.settle_node(place, now);
        }
        self.finish_if_clean(at, now);
        self.touch(now);
    }

    fn completing_lasts(&self, at: usize, ending: Ending) -> i64 {
        let job = &self.jobs[at];
        if job.phase == Phase::Configuring {
            let is_slow = self.settings.version.is_before_23();
            return if is_slow { self.settings.completing_configuring_ms } else { 0 };
        }
        if ending != Ending::Exit(Exit::Completed) && job.spec.ignores_term {
            return self.settings.kill_wait_ms;
        }
        self.settings.completing_ms
    }

    /// Scripts that have come to their end. One whose slurmd is silent has not been heard of.
    pub(crate) fn end_scripts(&mut self, now: i64) {
        for at in self.active.clone() {
            let job = &mut self.jobs[at];
            if job.ends_at > now {
                continue;
            }
            job.ends_at = NEVER;
            if job.nodes.iter().all(|node| self.nodes[*node].is_alive()) {
                self.deallocate(at, Ending::Exit(Exit::Completed), now);
            } else {
                job.is_unheard = true;
            }
        }
    }

    /// Nodes that have been cleaned up by now.
    pub(crate) fn finish_ends(&mut self, now: i64) {
        for at in self.active.clone() {
            self.finish_first_end(at, now);
            let due = |(_, until): &(usize, i64)| *until <= now;
            let (done, left): (Vec<_>, Vec<_>) =
                self.jobs[at].completing.iter().partition(|one| due(one));
            if done.is_empty() {
                continue;
            }
            self.jobs[at].completing = left;
            for (node, _) in done {
                self.settle_node(node, now);
            }
            self.finish_if_clean(at, now);
        }
    }

    /// The end of a job's first run takes the second one with it, where that is on the same node.
    fn finish_first_end(&mut self, at: usize, now: i64) {
        let job = &mut self.jobs[at];
        let Some(place) = job.first_end.iter().position(|(_, until)| *until <= now) else { return };
        let (node, _) = job.first_end.swap_remove(place);
        let is_on_it = job.has_nodes() && job.nodes.contains(&node);
        self.settle_node(node, now);
        if is_on_it {
            self.deallocate(at, Ending::Exit(Exit::LostToFirstEnd), now);
        } else {
            self.finish_first_end(at, now);
        }
    }

    /// `make_node_idle()`: one job is done with a node.
    pub(crate) fn settle_node(&mut self, node: usize, now: i64) {
        let is_there = |at: &usize| {
            let job = &self.jobs[*at];
            job.completing.iter().chain(&job.first_end).any(|(place, _)| *place == node)
        };
        let is_completing = self.active.iter().any(is_there);
        let record = &mut self.nodes[node];
        record.flags.completing = is_completing;
        if record.jobs.is_empty() && !record.flags.powered_down {
            record.last_busy = Some(now);
        }
        self.touch(now);
    }

    pub(crate) fn finish_if_clean(&mut self, at: usize, now: i64) {
        let job = &self.jobs[at];
        if job.phase == Phase::Completing && job.completing.is_empty() {
            self.finish(at, now);
        }
    }

    fn finish(&mut self, at: usize, now: i64) {
        let job = &mut self.jobs[at];
        job.is_trapped = false;
        let begin_at = match job.ending {
            Ending::Requeue => now + self.settings.cred_expire_ms + AFTER_CREDENTIALS_MS,
            Ending::RequeueAtOnce => now,
            Ending::Exit(exit) => {
                job.phase = Phase::Ended(exit);
                job.ended_at = Some(now);
                self.active.retain(|other| *other != at);
                return;
            }
        };
        job.phase = Phase::Pending;
        job.begin_at = begin_at;
        job.submitted_at = now;
        (job.allocated_at, job.started_at) = (None, None);
        job.nodes.clear();
        self.touch(now);
    }

    /// The trap of 22.05: a node that is off and set back while an end is under way on it. The jobs
    /// of that end that are to be requeued may start on it at once.
    pub(crate) fn spring_trap(&mut self, node: usize, now: i64) {
        if !self.settings.version.is_before_23() {
            return;
        }
        for at in &self.active {
            let job = &mut self.jobs[*at];
            let is_here = job.completing.iter().any(|(place, _)| *place == node);
            if is_here && job.ending == Ending::Requeue {
                job.is_trapped = true;
            }
        }
        self.touch(now);
    }

    /// As [`Slurmctld::linger`]: the job that was requeued from the node last, if it still waits.
    pub(crate) fn linger_on(&mut self, node: usize, until: i64) {
        let name = self.nodes[node].name.as_str();
        let was_here = |at: &&usize| {
            let job = &self.jobs[**at];
            let last = job.requeues.last().and_then(|one| one.node.as_deref());
            let is_waiting = matches!(job.phase, Phase::Pending | Phase::Completing);
            is_waiting && last == Some(name)
        };
        let Some(at) = self.active.iter().rfind(was_here).copied() else { return };
        let job = &mut self.jobs[at];
        job.completing.retain(|(place, _)| *place != node);
        job.completing.push((node, until));
        job.phase = Phase::Completing;
        job.ending = Ending::Requeue;
        self.nodes[node].flags.completing = true;
    }
}
