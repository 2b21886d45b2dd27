//! Troubles: begun and ended by turns, of each group one at a time. A trouble that cannot be begun
//! is said in the diary; one that cannot be ended ends the run.

mod azure;
mod controller;
mod ledger;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bed::Bed;
use crate::chance::Chance;
use crate::diary::Diary;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Connections to Resource Manager are cut and refused.
    AzureUnreachable,
    /// The same, and what served it begins anew: resources are there, tokens of before are not
    /// known any more.
    AzureRestarts,
    /// Whatever serves Azure hangs; connections stand.
    AzureHangs,
    /// Calls fail, answers are lost or late.
    AnswersFail,
    /// Calls are put off with 429.
    Throttled,
    /// A region has no room for a size.
    NoCapacity,
    /// Resource Graph tells of the past.
    GraphLags,
    /// Azure takes a Spot VM.
    Evicted,
    /// Somebody deletes a VM.
    Vanished,
    /// VMs of some nodes run, and their slurmd never starts.
    NothingBoots,
    /// slurmctld hangs.
    ControllerHangs,
    /// slurmctld is ended with SIGTERM, and started again.
    ControllerEnds,
    /// slurmctld is killed, and started again.
    ControllerKilled,
    /// The ledger's file system is full.
    DiskFull,
    /// It is read-only.
    DiskReadOnly,
    /// The ledger is taken away, with or without the files beside it.
    LedgerTaken,
    /// The time of all holds passes.
    HoldsEnd,
}

/// Troubles that exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Reach,
    Answers,
    Capacity,
    Boot,
    Instant,
    Controller,
    Disk,
}

/// Each with its group, how many seconds it lasts, and its weight among all.
const ALL: [(Trouble, Group, (u64, u64), u64); 17] = [
    (Trouble::AzureUnreachable, Group::Reach, (2, 15), 3),
    (Trouble::AzureRestarts, Group::Reach, (1, 6), 2),
    (Trouble::AzureHangs, Group::Reach, (2, 8), 2),
    (Trouble::AnswersFail, Group::Answers, (5, 20), 6),
    (Trouble::Throttled, Group::Answers, (5, 15), 3),
    (Trouble::NoCapacity, Group::Capacity, (8, 30), 4),
    (Trouble::GraphLags, Group::Capacity, (15, 40), 2),
    (Trouble::Evicted, Group::Instant, (0, 0), 4),
    (Trouble::Vanished, Group::Instant, (0, 0), 3),
    (Trouble::NothingBoots, Group::Boot, (15, 60), 2),
    (Trouble::ControllerHangs, Group::Controller, (2, 12), 2),
    (Trouble::ControllerEnds, Group::Controller, (0, 8), 2),
    (Trouble::ControllerKilled, Group::Controller, (0, 8), 2),
    (Trouble::DiskFull, Group::Disk, (4, 15), 3),
    (Trouble::DiskReadOnly, Group::Disk, (4, 15), 3),
    (Trouble::LedgerTaken, Group::Disk, (0, 0), 2),
    (Trouble::HoldsEnd, Group::Instant, (0, 0), 7),
];

/// Between two beginnings, in milliseconds.
const PAUSE: (u64, u64) = (1500, 7000);

struct Active {
    trouble: Trouble,
    group: Group,
    ends_at: Instant,
}

/// The troubles of a run.
pub struct Troubles {
    active: Vec<Active>,
    chance: Chance,
    next_at: Instant,
    /// Which ledger was taken away last.
    taken: u32,
}

impl Troubles {
    /// None yet.
    pub fn new(seed: u64) -> Troubles {
        let next_at = Instant::now() + Duration::from_secs(5);
        Troubles { active: Vec::new(), chance: Chance::of(seed, 2), next_at, taken: 0 }
    }

    /// The names of those that go on.
    pub fn names(&self) -> Vec<String> {
        self.active.iter().map(|active| format!("{:?}", active.trouble)).collect()
    }

    /// Whether slurmctld can be asked.
    pub fn controller_answers(&self) -> bool {
        !self.active.iter().any(|active| active.group == Group::Controller)
    }

    /// Ends and begins what is due.
    pub fn tick(&mut self, bed: &Bed, diary: &mut Diary) -> Result<()> {
        self.end_due(bed, diary, Instant::now())?;
        if self.next_at > Instant::now() {
            return Ok(());
        }
        let pause = Duration::from_millis(self.chance.between(PAUSE.0, PAUSE.1));
        self.next_at = Instant::now() + pause;
        let (trouble, group, (least, most)) = self.choose();
        let lasts = Duration::from_secs(self.chance.between(least, most));
        if self.active.iter().any(|active| active.group == group) {
            return Ok(());
        }
        diary.say(&format!("begin {trouble:?} for {} s", lasts.as_secs()));
        if let Err(error) = self.begin(trouble, bed, diary) {
            diary.miss(&format!("{trouble:?}: {error:#}"));
            return Ok(());
        }
        *diary.troubles.entry(name(trouble)).or_default() += 1;
        self.active.push(Active { trouble, group, ends_at: Instant::now() + lasts });
        Ok(())
    }

