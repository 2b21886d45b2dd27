//! The only place that sends to Azure. It decides when a request is sent again, never what is
//! asked.
//!
//! | answer | what follows |
//! | --- | --- |
//! | no connection | again after a pause; nothing was sent |
//! | connection lost, timeout, 408, 5xx | again after a pause: a repeated request is the same |
//! | 429 | the bucket that it is about is closed until Azure's time; then again |
//! | 429 of one VM's own limit | again at Azure's time |
//! | 429 of a dependency that is not ready | again after a pause |
//! | 401 | once more with a new token |
//! | anything else, redirects too | the caller's |
//!
//! All within the call's deadline, and all but the throttled ones within `limits.tries`. If a write
//! was sent and the end is no plain answer to it, the end is `Lost` and says that it may have been
//! done.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use azslurm_core::config::Limits;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use url::Url;

use crate::body::VmDraft;
use crate::bucket::{Buckets, Limited, Operation};
use crate::error::{Cause, because};
use crate::gate::{Gates, Pass, Shut};
use crate::random::{fraction, uuid};
use crate::token::{Bearer, Tokens};
use crate::wire::{Carried, Raw, Wire};
use crate::{AzureError, Calls, Refusal, header, route};

/// The first pause before a request is sent again; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause that we choose ourselves.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// A 429 that says nothing of its time closes its bucket for this long (the same as the pause
/// between polls).
const CLOSURE_DEFAULT: Duration = Duration::from_secs(10);
/// A closure is never shorter: with `Retry-After: 0` the same few would come again and again.
const CLOSURE_MIN: Duration = Duration::from_secs(1);
/// How often one call is throttled at most. A 429 is Azure's way to say "later" and no fault, so it
/// does not count as a try; in a thousand calls against a bucket of 10 per second the unluckiest
/// has six (`gate.rs`).
const THROTTLED_MAX: u32 = 50;
/// The longest body that is read, unless a call says otherwise: a page of 1000 rows is below 2 MB.
pub const BODY_LENGTH_MAX: usize = 32 * 1024 * 1024;
/// The network's 429 that are no throttle: something that the request needs is not ready (FACTS
/// §3.2).
const DEPENDENCY_CODES: [&str; 3] =
    ["RetryableError", "RetryableErrorDueToAnotherOperation", "ReferencedResourceNotProvisioned"];

/// Sends. One for each [`crate::Arm`].
pub struct Client {
    wire: Arc<dyn Wire>,
    tokens: Tokens,
    gates: Gates,
    in_flight: Semaphore,
    request_time_max: Duration,
    tries_max: u32,
    sent: Sent,
}

#[derive(Default)]
struct Sent {
    put: AtomicU64,
    get: AtomicU64,
    delete: AtomicU64,
    post: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

/// What a request sends.
#[derive(Debug, Clone)]
pub enum Body {
    /// A text.
    Written(Bytes),
    /// A VM's, written when the request has its turn.
    Draft(VmDraft),
}

impl Body {
    fn text(&self) -> Bytes {
        match self {
            Body::Written(text) => text.clone(),
            Body::Draft(draft) => draft.text(),
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it is, to what: "make VM n1-0abcdefg".
    pub doing: String,
    /// What it is.
    pub operation: Operation,
    /// Where it counts.
    pub buckets: Buckets,
    /// Where it goes. Its host has been checked: a token goes there.
    pub url: Url,
    /// JSON.
    pub body: Option<Body>,
    /// It is not sent after this, and not waited for.
    pub deadline: Instant,
    /// How often it is sent at most, if that is less than `limits.tries`.
    pub tries_max: u32,
    /// The longest answer that is read, in bytes.
    pub body_length_max: usize,
    /// Set while it may have been carried out.
    pub mark: SentMark,
}

/// Tells whether a call was sent and may have been carried out, also when its future was dropped:
/// what was not sent, or was answered with a throttle, cannot be any more. By it a call is also
/// stopped.
#[derive(Debug, Clone, Default)]
pub struct SentMark(Arc<Mark>);

#[derive(Debug, Default)]
struct Mark {
    may_be_done: watch::Sender<bool>,
    is_stopped: AtomicBool,
}

impl SentMark {
    /// Waits until it cannot have been carried out, as far as is known then.
    pub async fn is_clear(&self) {
        let mut news = self.0.may_be_done.subscribe();
        // The sender lives as long as this mark.
        let _never_closed = news.wait_for(|is_set| !is_set).await;
    }

    /// Nothing more is sent: a try that is under way is waited for, and is the last.
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::Relaxed)
    }

