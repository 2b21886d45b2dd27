//! From the start of a program until its first byte is on the wire, and what its first write is.
//!
//! No program keeps a token on disk, so the first byte is the question for one (the security
//! review's rule: a token is in the memory of programs alone).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike as _;
use nix::unistd::Pid;

use super::Bench;
use crate::bed::{Bed, Wanted};
use crate::measure::{Cost, middle};
use crate::replay::{NODE, Script, Step, VM};
use crate::row::Row;
use crate::stub::{Arrived, Stub};

/// The machine's own roots: a real start reads them.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
const RUNS: usize = 9;
const CPU_MAX_MS: f64 = 5.0;
const RSS_MAX_MIB: f64 = 10.0;

/// What a program sent to a listener in the place of Azure.
pub struct Seen {
    /// What was spent until the first byte.
    pub first: Cost,
    /// The same until the first byte to Resource Manager.
    pub arm: Cost,
    /// All requests.
    pub arrived: Vec<Arrived>,
}

/// One row for each program that slurmctld waits for.
pub fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let bound = middle((0..RUNS).map(|_| minimal(bench)).collect::<Result<_>>()?);
    let mut seen = Vec::new();
    for _ in 0..RUNS {
        seen.push(resume(bench)?);
    }
    let mut row = Row::new("start to 1st byte", 1);
    row.cost = middle(seen.iter().map(|seen| seen.first).collect());
    row.bound = bound;
    let cost = row.cost.unwrap_or_default();
    row.judge("CPU of front and driver", cost.cpu_ms, (CPU_MAX_MS, "ms"));
    row.judge("memory", cost.rss_mib, (RSS_MAX_MIB, "MiB"));
    row.note("the first byte asks for a token: none is kept on disk".to_owned());
    let mut arm = Row::new("start to 1st at ARM", 1);
    arm.cost = middle(seen.iter().map(|seen| seen.arm).collect());
    Ok(vec![row, arm])
}

fn resume(bench: &Bench<'_>) -> Result<Seen> {
    observe(bench, ("azslurm-resume", &["n1"]), |arrived| !arrived.is_token())
}

/// The first write of a resume: its path and its body, with [`VM`] and [`NODE`] in the place of
/// names.
pub fn first_put(bench: &Bench<'_>) -> Result<(String, String)> {
    let seen = observe(bench, ("azslurm-resume", &["n1"]), |arrived| arrived.method == "PUT")?;
    let put = seen.arrived.into_iter().find(|arrived| arrived.method == "PUT");
    let put = put.context("no PUT")?;
    let path = put.target.split('?').next().unwrap_or_default();
    let vm = path.rsplit('/').next().unwrap_or_default().to_owned();
    let body = put.body.replace(&vm, VM).replace("\"n1\"", &format!("\"{NODE}\""));
    Ok((put.target.replace(&vm, VM), body))
}

/// Runs a program against a listener until a request like that arrives.
pub fn observe(
    bench: &Bench<'_>,
    (name, words): (&str, &[&str]),
    is_last: impl Fn(&Arrived) -> bool,
) -> Result<Seen> {
    // With a ledger that is there: to make one is done once.
    let bed = Bed::warm(bench.programs, &Wanted::nodes(10))?;
    let config = bed.config_path();
    let stub = stub_for(&bed)?;
    let before = spent_by_children()?;
    let begun = Instant::now();
    let ended = Command::new(bench.programs.join(name))
        .env_clear()
        .env("SLURM_CONF", bed.path().join("slurm.conf"))
        .arg("--config")
        .arg(&config)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    let front_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let front = spent_by_children()? - before;
    anyhow::ensure!(ended.success(), "{name} ended with {ended}");
    let arrived = stub.wait_for(is_last)?;
    for pid in of_ours(&config) {
        // It may have ended by itself.
        let _gone = kill(pid, Signal::SIGKILL);
    }
    let cost = |arrived: &Arrived| Cost {
        cpu_ms: front + arrived.spent.0,
        wall_ms: arrived.at.duration_since(begun).as_secs_f64() * 1000.0,
        front_ms,
        rss_mib: arrived.spent.1,
        ..Cost::default()
    };
    let first = arrived.first().map(cost).context("nothing arrived")?;
    let arm = arrived.iter().find(|arrived| !arrived.is_token()).map(cost);
    Ok(Seen { first, arm: arm.unwrap_or(first), arrived })
}

/// A listener that the bed's config leads to.
pub fn stub_for(bed: &Bed) -> Result<Stub> {
    let config = bed.config_path();
    let look = {
        let config = config.clone();
        move || spent_by(&config)
    };
    let stub = Stub::begin(look)?;
    let urls = bed.emulator.endpoints();
    let mut text = fs::read_to_string(&config)?;
    for url in [&urls.arm_https, &urls.arm_http, &urls.authority, &urls.imds] {
        text = text.replace(&format!("\"{url}"), &format!("\"{}", stub.url));
    }
    if Path::new(ROOTS).exists() {
        text = text.replace(&bed.path().join("ca.pem").display().to_string(), ROOTS);
    }
    bed.configure(&text)?;
    Ok(stub)
}

/// A minimal client until its first byte.
fn minimal(bench: &Bench<'_>) -> Result<Cost> {
    let bed = Bed::start(bench.programs, &Wanted::nodes(10))?;
    let file = bed.path().join("script.json");
    let look = {
        let file = file.clone();
        move || spent_by(&file)
    };
    let stub = Stub::begin(look)?;
    let put = Step::once("PUT", format!("{}/vm", stub.url), Some("{}".to_owned()));
    let token_url = format!("{}/oauth2/token", stub.url);
    let script =
        Script { ca: Path::new(ROOTS).to_owned(), token_url, in_flight: 64, steps: vec![put] };
    fs::write(&file, serde_json::to_vec(&script)?)?;
    let begun = Instant::now();
    let mut client = Command::new(std::env::current_exe()?)
        .env_clear()
        .arg("minimal")
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let arrived = stub.wait_for(|_| true)?;
    client.kill()?;
    client.wait()?;
    let first = arrived.first().context("nothing arrived")?;
    Ok(Cost {
        cpu_ms: first.spent.0,
        wall_ms: first.at.duration_since(begun).as_secs_f64() * 1000.0,
        rss_mib: first.spent.1,
        ..Cost::default()
    })
}

fn spent_by_children() -> Result<f64> {
    let spent = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = spent.user_time().num_microseconds() + spent.system_time().num_microseconds();
    Ok(micros as f64 / 1000.0)
}

/// CPU in milliseconds and the most memory in MiB of the processes that were started with this
/// file.
fn spent_by(file: &Path) -> (f64, f64) {
    let mut spent = (0.0, 0.0);
    for pid in of_ours(file) {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
        let nanos = read("schedstat").ok().and_then(|text| text.split(' ').next()?.parse().ok());
        spent.0 += nanos.map_or(0.0, |nanos: f64| nanos / 1e6);
        let status = read("status").unwrap_or_default();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        spent.1 += most.unwrap_or(0.0) / 1024.0;
    }
    spent
}

/// Drivers and clients: processes whose arguments name the file. A front is counted when it has
/// ended.
fn of_ours(file: &Path) -> Vec<Pid> {
    let wanted = file.display().to_string();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_ours = |words: &str| {
        let is_driver = words.contains("--drive") || words.contains("minimal");
        is_driver && words.split('\0').any(|word| word == wanted)
    };
    all.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let words = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        is_ours(&words).then(|| Pid::from_raw(pid))
    })
    .collect()
}
