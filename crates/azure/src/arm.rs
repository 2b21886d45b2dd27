//! One credential's door to Azure: the calls on VMs and their operations. Lists are in
//! `list.rs`, what VMs share in `placement.rs`, sizes and quotas in `facts.rs`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azslurm_core::VmName;
use azslurm_core::attempt::{AttemptPlace, AzureSays};
use azslurm_core::block::Block;
use azslurm_core::config::{Cloud, Credential, Limits, Region, Site};
use azure_core::credentials::TokenCredential;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use crate::body::VmDraft;
use crate::bucket::{Bucket, Buckets, Operation};
use crate::client::{BODY_LENGTH_MAX, Body, Call, Client, Ended, SentMark};
use crate::credential::{Configured, Source};
use crate::gate::{Closure, Hunger};
use crate::read::{Standing, standing};
use crate::refusal::one_line;
use crate::route::{self, Routes};
use crate::token::Tokens;
use crate::wire::{Raw, Wire};
use crate::{
    Answer, AzureError, Calls, OperationState, RateLimits, Refusal, Reply, Started, Vm, header,
    read, transport,
};

/// The longest that one call takes, with all waits and tries, where the caller names no moment:
/// five requests of a minute each, or the time that a thousand deletions need to pass Azure's
/// limits (FACTS §3.4).
pub(crate) const CALL_TIME_MAX: Duration = Duration::from_secs(300);
/// A poll is not repeated: the next poll is the repetition.
const POLL_TRIES_MAX: u32 = 1;
/// A poll waits at most this long for its turn.
const POLL_TIME_MAX: Duration = Duration::from_secs(60);
/// Codes of "this VM does not exist" (FACTS §1.2): Resource Manager's and compute's.
pub(crate) const GONE_CODES: [&str; 2] = ["ResourceNotFound", "NotFound"];
/// A VM whose resource group is gone is gone as well.
pub(crate) const GROUP_GONE_CODE: &str = "ResourceGroupNotFound";

/// Where VMs are: subscription and resource group, and the region if it is known: compute counts
/// calls per region (FACTS §3.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Subscription id.
    pub subscription: String,
    /// Resource group.
    pub resource_group: String,
    /// Region of the VMs.
    pub region: Option<Region>,
}

impl From<&AttemptPlace> for Place {
    fn from(place: &AttemptPlace) -> Place {
        Place {
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region: Some(place.region.clone()),
        }
    }
}

impl From<&Block> for Place {
    fn from(block: &Block) -> Place {
        Place {
            subscription: block.subscription.clone(),
            resource_group: block.resource_group.clone(),
            region: Some(block.region.clone()),
        }
    }
}

impl From<&Site> for Place {
    fn from(site: &Site) -> Place {
        Place {
            subscription: site.subscription.clone(),
            resource_group: site.resource_group.clone(),
            region: Some(site.region.clone()),
        }
    }
}

/// One credential's door to Azure. Cheap to clone; all clones share connections, token, gates and
/// counters. It needs a tokio runtime with I/O and time, of one thread or more; futures may be
/// dropped at any moment.
#[derive(Debug, Clone)]
pub struct Arm {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub routes: Routes,
    pub client: Client,
}

impl Arm {
    /// Reads the CA bundle and checks the endpoints; nothing is sent, and no secret is read before
    /// it is used.
    ///
    /// # Errors
    /// [`AzureError::Config`].
    pub fn new(cloud: &Cloud, credential: &Credential, limits: &Limits) -> Result<Arm, AzureError> {
        let routes = Routes::new(&cloud.endpoints)?;
        let clients = transport::clients(cloud, &routes, limits)?;
        let source = Source::Config(Box::new(Configured {
            credential: credential.clone(),
            authority: is_of_authority(credential)
                .then(|| route::authority(&cloud.endpoints.authority))
                .transpose()?,
            imds: matches!(credential, Credential::ManagedIdentity(_))
                .then(|| route::imds(&cloud.endpoints.imds))
                .transpose()?,
            clients: clients.clone(),
        }));
        let tokens = Tokens::new(source, &cloud.endpoints.audience);
        Ok(Arm::of(routes, Client::new(Arc::new(clients.azure), tokens, limits)))
    }