    fn set(&self, is_set: bool) {
        self.0.may_be_done.send_replace(is_set);
    }
}

impl Call {
    fn method(&self) -> Method {
        match self.operation {
            Operation::Put | Operation::PutGroup => Method::PUT,
            Operation::Delete | Operation::DeleteGroup | Operation::DeletePart => Method::DELETE,
            Operation::Get
            | Operation::List
            | Operation::ListNetwork
            | Operation::Poll
            | Operation::ReadLog
            | Operation::Look => Method::GET,
            Operation::Query => Method::POST,
        }
    }

    /// Whether it changes something in Azure.
    fn is_write(&self) -> bool {
        match self.operation {
            Operation::Put
            | Operation::PutGroup
            | Operation::Delete
            | Operation::DeleteGroup
            | Operation::DeletePart => true,
            Operation::Get
            | Operation::List
            | Operation::ListNetwork
            | Operation::Poll
            | Operation::Query
            | Operation::ReadLog
            | Operation::Look => false,
        }
    }

    fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }
}

/// How a call ended.
#[derive(Debug)]
pub enum Ended {
    /// With an answer of Azure.
    Answer(Raw),
    /// Its bucket is closed for longer than the call may take: what Azure said when it closed.
    Shut(Refusal),
}

/// What is known of a call between its tries.
#[derive(Default)]
struct Story {
    tries: u32,
    throttled: u32,
    has_new_token: bool,
    /// A try that was sent and not plainly answered.
    unsettled: Option<Cause>,
}

/// What to do after a try.
enum Next {
    Again(Option<Duration>),
    End,
}

impl Client {
    /// A client over connections that exist; nothing is sent.
    pub fn new(wire: Arc<dyn Wire>, tokens: Tokens, limits: &Limits) -> Client {
        Client {
            wire,
            tokens,
            gates: Gates::new(limits.requests_in_flight),
            in_flight: Semaphore::new(limits.requests_in_flight.max(1)),
            request_time_max: limits.request_timeout,
            tries_max: limits.tries.max(1),
            sent: Sent::default(),
        }
    }

    /// How much was sent.
    pub fn calls(&self) -> Calls {
        Calls {
            put: self.sent.put.load(Ordering::Relaxed),
            get: self.sent.get.load(Ordering::Relaxed),
            delete: self.sent.delete.load(Ordering::Relaxed),
            post: self.sent.post.load(Ordering::Relaxed),
        }
    }

    /// Gets a token, if there is none that is good.
    pub async fn token(&self, deadline: Instant) -> Result<(), AzureError> {
        self.tokens.get(deadline).await.map(drop)
    }

