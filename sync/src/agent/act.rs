//! Carrying a step out. What failed is said by the caller and tried again.

use std::collections::{BTreeMap, BTreeSet};

use azslurm_azure::ImdsError;
use azslurm_core::agent::{Event, EventKind, JobSeen, Mark, NodeTold, Step, mark_of, reason_of};
use azslurm_core::node::{NodeFlag, NodeState};
use azslurm_core::{NodeName, Timestamp};
use azslurm_program::exit::chain_of;
use azslurm_program::now;
use azslurm_slurm::{Job, JobState, Node, NodeVerb, SlurmError, reason};

use super::watch::Agent;

impl Agent {
    /// One step about `event`; `jobs` are those that it concerns.
    pub(super) async fn act(
        &mut self,
        step: Step,
        event: Option<&Event>,
        jobs: Vec<String>,
    ) -> Result<(), String> {
        let done = match (step, event) {
            (Step::Rest, _) => Ok(()),
            (Step::LookAtNode, _) => self.look_at_node().await,
            (Step::LookAtJobs, _) => self.look_at_jobs().await,
            (Step::Drain, Some(event)) => self.drain(event).await,
            (Step::Signal, _) => self.send_signal(jobs).await,
            (Step::Requeue, _) => self.requeue(&jobs).await,
            (Step::TakeBack, _) => self.take_back().await,
            (Step::Acknowledge, Some(event)) => return self.acknowledge(event).await,
            // Both are steps about an event alone.
            (Step::Drain | Step::Acknowledge, None) => Ok(()),
        };
        done.map_err(|error| chain_of(&error))
    }

    async fn look_at_node(&mut self) -> Result<(), SlurmError> {
        let told = self.slurm.nodes_named(std::slice::from_ref(&self.node)).await?;
        let Some(node) = told.first() else {
            tracing::error!(node = %self.node, "slurmctld does not know this node: compare \
                slurm.conf, or name it with --node");
            self.memory.is_absent = true;
            return Ok(());
        };
        let told = NodeTold { at: now(), state: node.state.clone(), mark: mark(node) };
        self.memory.node = Some(told);
        Ok(())
    }

    async fn drain(&mut self, event: &Event) -> Result<(), SlurmError> {
        let (code, text) = reason_of(event);
        let reason = reason::reason(&code, &text, None);
        self.slurm.update(std::slice::from_ref(&self.node), NodeVerb::Drain, Some(&reason)).await?;
        tracing::warn!(node = %self.node, event = event.id, "told slurmctld: state=drain, {text}");
        let mut state = self.memory.node.take().map_or_else(drained, |told| told.state);
        state.set(NodeFlag::Drain);
        self.memory.node = Some(NodeTold { at: now(), state, mark: mark_of(&code, &text) });
        Ok(())
    }

    async fn look_at_jobs(&mut self) -> Result<(), SlurmError> {
        let jobs = self.slurm.jobs().await?;
        let here: Vec<(Job, Vec<NodeName>)> = jobs
            .into_iter()
            .filter(|job| is_active(&job.state) || job.state == JobState::Completing)
            .filter_map(|job| Some((job.node_names().ok()?, job)))
            .filter(|(nodes, _)| nodes.contains(&self.node))
            .map(|(nodes, job)| (job, nodes))
            .collect();
        let first = self.first_to_signal(&here).await?;
        let seen = here.iter().map(|(job, nodes)| JobSeen {
            address: job.address(),
            is_active: is_active(&job.state),
            can_requeue: job.is_batch && job.can_requeue,
            is_signalled_elsewhere: nodes.iter().any(|node| first.contains(node)),
        });
        let seen: Vec<JobSeen> = seen.collect();
        for job in seen.iter().filter(|job| job.is_active && !job.can_requeue) {
            tracing::warn!(node = %self.node, job = job.address, "it cannot be requeued, and keeps \
                its node for as long as that lives");
        }
        self.memory.jobs = Some((now(), seen));
        Ok(())
    }

