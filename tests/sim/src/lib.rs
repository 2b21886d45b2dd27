//! A whole cluster in one thread and virtual time, from one seed: the programs' own logic and a
//! ledger in memory's file system, over the emulator's model of Azure and a model of slurmctld.
//!
//! ```text
//! seed ─► script.rs: jobs, faults, people ─┐
//!                                          ▼
//! run.rs: plays it ─► programs.rs: our programs as tasks ─► clients.rs ─► world.rs ─► the models
//!      ▲                                                        │ may it act? what is broken?
//!      └── shrink.rs: a shorter script that still fails         └► laws.rs
//! ```
//!
//! - Virtual time is tokio's paused clock; the wall clock, random numbers and process numbers are
//!   the kernel's answers, and `libc_seam.rs` gives them.
//! - A process dies between two of its effects: requests and their answers, words to slurmctld,
//!   commits of the ledger (`commits.rs`), the start of a driver.
//! - The same seed and script give the same schedule, event for event.
//!
//! Must never: be linked into a shipped program.

pub mod cells;
pub mod clients;
pub mod commits;
pub mod glance;
pub mod laws;
pub mod ledgers;
pub mod libc_seam;
pub mod lists;
pub mod place;
pub mod programs;
pub mod proof;
mod quiet;
mod refusals;
pub mod run;
pub mod scene;
pub mod script;
pub mod seen;
pub mod shrink;
mod steps;
mod untold;
pub mod weather;
pub mod world;

use azslurm_arm_emulator::model::chance::Chance;

use crate::ledgers::Yard;
use crate::run::{Outcome, Wish};
use crate::script::{Step, Taste};

/// The script of a seed.
pub fn script_of(seed: u64, taste: &Taste) -> Vec<Step> {
    script::script(&mut Chance::new(seed), taste)
}

/// Runs a script on a thread of its own: nothing of another schedule is left there.
pub fn schedule(seed: u64, steps: &[Step], wish: Wish, yard: &mut Yard) -> Outcome {
    std::thread::scope(|scope| match scope.spawn(|| run::run(seed, steps, wish, yard)).join() {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            let broken = vec![format!("a panic: {}", text.unwrap_or_default())];
            Outcome { broken, ..Outcome::default() }
        }
    })
}
