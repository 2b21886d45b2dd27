//! What was seen of Azure: each thing with what it is, or why that is not known.

use std::collections::BTreeMap;
use std::fmt;

use azslurm_azure::{
    Answer, AzureError, ImageSeen, Network, Permission, Refusal, Reply, Reservation, ResourceGroup,
    SecurityRule, Subnet, SubnetUse,
};
use azslurm_core::config::{Config, Sku};
use azslurm_core::facts::Usage;
use azslurm_core::size::{Size, Sizes};
use azslurm_core::{NodesetName, SiteName};
use azslurm_program::exit::chain_of;

/// Why something is not known.
#[derive(Debug, Clone)]
pub enum Unseen {
    /// Azure said no.
    Refused(Refusal),
    /// No answer came, or none that can be read.
    Failed(AzureError),
    /// It was not asked: there was no token, or no time left.
    NotAsked,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unseen::Refused(refusal) => {
                write!(f, "{} {}: {}", refusal.status, refusal.code, refusal.text)
            }
            Unseen::Failed(error) => f.write_str(&chain_of(error)),
            Unseen::NotAsked => f.write_str("it was not asked for"),
        }
    }
}

/// What a look brought.
pub type Seen<T> = Result<T, Unseen>;

/// A reply as what was seen.
pub(super) fn seen<T>(reply: Result<Reply<T>, AzureError>) -> Seen<T> {
    match reply.map(|reply| reply.answer) {
        Ok(Answer::Done(done)) => Ok(done),
        Ok(Answer::Refused(refusal)) => Err(Unseen::Refused(refusal)),
        Err(error) => Err(Unseen::Failed(error)),
    }
}

/// A credential, and the sites that use it.
#[derive(Debug, Clone)]
pub struct Door {
    /// The sites.
    pub sites: Vec<SiteName>,
    /// Who it is, for people.
    pub identity: String,
    /// Whether it has a token.
    pub token: Result<(), AzureError>,
    /// The time was over before all was asked: so many seconds.
    pub late: Option<u64>,
}

/// What was seen at a site.
#[derive(Debug, Clone)]
pub struct SiteSeen {
    /// Its resource group.
    pub group: Seen<Option<ResourceGroup>>,
    /// Registration of the subscription for each provider that is needed.
    pub registrations: BTreeMap<&'static str, Seen<Option<String>>>,
    /// What the identity may do, by scope.
    pub rights: BTreeMap<String, Seen<Vec<Permission>>>,
    /// Its subnet.
    pub subnet: Seen<Option<Subnet>>,
    /// How full the subnets of its network are.
    pub subnet_use: Seen<Vec<SubnetUse>>,
    /// Its virtual network.
    pub network: Seen<Option<Network>>,
    /// Rules of the security groups of the subnet and of the NICs, by id.
    pub filters: BTreeMap<String, Seen<Option<Vec<SecurityRule>>>>,
    /// The sizes of its region that the config names; one that is not among them is not sold there.
    pub sizes: Seen<Vec<Size>>,
    /// Its quotas.
    pub usages: Seen<Vec<Usage>>,
    /// VMs of this cluster there, by nodeset.
    pub ours: Seen<BTreeMap<NodesetName, u64>>,
    /// Images, by nodeset.
    pub images: BTreeMap<NodesetName, Seen<Option<ImageSeen>>>,
    /// Whether the terms of the nodesets' plans are accepted.
    pub terms: BTreeMap<NodesetName, Seen<Option<bool>>>,
    /// Identities of VMs, by id.
    pub identities: BTreeMap<String, Seen<Option<()>>>,
    /// Capacity reservation groups, by id.
    pub reservations: BTreeMap<String, Seen<Option<Reservation>>>,
}

impl Default for SiteSeen {
    /// Nothing was asked.
    fn default() -> SiteSeen {
        SiteSeen {
            group: Err(Unseen::NotAsked),
            registrations: BTreeMap::new(),
            rights: BTreeMap::new(),
            subnet: Err(Unseen::NotAsked),
            subnet_use: Err(Unseen::NotAsked),
            network: Err(Unseen::NotAsked),
            filters: BTreeMap::new(),
            sizes: Err(Unseen::NotAsked),
            usages: Err(Unseen::NotAsked),
            ours: Err(Unseen::NotAsked),
            images: BTreeMap::new(),
            terms: BTreeMap::new(),
            identities: BTreeMap::new(),
            reservations: BTreeMap::new(),
        }
    }
}

/// All that was seen.
#[derive(Debug, Clone, Default)]
pub struct AzureSeen {
    /// Why Azure could not be asked at all.
    pub no_client: Option<AzureError>,
    /// The credentials.
    pub doors: Vec<Door>,
    /// The sites.
    pub sites: BTreeMap<SiteName, SiteSeen>,
    /// Why the price list could not be read, if there is one and it could not.
    pub no_prices: Option<AzureError>,
}

impl AzureSeen {
    /// The sizes of the config that were seen, for whoever judges by them.
    pub fn sizes(&self, config: &Config) -> Sizes {
        let mut all = Sizes::default();
        for (name, site) in &config.sites {
            let seen = self.sites.get(name).and_then(|seen| seen.sizes.as_ref().ok());
            for size in seen.into_iter().flatten() {
                all.insert(&site.region, size.clone());
            }
        }
        all
    }

    /// What is known of a size at a site: `None`: nothing; `Some(None)`: it is not sold there.
    pub(super) fn size(&self, site: &SiteName, sku: &Sku) -> Option<Option<&Size>> {
        let sizes = self.sites.get(site)?.sizes.as_ref().ok()?;
        Some(sizes.iter().find(|size| size.name.eq_ignore_ascii_case(sku.as_str())))
    }
}
