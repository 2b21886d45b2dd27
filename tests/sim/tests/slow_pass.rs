//! A pass that waits long for Azure decides by what it saw before.

use std::path::Path;

use azslurm_sim::ledgers::Yard;
use azslurm_sim::place::NODESETS;
use azslurm_sim::run::Wish;
use azslurm_sim::script::{MINUTE, SECOND, Step, Taste, What};
use azslurm_sim::{schedule, script_of};

/// A file system in memory: SQLite syncs its file at every commit.
const FOLDER: &str = "/dev/shm";
/// With each of them a pass that has seen nodes without a VM in the ledger waits for Azure until
/// slurmctld has given them up, and asks for one if it does not look again before it writes.
const SEEDS: [u64; 3] = [274, 285, 286];

#[test]
fn a_pass_asks_for_no_vm_of_a_node_that_another_program_has_taken_over_meanwhile() {
    let hb = NODESETS.iter().position(|nodes| nodes.name == "hb").unwrap();
    let steps = [
        Step { at: 0, what: What::BadBoots(20 * MINUTE) },
        Step { at: SECOND, what: What::Submit(hb, 2, MINUTE + 1) },
        Step { at: 6 * MINUTE, what: What::LoseLedger },
        Step { at: 6 * MINUTE + SECOND, what: What::Lossy(400, 5 * MINUTE) },
    ];
    let told = Wish { is_told: true, is_looked_at: false };
    for seed in SEEDS {
        let mut yard = Yard::new(Path::new(FOLDER));
        let outcome = schedule(seed, &steps, told, &mut yard);
        assert_eq!(outcome.broken, [""; 0], "seed {seed}");
        assert!(
            a_pass_was_overtaken(&outcome.story),
            "seed {seed} shows it no more: choose another"
        );
    }
}

/// slurmctld loses its state while a VM is made. A pass sees its node off, waits two minutes for
/// lists of Azure's, and meanwhile slurmd registers.
const SEED_UP_MEANWHILE: u64 = 500_049_567;

#[test]
fn a_pass_deletes_no_vm_by_what_it_saw_before_it_waited_for_azure() {
    let steps = script_of(SEED_UP_MEANWHILE, &Taste::default());
    let told = Wish { is_told: true, is_looked_at: false };
    let mut yard = Yard::new(Path::new(FOLDER));
    let outcome = schedule(SEED_UP_MEANWHILE, &steps, told, &mut yard);
    assert_eq!(outcome.broken, [""; 0]);
    let at = |words: &[&str]| {
        let has = |line: &String| words.iter().all(|word| line.contains(word));
        outcome.story.iter().position(has).unwrap_or_else(|| panic!("no {words:?} any more"))
    };
    let looked = at(&["sync#1", "scontrol -a show nodes"]);
    let up = at(&["slurmd of n1 registers"]);
    let waited = at(&["sync#1", "proximityPlacementGroups"]);
    assert!(looked < up && up < waited, "the seed shows it no more: choose another");
}

/// Whether a pass asked slurmctld between the loss of the ledger and the end of slurmctld's
/// patience, and wrote something after VMs had been deleted for that.
fn a_pass_was_overtaken(story: &[String]) -> bool {
    let has = |line: &String, words: &[&str]| words.iter().all(|word| line.contains(word));
    let after = |from: usize, words: &[&str]| {
        Some(from + story[from..].iter().position(|line| has(line, words))?)
    };
    let overtaken = || {
        let lost = after(0, &["LoseLedger"])?;
        let failed = after(lost, &["slurmctld calls ResumeFail"])?;
        let deleted = after(failed, &["resume-fail-driver", ": DELETE", "/virtualMachines/hb"])?;
        let is_begin = |line: &String| has(line, &["sync#", "begins a pass"]);
        let begun = lost + story[lost..failed].iter().rposition(is_begin)?;
        let asked = after(begun, &["sync#", "scontrol -a show nodes"])?;
        let written = after(deleted, &["sync#", "commits"])?;
        let next = after(failed, &["sync#", "begins a pass"])?;
        Some(asked < failed && written < next)
    };
    overtaken().unwrap_or(false)
}
