//! The two halves of the program around its work: `front` for slurmctld, `drive` for the driver.

use std::path::Path;
use std::time::Duration;

use azslurm_core::attempt::AttemptState;
use azslurm_core::decide::SlurmView;
use azslurm_core::plan::Step;
use azslurm_core::{NodeName, hostlist};
use azslurm_ledger::{Holder, LedgerError};
use azslurm_program::alive::Alive;
use azslurm_program::driver::DriverError;
use azslurm_program::exit::{self, Stop};
use azslurm_program::{Session, driver, now, view};
use azslurm_slurm::{NodeVerb, Slurm, SlurmError, reason};
use tokio::time::Instant;

use crate::cli::PROGRAM;
use crate::drive::{Driven, Orders};
use crate::front::{self, Intended};
use crate::request::{ResumeRequest, jobs_of};
use crate::words;

/// slurmctld waits for a front: a slurmctld that does not answer by then is left alone.
const TELL_MAX: Duration = Duration::from_secs(10);

/// The front. Returns the exit code.
pub fn front(config: Option<&Path>, request: &ResumeRequest, is_dry_run: bool) -> Result<u8, Stop> {
    let mut session = match Session::begin(PROGRAM, config, is_dry_run) {
        Ok(session) => session,
        Err(stop) if is_dry_run => return Err(stop),
        Err(stop) => return Err(fail_all(request, stop)),
    };
    if is_dry_run {
        return show(&session, request);
    }
    let intended = match hand_over(&mut session, request, driver::start) {
        Ok(intended) => intended,
        Err(stop) => return Err(fail_all(request, stop)),
    };
    let is_whole = intended.refused.is_empty() && intended.unknown.is_empty();
    if !intended.unknown.is_empty() {
        let names = hostlist::fold_sorted(&intended.unknown);
        eprintln!("{PROGRAM}: not in any nodeset of {}: {names}", session.config_path.display());
    }
    Ok(if is_whole { exit::DONE } else { exit::FAILED })
}

/// Commits what is going to be done and has `start` start the driver of it.
pub fn hand_over(
    session: &mut Session,
    request: &ResumeRequest,
    start: impl FnOnce(&'static str, &Path, &Holder, &Alive) -> Result<(), DriverError>,
) -> Result<Intended, Stop> {
    let holder = Holder::new(PROGRAM, now(), std::process::id());
    let alive = Alive::begin(&session.config.ledger.path, &holder).map_err(Stop::cannot_start)?;
    let intended = front::intend(session, &holder, request).map_err(Stop::cannot_start)?;
    if !intended.has_work() {
        alive.end();
        return Ok(intended);
    }
    if let Err(error) = start(PROGRAM, &session.config_path, &holder, &alive) {
        // The intents stand: azslurm-sync goes on from there, so slurmctld must not be told that
        // they failed.
        tracing::error!("{}", exit::chain_of(&error));
    }
    Ok(intended)
}

fn fail_all(request: &ResumeRequest, stop: Stop) -> Stop {
    let slurm = Slurm::new(&azslurm_core::config::Slurm {
        command_timeout: TELL_MAX,
        ..Default::default()
    });
    match driver::block_on(tell_none_comes(&slurm, request, &stop)) {
        Ok(Ok(())) => tracing::warn!("told slurmctld that the nodes it waits for cannot come"),
        Ok(Err(error)) => {
            tracing::error!("cannot tell slurmctld either: {}", exit::chain_of(&error));
        }
        Err(stop) => tracing::error!("cannot tell slurmctld either: {}", stop.text()),
    }
    stop
}

/// Without config or ledger nothing can be done for these nodes: slurmctld is told, so that their
/// jobs do not wait for ResumeTimeout.
pub async fn tell_none_comes(
    slurm: &Slurm,
    request: &ResumeRequest,
    why: &Stop,
) -> Result<(), SlurmError> {
    let text = reason::reason("cannot-start", &why.text(), None);
    // Only those that slurmctld waits for: a person who mistypes a path must not lose jobs.
    let nodes = slurm.nodes_named(&request.nodes).await?;
    let waiting: Vec<NodeName> = nodes
        .into_iter()
        .filter(|node| view::of(node) == SlurmView::Booting)
        .map(|node| node.name)
        .collect();
    slurm.update(&waiting, NodeVerb::Down, Some(&text)).await
}

/// The driver. Returns the exit code, which nobody waits for.
pub fn drive(config: Option<&Path>, holder: &Holder) -> Result<u8, Stop> {
    driver::stand_alone(PROGRAM).map_err(Stop::failed)?;
    let mut session = Session::open(PROGRAM, config)?;
    if let Err(stop) = session.connect() {
        let text = stop.text();
        tracing::error!("{text}");
        let refused = crate::refuse::all(&mut session, holder, &text);
        driver::block_on(refused)?.map_err(Stop::failed)?;
        session.end(holder).map_err(Stop::failed)?;
        return Err(stop);
    }
    let driven = driver::block_on(carry_out(&mut session, holder))??;
    Ok(if driven.failed == 0 { exit::DONE } else { exit::FAILED })
}

/// What a driver with open doors does, to its end.
pub async fn carry_out(session: &mut Session, holder: &Holder) -> Result<Driven, Stop> {
    // Well before ResumeTimeout: what is left then is azslurm-sync's and resume-fail's.
    let until = Instant::now() + session.config.slurm.resume_timeout.mul_f64(0.75);
    replace_stale(session, holder).await.map_err(Stop::failed)?;
    let driven = crate::drive::drive(session, holder, &Orders::of_request(until)).await;
    let driven = driven.map_err(Stop::failed)?;
    session.end(holder).map_err(Stop::failed)?;
    tracing::info!(?driven, calls = ?session.clients.calls(),
        transactions = session.ledger.transactions(), "driven to the end");
    Ok(driven)
}

/// Nodes of the request that have a provisioned VM already, and that slurmctld waits for: it counts
/// only a VM that boots after its request, so they get another. A node that is up keeps its own.
async fn replace_stale(session: &mut Session, holder: &Holder) -> Result<(), LedgerError> {
    let running = session.ledger.attempts_of_holder_in(holder, AttemptState::Running)?;
    let nodes: Vec<NodeName> = running.into_iter().map(|(_, attempt)| attempt.is.node).collect();
    if nodes.is_empty() {
        return Ok(());
    }
    let found = match session.slurm.nodes_named(&nodes).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(
                "cannot ask slurmctld whether {} are up: their VMs stay: {}",
                hostlist::fold_sorted(&nodes),
                exit::chain_of(&error)
            );
            return Ok(());
        }
    };
    let stale: Vec<NodeName> = found
        .into_iter()
        .filter(|node| view::of(node) == SlurmView::Booting)
        .map(|node| node.name)
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    let work = session.ledger.attempts_of_holder(holder)?;
    let jobs = jobs_of(work.iter().map(|(_, attempt)| attempt));
    let request = ResumeRequest { nodes: stale, jobs, replace_running: true };
    front::intend(session, holder, &request)?;
    Ok(())
}

fn show(session: &Session, request: &ResumeRequest) -> Result<u8, Stop> {
    let plan = front::look(session, request).map_err(Stop::failed)?;
    for step in &plan.steps {
        println!("{}", words::sentence(step));
    }
    let is_good = |step: &Step| match step {
        Step::Create(_) | Step::Keep { .. } => true,
        Step::Refuse(_) | Step::Unknown { .. } => false,
    };
    Ok(if plan.steps.iter().all(is_good) { exit::DONE } else { exit::FAILED })
}
