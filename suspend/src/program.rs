//! The two halves of the program around its work: `front` for slurmctld, `drive` for the driver.

use std::collections::BTreeSet;
use std::path::Path;

use azslurm_core::NodeName;
use azslurm_core::attempt::EndReason;
use azslurm_core::hostlist;
use azslurm_ledger::Holder;
use azslurm_program::alive::Alive;
use azslurm_program::driver::DriverError;
use azslurm_program::exit::{self, Stop};
use azslurm_program::{Session, driver, now};

use crate::cli::PROGRAM;
use crate::drive::Driven;
use crate::front;

/// The front. Returns the exit code.
pub fn front(config: Option<&Path>, nodes: &str, is_dry_run: bool) -> Result<u8, Stop> {
    let wanted = hostlist::expand(nodes).map_err(Stop::cannot_start)?;
    let mut session = Session::begin(PROGRAM, config, is_dry_run)?;
    let (ours, strangers) = sort_out(&session, &wanted)?;
    if is_dry_run {
        return show(&session, &ours);
    }
    let driven = hand_over(&mut session, (PROGRAM, EndReason::Suspended), &ours, driver::start)?;
    tracing::info!(nodes = %hostlist::fold_sorted(&ours), vms = driven.vms, "handed over");
    Ok(if strangers.is_empty() { exit::DONE } else { exit::FAILED })
}

/// Commits the deletions of `nodes` and has `start` start the driver. Used by resume-fail too, with
/// its own name and reason.
pub fn hand_over(
    session: &mut Session,
    (program, why): (&'static str, EndReason),
    nodes: &[NodeName],
    start: impl FnOnce(&'static str, &Path, &Holder, &Alive) -> Result<(), DriverError>,
) -> Result<front::Intended, Stop> {
    if nodes.is_empty() {
        return Ok(front::Intended::default());
    }
    let holder = Holder::new(program, now(), std::process::id());
    let alive = Alive::begin(&session.config.ledger.path, &holder).map_err(Stop::cannot_start)?;
    let intended =
        front::intend(&mut session.ledger, &holder, nodes, why).map_err(Stop::cannot_start)?;
    start(program, &session.config_path, &holder, &alive).map_err(Stop::failed)?;
    Ok(intended)
}

/// The driver. Returns the exit code, which nobody waits for.
pub fn drive(program: &str, config: Option<&Path>, holder: &Holder) -> Result<u8, Stop> {
    driver::stand_alone(program).map_err(Stop::failed)?;
    let mut session = Session::open(program, config)?;
    session.connect()?;
    let driven = driver::block_on(carry_out(&mut session, holder))??;
    Ok(if driven.left == 0 { exit::DONE } else { exit::FAILED })
}

/// What a driver with open doors does, to its end.
pub async fn carry_out(session: &mut Session, holder: &Holder) -> Result<Driven, Stop> {
    let driven = crate::drive::drive(session, holder, EndReason::Suspended).await;
    let driven = driven.map_err(Stop::failed)?;
    session.end(holder).map_err(Stop::failed)?;
    tracing::info!(sent = driven.sent, left = driven.left, calls = ?session.clients.calls(),
        transactions = session.ledger.transactions(),
        "deletions sent; azslurm-sync follows them until the VMs are gone");
    Ok(driven)
}

/// Our nodes and those of others. A name that is in no nodeset and that the ledger does not know is
/// not ours.
pub fn sort_out(
    session: &Session,
    wanted: &[NodeName],
) -> Result<(Vec<NodeName>, Vec<NodeName>), Stop> {
    let in_no_nodeset = |node: &&NodeName| session.config.nodeset_of(node).is_none();
    let doubtful: Vec<NodeName> = wanted.iter().filter(in_no_nodeset).cloned().collect();
    let known = session.ledger.attempts_of(&doubtful).map_err(Stop::cannot_start)?;
    let known: BTreeSet<NodeName> = known.into_iter().map(|attempt| attempt.is.node).collect();
    let strangers: BTreeSet<NodeName> =
        doubtful.into_iter().filter(|node| !known.contains(node)).collect();
    let (strangers, ours): (Vec<NodeName>, Vec<NodeName>) =
        wanted.iter().cloned().partition(|node| strangers.contains(node));
    if !strangers.is_empty() {
        let names = hostlist::fold_sorted(&strangers);
        tracing::error!("not in any nodeset of {}: {names}", session.config_path.display());
        eprintln!("not in any nodeset of {}: {names}", session.config_path.display());
    }
    Ok((ours, strangers))
}

fn show(session: &Session, nodes: &[NodeName]) -> Result<u8, Stop> {
    let attempts = session.ledger.attempts_of(nodes).map_err(Stop::failed)?;
    for attempt in attempts.iter().filter(|attempt| attempt.state.is_wanted()) {
        println!("{}: would delete {}", attempt.is.node, attempt.is.vm);
    }
    Ok(exit::DONE)
}
