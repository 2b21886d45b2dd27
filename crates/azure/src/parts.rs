//! NICs and disks, one by one: what a VM may leave behind.

use azslurm_core::config::Region;

use crate::arm::{Arm, Place, call};
use crate::bucket::Operation;
use crate::client::Call;
use crate::route::Kind;
use crate::{AzureError, Leftover, PartKind, Reply, ResourceId, read};

impl Arm {
    /// A NIC or a disk; `None` if Azure does not know it.
    ///
    /// # Errors
    /// No answer that can be used: nothing is known.
    pub async fn get_part(
        &self,
        kind: PartKind,
        id: &ResourceId,
    ) -> Result<Reply<Option<Leftover>>, AzureError> {
        let call = self.part_call(Operation::Get, (kind, id), "read")?;
        match kind {
            PartKind::Nic => self.find(&call, read::nic).await,
            PartKind::Disk => self.find(&call, read::disk).await,
        }
    }

    /// Deletes a NIC or a disk. One that is absent is deleted already; one that a VM has is refused
    /// by Azure. Done is also what Azure has taken without saying how it ended.
    ///
    /// # Errors
    /// [`AzureError::Lost`]: it may have been deleted. All others: it was not.
    pub async fn delete_part(
        &self,
        kind: PartKind,
        id: &ResourceId,
    ) -> Result<Reply<()>, AzureError> {
        self.delete(&self.part_call(Operation::DeletePart, (kind, id), "delete")?).await
    }

    /// By the parts of its id, so that the URL is one of ours whatever the id says.
    fn part_call(
        &self,
        operation: Operation,
        (kind, id): (PartKind, &ResourceId),
        verb: &str,
    ) -> Result<Call, AzureError> {
        let subscription = id.subscription().unwrap_or_default();
        let group = id.resource_group().unwrap_or_default();
        let of = match kind {
            PartKind::Nic => Kind::Nic,
            PartKind::Disk => Kind::Disk,
        };
        let url = self.inner.routes.one(of, (subscription, group), id.name())?;
        let place = Place {
            subscription: subscription.to_owned(),
            resource_group: group.to_owned(),
            region: None::<Region>,
        };
        Ok(call(operation, &place, url, format!("{verb} {kind} {}", id.name())))
    }
}
