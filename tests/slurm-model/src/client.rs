//! Slurm's commands as azslurm and an administrator run them: arguments in, words and exit status
//! out. The refusals are scontrol's own words.

use azslurm_core::hostlist;

use crate::Slurmctld;
use crate::job::Phase;
use crate::seen::Signal;
use crate::update::Verb;

/// What a run of a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    pub(crate) fn said(stdout: String) -> Output {
        Output { status: 0, stdout, stderr: String::new() }
    }

    fn refused(words: impl Into<String>) -> Output {
        let mut stderr = words.into();
        stderr.push('\n');
        Output { status: 1, stdout: String::new(), stderr }
    }

    /// Done, or every refusal in a line.
    fn of_refusals(refusals: &[String]) -> Output {
        if refusals.is_empty() {
            Output::said(String::new())
        } else {
            Output::refused(refusals.join("\n"))
        }
    }
}

/// What every client says of a slurmctld that is not there, and of one that is too busy.
const NO_CONTACT: &str = "Unable to contact slurm controller (connect failure)";
const TIMED_OUT: &str = "Socket timed out on send/recv operation";
const NO_JOB: &str = "Invalid job id specified";
const NEEDS_REASON: &str =
    "You must specify a reason when DOWNING or DRAINING a node. Request denied";

/// What `scontrol update nodename=…` is to change.
#[derive(Default)]
struct Change<'a> {
    nodes: &'a str,
    verb: Option<Verb>,
    reason: Option<&'a str>,
    comment: Option<&'a str>,
    address: Option<&'a str>,
    host_name: Option<&'a str>,
}

impl<'a> Change<'a> {
    fn of_words(words: &[&'a str]) -> Result<Change<'a>, Output> {
        let mut change = Change::default();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key.to_ascii_lowercase().as_str() {
                "nodename" | "node" => change.nodes = value,
                "state" => {
                    let unknown =
                        || Output::refused(format!("Invalid input: {word}\nRequest aborted"));
                    change.verb = Some(Verb::of_word(value).ok_or_else(unknown)?);
                }
                "reason" => change.reason = Some(value),
                "comment" => change.comment = Some(value),
                "nodeaddr" => change.address = Some(value),
                "nodehostname" => change.host_name = Some(value),
                _other => return Err(not_supported(word)),
            }
        }
        let is_silent = change.reason.is_none_or(str::is_empty);
        if change.verb.is_some_and(Verb::needs_reason) && is_silent {
            return Err(Output::refused(NEEDS_REASON));
        }
        Ok(change)
    }
}

fn not_supported(word: &str) -> Output {
    Output::refused(format!("Update of this parameter is not supported: {word}\nRequest aborted"))
}

impl Slurmctld {
    /// Runs `scontrol`, `scancel` or `squeue` with these arguments.
    pub fn run(&mut self, client: &str, arguments: &[String], now: i64) -> Output {
        let now = self.catch_up(now);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = match client {
            "scontrol" => self.scontrol(&words, now),
            "scancel" => self.scancel(&words, now),
            "squeue" => self.squeue(&words, now),
            _other => Output::refused(format!("{client}: command not found")),
        };
        self.refresh();
        output
    }

    /// The words of a slurmctld that does not answer; `None` if it does.
    fn silence(&self, now: i64) -> Option<&'static str> {
        if self.is_stopped {
            Some(NO_CONTACT)
        } else if now < self.hung_until {
            Some(TIMED_OUT)
        } else {
            None
        }
    }

    fn scontrol(&mut self, words: &[&str], now: i64) -> Output {
        let is_word = |word: &&&str| !matches!(**word, "-a" | "-o" | "-F");
        let words: Vec<&str> = words.iter().filter(is_word).copied().collect();
        match words.as_slice() {
            ["--version"] | ["-V"] => {
                Output::said(format!("slurm-wlm {}\n", self.settings.version.as_str()))
            }
            ["ping"] => self.answer_ping(now),
            asked => match self.silence(now) {
                Some(silence) => Output::refused(format!("{}: {silence}", error_of(asked))),
                None => self.answer(asked, now),
            },
        }
    }

