//! `azslurm-prove`.

use std::process::ExitCode;

use azslurm_sim::proof::{Arguments, prove};
use clap::Parser;
use mimalloc::MiMalloc;

/// A schedule allocates more than it does anything else.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    prove(&Arguments::parse())
}