    /// Nodes that share a job with this one and were drained for their eviction before it: their
    /// agents send the signal, which reaches all of a job.
    async fn first_to_signal(
        &self,
        here: &[(Job, Vec<NodeName>)],
    ) -> Result<BTreeSet<NodeName>, SlurmError> {
        let shared: BTreeSet<NodeName> =
            here.iter().flat_map(|(_, nodes)| nodes.iter().cloned()).collect();
        if self.signal.is_none() || shared.len() < 2 {
            return Ok(BTreeSet::new());
        }
        let shared: Vec<NodeName> = shared.into_iter().collect();
        let told = self.slurm.nodes_named(&shared).await?;
        let marked: BTreeMap<NodeName, Option<Timestamp>> = told
            .into_iter()
            .filter(|node| node.state.has(&NodeFlag::Drain))
            .filter(|node| matches!(mark(node), Mark::Event { kind: EventKind::Preempt, .. }))
            .map(|node| (node.name, node.reason_at))
            .collect();
        // A node that a person has closed has no mark: whoever has one goes before it.
        let own = marked.get(&self.node).map(|at| (*at, self.node.clone()));
        let is_before = |(node, at): &(NodeName, Option<Timestamp>)| {
            *node != self.node && own.as_ref().is_none_or(|own| (*at, node.clone()) < *own)
        };
        Ok(marked.into_iter().filter(is_before).map(|(node, _)| node).collect())
    }

    /// A signal that cannot be sent must not keep the jobs from being requeued: only a slurmctld
    /// that does not answer is asked again.
    async fn send_signal(&mut self, jobs: Vec<String>) -> Result<(), SlurmError> {
        let Some(signal) = &self.signal else { return Ok(()) };
        match self.slurm.signal(&jobs, signal).await {
            Ok(()) => {
                tracing::warn!(node = %self.node, jobs = jobs.join(","), "sent {}", signal.name);
            }
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => {
                tracing::error!(node = %self.node, "cannot send {}: {}; jobs are requeued without \
                    it", signal.name, chain_of(&error));
            }
        }
        self.memory.signalled.extend(jobs);
        Ok(())
    }

    async fn requeue(&mut self, jobs: &[String]) -> Result<(), SlurmError> {
        let done = self.slurm.requeue(jobs).await;
        // Whatever it said: who is left is asked next.
        self.memory.jobs = None;
        done?;
        tracing::warn!(node = %self.node, jobs = jobs.join(","), "requeued");
        Ok(())
    }

    async fn take_back(&mut self) -> Result<(), SlurmError> {
        self.slurm.update(std::slice::from_ref(&self.node), NodeVerb::Undrain, None).await?;
        tracing::warn!(node = %self.node, "told slurmctld: state=undrain: what it was drained for \
            is over or cancelled, and the VM is still there");
        self.memory.forget_node();
        Ok(())
    }

    /// An event that Azure does not know any more needs no acknowledgement.
    async fn acknowledge(&mut self, event: &Event) -> Result<(), String> {
        match self.imds.acknowledge(&event.id).await {
            Ok(()) => tracing::warn!(node = %self.node, event = event.id, "acknowledged"),
            Err(error @ ImdsError::Refused { status: 400..=409, .. }) => {
                tracing::warn!(event = event.id, "not acknowledged: {error}");
            }
            Err(error) => return Err(chain_of(&error)),
        }
        self.memory.acknowledged.insert(event.id.clone());
        Ok(())
    }
}

/// Who has closed a node, by its reason.
fn mark(node: &Node) -> Mark {
    let Some(text) = node.reason.as_deref() else { return Mark::None };
    reason::parse_ours_alone(text).map_or(Mark::Others, |ours| mark_of(&ours.code, &ours.text))
}

fn drained() -> NodeState {
    let Ok(state) = "IDLE+DRAIN".parse::<NodeState>();
    state
}

/// Whether a job has its nodes and has not ended.
fn is_active(state: &JobState) -> bool {
    match state {
        JobState::Configuring | JobState::Running => true,
        JobState::Other(word) => {
            ["SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"].contains(&word.as_str())
        }
        JobState::Pending
        | JobState::Completing
        | JobState::Completed
        | JobState::Cancelled
        | JobState::Failed
        | JobState::Timeout
        | JobState::NodeFail => false,
    }
}
