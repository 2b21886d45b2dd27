//! What the VMs of a block share: a proximity placement group, which finds a datacenter that has
//! the size, and in it an availability set, whose members reach each other over InfiniBand (FACTS
//! §6). Both are made and deleted within one call; must never decide when.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use azslurm_core::attempt::AzureSays;
use azslurm_core::config::{Region, Sku};
use tokio::time::{Instant, sleep};

use crate::arm::{Arm, CALL_TIME_MAX, GONE_CODES, GROUP_GONE_CODE, Place, call};
use crate::body::{group_body, set_body};
use crate::bucket::Operation;
use crate::client::{Body, Call};
use crate::route::Kind;
use crate::wire::Raw;
use crate::{
    Answer, AzureError, OperationState, Refusal, Reply, ResourceId, Started, header, read,
};

/// Between two polls where Azure names no time (FACTS §2).
const POLL_PAUSE: Duration = Duration::from_secs(10);
/// Polls of one deletion: two minutes at the pause above. Sets and groups were only seen to be
/// deleted at once (FACTS §6.2), so that this is for a day on which Azure changed its habit.
const POLLS_MAX: u32 = 12;

/// A proximity placement group as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSpec {
    /// The resource's name, `azslurm_core::block::Incarnation::resource_name`.
    pub name: String,
    /// Azure region.
    pub region: Region,
    /// All sizes that will come: the PUT fails early if no datacenter has them (FACTS §6.3). None:
    /// nothing is promised to Azure.
    pub skus: Vec<Sku>,
    /// All tags: ours and the operator's.
    pub tags: BTreeMap<String, String>,
}

/// An availability set as wanted: Aligned, with one fault domain and one update domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSpec {
    /// The resource's name, `azslurm_core::block::Incarnation::resource_name`.
    pub name: String,
    /// Azure region.
    pub region: Region,
    /// Resource id of its placement group, [`group_id`]. It must be there.
    pub placement_group: String,
    /// All tags: ours and the operator's.
    pub tags: BTreeMap<String, String>,
}

/// An availability set or a placement group that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Resource id.
    pub id: ResourceId,
    /// Resource name.
    pub name: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Resource ids of the VMs and sets in it, those that are being made or deleted included.
    pub members: Vec<String>,
}

/// The resource id of an availability set, as a VM's body names it.
pub fn set_id(place: &Place, name: &str) -> String {
    Kind::AvailabilitySet.id(&place.subscription, &place.resource_group, name)
}

/// The resource id of a VM, for people.
pub fn vm_id(place: &Place, name: &str) -> String {
    Kind::Vm.id(&place.subscription, &place.resource_group, name)
}

/// The resource id of a proximity placement group, as an availability set's body names it.
pub fn group_id(place: &Place, name: &str) -> String {
    Kind::PlacementGroup.id(&place.subscription, &place.resource_group, name)
}

impl Arm {
    /// Makes a placement group, at once. The same spec sent twice is the same group. Nothing is
    /// sent after `settle`.
    ///
    /// # Errors
    /// [`AzureError::Lost`]: it may have been made, although no answer says so. All others: it was
    /// not.
    pub async fn put_placement_group(
        &self,
        place: &Place,
        spec: &GroupSpec,
        settle: impl Into<Instant>,
    ) -> Result<Reply<()>, AzureError> {
        let doing = format!("make placement group {}", spec.name);
        let call =
            self.placement_call(Operation::PutGroup, (Kind::PlacementGroup, &spec.name), place)?;
        let body = Some(Body::Written(group_body(spec).to_string().into()));
        self.put(&Call { doing, body, deadline: settle.into(), ..call }).await
    }

    /// Makes an availability set in a placement group, at once. The same spec sent twice is the
    /// same set, with the members that it has. Nothing is sent after `settle`.
    ///
    /// # Errors
    /// As [`Arm::put_placement_group`].
    pub async fn put_availability_set(
        &self,
        place: &Place,
        spec: &SetSpec,
        settle: impl Into<Instant>,
    ) -> Result<Reply<()>, AzureError> {
        let doing = format!("make availability set {}", spec.name);
        let call =
            self.placement_call(Operation::Put, (Kind::AvailabilitySet, &spec.name), place)?;
        let body = Some(Body::Written(set_body(spec).to_string().into()));
        self.put(&Call { doing, body, deadline: settle.into(), ..call }).await
    }

    /// How many VMs an availability set has, those that are being made or deleted included; `None`
    /// if Azure does not know it. A resource group that is gone is a refusal.
    ///
    /// # Errors
    /// No answer that can be used: nothing is known.
    pub async fn get_availability_set(
        &self,
        place: &Place,
        name: &str,
    ) -> Result<Reply<Option<usize>>, AzureError> {
        let doing = format!("read availability set {name}");
        let call = self.placement_call(Operation::Get, (Kind::AvailabilitySet, name), place)?;
        self.find(&Call { doing, ..call }, read::members).await
    }

