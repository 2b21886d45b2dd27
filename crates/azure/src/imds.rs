//! The metadata service of the VM that we run on: its name, its scheduled events. No token, no
//! right, never through a proxy.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::scheduled::{self, Scheduled};
use crate::{AzureError, Cause, header, refusal, transport};

/// Of the instance document; its `compute.name` is older than that.
const INSTANCE_VERSION: &str = "2021-02-01";
/// Of the events, newest first: a cloud that does not know one says 400, and is asked by the next.
const EVENTS_VERSIONS: [&str; 7] = [
    "2020-07-01",
    "2019-08-01",
    "2019-04-01",
    "2019-01-01",
    "2017-11-01",
    "2017-08-01",
    "2017-03-01",
];
/// A document names the events of 200 VMs at most, each within a kilobyte.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why the metadata service has not told what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImdsError {
    /// No answer came.
    #[error("the metadata service does not answer at {url}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// Why.
        #[source]
        why: Cause,
    },
    /// It answered with another status than 200.
    #[error("the metadata service answers {status} at {url}: {text}")]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// Its words.
        text: String,
    },
    /// It answered, and we cannot read it.
    #[error("the answer of the metadata service at {url} cannot be read: {text}")]
    Unreadable {
        /// What was asked.
        url: String,
        /// What is wrong.
        text: String,
    },
}

/// The metadata service.
#[derive(Debug)]
pub struct Imds {
    http: Client,
    endpoint: String,
    /// Index into [`EVENTS_VERSIONS`].
    version: usize,
}

impl Imds {
    /// The service at `endpoint`: a URL, to whose path `/metadata/…` is added. Nothing is sent.
    pub fn new(endpoint: &str) -> Result<Imds, AzureError> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(Imds { http: transport::imds_client()?, endpoint, version: 0 })
    }

    /// The name of this VM in Azure.
    pub async fn vm_name(&self) -> Result<String, ImdsError> {
        let url = format!("{}/metadata/instance?api-version={INSTANCE_VERSION}", self.endpoint);
        let body = ask(self.http.get(&url), &url).await?;
        let document: Value = serde_json::from_str(&body).unwrap_or_default();
        let name = document["compute"]["name"].as_str().map(str::trim);
        name.filter(|name| !name.is_empty()).map(str::to_owned).ok_or_else(|| {
            let text = "it has no compute.name".to_owned();
            ImdsError::Unreadable { url, text }
        })
    }

    /// The scheduled events of this VM and of those it shares a set with. The first call of a VM's
    /// life takes up to two minutes: `time_max` says how long to wait.
    pub async fn events(&mut self, time_max: Duration) -> Result<Scheduled, ImdsError> {
        loop {
            let url = self.events_url();
            let body = match ask(self.http.get(&url).timeout(time_max), &url).await {
                Err(ImdsError::Refused { status: 400, text, .. })
                    if text.to_ascii_lowercase().contains("version")
                        && self.version + 1 < EVENTS_VERSIONS.len() =>
                {
                    self.version += 1;
                    tracing::info!("the metadata service wants another version: {text}");
                    continue;
                }
                answer => answer?,
            };
            return scheduled::read(&body).map_err(|text| ImdsError::Unreadable { url, text });
        }
    }

    /// Tells Azure that an event may begin now, **for all VMs that it names**.
    pub async fn acknowledge(&self, event: &str) -> Result<(), ImdsError> {
        let url = self.events_url();
        let body = json!({"StartRequests": [{"EventId": event}]});
        ask(self.http.request(Method::POST, &url).json(&body), &url).await.map(drop)
    }

    fn events_url(&self) -> String {
        let version = EVENTS_VERSIONS[self.version];
        format!("{}/metadata/scheduledevents?api-version={version}", self.endpoint)
    }
}

async fn ask(request: RequestBuilder, url: &str) -> Result<String, ImdsError> {
    let no_answer = |error: reqwest::Error| ImdsError::NoAnswer {
        url: url.to_owned(),
        why: Arc::new(error.without_url()),
    };
    let mut response = request.header("Metadata", "true").send().await.map_err(no_answer)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BODY_BYTES_MAX {
            let text = format!("it is longer than {BODY_BYTES_MAX} bytes");
            return Err(ImdsError::Unreadable { url: url.to_owned(), text });
        }
    }
    let body = String::from_utf8_lossy(&bytes).into_owned();
    if status == 200 {
        return Ok(body);
    }
    Err(ImdsError::Refused {
        url: url.to_owned(),
        status,
        retry_after: header::retry_after(&headers, SystemTime::now()),
        text: refusal::one_line(&body),
    })
}
