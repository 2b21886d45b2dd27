//! The running emulator: listeners, the clock's events, boot commands, start and end.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use anyhow::Context as _;
use axum::http::Method;
use axum::serve::ListenerExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::boot::{self, BootOptions, Runner};
use crate::clock::Clock;
use crate::http::{self, Shared, control};
use crate::identity::{Identities, IdentityOptions};
use crate::model::Model;
use crate::model::config::Config;
use crate::tls::{Authority, serve_https};

/// How an emulator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// What there is.
    pub config: Config,
    /// Who may call.
    pub identities: IdentityOptions,
    /// Address for HTTP; HTTPS gets another port of the same address.
    pub listen: SocketAddr,
    /// Address for HTTPS, if it shall be a certain one.
    pub listen_https: Option<SocketAddr>,
    /// Another address for the metadata service; it is served on all of them.
    pub listen_imds: Option<SocketAddr>,
    /// What a VM runs.
    pub boot: Option<BootOptions>,
    /// How many times as fast as real time the clock runs.
    pub time_scale: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            config: Config::default(),
            identities: IdentityOptions::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            listen_https: None,
            listen_imds: None,
            boot: None,
            time_scale: 1.0,
        }
    }
}

/// Where it serves.
#[derive(Clone, Debug, Serialize)]
pub struct Urls {
    /// Resource Manager over HTTP.
    pub arm_http: String,
    /// Resource Manager over HTTPS.
    pub arm_https: String,
    /// Token authority, HTTPS.
    pub authority: String,
    /// Metadata service, HTTP.
    pub imds: String,
    /// Resource Graph, HTTP: the same as Resource Manager.
    pub resource_graph: String,
    /// Retail prices, HTTP: the same as Resource Manager.
    pub prices: String,
    /// Control interface, HTTP.
    pub control: String,
}

/// A serving emulator, as seen from inside its thread.
pub struct Serving {
    /// Where it serves.
    pub urls: Urls,
    /// Certificate of its authority, PEM.
    pub ca_pem: String,
    shared: Arc<Shared>,
}

/// Serves until `stop` is ready or the control interface asks for the end; `ready` is called once
/// everything is served. Ends the boot commands before it returns.
///
/// # Errors
/// When the configuration contradicts itself or an address cannot be listened on; and what `ready`
/// returns.
pub async fn run(
    options: Options,
    ready: impl FnOnce(&Serving) -> anyhow::Result<()>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let clock = Clock::new(options.time_scale);
    let mut model = Model::new(&options.config, clock.now()).map_err(anyhow::Error::msg)?;
    model.set_runs_boot_commands(options.boot.is_some());
    let identities = Arc::new(Identities::new(options.identities.clone()));
    let shared = Arc::new(Shared::new(model, clock, identities));
    let listeners = Listeners::bind(&options).await?;
    let urls = listeners.urls()?;
    for audience in
        [&urls.arm_http, &urls.arm_https, &urls.arm_https.replace("127.0.0.1", "localhost")]
    {
        shared.identities.allow_audience(audience);
    }
    let runner = options.boot.clone().map(|boot| Runner::new(boot, &urls.imds, reporter(&shared)));
    if let Some(runner) = runner.clone() {
        let _ = shared.runner.set(runner);
    }
    let app = http::router(Arc::clone(&shared));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve_https(listeners.https, authority.acceptor()?, app.clone()));
    for listener in [Some(listeners.http), listeners.imds].into_iter().flatten() {
        let listener = listener.tap_io(|stream| {
            // Small answers to small requests: waiting to fill a packet only adds latency.
            let _ = stream.set_nodelay(true);
        });
        let app = app.clone();
        tasks.spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
    }
    tasks.spawn(let_time_pass(Arc::clone(&shared)));
    let ca_pem = authority.ca_pem().to_owned();
    ready(&Serving { urls, ca_pem, shared: Arc::clone(&shared) })?;
    tokio::select! {
        () = stop => {}
        () = shared.ending.notified() => {}
    }
    if let Some(runner) = runner {
        runner.end_all().await;
    }
    Ok(())
}

/// Passes the news of boot commands on to the model.
fn reporter(shared: &Arc<Shared>) -> boot::Report {
    let shared = Arc::downgrade(shared);
    Arc::new(move |vm_id, event| {
        let Some(shared) = shared.upgrade() else { return };
        shared.with_model(|model, now| match event {
            boot::Event::Started(what) => model.process_started(vm_id, what),
            boot::Event::Ended(how) => model.process_ended(vm_id, how, now),
        });
    })
}

