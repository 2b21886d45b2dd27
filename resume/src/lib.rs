//! ResumeProgram: brings named nodes up.
//!
//! ```text
//! front:  resume file, host list ─► plan (pure) ─► one transaction: leases, intents ─► driver
//! driver: PUT for every intent ─► follow ─► outcomes
//!         refused: hold, tell slurmctld, delete what is left
//! ```
//!
//! The driver knows only its holder: what is to be done stands in the ledger. So whoever holds the
//! leases can go on from wherever another was killed, and azslurm-sync does so with these very
//! functions. Nothing that the plan left open is chosen here.

pub mod create;
pub mod drive;
pub mod follow;
pub mod front;
pub mod program;
mod refuse;
pub mod request;
pub mod tell;
