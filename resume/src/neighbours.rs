//! Blocks that are to begin a new life although VMs of them are there: the ledger was lost, or put
//! back, and no pass had found those VMs when the new life was planned. Two lives are two
//! InfiniBand partitions, and a gang that spans both does not work. So before anything of a new
//! life is sent its block is looked for, in Azure and in the ledger.
//!
//! ```text
//! our intents in lives that are not made ─► one search for VMs of their blocks ─► a look at each
//!   that is not known ─► decide (pure) ─► one transaction: the life that stands and its VMs are
//!   adopted, our intents end unsent and their nodes are planned anew
//! ```
//!
//! A life is written down as made before the first PUT of its VMs, so nothing of an intent in one
//! that is not made was ever sent, by whomever. It fails open: what cannot be seen in time changes
//! nothing. Adopted VMs have no holder afterwards: a pass treats them like all others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_azure::ProvisioningState;
use azslurm_core::attempt::{Attempt, AttemptState};
use azslurm_core::block::{BlockName, BlockState, Incarnation};
use azslurm_core::plan::Why;
use azslurm_core::{NodeName, SiteName, VmName};
use azslurm_ledger::{Holder, Lease, LeaseAsk, LedgerError, Reader, Recorded, Take, Writer};
use azslurm_program::errands::LEASE_FOR;
use azslurm_program::facts::USAGES_TRUSTED;
use azslurm_program::{Session, now, texts};
use azslurm_suspend::search::{Search, attempt_of, block_of, find, look};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::drive::Orders;
use crate::front::Intending;
use crate::survey::plan_anew;

/// How long a driver looks before it goes on without: Resource Graph answers within a second or
/// two, and a job waits.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(15);

/// Looks whether VMs of the blocks that are about to begin a new life are there already; the
/// intents of `holder` in such a block are planned anew, into the life that stands.
pub(crate) async fn look_around(
    session: &mut Session,
    holder: &Holder,
    orders: &Orders,
) -> Result<(), LedgerError> {
    let unsent = unsent(&session.ledger, holder, orders)?;
    if unsent.is_empty() {
        return Ok(());
    }
    let around = match timeout(LOOK_WAIT_MAX, look_in_azure(session, &unsent)).await {
        Ok(around) => around?,
        Err(_elapsed) => {
            warn_unseen(&unsent, "no answer in time");
            Around::default()
        }
    };
    settle(session, (holder, orders), &around)
}

/// The intents of `holder` in lives that are not made.
fn unsent(
    reader: &Reader,
    holder: &Holder,
    orders: &Orders,
) -> Result<Vec<(Lease, Attempt)>, LedgerError> {
    let mut unsent = Vec::new();
    if reader.blocks_unfinished()?.is_empty() {
        return Ok(unsent);
    }
    for (lease, attempt) in reader.attempts_of_holder_in(holder, AttemptState::Intended)? {
        let vm = &attempt.is.vm;
        let is_ours = !orders.leave.contains(vm) && !orders.look.contains(vm);
        let Some(life) = attempt.is.place.block.as_ref().filter(|_| is_ours) else { continue };
        if state_of(reader, life)? == Some(BlockState::Intended) {
            unsent.push((lease, attempt));
        }
    }
    Ok(unsent)
}

fn state_of(reader: &Reader, life: &Incarnation) -> Result<Option<BlockState>, LedgerError> {
    Ok(reader.block(life)?.map(|block| block.state))
}

fn life_of(attempt: &Attempt) -> Option<&Incarnation> {
    attempt.is.place.block.as_ref()
}

fn blocks_of(unsent: &[(Lease, Attempt)]) -> BTreeSet<&BlockName> {
    unsent.iter().filter_map(|(_, attempt)| Some(&life_of(attempt)?.block)).collect()
}

fn warn_unseen(unsent: &[(Lease, Attempt)], why: &str) {
    let blocks: Vec<String> = blocks_of(unsent).iter().map(ToString::to_string).collect();
    tracing::warn!(
        blocks = blocks.join(","),
        "cannot tell whether Azure has VMs of these blocks that the ledger does not know: {why}; \
         they begin a new life as if it had none"
    );
}