    /// Who may send.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Sends a call until it is answered, its tries are used up or its time is over.
    pub async fn send(&self, call: &Call) -> Result<Ended, AzureError> {
        let mut story = Story::default();
        loop {
            let bearer = match self.tokens.get(call.deadline).await {
                Ok(bearer) => bearer,
                Err(error) => return Err(story.without_token(call, error)),
            };
            let pass =
                match self.gates.enter(&call.buckets, story.throttled > 0, call.deadline).await {
                    Ok(pass) => pass,
                    Err(shut) => return story.shut_out(call, shut),
                };
            let Ok(permit) = timeout_at(call.deadline, self.in_flight.acquire()).await else {
                return story.shut_out(call, Shut::Late);
            };
            if call.mark.is_stopped() {
                pass.unused();
                return story.shut_out(call, Shut::Late);
            }
            if !pass.is_open() {
                // Azure has closed a bucket while this call waited for its place.
                pass.unused();
                continue;
            }
            let tried = self.try_once(call, &bearer).await;
            drop(permit);
            let next = self.next(call, &mut story, (&tried, &pass, &bearer)).await;
            drop(pass);
            if matches!(next, Next::Again(_)) && story.unsettled.is_none() {
                call.mark.set(false);
            }
            match next {
                Next::Again(None) => {}
                Next::Again(Some(pause)) if Instant::now() + pause < call.deadline => {
                    sleep_until(Instant::now() + pause).await;
                }
                Next::Again(Some(_)) | Next::End => return story.end(call, tried),
            }
        }
    }

