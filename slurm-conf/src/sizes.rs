//! What Azure says of the VM sizes of the config: asked once, kept in a file beside the config, so
//! that everything after it works without Azure and says the same on every machine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use azslurm_azure::{Answer, AzureError, Refusal};
use azslurm_core::SiteName;
use azslurm_core::config::{Config, Region, Sku};
use azslurm_core::size::Sizes;
use azslurm_program::Clients;

use crate::write::{self, WriteError};

/// The file beside the config.
const FILE_NAME: &str = "azslurm-sizes.json";

/// Why the sizes are not known.
#[derive(Debug, thiserror::Error)]
pub enum SizesError {
    /// The file is there and cannot be read.
    #[error("cannot read {path}; remove it, and Azure is asked again")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no list of sizes.
    #[error("{path} is no list of sizes; remove it, and Azure is asked again")]
    Strange {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("cannot keep the sizes")]
    Unwritable(#[from] WriteError),
    /// No client.
    #[error("cannot ask Azure for the sizes of {region}")]
    NoClient {
        /// The region.
        region: Region,
        /// Why.
        source: Box<AzureError>,
    },
    /// No answer.
    #[error("cannot read the sizes of {region} as site {site}")]
    NoAnswer {
        /// Who asked.
        site: SiteName,
        /// The region.
        region: Region,
        /// Why.
        source: Box<AzureError>,
    },
    /// Azure refused.
    #[error(
        "Azure refused to list the sizes of {region} to site {site}: {} {}: {}; its identity needs \
         Microsoft.Compute/skus/read on the subscription (`azslurm-conf role`)",
        refusal.status, refusal.code, refusal.text
    )]
    Refused {
        /// Who asked.
        site: SiteName,
        /// The region.
        region: Region,
        /// What Azure said.
        refusal: Box<Refusal>,
    },
}

/// Where the sizes of a config are kept.
pub fn path(config: &Path) -> PathBuf {
    config.with_file_name(FILE_NAME)
}

/// What is kept beside the config; nothing if the file is not there.
///
/// # Errors
/// [`SizesError::Unreadable`], [`SizesError::Strange`].
pub fn kept(config: &Path) -> Result<Sizes, SizesError> {
    let path = path(config);
    match fs::read(&path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(sizes) => Ok(sizes),
            Err(source) => Err(SizesError::Strange { path, source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Sizes::default()),
        Err(source) => Err(SizesError::Unreadable { path, source }),
    }
}

/// Writes the sizes beside the config.
///
/// # Errors
/// [`SizesError::Unwritable`].
pub fn keep(config: &Path, sizes: &Sizes) -> Result<(), SizesError> {
    let text = serde_json::to_string_pretty(sizes).expect("names and numbers are JSON");
    Ok(write::whole(&path(config), &format!("{text}\n"))?)
}

/// The sizes that a config names at the regions of its sites, and which of them are not in `known`:
/// each region with a site that can ask for it.
pub fn missing<'c>(config: &'c Config, known: &Sizes) -> Vec<(&'c SiteName, &'c Region)> {
    let mut regions = BTreeSet::new();
    let mut missing = Vec::new();
    for (site, region, sku) in wanted(config) {
        if known.get(region, sku).is_none() && regions.insert(region.as_str()) {
            missing.push((site, region));
        }
    }
    missing
}

/// Every site, its region and a size that a nodeset wants there.
pub fn wanted(config: &Config) -> impl Iterator<Item = (&SiteName, &Region, &Sku)> {
    config.nodesets.values().flat_map(|nodeset| {
        let sites = nodeset.sites.iter().filter_map(|name| {
            let (name, site) = config.sites.get_key_value(name)?;
            Some((name, &site.region, &nodeset.sku))
        });
        sites.collect::<Vec<_>>()
    })
}

/// Asks Azure for the sizes of some regions and adds those that the config names.
///
/// # Errors
/// Azure cannot be asked, or refuses: what was had before is in `known` all the same.
pub async fn ask(
    config: &Config,
    regions: &[(&SiteName, &Region)],
    known: &mut Sizes,
) -> Result<(), SizesError> {
    let Some((_, first)) = regions.first() else { return Ok(()) };
    let clients = Clients::new(config).map_err(|source| SizesError::NoClient {
        region: (*first).clone(),
        source: Box::new(source),
    })?;
    for (site, region) in regions {
        let Some((place, arm)) = config.sites.get(*site).zip(clients.of(site)) else { continue };
        let reply = arm.sizes(&place.subscription, region).await;
        let (site, region) = ((*site).clone(), (*region).clone());
        let sizes = match reply.map(|reply| reply.answer) {
            Ok(Answer::Done(sizes)) => sizes,
            Ok(Answer::Refused(refusal)) => {
                return Err(SizesError::Refused { site, region, refusal: Box::new(refusal) });
            }
            Err(source) => {
                return Err(SizesError::NoAnswer { site, region, source: Box::new(source) });
            }
        };
        let is_wanted = |name: &str| {
            wanted(config)
                .any(|(_, at, sku)| *at == region && sku.as_str().eq_ignore_ascii_case(name))
        };
        for size in sizes.into_iter().filter(|size| is_wanted(&size.name)) {
            known.insert(&region, size);
        }
    }
    Ok(())
}
