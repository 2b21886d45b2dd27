//! The agent's life: asking for events every second, and taking steps.

use std::collections::BTreeSet;
use std::time::Duration;

use azslurm_azure::{Imds, ImdsError, Scheduled};
use azslurm_core::agent::{Event, Memory, Pause, Settings, Sight, Step, foremost, own_events};
use azslurm_core::{NodeName, Timestamp};
use azslurm_program::exit::chain_of;
use azslurm_program::now;
use azslurm_slurm::{JobSignal, Slurm};

/// Azure allows a poll every second, and an eviction has 30 s of notice.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// The first call of a VM's life takes up to two minutes.
const FIRST_CALL_MAX: Duration = Duration::from_secs(150);
/// Later ones take milliseconds.
const CALL_MAX: Duration = Duration::from_secs(5);
/// Steps between two polls: more than the longest way through them.
const STEPS_MAX: usize = 12;

/// One node's agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) imds: Imds,
    pub(super) slurm: Slurm,
    pub(super) node: NodeName,
    pub(super) signal: Option<JobSignal>,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    /// This VM's name in Azure, once it is known.
    vm: Option<String>,
    /// The events for this VM, as they were told last; `None` before the first answer.
    events: Option<Vec<Event>>,
    asking: Pause,
    telling: Pause,
    /// Oddities of the metadata service that were said.
    odd: BTreeSet<String>,
}

impl Agent {
    pub(super) fn new(
        imds: Imds,
        slurm: Slurm,
        (node, signal, settings): (NodeName, Option<JobSignal>, Settings),
    ) -> Agent {
        Agent {
            imds,
            slurm,
            node,
            signal,
            settings,
            memory: Memory::default(),
            vm: None,
            events: None,
            asking: Pause::default(),
            telling: Pause::default(),
            odd: BTreeSet::new(),
        }
    }

    /// Works until it is dropped.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.asking.is_over(now()) {
                self.poll().await;
            }
            self.take_steps().await;
        }
    }

    /// Asks for events. Without an answer those that were told last still stand.
    async fn poll(&mut self) {
        match self.ask().await {
            Ok(scheduled) => {
                if let Some(failures) = self.asking.succeed() {
                    tracing::info!(failures, "the metadata service answers again");
                }
                self.take_note(&scheduled);
            }
            Err(error) => {
                let at_least = match &error {
                    ImdsError::Refused { retry_after, .. } => *retry_after,
                    ImdsError::NoAnswer { .. } | ImdsError::Unreadable { .. } => None,
                };
                let text = chain_of(&error);
                if self.asking.fail((now(), &text), at_least, None) {
                    tracing::warn!("{text}; it is asked again until it answers");
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<Scheduled, ImdsError> {
        if self.vm.is_none() {
            let vm = self.imds.vm_name().await?;
            tracing::info!(node = %self.node, %vm, "watching the scheduled events of this VM");
            self.vm = Some(vm);
        }
        let time_max = if self.events.is_none() { FIRST_CALL_MAX } else { CALL_MAX };
        self.imds.events(time_max).await
    }

    fn take_note(&mut self, scheduled: &Scheduled) {
        for odd in &scheduled.odd {
            if self.odd.insert(odd.clone()) {
                tracing::warn!("the metadata service tells what is new to us: {odd}");
            }
        }
        let vm = self.vm.as_deref().unwrap_or_default();
        let own: Vec<Event> = own_events(&scheduled.events, vm).into_iter().cloned().collect();
        let before = self.events.replace(own).unwrap_or_default();
        let now_told = self.events.as_deref().unwrap_or_default();
        for event in now_told.iter().filter(|event| !before.contains(event)) {
            let not_before = event.not_before.map(|at| at.to_string()).unwrap_or_default();
            tracing::warn!(node = %self.node, vm, event = event.id, not_before,
                started = event.is_started, vms = event.resources.len(), "Azure announces {} {}",
                event.kind.as_str(), event.description);
        }
        for event in before.iter().filter(|old| now_told.iter().all(|event| event.id != old.id)) {
            tracing::info!(node = %self.node, vm, event = event.id, "{} is over or cancelled",
                event.kind.as_str());
        }
    }

    async fn take_steps(&mut self) {
        for _ in 0..STEPS_MAX {
            let Some(events) = &self.events else { return };
            let event = foremost(&events.iter().collect::<Vec<_>>()).cloned();
            let at = now();
            self.memory.note(event.as_ref(), at);
            let (step, jobs) = self.next(event.as_ref(), at);
            if step == Step::Rest || !self.telling.is_over(at) {
                return;
            }
            let deadline = event.as_ref().and_then(|event| event.not_before);
            match self.act(step, event.as_ref(), jobs).await {
                Ok(()) => {
                    if let Some(failures) = self.telling.succeed() {
                        tracing::info!(node = %self.node, failures, "{step:?} has worked now");
                    }
                }
                Err(text) => {
                    if self.telling.fail((now(), &text), None, deadline) {
                        tracing::error!(node = %self.node, "cannot {step:?}: {text}; it is tried \
                            again while there is reason to");
                    }
                    return;
                }
            }
        }
    }

    fn next(&self, event: Option<&Event>, now: Timestamp) -> (Step, Vec<String>) {
        let sight = Sight { event: Ok(event), memory: &self.memory, settings: &self.settings, now };
        let step = sight.step();
        (step, sight.addresses(step))
    }
}
