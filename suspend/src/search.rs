//! VMs of our nodes that the ledger does not know, or knows as ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use azslurm_azure::{Answer, Arm, Place, ProvisioningState, ResourceId, Vm, VmRow};
use azslurm_core::attempt::{Attempt, AttemptPlace, AttemptState, EndReason, NewAttempt};
use azslurm_core::block::{Block, BlockName, BlockState, Incarnation};
use azslurm_core::config::{Config, Region, Site};
use azslurm_core::{ClusterName, NodeName, SiteName, VmName};
use azslurm_ledger::{Lease, LedgerError, Recorded};
use azslurm_program::exit::chain_of;
use azslurm_program::{Session, now};
use tokio::task::JoinSet;

/// Looks in every subscription of the config for VMs with our tags that belong to the leased nodes,
/// and writes those that the ledger does not know, or knows as ended, as to be deleted. A search
/// that fails is a line in the log: azslurm-sync finds orphans too.
pub(crate) async fn adopt_unknown(
    session: &mut Session,
    leases: &BTreeMap<NodeName, Lease>,
    why: EndReason,
) -> Result<usize, LedgerError> {
    let nodes: Vec<NodeName> = leases.keys().cloned().collect();
    let mut adopted = 0;
    for attempt in found(session, &nodes, why).await? {
        let Some(lease) = leases.get(&attempt.is.node) else { continue };
        let recorded = session.ledger.write(|writer| writer.adopt(lease, &attempt, now()))?;
        if matches!(recorded, Recorded::Done(_)) {
            tracing::warn!(node = %attempt.is.node, vm = %attempt.is.vm,
                "Azure has a VM of this node that the ledger did not know or took for gone: it is \
                 deleted");
            adopted += 1;
        }
    }
    Ok(adopted)
}

/// What the search shows, as attempts that are to be deleted. Resource Graph lags by a minute: a VM
/// whose attempt has ended is asked for, and counts only if it is there.
async fn found(
    session: &Session,
    nodes: &[NodeName],
    why: EndReason,
) -> Result<Vec<Attempt>, LedgerError> {
    let mut found = Vec::new();
    let mut looks = JoinSet::new();
    let Search { rows, missing } = find(session, nodes).await;
    for why in missing {
        tracing::warn!("cannot search Azure for all unknown VMs: {why}");
    }
    for row in rows {
        let Some(attempt) = to_delete(&session.config, &row, why) else { continue };
        match session.ledger.attempt(&attempt.is.vm)? {
            None => found.push(attempt),
            Some(known) if known.state.is_ended() => {
                if let Some(arm) = session.clients.of(&attempt.is.place.site).cloned() {
                    looks.spawn(seen(arm, attempt));
                }
            }
            Some(_being_followed) => {}
        }
    }
    found.extend(looks.join_all().await.into_iter().flatten());
    Ok(found)
}

/// The attempt, if Azure has its VM and does not delete it already.
async fn seen(arm: Arm, attempt: Attempt) -> Option<Attempt> {
    let vm = ask(&arm, &attempt).await??;
    (vm.provisioning_state != ProvisioningState::Deleting).then_some(attempt)
}

/// What Azure itself says of an attempt's VM: `Some(None)`: it has none; `None`: nothing that can
/// be used, which the log says.
pub async fn ask(arm: &Arm, attempt: &Attempt) -> Option<Option<Vm>> {
    let (node, vm) = (&attempt.is.node, &attempt.is.vm);
    let reply = match arm.get_vm(&Place::from(&attempt.is.place), vm).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::warn!(%node, %vm, "cannot tell how the VM is: {}; a pass of azslurm-sync asks \
                again", chain_of(&error));
            return None;
        }
    };
    match reply.answer {
        Answer::Done(found) => Some(found),
        Answer::Refused(refusal) => {
            tracing::warn!(%node, %vm, "cannot tell how the VM is: {}: {}; a pass of azslurm-sync \
                asks again", refusal.code, refusal.text);
            None
        }
    }
}

/// The attempt, if Azure has its VM, with the tags of this cluster and node, and does not delete it
/// already.
pub async fn look(arm: Arm, attempt: Attempt, config: Arc<Config>) -> Option<Attempt> {
    let found = ask(&arm, &attempt).await??;
    let is_going = found.provisioning_state == ProvisioningState::Deleting;
    (is_of(&found, &config.cluster, &attempt.is.node) && !is_going)
        .then(|| as_found(attempt, &found, &config))
}

/// Whether a VM has the tags of this cluster and node.
pub fn is_of(vm: &Vm, cluster: &ClusterName, node: &NodeName) -> bool {
    vm.cluster.as_ref() == Some(cluster) && vm.node.as_ref() == Some(node)
}

