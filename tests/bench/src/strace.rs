//! What a program asks of the kernel, from a log of `strace -f`: system calls, bytes on the
//! network, and syncs of files. Clients of Slurm's that it runs are left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// System calls.
    pub syscalls: u64,
    /// Bytes to and from sockets.
    pub bytes: u64,
    /// `fsync` and `fdatasync`.
    pub fsyncs: u64,
    /// Connections that were begun over IP.
    pub connections: u64,
    /// By name.
    pub by: BTreeMap<String, u64>,
}

/// Calls that move bytes over sockets; files are written by others.
const ON_SOCKETS: [&str; 5] = ["sendto", "sendmsg", "writev", "recvfrom", "recvmsg"];

/// Reads a log.
pub fn count(log: &str) -> Counts {
    let mut counts = Counts::default();
    let mut clients: BTreeSet<&str> = BTreeSet::new();
    for line in log.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("execve(") && is_client(rest) {
            clients.insert(pid);
        }
        if clients.contains(pid) {
            continue;
        }
        // `<... read resumed>` is the end of a call that was counted at its beginning.
        let resumed = rest.strip_prefix("<... ");
        let name = match resumed {
            Some(rest) => rest.split(' ').next().unwrap_or_default(),
            None => rest.split_once('(').map_or("", |(name, _)| name),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        if resumed.is_none() {
            add(&mut counts, name, rest);
        }
        if ON_SOCKETS.contains(&name) {
            counts.bytes += result_of(rest);
        }
    }
    counts
}

fn add(counts: &mut Counts, name: &str, rest: &str) {
    counts.syscalls += 1;
    counts.fsyncs += u64::from(matches!(name, "fsync" | "fdatasync"));
    counts.connections += u64::from(name == "connect" && rest.contains("AF_INET"));
    *counts.by.entry(name.to_owned()).or_default() += 1;
}

fn is_client(execve: &str) -> bool {
    let path = execve.split('"').nth(1).unwrap_or_default();
    path.ends_with("/scontrol") || path.ends_with("/squeue")
}

/// What a call returned, if that is a count.
fn result_of(line: &str) -> u64 {
    let after = line.rsplit_once(" = ").map_or("", |(_, after)| after);
    after.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_slurms_clients_and_ends_of_calls_are_not_counted() {
        let log = "7 execve(\"/x/azslurm-resume\", [\"a\"], 0x1 /* 2 vars */) = 0\n\
            7 sendto(5, \"\"..., 100, MSG_NOSIGNAL, NULL, 0) = 100\n\
            8 execve(\"/b/scontrol\", [\"a\"], 0x1) = 0\n8 read(1, \"\", 2) = 0\n\
            7 recvfrom(5,  <unfinished ...>\n9 fdatasync(4) = 0\n\
            7 <... recvfrom resumed>\"\"..., 8192, 0, NULL, NULL) = 50\n\
            7 recvfrom(5, 0x1, 1, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)\n\
            7 connect(5, {sa_family=AF_INET, sin_port=htons(1)}, 16) = 0\n+++ exited\n";
        let counts = count(log);
        assert_eq!((counts.syscalls, counts.bytes, counts.fsyncs), (6, 150, 1));
        assert_eq!((counts.connections, counts.by["recvfrom"]), (1, 2));
    }
}
