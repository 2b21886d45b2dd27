//! The head nodes: how many there are, and where slurmctld keeps its state.

use std::path::PathBuf;

use azslurm_program::check::disk::Disk;
use azslurm_program::check::settings::Settings;
use azslurm_program::check::{Finding, Pitfall};

use crate::check::scene::Scene;
use crate::check::seen::{Access, Reach};

const CHECK: &str = "head-node";
const KEY: &str = "StateSaveLocation";
const OTHERS_WRITE: u32 = 0o022;

/// StateSaveLocation.
pub fn state_folder(settings: &Settings) -> Option<PathBuf> {
    let value = settings.value(KEY);
    (!value.is_empty()).then(|| PathBuf::from(value))
}

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let settings = &scene.settings;
    let controllers = settings.controllers();
    let mut findings = Vec::new();
    if controllers.len() == 1 {
        let said = format!("{} is the only head node", controllers[0]);
        let fix = "add a second SlurmctldHost with StateSaveLocation on storage that both mount, \
                   or have somebody notified when it is away";
        let finding = Finding::note(CHECK, said, fix)
            .because("while it is away jobs run on, and no job starts, and idle VMs are paid for");
        findings.push(finding.at(settings.place("slurmctldhost[0]")).of(Pitfall::SingleHeadNode));
    }
    let ours = |host: &&&str| {
        let host = host.split('.').next().unwrap_or_default();
        host.parse().is_ok_and(|name| scene.config.nodeset_of(&name).is_some())
    };
    if let Some((index, host)) = controllers.iter().enumerate().find(|(_, host)| ours(host)) {
        let said = format!("the head node {host} is a node of a nodeset");
        let finding = Finding::error(CHECK, said, "take it out of the nodeset")
            .because("azslurm would delete the head node when no job runs on it");
        findings.push(finding.at(settings.place(&format!("slurmctldhost[{index}]"))));
    }
    findings.extend(state(scene, controllers.len()));
    findings.extend(pid_files(scene));
    findings
}

fn state(scene: &Scene<'_>, controllers: usize) -> Option<Finding> {
    let folder = state_folder(&scene.settings)?;
    let shown = folder.display();
    let seen = scene.seen.file(&folder)?;
    let at = scene.settings.place(KEY);
    if seen.is_absent() {
        let said = format!("StateSaveLocation {shown} is not there");
        let fix = format!("`install -d -m 0700 -o slurm -g slurm {shown}` (for SlurmUser)");
        return Some(Finding::error(CHECK, said, fix).at(at));
    }
    let step = seen.itself()?;
    let reach = scene.account.as_ref().map(|who| seen.reach(who, Access::Write));
    let finding = match (seen.disk, reach) {
        (Disk::Memory, _) => Finding::error(
            CHECK,
            format!("StateSaveLocation {shown} is in memory"),
            "set it to a disk",
        )
        .because("all jobs are forgotten when the head node boots")
        .of(Pitfall::SingleHeadNode),
        (Disk::Local, _) if controllers > 1 => Finding::error(
            CHECK,
            format!("there are {controllers} head nodes, and StateSaveLocation {shown} is local"),
            "set it to storage that all of them mount",
        )
        .because("the backup takes over without the jobs, and kills those that run")
        .of(Pitfall::SingleHeadNode),
        (_, Some(Reach::No(_))) => Finding::error(
            CHECK,
            format!(
                "SlurmUser cannot write StateSaveLocation {shown} (owner {}, mode {:04o})",
                step.owner, step.mode
            ),
            format!("`chown slurm {shown}` (SlurmUser)"),
        )
        .because("slurmctld does not start"),
        (_, _) if step.mode & OTHERS_WRITE != 0 => Finding::error(
            CHECK,
            format!("StateSaveLocation {shown} may be written by others (mode {:04o})", step.mode),
            format!("`chmod 0700 {shown}`"),
        )
        .because("whoever writes there decides who runs what job")
        .of(Pitfall::Security),
        (Disk::Unknown | Disk::Local | Disk::Network(_), _) => return None,
    };
    Some(finding.at(at))
}

fn pid_files(scene: &Scene<'_>) -> Option<Finding> {
    let of_node = scene.settings.value("SlurmdPidFile");
    let of_head = scene.settings.value("SlurmctldPidFile");
    (!of_head.is_empty() && of_head == of_node).then(|| {
        let said = format!("slurmctld and slurmd share the PID file {of_head}");
        Finding::error(CHECK, said, "give each its own SlurmctldPidFile and SlurmdPidFile")
            .because("where both run each takes the other for itself")
            .at(scene.settings.place("SlurmdPidFile"))
    })
}
