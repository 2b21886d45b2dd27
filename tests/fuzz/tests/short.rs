//! The short run of `make test`: every input of the corpus, and seeded changes of them. The same
//! inputs on every machine and every day; the long run with an engine is `make fuzz`.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use azslurm_fuzz::changes::{Seeded, changed};
use azslurm_fuzz::{TARGETS, Target, target};

/// What a reader that takes time out of proportion needs is minutes; nothing that is in order needs
/// a hundredth of this, whatever else the machine does.
const INPUT_TIME_MAX: Duration = Duration::from_secs(60);
/// One seed for all days.
const SEED: u64 = 0x617a_536c;

/// The inputs of a target's corpus with their names, in the order of these.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = target.corpus();
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let read = |path: PathBuf| {
        (path.display().to_string(), fs::read(&path).expect("an input can be read"))
    };
    paths.into_iter().map(read).collect()
}

/// Runs it; an input that breaks something is kept for whoever is to look at it.
fn run(target: &Target, name: &str, bytes: &[u8]) {
    let begun = Instant::now();
    let ran = panic::catch_unwind(AssertUnwindSafe(|| target.run(bytes)));
    let took = begun.elapsed();
    if ran.is_ok() && took <= INPUT_TIME_MAX {
        return;
    }
    let kept = std::env::temp_dir().join(format!("azslurm-fuzz-{}", target.name));
    fs::write(&kept, bytes).expect("a temporary file can be written");
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
    panic!(
        "{}: {name} took {took:?}, panicked: {}; to see it again: cargo run -p azslurm-fuzz -- {} \
         {}\n{shown:?}",
        target.name,
        ran.is_err(),
        target.name,
        kept.display()
    );
}

fn short(name: &str) {
    let target = target(name).expect("a target of that name");
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "{name} has no corpus");
    inputs.iter().for_each(|(name, bytes)| run(target, name, bytes));
    let inputs: Vec<Vec<u8>> = inputs.into_iter().map(|(_, bytes)| bytes).collect();
    for number in 0..target.short_runs {
        let mut seeded = Seeded::new(SEED ^ u64::from(number) << 32);
        let bytes = changed(target, &inputs, &mut seeded);
        run(target, &format!("change {number}"), &bytes);
    }
}

macro_rules! short_runs {
    ($($test:ident: $target:literal,)*) => {
        $(#[test]
        fn $test() {
            short($target);
        })*

        #[test]
        fn every_target_has_its_short_run_here() {
            let here = [$($target),*];
            assert_eq!(TARGETS.map(|target| target.name).to_vec(), here);
        }
    };
}

short_runs! {
    a_host_list_of_any_text_is_read_or_refused: "hostlist",
    a_resume_file_of_any_text_costs_only_what_is_odd_in_it: "resume_file",
    a_node_is_never_hidden_by_another: "nodes",
    a_job_is_never_hidden_by_another: "jobs",
    slurmctlds_settings_may_be_any_text: "controller",
    slurm_conf_may_be_any_text: "slurm_conf",
    whatever_is_wrong_with_the_config_is_said_with_its_place: "config",
    an_error_of_azure_may_be_any_bytes: "refusal",
    the_headers_of_an_answer_may_be_anything: "headers",
    a_row_of_azure_is_never_hidden_by_another: "rows",
    pages_that_do_not_fit_together_are_no_list: "graph",
    an_operation_may_answer_anything: "operation",
    scheduled_events_may_be_any_text: "scheduled",
    a_ledger_of_any_bytes_opens_or_says_why: "ledger_file",
    a_ledger_with_any_contents_is_read_or_says_where: "ledger_rows",
}

mod a_short_run_can_fail {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_input_and_another_another() {
        let target = target("hostlist").unwrap();
        let inputs = [b"n[1-3],m[08-11]".to_vec()];
        let of = |seed| -> Vec<Vec<u8>> {
            let mut seeded = Seeded::new(seed);
            (0..20).map(|_| changed(target, &inputs, &mut seeded)).collect()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert!(of(1).iter().filter(|input| **input != inputs[0]).count() > 10);
    }
}
