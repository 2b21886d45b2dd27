//! A listener in the place of Azure: it notes when each request arrived, and what it was. Tokens
//! and empty lists are all that it gives; a write is never answered.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// When its first byte was read.
    pub at: Instant,
    /// `PUT`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its body.
    pub body: String,
    /// CPU of the program that sent it, in milliseconds, and the most memory that it had, in MiB;
    /// as it was when the request arrived.
    pub spent: (f64, f64),
}

/// Who looks at the sender when a request arrives.
type Look = Arc<dyn Fn() -> (f64, f64) + Send + Sync>;

/// The listener.
#[derive(Debug)]
pub struct Stub {
    /// Its address.
    pub url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

/// A program that sends nothing for so long does not work.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl Stub {
    /// Listens; `look` tells what the sender has spent.
    pub fn begin(look: impl Fn() -> (f64, f64) + Send + Sync + 'static) -> Result<Stub> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let (to, look): (_, Look) = (Arc::clone(&arrived), Arc::new(look));
        // It ends with the benchmark.
        let _detached = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (to, look) = (Arc::clone(&to), Arc::clone(&look));
                std::thread::spawn(move || serve(stream, &to, &look));
            }
        });
        Ok(Stub { url, arrived })
    }

    /// Waits for a request like this; all that arrived until then.
    pub fn wait_for(&self, is_it: impl Fn(&Arrived) -> bool) -> Result<Vec<Arrived>> {
        let until = Instant::now() + WAIT_MAX;
        loop {
            let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if arrived.iter().any(&is_it) {
                return Ok(arrived);
            }
            if Instant::now() > until {
                bail!("the request that is waited for did not come: {arrived:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// All that arrived so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Arrived {
    /// Whether it asks for a token.
    pub fn is_token(&self) -> bool {
        self.target.contains("/oauth2/")
    }
}

/// A connection that breaks off is over.
fn serve(stream: TcpStream, to: &Mutex<Vec<Arrived>>, look: &Look) -> Option<()> {
    let mut answers = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        reader.fill_buf().ok().filter(|bytes| !bytes.is_empty())?;
        let (at, spent) = (Instant::now(), look());
        let mut arrived = read(&mut reader)?;
        (arrived.at, arrived.spent) = (at, spent);
        let answer = answer(&arrived);
        to.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
        answers.write_all(answer?.as_bytes()).ok()?;
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Arrived> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    Some(Arrived { at: Instant::now(), method, target, body, spent: (0.0, 0.0) })
}

fn answer(arrived: &Arrived) -> Option<String> {
    let body = match arrived.method.as_str() {
        _ if arrived.is_token() => {
            "{\"access_token\":\"e30.e30.\",\"expires_on\":\"4102444800\",\"expires_in\":\"86399\",\
             \"resource\":\"x\",\"token_type\":\"Bearer\"}"
        }
        "GET" => "{\"value\":[]}",
        "POST" => "{\"totalRecords\":0,\"count\":0,\"data\":[],\"resultTruncated\":\"false\"}",
        _ => return None,
    };
    Some(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}
