//! What a program has open while it works.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use azslurm_core::SiteName;
use azslurm_core::config::Config;
use azslurm_ledger::{Holder, Lease, Ledger, LedgerError};
use azslurm_slurm::Slurm;

use crate::clients::Clients;
use crate::errands::{LEASE_FOR, RENEW_EVERY};
use crate::exit::Stop;
use crate::{alive, config_file, logs, now, throttles};

/// Config, ledger and clients of one run.
#[derive(Debug)]
pub struct Session {
    /// The config.
    pub config: Arc<Config>,
    /// The file it came from.
    pub config_path: PathBuf,
    /// The ledger.
    pub ledger: Ledger,
    /// slurmctld.
    pub slurm: Slurm,
    /// Azure; empty until [`Session::connect`].
    pub clients: Clients,
}

impl Session {
    /// Reads the config, sends the log where it says, and opens the ledger (made if it is not
    /// there).
    pub fn open(program: &str, flag: Option<&Path>) -> Result<Session, Stop> {
        let loaded = config_file::load(flag).map_err(Stop::cannot_start)?;
        logs::direct(program, &loaded.config.log);
        Session::open_loaded(loaded)
    }

    /// As [`Session::open`], with a config that is read already, and without a word about the log.
    pub fn open_loaded(loaded: config_file::Loaded) -> Result<Session, Stop> {
        let ledger = Ledger::open(&loaded.config.ledger.path).map_err(Stop::cannot_start)?;
        Ok(Session::with_ledger(loaded, ledger))
    }

    /// As [`Session::open`], for a program that only looks: a ledger that is not there is not made.
    pub fn open_to_look(program: &str, flag: Option<&Path>) -> Result<Session, Stop> {
        let loaded = config_file::load(flag).map_err(Stop::cannot_start)?;
        logs::direct(program, &loaded.config.log);
        let ledger =
            Ledger::open_existing(&loaded.config.ledger.path).map_err(Stop::cannot_start)?;
        Ok(Session::with_ledger(loaded, ledger))
    }

    /// As [`Session::open`], or for a dry run: that makes no ledger where there is none, and
    /// decides by an empty one.
    pub fn begin(program: &str, flag: Option<&Path>, is_dry_run: bool) -> Result<Session, Stop> {
        if !is_dry_run {
            return Session::open(program, flag);
        }
        let loaded = config_file::load(flag).map_err(Stop::cannot_start)?;
        logs::direct(program, &loaded.config.log);
        let ledger = match Ledger::open_existing(&loaded.config.ledger.path) {
            Err(LedgerError::Missing { .. }) => Ledger::in_memory(),
            found => found,
        };
        Ok(Session::with_ledger(loaded, ledger.map_err(Stop::cannot_start)?))
    }

    fn with_ledger(loaded: config_file::Loaded, ledger: Ledger) -> Session {
        Session::of(loaded.config, loaded.path, ledger)
    }

    /// Of parts that the caller has, such as those of another machine.
    pub fn of(config: impl Into<Arc<Config>>, config_path: PathBuf, ledger: Ledger) -> Session {
        let config = config.into();
        let slurm = Slurm::new(&config.slurm);
        Session { config, config_path, ledger, slurm, clients: Clients::default() }
    }

    /// Makes the doors to Azure, unless there are some already. Fronts do without: they must be
    /// gone within milliseconds. Sends nothing.
    pub fn connect(&mut self) -> Result<(), Stop> {
        if self.clients.is_empty() {
            self.clients = Clients::new(&self.config).map_err(Stop::cannot_start)?;
        }
        throttles::heed(&self.clients, &self.ledger).map_err(Stop::cannot_start)?;
        Ok(())
    }

    /// The subscriptions of some sites, each once.
    pub fn subscriptions_of(&self, sites: &[&SiteName]) -> Vec<String> {
        let sites = sites.iter().filter_map(|site| self.config.sites.get(*site));
        let subscriptions: BTreeSet<&String> = sites.map(|site| &site.subscription).collect();
        subscriptions.into_iter().cloned().collect()
    }

    /// All leases of `holder`, good for nearly `errands::LEASE_FOR`: those that were just given are
    /// not given again, and those that are lost are left out.
    pub fn leases_renewed(&mut self, holder: &Holder) -> Result<Vec<Lease>, LedgerError> {
        let at = now();
        let leases = self.ledger.leases_of_holder(holder)?;
        let is_fresh = |lease: &Lease| lease.until().since(at) >= LEASE_FOR - RENEW_EVERY;
        if leases.iter().all(is_fresh) {
            return Ok(leases);
        }
        self.ledger.write(|writer| {
            writer.renew_holder(holder, at.plus(LEASE_FOR))?;
            writer.leases_of_holder(holder)
        })
    }

    /// The end of a holder's work: its leases are free at once, and it is no longer known as alive.
    pub fn end(&mut self, holder: &Holder) -> Result<(), LedgerError> {
        self.ledger.write(|writer| writer.release_holder(holder))?;
        alive::end(&self.config.ledger.path, holder);
        Ok(())
    }

    /// Whether `holder` lives on this machine.
    pub fn is_alive(&self, holder: &Holder) -> bool {
        alive::is_alive(&self.config.ledger.path, holder)
    }
}
