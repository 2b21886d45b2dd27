//! What must be on the machine: Slurm and munge from Debian's packages, and our own programs,
//! built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What daemons and clients of a cluster may find.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Program, and Debian's package that has it.
const NEEDED: [(&str, &str); 10] = [
    ("munged", "munge"),
    ("slurmctld", "slurmctld"),
    ("slurmd", "slurmd"),
    ("scontrol", "slurm-client"),
    ("sbatch", "slurm-client"),
    ("squeue", "slurm-client"),
    ("srun", "slurm-client"),
    ("flock", "util-linux"),
    ("unshare", "util-linux"),
    ("find", "findutils"),
];

/// Checks that everything is there, and root's rights with it.
pub(crate) fn check() -> Result<()> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(name, _)| find(name).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        bail!("missing on this machine: {}; `make deps` installs it", missing.join(" "));
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("a real slurmctld with slurmds needs root: run this as root");
    }
    Ok(())
}

/// Where a program of the system is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// The directory of the built programs: beside the running one (`target/<triple>/debug`), whose
/// tests are in `deps`. So a test always runs the programs of its own profile and target directory.
pub(crate) fn bin_dir() -> Result<PathBuf> {
    let running = std::env::current_exe().context("the running program")?;
    let dir = running.parent().context("a program is in a directory")?;
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    Ok(dir.to_owned())
}

/// A program of ours.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = bin_dir()?.join(name);
    if path.is_file() {
        return Ok(path);
    }
    bail!("{} is not built: `make build` builds it", path.display())
}

/// `target/cluster-logs`, beside the directory of the target triple.
pub(crate) fn logs_dir() -> Result<PathBuf> {
    let bin_dir = bin_dir()?;
    let target = bin_dir.ancestors().nth(2).unwrap_or(&bin_dir);
    Ok(target.join("cluster-logs"))
}

/// The installed Slurm: (22, 5) for 22.05.8.
pub fn slurm_version() -> Result<(u32, u32)> {
    let output = Command::new("slurmctld").arg("-V").env("PATH", PATH).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = text.split_whitespace().next_back().unwrap_or("");
    let mut numbers = word.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("`slurmctld -V` says {text:?}"),
    }
}

/// Whether a process namespace can be had here (a container may forbid it).
pub(crate) fn has_namespaces() -> bool {
    let arguments = ["--pid", "--fork", "--kill-child", "--mount-proc", "true"];
    let output = Command::new("unshare").args(arguments).env("PATH", PATH).output();
    output.is_ok_and(|output| output.status.success())
}

/// This machine's name, as slurmctld compares it with SlurmctldHost.
pub(crate) fn host_name() -> Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").context("the host's name")?;
    let short = name.trim().split('.').next().unwrap_or_default();
    Ok(short.to_owned())
}