/// The attempt with what only the VM itself tells: whether Azure still makes it, and which life of
/// its block it is part of.
pub fn as_found(mut attempt: Attempt, found: &Vm, config: &Config) -> Attempt {
    let is_making = matches!(
        found.provisioning_state,
        ProvisioningState::Creating | ProvisioningState::Updating
    );
    if attempt.state == AttemptState::Running && is_making {
        attempt.state = AttemptState::Accepted;
    }
    let block = config.nodeset_of(&attempt.is.node).and_then(|(name, nodeset)| {
        Some(BlockName::new(name.clone(), nodeset.block_of(&attempt.is.node)?))
    });
    if let (Some(block), Some(set)) = (block, &found.availability_set) {
        attempt.is.place.block = Incarnation::of_resource(block, set, &config.cluster);
    }
    attempt
}

/// The life of a block that a VM is part of.
pub fn block_of(attempt: &Attempt, cluster: &ClusterName) -> Option<Block> {
    let AttemptPlace { site, subscription, resource_group, region, block, .. } = &attempt.is.place;
    let life = block.clone()?;
    Some(Block {
        site: site.clone(),
        subscription: subscription.clone(),
        resource_group: resource_group.clone(),
        region: region.clone(),
        name: life.resource_name(cluster),
        sku: attempt.is.sku.clone(),
        state: BlockState::Made,
        life,
    })
}

/// What a search shows.
#[derive(Debug, Default)]
pub struct Search {
    /// VMs with our tags, as Resource Graph knew them a minute ago.
    pub rows: Vec<VmRow>,
    /// What is not seen, and why.
    pub missing: Vec<String>,
}

/// Searches every subscription of the config for VMs with our tags of some nodes.
pub async fn find(session: &Session, nodes: &[NodeName]) -> Search {
    let mut search = Search::default();
    for (_, arm, sites) in session.clients.doors() {
        let subscriptions = session.subscriptions_of(&sites);
        match arm.query_vms(&subscriptions, &session.config.cluster, Some(nodes)).await {
            Ok(listing) => {
                search.missing.extend(listing.incomplete_because);
                search.rows.extend(listing.items);
            }
            Err(error) => search.missing.push(chain_of(&error)),
        }
    }
    search
}

fn to_delete(config: &Config, row: &VmRow, why: EndReason) -> Option<Attempt> {
    Some(doomed(attempt_of(config, row)?, why))
}

/// The attempt as one that is to be deleted.
pub fn doomed(attempt: Attempt, why: EndReason) -> Attempt {
    let (state, at) = (AttemptState::DeleteIntended, now());
    Attempt { state, why: Some(why), delete_intended_at: Some(at), ..attempt }
}

/// A VM that Resource Graph showed, as an attempt that runs; `None` if it is not whole enough to be
/// ours.
pub fn attempt_of(config: &Config, row: &VmRow) -> Option<Attempt> {
    let node = row.node.clone()?;
    let vm: VmName = row.name.parse().ok()?;
    let (named, attempt) = vm.split()?;
    if named != node || row.attempt.is_some_and(|tagged| tagged != attempt) {
        tracing::warn!(%node, %vm,
            "a VM with our tags has a name that is not ours: it is left alone");
        return None;
    }
    let (nodeset, settings) = config.nodeset_of(&node)?;
    let place = place_of(config, &row.id, settings.sites.as_slice())?;
    let at = now();
    let is = NewAttempt {
        vm,
        node,
        attempt,
        nodeset: nodeset.clone(),
        place,
        sku: settings.sku.clone(),
        is_spot: false,
        image: String::new(),
        body_hash: String::new(),
        jobs: Vec::new(),
    };
    Some(Attempt {
        settles_at: at,
        running_at: None,
        registered_at: None,
        changed_at: at,
        ..Attempt::running_since(is, attempt.began_at())
    })
}

/// The site that a resource is in: by its id, whose case is not to be trusted.
pub fn place_of(config: &Config, id: &ResourceId, preferred: &[SiteName]) -> Option<AttemptPlace> {
    let is_in = |site: &Site| {
        id.subscription().is_some_and(|it| it.eq_ignore_ascii_case(&site.subscription))
            && id.resource_group().is_some_and(|it| it.eq_ignore_ascii_case(&site.resource_group))
    };
    let of = |(name, site): (&SiteName, &Site)| {
        is_in(site).then(|| AttemptPlace {
            site: name.clone(),
            subscription: site.subscription.clone(),
            resource_group: site.resource_group.clone(),
            region: Region::new(site.region.as_str()).unwrap_or_else(|| site.region.clone()),
            zone: None,
            block: None,
        })
    };
    let first = preferred.iter().filter_map(|name| config.sites.get_key_value(name)).find_map(of);
    first.or_else(|| config.sites.iter().find_map(of))
}
