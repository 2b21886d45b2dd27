//! Errands: tasks that act on Azure at the same time, and the recording of what they find, in
//! batches.
//!
//! ```text
//! task ──say(change)──┐
//! task ──say(change)──┼──► batch ──► one transaction: is the lease still ours? ──► Noted
//! task ──say(change)──┘                                 no ──► the node's other tasks are ended
//! ```
//!
//! One transaction costs one fsync whatever its size, so outcomes are collected for a moment. What
//! a change means and what comes after it is the caller's.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use azslurm_core::attempt::{AzureSays, Change};
use azslurm_core::block::Incarnation;
use azslurm_core::failure::Moment;
use azslurm_core::{NodeName, VmName};
use azslurm_ledger::{Lease, Ledger, LedgerError, Recorded};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::clients::Clients;
use crate::now;
use crate::throttles::{self, Throttles};

/// How long a lease is given: several renewals may fail before a living holder loses it.
pub const LEASE_FOR: Duration = Duration::from_secs(300);
/// How often leases are renewed.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether a lease is to be renewed or a throttle to be told or heeded.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// At most this many outcomes in one transaction: others wait for the write lock meanwhile.
const BATCH_MAX: usize = 500;
/// How long outcomes are collected. A crash loses no more than these; the next holder asks Azure
/// again.
const BATCH_WAIT: Duration = Duration::from_millis(150);

/// Something that a task found.
#[derive(Debug)]
enum Said {
    Attempt { lease: Lease, vm: VmName, change: Change },
    Block(BlockNews),
}

/// What became of a block's placement group and availability set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockNews {
    /// Which life of which block.
    pub life: Incarnation,
    /// What is known now.
    pub fate: BlockFate,
}

/// See [`BlockNews`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockFate {
    /// Both are there.
    Made,
    /// Azure refuses one of them.
    Refused(Moment, AzureSays),
    /// Both are absent.
    Gone,
    /// Nothing could be learned, or not yet: whoever comes next tries again.
    NotKnown,
}

/// What a task says its findings to. A closed run is not the task's concern.
#[derive(Debug, Clone)]
pub struct Reporter {
    lease: Lease,
    vm: VmName,
    sender: UnboundedSender<Said>,
}

impl Reporter {
    /// Something became known of the attempt.
    pub fn say(&self, change: Change) {
        let said = Said::Attempt { lease: self.lease.clone(), vm: self.vm.clone(), change };
        // The receiver lives as long as the errands; after that nobody records anything any more.
        let _closed = self.sender.send(said);
    }

    /// The VM that the task is about.
    pub fn vm(&self) -> &VmName {
        &self.vm
    }

    /// The node that the task is about.
    pub fn node(&self) -> &NodeName {
        self.lease.node()
    }
}

/// A change and what the ledger made of it.
#[derive(Debug, Clone)]
pub struct Noted {
    /// The lease it was said under.
    pub lease: Lease,
    /// The VM.
    pub vm: VmName,
    /// What was said.
    pub change: Change,
    /// Whether it is recorded.
    pub recorded: Recorded,
}

/// Findings of one moment.
#[derive(Debug, Default)]
pub struct Batch {
    /// About attempts, recorded.
    pub noted: Vec<Noted>,
    /// About blocks; what is to be recorded of them is the caller's.
    pub blocks: Vec<BlockNews>,
}

/// The tasks of one run and their findings.
#[derive(Debug)]
pub struct Errands {
    tasks: JoinSet<()>,
    by_node: BTreeMap<NodeName, Vec<(VmName, AbortHandle)>>,
    sender: UnboundedSender<Said>,
    receiver: UnboundedReceiver<Said>,
    leases: BTreeMap<NodeName, Lease>,
    renewed_at: Instant,
    looked_at: Instant,
    /// What others had changed in the ledger when all of `leases` were ours.
    held_at_version: Option<i64>,
    throttles: Throttles,
}

/// What woke a run.
enum Heard {
    Said(Said),
    /// Time, or a call that lacks a token.
    Nothing,
    /// No task is left.
    End,
}

