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
        Verb::Role { config, sites, json } => ExitCode::from(role(config.as_deref(), &sites, json)),
    }
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
