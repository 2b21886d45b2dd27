//! The token: in memory until five minutes before it expires, one request for it at a time, never
//! shown.

use std::fmt;
use std::time::{Duration, SystemTime};

use azure_core::credentials::AccessToken;
use azure_core::error::ErrorKind;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::AzureError;
use crate::credential::Source;
use crate::refusal::one_line;

/// A token is renewed this long before it expires, so that none expires on its way.
const RENEWAL: Duration = Duration::from_secs(300);
/// If the renewal fails, an old token is used up to this long before it expires.
const USABLE: Duration = Duration::from_secs(30);
/// After a failed renewal of a token that is still good, the next try comes this much later.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// One request for a token with all its retries: IMDS's own guidance takes 72 s (FACTS §7.1).
const TOKEN_TIME_MAX: Duration = Duration::from_secs(90);

/// The `Authorization` header, and which token it is.
#[derive(Clone)]
pub struct Bearer {
    /// The header's value, marked as sensitive.
    pub header: HeaderValue,
    /// Counts the tokens that this process had.
    pub number: u64,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer({})", self.number)
    }
}

/// Where tokens come from.
#[derive(Debug)]
pub struct Tokens {
    source: Source,
    scope: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    failed: Option<(Instant, AzureError)>,
    renew_not_before: Option<Instant>,
    count: u64,
}

#[derive(Debug, Clone)]
struct Token {
    bearer: Bearer,
    expires_at: SystemTime,
}

impl Tokens {
    /// Tokens of `source` for `audience` (FACTS §9: `<audience>/.default`).
    pub fn new(source: Source, audience: &str) -> Tokens {
        let scope = format!("{}/.default", audience.trim_end_matches('/'));
        Tokens { source, scope, state: Mutex::new(State::default()) }
    }

    /// A token that is good now. Whoever comes while one is being asked for waits for that one, and
    /// shares its failure: a thousand calls ask once.
    pub async fn get(&self, deadline: Instant) -> Result<Bearer, AzureError> {
        let came_at = Instant::now();
        let Ok(mut state) = timeout_at(deadline, self.state.lock()).await else {
            return Err(self.too_late());
        };
        if let Some(bearer) = state.good(SystemTime::now()) {
            return Ok(bearer);
        }
        if let Some((_, error)) = state.failed.as_ref().filter(|(at, _)| *at >= came_at) {
            return Err(error.clone());
        }
        let until = deadline.min(Instant::now() + TOKEN_TIME_MAX);
        let asked = match timeout_at(until, self.ask()).await {
            Ok(asked) => asked,
            Err(_) => Err(self.too_late()),
        };
        match asked {
            Ok(token) => state.keep(&token),
            Err(error) => state.fail(error),
        }
    }

    /// Azure refused token `number`: it is not used again.
    pub async fn refuse(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|token| token.bearer.number == number) {
            state.token = None;
        }
    }

    async fn ask(&self) -> Result<AccessToken, AzureError> {
        let credential = self.source.make()?;
        let token = credential.get_token(&[&self.scope], None).await;
        token.map_err(|error| self.refused(&error))
    }

    fn too_late(&self) -> AzureError {
        AzureError::Token {
            credential: self.source.kind(),
            status: None,
            text: "it did not come in time".to_owned(),
        }
    }

    /// All that the identity crate's errors say, from the outermost to the first cause, and the
    /// status if there was an answer. They hold answers of the authority, which name no secret.
    fn refused(&self, error: &azure_core::Error) -> AzureError {
        let mut status = None;
        let mut texts = vec![one_line(&error.to_string())];
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<azure_core::Error>()
                && let ErrorKind::HttpResponse { status: seen, .. } = error.kind()
            {
                status = status.or(Some(u16::from(*seen)));
            }
            let text = one_line(&error.to_string());
            if !texts.iter().any(|known| known.contains(&text)) {
                texts.push(text);
            }
            next = error.source();
        }
        AzureError::Token {
            credential: self.source.kind(),
            status,
            text: one_line(&texts.join(": ")),
        }
    }
}

impl State {
    fn good(&self, now: SystemTime) -> Option<Bearer> {
        let token = self.token.as_ref()?;
        let is_resting = self.renew_not_before.is_some_and(|until| Instant::now() < until);
        let margin = if is_resting { USABLE } else { RENEWAL };
        (token.expires_at > now + margin).then(|| token.bearer.clone())
    }

    fn keep(&mut self, token: &AccessToken) -> Result<Bearer, AzureError> {
        let text = format!("Bearer {}", token.token.secret());
        let mut header = HeaderValue::from_str(&text).map_err(|_| AzureError::Token {
            credential: "any",
            status: None,
            text: "the token holds characters that no header can".to_owned(),
        })?;
        header.set_sensitive(true);
        self.count += 1;
        let seconds = u64::try_from(token.expires_on.unix_timestamp()).unwrap_or(0);
        let bearer = Bearer { header, number: self.count };
        self.token = Some(Token {
            bearer: bearer.clone(),
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        });
        self.failed = None;
        self.renew_not_before = None;
        Ok(bearer)
    }

    /// The token that is being renewed is still good for a while: it is used, and renewed later.
    fn fail(&mut self, error: AzureError) -> Result<Bearer, AzureError> {
        self.renew_not_before = Some(Instant::now() + RENEWAL_PAUSE);
        if let Some(bearer) = self.good(SystemTime::now()) {
            tracing::warn!(error = %error, "the token cannot be renewed; the old one is used");
            return Ok(bearer);
        }
        self.renew_not_before = None;
        self.failed = Some((Instant::now(), error.clone()));
        Err(error)
    }
}