impl Errands {
    /// Of a run that holds `leases`; all of them are kept renewed. While the run lives, calls
    /// through `clients` are sent against tokens that all programs share, and what Azure throttles
    /// is told to the others.
    pub fn new(leases: impl IntoIterator<Item = Lease>, clients: &Clients) -> Errands {
        let (sender, receiver) = unbounded_channel();
        let leases: BTreeMap<NodeName, Lease> =
            leases.into_iter().map(|lease| (lease.node().clone(), lease)).collect();
        let throttles = Throttles::begin(clients, leases.values().next().map(Lease::holder));
        Errands {
            tasks: JoinSet::new(),
            by_node: BTreeMap::new(),
            sender,
            receiver,
            leases,
            renewed_at: Instant::now(),
            looked_at: Instant::now(),
            held_at_version: None,
            throttles,
        }
    }

    /// Starts a task about one attempt.
    pub fn add<F>(&mut self, lease: &Lease, vm: &VmName, task: impl FnOnce(Reporter) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let reporter =
            Reporter { lease: lease.clone(), vm: vm.clone(), sender: self.sender.clone() };
        let handle = self.tasks.spawn(task(reporter));
        self.by_node.entry(lease.node().clone()).or_default().push((vm.clone(), handle));
    }

    /// Keeps a lease renewed that was given after the beginning.
    pub fn hold(&mut self, lease: &Lease) {
        self.leases.insert(lease.node().clone(), lease.clone());
    }

    /// Starts a task about a block; what it returns is its finding.
    pub fn add_block(
        &mut self,
        life: &Incarnation,
        task: impl Future<Output = BlockFate> + Send + 'static,
    ) {
        let (life, sender) = (life.clone(), self.sender.clone());
        self.tasks.spawn(async move {
            let news = BlockNews { life, fate: task.await };
            // As for a reporter: after the errands nobody records anything any more.
            let _closed = sender.send(Said::Block(news));
        });
    }

    /// Ends the tasks about one VM. Only for tasks that have nothing to send that must be answered:
    /// those that follow what Azure has taken.
    pub fn stop(&mut self, lease: &Lease, vm: &VmName) {
        let of_node = self.by_node.get_mut(lease.node()).into_iter().flatten();
        of_node.filter(|(of, _)| of == vm).for_each(|(_, handle)| handle.abort());
    }

    /// The next batch of findings, recorded; `None` when every task has ended and all is recorded,
    /// or at `until`.
    pub async fn next(
        &mut self,
        ledger: &mut Ledger,
        until: Instant,
    ) -> Result<Option<Batch>, LedgerError> {
        loop {
            let heard = self.hear(until).await;
            self.renew(ledger)?;
            self.drop_lost(ledger)?;
            self.throttles.heed(ledger)?;
            match heard {
                Heard::Said(first) => {
                    let batch = self.collect(first).await;
                    return self.record(ledger, batch).map(Some);
                }
                Heard::Nothing if Instant::now() < until => {
                    self.throttles.look(ledger, self.tasks.len() as u64)?;
                }
                Heard::Nothing | Heard::End => {
                    self.throttles.end(ledger)?;
                    return Ok(None);
                }
            }
        }
    }

    /// Waits for a finding, a call that lacks a token, or the time for the next look.
    async fn hear(&mut self, until: Instant) -> Heard {
        let look_at = self.throttles.look_at().unwrap_or(until);
        let wake = until.min(look_at).min(Instant::now() + LOOK_EVERY);
        let bell = self.throttles.bell();
        tokio::select! {
            biased;
            first = timeout_at(wake, self.first()) => match first {
                Ok(Some(first)) => Heard::Said(first),
                Ok(None) => Heard::End,
                Err(_elapsed) => Heard::Nothing,
            },
            () = bell.notified() => Heard::Nothing,
        }
    }

    /// Waits for a finding; `None` when there is none left and no task that could make one.
    async fn first(&mut self) -> Option<Said> {
        loop {
            if let Ok(said) = self.receiver.try_recv() {
                return Some(said);
            }
            if self.tasks.is_empty() {
                return None;
            }
            tokio::select! {
                biased;
                said = self.receiver.recv() => return said,
                _ended = self.tasks.join_next() => {}
            }
        }
    }

