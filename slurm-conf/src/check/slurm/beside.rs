//! What else makes and deletes nodes here.

use std::path::Path;

use azslurm_program::check::Finding;

use crate::check::scene::Scene;

const CHECK: &str = "beside";

/// CycleCloud's azslurm: its programs, and its command where a shell finds it.
pub const PATHS: [&str; 6] = [
    "/opt/azurehpc/slurm/resume_program.sh",
    "/opt/azurehpc/slurm/suspend_program.sh",
    "/opt/azurehpc/slurm/venv/bin/azslurm",
    "/usr/bin/azslurm",
    "/usr/local/bin/azslurm",
    "/root/bin/azslurm",
];

pub(super) fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let is_there =
        |path: &&&str| scene.seen.file(Path::new(path)).is_some_and(|seen| seen.itself().is_some());
    let there: Vec<&str> = PATHS.iter().filter(is_there).copied().collect();
    if there.is_empty() {
        return Vec::new();
    }
    let said = format!("CycleCloud's azslurm is installed too: {}", there.join(", "));
    let fix = "remove it (`azslurm` of CycleCloud, its cron jobs and azslurmd), or use it alone";
    let why =
        "both call themselves azslurm, and each takes the other's VMs for leftovers of nobody";
    vec![Finding::warning(CHECK, said, fix).because(why)]
}
