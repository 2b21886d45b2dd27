//! The HTTP clients: which roots they trust, how they resolve names, where a proxy has no place.
//! HTTP/1.1 with keep-alive; no redirect is ever followed, because a token must not follow it.

use std::error::Error as _;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use azslurm_core::config::{Cloud, Limits};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use url::{Host, Url};

use crate::dns::Dns;
use crate::route::Routes;
use crate::{AzureError, USER_AGENT};

/// A connection that takes longer is given up: it was never more than a second to any region.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// IMDS is on this host: what does not answer in two seconds is not there.
const IMDS_CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// One request to IMDS. It answers from a cache, or asks the authority itself, which takes seconds.
const IMDS_REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Tries to connect to IMDS: an interface may come up while we start.
const IMDS_CONNECT_TRIES: u32 = 3;
/// Between them.
const IMDS_CONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Azure's front end closes idle connections after some minutes; ours close first, so that no
/// request goes into a connection that is being closed.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// Where distributions keep their roots: Debian and Ubuntu, then Red Hat, then SUSE.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];
/// Names a bundle in place of the system's, as for other programs that speak TLS. slurmctld gives
/// its programs no environment: where they too shall trust another, the config must name it.
const BUNDLE_VARIABLE: &str = "SSL_CERT_FILE";
/// The address that `azure_identity` asks, whatever the config says; the transport leads it where
/// the config says.
const IMDS_ADDRESS: Host<&str> = Host::Ipv4(std::net::Ipv4Addr::new(169, 254, 169, 254));

/// The clients of one [`crate::Arm`].
#[derive(Debug, Clone)]
pub struct Clients {
    /// Resource Manager, Resource Graph and the authority.
    pub azure: Client,
    /// IMDS: no proxy, because IMDS refuses what came through one.
    pub imds: Client,
}

/// Makes the clients; reads the CA bundle.
pub fn clients(cloud: &Cloud, routes: &Routes, limits: &Limits) -> Result<Clients, AzureError> {
    let tls = tls(roots(cloud, routes)?)?;
    let mut azure = builder(tls.clone())
        .connect_timeout(CONNECT_TIME_MAX)
        .timeout(limits.request_timeout)
        .pool_max_idle_per_host(limits.requests_in_flight);
    if routes.is_here() {
        azure = azure.no_proxy();
    }
    Ok(Clients { azure: build(azure)?, imds: build(for_imds(tls))? })
}

/// A client for IMDS alone.
pub fn imds_client() -> Result<Client, AzureError> {
    // IMDS has no TLS: no root is needed.
    build(for_imds(tls(RootCertStore::empty())?))
}

fn for_imds(tls: ClientConfig) -> ClientBuilder {
    builder(tls).connect_timeout(IMDS_CONNECT_TIME_MAX).timeout(IMDS_REQUEST_TIME_MAX).no_proxy()
}

fn builder(tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Dns::default())
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .http1_only()
        .user_agent(USER_AGENT)
        .pool_idle_timeout(IDLE_TIME_MAX)
}

fn build(builder: ClientBuilder) -> Result<Client, AzureError> {
    builder.build().map_err(|error| AzureError::Config {
        what: "the HTTP client".to_owned(),
        text: error.source().map_or_else(|| error.to_string(), ToString::to_string),
    })
}

fn tls(roots: RootCertStore) -> Result<ClientConfig, AzureError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| AzureError::Config { what: "TLS".to_owned(), text: error.to_string() })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The bundle of the config, or of the environment, each of which replaces the system's; or the
/// first of the system's.
fn roots(cloud: &Cloud, routes: &Routes) -> Result<RootCertStore, AzureError> {
    let variable = std::env::var_os(BUNDLE_VARIABLE);
    if let Some(path) = named_bundle(cloud.ca_bundle.as_deref(), variable) {
        return read_roots(&path);
    }
    match BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()) {
        Some(path) => read_roots(&path),
        // Only a test on this machine does without: nothing that needs TLS is trusted then.
        None if !routes.is_tls() => Ok(RootCertStore::empty()),
        None => Err(AzureError::Config {
            what: format!("CA certificates: none of {} is there", BUNDLES.join(", ")),
            text: "install ca-certificates, or name a file in cloud.ca_bundle".to_owned(),
        }),
    }
}

/// The bundle that somebody has named; one that cannot be read is an error and not passed over.
fn named_bundle(config: Option<&Path>, variable: Option<OsString>) -> Option<PathBuf> {
    let variable = variable.filter(|path| !path.is_empty()).map(PathBuf::from);
    config.map(Path::to_owned).or(variable)
}

fn read_roots(path: &Path) -> Result<RootCertStore, AzureError> {
    let wrong =
        |text: String| AzureError::Config { what: format!("CA bundle {}", path.display()), text };
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // A system's bundle may hold a certificate that rustls does not take; the others still count.
    let (good, bad) = roots.add_parsable_certificates(certificates(&String::from_utf8_lossy(&pem)));
    if good == 0 {
        return Err(wrong(format!(
            "no CA certificate in it that can be used ({bad} that cannot); PEM is wanted"
        )));
    }
    Ok(roots)
}

