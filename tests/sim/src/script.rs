//! What happens to a cluster besides its own work: jobs, faults, people; drawn from a seed, and a
//! list, so that a failing one can be made shorter.

use azslurm_arm_emulator::model::chance::Chance;

use crate::place::NODESETS;
use crate::scene::{Act, Scene};

/// One second in milliseconds.
pub const SECOND: i64 = 1000;
/// One minute in milliseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// How much happens in a script. Jobs come within two thirds of the time in which something is
/// disturbed, and compute for a third of it at most.
struct Size {
    shortest: i64,
    longest: i64,
    /// So many jobs at most.
    jobs: u64,
    /// One more than the troubles at most.
    troubles: u64,
}

const SHORT: Size = Size { shortest: MINUTE, longest: 2 * MINUTE, jobs: 1, troubles: 3 };
const MIDDLING: Size = Size { shortest: 2 * MINUTE, longest: 5 * MINUTE, jobs: 3, troubles: 5 };
const LONG: Size = Size { shortest: 3 * MINUTE, longest: 15 * MINUTE, jobs: 5, troubles: 12 };
/// One script of so many is long, and seven are middling.
const LONG_EVERY: u64 = 128;
/// More than it takes to draw any kind of disturbance.
const TRIES_MAX: u32 = 10_000;

/// Programs that slurmctld calls, and what they start.
pub const PROGRAMS: [&str; 6] =
    ["resume", "resume-driver", "suspend", "suspend-driver", "resume-fail", "resume-fail-driver"];

/// Something that happens, and when, in milliseconds from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: i64,
    /// What.
    pub what: What,
}

/// Something that happens. A `pick` chooses among what is there at that moment, and means nothing
/// where nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A user submits a job: index of the nodeset, nodes, how long it computes.
    Submit(usize, usize, i64),
    /// A user cancels a job.
    Cancel(u64),
    /// A person runs `azslurm-sync` by hand, which follows for so long.
    Pass(i64),
    /// One of our processes is killed, so many effects from now.
    Kill(u64, u32),
    /// The next process of one of our programs, by its place in [`PROGRAMS`], is killed so many
    /// effects after its start.
    KillNext(usize, u32),
    /// All our processes are killed.
    KillAll,
    /// slurmctld starts anew, with its state or without, and takes its programs along or not.
    RestartSlurm(bool, bool),
    /// slurmctld is away for so long.
    SlurmDown(i64),
    /// slurmctld takes connections and does not answer for so long.
    SlurmHangs(i64),
    /// Azure has no room for a size, at PUT or while it makes the VM: index of the nodeset, whether
    /// in the first region only, whether late, how long.
    Full(usize, bool, bool, i64),
    /// Azure has room for one VM of a size only: as `Full`.
    OneLeft(usize, bool, bool, i64),
    /// Azure fails to make VMs of a size, by its own fault: as `Full`.
    Faulty(usize, bool, i64),
    /// A size's quota is used up in the first region.
    NoQuota(usize, i64),
    /// Azure lets only a few calls through, at its front door or in compute.
    Throttle(bool, i64),
    /// So many of a thousand requests are lost, before Azure or after it, for so long.
    Lossy(u64, i64),
    /// No request is answered for so long, and some are done all the same.
    Outage(i64),
    /// Requests are late by as much as a minute, and some arrive twice.
    Slow(i64),
    /// Resource Graph lies so far behind from now on.
    Lag(i64),
    /// Lists break off for so long: every page after the first is refused, and the graph.
    ListsFail(i64),
    /// Azure takes a Spot VM.
    Evict(u64),
    /// A VM is gone, whoever did it: Azure, or an administrator in the portal.
    Vanish(u64),
    /// slurmd of a node dies; its VM stays.
    SlurmdDies(u64),
    /// VMs that begin to boot within this time never register.
    BadBoots(i64),
    /// The ledger is deleted.
    LoseLedger,
    /// The ledger is put back as it was when the last job was submitted.
    RollBackLedger,
    /// Somebody sets the wall clock.
    StepClock(i64),
    /// A person runs `azslurm-resume` for a node that slurm.conf does not have, and in the quiet
    /// time `azslurm-suspend`.
    ByHand,
    /// An administrator drains a node.
    Drain(u64),
    /// An administrator sets a node down.
    Down(u64),
    /// An administrator resumes a node.
    Resume(u64),
    /// An administrator powers a node down, by force or when its jobs have ended.
    PowerDown(u64, bool),
    /// An administrator powers a node up: of one that is coming already 22.05 calls ResumeProgram
    /// once more.
    PowerUp(u64),
    /// For so long jobs that are requeued stay COMPLETING for a while.
    Linger(i64),
    /// A maintenance reservation of a node begins, and lasts so long.
    Maintenance(u64, i64),
    /// Of a scene, which no chance draws.
    Scene(Scene, Act),
}

