//! `azslurm-chaos`: a real Slurm, the built programs and the ARM emulator, and everything that can
//! go wrong at once for as long as asked: programs killed at their system calls, a full and a
//! read-only disk, a ledger that is taken away, slurmctld killed and stopped, an Azure that
//! refuses, throttles, loses answers and takes VMs. Then a quiet time, and an audit.
//!
//! ```text
//! run ─┬─ jobs: submitted, cancelled          ┐
//!      ├─ troubles: begun and ended by turns  ├─ quiet: bounded passes ── audit
//!      ├─ followers: daemon, passes by hand   ┘
//!      └─ killer: wrappers of the programs; a tracer beside each run ends it at a system call
//! ```
//!
//! Must never decide what the programs should do: it disturbs, waits and looks.
//!
//! Exit code: 0 the audit is clean, 1 it found something or the run could not go on, 130 Ctrl-C.

mod arguments;
mod audit;
mod bed;
mod chance;
mod diary;
mod evidence;
mod followers;
mod jobs;
mod killer;
mod quiet;
mod run;
mod trouble;

use std::process::ExitCode;

use arguments::Word;
use azslurm_test_cluster::{catch_interrupts, interrupted};

/// What a shell says about a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let done = match arguments::parse(std::env::args().skip(1)) {
        Ok(Word::Help) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Word::Run(wish)) => bed::enter(&wish),
        Ok(Word::Within(wish)) => catch_interrupts().and_then(|()| run::run(&wish)),
        Ok(Word::Under(of)) => killer::under(&of),
        Ok(Word::Trace(of)) => killer::trace(&of),
        Err(error) => Err(error),
    };
    match done {
        _ if interrupted() => {
            eprintln!("azslurm-chaos: interrupted; what it had started is ended and removed");
            ExitCode::from(INTERRUPTED)
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("azslurm-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}