    fn answer(&mut self, words: &[&str], now: i64) -> Output {
        match words {
            ["show", "nodes" | "node"] => Output::said(self.text_of_nodes()),
            ["show", "nodes" | "node", list] => self.show_nodes(list),
            ["show", "jobs" | "job"] => Output::said(self.text_of_jobs(now)),
            ["show", "jobs" | "job", id] => self.show_job(id, now),
            ["show", "config"] => Output::said(self.text_of_config(now)),
            ["update", first, rest @ ..] if is_about_job(first) => {
                self.update_job(first, rest, now)
            }
            ["update", rest @ ..] => self.update_nodes(rest, now),
            ["notify", job, text @ ..] => self.notify(job, &text.join(" ")),
            ["requeue", list] => self.requeue(list, now),
            ["reconfigure"] => Output::said(String::new()),
            _other => Output::refused(format!("invalid keyword: {}", words.join(" "))),
        }
    }

    /// All jobs, in the columns that are asked for.
    fn squeue(&self, words: &[&str], now: i64) -> Output {
        let columns = match (self.silence(now), words) {
            (Some(silence), _) => {
                return Output::refused(format!("slurm_load_jobs error: {silence}"));
            }
            (None, ["-h", "-a", "-t", "all", "-O", columns]) => columns,
            (None, other) => {
                return Output::refused(format!("squeue: error: {}", other.join(" ")));
            }
        };
        match self.columns_of_jobs(columns, now) {
            Ok(text) => Output::said(text),
            Err(column) => Output::refused(format!("Invalid job format specification: {column}")),
        }
    }

    fn answer_ping(&self, now: i64) -> Output {
        let is_up = self.silence(now).is_none();
        let mut stdout = String::new();
        for (at, name) in self.settings.controllers.iter().enumerate() {
            let role = match (at, self.settings.controllers.len()) {
                (0, _) => "primary".to_owned(),
                (_, 2) => "backup".to_owned(),
                (at, _) => format!("backup{at}"),
            };
            let state = if is_up && at == 0 { "UP" } else { "DOWN" };
            stdout.push_str(&format!("Slurmctld({role}) at {name} is {state}\n"));
        }
        Output { status: i32::from(!is_up), stdout, stderr: String::new() }
    }

    fn show_nodes(&self, list: &str) -> Output {
        let Ok(names) = hostlist::expand(list) else {
            return Output::refused(format!("Invalid hostlist: {list}"));
        };
        let mut output = Output::said(String::new());
        for name in names {
            match self.node_at(name.as_str()) {
                Some(at) => self.write_node(at, &mut output.stdout),
                None => {
                    output.stdout.push_str(&format!("Node {name} not found\n"));
                    output.status = 1;
                }
            }
        }
        output
    }

    fn show_job(&self, id: &str, now: i64) -> Output {
        match self.known_job(id) {
            Some(at) => {
                let mut text = String::new();
                self.write_job(at, now, &mut text);
                Output::said(text)
            }
            None => Output::refused(format!("slurm_load_jobs error: {NO_JOB}")),
        }
    }

    /// Node by node; the first unknown name ends it, and of other refusals the last is told.
    fn update_nodes(&mut self, words: &[&str], now: i64) -> Output {
        let change = match Change::of_words(words) {
            Ok(change) => change,
            Err(refusal) => return refusal,
        };
        let Ok(names) = hostlist::expand(change.nodes) else {
            return Output::refused("slurm_update error: Invalid node name specified");
        };
        let mut refusal = None;
        for name in names {
            let Some(at) = self.node_at(name.as_str()) else {
                refusal = Some("Invalid node name specified");
                break;
            };
            let node = &mut self.nodes[at];
            let set = |place: &mut Option<String>, value: Option<&str>| {
                if let Some(value) = value {
                    *place = (!value.is_empty()).then(|| value.to_owned());
                }
            };
            set(&mut node.comment, change.comment);
            set(&mut node.address, change.address);
            set(&mut node.host_name, change.host_name);
            if !self.update_node(at, change.verb, change.reason, now) {
                refusal = Some("Invalid node state specified");
            }
        }
        let refusals: Vec<String> =
            refusal.map(|words| format!("slurm_update error: {words}")).into_iter().collect();
        Output::of_refusals(&refusals)
    }

