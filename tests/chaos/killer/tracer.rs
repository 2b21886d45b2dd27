//! The tracer: follows a program and all that it starts with ptrace(2), and ends it at a system
//! call, before or after what the call does. SIGKILL at the entry of a call means that the kernel
//! does not carry it out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::calls::{Call, touched};
use super::sentence::{OCCURRENCES, Points, Sentence, choose};
use super::state::State;
use crate::arguments::Trace;
use crate::chance::Chance;

/// What the tracer says when it holds on to its process.
pub const READY: &[u8] = b"ready\n";

/// Of the kernel: what rax is at the entry of a call on x86-64.
const AT_ENTRY: u64 = (-(libc::ENOSYS as i64)) as u64;

/// What a process is in the life of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    /// One of ours, by this name.
    Ours(String),
    /// Something that it has started, such as scontrol.
    Foreign,
}

struct Tracer {
    state: State,
    seed: u64,
    chance: Chance,
    sentence: Sentence,
    /// What earlier runs have shown.
    known: Points,
    /// Processes and threads that are followed.
    followed: BTreeMap<Pid, Role>,
    first: Role,
    /// How often each kind of call was made.
    made: BTreeMap<String, u32>,
    is_over: bool,
}

/// Follows a process until it and all that it has started have ended.
pub fn trace(of: &Trace) -> Result<()> {
    let state = State::of(&of.state);
    let traced = follow(of, State::of(&of.state));
    if let Err(error) = &traced {
        state.note(&format!("tracer of {} {}: {error:#}", of.role, of.pid));
    }
    traced
}

fn follow(of: &Trace, state: State) -> Result<()> {
    // slurmctld kills what is left of a program's group.
    setsid().context("setsid")?;
    let pid = Pid::from_raw(of.pid);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(pid, options).context("seize")?;
    ptrace::interrupt(pid).context("interrupt")?;
    waitpid(pid, Some(WaitPidFlag::__WALL)).context("the first stop")?;
    ptrace::syscall(pid, None).context("let it go on")?;
    let mut stdout = std::io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let (seed, _) = state.mode();
    let mut chance = Chance::of(seed, of.number ^ 1 << 32);
    let (seen, killed) = state.points();
    // Until it has become the program it is our own wrapper.
    let mut tracer = Tracer {
        seed,
        sentence: choose(&of.role, &seen, &killed, &mut chance),
        chance,
        known: seen,
        state,
        followed: BTreeMap::from([(pid, Role::Foreign)]),
        first: Role::Ours(of.role.clone()),
        made: BTreeMap::new(),
        is_over: false,
    };
    tracer.run()
}

impl Tracer {
    fn run(&mut self) -> Result<()> {
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Err(Errno::ECHILD) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("wait"),
                Ok(status) => self.on(status),
            }
        }
    }

    fn on(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                self.followed.remove(&pid);
            }
            WaitStatus::PtraceSyscall(pid) => self.on_call(pid),
            WaitStatus::PtraceEvent(pid, _, event) => self.on_event(pid, event),
            WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
    }

    fn on_event(&mut self, pid: Pid, event: i32) {
        let forks =
            [Event::PTRACE_EVENT_FORK, Event::PTRACE_EVENT_VFORK, Event::PTRACE_EVENT_CLONE];
        if event == Event::PTRACE_EVENT_EXEC as i32 {
            let role = self.role_of(pid);
            self.followed.insert(pid, role);
        } else if forks.iter().any(|fork| *fork as i32 == event) {
            let role = self.followed.get(&pid).cloned().unwrap_or(Role::Foreign);
            if let Ok(child) = ptrace::getevent(pid) {
                let child = Pid::from_raw(i32::try_from(child).unwrap_or_default());
                self.followed.insert(child, role);
            }
        } else {
            // A child may stop for the first time before its parent tells of it.
            self.followed.entry(pid).or_insert(Role::Foreign);
        }
        self.go_on(pid, None);
    }

    /// What a process is that has just become another program.
    fn role_of(&self, pid: Pid) -> Role {
        let Role::Ours(first) = &self.first else { return Role::Foreign };
        let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if first.split(' ').next() != Some(name.as_str()) {
            return Role::Foreign;
        }
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let drives = arguments.split(|byte| *byte == 0).any(|word| word == b"--drive");
        Role::Ours(if drives { format!("{name} driver") } else { first.clone() })
    }

    fn on_call(&mut self, pid: Pid) {
        if !self.is_over && self.is_due(pid).unwrap_or(false) {
            return;
        }
        self.go_on(pid, None);
    }

    /// Whether it was killed here.
    fn is_due(&mut self, pid: Pid) -> Option<bool> {
        let Role::Ours(role) = self.followed.get(&pid)?.clone() else { return Some(false) };
        let registers = ptrace::getregs(pid).ok()?;
        let call = Call { number: registers.orig_rax, arguments: [registers.rdi, registers.rsi] };
        let (name, target) = touched(pid, call)?;
        let side = if registers.rax == AT_ENTRY { "before" } else { "after" };
        let kind = format!("{role} | {side} {name} {target}");
        let made = self.made.entry(kind.clone()).or_default();
        *made += 1;
        let occurrence = *made;
        let is_known = self.known.get(&kind).is_some_and(|times| times.contains_key(&occurrence));
        if occurrence <= OCCURRENCES && !is_known {
            self.state.tell(("seen", &kind), occurrence, "").ok()?;
        }
        if !self.sentence.is_due((&kind, occurrence), &mut self.chance) {
            return Some(false);
        }
        // The quiet time may have begun.
        if self.state.mode().1 == 0 {
            self.is_over = true;
            return Some(false);
        }
        self.end(pid, (&kind, occurrence.min(OCCURRENCES)));
        Some(true)
    }

    /// Ends the one process, or all that is followed: as a fault of the program, or as the end of
    /// its control group.
    fn end(&mut self, pid: Pid, (kind, occurrence): (&str, u32)) {
        let is_whole = self.chance.one_in(2);
        let how = if is_whole { "all" } else { "alone" };
        let more = format!("{how} pid {pid} seed {}", self.seed);
        if let Err(error) = self.state.tell(("killed", kind), occurrence, &more) {
            self.state.note(&format!("a kill was not written: {error:#}"));
        }
        let all: BTreeSet<Pid> =
            if is_whole { self.followed.keys().copied().collect() } else { BTreeSet::from([pid]) };
        for one in all {
            // It may have ended by itself.
            let _sent = kill(one, Signal::SIGKILL);
        }
        // What goes on without the one that was killed has been disturbed enough.
        self.is_over = true;
    }

    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        let is_watched = !self.is_over && self.followed.get(&pid) != Some(&Role::Foreign);
        // The first one is foreign only until it becomes the program, which is an event.
        let done =
            if is_watched { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
        match done {
            // ESRCH: it was killed while it stood.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => self.state.note(&format!("{pid} stands still: {error}")),
        }
    }
}