    /// Over another wire, as whoever `credential` is.
    ///
    /// # Errors
    /// [`AzureError::Config`].
    pub fn over(
        wire: Arc<dyn Wire>,
        credential: Arc<dyn TokenCredential>,
        cloud: &Cloud,
        limits: &Limits,
    ) -> Result<Arm, AzureError> {
        let routes = Routes::new(&cloud.endpoints)?;
        let tokens = Tokens::new(Source::Made(credential), &cloud.endpoints.audience);
        Ok(Arm::of(routes, Client::new(wire, tokens, limits)))
    }

    fn of(routes: Routes, client: Client) -> Arm {
        Arm { inner: Arc::new(Inner { routes, client }) }
    }

    /// Asks for a VM. The same body sent twice is the same VM. Nothing is sent after `settle` (a
    /// `std` or a `tokio` instant), so that a PUT of this call cannot arrive long after it. `mark`
    /// is set while it may have been made.
    ///
    /// # Errors
    /// [`AzureError::Lost`]: it may have been made, although no answer says so. All others: it was
    /// not.
    pub async fn put_vm(
        &self,
        place: &Place,
        draft: impl Into<VmDraft>,
        settle: impl Into<Instant>,
        mark: &SentMark,
    ) -> Result<Reply<Started>, AzureError> {
        let draft = draft.into();
        let url = self.vm_url(place, draft.vm())?;
        let doing = format!("make VM {}", draft.vm());
        let call = Call {
            mark: mark.clone(),
            body: Some(Body::Draft(draft)),
            deadline: settle.into(),
            ..call(Operation::Put, place, url, doing)
        };
        self.reply(&call, |raw| match raw.status {
            200..=202 => Ok(Ok(self.started(&call, raw))),
            _ => Ok(Err(raw.refusal())),
        })
        .await
    }

    /// A VM with its instance view; `None` if Azure does not know it. A resource group that is gone
    /// is a refusal.
    ///
    /// # Errors
    /// No answer that can be used: nothing is known.
    pub async fn get_vm(
        &self,
        place: &Place,
        vm: &VmName,
    ) -> Result<Reply<Option<Vm>>, AzureError> {
        let mut url = self.vm_url(place, vm)?;
        url.query_pairs_mut().append_pair("$expand", "instanceView");
        let call = call(Operation::Get, place, url, format!("read VM {vm}"));
        self.find(&call, read::vm).await
    }

    /// Asks for a VM's deletion; `force` skips its shutdown. One that is absent is deleted already.
    ///
    /// # Errors
    /// [`AzureError::Lost`]: it may have been asked for. All others: it was not.
    pub async fn delete_vm(
        &self,
        place: &Place,
        vm: &VmName,
        force: bool,
    ) -> Result<Reply<Started>, AzureError> {
        let mut url = self.vm_url(place, vm)?;
        if force {
            url.query_pairs_mut().append_pair("forceDeletion", "true");
        }
        let call = call(Operation::Delete, place, url, format!("delete VM {vm}"));
        self.reply(&call, |raw| match raw.status {
            200 | 202 => Ok(Ok(self.started(&call, raw))),
            204 => Ok(Ok(Started::Done)),
            404 => {
                let refusal = raw.refusal();
                let code = refusal.code.as_str();
                let is_gone = GONE_CODES.contains(&code) || code == GROUP_GONE_CODE;
                Ok(if is_gone { Ok(Started::Done) } else { Err(refusal) })
            }
            _ => Ok(Err(raw.refusal())),
        })
        .await
    }

    /// Asks once how an operation stands. While Azure is busy or broken it is running, as far as
    /// anybody knows: only a terminal status ends it (FACTS §2).
    ///
    /// # Errors
    /// No answer that can be used, or a URL of another host (no token goes there): ask for the VM
    /// itself.
    pub async fn poll(&self, operation: &str) -> Result<Reply<OperationState>, AzureError> {
        let url = self.inner.routes.given(operation)?;
        let shown = route::shown(operation).to_owned();
        let call = Call {
            deadline: Instant::now() + POLL_TIME_MAX,
            tries_max: POLL_TRIES_MAX,
            ..call(Operation::Poll, &place_in(&url), url, format!("follow operation {shown}"))
        };
        let mut reply = self.reply(&call, |raw| Ok(poll_state(&call, raw))).await?;
        if let Answer::Refused(refusal) = &reply.answer
            && refusal.is_throttled()
        {
            reply.answer =
                Answer::Done(OperationState::Running { retry_after: refusal.retry_after });
        }
        Ok(reply)
    }

