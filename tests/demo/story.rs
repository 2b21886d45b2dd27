//! The demo from its beginning to its end: a cluster, a job, and watching until nothing is left.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use azslurm_test_cluster::{Cluster, ClusterSpec, JobId, interrupted};

use crate::arguments::Arguments;
use crate::look::{Moment, Picture};
use crate::passes::{PAUSE, Passes, WAIT};
use crate::phase::{Phase, is_lost};
use crate::screen::Screen;
use crate::summary::{self, Seen};
use crate::table;

/// A cycle takes 60 to 100 s, most of it slurmctld's own clocks.
const DEADLINE: Duration = Duration::from_secs(300);

/// One more than the job needs: what nobody asks for stays off.
const NODES: u32 = 4;
const JOB_NODES: usize = 3;

/// Long enough that every phase can be seen, short enough to be watched. The real ones are minutes.
const EMULATOR: &str = "\
[delays]
vm_create_ms = 4000
vm_delete_ms = 3000
vm_force_delete_ms = 3000
retry_after_s = 1
first_poll_retry_after_s = 2
";

const JOB: &str = "\
#!/bin/bash
#SBATCH --job-name=demo --nodes=3
echo \"batch script on $SLURMD_NODENAME, nodes $SLURM_JOB_NODELIST\"
srun --label bash -c 'echo \"task ran on $SLURMD_NODENAME\"; sleep @SECONDS@'
echo \"all tasks are done\"
";

/// How long the job's tasks sleep: to be seen, and with something to do meanwhile until even a busy
/// machine has begun that.
const SLEEP: [&str; 2] = ["3", "30"];

/// What is known while the story goes on.
struct Story<'a> {
    cluster: &'a Cluster,
    passes: &'a Passes,
    screen: Screen,
    start: Moment,
    job: JobId,
    seen: Seen,
    phase: Option<Phase>,
    picture: Picture,
    is_output_told: bool,
    /// What the shell is still to do, and when.
    meanwhile: BTreeMap<Phase, String>,
}

/// Tells the whole story. On an error the cluster's logs are kept, unless it was Ctrl-C.
pub fn tell(arguments: Arguments) -> Result<()> {
    // Two demos at once, both failing, keep their logs apart.
    let name = format!("demo-{}", std::process::id());
    let began = Moment::now();
    let mut screen = Screen::new(began);
    screen.print(
        "azslurm: a Slurm job on Azure VMs that are made for it and deleted after it.\n\
         slurmctld, slurmd, the job and azslurm are real; Azure is played by an emulator.\n",
    )?;
    let cluster = Cluster::start(&ClusterSpec {
        name,
        nodes: NODES,
        emulator_config: Some(EMULATOR.to_owned()),
        program_dir: arguments.programs,
        ..ClusterSpec::default()
    })?;
    let creating = arguments.while_creating.map(|command| (Phase::Creating, command));
    let running = arguments.while_running.map(|command| (Phase::Running, command));
    let meanwhile = creating.into_iter().chain(running).collect();
    let told = tell_of(&cluster, (screen, began), meanwhile);
    if interrupted() {
        eprintln!("\ninterrupted: ending what the demo has started");
        return cluster.finish();
    }
    told.and_then(|()| cluster.finish())
}

fn tell_of(
    cluster: &Cluster,
    (mut screen, began): (Screen, Moment),
    meanwhile: BTreeMap<Phase, String>,
) -> Result<()> {
    let nodes = cluster.spec().node_list();
    let pause = PAUSE.as_secs();
    screen.say(
        Moment::now(),
        &[
            &format!("A cluster with the nodes {nodes} is ready, none of them on:"),
            &cluster.dir().display().to_string(),
            &format!("Every {pause} s runs `azslurm-sync pass --wait {WAIT}`, as its timer would"),
            "every minute. The job:",
        ],
    )?;
    let is_long = meanwhile.contains_key(&Phase::Running);
    let script = JOB.replace("@SECONDS@", SLEEP[usize::from(is_long)]);
    screen.print(&format!("\n{}\n", indented(&script)))?;
    let job = cluster.sbatch(&[], &script)?;
    let submitted = Moment::now();
    let passes = Passes::default();
    thread::scope(|scope| {
        // Dropped before the scope waits for its thread.
        let _end = passes.ends_with();
        scope.spawn(|| passes.run(cluster));
        let mut story = Story {
            cluster,
            passes: &passes,
            screen,
            start: began,
            job,
            seen: Seen::new(submitted),
            phase: None,
            picture: Picture::default(),
            is_output_told: false,
            meanwhile,
        };
        story.watch()?;
        story.end()
    })
}

