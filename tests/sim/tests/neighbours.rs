//! A block of which Azure has VMs that the ledger has lost is not made a second time: a gang over
//! two placements of one block would have no InfiniBand between them.

use std::collections::BTreeSet;
use std::path::Path;

use azslurm_sim::ledgers::Yard;
use azslurm_sim::place::NODESETS;
use azslurm_sim::run::Wish;
use azslurm_sim::schedule;
use azslurm_sim::script::{MINUTE, SECOND, Step, What};

/// A file system in memory: SQLite syncs its file at every commit.
const FOLDER: &str = "/dev/shm";
/// With it no pass comes between the loss of the ledger and the request for the gang.
const SEED: u64 = 11;
/// An odd time keeps a job in the first block.
const ODD: i64 = 1;

#[test]
fn a_gang_joins_its_block_although_the_ledger_has_lost_the_vm_that_is_in_it() {
    let hb = NODESETS.iter().position(|nodes| nodes.name == "hb").unwrap();
    let steps = [
        // A VM of hb1, which the gang of hb1 and hb2 waits for.
        Step { at: SECOND, what: What::Submit(hb, 1, 2 * MINUTE + ODD) },
        Step { at: 2 * SECOND, what: What::Submit(hb, 2, MINUTE + ODD) },
        Step { at: 2 * MINUTE, what: What::LoseLedger },
    ];
    let told = Wish { is_told: true, is_looked_at: false };
    let outcome = schedule(SEED, &steps, told, &mut Yard::new(Path::new(FOLDER)));
    assert_eq!(outcome.broken, [""; 0]);
    let story = &outcome.story;
    let first = |words: &[&str], from: usize| {
        let is_it = |line: &String| words.iter().all(|word| line.contains(word));
        from + story[from..].iter().position(is_it).unwrap_or_else(|| panic!("no {words:?}"))
    };
    let lost = first(&["LoseLedger"], 0);
    let asked = first(&["slurmctld calls Resume", "\"hb2\""], lost);
    let made = first(&["resume-driver", ": PUT", "/virtualMachines/hb2-"], asked);
    let has_passed = |line: &String| line.contains("sync#") && line.contains("begins a pass");
    assert!(!story[lost..made].iter().any(has_passed), "choose another seed: a pass adopts hb1");
    let looks = |line: &&String| {
        line.contains("resume-driver")
            && line.ends_with("POST /providers/Microsoft.ResourceGraph/resources")
    };
    assert_eq!(story[asked..made].iter().filter(looks).count(), 1, "one search, in time");
    let sets: BTreeSet<&str> = story
        .iter()
        .filter(|line| line.contains(": PUT "))
        .filter_map(|line| line.split_once("/availabilitySets/"))
        .map(|(_, set)| set.split(':').next().unwrap_or(set))
        .collect();
    assert_eq!(sets.len(), 1, "{sets:?}");
}
