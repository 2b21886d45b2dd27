//! Ends programs at their system calls. slurmctld and the run start wrappers; a wrapper starts a
//! tracer and becomes the program; the tracer sees every system call of the program, of its driver
//! and of what they start, and at one of them it ends it with SIGKILL.
//!
//! ```text
//! slurmctld ── wrapper ══ becomes ══► azslurm-resume ── its driver ── scontrol
//!                 └─ tracer (session of its own) ─ ptrace ─┴──────────────┘
//! ```
//!
//! The killer's folder: `bin/` the wrappers, `mode` seed and how many of a thousand runs are
//! followed, `starts` one byte for each start, `points` what was seen and where was killed.

mod calls;
mod sentence;
mod state;
mod tracer;
mod under;

pub use state::{Killer, Kills};
pub use tracer::trace;
pub use under::under;
