//! The front: what slurmctld waits for.

use azslurm_core::NodeName;
use azslurm_core::attempt::{Attempt, Change, EndReason};
use azslurm_ledger::{Event, Holder, Lease, LeaseAsk, Ledger, LedgerError, Take, Writer};
use azslurm_program::errands::LEASE_FOR;
use azslurm_program::now;

/// What a front has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intended {
    /// Nodes whose leases we hold now.
    pub nodes: usize,
    /// VMs that are to be deleted.
    pub vms: usize,
}

/// One transaction: seizes the leases of `nodes` and writes down that their VMs are to go.
/// Idempotent: nodes without a VM are only leased, so that the driver may look for one in Azure.
pub fn intend(
    ledger: &mut Ledger,
    holder: &Holder,
    nodes: &[NodeName],
    why: EndReason,
) -> Result<Intended, LedgerError> {
    let at = now();
    let ask = LeaseAsk { holder, take: Take::Seize, now: at, until: at.plus(LEASE_FOR) };
    ledger.write(|writer| {
        let answers = writer.leases_take(nodes, &ask)?;
        let leases: Vec<Lease> =
            answers.into_iter().filter_map(|answer| answer.granted()).collect();
        let vms = intend_leased(writer, &leases, why)?;
        let text = format!("{} asked for {} nodes: {vms} VMs to delete", why.word(), nodes.len());
        let mut event = Event::new(at, "suspend-asked", text);
        event.node = (nodes.len() == 1).then(|| nodes[0].clone());
        writer.event(&event)?;
        Ok(Intended { nodes: leases.len(), vms })
    })
}

/// Within a transaction: every VM of the leased nodes is to go. How many.
fn intend_leased(
    writer: &mut Writer<'_>,
    leases: &[Lease],
    why: EndReason,
) -> Result<usize, LedgerError> {
    let change = Change::DeleteIntended { why, says: None };
    let is_wanted = |attempt: &Attempt| attempt.state.is_wanted();
    let each = writer.record_each(leases, (&change, is_wanted), now())?;
    for (attempt, recorded) in &each {
        if let Some(recorded) = recorded {
            tracing::info!(node = %attempt.is.node, vm = %attempt.is.vm, ?recorded,
                "to be deleted: {}", why.word());
        }
    }
    Ok(each.len())
}