    /// Requests sent so far.
    pub fn calls(&self) -> Calls {
        self.inner.client.calls()
    }

    /// The buckets that Azure has closed with a 429, for the other programs.
    pub fn closures(&self) -> Vec<Closure> {
        self.inner.client.gates().closures()
    }

    /// Sends nothing into a bucket that Azure has closed for another program.
    pub fn close(&self, closure: &Closure) {
        self.inner.client.gates().close(closure);
    }

    /// From now on writes, deletes and reads are sent only against tokens that were granted; `bell`
    /// is rung when a call lacks one ([`Arm::hungry`]). A call whose deadline comes before its
    /// token ends with [`AzureError::NoTurn`].
    pub fn meter(&self, bell: &Arc<Notify>) {
        self.inner.client.gates().meter(bell);
    }

    /// Ends the metering that began with this bell: calls need no tokens any more.
    pub fn unmeter(&self, bell: &Arc<Notify>) {
        self.inner.client.gates().unmeter(bell);
    }

    /// The buckets for whose tokens calls wait.
    pub fn hungry(&self) -> Vec<Hunger> {
        self.inner.client.gates().hungry()
    }

    /// Lets so many calls through.
    pub fn grant(&self, bucket: &Bucket, tokens: u64) {
        self.inner.client.gates().grant(bucket, tokens);
    }

    /// Takes back all tokens that were granted and not used.
    pub fn unused(&self) -> Vec<(Bucket, u64)> {
        self.inner.client.gates().unused()
    }

    fn vm_url(&self, place: &Place, vm: &VmName) -> Result<Url, AzureError> {
        self.inner.routes.vm(&place.subscription, &place.resource_group, vm.as_str())
    }

