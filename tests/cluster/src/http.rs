//! Just enough HTTP/1.1 to talk to the emulator's control API on the loopback address: one request
//! per connection, JSON both ways.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The emulator answers from memory.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A history of many thousand VMs.
const BODY_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Sends one request; an answer outside 200–299 is an error that quotes it. No body is `null`.
pub(crate) fn request(method: &str, url: &str, body: Option<&Value>) -> Result<Value> {
    exchange(method, url, body).with_context(|| format!("{method} {url}"))
}

fn exchange(method: &str, url: &str, body: Option<&Value>) -> Result<Value> {
    let rest = url.strip_prefix("http://").context("not an http:// address")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Accept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let (status, body) = answer(&mut BufReader::new(stream))?;
    if !(200..300).contains(&status) {
        bail!("status {status}: {}", String::from_utf8_lossy(&body));
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).context("the answer is not JSON")
}

fn answer(reader: &mut BufReader<TcpStream>) -> Result<(u16, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).context("no status")?.parse()?;
    let mut length = None;
    let mut is_chunked = false;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = Some(value.trim().parse::<u64>()?),
            Some(("transfer-encoding", value)) => is_chunked = value.contains("chunked"),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    if is_chunked {
        read_chunks(reader, &mut body)?;
    } else {
        let length = length.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
        reader.take(length).read_to_end(&mut body)?;
    }
    Ok((status, body))
}

fn read_chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).context("the size of a chunk")?;
        if size == 0 {
            return Ok(());
        }
        if body.len() as u64 + size > BODY_BYTES_MAX {
            bail!("more than {BODY_BYTES_MAX} bytes");
        }
        reader.by_ref().take(size).read_to_end(body)?;
        reader.read_line(&mut String::new())?;
    }
}
