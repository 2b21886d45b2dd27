//! The command line: what can be asked, and who answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use azslurm_core::{NodesetName, SiteName, plain};
use azslurm_program::{config_file, exit};
use azslurm_slurm::SlurmVersion;
use clap::{Parser, Subcommand};

use crate::init::{self, Answers, Asked};
use crate::{apply, check, example, make, node_init, role};

/// Explains and checks the config of azslurm, and makes of it what Slurm needs.
///
/// Begin with `azslurm-conf init`, and run `azslurm-conf check` after every change; `example` shows
/// every key. No secret is ever shown. Exit code 0: fine; 1: something was found or failed; 2:
/// nothing could be done at all.
#[derive(Debug, Parser)]
#[command(name = "azslurm-conf", version)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// Which config.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// Config file [default: $AZSLURM_CONFIG, azslurm.toml beside $SLURM_CONF,
    /// /etc/azslurm/azslurm.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The kernel's word for this machine's name (proc(5)).
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// What `init` needs to be told.
#[derive(Debug, clap::Args)]
struct Said {
    /// The cluster's name
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The host name of slurmctld, as the VMs reach it
    #[arg(long, value_name = "HOST")]
    controller: Option<String>,
    /// The subscription's id
    #[arg(long, value_name = "ID")]
    subscription: Option<String>,
    /// The region of the VMs
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The resource group of the VMs
    #[arg(long, value_name = "GROUP")]
    resource_group: Option<String>,
    /// The resource id of their subnet
    #[arg(long, value_name = "ID")]
    subnet: Option<String>,
    /// A name for the first kind of nodes
    #[arg(long, value_name = "NAME")]
    nodeset: Option<String>,
    /// Its nodes, as a Slurm host list
    #[arg(long, value_name = "HOSTLIST")]
    nodes: Option<String>,
    /// Their VM size
    #[arg(long, value_name = "SIZE")]
    sku: Option<String>,
    /// Their image: publisher:offer:sku:version, or a resource id
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The file of the administrator's public key
    #[arg(long, value_name = "FILE")]
    ssh_public_key_file: Option<String>,
}

