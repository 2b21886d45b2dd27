//! azslurm-conf: the config of azslurm, explained and checked.

use std::path::PathBuf;
use std::process::ExitCode;

use azslurm_conf::{check, example};
use clap::{Parser, Subcommand};

/// Explains and checks the config of azslurm.
///
/// Begin with `azslurm-conf example > /etc/azslurm/azslurm.toml`, adapt it, and run `azslurm-conf
/// check` after every change. It changes no file and shows no secret. Exit code 0: fine; 2: the
/// programs could not start with it.
#[derive(Debug, Parser)]
#[command(name = "azslurm-conf", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check the config file: who may read and write it, every key, and what must agree
    ///
    /// All errors are printed at once, each as `file:line:column: key: what is wrong and what is
    /// allowed`. Files that the config names, slurm.conf and Azure are not looked at.
    Check {
        /// Config file [default: $AZSLURM_CONFIG, azslurm.toml beside $SLURM_CONF,
        /// /etc/azslurm/azslurm.toml]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print a config with every key, its default and what it is for
    Example,
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Check { config, json } => {
            let report = check::check(config.as_deref());
            match (json, report.exit_code()) {
                (true, _) => println!("{:#}", report.json()),
                (false, 0) => println!("{}", report.text()),
                (false, _) => eprintln!("{}", report.text()),
            }
            ExitCode::from(report.exit_code())
        }
        Verb::Example => {
            print!("{}", example::EXAMPLE);
            ExitCode::SUCCESS
        }
    }
}