/// Lets due events happen when they are due.
async fn let_time_pass(shared: Arc<Shared>) {
    loop {
        let next = shared.model().next_event_at();
        let sleep = async {
            match next {
                Some(when) => tokio::time::sleep(shared.clock.until(when)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => { shared.with_model(|_, _| ()); }
            () = shared.changed.notified() => {}
        }
    }
}

struct Listeners {
    http: TcpListener,
    https: TcpListener,
    imds: Option<TcpListener>,
}

impl Listeners {
    async fn bind(options: &Options) -> anyhow::Result<Listeners> {
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
        };
        let http = bind(options.listen).await?;
        let other = SocketAddr::new(options.listen.ip(), 0);
        let https = bind(options.listen_https.unwrap_or(other)).await?;
        let imds = match options.listen_imds {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        Ok(Listeners { http, https, imds })
    }

    fn urls(&self) -> anyhow::Result<Urls> {
        let http = format!("http://{}", self.http.local_addr()?);
        let https = format!("https://{}", self.https.local_addr()?);
        let imds = match &self.imds {
            Some(imds) => format!("http://{}", imds.local_addr()?),
            None => http.clone(),
        };
        Ok(Urls {
            control: format!("{http}/_emulator"),
            resource_graph: http.clone(),
            prices: http.clone(),
            arm_http: http,
            authority: https.clone(),
            arm_https: https,
            imds,
        })
    }
}

/// An emulator on a thread of its own, for tests. Dropping it ends it.
pub struct Emulator {
    urls: Urls,
    ca_pem: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Emulator {
    /// Starts an emulator and returns when it serves.
    ///
    /// # Errors
    /// As [`run`], or when no thread can be started.
    pub fn start(options: Options) -> anyhow::Result<Emulator> {
        let (tell, told) = mpsc::channel::<Serving>();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let ready = |serving: &Serving| {
                let serving = Serving {
                    urls: serving.urls.clone(),
                    ca_pem: serving.ca_pem.clone(),
                    shared: Arc::clone(&serving.shared),
                };
                tell.send(serving).context("nobody waits for the emulator")
            };
            runtime.block_on(run(options, ready, std::future::pending()))
        };
        let thread = std::thread::Builder::new().name("arm-emulator".to_owned()).spawn(work)?;
        match told.recv() {
            Ok(serving) => Ok(Emulator {
                urls: serving.urls,
                ca_pem: serving.ca_pem,
                shared: serving.shared,
                thread: Some(thread),
            }),
            Err(_) => match thread.join() {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) | Err(_) => anyhow::bail!("the emulator's thread ended at once"),
            },
        }
    }

    /// Where it serves.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// Certificate of its authority, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Who may call.
    pub fn identities(&self) -> &Identities {
        &self.shared.identities
    }

    /// A bearer token that it accepts.
    pub fn token(&self) -> String {
        self.shared.identities.token_for_tests()
    }

    /// POST to the control interface, without HTTP: `post("/capacity", json!({…}))`.
    ///
    /// # Errors
    /// The words of the refusal.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.control((&Method::POST, path, ""), body)
    }

    /// GET from the control interface, without HTTP: `get("/resources", "alive=true")`.
    ///
    /// # Errors
    /// The words of the refusal.
    pub fn get(&self, path: &str, query: &str) -> Result<Value, String> {
        self.control((&Method::GET, path, query), &Value::Null)
    }

    fn control(&self, call: (&Method, &str, &str), body: &Value) -> Result<Value, String> {
        let (status, answer) = control::control(&self.shared, call, body);
        if status.is_success() {
            return Ok(answer);
        }
        Err(answer["error"].as_str().unwrap_or_default().to_owned())
    }

    /// Resources that exist, as [`Emulator::get`] shows them; `kind` is a full type, compared
    /// without case.
    pub fn alive(&self, kind: &str) -> Vec<Value> {
        let answer = self.get("/resources", "alive=true").unwrap_or_default();
        let list = answer["resources"].as_array().cloned().unwrap_or_default();
        let is_kind =
            |row: &Value| row["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(kind));
        list.into_iter().filter(is_kind).collect()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shared.ending.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
