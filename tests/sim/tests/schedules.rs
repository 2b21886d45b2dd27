//! A few schedules of the simulation, so that every change meets them; `make prove` runs many.

use std::path::Path;

use azslurm_sim::script::{MINUTE, SECOND, Step, What};
use azslurm_sim::{schedule, script_of};

/// A file system in memory: SQLite syncs its file at every commit.
const FOLDER: &str = "/dev/shm";
/// Seeds of every run; each takes about a second of an unoptimised build.
const SEEDS: std::ops::Range<u64> = 1..17;

#[test]
fn no_schedule_breaks_a_law() {
    let mut broken = Vec::new();
    for seed in SEEDS {
        let outcome = schedule(seed, &script_of(seed), false, Path::new(FOLDER));
        broken.extend(outcome.broken.into_iter().map(|what| format!("seed {seed}: {what}")));
    }
    assert_eq!(broken, [""; 0], "azslurm-prove --replay SEED tells the story");
}

#[test]
fn a_seed_tells_the_same_story_again() {
    let steps = script_of(3);
    let story = || schedule(3, &steps, true, Path::new(FOLDER)).story;
    let first = story();
    assert!(first.len() > 100, "{first:#?}");
    assert_eq!(first, story());
}

#[test]
fn what_nobody_mends_is_told() {
    // A VM that an administrator keeps for ever would end the quiet time without agreement; here a
    // job that never ends does.
    let steps = [Step { at: SECOND, what: What::Submit(0, 1, 2000 * MINUTE) }];
    let outcome = schedule(1, &steps, false, Path::new(FOLDER));
    let [broken] = &outcome.broken[..] else { panic!("{:?}", outcome.broken) };
    assert!(broken.contains("job 1 is Running"), "{broken}");
}
