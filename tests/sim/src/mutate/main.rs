//! `azslurm-mutate`: tests of the tests. The simulation must catch every rule of ours that is
//! broken on purpose.
//!
//! ```text
//! mutations.toml ─► list.rs ─► tree.rs: a copy of the sources, all mutations built in, all off
//!                                 └─ built once by cargo ─► hunt.rs: a run for each, only it on
//! ```

mod hunt;
mod list;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::list::List;

/// Builds broken rules into a copy of azslurm, and looks whether the simulation catches each.
#[derive(Debug, Parser)]
#[command(name = "azslurm-mutate")]
struct Arguments {
    /// The mutations
    #[arg(long, default_value = "tests/sim/mutations.toml")]
    list: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write the copy of the sources
    Write {
        /// Where to
        tree: PathBuf,
    },
    /// Run the simulation with each mutation
    Hunt(HuntArguments),
}

#[derive(Debug, Args)]
struct HuntArguments {
    /// The simulation that was built from the copy
    program: PathBuf,
    /// Only these mutations
    names: Vec<String>,
    /// So many schedules for each at most
    #[arg(long, default_value_t = 3000)]
    schedules: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let list = List::read(&arguments.list)?;
    match &arguments.what {
        What::Write { tree } => {
            let written = tree::write(&PathBuf::from("."), &list, tree)?;
            println!(
                "{} mutations, {written} files written to {}",
                list.mutation.len(),
                tree.display()
            );
            Ok(true)
        }
        What::Hunt(of) => {
            let HuntArguments { program, names, schedules, seed, threads } = of;
            let (schedules, seed, threads) = (*schedules, *seed, *threads);
            hunt::hunt(&list, names, &hunt::Search { program, schedules, seed, threads })
        }
    }
}