    async fn collect(&mut self, first: Said) -> Vec<Said> {
        let end = Instant::now() + BATCH_WAIT;
        let mut batch = vec![first];
        // The VMs of a block wait for its news: it is not kept waiting for others.
        let is_urgent = |batch: &[Said]| matches!(batch.last(), Some(Said::Block(_)));
        while batch.len() < BATCH_MAX && !is_urgent(&batch) {
            match timeout_at(end, self.first()).await {
                Ok(Some(said)) => batch.push(said),
                Ok(None) | Err(_) => break,
            }
        }
        batch
    }

    fn record(&mut self, ledger: &mut Ledger, said: Vec<Said>) -> Result<Batch, LedgerError> {
        let at = now();
        let (mut changes, mut blocks) = (Vec::new(), Vec::new());
        for said in said {
            match said {
                Said::Attempt { lease, vm, change } => changes.push((lease, vm, change)),
                Said::Block(news) => blocks.push(news),
            }
        }
        if changes.is_empty() {
            return Ok(Batch { noted: Vec::new(), blocks });
        }
        let (throttles, soon) = (&mut self.throttles, self.tasks.len() as u64);
        let (noted, grants) = ledger.write(|writer| {
            let noted = changes
                .into_iter()
                .map(|(lease, vm, change)| {
                    let recorded = writer.record(&lease, &vm, &change, at)?;
                    Ok(Noted { lease, vm, change, recorded })
                })
                .collect::<Result<Vec<Noted>, LedgerError>>()?;
            Ok::<_, LedgerError>((noted, throttles.exchange(writer, soon)?))
        })?;
        throttles::hand_out(grants);
        for Noted { lease, vm, recorded, .. } in &noted {
            if *recorded == Recorded::LeaseLost {
                let node = lease.node();
                tracing::warn!(%node, %vm, "another program has taken over this node: leaving it");
                self.drop_node(node);
            }
        }
        Ok(Batch { noted, blocks })
    }

    fn renew(&mut self, ledger: &mut Ledger) -> Result<(), LedgerError> {
        if self.renewed_at.elapsed() < RENEW_EVERY {
            return Ok(());
        }
        self.renewed_at = Instant::now();
        let until = now().plus(LEASE_FOR);
        let lost = ledger.write(|writer| {
            let mut lost = Vec::new();
            for lease in self.leases.values() {
                if !writer.renew(lease, until)? {
                    lost.push(lease.node().clone());
                }
            }
            Ok::<_, LedgerError>(lost)
        })?;
        lost.iter().for_each(|node| self.drop_node(node));
        Ok(())
    }

    /// Ends the tasks of nodes that another program has taken over: what they have not sent yet is
    /// not sent any more.
    fn drop_lost(&mut self, ledger: &Ledger) -> Result<(), LedgerError> {
        let Some(any) = self.leases.values().next() else { return Ok(()) };
        if self.looked_at.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        self.looked_at = Instant::now();
        // Before the leases: what changes while they are read is seen at the next look.
        let version = ledger.version_of_others()?;
        if self.held_at_version.replace(version) == Some(version) {
            return Ok(());
        }
        let held: BTreeMap<NodeName, i64> = ledger
            .leases_of_holder(any.holder())?
            .iter()
            .map(|lease| (lease.node().clone(), lease.generation()))
            .collect();
        let lost: Vec<NodeName> = self
            .leases
            .values()
            .filter(|lease| held.get(lease.node()) != Some(&lease.generation()))
            .map(|lease| lease.node().clone())
            .collect();
        for node in &lost {
            tracing::warn!(%node, "another program has taken over this node: leaving it");
            self.drop_node(node);
        }
        Ok(())
    }

    fn drop_node(&mut self, node: &NodeName) {
        self.leases.remove(node);
        for (_, handle) in self.by_node.remove(node).into_iter().flatten() {
            handle.abort();
        }
    }
}
