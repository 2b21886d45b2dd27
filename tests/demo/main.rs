//! `azslurm-demo`: a real Slurm job runs on VMs that were not there, and they are gone afterwards.
//! It shows what slurmctld, azslurm and Azure each think of every node meanwhile. Azure is the
//! emulator, everything else is real. Must never decide anything: it watches what the programs do.
//!
//! ```text
//! story ── looks 4 times a second: slurmctld, the ledger, the emulator ──► phase, screen, summary
//!   └──── passes: `azslurm-sync pass` again and again, as its timer would
//! ```
//!
//! Exit code: 0 the job ran and nothing is left, 1 it did not come to that, 130 Ctrl-C.

mod arguments;
mod look;
mod passes;
mod phase;
mod screen;
mod story;
mod summary;
mod table;

use std::process::ExitCode;

use azslurm_test_cluster::{catch_interrupts, interrupted};

/// What a shell says about a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let told = catch_interrupts()
        .and_then(|()| arguments::parse(std::env::args().skip(1)))
        .and_then(story::tell);
    match told {
        // Whatever went wrong after Ctrl-C went wrong because of it.
        _ if interrupted() => {
            eprintln!("azslurm-demo: interrupted; what it had started is ended and removed");
            ExitCode::from(INTERRUPTED)
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("azslurm-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
