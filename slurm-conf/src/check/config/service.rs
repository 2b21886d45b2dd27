//! How the programs themselves are to work: times, limits, the log.

use std::time::Duration;

use azslurm_core::config::LogLevel;
use azslurm_program::check::disk::Disk;
use azslurm_program::check::slurm_conf::SUSPEND_TIMEOUT_MIN;
use azslurm_program::check::{Finding, Level, Pitfall, host};

use crate::check::scene::Scene;

const CHECK: &str = "times";
/// A VM boots in one to three minutes; a large image and a first boot take longer (FACTS §4).
const BOOT_EXPECTED: Duration = Duration::from_secs(600);
/// VMs that one region makes in a minute (FACTS §3.2, PutVM).
const VMS_PER_MINUTE: u64 = 500;
/// What may be saved up of that.
const VMS_AT_ONCE: u64 = 1_500;
/// Less idle time than a boot takes: VMs come and go for nothing.
const SUSPEND_TIME_MIN: Duration = Duration::from_secs(120);
/// More idle time costs more than a boot.
const SUSPEND_TIME_EXPECTED_MAX: Duration = Duration::from_secs(7200);
/// A VM that nobody needs is found with a pass.
const INTERVAL_EXPECTED_MAX: Duration = Duration::from_secs(120);
/// More gains nothing (STACK).
const IN_FLIGHT_EXPECTED_MAX: usize = 64;
/// A thousand VMs are asked for in 80 s with 64 requests open; with fewer than this they are not.
const IN_FLIGHT_MIN: usize = 8;
/// From so many nodes on that matters.
const MANY_NODES: usize = 100;

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = resume_time(scene).into_iter().collect();
    findings.extend(request_time(scene));
    findings.extend(idle_times(scene));
    findings.extend(suspend_timeout(scene));
    findings.extend(limits(scene));
    findings.extend(daemon(scene));
    findings.extend(log(scene));
    findings.extend(ledger(scene));
    findings
}

/// The rest of the ledger's place is judged together with SlurmUser.
fn ledger(scene: &Scene<'_>) -> Option<Finding> {
    let why = "the history, and what was tried and by whom, are lost with every boot";
    match scene.seen.ledger.disk {
        Disk::Unknown | Disk::Local | Disk::Network(_) => None,
        Disk::Memory => Some(
            Finding::error("ledger", "the ledger is in memory", "set path in [ledger] to a disk")
                .because(why)
                .at(scene.at("ledger.path"))
                .of(Pitfall::Storage),
        ),
    }
}

/// Whether all nodes of the largest nodeset could be made and boot before they are given up.
fn resume_time(scene: &Scene<'_>) -> Option<Finding> {
    let ours = scene.config.slurm.resume_timeout;
    let most = scene.config.nodesets.iter().max_by_key(|(_, nodeset)| nodeset.nodes.len());
    let (name, nodeset) = most?;
    let count = nodeset.nodes.len() as u64;
    let made = Duration::from_secs(60 * count.saturating_sub(VMS_AT_ONCE) / VMS_PER_MINUTE);
    let needed = BOOT_EXPECTED + made;
    (ours < needed).then(|| {
        Finding::warning(
            CHECK,
            format!(
                "resume_timeout_seconds is {}, and {count} nodes of {name} may need {}",
                ours.as_secs(),
                needed.as_secs()
            ),
            format!(
                "set it and ResumeTimeout of slurm.conf to {} or more; an image with everything in \
                 it boots faster",
                needed.as_secs()
            ),
        )
        .because("VMs that were about to be ready are deleted, and their jobs begin again")
        .at(scene.at("slurm.resume_timeout_seconds"))
        .of(Pitfall::StartUpTime)
    })
}

/// All tries of one request must fit into the time for a whole resume.
fn request_time(scene: &Scene<'_>) -> Option<Finding> {
    let limits = &scene.config.limits;
    let all = limits.request_timeout * limits.tries;
    (all >= scene.config.slurm.resume_timeout).then(|| {
        let said = format!(
            "{} tries of {} s each are longer than resume_timeout_seconds",
            limits.tries,
            limits.request_timeout.as_secs()
        );
        Finding::warning(CHECK, said, "lower tries or request_timeout_seconds in [limits]")
            .because("nodes are given up while one request is still being tried")
            .at(scene.at("limits.request_timeout_seconds"))
            .of(Pitfall::StartUpTime)
    })
}

