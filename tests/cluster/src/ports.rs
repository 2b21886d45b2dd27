//! Ports for slurmctld and the slurmds: below 32768, where the system does not take ports for
//! outgoing connections, and never the same for two clusters.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// Where clusters of all processes agree on their ports.
const LOCKS: &str = "/tmp/azslurm-cluster-ports";
const FIRST: u16 = 10_240;
const BLOCK: u16 = 128;
/// 174 blocks end at 32,512.
const BLOCKS: u16 = 174;

/// Neighbouring ports that are ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) first: u16,
    _locks: Vec<Flock<File>>,
}

/// Takes `count` neighbouring ports that nobody listens on.
pub(crate) fn take(count: u32) -> Result<Ports> {
    fs::create_dir_all(LOCKS).context(LOCKS)?;
    let blocks = u16::try_from(count.div_ceil(u32::from(BLOCK)))?;
    // Processes begin at different places, so that they seldom meet.
    let begin = u16::try_from(std::process::id() % u32::from(BLOCKS))?;
    for at in (0..BLOCKS).map(|at| (begin + at) % BLOCKS) {
        if at + blocks > BLOCKS {
            continue;
        }
        let Some(locks) = lock(at, blocks)? else { continue };
        let first = FIRST + at * BLOCK;
        if (first..first + blocks * BLOCK).take(count as usize).all(is_free) {
            return Ok(Ports { first, _locks: locks });
        }
    }
    bail!("no {count} neighbouring free ports between {FIRST} and 32512")
}

fn lock(first: u16, count: u16) -> Result<Option<Vec<Flock<File>>>> {
    let mut locks = Vec::new();
    for block in first..first + count {
        let path = Path::new(LOCKS).join(block.to_string());
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
        locks.push(lock);
    }
    Ok(Some(locks))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("0.0.0.0", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_never_get_the_same_ports() {
        let one = take(10).unwrap();
        let two = take(200).unwrap();
        let (a, b) = (one.first..one.first + 10, two.first..two.first + 200);
        assert!(a.end <= b.start || b.end <= a.start, "{a:?} {b:?}");
        assert!(two.first + 200 < 32_768);
    }

    #[test]
    fn more_ports_than_there_are_is_an_error() {
        assert!(take(30_000).is_err());
    }
}
