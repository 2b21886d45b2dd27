//! The boot-failure guard: nodes that miss ResumeTimeout although Azure has made their VMs.

use azslurm_core::attempt::AttemptState;
use serde_json::Value;

use crate::bench::{Bench, KEY, all, assert_names, said, wait_for};

const SCOPE: &str = "boot:n/microsoft-dsvm:ubuntu-hpc:2204:latest";

/// One request whose VMs are provisioned and never register: slurmctld calls ResumeFailProgram.
fn fails_to_boot(bench: &Bench, nodes: &str) {
    said(&bench.run("azslurm-resume", &[nodes]), 0);
    bench.wait_for_the_driver();
    said(&bench.run("azslurm-resume-fail", &[nodes]), 0);
    bench.wait_for_the_driver();
    bench.attempts("the VMs to be gone", all(AttemptState::Gone));
}

fn holds(bench: &Bench) -> Value {
    let output = bench.run("azslurm-sync", &["--json", "hold", "list"]);
    said(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn two_requests_in_a_row_that_do_not_boot_close_their_nodeset_with_its_image() {
    let bench = Bench::start();
    fails_to_boot(&bench, "n[1-3]");
    assert_eq!(holds(&bench), serde_json::json!([]), "three nodes of one request are one failure");
    assert_names(&bench.log(), &["boot failure 1 in a row", "the next one closes it"]);
    fails_to_boot(&bench, "n1");
    let holds = holds(&bench);
    let hold = &holds[0];
    assert_eq!((&hold["scope"], &hold["standing"]), (&SCOPE.into(), &"closed".into()), "{holds}");
    assert_eq!((&hold["strikes"], &hold["nodes"]), (&2.into(), &"n[1-1000]".into()), "{holds}");
    bench.emulator.reset_calls().unwrap();
    let plan = bench.run("azslurm-sync", &["plan", "n2"]);
    said(&plan, 1);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert_names(&text, &["n2: cannot come now: BootFailure", "did not register on n1", SCOPE]);
    let story = bench.run("azslurm-sync", &["explain", "n2"]);
    said(&story, 0);
    assert_names(&String::from_utf8_lossy(&story.stdout), &["held ", SCOPE, "BootFailure"]);
    said(&bench.run("azslurm-resume", &["n2"]), 1);
    bench.wait_for_the_driver();
    assert_eq!(bench.calls("PUT", "/virtualMachines/{name}"), 0, "nothing is asked of Azure");
    // A person who has mended the image opens it.
    said(&bench.run("azslurm-sync", &["hold", "clear", SCOPE]), 0);
    said(&bench.run("azslurm-sync", &["plan", "n2"]), 0);
}

#[test]
fn a_pass_counts_what_resume_fail_was_not_called_for_until_slurmd_registers() {
    let bench = Bench::start();
    let strikes = || bench.ledger().hold_of(SCOPE).unwrap().map(|hold| hold.strikes);
    let pass = || said(&bench.run("azslurm-sync", &["pass", "--wait", "1"]), 0);
    said(&bench.run("azslurm-resume", &["n1"]), 0);
    bench.wait_for_the_driver();
    let off = "DOWN+CLOUD+POWERED_DOWN Reason=ResumeTimeout reached";
    bench.slurmctld_says(&[("n1", off), ("n2", "IDLE+CLOUD+POWERED_DOWN")]);
    wait_for("the VM to be gone", || {
        bench.run("azslurm-sync", &["pass", "--wait", "1"]);
        all(AttemptState::Gone)(&bench.ledger().attempts_latest().unwrap())
    });
    assert_eq!(strikes(), Some(1));
    said(&bench.run("azslurm-resume", &["n2"]), 0);
    bench.wait_for_the_driver();
    bench.slurmctld_says(&[("n1", "IDLE+CLOUD+POWERED_DOWN"), ("n2", "MIXED+CLOUD")]);
    pass();
    assert_eq!(strikes(), None, "a VM that was made after it has booted");
    let told = bench.run("azslurm-sync", &["events", "--node", "n2"]);
    assert_names(&String::from_utf8_lossy(&told.stdout), &["slurmd has registered"]);
    let registered = || bench.ledger().attempts_latest().unwrap()[1].registered_at;
    let first = registered();
    pass();
    assert!(first.is_some() && registered() == first, "it is written down once");
}

#[test]
fn a_node_that_tells_which_step_of_its_set_up_failed_is_replaced_and_counted_and_explained() {
    let bench = Bench::start();
    let why = "mounts: s:/v on /v: Connection refused";
    let down = format!("DOWN+CLOUD+POWERING_UP Reason=azslurm: node-init: {why}");
    for strikes in [1, 2] {
        said(&bench.run("azslurm-resume", &["n1"]), 0);
        bench.wait_for_the_driver();
        let attempts = bench.ledger().attempts_latest().unwrap();
        let vm = attempts.last().unwrap().is.vm.to_string();
        bench.slurmctld_says(&[("n1", &down)]);
        wait_for("the VM to be gone", || {
            bench.run("azslurm-sync", &["pass", "--wait", "1"]);
            all(AttemptState::Gone)(&bench.ledger().attempts_latest().unwrap())
        });
        let hold = bench
            .ledger()
            .hold_of(SCOPE)
            .unwrap()
            .unwrap_or_else(|| panic!("it counts at once: {}", bench.log()));
        assert_eq!(hold.strikes, strikes, "each VM counts once, however many passes see it");
        assert_eq!(hold.text, format!("the set-up of n1 failed: {why}"));
        let story = bench.run("azslurm-sync", &["explain", "n1"]);
        said(&story, 0);
        let story = String::from_utf8_lossy(&story.stdout).into_owned();
        assert_names(&story, &["boot-failed", &format!("the set-up of n1 failed: {why}")]);
        let of_vm = bench.run("azslurm-sync", &["events", "--vm", &vm]);
        let of_vm = String::from_utf8_lossy(&of_vm.stdout).into_owned();
        assert_eq!(of_vm.matches("boot-failed").count(), 1, "{of_vm}");
    }
    let plan = bench.run("azslurm-sync", &["plan", "n2"]);
    said(&plan, 1);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert_names(&text, &["n2: cannot come now: BootFailure", why]);
}

#[test]
fn a_vm_that_azure_took_while_it_booted_is_no_boot_failure() {
    let bench = Bench::start();
    let spot = "[nodeset.s]\nnodes = \"s1\"\nsites = [\"west\"]\npriority = \"spot\"\n\
        eviction_policy = \"deallocate\"\nsku = \"Standard_D4s_v5\"\n\
        image = \"microsoft-dsvm:ubuntu-hpc:2204:latest\"\n";
    bench.write_config(&bench.config(&format!("{spot}ssh_public_key = \"{KEY}\"\n")));
    for _ in 0..2 {
        said(&bench.run("azslurm-resume", &["s1"]), 0);
        bench.wait_for_the_driver();
        let running = bench.attempts("the VM", all(AttemptState::Running));
        bench.emulator.evict(running[0].is.vm.as_str()).unwrap();
        said(&bench.run("azslurm-resume-fail", &["s1"]), 0);
        bench.wait_for_the_driver();
        bench.attempts("the VM to be gone", all(AttemptState::Gone));
    }
    assert_eq!(holds(&bench), serde_json::json!([]));
    assert_names(&bench.log(), &["VmWasTaken"]);
}