fn idle_times(scene: &Scene<'_>) -> Vec<Finding> {
    let own = scene.config.partitions.iter().filter_map(|(name, partition)| {
        Some((partition.suspend_time?, format!("partition.{name}.suspend_time_seconds")))
    });
    let all = (scene.config.power.suspend_time, "power.suspend_time_seconds".to_owned());
    let mut findings = Vec::new();
    for (time, key) in std::iter::once(all).chain(own) {
        let seconds = time.as_secs();
        let finding = if time < SUSPEND_TIME_MIN {
            Finding::warning(
                CHECK,
                format!("nodes are deleted after {seconds} s without a job"),
                "set suspend_time_seconds to 300 or more",
            )
            .because("the next job waits for a new VM, which costs more than the idle one")
        } else if time > SUSPEND_TIME_EXPECTED_MAX {
            Finding::warning(
                CHECK,
                format!("nodes are paid for {seconds} s after their last job"),
                "set suspend_time_seconds to 600",
            )
            .because("a boot takes minutes, and so much idling is hours")
        } else {
            continue;
        };
        findings.push(finding.at(scene.at(&key)).of(Pitfall::Cost));
    }
    findings
}

fn suspend_timeout(scene: &Scene<'_>) -> Option<Finding> {
    let time = scene.config.power.suspend_timeout;
    (time < SUSPEND_TIMEOUT_MIN).then(|| {
        let said = format!("suspend_timeout_seconds is {}", time.as_secs());
        Finding::warning(CHECK, said, "set it to 300")
            .because("a deletion takes up to two minutes, and the old VM may still register")
            .at(scene.at("power.suspend_timeout_seconds"))
            .of(Pitfall::Autoscaling)
    })
}

fn limits(scene: &Scene<'_>) -> Option<Finding> {
    let count: usize = scene.config.nodesets.values().map(|nodeset| nodeset.nodes.len()).sum();
    let at_once = scene.config.limits.requests_in_flight;
    let finding = if at_once > IN_FLIGHT_EXPECTED_MAX {
        let said = format!("requests_in_flight is {at_once}: more than 64 gains nothing");
        Finding::note(CHECK, said, "leave it out")
    } else if at_once < IN_FLIGHT_MIN && count > MANY_NODES {
        let said = format!("requests_in_flight is {at_once}, and there are {count} nodes");
        Finding::warning(CHECK, said, "leave it out: 64 is the default")
            .because("a large job waits for the requests, not for the VMs")
    } else {
        return None;
    };
    Some(finding.at(scene.at("limits.requests_in_flight")).of(Pitfall::Autoscaling))
}

fn daemon(scene: &Scene<'_>) -> Option<Finding> {
    let interval = scene.config.sync.interval;
    (interval > INTERVAL_EXPECTED_MAX).then(|| {
        let said = format!("azslurm-sync looks every {} s only", interval.as_secs());
        Finding::warning(CHECK, said, "leave interval_seconds out: 30 is the default")
            .because("VMs that Azure took, and VMs that nobody needs, are found with a pass")
            .at(scene.at("sync.interval_seconds"))
            .of(Pitfall::Cost)
    })
}

fn log(scene: &Scene<'_>) -> Vec<Finding> {
    let file = scene.config.log.file.as_deref().zip(scene.seen.log.clone());
    let key = if file.is_some() { "log.file" } else { "log" };
    let place = host::log(scene.seen.has_journal, file);
    let mut findings: Vec<Finding> = Vec::new();
    if place.level > Level::Ok {
        findings.push(place.at(scene.at(key)));
    }
    let said = match scene.config.log.level {
        LogLevel::Error | LogLevel::Warn => Finding::warning(
            CHECK,
            "the log tells no decision, only faults",
            "set level = \"info\" in [log]",
        )
        .because("why a node was made or deleted cannot be found out afterwards"),
        LogLevel::Debug => Finding::note(
            CHECK,
            "the log tells everything, which is much at a thousand nodes",
            "set level = \"info\" in [log] when what you look for is found",
        ),
        LogLevel::Info => return findings,
    };
    findings.push(said.at(scene.at("log.level")));
    findings
}
