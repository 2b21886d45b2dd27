//! Which system calls touch the ledger, the network, another program or the life of one's own, and
//! what they touch. x86-64, as all that is built here.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use nix::libc;
use nix::unistd::Pid;

/// Where a call says what it touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// A descriptor in the first argument.
    Descriptor,
    /// A path in the first argument.
    Path,
    /// A path in the second argument, after the descriptor of a folder.
    PathAt,
    /// It is about processes.
    Process,
}

/// Number, name, and where it says what it touches.
const CALLS: [(libc::c_long, &str, Where); 38] = [
    (libc::SYS_read, "read", Where::Descriptor),
    (libc::SYS_pread64, "pread64", Where::Descriptor),
    (libc::SYS_readv, "readv", Where::Descriptor),
    (libc::SYS_write, "write", Where::Descriptor),
    (libc::SYS_writev, "writev", Where::Descriptor),
    (libc::SYS_pwrite64, "pwrite64", Where::Descriptor),
    (libc::SYS_fsync, "fsync", Where::Descriptor),
    (libc::SYS_fdatasync, "fdatasync", Where::Descriptor),
    (libc::SYS_ftruncate, "ftruncate", Where::Descriptor),
    (libc::SYS_fallocate, "fallocate", Where::Descriptor),
    (libc::SYS_flock, "flock", Where::Descriptor),
    (libc::SYS_fcntl, "fcntl", Where::Descriptor),
    (libc::SYS_fchown, "fchown", Where::Descriptor),
    (libc::SYS_fchmod, "fchmod", Where::Descriptor),
    (libc::SYS_connect, "connect", Where::Descriptor),
    (libc::SYS_shutdown, "shutdown", Where::Descriptor),
    (libc::SYS_sendto, "sendto", Where::Descriptor),
    (libc::SYS_sendmsg, "sendmsg", Where::Descriptor),
    (libc::SYS_sendmmsg, "sendmmsg", Where::Descriptor),
    (libc::SYS_recvfrom, "recvfrom", Where::Descriptor),
    (libc::SYS_recvmsg, "recvmsg", Where::Descriptor),
    (libc::SYS_close, "close", Where::Descriptor),
    (libc::SYS_open, "open", Where::Path),
    (libc::SYS_unlink, "unlink", Where::Path),
    (libc::SYS_rename, "rename", Where::Path),
    (libc::SYS_mkdir, "mkdir", Where::Path),
    (libc::SYS_chown, "chown", Where::Path),
    (libc::SYS_openat, "openat", Where::PathAt),
    (libc::SYS_unlinkat, "unlinkat", Where::PathAt),
    (libc::SYS_renameat, "renameat", Where::PathAt),
    (libc::SYS_renameat2, "renameat2", Where::PathAt),
    (libc::SYS_mkdirat, "mkdirat", Where::PathAt),
    (libc::SYS_fork, "fork", Where::Process),
    (libc::SYS_vfork, "vfork", Where::Process),
    (libc::SYS_clone, "clone", Where::Process),
    (libc::SYS_clone3, "clone3", Where::Process),
    (libc::SYS_execve, "execve", Where::Process),
    (libc::SYS_setsid, "setsid", Where::Process),
];

/// A path is longer than this nowhere here.
const PATH_BYTES_MAX: usize = 512;

/// A system call as its process makes it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its number.
    pub number: u64,
    /// Its first two arguments.
    pub arguments: [u64; 2],
}

/// The call's name and what it touches; `None` when it touches nothing that matters here.
pub fn touched(pid: Pid, call: Call) -> Option<(&'static str, &'static str)> {
    let is_it = |known: &&(libc::c_long, &str, Where)| u64::try_from(known.0) == Ok(call.number);
    let (_, name, place) = CALLS.iter().find(is_it)?;
    let target = match place {
        Where::Descriptor => kind_of(&descriptor(pid, call.arguments[0])?)?,
        Where::Path => kind_of(&path(pid, call.arguments[0])?)?,
        Where::PathAt => kind_of(&path(pid, call.arguments[1])?)?,
        Where::Process => "process",
    };
    Some((name, target))
}

fn descriptor(pid: Pid, number: u64) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

fn path(pid: Pid, address: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = [0; PATH_BYTES_MAX];
    let length = memory.read_at(&mut bytes, address).ok()?;
    let text = bytes[..length].split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// What a file is to the programs.
fn kind_of(path: &str) -> Option<&'static str> {
    let path = path.trim_end_matches(" (deleted)");
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        _ if path.starts_with("socket:") => Some("socket"),
        _ if path.starts_with("pipe:") => Some("pipe"),
        _ if path.contains("ledger.db.holders") => Some("holder"),
        "ledger.db" => Some("ledger"),
        "ledger.db-wal" => Some("wal"),
        "ledger.db-shm" => Some("shm"),
        _ if name.starts_with("ledger.db") => Some("beside-ledger"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_call_is_told_by_what_it_touches() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = u64::try_from(socket.as_raw_fd()).unwrap();
        let of = |number: libc::c_long, first: u64| {
            let call = Call { number: u64::try_from(number).unwrap(), arguments: [first, 0] };
            touched(Pid::this(), call)
        };
        assert_eq!(of(libc::SYS_connect, number), Some(("connect", "socket")));
        assert_eq!(of(libc::SYS_getpid, number), None);
        assert_eq!(of(libc::SYS_vfork, 0), Some(("vfork", "process")));
        assert_eq!(kind_of("/a/ledger.db-wal (deleted)"), Some("wal"));
        assert_eq!(kind_of("/a/ledger.db.holders/x"), Some("holder"));
        assert_eq!(kind_of("/a/log/azslurm.log"), None);
    }
}
