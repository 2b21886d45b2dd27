//! azslurm-conf: the config of azslurm, explained and checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use azslurm_conf::{check, example, role};
use azslurm_core::SiteName;
use azslurm_program::{config_file, exit};
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
    /// Check the config, and everything around it: files, slurm.conf, slurmctld, Azure
    ///
    /// All errors of the config are printed at once, each as `file:line:column: key: what is wrong
    /// and what is allowed`. If it has none, slurm.conf, slurmctld and Azure are looked at too, and
    /// each finding is an error, a warning or a note with its place, why it matters, and what to do.
    /// Nothing is changed.
    Check {
        /// Config file [default: $AZSLURM_CONFIG, azslurm.toml beside $SLURM_CONF,
        /// /etc/azslurm/azslurm.toml]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Ask neither slurmctld nor Azure: only files are looked at
        #[arg(long)]
        offline: bool,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print a config with every key, its default and what it is for
    Example,
    /// Print the least that the identities of the config must be allowed in Azure, as a script for
    /// `az`
    ///
    /// It makes custom roles for exactly this config and assigns each at the narrowest scope: the
    /// resource groups of the VMs, subnets, images and identities that they use, and reading of the
    /// subscriptions. Nothing is asked of Azure: read the script, then run it.
    Role {
        /// Config file, as for `check`
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Only what this site needs; may be given several times
        #[arg(long = "site", value_name = "SITE")]
        sites: Vec<SiteName>,
        /// Print one JSON object with roles and assignments instead
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Check { config, offline, json } => {
            let report = on(check::check(config.as_deref(), offline));
            match (json, report.exit_code()) {
                (true, _) => println!("{:#}", report.json()),
                (false, exit::CANNOT_START) => eprintln!("{}", report.text()),
                (false, _) => println!("{}", report.text()),
            }
            ExitCode::from(report.exit_code())
        }
        Verb::Example => {
            print!("{}", example::EXAMPLE);
            ExitCode::SUCCESS
        }
        Verb::Role { config, sites, json } => ExitCode::from(role(config.as_deref(), &sites, json)),
    }
}

/// One thread: its work is waiting.
fn on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a thread of its own needs no more than memory").block_on(work)
}

fn role(config: Option<&Path>, sites: &[SiteName], json: bool) -> u8 {
    let config = match config_file::load(config) {
        Ok(loaded) => loaded.config,
        Err(error) => {
            eprintln!("{}", exit::chain_of(&error));
            return exit::CANNOT_START;
        }
    };
    if let Some(unknown) = sites.iter().find(|site| !config.sites.contains_key(*site)) {
        let known: Vec<&str> = config.sites.keys().map(SiteName::as_str).collect();
        eprintln!("--site {unknown}: the config has the sites {}", known.join(", "));
        return exit::CANNOT_START;
    }
    let rights = role::rights(&config, sites);
    match json {
        true => println!("{:#}", serde_json::json!(rights)),
        false => println!("{}", rights.script()),
    }
    exit::DONE
}
