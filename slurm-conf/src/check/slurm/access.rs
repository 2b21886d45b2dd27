//! Whether SlurmUser can do what slurmctld's programs do: read the config and Slurm's files, and
//! run them; and whether nobody else decides what they do. By mode bits: nothing is tried.

use std::path::{Path, PathBuf};

use azslurm_core::config::Config;
use azslurm_program::check::settings::Settings;
use azslurm_program::check::slurm_conf::ProgramSeen;
use azslurm_program::check::{Finding, Pitfall};

use crate::check::scene::Scene;
use crate::check::seen::{Access, Reach, Seen, Step};

const CHECK: &str = "access";
const OTHERS_WRITE: u32 = 0o022;
/// A folder like /tmp: others may make files in it, and not touch those of others.
const STICKY: u32 = 0o1000;
/// What slurmctld calls.
const PROGRAM_KEYS: [&str; 3] = ["ResumeProgram", "SuspendProgram", "ResumeFailProgram"];

/// Where scontrol is.
pub fn scontrol(config: &Config) -> PathBuf {
    config.slurm.bin_dir.join("scontrol")
}

/// The programs that slurmctld calls.
pub fn programs(settings: &Settings) -> impl Iterator<Item = PathBuf> {
    let values = PROGRAM_KEYS.iter().map(|key| settings.value(key));
    values.filter(|value| value.starts_with('/')).map(PathBuf::from)
}

/// A program's file for [`azslurm_program::check::slurm_conf::check`].
pub fn program(seen: &Seen, path: &Path) -> ProgramSeen {
    match seen.file(path).and_then(|seen| seen.itself()) {
        Some(step) => ProgramSeen::of_mode(step.mode),
        None => ProgramSeen::Absent,
    }
}

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let config = &scene.seen.path;
    findings.extend(readable(scene, "the config", config, "slurmctld's programs read it"));
    let conf = scene.conf().map(|conf| conf.files.as_slice()).unwrap_or_default();
    for path in conf {
        findings.extend(readable(scene, "Slurm's file", path, "slurmctld reads it"));
        findings.extend(writable(scene, path));
    }
    findings.extend(scontrol_there(scene));
    for key in PROGRAM_KEYS {
        findings.extend(program_reach(scene, key));
    }
    findings
}

fn described(step: &Step) -> String {
    format!("{} is of user {} with mode {:04o}", step.path.display(), step.owner, step.mode)
}

fn readable(scene: &Scene<'_>, what: &str, path: &Path, why: &str) -> Option<Finding> {
    let reach = scene.seen.file(path)?.reach(scene.account.as_ref()?, Access::Read);
    match reach {
        Reach::Yes | Reach::Unknown => None,
        Reach::No(step) => Some(
            Finding::error(
                CHECK,
                format!("SlurmUser cannot read {what} {}: {}", path.display(), described(&step)),
                "let SlurmUser's group read it (`chgrp slurm`, `chmod g+rX`)",
            )
            .because(format!("{why} as SlurmUser")),
        ),
    }
}

fn writable(scene: &Scene<'_>, path: &Path) -> Option<Finding> {
    let step = scene.seen.file(path)?.itself()?;
    (step.mode & OTHERS_WRITE != 0).then(|| {
        let said = format!("{} may be written by others (mode {:04o})", path.display(), step.mode);
        Finding::error(CHECK, said, format!("`chmod go-w {}`", path.display()))
            .because("it names the programs that slurmctld runs")
            .of(Pitfall::Security)
    })
}

fn scontrol_there(scene: &Scene<'_>) -> Option<Finding> {
    let path = scontrol(scene.config);
    let seen = scene.seen.file(&path)?;
    let fix = "set bin_dir in [slurm] to the folder of scontrol";
    let finding = match (seen.is_absent(), scene.account.as_ref()) {
        (true, _) => {
            let said = format!("{} is not there", path.display());
            Finding::error(CHECK, said, fix)
                .because("azslurm cannot ask or tell slurmctld anything")
        }
        (false, None) => return None,
        (false, Some(who)) => match seen.reach(who, Access::Execute) {
            Reach::Yes | Reach::Unknown => return None,
            Reach::No(step) => {
                let said = format!("SlurmUser cannot run {}: {}", path.display(), described(&step));
                Finding::error(CHECK, said, "let others run it (`chmod 0755`)")
            }
        },
    };
    Some(finding.at(scene.at("slurm.bin_dir")))
}

/// What [`azslurm_program::check::slurm_conf`] does not see: the folders above a program.
fn program_reach(scene: &Scene<'_>, key: &str) -> Option<Finding> {
    let path = PathBuf::from(scene.settings.value(key));
    let seen = scene.seen.file(&path)?;
    let (itself, folders) = (seen.itself()?, seen.steps.split_last()?.1);
    let open = |step: &&Step| step.mode & OTHERS_WRITE != 0 && step.mode & STICKY == 0;
    if let Some(step) = folders.iter().find(open) {
        let said = format!("{key}: {}, so others may replace it", described(step));
        let fix = format!("`chmod go-w {}`", step.path.display());
        let finding = Finding::error(CHECK, said, fix).of(Pitfall::Security);
        return Some(finding.at(scene.settings.place(key)));
    }
    let who = scene.account.as_ref()?;
    match seen.reach(who, Access::Execute) {
        // A program that nobody can run is a finding already.
        Reach::No(step) if itself.mode & 0o111 != 0 => Some(
            Finding::error(
                CHECK,
                format!("SlurmUser cannot run {}: {}", path.display(), described(&step)),
                "let others run it (`chmod 0755`), through every folder above it",
            )
            .because("slurmctld calls it as SlurmUser, and no node is ever made or deleted")
            .at(scene.settings.place(key)),
        ),
        Reach::No(_) | Reach::Yes | Reach::Unknown => None,
    }
}