/// The certificates of a PEM file; what is none in it does not count. The reader of
/// `rustls_pki_types` goes byte by byte: for a system's 140 roots it takes longer than all else
/// that a program does before its first request.
fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let mut found = Vec::new();
    let mut begun: Option<String> = None;
    for line in pem.lines().map(str::trim_ascii) {
        match (line, &mut begun) {
            ("-----BEGIN CERTIFICATE-----", _) => begun = Some(String::new()),
            ("-----END CERTIFICATE-----", _) => {
                let read = begun.take().and_then(|text| STANDARD.decode(text).ok());
                found.extend(read.map(CertificateDer::from));
            }
            (line, Some(text)) => text.push_str(line),
            (_, None) => {}
        }
    }
    found
}

/// Leads `azure_identity`'s requests for IMDS to the endpoint of the config, and nowhere else: with
/// `IDENTITY_ENDPOINT` in the environment it would ask whoever is named there.
#[derive(Debug)]
pub struct ImdsTransport {
    /// The client without a proxy.
    pub http: Client,
    /// `cloud.imds`.
    pub endpoint: Url,
}

impl ImdsTransport {
    fn led(&self, request: &Request) -> Result<Request, Error> {
        if request.url().host() != Some(IMDS_ADDRESS) {
            let text = "the environment (IDENTITY_ENDPOINT or MSI_ENDPOINT) leads to another \
                        source of managed identities than IMDS; unset it";
            return Err(Error::with_message(ErrorKind::Credential, text));
        }
        let mut request = request.clone();
        let mut url = self.endpoint.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        *request.url_mut() = url;
        Ok(request)
    }
}

#[async_trait::async_trait]
impl HttpClient for ImdsTransport {
    /// A connection that cannot be made is tried a few times here and then reported as an error
    /// that `azure_identity` does not repeat for its 72 s: there is no IMDS.
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let request = self.led(request)?;
        let mut tries = 1;
        loop {
            let answer = self.http.execute_request(&request).await;
            let Err(error) = &answer else { return answer };
            if !matches!(error.kind(), ErrorKind::Connection) {
                return answer;
            }
            if tries == IMDS_CONNECT_TRIES {
                let text = format!(
                    "cannot reach the metadata service at {}; is this an Azure VM?",
                    self.endpoint
                );
                return Err(Error::with_message(ErrorKind::Credential, text));
            }
            tries += 1;
            tokio::time::sleep(IMDS_CONNECT_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = read_roots(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
        assert!(
            read_roots(Path::new("/nowhere/ca.pem")).unwrap_err().to_string().contains("/nowhere")
        );
    }

    #[test]
    fn certificates_are_read_as_rustls_reads_them() {
        use rustls_pki_types::pem::PemObject as _;

        let certificate =
            |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
        let (one, other) = (certificate("one"), certificate("other"));
        let broken = "-----BEGIN CERTIFICATE-----\n####\n-----END CERTIFICATE-----\n";
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let bundle = format!("# one\n{one}\n{broken}{key}{}{cut}", other.replace('\n', "\r\n"));
        let wanted: Vec<_> =
            CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).collect();
        assert_eq!(certificates(&bundle), wanted);
        assert_eq!(wanted.len(), 2);
        let system = BUNDLES.iter().find_map(|path| fs::read(path).ok()).unwrap_or_default();
        let wanted: Vec<_> =
            CertificateDer::pem_slice_iter(&system).filter_map(Result::ok).collect();
        assert_eq!(certificates(&String::from_utf8_lossy(&system)), wanted);
    }

    #[test]
    fn the_config_names_the_bundle_before_the_environment_and_an_empty_name_is_none() {
        let (config, variable) = (Path::new("/c.pem"), || Some(OsString::from("/v.pem")));
        assert_eq!(named_bundle(Some(config), variable()), Some(config.to_owned()));
        assert_eq!(named_bundle(None, variable()), Some(PathBuf::from("/v.pem")));
        assert_eq!(named_bundle(None, Some(OsString::new())), None);
        assert_eq!(named_bundle(None, None), None);
    }

    #[test]
    fn the_identity_crate_is_led_to_the_configured_imds_and_nowhere_else() {
        let transport = ImdsTransport {
            http: Client::builder()
                .tls_backend_preconfigured(tls(RootCertStore::empty()).unwrap())
                .build()
                .unwrap(),
            endpoint: "http://127.0.0.1:8080".parse().unwrap(),
        };
        let get = azure_core::http::Method::Get;
        let asked =
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=1&resource=x";
        let led = transport.led(&Request::new(asked.parse().unwrap(), get)).unwrap();
        assert_eq!(
            led.url().as_str(),
            "http://127.0.0.1:8080/metadata/identity/oauth2/token?api-version=1&resource=x"
        );
        let other = Request::new("http://127.0.0.1:9/msi/token".parse().unwrap(), get);
        assert!(transport.led(&other).is_err());
    }
}
