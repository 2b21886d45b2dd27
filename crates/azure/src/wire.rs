//! What carries a request to Azure and its answer back: one try, and no judgement of the answer.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client as Http, Request, Response};

use crate::error::{Cause, because};
use crate::{Refusal, header, refusal};

/// Carries requests: HTTP, or the model of Azure that a simulation talks to.
#[async_trait::async_trait]
pub trait Wire: Debug + Send + Sync {
    /// Carries one request within the time that it names, and reads an answer of at most
    /// `length_max` bytes. Dropping the future gives the answer up, not what Azure does meanwhile.
    async fn carry(&self, request: Request, length_max: usize) -> Carried;
}

/// How one try ended.
#[derive(Debug)]
pub enum Carried {
    /// With an answer.
    Answer(Raw),
    /// There was no connection: nothing has reached Azure.
    NotSent(Cause),
    /// No whole answer came: it may have been done or not.
    Lost(Cause),
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Raw {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Raw {
    /// Reads it as a no.
    pub(crate) fn refusal(&self) -> Refusal {
        let retry_after = header::retry_after(&self.headers, SystemTime::now());
        refusal::parse(self.status, &self.body, retry_after)
    }
}

#[async_trait::async_trait]
impl Wire for Http {
    async fn carry(&self, request: Request, length_max: usize) -> Carried {
        match self.execute(request).await {
            Ok(response) => read(response, length_max).await,
            Err(error) if error.is_connect() => Carried::NotSent(Arc::new(error.without_url())),
            Err(error) => Carried::Lost(Arc::new(error.without_url())),
        }
    }
}

/// Reads an answer's body. One that breaks off tells nothing, whatever its status was.
async fn read(mut response: Response, length_max: usize) -> Carried {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > length_max => {
                let text = format!("the answer is longer than {length_max} bytes");
                return Carried::Lost(because(text));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Carried::Answer(Raw { status, headers, body: body.into() }),
            Err(error) => return Carried::Lost(Arc::new(error.without_url())),
        }
    }
}
