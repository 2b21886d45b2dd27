//! One round of a driver: an errand for everything that stands in the ledger for its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use azslurm_azure::{Place, VmBody, VmDraft};
use azslurm_core::attempt::{Attempt, AttemptState, NewAttempt};
use azslurm_core::block::{BlockState, Incarnation};
use azslurm_core::plan::{NodesetTexts, VmWish};
use azslurm_core::{NodeName, NodesetName, VmName};
use azslurm_ledger::{Holder, Lease, LedgerError};
use azslurm_program::errands::Errands;
use azslurm_program::{Session, now, texts};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::blocks;
use crate::create::{Order, Recall, create, find};
use crate::drive::Orders;
use crate::follow::{Creation, follow};

/// Deletions let the making of a block go first, so long at most: a job waits for the block, and
/// what is deleted costs money. Placement group and availability set are answered at once by an
/// Azure that works.
const DELETE_BEHIND_MAX: Duration = Duration::from_secs(5);

type Texts = BTreeMap<NodesetName, NodesetTexts>;

/// Errands under way, and what they are about.
pub(crate) struct Round {
    /// The tasks.
    pub errands: Errands,
    /// Every attempt that has one, as it is known.
    pub attempts: BTreeMap<VmName, (Lease, Attempt)>,
    /// How to call a PUT back that may not have been sent yet.
    pub recalls: BTreeMap<VmName, Recall>,
    /// VMs that wait for their block to be made.
    yard: BTreeMap<Incarnation, BTreeSet<VmName>>,
    /// Whether there are any: what is less urgent goes behind them.
    has_waiting: watch::Sender<bool>,
    texts: Arc<Texts>,
    until: Instant,
}

impl Round {
    /// With an errand for each attempt of the leased nodes. `is_first`: what has the generation of
    /// our lease was never sent before.
    pub(crate) fn begin(
        session: &mut Session,
        (work, leases, orders): (Vec<(Lease, Attempt)>, &[Lease], &Orders),
        is_first: bool,
    ) -> Result<Round, LedgerError> {
        let (texts, _logged_by_the_front) = texts::load(&session.config);
        let mut round = Round {
            errands: Errands::new(leases.iter().cloned(), &session.clients),
            attempts: BTreeMap::new(),
            recalls: BTreeMap::new(),
            yard: BTreeMap::new(),
            has_waiting: watch::Sender::new(false),
            texts: Arc::new(texts),
            until: orders.until,
        };
        for (lease, attempt) in work {
            let is_fresh = is_first && attempt.generation == lease.generation();
            round.add(session, (lease, attempt), (orders, is_fresh))?;
        }
        Ok(round)
    }

    /// Errands for attempts of `nodes` that have been intended since the round began.
    pub(crate) fn add_new(
        &mut self,
        session: &mut Session,
        (holder, nodes): (&Holder, &BTreeSet<NodeName>),
    ) -> Result<(), LedgerError> {
        let orders = Orders::of_request(self.until);
        for (lease, attempt) in session.ledger.attempts_of_holder(holder)? {
            let is_new = !self.attempts.contains_key(&attempt.is.vm);
            if is_new && nodes.contains(lease.node()) {
                self.errands.hold(&lease);
                self.add(session, (lease, attempt), (&orders, true))?;
            }
        }
        Ok(())
    }

    /// The errand that an attempt needs next.
    fn add(
        &mut self,
        session: &mut Session,
        (lease, attempt): (Lease, Attempt),
        (orders, is_fresh): (&Orders, bool),
    ) -> Result<(), LedgerError> {
        let vm = attempt.is.vm.clone();
        let place = Place::from(&attempt.is.place);
        let slurm = session.slurm.clone();
        let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() else {
            tracing::error!(node = %attempt.is.node, %vm, site = %attempt.is.place.site,
                "the config no longer has the site of this VM: put it back until \
                 `azslurm-sync nodes` shows the VM gone");
            return Ok(());
        };
        match attempt.state {
            AttemptState::Intended if orders.leave.contains(&vm) => {}
            AttemptState::Intended if orders.look.contains(&vm) => {
                self.errands.add(&lease, &vm, |report| find(arm, (place, slurm), report));
            }
            AttemptState::Intended => self.add_intended(session, (&lease, &attempt), is_fresh)?,
            AttemptState::Accepted => {
                let operation = attempt.operation.clone();
                let creation = Creation { place, operation, first_look: Duration::ZERO, slurm };
                self.errands.add(&lease, &vm, |report| follow(arm, creation, report));
            }
            AttemptState::DeleteIntended | AttemptState::Deleting => {
                azslurm_suspend::drive::add(&mut self.errands, session, &lease, &attempt);
            }
            AttemptState::Running | AttemptState::Refused | AttemptState::Gone => {}
        }
        self.attempts.insert(vm, (lease, attempt));
        Ok(())
    }