impl Story<'_> {
    /// Until nothing is left.
    fn watch(&mut self) -> Result<()> {
        let cluster = self.cluster;
        let mut missed = None;
        let watched = cluster.wait_for(DEADLINE, "the end of the demo", || {
            // Who cannot be asked now may answer in a moment: only the deadline makes it an error.
            missed = self.look().err();
            if missed.is_none() {
                self.show()?;
            }
            Ok(self.phase == Some(Phase::Off))
        });
        watched.map_err(|error| self.failure(&error, missed.as_ref()))
    }

    fn look(&mut self) -> Result<()> {
        self.picture = Picture::take(self.cluster, Some(self.job))?;
        self.seen.note(&self.picture);
        Ok(())
    }

    fn show(&mut self) -> Result<()> {
        if is_lost(&self.picture.job) {
            bail!("job {} is {}", self.job, self.picture.job);
        }
        let phase = Phase::of(&self.picture, JOB_NODES);
        let is_new = self.phase.is_none_or(|before| phase > before);
        if is_new {
            self.phase = Some(phase);
        }
        if phase >= Phase::Idle && !self.is_output_told {
            self.tell_output()?;
        }
        if is_new {
            self.screen.say(self.picture.at, phase.explanation())?;
            self.run_what_is_due(phase)?;
        }
        let title = self.phase.unwrap_or(phase).title();
        Ok(self.screen.show(&self.picture, title)?)
    }

    /// What was to be done in this phase, or in an earlier one that no look has seen. When the job
    /// is done it is an error: nothing would be shown any more.
    fn run_what_is_due(&mut self, phase: Phase) -> Result<()> {
        while let Some(due) = self.meanwhile.first_entry().filter(|due| *due.key() <= phase) {
            let (when, command) = due.remove_entry();
            if phase >= Phase::Idle {
                bail!("`{command}` was to be run while: {}; now: {}", when.title(), phase.title());
            }
            self.screen.say(Moment::now(), &["Meanwhile:", &command])?;
            self.cluster.shell(&command)?;
        }
        Ok(())
    }

    /// The job's output, which must be there when the job has completed.
    fn tell_output(&mut self) -> Result<()> {
        let output = self.cluster.job_output(self.job).unwrap_or_default();
        let tasks = output.lines().filter(|line| line.contains("task ran on ")).count();
        if tasks != JOB_NODES {
            bail!("job {} wrote of {tasks} tasks, not of {JOB_NODES}: {output:?}", self.job);
        }
        self.is_output_told = true;
        self.screen.say(self.picture.at, &["The job's output:"])?;
        Ok(self.screen.print(&format!("\n{}\n", indented(&output)))?)
    }

    fn end(&mut self) -> Result<()> {
        self.screen.leave_table();
        let calls = self.cluster.emulator().calls().context("ask the emulator for its calls")?;
        let picture = &self.picture;
        let mut text = format!("\n{}\n", summary::times(picture, &self.seen, self.start));
        text += &summary::calls(&calls);
        text += &format!("azslurm-sync passes: {}\n", self.passes.made());
        text += &summary::resources(picture);
        self.screen.print(&text)?;
        self.cluster.audit().context("the audit")?;
        let seconds = Moment::now().after(self.start);
        self.screen.print(&format!(
            "audit: ok: each of them was in the ledger before it was made, and is gone\n\
             done in {seconds}",
        ))?;
        Ok(())
    }

    /// An error with what it was waiting for and the last picture.
    fn failure(&mut self, error: &Error, missed: Option<&Error>) -> Error {
        self.screen.leave_table();
        let title = self.phase.map_or("the first look", Phase::title);
        let table = table::table(&self.picture, false).join("\n");
        let missed = missed.map(|why| format!("\nthe last look: {why:#}")).unwrap_or_default();
        let trouble = self.passes.trouble().map(|why| format!("\nthe last pass: {why}"));
        let trouble = trouble.unwrap_or_default();
        anyhow!("{error:#}\nit came as far as: {title}\n{table}{missed}{trouble}")
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("          {line}\n")).collect()
}