    /// Deletes an availability set. One that is absent is deleted already; one with members is
    /// refused by Azure. Done is also what Azure has taken without saying how it ended: the next
    /// look decides.
    ///
    /// # Errors
    /// [`AzureError::Lost`]: it may have been deleted. All others: it was not.
    pub async fn delete_availability_set(
        &self,
        place: &Place,
        name: &str,
    ) -> Result<Reply<()>, AzureError> {
        let doing = format!("delete availability set {name}");
        let call = self.placement_call(Operation::Delete, (Kind::AvailabilitySet, name), place)?;
        self.delete(&Call { doing, ..call }).await
    }

    /// Deletes a placement group, as [`Arm::delete_availability_set`] does a set: one with a set or
    /// a VM in it is refused by Azure.
    ///
    /// # Errors
    /// As [`Arm::delete_availability_set`].
    pub async fn delete_placement_group(
        &self,
        place: &Place,
        name: &str,
    ) -> Result<Reply<()>, AzureError> {
        let doing = format!("delete placement group {name}");
        let call =
            self.placement_call(Operation::DeleteGroup, (Kind::PlacementGroup, name), place)?;
        self.delete(&Call { doing, ..call }).await
    }

    /// A call on a set or group that does not yet say what it is.
    fn placement_call(
        &self,
        operation: Operation,
        (kind, name): (Kind, &str),
        place: &Place,
    ) -> Result<Call, AzureError> {
        let ground = (place.subscription.as_str(), place.resource_group.as_str());
        let url = self.inner.routes.placement(kind, ground, name)?;
        Ok(call(operation, place, url, String::new()))
    }

    /// The operation that Azure names, if a token may go there.
    fn named_operation(&self, raw: &Raw) -> Started {
        let named = header::operation(&raw.headers);
        match named.filter(|url| self.inner.routes.given(url).is_ok()) {
            Some(url) => {
                let retry_after = header::retry_after(&raw.headers, SystemTime::now());
                Started::Operation { url, retry_after }
            }
            None => Started::Done,
        }
    }

    async fn put(&self, call: &Call) -> Result<Reply<()>, AzureError> {
        self.reply(call, |raw| match raw.status {
            200 | 201 => Ok(Ok(())),
            _ => Ok(Err(raw.refusal())),
        })
        .await
    }

    /// Deletes what is no VM; what is absent is deleted already.
    pub(crate) async fn delete(&self, call: &Call) -> Result<Reply<()>, AzureError> {
        let reply = self
            .reply(call, |raw| match raw.status {
                202 => Ok(Ok(self.named_operation(raw))),
                200 | 204 => Ok(Ok(Started::Done)),
                404 => {
                    let refusal = raw.refusal();
                    let code = refusal.code.as_str();
                    let is_gone = GONE_CODES.contains(&code) || code == GROUP_GONE_CODE;
                    Ok(if is_gone { Ok(Started::Done) } else { Err(refusal) })
                }
                _ => Ok(Err(raw.refusal())),
            })
            .await?;
        let ended = match &reply.answer {
            Answer::Done(Started::Operation { url, retry_after }) => {
                self.follow(url, *retry_after).await
            }
            Answer::Done(Started::Done) | Answer::Refused(_) => None,
        };
        let mut reply = reply.map(|_| ());
        if let Some(says) = ended {
            reply.request_id = says.request_id.clone().or(reply.request_id);
            reply.answer = Answer::Refused(refusal_of(says));
        }
        Ok(reply)
    }

    /// Follows a deletion that Azure took to its end: what it says if that is a bad one. An end
    /// that cannot be learned, or not in time, is none: whoever looks next sees what became of it.
    async fn follow(&self, url: &str, first: Option<Duration>) -> Option<AzureSays> {
        let until = Instant::now() + CALL_TIME_MAX;
        let mut pause = first;
        for _ in 0..POLLS_MAX {
            let wait = pause.unwrap_or(POLL_PAUSE);
            if Instant::now() + wait >= until {
                return None;
            }
            sleep(wait).await;
            pause = match self.poll(url).await.ok()?.answer {
                Answer::Done(OperationState::Running { retry_after }) => retry_after,
                Answer::Done(OperationState::Failed(says)) => return Some(says),
                Answer::Done(OperationState::Canceled) => {
                    let (code, text) = ("Canceled".to_owned(), "somebody ended it".to_owned());
                    return Some(AzureSays { code, text, request_id: None });
                }
                Answer::Done(OperationState::Succeeded | OperationState::Lost)
                | Answer::Refused(_) => return None,
            };
        }
        None
    }
}

/// A no that came after Azure had taken the request; its status is the one that took it.
fn refusal_of(says: AzureSays) -> Refusal {
    Refusal {
        status: 202,
        outer_code: says.code.clone(),
        code: says.code,
        text: says.text,
        target: None,
        retry_after: None,
    }
}