    fn add_intended(
        &mut self,
        session: &mut Session,
        (lease, attempt): (&Lease, &Attempt),
        is_fresh: bool,
    ) -> Result<(), LedgerError> {
        let vm = &attempt.is.vm;
        let Some(life) = &attempt.is.place.block else {
            self.add_create(session, (lease, attempt), is_fresh);
            return Ok(());
        };
        let block = session.ledger.block(life)?;
        match block.as_ref().map(|block| block.state) {
            Some(BlockState::Made) => self.add_create(session, (lease, attempt), is_fresh),
            Some(BlockState::Intended) => {
                let waiting = self.yard.entry(life.clone()).or_default();
                waiting.insert(vm.clone());
                self.has_waiting.send_replace(true);
                let arm = session.clients.of(&attempt.is.place.site).cloned();
                if let (1, Some(block), Some(arm)) = (waiting.len(), block, arm) {
                    let cluster = session.config.cluster.clone();
                    let task = blocks::make(arm, (block, cluster), self.until);
                    self.errands.add_block(life, task);
                }
            }
            // It was given up, with all that was intended in it.
            Some(BlockState::DeleteIntended | BlockState::Gone) | None => {
                self.look_for(session, (lease, attempt));
            }
        }
        Ok(())
    }

    fn look_for(&mut self, session: &Session, (lease, attempt): (&Lease, &Attempt)) {
        let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() else { return };
        let place = Place::from(&attempt.is.place);
        let slurm = session.slurm.clone();
        self.errands.add(lease, &attempt.is.vm, |report| find(arm, (place, slurm), report));
    }

    fn add_create(
        &mut self,
        session: &Session,
        (lease, attempt): (&Lease, &Attempt),
        is_fresh: bool,
    ) {
        let Some(draft) = draft_of(session, attempt, &self.texts) else {
            return self.look_for(session, (lease, attempt));
        };
        let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() else { return };
        let recall = Recall::default();
        let order = Order {
            place: Place::from(&attempt.is.place),
            draft,
            settle: Instant::now() + attempt.settles_at.since(now()),
            may_exist: !is_fresh,
            slurm: session.slurm.clone(),
            recall: recall.clone(),
        };
        self.recalls.insert(attempt.is.vm.clone(), recall);
        self.errands.add(lease, &attempt.is.vm, |report| create(arm, order, report));
    }

    /// A block is made: its VMs are asked for. While they waited, another program may have taken
    /// over some of their nodes: those are left to it.
    pub(crate) fn block_is_made(
        &mut self,
        session: &Session,
        life: &Incarnation,
    ) -> Result<(), LedgerError> {
        for vm in self.yard.remove(life).unwrap_or_default() {
            let Some((lease, attempt)) = self.attempts.get(&vm).cloned() else { continue };
            let is_ours = session.ledger.is_held(&lease, now())?;
            if is_ours && attempt.state == AttemptState::Intended {
                self.add_create(session, (&lease, &attempt), true);
            }
        }
        self.has_waiting.send_replace(!self.yard.is_empty());
        Ok(())
    }

    /// The VMs that waited for a block that cannot be made now.
    pub(crate) fn give_up_block(&mut self, life: &Incarnation) -> Vec<(Lease, Attempt)> {
        let waiting = self.yard.remove(life).unwrap_or_default();
        self.has_waiting.send_replace(!self.yard.is_empty());
        let of = |vm: &VmName| self.attempts.get(vm).cloned();
        let mut waiting: Vec<(Lease, Attempt)> = waiting.iter().filter_map(of).collect();
        waiting.retain(|(_, attempt)| attempt.state == AttemptState::Intended);
        waiting
    }

    /// The errand that deletes an attempt's VM: behind the VMs that wait for a block, else a gang
    /// of hundreds that moves would wait for as many deletions.
    pub(crate) fn add_deletion(&mut self, session: &Session, vm: &VmName) {
        let Some((lease, attempt)) = self.attempts.get(vm) else { return };
        let mut has_waiting = self.has_waiting.subscribe();
        let when = async move {
            let none = has_waiting.wait_for(|has_waiting| !has_waiting);
            drop(timeout(DELETE_BEHIND_MAX, none).await);
        };
        let errands = &mut self.errands;
        azslurm_suspend::drive::add_when(errands, session, (lease, attempt), when);
    }
}

/// The body of an intent's PUT, as the config has it now; `None` if that is not what was intended:
/// then it must not be sent.
fn draft_of(session: &Session, attempt: &Attempt, texts: &Arc<Texts>) -> Option<VmDraft> {
    let (config, texts) = (Arc::clone(&session.config), Arc::clone(texts));
    let NewAttempt { vm, node, nodeset, attempt: number, place, body_hash, .. } = &attempt.is;
    let (node, nodeset, number, place) = (node.clone(), nodeset.clone(), *number, place.clone());
    let write = move || {
        let wish = VmWish { node: &node, nodeset: &nodeset, attempt: number, place: &place };
        Some(VmBody::from(&wish.spec(&config, texts.get(&nodeset)?)?))
    };
    let is_intended = write()?.hash() == *body_hash;
    let again = move || write().expect("config and texts are those of the first time");
    is_intended.then(|| VmDraft::new(vm.clone(), again))
}
