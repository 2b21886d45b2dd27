//! The two halves of the program around its work: `front` for slurmctld, `drive` for the driver.

use std::path::Path;
use std::time::Duration;

use azslurm_core::NodeName;
use azslurm_core::attempt::{Attempt, AttemptState, EndReason};
use azslurm_core::boot::Missed;
use azslurm_core::decide::SlurmView;
use azslurm_core::hostlist;
use azslurm_core::plan::held_everywhere;
use azslurm_ledger::{Holder, LedgerError};
use azslurm_program::errands::Errands;
use azslurm_program::exit::{self, Stop};
use azslurm_program::facts::USAGES_TRUSTED;
use azslurm_program::sight::Seen;
use azslurm_program::{Session, driver, holds, now, view};
use azslurm_slurm::NodeVerb;
use azslurm_suspend::{drive, program as suspend};
use tokio::time::Instant;

use crate::cli::PROGRAM;
use crate::diagnose::diagnose;

/// How long deletions are followed here (p99 in FACTS §1.4 is 221 s); what is left then is
/// azslurm-sync's.
const FOLLOW_MAX: Duration = Duration::from_secs(5 * 60);
/// slurmctld needs about ten seconds to finish with a job of a node that failed (SLURM.md: 22.05).
const COMPLETING_MAX: Duration = Duration::from_secs(60);
/// How often it is asked whether the VMs are gone, and slurmctld whether it has finished.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The front. Returns the exit code.
pub fn front(config: Option<&Path>, nodes: &str) -> Result<u8, Stop> {
    let wanted = hostlist::expand(nodes).map_err(Stop::cannot_start)?;
    let mut session = Session::open(PROGRAM, config)?;
    let (ours, strangers) = suspend::sort_out(&session, &wanted)?;
    suspend::hand_over(&mut session, (PROGRAM, EndReason::ResumeTimeout), &ours, driver::start)?;
    tracing::warn!(nodes = %hostlist::fold_sorted(&ours), "missed ResumeTimeout");
    Ok(if strangers.is_empty() { exit::DONE } else { exit::FAILED })
}

/// The driver. Returns the exit code, which nobody waits for.
pub fn drive(config: Option<&Path>, holder: &Holder) -> Result<u8, Stop> {
    driver::stand_alone(PROGRAM).map_err(Stop::failed)?;
    let mut session = Session::open(PROGRAM, config)?;
    session.connect()?;
    let left = driver::block_on(carry_out(&mut session, holder))??;
    Ok(if left == 0 { exit::DONE } else { exit::FAILED })
}

/// What a driver with open doors does, to its end. How many VMs are not gone yet.
pub async fn carry_out(session: &mut Session, holder: &Holder) -> Result<usize, Stop> {
    let left = work(session, holder).await.map_err(Stop::failed)?;
    session.end(holder).map_err(Stop::failed)?;
    tracing::info!(left, calls = ?session.clients.calls(), "done");
    Ok(left)
}

/// Diagnoses, deletes, follows, sets back. How many VMs are not gone yet.
async fn work(session: &mut Session, holder: &Holder) -> Result<usize, LedgerError> {
    let nodes: Vec<NodeName> =
        session.ledger.leases_of_holder(holder)?.iter().map(|l| l.node().clone()).collect();
    let attempts: Vec<Attempt> =
        session.ledger.attempts_of_holder(holder)?.into_iter().map(|(_, a)| a).collect();
    let (events, missed): (Vec<_>, Vec<_>) = diagnose(session, &attempts)
        .await
        .into_iter()
        .map(|(event, fate, attempt)| (event, Missed { attempt, fate, told: None }))
        .unzip();
    session.ledger.write(|writer| {
        events.iter().try_for_each(|event| writer.event(event))?;
        holds::strike_boots(writer, &session.config, (&missed, now()))
    })?;
    drive::drive(session, holder, EndReason::ResumeTimeout).await?;
    let until = Instant::now() + FOLLOW_MAX;
    while look_once(session, holder, until).await? > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let dying: Vec<NodeName> =
        session.ledger.attempts_of_holder(holder)?.into_iter().map(|(_, a)| a.is.node).collect();
    let free: Vec<NodeName> = nodes.into_iter().filter(|node| !dying.contains(node)).collect();
    set_back(session, &free).await?;
    Ok(dying.len())
}

/// Asks once about every VM that is being deleted. How many are left.
async fn look_once(
    session: &mut Session,
    holder: &Holder,
    until: Instant,
) -> Result<usize, LedgerError> {
    let mut errands = Errands::new(session.leases_renewed(holder)?, &session.clients);
    for (lease, attempt) in session.ledger.attempts_of_holder(holder)? {
        drive::add(&mut errands, session, &lease, &attempt);
    }
    while errands.next(&mut session.ledger, until).await?.is_some() {}
    let left = session.ledger.attempts_of_holder(holder)?;
    Ok(left.iter().filter(|(_, a)| a.state != AttemptState::Gone).count())
}

/// Nodes that slurmctld has down because of ResumeTimeout, that nothing holds, and whose VMs are
/// gone: usable again once slurmctld has finished with their jobs. Nodes that a person has set down
/// stay so; held ones, and those that are not ready in time, are azslurm-sync's.
async fn set_back(session: &Session, nodes: &[NodeName]) -> Result<(), LedgerError> {
    let seen = Seen::read(&session.ledger, &session.config, (USAGES_TRUSTED, now()))?;
    let sight = seen.sight(&session.config);
    let is_free = |node: &&NodeName| held_everywhere(node, &sight).is_none();
    let mut left: Vec<NodeName> = nodes.iter().filter(is_free).cloned().collect();
    let until = Instant::now() + COMPLETING_MAX;
    while !left.is_empty() {
        let found = match session.slurm.nodes_named(&left).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(
                    "cannot ask slurmctld: {}; azslurm-sync sets the nodes back",
                    exit::chain_of(&error)
                );
                return Ok(());
            }
        };
        let of = |wanted: SlurmView| -> Vec<NodeName> {
            let is_it = |node: &&azslurm_slurm::Node| view::of(node) == wanted;
            found.iter().filter(is_it).map(|node| node.name.clone()).collect()
        };
        say_resume(session, &of(SlurmView::OffFailed)).await;
        left = of(SlurmView::OffCompleting);
        if Instant::now() >= until {
            return Ok(());
        }
        if !left.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

async fn say_resume(session: &Session, nodes: &[NodeName]) {
    if nodes.is_empty() {
        return;
    }
    let folded = hostlist::fold_sorted(nodes);
    match session.slurm.update(nodes, NodeVerb::Resume, None).await {
        Ok(()) => tracing::info!(nodes = folded, "usable again"),
        Err(error) => tracing::error!(
            nodes = folded,
            "cannot set back: {}; azslurm-sync does it",
            exit::chain_of(&error)
        ),
    }
}