    fn update_job(&mut self, first: &str, rest: &[&str], now: i64) -> Output {
        let id = first.split_once('=').map_or("", |(_, id)| id);
        let Some(at) = self.known_job(id) else {
            return Output::refused(format!("{NO_JOB} for job {id}"));
        };
        for word in rest {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key.to_ascii_lowercase().as_str() {
                "admincomment" => {
                    let text = (!value.is_empty()).then(|| value.to_owned());
                    self.jobs[at].admin_comment = text;
                }
                "starttime" if value == "now" => {
                    self.jobs[at].begin_at = now;
                    self.touch(now);
                }
                _other => return not_supported(word),
            }
        }
        Output::said(String::new())
    }

    fn notify(&mut self, job: &str, text: &str) -> Output {
        let running = self.known_job(job).filter(|at| self.jobs[*at].ended_at.is_none());
        let Some(at) = running else {
            return Output::refused(format!("slurm_notify_job error: {NO_JOB}"));
        };
        self.jobs[at].notices.push(text.to_owned());
        Output::said(String::new())
    }

    /// Each job by itself; a refusal does not keep the others from being requeued.
    fn requeue(&mut self, list: &str, now: i64) -> Output {
        let mut refusals = Vec::new();
        for id in list.split(',') {
            let done = match self.known_job(id) {
                Some(at) => self.requeue_job(at, now),
                None => Err(NO_JOB),
            };
            refusals.extend(done.err().map(|words| format!("{words} for job {id}")));
        }
        Output::of_refusals(&refusals)
    }

    fn scancel(&mut self, words: &[&str], now: i64) -> Output {
        if let Some(silence) = self.silence(now) {
            return Output::refused(format!("scancel: error: slurm_kill_job2: {silence}"));
        }
        let signal = words.iter().find_map(|word| word.strip_prefix("--signal="));
        let to_batch = words.contains(&"--batch");
        let to_all = words.contains(&"--full");
        let mut refusals = Vec::new();
        for id in words.iter().filter(|word| !word.starts_with('-')) {
            let refused = match (self.known_job(id), signal) {
                (None, _) => Some(NO_JOB),
                (Some(at), None) => {
                    self.cancel_job(at, now);
                    None
                }
                (Some(at), Some(name)) => {
                    let name = name.to_owned();
                    self.signal(at, Signal { at: now, name, to_batch, to_all })
                }
            };
            let tell = |words| format!("scancel: error: Kill job error on job id {id}: {words}");
            refusals.extend(refused.map(tell));
        }
        Output::of_refusals(&refusals)
    }

    fn signal(&mut self, at: usize, signal: Signal) -> Option<&'static str> {
        let job = &mut self.jobs[at];
        match job.phase {
            Phase::Running => {
                job.signals.push(signal);
                None
            }
            Phase::Pending | Phase::Configuring => Some("Job is pending execution"),
            Phase::Completing | Phase::Ended(_) => Some("Job/step already completing or completed"),
        }
    }

    /// A job that this slurmctld knows: one that was lost with its state is not one.
    fn known_job(&self, id: &str) -> Option<usize> {
        let at = self.job_at(id.parse().ok()?)?;
        self.is_known(at).then_some(at)
    }
}

fn is_about_job(word: &str) -> bool {
    let key = word.split_once('=').map_or("", |(key, _)| key).to_ascii_lowercase();
    matches!(key.as_str(), "jobid" | "job")
}

/// How scontrol begins the line of an error.
fn error_of(words: &[&str]) -> &'static str {
    match words {
        ["show", "nodes" | "node", ..] => "slurm_load_node error",
        ["show", "jobs" | "job", ..] => "slurm_load_jobs error",
        ["show", "config", ..] => "slurm_load_ctl_conf error",
        ["update", ..] => "slurm_update error",
        ["notify", ..] => "slurm_notify_job error",
        ["reconfigure", ..] => "slurm_reconfigure error",
        _other => "slurm error",
    }
}
