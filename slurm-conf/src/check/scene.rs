//! The config beside what was seen around it: what every rule takes.

use azslurm_core::NodesetName;
use azslurm_core::config::{Config, Nodeset, line_of};
use azslurm_core::size::Size;
use azslurm_program::check::settings::Settings;
use azslurm_slurm::{Conf, SlurmVersion};

use super::seen::{Account, Running, Seen};

/// The config and its surroundings.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The config.
    pub config: &'a Config,
    /// What was looked at.
    pub seen: &'a Seen,
    /// Slurm's settings: those of slurmctld with their places in the files, or those of the files.
    pub settings: Settings,
    /// Whether they are known at all.
    pub has_settings: bool,
    /// SlurmUser, if this machine knows it.
    pub account: Option<Account>,
}

impl<'a> Scene<'a> {
    /// Puts both together.
    pub fn new(config: &'a Config, seen: &'a Seen) -> Scene<'a> {
        let conf = seen.conf.as_ref().ok();
        let settings = match (&seen.running, conf) {
            (Running::Answered { settings, .. }, Some(conf)) => {
                Some(settings.clone().with_places(conf))
            }
            (Running::Answered { settings, .. }, None) => Some(settings.clone()),
            (Running::NotAsked | Running::Silent(_), Some(conf)) => Some(Settings::of_conf(conf)),
            (Running::NotAsked | Running::Silent(_), None) => None,
        };
        let has_settings = settings.is_some();
        let mut settings = settings.unwrap_or_default();
        if let (None, Some(version)) = (settings.version(), seen.version) {
            settings = settings.with_version(version);
        }
        let account = match settings.slurm_user() {
            Some(number) => Some(seen.accounts.account(number)),
            None => seen.accounts.by_name(settings.slurm_user_name()),
        };
        Scene { config, seen, settings, has_settings, account }
    }

    /// The place of a key of azslurm.toml, `/etc/azslurm/azslurm.toml:17`.
    pub fn at(&self, key: &str) -> Option<String> {
        let path = self.seen.path.display();
        line_of(&self.seen.text, key).map(|line| format!("{path}:{line}"))
    }

    /// The same for a key of a nodeset.
    pub fn at_nodeset(&self, nodeset: &NodesetName, key: &str) -> Option<String> {
        self.at(&format!("nodeset.{nodeset}.{key}"))
    }

    /// What is known of a nodeset's size, at the first of its sites where it is.
    pub fn size(&self, nodeset: &Nodeset) -> Option<&'a Size> {
        let mut sites = nodeset.open_sites().iter().filter_map(|site| self.config.sites.get(site));
        sites.find_map(|site| self.seen.sizes.get(&site.region, &nodeset.sku))
    }

    /// slurm.conf, if it could be read.
    pub fn conf(&self) -> Option<&'a Conf> {
        self.seen.conf.as_ref().ok()
    }

    /// The Slurm that runs, or else the one that is installed.
    pub fn version(&self) -> Option<SlurmVersion> {
        self.settings.version()
    }

    /// The nodes of the largest InfiniBand block.
    pub fn largest_block(&self) -> Option<usize> {
        let of = |nodeset: &Nodeset| {
            let last = nodeset.blocks.iter().max().copied()?;
            (1..=last).map(|number| nodeset.nodes_of_block(number).count()).max()
        };
        self.config.nodesets.values().filter_map(of).max()
    }

    /// Whether a nodeset is of Spot VMs.
    pub fn has_spot(&self) -> bool {
        self.config.nodesets.values().any(Nodeset::is_spot)
    }
}
