//! ResumeProgram: brings named nodes up.
//!
//! ```text
//! front:  resume file, host list ─► plan (pure) ─► one transaction: leases, intents ─► driver
//! driver: look around and ahead ─► blocks ─► PUT for every intent ─► follow ─► outcomes
//!         refused: hold ─► planned anew, with its gang ─► another place, or slurmctld is told
//! ```
//!
//! The driver knows only its holder: what is to be done stands in the ledger. So whoever holds the
//! leases can go on from wherever another was killed, and azslurm-sync does so with these very
//! functions. Nothing that the plan left open is chosen here.

mod blocks;
pub mod cli;
pub mod create;
mod digest;
pub mod drive;
mod failover;
pub mod follow;
pub mod front;
mod members;
mod neighbours;
pub mod program;
mod refuse;
pub mod request;
mod round;
mod survey;
pub mod tell;
mod withhold;
pub mod words;
