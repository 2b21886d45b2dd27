//! A ledger that is lost while VMs are being made, and an index of Azure's that lags.

use std::path::Path;

use azslurm_sim::ledgers::Yard;
use azslurm_sim::run::Wish;
use azslurm_sim::schedule;
use azslurm_sim::script::{MINUTE, SECOND, Step, What};

/// A file system in memory: SQLite syncs its file at every commit.
const FOLDER: &str = "/dev/shm";
const SEEDS: std::ops::Range<u64> = 1..9;

#[test]
fn a_vm_that_the_index_does_not_show_yet_is_not_made_twice() {
    let steps = [
        Step { at: SECOND, what: What::Lag(4 * MINUTE) },
        Step { at: 70 * SECOND, what: What::Submit(0, 1, MINUTE) },
        // The VM is being made, and takes as long again to boot.
        Step { at: 75 * SECOND, what: What::LoseLedger },
    ];
    let told = Wish { is_told: true, is_looked_at: false };
    let mut has_passed = false;
    for seed in SEEDS {
        let outcome = schedule(seed, &steps, told, &mut Yard::new(Path::new(FOLDER)));
        assert_eq!(outcome.broken, [""; 0], "seed {seed}");
        let is_at = |line: &&String, words: &str| line.contains(words);
        let story = &outcome.story;
        let made = story.iter().filter(|line| is_at(line, "Azure: PUT") && line.contains(": 201"));
        assert_eq!(made.count(), 1, "seed {seed}: {story:#?}");
        let lost = story.iter().position(|line| line.contains("LoseLedger")).unwrap();
        let up = story.iter().position(|line| line.contains("registers from")).unwrap();
        has_passed |= story[lost..up].iter().any(|line| line.contains("begins a pass"));
    }
    assert!(has_passed, "choose other seeds: no pass came while the node booted");
}
