//! `azslurm-conf check` against Azure: would it make the VMs that the config means, as the identity
//! that it names, and would they reach one another?
//!
//! ```text
//! look.rs: asks ──► seen.rs: AzureSeen ──► account, network, filter, size, image, quota, cost:
//!                                          pure rules ──► findings
//! ```
//!
//! What cannot be learned costs its own finding and no other. Nothing is changed, and no VM is
//! needed.

mod account;
mod cost;
mod filter;
mod image;
mod look;
mod network;
mod quota;
mod retire;
mod seen;
mod size;

#[cfg(test)]
mod tests;

use std::path::Path;

use azslurm_core::config::{Config, Nodeset, Site, line_of};
use azslurm_core::size::Sizes;
use azslurm_core::{NodesetName, SiteName, Timestamp};
use azslurm_program::check::{Finding, Pitfall};
use azslurm_program::now;

pub use look::look;
pub use seen::{AzureSeen, Door, Seen, SiteSeen, Unseen};

/// The word of these findings.
const CHECK: &str = "azure";
/// Where Slurm's daemons listen, unless slurm.conf says otherwise.
const SLURMCTLD_PORT: u16 = 6817;
const SLURMD_PORT: u16 = 6818;

/// What the rules stand on.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The config.
    pub config: &'a Config,
    /// Its file, and the text in it: for places.
    pub file: (&'a Path, &'a str),
    /// What day it is.
    pub now: Timestamp,
    /// Ports of slurmctld and slurmd.
    pub ports: (u16, u16),
}

impl<'a> Ground<'a> {
    /// With Slurm's own ports.
    pub fn new(config: &'a Config, file: (&'a Path, &'a str), now: Timestamp) -> Ground<'a> {
        Ground { config, file, now, ports: (SLURMCTLD_PORT, SLURMD_PORT) }
    }

    /// Where a key of the config stands: `/etc/azslurm/azslurm.toml:17`.
    fn at(&self, key: &str) -> Option<String> {
        let (file, text) = self.file;
        line_of(text, key).map(|line| format!("{}:{line}", file.display()))
    }

    fn at_site(&self, site: &SiteName, key: &str) -> Option<String> {
        self.at(&format!("site.{site}.{key}"))
    }

    fn at_nodeset(&self, nodeset: &NodesetName, key: &str) -> Option<String> {
        self.at(&format!("nodeset.{nodeset}.{key}"))
    }

    /// Every nodeset with every site that its nodes may come up at.
    fn uses(&self) -> impl Iterator<Item = Use<'a>> {
        let config = self.config;
        config.nodesets.iter().flat_map(move |(name, nodeset)| {
            nodeset.open_sites().iter().filter_map(move |site| {
                let (site, place) = config.sites.get_key_value(site)?;
                Some(Use { name, nodeset, site, place })
            })
        })
    }

    /// The uses of a site.
    fn uses_at(&self, site: &SiteName) -> impl Iterator<Item = Use<'a>> {
        self.uses().filter(move |one| one.site == site)
    }
}

/// A nodeset at a site.
#[derive(Debug, Clone, Copy)]
struct Use<'a> {
    name: &'a NodesetName,
    nodeset: &'a Nodeset,
    site: &'a SiteName,
    place: &'a Site,
}

impl Use<'_> {
    /// `nodeset hb at site west: Standard_HB120rs_v3`.
    fn words(&self) -> String {
        format!("nodeset {} at site {}: {}", self.name, self.site, self.nodeset.sku)
    }

    /// The nodes that must come up together: those of the largest block, or one.
    fn unit(&self) -> u64 {
        let mut blocks = std::collections::BTreeMap::new();
        for block in &self.nodeset.blocks {
            *blocks.entry(block).or_insert(0_u64) += 1;
        }
        blocks.into_values().max().unwrap_or(1)
    }

    fn nodes(&self) -> u64 {
        self.nodeset.nodes.len() as u64
    }
}

/// Judges what was seen of Azure. `here`: the config's text, and slurm.conf with its ports.
pub fn judge(config: &Config, here: &super::seen::Seen, azure: &AzureSeen) -> Vec<Finding> {
    let mut ground = Ground::new(config, (&here.path, &here.text), now());
    if let Ok(conf) = &here.conf {
        let port = |key| conf.last(key).and_then(|line| first_port(&line.value));
        let (slurmctld, slurmd) = ground.ports;
        ground.ports =
            (port("SlurmctldPort").unwrap_or(slurmctld), port("SlurmdPort").unwrap_or(slurmd));
    }
    check(&ground, azure)
}

/// `6817`, or the first of `6817-6820`.
fn first_port(text: &str) -> Option<u16> {
    text.split('-').next()?.trim().parse().ok()
}

/// All findings. Sizes, images and quotas are judged where they are known.
pub fn check(ground: &Ground<'_>, seen: &AzureSeen) -> Vec<Finding> {
    let areas = [
        (account::check(ground, seen), Pitfall::Security),
        (network::check(ground, seen), Pitfall::Network),
        (size::check(ground, seen), Pitfall::InstanceTypes),
        (image::check(ground, seen), Pitfall::StartUpTime),
        (quota::check(ground, seen), Pitfall::Autoscaling),
        (cost::check(ground, seen), Pitfall::Cost),
    ];
    let of = |(findings, pitfall): (Vec<Finding>, Pitfall)| {
        findings
            .into_iter()
            .map(move |finding| Finding { pitfall: finding.pitfall.or(Some(pitfall)), ..finding })
    };
    areas.into_iter().flat_map(of).collect()
}

/// What can be said of sizes that are known from before, without asking Azure.
pub fn offline(
    config: &Config,
    file: (&Path, &str),
    sizes: &Sizes,
    now: Timestamp,
) -> Vec<Finding> {
    let mut seen = AzureSeen::default();
    for (name, site) in &config.sites {
        let here = config.nodesets.values().filter(|nodeset| nodeset.open_sites().contains(name));
        let known = here.map(|nodeset| sizes.get(&site.region, &nodeset.sku).cloned());
        // Of a size that nobody has asked for nothing can be said, not even that it is not sold.
        let sizes = known.collect::<Option<Vec<_>>>().ok_or(Unseen::NotAsked);
        seen.sites.insert(name.clone(), SiteSeen { sizes, ..SiteSeen::default() });
    }
    check(&Ground::new(config, file, now), &seen)
}

/// A finding for what could not be learned. `action`: what it takes to read it.
fn unseen(what: &str, action: &str, why: &Unseen) -> Option<Finding> {
    let fix = match why {
        // The token's finding, or the deadline's, says it.
        Unseen::NotAsked => return None,
        Unseen::Refused(refusal) if matches!(refusal.status, 401 | 403) => format!(
            "give the identity {action} there (`azslurm-conf role` has it in its role for checks)"
        ),
        Unseen::Refused(_) | Unseen::Failed(_) => {
            "look again in a minute; if it stays, look whether Resource Manager can be reached"
                .to_owned()
        }
    };
    Some(Finding::note(CHECK, format!("{what} cannot be read: {why}"), fix))
}
