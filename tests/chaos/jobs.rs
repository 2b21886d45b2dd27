//! Jobs that arrive, and some that are cancelled. What a job sees it writes into one file: on which
//! VM it began, which VMs its nodes are, and that it came to its end.

use std::time::{Duration, Instant};

use anyhow::Result;
use azslurm_test_cluster::JobId;

use crate::bed::{Bed, NODESETS};
use crate::chance::Chance;
use crate::diary::{Diary, Seconds, now};

/// `%r` of a job that a slurmd did not launch.
const HELD_BY_SLURM: &str = "launch failed requeued held";

/// More than that wait or run at no time: the quiet time must come to its end.
const WAITING_MAX: usize = 24;

/// A job of the run.
#[derive(Debug, Clone)]
pub struct Job {
    /// `chaos-7`.
    pub name: String,
    /// How many nodes it wants.
    pub nodes: u64,
    /// Its number, when slurmctld has confirmed it.
    pub id: Option<JobId>,
    /// When it was submitted.
    pub at: Seconds,
    /// Whether the run has cancelled it, or tried to.
    pub is_cancelled: bool,
    cancel_at: Option<Instant>,
}

/// All jobs of the run.
#[derive(Debug)]
pub struct Jobs {
    /// In the order of submission.
    pub all: Vec<Job>,
    chance: Chance,
    next_at: Instant,
}

/// `say WORD`: a line of evidence. The slurmd of a VM is the first process of its namespace.
const SCRIPT: &str = r#"#!/bin/bash
say() {
	vm=$(tr '\0' '\n' </proc/1/environ | sed -n 's/^VM_NAME=//p')
	try="$SLURM_JOB_ID ${SLURM_RESTART_COUNT:-0}"
	echo "$1 $try $SLURMD_NODENAME ${vm:-none} $(date +%s.%N)" >>@FILE@
}
export -f say
say began
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
	# slurmctld may be away: the step is for the evidence, not for the job.
	timeout -k 2 20 srun --ntasks-per-node=1 bash -c 'say member' || true
fi
sleep @SLEEP@
say done
"#;

impl Jobs {
    /// None yet.
    pub fn new(seed: u64) -> Jobs {
        Jobs { all: Vec::new(), chance: Chance::of(seed, 1), next_at: Instant::now() }
    }

    /// Submits and cancels what is due. slurmctld must answer.
    pub fn tick(&mut self, bed: &Bed, diary: &mut Diary) {
        for job in &mut self.all {
            let is_due = job.cancel_at.is_some_and(|at| at <= Instant::now());
            if is_due && job.id.is_some() {
                job.cancel_at = None;
                job.is_cancelled = true;
                diary.say(&format!("cancel {}", job.name));
                // By its name: a slurmctld that was killed gives a number twice.
                if let Err(error) = bed.cluster.client("scancel", &["--name", &job.name]) {
                    diary.miss(&format!("scancel: {error:#}"));
                }
            }
        }
        if self.next_at > Instant::now() || self.waiting(bed) >= WAITING_MAX {
            return;
        }
        self.next_at = Instant::now() + Duration::from_millis(self.chance.between(300, 4000));
        self.submit(bed, diary);
    }

    fn submit(&mut self, bed: &Bed, diary: &mut Diary) {
        let Some((partition, _, nodes_max, _)) = self.chance.pick(&NODESETS) else { return };
        let nodes_max = if self.chance.one_in(3) { u64::from(*nodes_max) } else { 1 };
        let nodes = self.chance.between(1, nodes_max);
        let name = format!("chaos-{}", self.all.len() + 1);
        let sleeps = self.chance.between(1, 10).to_string();
        let is_to_be_cancelled = self.chance.one_in(8);
        let lives = Duration::from_secs(self.chance.between(0, 60));
        let file = bed.evidence().display().to_string();
        let script = SCRIPT.replace("@FILE@", &file).replace("@SLEEP@", &sleeps);
        let count = nodes.to_string();
        let arguments = [
            "--job-name",
            &name,
            "--partition",
            partition,
            "--nodes",
            &count,
            "--exclusive",
            "--requeue",
            "--open-mode=append",
        ];
        let at = now();
        let answer = bed.cluster.sbatch(&arguments, &script);
        diary.say(&format!("submit {name} {partition} {nodes}: {answer:?}"));
        self.all.push(Job {
            name,
            nodes,
            id: answer.ok(),
            at,
            is_cancelled: false,
            cancel_at: is_to_be_cancelled.then(|| Instant::now() + lives),
        });
    }

    fn waiting(&self, bed: &Bed) -> usize {
        // Who cannot be asked has enough to do.
        states(bed).map_or(usize::MAX, |states| {
            states.iter().filter(|(_, _, state)| !is_ended(state)).count()
        })
    }
}

/// Number, name and state of every job that slurmctld knows.
pub fn states(bed: &Bed) -> Result<Vec<(JobId, String, String)>> {
    let text = bed.cluster.client("squeue", &["-h", "-a", "-t", "all", "-o", "%A %j %T"])?;
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let id = JobId(words.next()?.parse().ok()?);
        Some((id, words.next()?.to_owned(), words.next()?.to_owned()))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Releases jobs that slurmctld has put on hold itself, as an administrator does. It was killed
/// after it had started such a job and before it had saved that; so it starts the job once more
/// while the first one runs, slurmd refuses ("already running, do not launch second copy"), and it
/// drains the node and holds the job. Where it was never killed nothing explains such a hold.
pub fn release_held(bed: &Bed, diary: &mut Diary) -> Result<()> {
    if diary.controller_killed.is_empty() {
        return Ok(());
    }
    let text = bed.cluster.client("squeue", &["-h", "-a", "-t", "PENDING", "-o", "%A %r"])?;
    let text = text.replace('_', " ");
    let held = text.lines().filter_map(|line| line.trim().strip_suffix(HELD_BY_SLURM));
    for id in held.map(str::trim) {
        bed.cluster.client("scontrol", &["release", id])?;
        diary.say(&format!("release {id}: slurmctld held it"));
        *diary.troubles.entry("job held by slurmctld and released").or_default() += 1;
    }
    Ok(())
}

/// Whether a job in this state is over.
pub fn is_ended(state: &str) -> bool {
    ![
        "PENDING",
        "CONFIGURING",
        "RUNNING",
        "COMPLETING",
        "SUSPENDED",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "RESIZING",
        "STOPPED",
        "STAGE_OUT",
        "SIGNALING",
        "SPECIAL_EXIT",
    ]
    .contains(&state)
}
