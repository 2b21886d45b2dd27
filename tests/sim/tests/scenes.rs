//! Some of the scenes, so that every change meets them; `make prove` plays all.

use std::path::Path;

use azslurm_sim::ledgers::Yard;
use azslurm_sim::run::Wish;
use azslurm_sim::scene::Scene;
use azslurm_sim::schedule;

/// A file system in memory: SQLite syncs its file at every commit.
const FOLDER: &str = "/dev/shm";
/// Prime to the 44 scenes of a view: each view is met, with another row every time.
const EVERY: usize = 37;

#[test]
fn from_whatever_a_pass_meets_everything_comes_to_agree() {
    let looked_at = Wish { is_told: false, is_looked_at: true };
    let mut yard = Yard::new(Path::new(FOLDER));
    for (number, scene) in Scene::all().iter().enumerate().step_by(EVERY) {
        let outcome = schedule(number as u64, &scene.steps(), looked_at, &mut yard);
        assert_eq!(outcome.broken, [""; 0], "azslurm-prove --scenes --replay {number}");
        assert_eq!(scene.missed(&outcome), [""; 0], "scene {number}");
    }
}
