//! A server in this process that answers as it is told and remembers what it was asked: Resource
//! Manager, Resource Graph, the authority and IMDS on one port.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use azslurm_azure::{Arm, Place};
use azslurm_core::config::{
    Cloud, CloudName, Credential, Endpoints, Image, ImageReference, Limits, ManagedIdentity,
    OsDisk, Priority, Region, Sku,
};
use azslurm_core::vm::VmSpec;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What to do with the next request.
#[derive(Debug, Clone)]
pub enum Do {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Never answer.
    Hang,
    /// Begin an answer and break the connection.
    Cut,
    /// Answer well, later.
    Slow(Duration),
    /// A page of so many rows, each made when it is sent.
    Rows(usize, fn(usize) -> String),
}

pub fn answer(status: u16, body: Value) -> Do {
    Do::Answer(status, Vec::new(), body.to_string())
}

pub fn with(status: u16, headers: &[(&'static str, &str)], body: Value) -> Do {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Do::Answer(status, headers, body.to_string())
}

pub fn refused(status: u16, code: &str) -> Do {
    answer(status, json!({"error": {"code": code, "message": format!("text of {code}")}}))
}

#[derive(Default)]
struct Told {
    seen: Mutex<Vec<Seen>>,
    tokens_asked: Mutex<Vec<Seen>>,
    to_do: Mutex<VecDeque<Do>>,
    to_do_for_tokens: Mutex<VecDeque<Do>>,
    tokens: AtomicU64,
    open: AtomicUsize,
    open_max: AtomicUsize,
}

/// The server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Fake {
    pub url: String,
    told: Arc<Told>,
}

impl Fake {
    /// Over http, on a port of the system's choice.
    pub async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Fake::serve(url, listener)
    }

    /// Over https, with a certificate of a CA of its own, whose PEM is given back.
    pub async fn start_tls() -> (Fake, String) {
        let names = vec!["127.0.0.1".to_owned()];
        Fake::start_tls_as(rcgen::CertificateParams::new(names).unwrap()).await
    }

    /// The same with a certificate that says this.
    pub async fn start_tls_as(params: rcgen::CertificateParams) -> (Fake, String) {
        let (acceptor, ca) = acceptor(params);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        (Fake::serve(url, Tls { listener, acceptor }), ca)
    }

    fn serve<L: Listener>(url: String, listener: L) -> Fake
    where
        L::Addr: std::fmt::Debug,
    {
        let told = Arc::new(Told::default());
        let app = Router::new().fallback(respond).with_state(Arc::clone(&told));
        tokio::spawn(axum::serve(listener, app).into_future_boxed());
        Fake { url, told }
    }

    /// Tells what to do with the next requests, in order; all others are answered with 200 and
    /// `{}`.
    pub fn next(&self, all: impl IntoIterator<Item = Do>) {
        self.told.to_do.lock().unwrap().extend(all);
    }

    /// The same for requests for tokens; all others get one.
    pub fn next_for_tokens(&self, all: impl IntoIterator<Item = Do>) {
        self.told.to_do_for_tokens.lock().unwrap().extend(all);
    }

    /// What came, requests for tokens apart.
    pub fn seen(&self) -> Vec<Seen> {
        self.told.seen.lock().unwrap().clone()
    }

    /// Requests for tokens that came.
    pub fn tokens_asked(&self) -> Vec<Seen> {
        self.told.tokens_asked.lock().unwrap().clone()
    }

    /// The most requests that were open at once.
    pub fn open_max(&self) -> usize {
        self.told.open_max.load(Ordering::SeqCst)
    }

    pub fn cloud(&self) -> Cloud {
        Cloud {
            name: CloudName::Custom,
            endpoints: Endpoints {
                authority: self.url.clone(),
                resource_manager: self.url.clone(),
                audience: "https://management.azure.com".into(),
                resource_graph: self.url.clone(),
                prices: Some(self.url.clone()),
                imds: self.url.clone(),
            },
            ca_bundle: None,
        }
    }

    /// A door to it, by managed identity.
    pub fn arm(&self) -> Arm {
        self.arm_with(limits())
    }

    pub fn arm_with(&self, limits: Limits) -> Arm {
        let credential = Credential::ManagedIdentity(ManagedIdentity::System);
        Arm::new(&self.cloud(), &credential, &limits).unwrap()
    }
}