impl Said {
    fn answers(self) -> Answers {
        let said = [
            ("cluster", self.cluster),
            ("host", fs::read_to_string(HOST_NAME).ok().map(|name| name.trim().to_owned())),
            ("controller", self.controller),
            ("subscription", self.subscription),
            ("region", self.region),
            ("resource-group", self.resource_group),
            ("subnet", self.subnet),
            ("nodeset", self.nodeset),
            ("nodes", self.nodes),
            ("sku", self.sku),
            ("image", self.image),
            ("ssh-public-key-file", self.ssh_public_key_file),
        ];
        said.into_iter().filter_map(|(name, answer)| Some((name, answer?))).collect()
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a first config, from flags and answers
    ///
    /// What is not said by a flag is asked, on the terminal or from standard input; with --yes what
    /// has a default gets it. The file holds what was said, each key with a word about it, and
    /// nothing else. It is never written over one that is there.
    Init {
        #[command(flatten)]
        said: Box<Said>,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
        /// The file to write
        #[arg(long, value_name = "FILE", default_value = config_file::DEFAULT_PATH)]
        out: PathBuf,
    },
    /// Check the config, and everything around it: files, slurm.conf, slurmctld, Azure
    ///
    /// All errors of the config are printed at once, each as `file:line:column: key: what is wrong
    /// and what is allowed`. If it has none, slurm.conf, slurmctld and Azure are looked at too, and
    /// each finding is an error, a warning or a note with its place, why it matters, and what to
    /// do. Nothing is changed.
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Ask neither slurmctld nor Azure: only files are looked at
        #[arg(long)]
        offline: bool,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Make Slurm take what the config says: show it, ask, write, reconfigure, look
    ///
    /// Nothing is restarted and no job is lost: it is refused, with what to do, while nodes that
    /// leave have jobs or VMs. Every old file is kept beside the new one as `.old`; if slurmctld
    /// does not take the new ones, the old come back. What a person has written in slurm.conf,
    /// gres.conf and topology.conf stays; lines that include ours are added at their ends.
    ///
    /// To grow, azslurm first: change azslurm.toml, `systemctl reload azslurm-sync`, `azslurm-conf
    /// apply`. Until then azslurm knows nodes that Slurm does not, which harms nothing.
    ///
    /// To shrink, Slurm first: write the new config beside the old one and `azslurm-conf apply
    /// --config azslurm.toml.new --wait 3600`, which keeps new jobs from what leaves, waits until
    /// its jobs have ended and its VMs are gone, and applies; then move the file to its place and
    /// `systemctl reload azslurm-sync`. The other way round Slurm could give a job to a node that
    /// azslurm no longer makes.
    ///
    /// Before 23.11 slurmctld cannot take new names of nodes without a restart, and would end if it
    /// met one. Names that leave are therefore kept as spares (State=FUTURE, in no partition), and
    /// a nodeset can grow into its spares: name them ahead by `spare_nodes`. For other names stop
    /// slurmctld, apply with --slurmctld-stopped, and start it; running jobs go on meanwhile.
    Apply {
        #[command(flatten)]
        file: ConfigFile,
        /// Apply without asking, for scripts
        #[arg(long)]
        yes: bool,
        /// Show what would change and whether it may be applied now; change nothing
        #[arg(long)]
        dry_run: bool,
        /// Write over files of ours that somebody has changed
        #[arg(long)]
        force: bool,
        /// Drain what leaves and wait for so long until it is free
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
        /// slurmctld is stopped: write only, and start it afterwards
        #[arg(long)]
        slurmctld_stopped: bool,
    },
    /// Print what the config would change in Slurm's files, in words and as a diff
    ///
    /// Only files are read. Exit code 0: nothing would change; 1: something would.
    Diff {
        #[command(flatten)]
        file: ConfigFile,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print a config with every key, its default and what it is for
    Example,
    /// Print the user data of a nodeset's VMs: what cloud-init does from their boot to slurmd
    ///
    /// It needs no network and holds no secret. Write it with --out and name that file as
    /// `user_data_file` of the nodeset; after a change of the config make it anew. What it does
    /// step by step, and how to make an image of it, stands at its beginning.
    NodeInit {
        /// The nodeset
        #[arg(value_name = "NODESET")]
        nodeset: NodesetName,
        #[command(flatten)]
        file: ConfigFile,
        /// Write it into this file instead; one that node-init has not made is not overwritten
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print or write the parts of slurm.conf, gres.conf and topology.conf that the config means
    ///
    /// Nodes, partitions, power saving, GPUs and InfiniBand blocks, as files to be included. What
    /// Azure says of the VM sizes is asked once and kept in azslurm-sizes.json beside the config;
    /// after that no network is needed. The same config gives the same text. No file of Slurm's is
    /// changed.
    Render {
        #[command(flatten)]
        file: ConfigFile,
        /// Write the files into this folder instead of printing them
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Ask Azure again for sizes that are known
        #[arg(long)]
        refresh: bool,
        /// The Slurm that will read them [default: what `scontrol --version` says]
        #[arg(long, value_name = "VERSION")]
        slurm_version: Option<SlurmVersion>,
    },
    /// Print the least that the identities of the config must be allowed in Azure, as a script for
    /// `az`
    ///
    /// It makes custom roles for exactly this config and assigns each at the narrowest scope: the
    /// resource groups of the VMs, subnets, images and identities that they use, and reading of the
    /// subscriptions. Nothing is asked of Azure: read the script, then run it.
    Role {
        #[command(flatten)]
        file: ConfigFile,
        /// Only what this site needs; may be given several times
        #[arg(long = "site", value_name = "SITE")]
        sites: Vec<SiteName>,
        /// Print one JSON object with roles and assignments instead
        #[arg(long)]
        json: bool,
    },
}

/// Does what was asked; the exit code.
pub fn run(arguments: Arguments) -> u8 {
    match arguments.verb {
        Verb::Init { said, yes, out } => init(said.answers(), yes, &out),
        Verb::Check { file, offline, json } => {
            let report = on(check::check(file.config.as_deref(), offline));
            match (json, report.exit_code()) {
                (true, _) => println!("{}", plain::json(&format!("{:#}", report.json()))),
                (false, exit::CANNOT_START) => eprintln!("{}", plain::text(&report.text())),
                (false, _) => println!("{}", plain::text(&report.text())),
            }
            report.exit_code()
        }
        Verb::Apply { file, yes, dry_run, force, wait, slurmctld_stopped } => {
            let asked = apply::Asked {
                is_yes: yes,
                is_dry_run: dry_run,
                is_forced: force,
                is_stopped: slurmctld_stopped,
                wait: Duration::from_secs(wait),
            };
            applied(on(apply::apply(file.config.as_deref(), asked)))
        }
        Verb::Diff { file, json } => applied(on(apply::diff(file.config.as_deref(), json))),
        Verb::Example => {
            print!("{}", example::EXAMPLE);
            exit::DONE
        }
        Verb::NodeInit { nodeset, file, out } => {
            node_init::run(file.config.as_deref(), &nodeset, out.as_deref())
        }
        Verb::Render { file, out, refresh, slurm_version } => {
            let wanted = make::Wanted { is_fresh: refresh, version: slurm_version };
            told(on(make::render(file.config.as_deref(), wanted, out.as_deref())))
        }
        Verb::Role { file, sites, json } => role(file.config.as_deref(), &sites, json),
    }
}

fn init(answers: Answers, is_silent: bool, out: &Path) -> u8 {
    let (mut from, mut to) = (std::io::stdin().lock(), std::io::stderr().lock());
    let asked = match is_silent {
        true => Asked::Nobody,
        false => Asked::Person(&mut from, &mut to),
    };
    match init::init(answers, asked, out) {
        Ok(text) => {
            println!("{text}");
            exit::DONE
        }
        Err(error) => {
            eprintln!("{}", exit::chain_of(&error));
            exit::CANNOT_START
        }
    }
}

/// One thread: its work is waiting.
fn on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a thread of its own needs no more than memory").block_on(work)
}

/// Prints what was made, or why it was not.
fn told(made: Result<String, make::MakeError>) -> u8 {
    match made {
        Ok(text) => {
            println!("{}", text.trim_end());
            exit::DONE
        }
        Err(error) => {
            eprintln!("{}", exit::chain_of(&error));
            error.exit_code()
        }
    }
}

/// The exit code, with why not.
fn applied(done: Result<u8, apply::ApplyError>) -> u8 {
    done.unwrap_or_else(|error| {
        eprintln!("{}", exit::chain_of(&error));
        error.exit_code()
    })
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