    /// Ends all of them.
    pub fn end_all(&mut self, bed: &Bed, diary: &mut Diary) -> Result<()> {
        self.end_due(bed, diary, Instant::now() + Duration::from_secs(3600))
    }

    fn choose(&mut self) -> (Trouble, Group, (u64, u64)) {
        let mut left = self.chance.below(ALL.iter().map(|(.., weight)| weight).sum());
        for (trouble, group, lasts, weight) in ALL {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return (trouble, group, lasts),
            }
        }
        (ALL[0].0, ALL[0].1, ALL[0].2)
    }

    fn begin(&mut self, trouble: Trouble, bed: &Bed, diary: &mut Diary) -> Result<()> {
        let chance = &mut self.chance;
        match trouble {
            Trouble::AzureUnreachable => {
                bed.cluster.gate().shut();
                Ok(())
            }
            Trouble::AzureRestarts => azure::restart(bed),
            Trouble::AzureHangs => azure::hang(bed, chance),
            Trouble::AnswersFail => azure::fail(bed, chance),
            Trouble::Throttled => azure::throttle(bed, chance),
            Trouble::NoCapacity => azure::refuse(bed, chance),
            Trouble::GraphLags => bed.cluster.emulator().set_graph_lag(Duration::from_secs(45)),
            Trouble::Evicted => azure::evict(bed, chance, diary),
            Trouble::Vanished => azure::vanish(bed, chance, diary),
            Trouble::NothingBoots => azure::let_none_boot(bed, chance),
            Trouble::ControllerHangs => controller::hang(bed, diary),
            Trouble::ControllerEnds => controller::end(bed, diary),
            Trouble::ControllerKilled => controller::kill(bed, diary),
            Trouble::DiskFull => ledger::fill(bed),
            Trouble::DiskReadOnly => ledger::make_read_only(bed),
            Trouble::LedgerTaken => {
                self.taken += 1;
                ledger::take(bed, self.taken, chance.one_in(2))
            }
            Trouble::HoldsEnd => ledger::holds_end(bed),
        }
    }

    fn end_due(&mut self, bed: &Bed, diary: &mut Diary, until: Instant) -> Result<()> {
        let (due, on): (Vec<Active>, Vec<Active>) =
            self.active.drain(..).partition(|active| active.ends_at <= until);
        self.active = on;
        for Active { trouble, .. } in due {
            diary.say(&format!("end {trouble:?}"));
            end(trouble, bed, diary).with_context(|| format!("end {trouble:?}"))?;
        }
        Ok(())
    }
}

fn end(trouble: Trouble, bed: &Bed, diary: &mut Diary) -> Result<()> {
    match trouble {
        Trouble::AzureUnreachable | Trouble::AzureRestarts => bed.cluster.gate().open(),
        Trouble::AnswersFail | Trouble::Throttled => bed.cluster.emulator().clear_faults(),
        Trouble::NoCapacity => azure::have_room(bed),
        Trouble::GraphLags => bed.cluster.emulator().set_graph_lag(Duration::ZERO),
        Trouble::NothingBoots => bed.never_boot(&[]),
        Trouble::ControllerHangs => controller::go_on(bed, diary),
        Trouble::ControllerEnds => controller::end_at_last(bed, diary),
        Trouble::ControllerKilled => controller::start(bed, diary),
        Trouble::DiskFull => ledger::free(bed),
        Trouble::DiskReadOnly => ledger::make_writable(bed),
        Trouble::AzureHangs
        | Trouble::Evicted
        | Trouble::Vanished
        | Trouble::LedgerTaken
        | Trouble::HoldsEnd => Ok(()),
    }
}

pub use ledger::{puts_settle, things_grow_old};

/// The time of all holds passes.
pub fn holds_end(bed: &Bed) -> Result<()> {
    ledger::holds_end(bed)
}

/// For people.
fn name(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::AzureUnreachable => "Azure unreachable",
        Trouble::AzureRestarts => "Azure restarted",
        Trouble::AzureHangs => "Azure hangs",
        Trouble::AnswersFail => "answers fail",
        Trouble::Throttled => "throttled",
        Trouble::NoCapacity => "no capacity",
        Trouble::GraphLags => "graph lags",
        Trouble::Evicted => "VM evicted",
        Trouble::Vanished => "VM vanished",
        Trouble::NothingBoots => "nothing boots",
        Trouble::ControllerHangs => "slurmctld hangs",
        Trouble::ControllerEnds => "slurmctld restarted",
        Trouble::ControllerKilled => "slurmctld killed",
        Trouble::DiskFull => "disk full",
        Trouble::DiskReadOnly => "disk read-only",
        Trouble::LedgerTaken => "ledger taken away",
        Trouble::HoldsEnd => "holds ended",
    }
}
