//! The boot-failure guard: nodes that miss ResumeTimeout although Azure has made their VMs.

use azslurm_core::attempt::AttemptState;
use serde_json::Value;

use crate::bench::{Bench, KEY, all, assert_names, said};

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
