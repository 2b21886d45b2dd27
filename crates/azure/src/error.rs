//! What can go wrong between us and Azure. What Azure *says* (refused, gone, throttled) is an
//! answer and no error.

use std::error::Error;
use std::sync::Arc;

use crate::Refusal;

/// The cause of an error, shared: a token's failure is told to everybody who waited for it.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// A call that brought no answer which could be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AzureError {
    /// There is no token: it was refused (`status` is there) or its source could not be reached or
    /// read. Nothing was sent to Resource Manager.
    #[error("no token for Azure by {credential}: {text}")]
    Token {
        /// The kind of credential, in the words of the config.
        credential: &'static str,
        /// HTTP status of the refusal, if it came so far.
        status: Option<u16>,
        /// What the authority or the file system said, without secrets.
        text: String,
    },
    /// Nothing was sent: no connection, or no time was left to begin.
    #[error("cannot {doing}: no connection to {host}, and nothing was sent")]
    Unreachable {
        /// What we were doing, to what.
        doing: String,
        /// The host that was wanted.
        host: String,
        /// Why.
        #[source]
        why: Cause,
    },
    /// Nothing was sent: so many others were before it that its time was over before its turn came.
    /// Nothing is wrong with Azure, and it may be tried again at once.
    #[error("cannot {doing} yet: others are before it, and nothing was sent")]
    NoTurn {
        /// What we were doing, to what.
        doing: String,
    },
    /// A request was sent and no answer settled it: **it may have been done**. Ask for the thing
    /// itself before anything else.
    #[error("cannot tell whether this was done: {doing}")]
    Lost {
        /// What we were doing, to what.
        doing: String,
        /// `x-ms-request-id` of the last answer, if there was one.
        request_id: Option<String>,
        /// What Azure said last (a 5xx, a 429 after a lost answer …), if anything.
        says: Option<Box<Refusal>>,
        /// Why.
        #[source]
        why: Cause,
    },
    /// Azure answered with success and a body that cannot be read, or that is too long.
    #[error("the answer of Azure cannot be read: {doing}: {text}")]
    Body {
        /// What we were doing, to what.
        doing: String,
        /// What is wrong with it.
        text: String,
        /// `x-ms-request-id` of the answer.
        request_id: Option<String>,
    },
    /// The config cannot be used: an endpoint, a CA bundle, a place.
    #[error("{what}: {text}")]
    Config {
        /// The thing that is wrong, with its value.
        what: String,
        /// What is wrong with it, and what is allowed.
        text: String,
    },
}

/// A cause that is only a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Sentence(pub String);

/// A sentence as a cause.
pub(crate) fn because(text: impl Into<String>) -> Cause {
    Arc::new(Sentence(text.into()))
}
