//! `azslurm-bench`: runs the shipped programs against the emulator and says what they cost, each
//! line beside what the same requests cost a client that does nothing else. Must never judge by one
//! run of the clock where a count says the same.
//!
//! ```text
//! part ──► bed: scratch directory, config, ledger, emulator
//!   ├────► measure (a process of its own): a program and its driver, to their end ──► Cost
//!   ├────► the same under strace ──► Counts
//!   └────► minimal (a process of its own): the requests alone ──► Cost
//! rows ──► table on the terminal, target/bench/bench.json, target/bench/bench.svg
//! ```
//!
//! Called as `scontrol` or `squeue` it is a slurmctld of files.

mod bed;
mod fit;
mod measure;
mod minimal;
mod part;
mod picture;
mod replay;
mod row;
mod scontrol;
mod seed;
mod strace;
mod stub;
mod table;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let mut words = std::env::args();
    let name = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    if scontrol::is_client(Path::new(&name)) {
        return scontrol::answer(Path::new(&name), &words);
    }
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("azslurm-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["measure", command @ ..] if !command.is_empty() => measure::tell(command),
        ["minimal", script] => minimal::tell(Path::new(script)),
        ["run", folder, programs, only @ ..] => {
            part::run(Path::new(folder), Path::new(programs), only)
        }
        _ => bail!(
            "usage: azslurm-bench run FOLDER PROGRAMS [PART…]; parts: {}",
            part::names().join(", ")
        ),
    }
}
