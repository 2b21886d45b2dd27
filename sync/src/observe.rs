//! What a pass sees. The ledger is read first: see `azslurm_core::decide`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_core::attempt::Attempt;
use azslurm_core::config::Nodeset;
use azslurm_core::decide::{LeaseView, SlurmView, Standing};
use azslurm_core::hold::HoldScope;
use azslurm_core::plan::{Sight, half_open, held_everywhere};
use azslurm_core::takeover::Trust;
use azslurm_core::{NodeName, Timestamp};
use azslurm_ledger::{Holder, LeaseRow, LedgerError};
use azslurm_program::exit::chain_of;
use azslurm_program::facts::USAGES_TRUSTED;
use azslurm_program::sight::Seen;
use azslurm_program::{Session, now, view};
use azslurm_slurm::{Node, SlurmError, Started};
use serde::{Deserialize, Serialize};

use crate::attempts::Attempts;
use crate::takeover;

/// One observation.
#[derive(Debug)]
pub struct Observation {
    /// When it began.
    pub at: Timestamp,
    /// Attempts by node: all that have not ended, and the newest that has.
    pub attempts: Attempts,
    /// Leases by node.
    pub leases: BTreeMap<NodeName, LeaseRow>,
    /// Holders of those that live.
    pub alive: BTreeSet<Holder>,
    /// Holds, facts and blocks.
    pub seen: Seen,
    /// slurmctld's nodes; `Err` why they are not known.
    pub slurm: Result<BTreeMap<NodeName, Node>, String>,
    /// Whether slurmctld has run for long enough to be believed that a node is off.
    pub memory: Memory,
    /// How many controllers slurmctld's slurm.conf names; 0 if it was not asked.
    pub controllers: usize,
    /// How far the ledger is to be believed; a pass finds out when it has a list of Azure's.
    pub trust: Trust,
}

/// How long slurmctld has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Memory {
    /// For more than [`YOUNG_FOR`].
    #[default]
    Settled,
    /// Not so long, or it does not say: slurmd may still have to tell it which nodes are up.
    Young,
}

/// Within this time after its start slurmctld has asked all nodes and heard of those that are up.
pub const YOUNG_FOR: Duration = Duration::from_secs(60);

/// How long slurmctld has run, and how many controllers there are, as far as it says so.
pub(crate) async fn memory_of(session: &Session) -> (Memory, usize) {
    match session.slurm.started().await {
        Ok(Started { at: Some(began), controllers }) if now().since(began) >= YOUNG_FOR => {
            (Memory::Settled, controllers)
        }
        Ok(Started { at, controllers }) => {
            let since = at.map_or_else(|| "a time unknown".to_owned(), |at| at.to_string());
            tracing::info!(
                "slurmctld runs since {since}: nothing is deleted yet because it calls \
                a node powered down"
            );
            (Memory::Young, controllers)
        }
        Err(error) => {
            tracing::warn!("slurmctld does not say since when it runs: {}", chain_of(&error));
            (Memory::Young, 0)
        }
    }
}

/// Reads the ledger, then asks slurmctld, with two runs of `scontrol`.
pub async fn observe(session: &Session) -> Result<Observation, LedgerError> {
    look(session, None).await
}

/// The same once more in the same pass, with one run.
pub async fn observe_again(
    session: &Session,
    before: &Observation,
) -> Result<Observation, LedgerError> {
    let mut seen = look(session, Some((before.memory, before.controllers))).await?;
    seen.trust = before.trust;
    Ok(seen)
}

async fn look(
    session: &Session,
    memory: Option<(Memory, usize)>,
) -> Result<Observation, LedgerError> {
    let mut seen = look_up(session, now())?;
    seen.alive = living(session, &seen.leases);
    seen.slurm = by_name(session.slurm.nodes().await);
    (seen.memory, seen.controllers) = match (memory, &seen.slurm) {
        (Some(memory), _) => memory,
        (None, Ok(_)) => memory_of(session).await,
        (None, Err(_)) => (Memory::Young, 0),
    };
    Ok(seen)
}

/// slurmctld's nodes, or why they are not known.
pub(crate) fn by_name(
    nodes: Result<Vec<Node>, SlurmError>,
) -> Result<BTreeMap<NodeName, Node>, String> {
    match nodes {
        Ok(nodes) => Ok(nodes.into_iter().map(|node| (node.name.clone(), node)).collect()),
        Err(error) => Err(chain_of(&error)),
    }
}

/// Which holders live. Each is asked for once: a thousand nodes are one driver's.
pub(crate) fn living(session: &Session, leases: &BTreeMap<NodeName, LeaseRow>) -> BTreeSet<Holder> {
    let holders: BTreeSet<&Holder> = leases.values().map(|row| &row.holder).collect();
    holders.into_iter().filter(|holder| session.is_alive(holder)).cloned().collect()
}

/// What the ledger says; nobody is asked yet, and no holder is known to live.
pub(crate) fn look_up(session: &Session, at: Timestamp) -> Result<Observation, LedgerError> {
    let ours: Vec<NodeName> =
        session.config.nodesets.values().flat_map(|nodeset| nodeset.nodes.clone()).collect();
    let foreign = session.ledger.attempts_unfinished_elsewhere(&ours)?;
    let attempts = Attempts::new([session.ledger.attempts_of(&ours)?, foreign]);
    let leases = session.ledger.leases()?.into_iter().map(|row| (row.node.clone(), row)).collect();
    let seen = Seen::read(&session.ledger, &session.config, (USAGES_TRUSTED, at))?;
    let slurm = Err("it was not asked".to_owned());
    let (alive, memory) = (BTreeSet::new(), Memory::Settled);
    let (controllers, trust) = (0, takeover::known(&session.ledger)?);
    Ok(Observation { at, attempts, leases, alive, seen, slurm, memory, controllers, trust })
}

