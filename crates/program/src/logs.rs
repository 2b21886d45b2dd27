//! Logs: journald with fields when it is there, and the config's file when it names one; stderr
//! when there is neither.
//!
//! slurmctld throws away what its programs print, and a program may fail before it knows its
//! config. So the first line is written before anything can fail: to journald at once, otherwise
//! into a buffer that goes to the config's file once that is known, and to [`FALLBACK_FOLDER`] and
//! stderr if it never is.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use azslurm_core::config::{Log, LogLevel};
use azslurm_core::plain;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::alive::open_or_make;

/// Where lines go that were written before a config was read, when none could be.
pub const FALLBACK_FOLDER: &str = "/var/log/azslurm";

/// For its owner and group: names of nodes, people's reasons and what Azure says are nobody else's
/// business, and slurmctld's umask would let everybody read.
const FILE_MODE: u32 = 0o640;

/// More than this is never kept while the log's place is not known.
const BUFFER_MAX: usize = 64 * 1024;

static SINK: OnceLock<Sink> = OnceLock::new();
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging and writes the first line: which program, its arguments, its process.
pub fn start(program: &'static str) {
    let (level, handle) = reload::Layer::new(ours_from(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(level);
    let journal = tracing_journald::layer().ok().map(|layer| {
        // Field `node` becomes AZSLURM_NODE.
        layer
            .with_field_prefix(Some("AZSLURM".to_owned()))
            .with_syslog_identifier(program.to_owned())
    });
    let sink = SINK.get_or_init(|| Sink::new(journal.is_some())).clone();
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(sink);
    let started = registry.with(journal).with(lines).try_init();
    if started.is_ok() {
        let _already = LEVEL.set(handle);
    }
    log_panics();
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    tracing::info!(pid = std::process::id(), ?arguments, "{program} started");
}

/// A panic is a mistake of ours and a line of the log: what a driver or the daemon prints nobody
/// reads.
fn log_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        print(panic);
    }));
}

/// Sends the log where the config says, with the level that it says.
pub fn direct(program: &str, log: &Log) {
    if let Some(handle) = LEVEL.get() {
        let level = match log.level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
        };
        if handle.reload(ours_from(level)).is_err() {
            tracing::warn!("the log's level cannot be changed");
        }
    }
    let Some(sink) = SINK.get() else { return };
    match log.file.as_deref().map(append_to) {
        Some(Ok(file)) => sink.change(Target::File(file)),
        Some(Err(error)) => {
            sink.change(Target::Stderr);
            let file = log.file.as_deref().unwrap_or(Path::new(""));
            tracing::error!("cannot write the log {}: {error}", file.display());
            eprintln!("{program}: cannot write the log {}: {error}", file.display());
        }
        None => sink.change(sink.elsewhere()),
    }
}

