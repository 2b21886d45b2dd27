//! What a call gives back.

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_core::attempt::AzureSays;

use crate::refusal::one_line;

/// An answer of Azure with what came beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<T> {
    /// The answer.
    pub answer: Answer<T>,
    /// `x-ms-request-id`, else `x-ms-correlation-request-id`: what Azure's support asks for.
    pub request_id: Option<String>,
    /// `x-ms-correlation-request-id`: the same for all that one request caused.
    pub correlation_id: Option<String>,
    /// What is left of the rate limits.
    pub limits: RateLimits,
}

impl<T> Reply<T> {
    /// The same reply with another meaning of "done".
    pub(crate) fn map<U>(self, done: impl FnOnce(T) -> U) -> Reply<U> {
        let answer = match self.answer {
            Answer::Done(value) => Answer::Done(done(value)),
            Answer::Refused(refusal) => Answer::Refused(refusal),
        };
        Reply {
            answer,
            request_id: self.request_id,
            correlation_id: self.correlation_id,
            limits: self.limits,
        }
    }
}

/// Done, or refused with a reason. Both are expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<T> {
    /// Azure did it, or tells what was asked.
    Done(T),
    /// Azure says no, and nothing was done.
    Refused(Refusal),
}

/// Azure's no. The status decides first, then the innermost code, then the text (FACTS §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The innermost error code; empty if the body had none.
    pub code: String,
    /// The outermost error code; the same as `code` if nothing is nested.
    pub outer_code: String,
    /// The message beside the innermost code, in one line, cut to [`crate::TEXT_LENGTH_MAX`]
    /// characters.
    pub text: String,
    /// `target` of the innermost error that has one.
    pub target: Option<String>,
    /// How long Azure wants us to wait.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// As the ledger keeps it. A member of the request that Azure means stands behind the text
    /// where the text does not name it: for a person, and because it can decide what the code
    /// means. (A number is only a place in a list.)
    pub fn says(&self, request_id: Option<String>) -> AzureSays {
        let is_a_name = |target: &&String| target.starts_with(char::is_alphabetic);
        let text = match self.target.as_ref().filter(is_a_name) {
            Some(target) if !self.text.contains(target.as_str()) => {
                one_line(&format!("{} ({target})", self.text))
            }
            Some(_) | None => self.text.clone(),
        };
        AzureSays { code: self.code.clone(), text, request_id }
    }

    /// Whether Azure wants us to come later: it decides by the status, because compute's 429 has
    /// the code of a quota (FACTS §3.2).
    pub fn is_throttled(&self) -> bool {
        self.status == 429
    }
}

/// What is left of Azure's rate limits after an answer, under Azure's own names (they change): from
/// `x-ms-ratelimit-remaining-subscription-writes: 199` as `subscription-writes`, from
/// `x-ms-ratelimit-remaining-resource: Microsoft.Compute/PutVM3Min;297` as
/// `Microsoft.Compute/PutVM3Min`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// Calls left, by name.
    pub remaining: BTreeMap<String, i64>,
    /// `x-ms-request-charge`: what this call cost, where it cost more than one.
    pub charge: Option<i64>,
}

/// How a write began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It is done already.
    Done,
    /// It goes on; [`crate::Arm::poll`] follows it.
    Operation {
        /// The URL to poll, opaque, up to 4 KB. Kept and sent back unchanged.
        url: String,
        /// When to poll for the first time.
        retry_after: Option<Duration>,
    },
}

/// What one poll of an operation told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    /// It goes on.
    Running {
        /// When to poll again; 10 s is safe if Azure does not say (FACTS §2).
        retry_after: Option<Duration>,
    },
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed(AzureSays),
    /// Somebody ended it.
    Canceled,
    /// Azure does not know it (any more): the resource itself must be asked.
    Lost,
}

/// A list that was read page by page.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing<T> {
    /// The rows that could be read.
    pub items: Vec<T>,
    /// Whether every page was read. **Where it is false, absence from `items` says nothing.**
    pub complete: bool,
    /// Why it is not complete.
    pub incomplete_because: Option<String>,
    /// Azure's no, if that is the reason.
    pub refusal: Option<Refusal>,
    /// Rows that could not be read.
    pub odd: usize,
    /// What is wrong with the first few of them.
    pub odd_because: Vec<String>,
    /// Pages read.
    pub pages: u32,
    /// `x-ms-request-id` of the last page.
    pub request_id: Option<String>,
}

impl<T> Listing<T> {
    /// Nothing, and all of it.
    pub(crate) fn empty() -> Self {
        Listing {
            items: Vec::new(),
            complete: true,
            incomplete_because: None,
            refusal: None,
            odd: 0,
            odd_because: Vec::new(),
            pages: 0,
            request_id: None,
        }
    }
}

/// How many requests were sent to Resource Manager and Resource Graph, by method; repeated ones
/// count again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// PUT: VMs made.
    pub put: u64,
    /// GET: VMs, lists, polls.
    pub get: u64,
    /// DELETE.
    pub delete: u64,
    /// POST: Resource Graph.
    pub post: u64,
}

impl Calls {
    /// All of them.
    pub fn total(self) -> u64 {
        self.put + self.get + self.delete + self.post
    }
}

impl std::ops::Add for Calls {
    type Output = Calls;

    fn add(self, other: Calls) -> Calls {
        Calls {
            put: self.put + other.put,
            get: self.get + other.get,
            delete: self.delete + other.delete,
            post: self.post + other.post,
        }
    }
}
