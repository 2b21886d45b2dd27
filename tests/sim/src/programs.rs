//! Our programs as processes of the simulation: the functions that the real ones are made of, over
//! doors to the models. What a real program does around them (arguments, fork, runtime) is not
//! here.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use azslurm_azure::Arm;
use azslurm_core::attempt::EndReason;
use azslurm_core::hostlist;
use azslurm_ledger::Holder;
use azslurm_program::alive::Alive;
use azslurm_program::exit::Stop;
use azslurm_program::{Clients, Session};
use azslurm_resume::request::ResumeRequest;
use azslurm_slurm::Slurm;
use azslurm_suspend::program as suspend;
use azslurm_sync::pass::{Options, pass};
use tokio::time::sleep;

use crate::clients::{Door, Shared, Token, of};
use crate::ledgers::{Ledgers, Lent};
use crate::place::Place;
use crate::seen::Seen;
use crate::world::Process;
use crate::{commits, libc_seam};

/// Between the first passes of the quiet time: a node idles, is powered off, and its VM is gone.
const QUIET_PAUSE: u64 = 240;
/// The daemon follows what is under way for so long.
const FOLLOW: Duration = Duration::from_secs(20);

/// Where processes run.
#[derive(Clone)]
pub struct Machine {
    /// The world.
    pub world: Shared,
    /// Config and ledger.
    pub place: Arc<Place>,
    /// Connections to the ledger.
    pub ledgers: Rc<Ledgers>,
    /// What passes have found.
    pub seen: Rc<Seen>,
}

/// A process: while its code runs, the kernel and SQLite's hooks know that it does.
struct Running<F> {
    process: u32,
    work: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Running<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let before = commits::set_running(self.process);
        libc_seam::set_pid(self.process);
        let polled = self.work.as_mut().poll(context);
        commits::set_running(before);
        polled
    }
}

