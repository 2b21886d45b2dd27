//! The programs' doors: Azure's model behind the wire, slurmctld's model behind its clients. Each
//! call is an effect: the process may be killed before it, and before its answer comes.

use std::fmt;
use std::future::pending;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use azslurm_arm_emulator::model::message::{Method, Request, Response};
use azslurm_azure::{Carried, Raw, Wire};
use azslurm_slurm::{Clients, Ran};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::time::OffsetDateTime;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::weather::{Fate, SlurmMood, unavailable};
use crate::world::World;

/// What a client of Slurm's says when slurmctld is away (measured with 22.05).
const NO_SLURMCTLD: &str = "slurm_load_node error: Unable to contact slurm controller (connect \
                            failure)\n";
/// Requests have this limit where they name none.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The world, shared by all that runs in it.
pub type Shared = Arc<Mutex<World>>;

/// The world for a moment; nothing may be awaited meanwhile.
pub fn of(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().expect("whoever panics with it ends the schedule")
}

/// A process's way to both.
#[derive(Clone)]
pub struct Door {
    /// The world.
    pub world: Shared,
    /// The process; 0 looks without being seen.
    pub process: u32,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({})", self.process)
    }
}

#[async_trait]
impl Wire for Door {
    async fn carry(&self, request: reqwest::Request, _length_max: usize) -> Carried {
        let limit = request.timeout().copied().unwrap_or(TIME_MAX);
        let asked = to_model(&request);
        let fate = {
            let mut world = of(&self.world);
            let said = format!("{} {}", asked.method.as_str(), asked.path);
            let may = world.may_act(self.process, &said);
            if may {
                world.watch_sending(self.process, &asked);
            }
            may.then(|| world.fate_of_request())
        };
        let Some(fate) = fate else { return pending().await };
        if fate == Fate::NotSent {
            sleep(Duration::from_millis(20)).await;
            return Carried::NotSent(Arc::new(std::io::Error::other("no route to Azure")));
        }
        let (tell, told) = oneshot::channel();
        // What is on its way arrives, whatever becomes of the process.
        tokio::spawn(arrive(Arc::clone(&self.world), self.process, asked.clone(), (fate, tell)));
        let answer = timeout(limit, told).await;
        let may = {
            let mut world = of(&self.world);
            let may = world.may_act(self.process, "hears the answer");
            if let (true, Ok(Ok(response))) = (may, &answer) {
                world.watch_answer(self.process, &asked, response);
            }
            may
        };
        if !may {
            return pending().await;
        }
        match answer {
            Ok(Ok(response)) => Carried::Answer(to_raw(&response)),
            Ok(Err(_)) | Err(_) => Carried::Lost(Arc::new(std::io::Error::other("no answer"))),
        }
    }
}

async fn arrive(
    world: Shared,
    process: u32,
    asked: Request,
    (fate, tell): (Fate, oneshot::Sender<Response>),
) {
    let (there, back) = of(&world).travel();
    sleep(there).await;
    match fate {
        Fate::NotSent => {}
        Fate::LostThere => sleep(TIME_MAX * 2).await,
        Fate::Late => {
            drop(tell);
            let later = of(&world).travel_late();
            sleep(later).await;
            let _unheard = of(&world).arrives(process, &asked);
        }
        Fate::Failed => {
            let _unheard = of(&world).arrives(process, &asked);
            sleep(back).await;
            let _gone = tell.send(unavailable());
        }
        Fate::LostBack => {
            let _unheard = of(&world).arrives(process, &asked);
            sleep(TIME_MAX * 2).await;
        }
        Fate::Twice => {
            let response = of(&world).arrives(process, &asked);
            let _gone = tell.send(response);
            let again = of(&world).travel_late();
            sleep(again).await;
            let _unheard = of(&world).arrives(process, &asked);
        }
        Fate::Good => {
            let response = of(&world).arrives(process, &asked);
            sleep(back).await;
            let _gone = tell.send(response);
        }
    }
}

fn to_model(request: &reqwest::Request) -> Request {
    let url = request.url();
    let path = url.path().replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let mut names = url::form_urlencoded::parse(path.as_bytes());
    let path = names.next().map_or_else(String::new, |(name, _)| name.into_owned());
    let body = request.body().and_then(|body| body.as_bytes());
    Request {
        method: Method::parse(request.method().as_str()).expect("we use the usual methods"),
        path,
        query: url.query_pairs().into_owned().collect(),
        body: body.map_or(Value::Null, |body| serde_json::from_slice(body).unwrap_or(Value::Null)),
        base_url: url.origin().ascii_serialization(),
        principal: "simulation".to_owned(),
        fail_operation: None,
    }
}

fn to_raw(response: &Response) -> Raw {
    let mut headers = HeaderMap::new();
    for (name, value) in &response.headers {
        let name = HeaderName::try_from(name.as_str());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    let body = response.body.as_ref().map(ToString::to_string).unwrap_or_default();
    Raw { status: response.status, headers, body: body.into() }
}

#[async_trait]
impl Clients for Door {
    async fn run(&self, client: &str, _conf: Option<&Path>, arguments: &[&str]) -> Ran {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        if self.process != 0 {
            let (may, mood) = {
                let mut world = of(&self.world);
                let said = format!("{client} {}", arguments.join(" "));
                (world.may_act(self.process, &said), world.slurm_mood())
            };
            if !may || mood == SlurmMood::Hangs {
                pending::<()>().await;
            }
            let there = of(&self.world).travel_here();
            sleep(there).await;
        }
        let heard = {
            let mut world = of(&self.world);
            if world.slurm_mood() != SlurmMood::Well {
                return Ran::Ended(status(1), String::new(), NO_SLURMCTLD.to_owned());
            }
            let output = world.tells_slurm(self.process, client, &arguments);
            let may = self.process == 0 || world.may_act(self.process, "hears slurmctld");
            may.then_some(output)
        };
        let Some(output) = heard else { return pending().await };
        Ran::Ended(status(output.status), output.stdout, output.stderr)
    }
}

/// As `wait` gives it.
fn status(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

/// A token that is always good.
#[derive(Debug)]
pub struct Token;

#[async_trait]
impl TokenCredential for Token {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let expires = OffsetDateTime::now_utc() + azure_core::time::Duration::days(365);
        Ok(AccessToken::new("simulated", expires))
    }
}
