//! Boot commands: one process group per running VM, started and ended as the model says.
//!
//! Each command gets a session of its own, so that what it starts ends with it. Must never: decide
//! when a VM runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::model::message::{BootOrder, Effect};

/// A command that was asked to end has this long before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a program in a session of its own (util-linux, part of every Debian). Without it the
/// command only gets a process group of its own.
const SETSID: &str = "/usr/bin/setsid";

/// What boot commands are and where their output goes.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// The program.
    pub program: PathBuf,
    /// Directory for `<vm>.log`; output is thrown away without it.
    pub log_dir: Option<PathBuf>,
}

/// How a command is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    End,
    Die,
}

impl Asked {
    /// Asks for more; says whether it was less before. Who was told to die is not asked to end.
    fn raise(&mut self, wanted: Asked) -> bool {
        let is_more = *self != Asked::Die && *self != wanted;
        if is_more {
            *self = wanted;
        }
        is_more
    }
}

/// Told when a command has started or ended.
pub type Report = Arc<dyn Fn(&str, Event<'_>) + Send + Sync>;

/// What happened to a command.
#[derive(Debug)]
pub enum Event<'a> {
    /// It runs, as this.
    Started(&'a str),
    /// It ended, like this.
    Ended(&'a str),
}

/// All boot commands.
pub struct Runner {
    options: BootOptions,
    /// URL of the metadata service.
    imds: String,
    report: Report,
    running: Mutex<BTreeMap<String, watch::Sender<Asked>>>,
    /// Nothing is started any more.
    is_ending: AtomicBool,
}

impl Runner {
    /// A runner that has started nothing.
    pub fn new(options: BootOptions, imds: &str, report: Report) -> Arc<Runner> {
        Arc::new(Runner {
            options,
            imds: imds.to_owned(),
            report,
            running: Mutex::default(),
            is_ending: AtomicBool::new(false),
        })
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Asked>>> {
        self.running.lock().expect("no holder of this lock can panic")
    }

    /// Does what the model asks for; does not wait.
    pub fn carry_out(self: &Arc<Runner>, effect: Effect) {
        match effect {
            Effect::Boot(_) if self.is_ending.load(Ordering::Relaxed) => {}
            Effect::Boot(order) => {
                let (ask, asked) = watch::channel(Asked::Nothing);
                self.running().insert(order.vm_id.clone(), ask);
                tokio::spawn(Arc::clone(self).tend(order, asked));
            }
            Effect::Stop { vm_id, at_once } => {
                let wanted = if at_once { Asked::Die } else { Asked::End };
                if let Some(ask) = self.running().get(&vm_id) {
                    ask.send_if_modified(|asked| asked.raise(wanted));
                }
            }
        }
    }

    /// Ends all commands and waits for their end.
    pub async fn end_all(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        for ask in self.running().values() {
            ask.send_if_modified(|asked| asked.raise(Asked::End));
        }
        // Each of them is killed after its grace; one second more is for reaping.
        let deadline = tokio::time::Instant::now() + GRACE + Duration::from_secs(1);
        while !self.running().is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// One command from its start to its end.
    async fn tend(self: Arc<Runner>, order: Box<BootOrder>, asked: watch::Receiver<Asked>) {
        let how = match self.spawn(&order) {
            Ok(mut child) => {
                let pid = child.id().unwrap_or_default();
                (self.report)(&order.vm_id, Event::Started(&format!("pid {pid}")));
                let status = wait(&mut child, asked).await;
                status.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            Err(error) => format!("{} could not start: {error}", self.options.program.display()),
        };
        self.running().remove(&order.vm_id);
        (self.report)(&order.vm_id, Event::Ended(&how));
    }

    fn spawn(&self, order: &BootOrder) -> std::io::Result<Child> {
        let mut command = if Path::new(SETSID).exists() {
            let mut command = Command::new(SETSID);
            command.arg(&self.options.program);
            command
        } else {
            let mut command = Command::new(&self.options.program);
            command.process_group(0);
            command
        };
        let output = match &self.options.log_dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                let path = dir.join(format!("{}.log", order.name));
                Some(std::fs::File::options().create(true).append(true).open(path)?)
            }
            None => None,
        };
        let (out, err) = match output {
            Some(file) => (Stdio::from(file.try_clone()?), Stdio::from(file)),
            None => (Stdio::null(), Stdio::null()),
        };
        command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .env_clear()
            .envs(environment(order, &self.imds));
        command.spawn()
    }
}

/// What a boot command learns: its VM, and `PATH` of the emulator.
fn environment(order: &BootOrder, imds: &str) -> Vec<(&'static str, String)> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let mut variables = vec![
        ("PATH", path),
        ("VM_NAME", order.name.clone()),
        ("VM_COMPUTER_NAME", order.computer_name.clone()),
        ("VM_ID", order.id.clone()),
        ("VM_SIZE", order.size.clone()),
        ("VM_LOCATION", order.location.clone()),
        ("VM_RESOURCE_GROUP", order.resource_group.clone()),
        ("VM_TAGS", order.tags.to_string()),
        ("VM_USER_DATA", order.user_data.clone()),
        ("VM_ADDRESS", order.address.clone()),
        ("VM_IMDS", format!("{imds}/vm/{}", order.name)),
    ];
    // A variable cannot hold a NUL byte; user data may.
    variables.iter_mut().for_each(|(_, value)| value.retain(|c| c != '\0'));
    variables
}

/// Waits for the end, asking for it when told to.
async fn wait(child: &mut Child, mut asked: watch::Receiver<Asked>) -> std::io::Result<ExitStatus> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    let mut kill_at = None;
    loop {
        let now = *asked.borrow_and_update();
        match now {
            Asked::Nothing => {}
            Asked::End if kill_at.is_none() => {
                send(pid, Signal::SIGTERM);
                kill_at = Some(tokio::time::Instant::now() + GRACE);
            }
            Asked::End => {}
            Asked::Die => send(pid, Signal::SIGKILL),
        }
        let deadline = async {
            match kill_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child.wait() => {
                // What it left behind in its group ends with it.
                if now != Asked::Nothing {
                    send_group(pid, Signal::SIGKILL);
                }
                return status;
            }
            _ = asked.changed() => {}
            () = deadline => {
                send(pid, Signal::SIGKILL);
                kill_at = None;
            }
        }
    }
}

/// Signals the command's group; before `setsid` has made the group, the process itself.
fn send(pid: Option<Pid>, signal: Signal) {
    if let (false, Some(pid)) = (send_group(pid, signal), pid) {
        let _ = kill(pid, signal);
    }
}

fn send_group(pid: Option<Pid>, signal: Signal) -> bool {
    pid.is_some_and(|pid| killpg(pid, signal).is_ok())
}
