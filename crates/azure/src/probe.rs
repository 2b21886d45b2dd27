//! Looking at what an installation needs: a token, a resource group, a subnet. One cheap GET each,
//! without tries beyond the first answer's.

use azslurm_core::Timestamp;
use azslurm_core::config::Site;
use tokio::time::Instant;
use url::Url;

use crate::arm::{Arm, GONE_CODES, GROUP_GONE_CODE, Place, call};
use crate::bucket::Operation;
use crate::client::Ended;
use crate::wire::Raw;
use crate::{AzureError, Refusal, header};

/// Who asks for a check waits for one repetition at most.
const TRIES_MAX: u32 = 2;

/// What a look at one thing brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Whether it exists; a refusal says why that is not known.
    pub exists: Result<bool, Refusal>,
    /// Azure's clock, to the second.
    pub date: Option<Timestamp>,
}

impl Arm {
    /// A token, from memory or new. It is good for all other calls.
    ///
    /// # Errors
    /// [`AzureError::Token`].
    pub async fn token(&self, deadline: Instant) -> Result<(), AzureError> {
        self.inner.client.token(deadline).await
    }

    /// The resource group of a site.
    ///
    /// # Errors
    /// No answer that can be used: nothing is known.
    pub async fn probe_group(&self, site: &Site) -> Result<Probe, AzureError> {
        let url = self.inner.routes.group(&site.subscription, &site.resource_group)?;
        self.probe(site, url, format!("read resource group {}", site.resource_group)).await
    }

    /// The subnet of a site.
    ///
    /// # Errors
    /// As [`Arm::probe_group`].
    pub async fn probe_subnet(&self, site: &Site) -> Result<Probe, AzureError> {
        let url = self.inner.routes.network(&site.subnet)?;
        self.probe(site, url, format!("read subnet {}", site.subnet)).await
    }

    async fn probe(&self, site: &Site, url: Url, doing: String) -> Result<Probe, AzureError> {
        let mut call = call(Operation::Get, &Place::from(site), url, doing);
        call.tries_max = TRIES_MAX;
        let raw = match self.inner.client.send(&call).await? {
            Ended::Answer(raw) => raw,
            Ended::Shut(refusal) => return Ok(Probe { exists: Err(refusal), date: None }),
        };
        Ok(Probe { exists: exists(&raw), date: header::date_of(&raw.headers) })
    }
}

fn exists(raw: &Raw) -> Result<bool, Refusal> {
    if raw.status == 200 {
        return Ok(true);
    }
    let refusal = raw.refusal();
    let code = refusal.code.as_str();
    let is_gone = raw.status == 404 && (GONE_CODES.contains(&code) || code == GROUP_GONE_CODE);
    if is_gone { Ok(false) } else { Err(refusal) }
}