impl Machine {
    /// Starts a process; its number.
    pub fn start<F: Future<Output = Result<(), Stop>> + 'static>(
        &self,
        program: &'static str,
        work: impl FnOnce(Machine, u32) -> F,
    ) -> u32 {
        let process = {
            let mut world = of(&self.world);
            let dies_in = world.doom_of(program);
            let new = Process { program, handle: None, dies_in, is_dead: false, is_done: false };
            world.processes.push(new);
            u32::try_from(world.processes.len()).unwrap_or(u32::MAX)
        };
        let work = work(self.clone(), process);
        let world = Arc::clone(&self.world);
        let whole = async move {
            let ended = work.await;
            let mut world = of(&world);
            let this = &mut world.processes[process as usize - 1];
            if !this.is_dead {
                this.is_done = true;
                if ended.is_ok() {
                    world.ended(process);
                }
                world.tell(|| match ended {
                    Ok(()) => format!("{program}#{process} ends"),
                    Err(stop) => format!("{program}#{process} ends: {}", stop.text()),
                });
            }
        };
        let task = tokio::task::spawn_local(Running { process, work: Box::pin(whole) });
        of(&self.world).processes[process as usize - 1].handle = Some(task.abort_handle());
        process
    }

    /// A session of a process; 0 for one that only looks.
    pub fn session(&self, process: u32) -> Result<Lent, Stop> {
        let config = &self.place.config;
        let of = |ledger| Session::of(Arc::clone(config), PathBuf::from("azslurm.toml"), ledger);
        let mut session = Lent::new(&self.ledgers, of).map_err(Stop::cannot_start)?;
        let door = Arc::new(Door { world: Arc::clone(&self.world), process });
        session.slurm = Slurm::over(door.clone(), &config.slurm);
        session.clients = Clients::made(config, |_credential| {
            Arm::over(door.clone(), Arc::new(Token), &config.cloud, &config.limits)
        })
        .map_err(Stop::cannot_start)?;
        Ok(session)
    }

    /// A moment of work; `None` if the process does not survive it.
    async fn beginning(&self, process: u32, what: &str) {
        let wait = of(&self.world).travel_here();
        sleep(wait).await;
        let may = of(&self.world).may_act(process, what);
        if !may {
            std::future::pending::<()>().await;
        }
    }

    /// slurmctld calls ResumeProgram, or a person does, who has no file.
    pub fn resume(&self, nodes: String, file: Option<String>) {
        self.start("resume", |machine, process| async move {
            machine.beginning(process, &format!("begins for {nodes}")).await;
            let request =
                ResumeRequest::new(&nodes, file.as_deref()).map_err(Stop::cannot_start)?;
            let handed = match machine.session(process) {
                Ok(mut session) => {
                    let start = |_: &'static str, _: &Path, holder: &Holder, alive: &Alive| {
                        machine.drive("resume-driver", holder, alive);
                        Ok(())
                    };
                    azslurm_resume::program::hand_over(&mut session, &request, start)
                }
                Err(stop) => Err(stop),
            };
            let Err(stop) = handed else { return Ok(()) };
            let door = Arc::new(Door { world: Arc::clone(&machine.world), process });
            let slurm = Slurm::over(door, &machine.place.config.slurm);
            let told = azslurm_resume::program::tell_none_comes(&slurm, &request, &stop).await;
            told.map_err(Stop::failed)?;
            Err(stop)
        });
    }

    /// slurmctld calls SuspendProgram or ResumeFailProgram.
    pub fn suspend(&self, nodes: String, why: EndReason) {
        let is_fail = why == EndReason::ResumeTimeout;
        let (program, driver) = match is_fail {
            true => ("resume-fail", "resume-fail-driver"),
            false => ("suspend", "suspend-driver"),
        };
        self.start(program, |machine, process| async move {
            machine.beginning(process, &format!("begins for {nodes}")).await;
            let wanted = hostlist::expand(&nodes).map_err(Stop::cannot_start)?;
            let mut session = machine.session(process)?;
            let (ours, _strangers) = suspend::sort_out(&session, &wanted)?;
            let start = |_: &'static str, _: &Path, holder: &Holder, alive: &Alive| {
                machine.drive(driver, holder, alive);
                Ok(())
            };
            suspend::hand_over(&mut session, (program, why), &ours, start).map(drop)
        });
    }

    /// A front starts its driver, which keeps the proof that the holder lives.
    fn drive(&self, program: &'static str, holder: &Holder, alive: &Alive) {
        let front = commits::running();
        let proof: Option<File> = alive.hand_on().ok();
        // exec is an effect: a front may die before it.
        if !of(&self.world).may_act(front, "starts its driver") {
            return;
        }
        let holder = holder.clone();
        self.start(program, |machine, process| async move {
            let _proof = proof;
            {
                let mut world = of(&machine.world);
                world.glance();
                world.laws.drives(process, holder.as_str());
            }
            machine.beginning(process, &format!("drives {}", holder.as_str())).await;
            let mut session = machine.session(process)?;
            session.connect()?;
            match program {
                "resume-driver" => {
                    azslurm_resume::program::carry_out(&mut session, &holder).await.map(drop)
                }
                "suspend-driver" => suspend::carry_out(&mut session, &holder).await.map(drop),
                _ => azslurm_resume_fail::program::carry_out(&mut session, &holder).await.map(drop),
            }
        });
    }

    /// A person runs `azslurm-sync`.
    pub fn pass_by_hand(&self, follow: Duration) {
        self.start(
            "pass",
            |machine, process| async move { machine.one_pass(process, follow).await },
        );
    }

    async fn one_pass(&self, process: u32, follow: Duration) -> Result<(), Stop> {
        self.beginning(process, "begins a pass").await;
        of(&self.world).laws.lists.begins(process);
        let mut session = self.session(process)?;
        self.seen.look(self).await;
        pass(&mut session, Options { dry_run: false, wait: follow, force: false }).await?;
        of(&self.world).passed();
        Ok(())
    }

    /// The daemon: a pass after the other, the first so many seconds from now.
    pub fn daemon(&self, first: u64) -> u32 {
        self.start("sync", move |machine, process| async move {
            sleep(Duration::from_secs(first)).await;
            loop {
                if let Err(stop) = machine.one_pass(process, FOLLOW).await {
                    of(&machine.world).tell(|| format!("sync#{process}: {}", stop.text()));
                }
                machine.seen.passed();
                let quiet = machine.seen.quiet_passes();
                let pause = match quiet {
                    0 => {
                        let mut world = of(&machine.world);
                        let (least, more) = machine.seen.pause();
                        least + crate::script::below(&mut world.chance, more)
                    }
                    1..=8 => QUIET_PAUSE,
                    _ => 300,
                };
                sleep(Duration::from_secs(pause)).await;
            }
        })
    }
}