/// What Azure has of some blocks.
#[derive(Debug, Default)]
struct Around {
    /// VMs that the ledger does not know, each with its life.
    found: Vec<Attempt>,
    /// VMs that the ledger knows.
    known: BTreeSet<VmName>,
}

async fn look_in_azure(
    session: &Session,
    unsent: &[(Lease, Attempt)],
) -> Result<Around, LedgerError> {
    let nodes_of = |block: &&BlockName| {
        let nodeset = session.config.nodesets.get(block.nodeset());
        nodeset.map(|nodeset| nodeset.nodes_of_block(block.number()))
    };
    let blocks = blocks_of(unsent);
    let nodes: Vec<NodeName> = blocks.iter().filter_map(nodes_of).flatten().cloned().collect();
    let Search { rows, missing } = find(session, &nodes).await;
    missing.iter().for_each(|why| warn_unseen(unsent, why));
    let mut known = BTreeSet::new();
    let mut looks = JoinSet::new();
    for row in rows.iter().filter(|row| row.provisioning_state != ProvisioningState::Deleting) {
        let Some(attempt) = attempt_of(&session.config, row) else { continue };
        if session.ledger.attempt(&attempt.is.vm)?.is_some() {
            known.insert(attempt.is.vm);
        } else if let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() {
            looks.spawn(look(arm, attempt, session.config.clone()));
        }
    }
    Ok(Around { found: looks.join_all().await.into_iter().flatten().collect(), known })
}

/// Adopts what stands and plans the intents of its blocks anew, in one transaction.
fn settle(
    session: &mut Session,
    (holder, orders): (&Holder, &Orders),
    around: &Around,
) -> Result<(), LedgerError> {
    let (texts, _logged_by_the_front) = texts::load(&session.config);
    let config = session.config.clone();
    let usages_age_max = USAGES_TRUSTED;
    let intending = Intending { holder, config: &config, texts: &texts, usages_age_max };
    session.ledger.write(|writer| {
        let fresh = unsent(writer, holder, orders)?;
        let mut sight = Sight::read(writer, holder, (&fresh, around))?;
        for found in sight.adoptable() {
            if adopt(writer, &intending, &found)? {
                sight.living.push(found);
            }
        }
        let whys = sight.anew();
        for (node, why) in &whys {
            let (_, text) = why.words();
            tracing::warn!(%node, "not made in a new life of its block: {text}; planned anew");
        }
        plan_anew(writer, &intending, (&fresh, &whys))
    })
}

/// Whether it is written: its node has no holder, and gets none.
fn adopt(
    writer: &mut Writer<'_>,
    intending: &Intending<'_>,
    found: &Attempt,
) -> Result<bool, LedgerError> {
    let (node, vm, at) = (&found.is.node, &found.is.vm, now());
    let ask = LeaseAsk {
        holder: intending.holder,
        take: Take::IfFree,
        now: at,
        until: at.plus(LEASE_FOR),
    };
    let Some(lease) = writer.lease(node, &ask)?.granted() else { return Ok(false) };
    let Some(block) = block_of(found, &intending.config.cluster) else { return Ok(false) };
    writer.adopt_block(&block, at)?;
    let recorded = writer.adopt(&lease, found, at)?;
    writer.release(&lease)?;
    let is_adopted = matches!(recorded, Recorded::Done(_));
    if is_adopted {
        tracing::warn!(%node, %vm, site = %block.site, "Azure has this VM and the ledger did not \
            know it: it is taken for the node's, and block {} stays in {}", block.life.block,
            block.name);
    }
    Ok(is_adopted)
}

