//! What systemd is told (sd_notify(3)): a datagram to the socket that `NOTIFY_SOCKET` names, with
//! lines such as `READY=1`. Without the variable nobody is told, and nothing fails for it.
//!
//! By hand, because the crate `sd-notify` does not know sockets of the abstract namespace
//! (`@/org/…`), which systemd and container managers may use.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// systemd's queue of messages may be full for a moment. That it is ready must arrive: a service
/// that does not say so is ended.
const READY_MAX: Duration = Duration::from_secs(10);
/// All else may be lost, and keeps neither a pass nor the end waiting.
const OTHERS_MAX: Duration = Duration::from_millis(200);
/// Whoever reads `systemctl status` sees no more of it.
const STATUS_CHARS_MAX: usize = 500;

/// Who listens.
#[derive(Debug, Clone, Default)]
pub(super) struct Notifier {
    to: Option<SocketAddr>,
}

impl Notifier {
    /// Whom the environment names.
    pub(super) fn of_environment() -> Notifier {
        let named = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let Some(named) = named else { return Notifier::default() };
        match address(&named) {
            Ok(to) => Notifier { to: Some(to) },
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET is {named:?}, which is no socket: {error}");
                Notifier::default()
            }
        }
    }

    /// It works: whatever waits for it may start.
    pub(super) fn ready(&self) {
        self.send("READY=1", READY_MAX);
    }

    /// It reads its config again; [`Notifier::ready`] follows.
    pub(super) fn reloading(&self) {
        // systemd wants to know which of several reloads the READY=1 belongs to.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()), OTHERS_MAX);
    }

    /// What it does, in a line for people.
    pub(super) fn status(&self, text: &str) {
        let line = text.lines().map(str::trim).collect::<Vec<_>>().join("; ");
        let line: String = line.chars().take(STATUS_CHARS_MAX).collect();
        self.send(&format!("STATUS={line}"), OTHERS_MAX);
    }

    /// It is not stuck.
    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1", OTHERS_MAX);
    }

    /// It ends.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1", OTHERS_MAX);
    }

    fn send(&self, state: &str, limit: Duration) {
        let Some(to) = &self.to else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(limit))?;
            socket.send_to_addr(state.as_bytes(), to)
        });
        if let Err(error) = sent {
            tracing::debug!("systemd could not be told {state:?}: {error}");
        }
    }
}

fn address(named: &OsStr) -> io::Result<SocketAddr> {
    match named.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _path => SocketAddr::from_pathname(named),
    }
}

/// How often systemd wants to hear that the daemon is not stuck: half of `WATCHDOG_USEC`, if that
/// is set and meant for this process.
pub(super) fn watchdog_every() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_other = number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 1 && !is_other)?;
    Some(Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn assert_is_told(socket: &UnixDatagram, named: &str) {
        let notifier = Notifier { to: Some(address(OsStr::new(named)).unwrap()) };
        notifier.ready();
        assert_eq!(heard(socket), "READY=1");
        notifier.status("one\n  two\n");
        assert_eq!(heard(socket), "STATUS=one; two");
        notifier.reloading();
        let told = heard(socket);
        let micros = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn a_socket_with_a_path_and_one_of_the_abstract_namespace_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        assert_is_told(&UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap());
        let name = format!("azslurm-test-{}", std::process::id());
        let bound = SocketAddr::from_abstract_name(&name).unwrap();
        assert_is_told(&UnixDatagram::bind_addr(&bound).unwrap(), &format!("@{name}"));
    }

    #[test]
    fn a_listener_that_does_not_listen_loses_words_and_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier { to: Some(address(path.as_os_str()).unwrap()) };
        // More than the kernel queues: the last ones would never return if they waited for ever.
        socket.set_nonblocking(true).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.send_to(b"full", &path).is_ok() {}
        notifier.alive();
        assert_eq!(heard(&socket), "full");
    }

    #[test]
    fn a_listener_that_is_gone_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let to = Some(SocketAddr::from_pathname(&path).unwrap());
        Notifier { to }.ready();
        Notifier::default().ready();
    }
}
