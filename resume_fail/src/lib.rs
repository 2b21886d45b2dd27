//! ResumeFailProgram: nodes that missed ResumeTimeout.
//!
//! slurmctld gave up on them and will not call SuspendProgram for them. Their VMs are looked at
//! (why did they not come?), deleted, and followed until they are gone; then the nodes are set back
//! so that they can be used again. Never a replacement is started: slurmctld asks when it wants
//! one.

pub mod cli;
pub mod diagnose;
pub mod program;