/// What decides: the blocks of our intents, as the ledger and Azure have them.
#[derive(Debug, Default)]
struct Sight {
    /// Our intents in lives that are not made.
    unsent: Vec<Attempt>,
    /// Attempts of the ledger that have not ended.
    living: Vec<Attempt>,
    /// What the ledger says of the lives that VMs are in.
    lives: BTreeMap<Incarnation, BlockState>,
    /// Nodes that somebody works on, we too.
    leased: BTreeSet<NodeName>,
    /// VMs that Azure has and the ledger does not know.
    found: Vec<Attempt>,
    /// VMs that both have.
    known: BTreeSet<VmName>,
}

impl Sight {
    fn read(
        reader: &Reader,
        holder: &Holder,
        (fresh, around): (&[(Lease, Attempt)], &Around),
    ) -> Result<Sight, LedgerError> {
        let at = now();
        let is_held = |row: &azslurm_ledger::LeaseRow| row.holder == *holder || at < row.until;
        let leases = reader.leases()?.into_iter().filter(is_held);
        let mut sight = Sight {
            unsent: fresh.iter().map(|(_, attempt)| attempt.clone()).collect(),
            living: reader.attempts_unfinished()?,
            lives: BTreeMap::new(),
            leased: leases.map(|row| row.node).collect(),
            found: Vec::new(),
            known: around.known.clone(),
        };
        for found in &around.found {
            // Whoever was faster knows it now.
            if reader.attempt(&found.is.vm)?.is_none() {
                sight.found.push(found.clone());
            }
        }
        let lives: BTreeSet<Incarnation> =
            sight.living.iter().chain(&sight.found).filter_map(life_of).cloned().collect();
        for life in lives {
            if let Some(state) = state_of(reader, &life)? {
                sight.lives.insert(life, state);
            }
        }
        Ok(sight)
    }

    /// Our intents that nothing of was sent. One whose VM Azure has was sent by a ledger that was
    /// put back since.
    fn open(&self) -> impl Iterator<Item = (&Attempt, &BlockName)> {
        let open = self.unsent.iter().filter(|attempt| !self.known.contains(&attempt.is.vm));
        open.filter_map(|attempt| Some((attempt, &life_of(attempt)?.block)))
    }

    /// The life of an attempt, if it is another one of a block of ours and may have VMs.
    fn other_life<'a>(&self, attempt: &'a Attempt) -> Option<&'a Incarnation> {
        let life = life_of(attempt)?;
        let is_ours = self.unsent.iter().any(|ours| life_of(ours) == Some(life));
        let is_open = self.lives.get(life).is_none_or(|state| state.is_open());
        let is_wanted = self.open().any(|(_, block)| *block == life.block);
        (is_wanted && is_open && !is_ours).then_some(life)
    }

    /// VMs that become their nodes': of a life that may have VMs, and of nodes that have no other
    /// and that nobody works on. Of several of a node the newest.
    fn adoptable(&self) -> Vec<Attempt> {
        let has_vm = |node: &NodeName| self.living.iter().any(|attempt| attempt.is.node == *node);
        let mut newest: BTreeMap<&NodeName, &Attempt> = BTreeMap::new();
        for found in &self.found {
            let node = &found.is.node;
            let is_free = !has_vm(node) && !self.leased.contains(node);
            if !is_free || self.other_life(found).is_none() {
                continue;
            }
            let best = newest.entry(node).or_insert(found);
            if best.is.attempt < found.is.attempt {
                *best = found;
            }
        }
        newest.into_values().cloned().collect()
    }

    /// Our intents whose block stands elsewhere, by their nodes, and where.
    fn anew(&self) -> BTreeMap<NodeName, Why> {
        let mut standing: BTreeMap<&BlockName, &SiteName> = BTreeMap::new();
        for attempt in self.living.iter().filter(|attempt| attempt.state.is_wanted()) {
            let Some(life) = self.other_life(attempt) else { continue };
            standing.entry(&life.block).or_insert(&attempt.is.place.site);
        }
        let why = |(attempt, block): (&Attempt, &BlockName)| {
            let site = (*standing.get(block)?).clone();
            Some((attempt.is.node.clone(), Why::BlockStandsAt(site)))
        };
        self.open().filter_map(why).collect()
    }
}

#[cfg(test)]
mod tests;
