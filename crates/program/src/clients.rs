//! One door to Azure per site. Sites with the same credential share one: connections, token and
//! limits.

use std::collections::BTreeMap;

use azslurm_azure::{Arm, AzureError, Calls};
use azslurm_core::SiteName;
use azslurm_core::config::{Config, Credential};

/// The doors of all sites.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    arms: Vec<Arm>,
    by_site: BTreeMap<SiteName, usize>,
}

impl Clients {
    /// Reads no secret and sends nothing.
    pub fn new(config: &Config) -> Result<Clients, AzureError> {
        Clients::made(config, |credential| Arm::new(&config.cloud, credential, &config.limits))
    }

    /// With doors that somebody else makes, one for each credential.
    pub fn made(
        config: &Config,
        mut door: impl FnMut(&Credential) -> Result<Arm, AzureError>,
    ) -> Result<Clients, AzureError> {
        let mut credentials: Vec<&Credential> = Vec::new();
        let mut clients = Clients { arms: Vec::new(), by_site: BTreeMap::new() };
        for (name, site) in &config.sites {
            let known = credentials.iter().position(|credential| **credential == site.credential);
            let index = match known {
                Some(index) => index,
                None => {
                    clients.arms.push(door(&site.credential)?);
                    credentials.push(&site.credential);
                    credentials.len() - 1
                }
            };
            clients.by_site.insert(name.clone(), index);
        }
        Ok(clients)
    }

    /// Whether there is no door: none was made yet.
    pub fn is_empty(&self) -> bool {
        self.arms.is_empty()
    }

    /// The door of a site; `None` if the config no longer has it.
    pub fn of(&self, site: &SiteName) -> Option<&Arm> {
        self.by_site.get(site).and_then(|index| self.arms.get(*index))
    }

    /// Every door with its name (that of its first site: the same in every program with this
    /// config) and the sites behind it.
    pub fn doors(&self) -> impl Iterator<Item = (&str, &Arm, Vec<&SiteName>)> {
        self.arms.iter().enumerate().filter_map(|(index, arm)| {
            let sites: Vec<&SiteName> = self
                .by_site
                .iter()
                .filter(|(_, door)| **door == index)
                .map(|(site, _)| site)
                .collect();
            Some((sites.first()?.as_str(), arm, sites))
        })
    }

    /// Requests sent so far, all doors together.
    pub fn calls(&self) -> Calls {
        self.arms.iter().map(Arm::calls).fold(Calls::default(), |sum, calls| sum + calls)
    }
}
