//! A few schedules of the simulation, so that every change meets them; `make prove` runs many.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use azslurm_arm_emulator::model::message::{Method, Request};
use azslurm_sim::laws::Laws;
use azslurm_sim::ledgers::Yard;
use azslurm_sim::place::OTHERS;
use azslurm_sim::run::Wish;
use azslurm_sim::script::{MINUTE, SECOND, Step, Taste, What};
use azslurm_sim::{schedule, script_of};
use azslurm_slurm_model::{Settings, Slurmctld};

/// A file system in memory: SQLite syncs its file at every commit.
const FOLDER: &str = "/dev/shm";
const TOLD: Wish = Wish { is_told: true, is_looked_at: false };
fn yard() -> Yard {
    Yard::new(Path::new(FOLDER))
}

/// Seeds of every run; each takes about a second of an unoptimised build.
const SEEDS: std::ops::Range<u64> = 1..17;

#[test]
fn no_schedule_breaks_a_law() {
    let mut broken = Vec::new();
    for seed in SEEDS {
        let outcome =
            schedule(seed, &script_of(seed, &Taste::default()), Wish::default(), &mut yard());
        broken.extend(outcome.broken.into_iter().map(|what| format!("seed {seed}: {what}")));
    }
    assert_eq!(broken, [""; 0], "azslurm-prove --replay SEED tells the story");
}

#[test]
fn a_seed_tells_the_same_story_again() {
    let steps = script_of(3, &Taste::default());
    let story = || schedule(3, &steps, TOLD, &mut yard()).story;
    let first = story();
    assert!(first.len() > 100, "{first:#?}");
    assert_eq!(first, story());
}

#[test]
fn what_nobody_mends_is_told() {
    // A VM that an administrator keeps for ever would end the quiet time without agreement; here a
    // job that never ends does.
    let steps = [Step { at: SECOND, what: What::Submit(0, 1, 2000 * MINUTE) }];
    let outcome = schedule(1, &steps, Wish::default(), &mut yard());
    let [broken] = &outcome.broken[..] else { panic!("{:?}", outcome.broken) };
    assert!(broken.contains("job 1 is Running"), "{broken}");
}

#[test]
fn whoever_touches_a_vm_of_others_is_told() {
    let mut laws = Laws::new(PathBuf::from("/nonexistent/ledger.db"));
    laws.others.insert(OTHERS[0].to_owned());
    let slurm = Slurmctld::new(Settings::default(), 0);
    let mut said = |method, vm: &str| {
        let path = format!("/x/providers/Microsoft.Compute/virtualMachines/{vm}");
        laws.arrives(("sync#1", &Request::new(method, &path)), &BTreeMap::new(), &slurm)
    };
    let theirs = OTHERS[0].to_uppercase();
    assert_eq!(said(Method::Delete, &theirs).len(), 1);
    assert_eq!(said(Method::Put, &theirs).len(), 1);
    assert_eq!(said(Method::Get, &theirs), [""; 0]);
    assert_eq!(said(Method::Delete, "n1-0t0iwxot"), [""; 0]);
}
