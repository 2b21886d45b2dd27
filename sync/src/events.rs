//! `azslurm-sync events`: what happened, oldest first, from the ledger alone.

use std::io::Write;
use std::time::Duration;

use azslurm_core::{JobId, NodeName, Timestamp, VmName, plain};
use azslurm_ledger::{Event, EventFilter, LedgerError};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, now};
use clap::Args;
use serde::Serialize;

/// How many are shown when nobody says.
const SHOWN: usize = 200;
/// Between two looks with `--follow`: history is for people.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Which events.
#[derive(Debug, Args)]
pub struct EventsOf {
    /// Only about this node
    #[arg(long, value_name = "NODE")]
    node: Option<NodeName>,
    /// Only about this VM
    #[arg(long, value_name = "VM")]
    vm: Option<VmName>,
    /// Only about this job, and about VMs that it waited for
    #[arg(long, value_name = "JOB", value_parser = job)]
    job: Option<JobId>,
    /// Only since so long ago: `90s`, `30m`, `2h`, `1d`
    #[arg(long, value_name = "TIME", value_parser = crate::cli::span)]
    since: Option<Duration>,
    /// The newest so many
    #[arg(long, value_name = "COUNT", default_value_t = SHOWN)]
    limit: usize,
    /// Go on, with each event as it happens; with --json one object in each line
    #[arg(long)]
    follow: bool,
}

fn job(text: &str) -> Result<JobId, String> {
    let number = text.parse().map_err(|_| format!("{text:?} is no job: a number such as 1234"))?;
    Ok(JobId(number))
}

/// An event for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// When, RFC 3339.
    pub at: String,
    /// What, as one word.
    pub kind: String,
    /// Node.
    pub node: Option<NodeName>,
    /// VM.
    pub vm: Option<VmName>,
    /// Job.
    pub job: Option<u32>,
    /// Site.
    pub site: Option<String>,
    /// Azure's id of the call, for its support.
    pub request_id: Option<String>,
    /// What, for people.
    pub text: String,
}

impl From<Event> for Row {
    fn from(event: Event) -> Row {
        Row {
            at: event.at.to_string(),
            kind: event.kind,
            node: event.node,
            vm: event.vm,
            job: event.job.map(|job| job.0),
            site: event.site.map(|site| site.to_string()),
            request_id: event.request_id,
            text: event.text,
        }
    }
}

impl Row {
    /// One line for people.
    pub fn line(&self) -> String {
        let Row { at, kind, node, vm, job, site, request_id, text } = self;
        let about = match (vm, node) {
            (Some(vm), _) => vm.to_string(),
            (None, Some(node)) => node.to_string(),
            (None, None) => "-".to_owned(),
        };
        let mut tail: Vec<String> = Vec::new();
        tail.extend(site.as_ref().map(|site| format!("site {site}")));
        tail.extend(job.map(|job| format!("job {job}")));
        tail.extend(request_id.as_ref().map(|id| format!("request {id}")));
        let tail = if tail.is_empty() { String::new() } else { format!(" ({})", tail.join(", ")) };
        format!("{at} {kind:15} {about:24} {text}{tail}")
    }
}

impl EventsOf {
    fn filter(&self, now: Timestamp) -> EventFilter {
        EventFilter {
            node: self.node.clone(),
            vm: self.vm.clone(),
            job: self.job,
            since: self.since.map(|since| now.minus(since)),
            after: None,
            limit: self.limit,
        }
    }
}

/// Shows events; with `--follow` until somebody ends the program, or reads no more.
pub fn show(session: &mut Session, of: &EventsOf, is_json: bool) -> Result<(), Stop> {
    let mut filter = of.filter(now());
    let (mut last, events) = read(session, &filter).map_err(Stop::failed)?;
    let mut rows: Vec<Row> = events.into_iter().map(Row::from).collect();
    if !of.follow {
        return match is_json {
            true => print(&[serde_json::to_string_pretty(&rows).map_err(Stop::failed)?]),
            false if rows.is_empty() => print(&["no events".to_owned()]),
            false => print(&lines(&rows, false)?),
        }
        .map_err(Stop::failed);
    }
    (filter.since, filter.limit) = (None, usize::MAX);
    loop {
        match print(&lines(&rows, is_json)?) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Stop::failed(error)),
        }
        std::thread::sleep(FOLLOW_EVERY);
        filter.after = Some(last);
        let (newest, events) = read(session, &filter).map_err(Stop::failed)?;
        last = newest;
        rows = events.into_iter().map(Row::from).collect();
    }
}

/// The events that fit, and the number of the newest event of all at the same moment.
fn read(session: &mut Session, filter: &EventFilter) -> Result<(i64, Vec<Event>), LedgerError> {
    session.ledger.read(|reader| Ok((reader.last_event()?, reader.events(filter)?)))
}

fn lines(rows: &[Row], is_json: bool) -> Result<Vec<String>, Stop> {
    let line = |row: &Row| match is_json {
        true => {
            let json = serde_json::to_string(row).map_err(Stop::failed)?;
            Ok(plain::json(&json).into_owned())
        }
        false => Ok(plain::text(&row.line()).into_owned()),
    };
    rows.iter().map(line).collect()
}

fn print(lines: &[String]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}