impl Observation {
    /// The nodes that a pass decides about, by name: ours by the config, and those with VMs in the
    /// ledger.
    pub fn nodes<'a>(&'a self, session: &'a Session) -> Vec<&'a NodeName> {
        let nodesets = session.config.nodesets.values();
        let with_vms = self.attempts.iter().map(|attempt| &attempt.is.node);
        let mut nodes: Vec<&NodeName> =
            nodesets.flat_map(|nodeset| &nodeset.nodes).chain(with_vms).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// A node as slurmctld tells it; `None` if it does not, or could not be asked.
    pub fn node(&self, node: &NodeName) -> Option<&Node> {
        self.slurm.as_ref().ok()?.get(node)
    }

    /// slurmctld's view of a node.
    pub fn slurm_view(&self, node: &NodeName) -> SlurmView {
        self.view_of(self.node(node))
    }

    /// slurmctld's view of a node of which it tells this.
    pub(crate) fn view_of(&self, told: Option<&Node>) -> SlurmView {
        match &self.slurm {
            Err(_) => SlurmView::Unknown,
            Ok(_) => {
                let at = self.at;
                let view = told.map_or(SlurmView::Absent, |node| view::of_at(node, at));
                // One that took control read its state from a file, as after a start, and does not
                // say when.
                let is_new = match self.trust {
                    Trust::Settled => false,
                    Trust::Slept { since } => at.since(since) < YOUNG_FOR,
                };
                match self.memory {
                    Memory::Settled if !is_new => view,
                    Memory::Settled | Memory::Young => view.while_young(),
                }
            }
        }
    }

    /// Who may change a node's VMs.
    pub fn lease_view(&self, node: &NodeName) -> LeaseView {
        let held = self
            .leases
            .get(node)
            .is_some_and(|row| self.at < row.until && self.alive.contains(&row.holder));
        if held { LeaseView::Held } else { LeaseView::Free }
    }

    /// What stands in the ledger for a node.
    pub fn standing(&self, node: &NodeName) -> Standing {
        standing_of(self.attempts_of(node))
    }

    /// A node's attempts.
    pub fn attempts_of(&self, node: &NodeName) -> &[Attempt] {
        self.attempts.of(node)
    }

    /// Nodes none of whose places may be tried now; those that left the config have none. Of nodes
    /// that wait for a hold which is open by half, one (or one block) may try first.
    pub fn held<'a>(&'a self, session: &'a Session) -> Vec<&'a NodeName> {
        let mut holding = self.holding(session);
        let nodes = self.nodes(session).into_iter();
        nodes.filter(|node| holding.is_held(node, self.slurm_view(node))).collect()
    }

    /// For the question about each node whether it is held, in the order of their names.
    pub(crate) fn holding<'a>(&'a self, session: &'a Session) -> Holding<'a> {
        let sight = self.seen.sight(&session.config);
        Holding { sight, first: self.free_canaries(session) }
    }

    /// Who may try already under a hold of boots that is open by half: each further one would cost
    /// a VM for as long as ResumeTimeout. Other holds cost a refusal, and a job of several nodes
    /// tries sooner if more of them are freed.
    fn free_canaries(&self, session: &Session) -> BTreeMap<HoldScope, String> {
        let sight = self.seen.sight(&session.config);
        let mut free = BTreeMap::new();
        if !self.seen.holds.iter().any(|hold| hold.scope.is_of_boots()) {
            return free;
        }
        for node in self.nodes(session) {
            let is_free = matches!(
                self.slurm_view(node),
                SlurmView::Off | SlurmView::AboutToBoot | SlurmView::Booting
            );
            let hold = half_open(node, &sight).filter(|hold| is_free && hold.scope.is_of_boots());
            if let (Some(hold), Some((_, nodeset))) = (hold, session.config.nodeset_of(node)) {
                free.entry(hold.scope.clone()).or_insert_with(|| unit_of(nodeset, node));
            }
        }
        free
    }
}

/// Which nodes are held, decided one after the other: of those that wait for the same hold the
/// first may try.
pub(crate) struct Holding<'a> {
    sight: Sight<'a>,
    first: BTreeMap<HoldScope, String>,
}

impl Holding<'_> {
    /// Whether none of a node's places may be tried now; [`Observation::held`].
    pub(crate) fn is_held(&mut self, node: &NodeName, slurm: SlurmView) -> bool {
        let Holding { sight, first } = self;
        let Some((_, nodeset)) = sight.config.nodeset_of(node) else { return true };
        match half_open(node, sight) {
            None => held_everywhere(node, sight).is_some(),
            Some(_) if slurm != SlurmView::OffFailed => false,
            Some(hold) if sight.has_canary(hold) => true,
            Some(hold) => {
                let unit = unit_of(nodeset, node);
                *first.entry(hold.scope.clone()).or_insert_with(|| unit.clone()) != unit
            }
        }
    }
}

/// What stands in the ledger for a node that has these attempts.
pub(crate) fn standing_of(attempts: &[Attempt]) -> Standing {
    Standing::of(attempts.iter().map(|attempt| (attempt.state, attempt.why)))
}

/// What tries as one: a block with InfiniBand, else a node.
fn unit_of(nodeset: &Nodeset, node: &NodeName) -> String {
    let block = nodeset.block_of(node).map(|number| number.to_string());
    block.unwrap_or_else(|| node.to_string())
}