pub fn limits() -> Limits {
    Limits { requests_in_flight: 8, request_timeout: Duration::from_millis(700), tries: 3 }
}

trait Boxed {
    fn into_future_boxed(self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<T> Boxed for T
where
    T: IntoFuture<Output = std::io::Result<()>>,
    T::IntoFuture: Send + 'static,
{
    fn into_future_boxed(self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let future = self.into_future();
        Box::pin(async {
            let _ = future.await;
        })
    }
}

async fn respond(State(told): State<Arc<Told>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or(String::new(), ToString::to_string),
        headers: parts.headers,
        body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        at: Instant::now(),
    };
    if seen.path.contains("/oauth2/") {
        told.tokens_asked.lock().unwrap().push(seen);
        let next = told.to_do_for_tokens.lock().unwrap().pop_front();
        return act(next.unwrap_or_else(|| token(&told))).await;
    }
    let open = told.open.fetch_add(1, Ordering::SeqCst) + 1;
    told.open_max.fetch_max(open, Ordering::SeqCst);
    told.seen.lock().unwrap().push(seen);
    let next = told.to_do.lock().unwrap().pop_front();
    let response = act(next.unwrap_or_else(|| answer(200, json!({})))).await;
    told.open.fetch_sub(1, Ordering::SeqCst);
    response
}

/// The word that must never be seen in a log.
pub const TOKEN: &str = "TOKEN-THAT-NOBODY-SEES";

fn token(told: &Told) -> Do {
    let number = told.tokens.fetch_add(1, Ordering::SeqCst) + 1;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let expires_on = (now.as_secs() + 3600).to_string();
    answer(
        200,
        json!({
            "access_token": format!("{TOKEN}-{number}"), "token_type": "Bearer",
            "expires_in": 3600, "expires_on": expires_on, "resource": "r", "client_id": "c",
        }),
    )
}

async fn act(what: Do) -> Response {
    match what {
        Do::Answer(status, headers, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                response.headers_mut().append(name, value.parse().unwrap());
            }
            response
        }
        Do::Hang => pending().await,
        Do::Cut => {
            let broken: [Result<Bytes, std::io::Error>; 2] =
                [Ok("{\"id\":".into()), Err(std::io::Error::other("cut"))];
            Body::from_stream(futures::stream::iter(broken)).into_response()
        }
        Do::Slow(time) => {
            tokio::time::sleep(time).await;
            "{}".into_response()
        }
        Do::Rows(count, row) => {
            let text = move |number: usize| match number {
                0 => "{\"value\":[".to_owned() + &row(0),
                _ if number == count => "]}".to_owned(),
                _ => ",".to_owned() + &row(number),
            };
            let all = (0..=count).map(move |number| Ok::<_, std::io::Error>(text(number)));
            Body::from_stream(futures::stream::iter(all)).into_response()
        }
    }
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, from)) = self.listener.accept().await else { continue };
            // A client that does not trust us breaks off here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn acceptor(params: rcgen::CertificateParams) -> (TlsAcceptor, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), ca_pem)
}

pub fn place() -> Place {
    Place { subscription: "S-1".into(), resource_group: "rg".into(), region: None }
}

pub fn spec(vm: &str) -> VmSpec {
    VmSpec {
        name: vm.parse().unwrap(),
        computer_name: "n1".parse().unwrap(),
        region: Region::new("westeurope").unwrap(),
        zone: None,
        sku: Sku::new("Standard_D2s_v5").unwrap(),
        image: Image { reference: ImageReference::Id("/image".into()), plan: None },
        priority: Priority::Regular,
        subnet: "/subnet".into(),
        network_security_group: None,
        accelerated_networking: true,
        os_disk: OsDisk { size_gb: Some(30), storage: "StandardSSD_LRS".into(), ephemeral: None },
        admin_username: "azslurm".into(),
        ssh_public_key: "ssh-ed25519 AAAA".into(),
        user_data: None,
        identities: Vec::new(),
        capacity_reservation_group: None,
        availability_set: None,
        tags: [("azslurm-cluster".to_owned(), "c".to_owned())].into(),
    }
}

/// In so many seconds.
pub fn soon(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// A file with this text that only we may read.
pub fn secret_file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}
