//! The activity log: who did what to a resource, minutes later, and not always (FACTS §7). It only
//! explains; nothing is decided by it.

use azslurm_core::Timestamp;

use crate::arm::{Arm, Place, call};
use crate::bucket::Operation;
use crate::{AzureError, Listing, ResourceId, read};

/// Pages of one question: what is beyond is of no more use than its absence.
const PAGES_MAX: u32 = 3;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What it happened to.
    pub resource: ResourceId,
    /// `Microsoft.Compute/virtualMachines/evictSpotVM/action` …
    pub operation: String,
    /// `Started`, `Succeeded`, `Failed` …
    pub status: String,
    /// When.
    pub at: Timestamp,
    /// Description, else sub-status; may be empty.
    pub text: String,
    /// Who did it.
    pub caller: Option<String>,
    /// What Azure's support asks for.
    pub correlation_id: Option<String>,
}

impl Activity {
    /// Whether Azure took a Spot VM (of either kind of scale set, or alone).
    pub fn is_eviction(&self) -> bool {
        self.operation.to_ascii_lowercase().ends_with("/evictspotvm/action")
    }
}

impl Arm {
    /// What happened in a resource group in a span of time, some pages of it. One question serves
    /// for all VMs of the group.
    ///
    /// # Errors
    /// As [`Arm::list_vms`].
    pub async fn activity(
        &self,
        (subscription, group): (&str, &str),
        (from, until): (Timestamp, Timestamp),
    ) -> Result<Listing<Activity>, AzureError> {
        let span = (from.to_string(), until.to_string());
        let url = self.inner.routes.activity(subscription, group, (&span.0, &span.1))?;
        let place = Place {
            subscription: subscription.to_owned(),
            resource_group: group.to_owned(),
            region: None,
        };
        let doing = format!("read the activity log of group {group}");
        let call = call(Operation::ReadLog, &place, url, doing);
        self.pages(call, (read::activity, PAGES_MAX)).await
    }
}
