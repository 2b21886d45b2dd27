//! A pass that waits long for Azure decides by what it saw before.

use std::path::Path;

use azslurm_sim::ledgers::Yard;
use azslurm_sim::place::NODESETS;
use azslurm_sim::run::Wish;
use azslurm_sim::schedule;
use azslurm_sim::script::{MINUTE, SECOND, Step, What};

/// A file system in memory: SQLite syncs its file at every commit.
const FOLDER: &str = "/dev/shm";
/// With each of them a pass that has seen nodes without a VM in the ledger waits for Azure until
/// slurmctld has given them up.
const SEEDS: [u64; 4] = [44, 54, 66, 74];

#[test]
fn a_pass_asks_for_no_vm_of_a_node_that_another_program_has_taken_over_meanwhile() {
    let hb = NODESETS.iter().position(|nodes| nodes.name == "hb").unwrap();
    let steps = [
        Step { at: 0, what: What::BadBoots(20 * MINUTE) },
        Step { at: SECOND, what: What::Submit(hb, 2, MINUTE + 1) },
        Step { at: 390 * SECOND, what: What::LoseLedger },
        Step { at: 391 * SECOND, what: What::Lossy(400, 5 * MINUTE) },
    ];
    let mut broken = Vec::new();
    for seed in SEEDS {
        let mut yard = Yard::new(Path::new(FOLDER));
        broken.extend(schedule(seed, &steps, Wish::default(), &mut yard).broken);
    }
    assert_eq!(broken, [""; 0]);
}