    async fn next(
        &self,
        call: &Call,
        story: &mut Story,
        (tried, pass, bearer): (&Carried, &Pass<'_>, &Bearer),
    ) -> Next {
        let raw = match tried {
            Carried::Answer(raw) => raw,
            Carried::NotSent(_) => return story.pause(self.tries_max(call), None),
            Carried::Lost(cause) => {
                story.unsettled = Some(Arc::clone(cause));
                return story.pause(self.tries_max(call), None);
            }
        };
        if raw.status != 429 {
            pass.let_through(&header::rate_limits(&raw.headers));
        }
        match raw.status {
            401 if !story.has_new_token => {
                story.has_new_token = true;
                self.tokens.refuse(bearer.number).await;
                Next::Again(None)
            }
            429 => story.throttled(self.tries_max(call), &raw.refusal(), pass),
            408 | 500..=599 => {
                let refusal = raw.refusal();
                story.unsettled =
                    Some(because(format!("Azure answered {} {}", raw.status, refusal.code)));
                story.pause(self.tries_max(call), refusal.retry_after)
            }
            _ => Next::End,
        }
    }

    fn tries_max(&self, call: &Call) -> u32 {
        self.tries_max.min(call.tries_max)
    }

    async fn try_once(&self, call: &Call, bearer: &Bearer) -> Carried {
        let begun = Instant::now();
        let left = call.deadline.saturating_duration_since(begun);
        if left.is_zero() {
            return Carried::NotSent(because("its time was over"));
        }
        let id = uuid();
        let mut request = Request::new(call.method(), call.url.clone());
        *request.timeout_mut() = Some(left.min(self.request_time_max));
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, bearer.header.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert("x-ms-client-request-id", HeaderValue::from_str(&id).expect("ASCII"));
        if let Some(body) = &call.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.text().into());
        }
        self.count(call);
        call.mark.set(true);
        let tried = self.wire.carry(request, call.body_length_max).await;
        log(call, &tried, &id, begun.elapsed());
        tried
    }

    fn count(&self, call: &Call) {
        let counter = match call.operation {
            Operation::Put | Operation::PutGroup => &self.sent.put,
            Operation::Delete | Operation::DeleteGroup | Operation::DeletePart => &self.sent.delete,
            Operation::Get
            | Operation::List
            | Operation::ListNetwork
            | Operation::Poll
            | Operation::ReadLog
            | Operation::Look => &self.sent.get,
            Operation::Query => &self.sent.post,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// `id` is our `x-ms-client-request-id`.
fn log(call: &Call, tried: &Carried, id: &str, took: Duration) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let method = call.method();
    let (url, millis) = (route::shown(call.url.as_str()), took.as_millis());
    match tried {
        Carried::Answer(raw) => {
            let request_id = header::request_id(&raw.headers).unwrap_or_default();
            let status = raw.status;
            tracing::debug!(%method, url, status, request_id, id, millis, "azure answered");
        }
        Carried::NotSent(cause) | Carried::Lost(cause) => {
            let error = chain(cause);
            tracing::debug!(%method, url, error, id, millis, "azure did not answer");
        }
    }
}

fn chain(cause: &Cause) -> String {
    let mut text = cause.to_string();
    let mut next = std::error::Error::source(cause.as_ref());
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

impl Story {
    fn pause(&mut self, tries_max: u32, wanted: Option<Duration>) -> Next {
        self.tries += 1;
        if self.tries >= tries_max {
            return Next::End;
        }
        let doubled = PAUSE_FIRST * 2u32.saturating_pow((self.tries - 1).min(16));
        // A quarter more or less, so that those who failed together do not come again together.
        let own = doubled.min(PAUSE_MAX).mul_f64(0.75 + fraction() / 2.0);
        Next::Again(Some(own.max(wanted.unwrap_or_default())))
    }

    fn throttled(&mut self, tries_max: u32, refusal: &Refusal, pass: &Pass<'_>) -> Next {
        if DEPENDENCY_CODES.contains(&refusal.code.as_str()) {
            return self.pause(tries_max, refusal.retry_after);
        }
        let wait = refusal.retry_after.unwrap_or(CLOSURE_DEFAULT).max(CLOSURE_MIN);
        let limited = pass.throttled(refusal, wait);
        self.throttled += 1;
        if self.throttled >= THROTTLED_MAX || tries_max == 1 {
            return Next::End;
        }
        match limited {
            Limited::Door | Limited::Provider => Next::Again(None),
            Limited::Vm => Next::Again(Some(wait)),
        }
    }

    /// The end of a call whose last try is `tried`.
    fn end(self, call: &Call, tried: Carried) -> Result<Ended, AzureError> {
        match tried {
            Carried::Answer(raw) if !call.is_write() || is_settled(call, &raw, &self) => {
                Ok(Ended::Answer(raw))
            }
            Carried::Answer(raw) => {
                let request_id = header::request_id(&raw.headers);
                Err(self.lost(call, Some(raw.refusal()), request_id))
            }
            Carried::NotSent(why) if self.unsettled.is_none() => {
                Err(AzureError::Unreachable { doing: call.doing.clone(), host: call.host(), why })
            }
            Carried::NotSent(_) | Carried::Lost(_) => Err(self.lost(call, None, None)),
        }
    }

    /// The gate did not open in time.
    fn shut_out(self, call: &Call, shut: Shut) -> Result<Ended, AzureError> {
        let is_settled = !call.is_write() || self.unsettled.is_none();
        match shut {
            Shut::Throttled(refusal) if is_settled => Ok(Ended::Shut(refusal)),
            Shut::Throttled(refusal) => Err(self.lost(call, Some(refusal), None)),
            Shut::Late if self.unsettled.is_none() => {
                Err(AzureError::NoTurn { doing: call.doing.clone() })
            }
            Shut::Late => Err(self.lost(call, None, None)),
        }
    }

    /// A token that fails after a try was sent does not unsend it.
    fn without_token(self, call: &Call, error: AzureError) -> AzureError {
        if call.is_write() && self.unsettled.is_some() {
            return self.lost(call, None, None);
        }
        error
    }

    fn lost(self, call: &Call, says: Option<Refusal>, request_id: Option<String>) -> AzureError {
        AzureError::Lost {
            doing: call.doing.clone(),
            request_id,
            says: says.map(Box::new),
            why: self.unsettled.unwrap_or_else(|| because("no answer settled it")),
        }
    }
}

/// Whether an answer says what became of a write: a success does, and so does a no if nothing was
/// sent before it that may have been done. That a VM is absent settles its deletion.
fn is_settled(call: &Call, raw: &Raw, story: &Story) -> bool {
    let is_delete = call.method() == Method::DELETE;
    let is_gone = raw.status == 404 && is_delete;
    (200..300).contains(&raw.status) || is_gone || story.unsettled.is_none()
}