impl What {
    /// Its kind, as it is named here.
    pub fn kind(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }
}

/// A number below `below`, which is not 0.
pub fn below(chance: &mut Chance, below: u64) -> u64 {
    chance.bits() % below
}

fn between(chance: &mut Chance, from: i64, to: i64) -> i64 {
    from + i64::try_from(below(chance, u64::try_from(to - from + 1).unwrap_or(1))).unwrap_or(0)
}

/// What scripts are wanted.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Taste {
    /// Half of the disturbances are of these kinds, such as `Evict,LoseLedger` (see script.rs)
    #[arg(long, value_delimiter = ',')]
    pub focus: Vec<String>,
    /// Only long scripts, which one of 128 is otherwise
    #[arg(long = "long")]
    pub is_long: bool,
}

/// The script of a seed, in the order of time.
pub fn script(chance: &mut Chance, taste: &Taste) -> Vec<Step> {
    let focus = &taste.focus;
    let mut steps = Vec::new();
    // Most clusters have a few jobs and troubles, some many: what needs many to go wrong is rare.
    let size = match below(chance, LONG_EVERY) {
        0 => LONG,
        _ if taste.is_long => LONG,
        1..=7 => MIDDLING,
        _ => SHORT,
    };
    let length = between(chance, size.shortest, size.longest);
    // What happens to other sizes means nothing.
    let mut used = Vec::new();
    for _ in 0..=below(chance, size.jobs) {
        let at = between(chance, 0, length * 2 / 3);
        let nodeset = below(chance, NODESETS.len() as u64) as usize;
        used.push(nodeset);
        let most = if NODESETS[nodeset].name == "hb" { 2 } else { NODESETS[nodeset].count };
        let nodes = 1 + below(chance, most as u64) as usize;
        let what = What::Submit(nodeset, nodes, between(chance, 5 * SECOND, length / 3));
        steps.push(Step { at, what });
    }
    let least = u64::from(!focus.is_empty());
    for _ in 0..least + below(chance, size.troubles) {
        let at = between(chance, 0, length);
        let is_free = focus.is_empty() || below(chance, 2) == 0;
        let what = match is_free {
            true => disturbance(chance, &used),
            false => focused(chance, (focus, &used)),
        };
        steps.push(Step { at, what });
    }
    steps.sort_by_key(|step| step.at);
    steps
}

/// A disturbance of one of the kinds.
fn focused(chance: &mut Chance, (focus, used): (&[String], &[usize])) -> What {
    for _ in 0..TRIES_MAX {
        let what = disturbance(chance, used);
        if focus.contains(&what.kind()) {
            return what;
        }
    }
    panic!("no disturbance is called {}", focus.join(" or "))
}

fn disturbance(chance: &mut Chance, used: &[usize]) -> What {
    let pick = chance.bits();
    let time = between(chance, 20 * SECOND, 5 * MINUTE);
    let nodeset = used[below(chance, used.len() as u64) as usize];
    let (one, other) = (pick & 1 == 0, pick & 2 == 0);
    match below(chance, 45) {
        0..=3 => What::Kill(pick, below(chance, 14) as u32),
        4..=6 => {
            let program = below(chance, PROGRAMS.len() as u64) as usize;
            What::KillNext(program, below(chance, 14) as u32)
        }
        7 => What::KillAll,
        8 => What::RestartSlurm(pick & 12 != 0, one),
        9 => What::SlurmDown(time / 2),
        10 => What::SlurmHangs(time / 4),
        11 | 12 => What::Full(nodeset, one, other, time),
        13 => What::NoQuota(nodeset, time),
        14 => What::Throttle(one, time),
        15 | 16 => What::Lossy(50 + below(chance, 400), time),
        17 | 18 => What::Slow(time),
        19 => What::Lag(time),
        20 => What::ListsFail(time),
        21 | 22 => What::Evict(pick),
        23 => What::Vanish(pick),
        24 => What::SlurmdDies(pick),
        25 => What::BadBoots(time),
        26 => What::LoseLedger,
        27 => What::RollBackLedger,
        28 => What::StepClock(if one { time } else { -time }),
        29 | 43 => person(chance, pick),
        30 => What::Vanish(pick),
        31 => What::Pass(time / 5),
        32 => What::OneLeft(nodeset, one, other, time),
        33 => What::Faulty(nodeset, other, time),
        34 => What::Outage(time),
        35 | 36 => What::PowerDown(pick, one),
        37 => What::PowerUp(pick),
        38 | 39 => What::Linger(3 * time),
        40 => What::Maintenance(pick, time),
        42 => What::ByHand,
        _ => What::Cancel(pick),
    }
}

fn person(chance: &mut Chance, pick: u64) -> What {
    match below(chance, 3) {
        0 => What::Drain(pick),
        1 => What::Down(pick),
        _ => What::Resume(pick),
    }
}
