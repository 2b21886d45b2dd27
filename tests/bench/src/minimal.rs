//! The minimal client: a plain loop over `reqwest` with the programs' wire settings (one
//! connection pool, HTTP/1.1, rustls with ring, a runtime of one thread). No ledger, no log, no
//! plan: what remains is what Azure's requests alone cost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::replay::{NODE, Script, Step, VM};

/// Pages of one list.
const PAGES_MAX: usize = 1000;

/// Sends what the script says.
pub fn tell(script: &Path) -> Result<()> {
    let script: Script = serde_json::from_slice(&std::fs::read(script)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(send_all(script))
}

/// What every request needs.
#[derive(Clone)]
struct Sender {
    client: Client,
    bearer: Arc<str>,
    in_flight: Arc<Semaphore>,
}

async fn send_all(script: Script) -> Result<()> {
    let client = client(&script)?;
    let answer = client.get(&script.token_url).header("Metadata", "true").send().await?;
    let token: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let token = token["access_token"].as_str().context("no token")?;
    let in_flight = Arc::new(Semaphore::new(script.in_flight));
    let sender = Sender { client, bearer: format!("Bearer {token}").into(), in_flight };
    for step in script.steps {
        let step = Arc::new(step);
        let mut tasks = JoinSet::new();
        for index in 0..step.each.len().max(1) {
            tasks.spawn(carry_out(sender.clone(), Arc::clone(&step), index));
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
    }
    Ok(())
}

fn client(script: &Script) -> Result<Client> {
    let pem = std::fs::read(&script.ca)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .http1_only()
        .no_proxy()
        .pool_max_idle_per_host(script.in_flight);
    Ok(builder.build()?)
}

async fn carry_out(sender: Sender, step: Arc<Step>, index: usize) -> Result<()> {
    let (url, body) = match step.each.get(index) {
        Some((node, vm)) => {
            let filled = |text: &str| text.replace(VM, vm).replace(NODE, node);
            (filled(&step.url), step.body.as_deref().map(filled))
        }
        None => (step.url.clone(), step.body.clone()),
    };
    let mut next = Some((url, body));
    let mut operation = None;
    for _ in 0..PAGES_MAX {
        let Some((url, body)) = next.take() else { break };
        let (header, answer) = sender.send(&step.method, &url, body.as_deref()).await?;
        operation = header;
        if matches!(step.method.as_str(), "GET" | "POST") {
            next = next_page(&url, body.as_deref(), &answer)?;
        }
    }
    let Some(operation) = operation.filter(|_| step.polls > 0) else { return Ok(()) };
    tokio::time::sleep(Duration::from_millis(step.poll_after_ms)).await;
    for _ in 0..step.polls {
        sender.send("GET", &operation, None).await?;
    }
    Ok(())
}

/// The next page of a list, or of a query of Resource Graph.
fn next_page(
    url: &str,
    body: Option<&str>,
    answer: &[u8],
) -> Result<Option<(String, Option<String>)>> {
    #[derive(serde::Deserialize)]
    struct Page {
        #[serde(rename = "nextLink")]
        next_link: Option<String>,
        #[serde(rename = "$skipToken")]
        skip_token: Option<String>,
    }
    let Ok(page) = serde_json::from_slice::<Page>(answer) else { return Ok(None) };
    if let (Some(token), Some(body)) = (page.skip_token, body) {
        let mut body: Value = serde_json::from_str(body)?;
        body["options"]["$skipToken"] = token.into();
        return Ok(Some((url.to_owned(), Some(body.to_string()))));
    }
    Ok(page.next_link.map(|link| (link, None)))
}

impl Sender {
    /// The answer's operation and body.
    async fn send(
        &self,
        method: &str,
        url: &str,
        body: Option<&str>,
    ) -> Result<(Option<String>, Vec<u8>)> {
        let _place = self.in_flight.acquire().await?;
        let mut request = self
            .client
            .request(Method::from_bytes(method.as_bytes())?, url)
            .header(AUTHORIZATION, &*self.bearer)
            .header(ACCEPT, "application/json")
            .timeout(Duration::from_secs(60));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        if status == 429 || status >= 500 {
            bail!("{method} {url}: {status}");
        }
        let operation = answer.headers().get("azure-asyncoperation");
        let operation = operation.and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok((operation, answer.bytes().await?.to_vec()))
    }
}