    /// Sends a GET of one resource and reads it with `read`; `None` if Azure does not know it.
    pub(crate) async fn find<T>(
        &self,
        call: &Call,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Reply<Option<T>>, AzureError> {
        self.find_unless(&GONE_CODES, call, read).await
    }

    /// As [`Arm::find`]: a 404 with one of the codes `absent` says that there is none.
    pub(crate) async fn find_unless<T>(
        &self,
        absent: &[&str],
        call: &Call,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Reply<Option<T>>, AzureError> {
        self.reply(call, |raw| match raw.status {
            200 => {
                let found = read(&json(call, raw)?);
                Ok(Ok(Some(found.map_err(|text| unreadable(call, raw, text))?)))
            }
            404 => {
                let refusal = raw.refusal();
                let is_absent = absent.contains(&refusal.code.as_str());
                Ok(if is_absent { Ok(None) } else { Err(refusal) })
            }
            _ => Ok(Err(raw.refusal())),
        })
        .await
    }

    /// Sends a call and reads its answer with `read`: done, refused, or not to be read.
    pub(crate) async fn reply<T>(
        &self,
        call: &Call,
        read: impl FnOnce(&Raw) -> Result<Result<T, Refusal>, AzureError>,
    ) -> Result<Reply<T>, AzureError> {
        let raw = match self.inner.client.send(call).await? {
            Ended::Answer(raw) => raw,
            Ended::Shut(refusal) => {
                return Ok(Reply {
                    answer: Answer::Refused(refusal),
                    request_id: None,
                    correlation_id: None,
                    limits: RateLimits::default(),
                });
            }
        };
        let answer = match read(&raw)? {
            Ok(done) => Answer::Done(done),
            Err(refusal) => Answer::Refused(refusal),
        };
        Ok(Reply {
            answer,
            request_id: header::request_id(&raw.headers),
            correlation_id: header::correlation_id(&raw.headers),
            limits: header::rate_limits(&raw.headers),
        })
    }

    /// How a write that was taken goes on. Where Azure names no operation, or one on a host that
    /// gets no token, the VM itself is followed unless it is done.
    fn started(&self, call: &Call, raw: &Raw) -> Started {
        let retry_after = header::retry_after(&raw.headers, SystemTime::now());
        let named = header::operation(&raw.headers);
        if let Some(url) = named.filter(|url| self.inner.routes.is_given(url)) {
            return Started::Operation { url, retry_after };
        }
        let value: Value = serde_json::from_slice(&raw.body).unwrap_or_default();
        let is_done = match standing(&value) {
            Some(Standing::Succeeded) => true,
            Some(Standing::Running | Standing::Failed(..) | Standing::Canceled) => false,
            None => raw.status != 202,
        };
        if is_done {
            return Started::Done;
        }
        Started::Operation { url: call.url.to_string(), retry_after }
    }
}

/// What one poll tells. `Location` answers 202 until it is done, `Azure-AsyncOperation` always 200
/// with a status.
fn poll_state(call: &Call, raw: &Raw) -> Result<OperationState, Refusal> {
    let retry_after = header::retry_after(&raw.headers, SystemTime::now());
    let running = OperationState::Running { retry_after };
    match raw.status {
        200 | 201 => {
            let value: Value = match serde_json::from_slice(&raw.body) {
                Ok(value) => value,
                Err(_) if raw.body.is_empty() => return Ok(OperationState::Succeeded),
                Err(_) => {
                    tracing::warn!(doing = call.doing, "a poll's answer cannot be read");
                    return Ok(running);
                }
            };
            Ok(match standing(&value) {
                Some(Standing::Running) => running,
                Some(Standing::Succeeded) | None => OperationState::Succeeded,
                Some(Standing::Canceled) => OperationState::Canceled,
                Some(Standing::Failed(code, text)) => OperationState::Failed(AzureSays {
                    code,
                    text,
                    request_id: header::request_id(&raw.headers),
                }),
            })
        }
        202 => Ok(running),
        204 => Ok(OperationState::Succeeded),
        404 => Ok(OperationState::Lost),
        408 | 429 | 500..=599 => {
            Ok(OperationState::Running { retry_after: raw.refusal().retry_after })
        }
        _ => Err(raw.refusal()),
    }
}

fn is_of_authority(credential: &Credential) -> bool {
    match credential {
        Credential::ManagedIdentity(_) | Credential::AzureCli => false,
        Credential::ClientSecret { .. }
        | Credential::ClientCertificate { .. }
        | Credential::WorkloadIdentity { .. } => true,
    }
}

/// A call in a place, with the longest time and all tries.
pub(crate) fn call(operation: Operation, place: &Place, url: Url, doing: String) -> Call {
    let region = place.region.as_ref().map_or("", Region::as_str);
    Call {
        doing,
        operation,
        buckets: Buckets::of(operation, &place.subscription, region),
        url,
        body: None,
        deadline: Instant::now() + CALL_TIME_MAX,
        tries_max: u32::MAX,
        body_length_max: BODY_LENGTH_MAX,
        mark: SentMark::default(),
    }
}

/// The subscription and the region that a URL of Azure's own names, for its buckets.
fn place_in(url: &Url) -> Place {
    let after = |name: &str| {
        let mut parts = url.path().split('/').skip_while(|part| !part.eq_ignore_ascii_case(name));
        parts.nth(1).unwrap_or_default()
    };
    Place {
        subscription: after("subscriptions").to_owned(),
        resource_group: String::new(),
        region: Region::new(after("locations")),
    }
}

/// The body of a success.
pub(crate) fn json(call: &Call, raw: &Raw) -> Result<Value, AzureError> {
    serde_json::from_slice(&raw.body)
        .map_err(|error| unreadable_json(call, raw, &error.to_string()))
}

pub(crate) fn unreadable_json(call: &Call, raw: &Raw, error: &str) -> AzureError {
    let body = String::from_utf8_lossy(&raw.body);
    let begin: String = one_line(&body).chars().take(100).collect();
    unreadable(call, raw, format!("{error}; it begins with {begin:?}"))
}

pub(crate) fn unreadable(call: &Call, raw: &Raw, text: String) -> AzureError {
    AzureError::Body {
        doing: call.doing.clone(),
        text,
        request_id: header::request_id(&raw.headers),
    }
}
