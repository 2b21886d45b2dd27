//! HTTPS for the emulator: a certificate authority made afresh at every start, a server
//! certificate signed by it, and the loop that serves an application over TLS.
//!
//! The authority's key never leaves this process and is never written: a client trusts the
//! emulator only for as long as it holds the CA file of this very run.
//!
//! Must never: know what is served.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{Extensions, HeaderMap, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Names and addresses the server certificate is good for: the loopback, by every spelling that
/// a client may put in a URL, and a name that is to be resolved, or left to a proxy.
const SERVER_NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "emulator.test"];

/// Longest time a client may take for its handshake. Generous for a busy two-core machine; short
/// enough that a client which only connects does not hold a task for ever.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);

/// Pause after `accept` failed, which it does when file descriptors ran out: without it the loop
/// would burn a core until one is free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A certificate authority of this process and the server certificate that it signed.
pub struct Authority {
    ca_pem: String,
    server_certificate: CertificateDer<'static>,
    server_key: Vec<u8>,
}

impl Authority {
    /// Makes a fresh authority (ECDSA P-256) and one server certificate for
    /// [`SERVER_NAMES`].
    ///
    /// # Errors
    /// When the system's random source fails, or the certificate library refuses the parameters.
    pub fn new() -> anyhow::Result<Authority> {
        let ca_key = KeyPair::generate().context("cannot make the authority's key")?;
        let ca_params = authority_params();
        let ca = ca_params.self_signed(&ca_key).context("cannot sign the authority")?;
        let issuer = Issuer::new(ca_params, ca_key);
        let server_key = KeyPair::generate().context("cannot make the server's key")?;
        let server = server_params()?
            .signed_by(&server_key, &issuer)
            .context("cannot sign the server certificate")?;
        Ok(Authority {
            ca_pem: ca.pem(),
            server_certificate: server.der().clone(),
            server_key: server_key.serialize_der(),
        })
    }

    /// The authority's certificate as PEM: what a client must trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// An acceptor of TLS 1.2 and 1.3 that speaks HTTP/1.1 only.
    ///
    /// # Errors
    /// When rustls refuses the key or the certificate; both are our own, so never in practice.
    pub fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.server_key.clone()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("the TLS provider has no protocol version in common with us")?
            .with_no_client_auth()
            .with_single_cert(vec![self.server_certificate.clone()], key)
            .context("the server certificate does not fit its key")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Parameters of the authority. OpenSSL in its strict mode (Python 3.13) wants the key usages and
/// the key identifiers, so they are all there.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "azslurm ARM emulator, test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_params() -> anyhow::Result<CertificateParams> {
    let names = SERVER_NAMES.map(String::from).to_vec();
    let mut params = CertificateParams::new(names).context("bad name for the server")?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Mark on every request that came over TLS, so that a handler can build URLs with the scheme
/// that the client used. See [`origin`].
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

/// Where the client thinks it is talking to (`https://localhost:4443`), from the `Host` header and
/// the mark [`OverTls`]. Operation and page URLs built on it lead the client back the same way.
pub fn origin(extensions: &Extensions, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let scheme = if extensions.get::<OverTls>().is_some() { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// Serves `app` over TLS on `listener`, one task per connection, until the future is dropped. A
/// failed handshake or a connection that breaks ends that connection alone.
pub async fn serve_https(listener: TcpListener, acceptor: TlsAcceptor, app: Router) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_connection(stream, acceptor.clone(), app.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, app: Router) {
    // Small answers to small requests: waiting to fill a packet only adds latency.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "handshake failed"),
        Err(_) => return tracing::debug!("handshake took longer than {HANDSHAKE_MAX:?}"),
    };
    let marked = app.map_request(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(OverTls);
        request
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(marked))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::Request;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::AsyncWriteExt as _;

    async fn started() -> (Authority, SocketAddr) {
        let authority = Authority::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route(
            "/origin",
            get(|request: Request| async move { origin(request.extensions(), request.headers()) }),
        );
        tokio::spawn(serve_https(listener, authority.acceptor().unwrap(), app));
        (authority, address)
    }

    fn client(ca_pem: &str) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).unwrap();
        reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap()
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_is_served_by_name_and_by_address() {
        let (authority, address) = started().await;
        let client = client(authority.ca_pem());
        for host in ["localhost", "127.0.0.1"] {
            let origin = format!("https://{host}:{}", address.port());
            let answer = client.get(format!("{origin}/origin")).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), origin);
        }
    }

    #[tokio::test]
    async fn a_client_that_trusts_another_authority_is_not_served() {
        let (_authority, address) = started().await;
        let other = Authority::new().unwrap();
        let url = format!("https://localhost:{}/origin", address.port());
        client(other.ca_pem()).get(url).send().await.unwrap_err();
    }

    #[tokio::test]
    async fn a_failed_handshake_ends_only_its_own_connection() {
        let (authority, address) = started().await;
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"GET /origin HTTP/1.1\r\n\r\n").await.unwrap();
        let url = format!("https://localhost:{}/origin", address.port());
        client(authority.ca_pem()).get(url).send().await.unwrap().error_for_status().unwrap();
    }
}