/// The name of an operation for the log: the last part of its path. Its query may carry signed
/// parameters and is nobody's business.
pub fn operation_name(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?;
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

/// At the end of a program that never came to know its config: nothing that was logged may be lost.
pub fn flush_to_fallback(program: &str) {
    let Some(sink) = SINK.get() else { return };
    let target = append_to(&Path::new(FALLBACK_FOLDER).join(format!("{program}.log")));
    sink.end_buffering(target.map_or_else(|_| sink.elsewhere(), Target::File));
}

/// Our own lines from `level` on; those of libraries only if they matter, or while somebody debugs.
fn ours_from(level: LevelFilter) -> Targets {
    let libraries = if level == LevelFilter::DEBUG { LevelFilter::INFO } else { LevelFilter::WARN };
    Targets::new().with_default(libraries.min(level)).with_target("azslurm", level)
}

fn append_to(path: &Path) -> io::Result<File> {
    open_or_make(OpenOptions::new().append(true).mode(FILE_MODE), path)
}

/// Where lines go now.
#[derive(Debug)]
enum Target {
    Buffer(Vec<u8>),
    File(File),
    Stderr,
    Nowhere,
}

#[derive(Debug, Clone)]
struct Sink {
    target: Arc<Mutex<Target>>,
    has_journal: bool,
}

impl Sink {
    fn new(has_journal: bool) -> Sink {
        let sink = Sink { target: Arc::new(Mutex::new(Target::Buffer(Vec::new()))), has_journal };
        // A person who waits at a terminal sees lines at once.
        if io::stderr().is_terminal() {
            sink.change(Target::Stderr);
        }
        sink
    }

    /// Where lines go when no file is named.
    fn elsewhere(&self) -> Target {
        if self.has_journal && !io::stderr().is_terminal() {
            Target::Nowhere
        } else {
            Target::Stderr
        }
    }

    fn change(&self, target: Target) {
        let mut current = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, target);
        if let Target::Buffer(lines) = before {
            // A log that cannot be written is no reason to stop working.
            let _lost = write_to(&mut current, &lines);
        }
    }

    fn end_buffering(&self, target: Target) {
        let is_buffering = matches!(
            *self.target.lock().unwrap_or_else(PoisonError::into_inner),
            Target::Buffer(_)
        );
        if is_buffering {
            self.change(target);
        }
    }
}

fn write_to(target: &mut Target, lines: &[u8]) -> io::Result<()> {
    match target {
        Target::Buffer(buffer) => {
            let room = BUFFER_MAX.saturating_sub(buffer.len());
            buffer.extend_from_slice(&lines[..lines.len().min(room)]);
            Ok(())
        }
        // One write per line with O_APPEND: lines of several programs do not mix.
        Target::File(file) => file.write_all(lines),
        Target::Stderr => io::stderr().write_all(lines),
        Target::Nowhere => Ok(()),
    }
}

impl Write for &Sink {
    /// One call is one entry, as tracing writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let entry = String::from_utf8_lossy(line);
        let entry = format!("{}\n", plain::entry(entry.trim_end_matches('\n')));
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        write_to(&mut target, entry.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Sink;

    fn make_writer(&'a self) -> &'a Sink {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_named_without_its_query() {
        let url = "https://arm/subscriptions/s/operations/0a-b?p=secret&api-version=1";
        assert_eq!(operation_name(url), Some("0a-b"));
        assert_eq!(operation_name(""), None);
    }

    #[test]
    fn lines_from_before_the_config_reach_the_file_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azslurm.log");
        let sink = Sink::new(false);
        sink.change(Target::Buffer(Vec::new()));
        (&sink).write_all(b"first\n").unwrap();
        sink.change(Target::File(append_to(&path).unwrap()));
        (&sink).write_all(b"second\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\n");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn an_entry_holds_nothing_that_a_terminal_obeys_and_no_line_that_looks_like_another_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azslurm.log");
        let sink = Sink::new(false);
        sink.change(Target::File(append_to(&path).unwrap()));
        let forged = "at ERROR no\u{1b}[2J\r\u{202e}\nat INFO all is well\n";
        (&sink).write_all(forged.as_bytes()).unwrap();
        (&sink).write_all(b"at INFO \xff\n").unwrap();
        let shown =
            "at ERROR no\\u{1b}[2J\\u{d}\\u{202e}\n\tat INFO all is well\nat INFO \u{fffd}\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), shown);
    }

    #[test]
    fn a_log_that_root_begins_belongs_to_the_owner_of_its_folder() {
        use std::os::unix::fs::MetadataExt;

        if !nix::unistd::geteuid().is_root() {
            println!("left out: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12_345), Some(12_346)).unwrap();
        let path = folder.path().join("azslurm.log");
        for line in ["first\n", "second\n"] {
            append_to(&path).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\n");
        let made = std::fs::metadata(&path).unwrap();
        assert_eq!((made.uid(), made.gid()), (12_345, 12_346));
    }
}
