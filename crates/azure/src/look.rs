//! Looking at what an installation rests on before anything is made: one read for each thing, with
//! few tries, because a person waits. What it means is the caller's.

use azslurm_core::config::Region;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::arm::{Arm, CALL_TIME_MAX, Place, call};
use crate::bucket::Operation;
use crate::client::Call;
use crate::read::{text, texts};
use crate::route::{self, Routes};
use crate::{AzureError, Reply};

/// Who asks for a check waits for one repetition at most.
const TRIES_MAX: u32 = 2;
/// Codes of 404 that say "it is not there": Resource Manager's, compute's and the network's, of the
/// thing itself or of what it is in.
const ABSENT_CODES: [&str; 6] = [
    "ResourceNotFound",
    "NotFound",
    "ResourceGroupNotFound",
    "ParentResourceNotFound",
    "GalleryImageNotFound",
    "ImageNotFound",
];
/// Resource groups and registrations (Microsoft.Resources).
const RESOURCES_VERSION: &str = "2021-04-01";
/// User-assigned identities (Microsoft.ManagedIdentity).
const IDENTITY_VERSION: &str = "2023-01-31";

/// A resource group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceGroup {
    /// Region of its record; its resources may be elsewhere.
    pub location: String,
    /// `Succeeded`, `Deleting` …
    pub state: String,
}

/// A capacity reservation group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reservation {
    /// Its region.
    pub location: String,
    /// Zones that it has capacity in; empty: it is regional.
    pub zones: Vec<String>,
}

impl Arm {
    /// A resource group.
    ///
    /// # Errors
    /// No answer that can be used: nothing is known. So for all looks.
    pub async fn look_group(
        &self,
        subscription: &str,
        group: &str,
    ) -> Result<Reply<Option<ResourceGroup>>, AzureError> {
        let url = self.inner.routes.group(subscription, group)?;
        let call = look(url, format!("read resource group {group}"));
        self.look(&call, |value| {
            Ok(ResourceGroup {
                location: text(value, "/location").unwrap_or_default(),
                state: text(value, "/properties/provisioningState").unwrap_or_default(),
            })
        })
        .await
    }

    /// How a subscription is registered for a provider: `Registered`, `NotRegistered`,
    /// `Registering` …
    ///
    /// # Errors
    /// As [`Arm::look_group`].
    pub async fn look_registration(
        &self,
        subscription: &str,
        provider: &str,
    ) -> Result<Reply<Option<String>>, AzureError> {
        let scope = format!("/subscriptions/{subscription}/providers/{provider}");
        let url = self.inner.routes.below(&scope, &[], RESOURCES_VERSION)?;
        let doing = format!("read the registration of {provider} in {subscription}");
        self.look(&look(url, doing), |value| {
            text(value, "/registrationState").ok_or_else(|| "no registrationState".to_owned())
        })
        .await
    }

    /// Whether a user-assigned identity is there.
    ///
    /// # Errors
    /// As [`Arm::look_group`].
    pub async fn look_identity(&self, id: &str) -> Result<Reply<Option<()>>, AzureError> {
        let url = self.inner.routes.below(id, &[], IDENTITY_VERSION)?;
        self.look(&look(url, format!("read identity {id}")), |_| Ok(())).await
    }

    /// A capacity reservation group.
    ///
    /// # Errors
    /// As [`Arm::look_group`].
    pub async fn look_reservation(
        &self,
        id: &str,
    ) -> Result<Reply<Option<Reservation>>, AzureError> {
        let url = self.inner.routes.below(id, &[], route::COMPUTE)?;
        let doing = format!("read capacity reservation group {id}");
        self.look(&look(url, doing), |value| {
            Ok(Reservation {
                location: text(value, "/location").unwrap_or_default(),
                zones: texts(value.pointer("/zones")),
            })
        })
        .await
    }

    /// Sends a look; `None` if Azure does not know the thing.
    pub(crate) async fn look<T>(
        &self,
        call: &Call,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Reply<Option<T>>, AzureError> {
        self.find_unless(&ABSENT_CODES, call, read).await
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.inner.routes
    }
}

/// A read of something that counts in no bucket of compute's.
pub(crate) fn look(url: Url, doing: String) -> Call {
    let place = Place { subscription: String::new(), resource_group: String::new(), region: None };
    Call {
        tries_max: TRIES_MAX,
        deadline: Instant::now() + CALL_TIME_MAX,
        ..call(Operation::Look, &place, url, doing)
    }
}

/// Whether a text of Azure's (`West Europe`, `westeurope`) means a region.
pub fn is_region(text: &str, region: &Region) -> bool {
    let plain: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    plain.eq_ignore_ascii_case(region.as_str())
}
