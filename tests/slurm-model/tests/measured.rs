//! Time lines, each a sentence of SLURM.md: the section that has it is named. Logs are those of
//! 22.05.8 beside that file.

use azslurm_slurm_model::{
    Call, Exit, JobSpec, JobState, NodeSeen, Output, RequeueWhy, Settings, Slurmctld, Version,
};

/// Any moment; a whole second, as slurmctld's clock.
const START: i64 = 1_795_224_861_000;

/// One second.
const S: i64 = 1_000;

struct World {
    slurm: Slurmctld,
    now: i64,
    calls: Vec<Call>,
}

impl World {
    /// The lab's settings: short timeouts, so that what takes long stands out.
    fn lab() -> Settings {
        Settings {
            suspend_time_ms: 20 * S,
            resume_timeout_ms: 60 * S,
            suspend_timeout_ms: 5 * S,
            slurmd_timeout_ms: 12 * S,
            ..Settings::default()
        }
    }

    fn new(settings: Settings) -> World {
        World { slurm: Slurmctld::new(settings, START), now: START, calls: Vec::new() }
    }

    /// Goes on, from event to event as a simulation does.
    fn wait(&mut self, seconds: i64) {
        let until = self.now + seconds * S;
        while let Some(at) = self.slurm.next_event_at().filter(|at| *at <= until) {
            assert!(at >= self.now || !self.calls.is_empty(), "an event in the past");
            self.calls.extend(self.slurm.advance(at));
            self.now = self.now.max(at);
        }
        self.now = until;
        self.calls.extend(self.slurm.advance(until));
    }

    fn calls(&mut self) -> Vec<String> {
        let words = |call: Call| match call {
            Call::Resume { nodes, .. } => format!("resume {nodes}"),
            Call::Suspend { nodes } => format!("suspend {nodes}"),
            Call::ResumeFail { nodes } => format!("resumefail {nodes}"),
        };
        std::mem::take(&mut self.calls).into_iter().map(words).collect()
    }

    fn say(&mut self, words: &str) -> Output {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        self.slurm.run("scontrol", &words, self.now)
    }

    fn update(&mut self, nodes: &str, verb: &str) -> Output {
        self.say(&format!("update nodename={nodes} state={verb} reason=verb"))
    }

    fn register(&mut self, nodes: &[&str]) {
        for node in nodes {
            self.slurm.slurmd_registers(node, self.now, self.now);
        }
    }

    fn node(&self, name: &str) -> NodeSeen {
        self.slurm.node(name).expect("the cluster has it")
    }

    fn state(&self, name: &str) -> String {
        self.node(name).state
    }

    fn job_state(&self, id: u32) -> JobState {
        self.slurm.job(id).expect("it was submitted").state
    }

    fn submit(&mut self, nodes: usize) -> u32 {
        self.slurm.submit(JobSpec { nodes, ..JobSpec::default() }, self.now)
    }

    /// A job that runs on the first nodes.
    fn running(&mut self, spec: JobSpec) -> u32 {
        let nodes: Vec<String> = (1..=spec.nodes).map(|at| format!("n{at}")).collect();
        let id = self.slurm.submit(spec, self.now);
        self.wait(3);
        self.register(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
        self.wait(30);
        assert_eq!(self.job_state(id), JobState::Running);
        self.calls.clear();
        id
    }
}

/// §1.1, §3, §4: idle~ → mixed# → mixed → RUNNING → idle → idle% → idle~.
#[test]
fn a_job_brings_its_nodes_and_they_go_when_it_has_ended() {
    let mut world = World::new(World::lab());
    let id = world.submit(2);
    world.wait(3);
    assert_eq!(world.calls(), ["resume n[1-2]"]);
    assert_eq!(world.state("n1"), "ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP");
    world.register(&["n1"]);
    world.wait(31);
    assert_eq!(world.job_state(id), JobState::Configuring, "it starts when all its nodes are up");
    world.register(&["n2"]);
    world.wait(1);
    assert_eq!(world.state("n2"), "ALLOCATED+CLOUD");
    assert_eq!(world.job_state(id), JobState::Configuring);
    world.wait(30);
    assert_eq!(world.job_state(id), JobState::Running, "within the 30 s of job_time_limit()");
    world.wait(61);
    assert_eq!(world.job_state(id), JobState::Ended(Exit::Completed));
    assert_eq!(world.state("n1"), "IDLE+CLOUD");
    world.wait(17);
    assert_eq!(world.calls(), ["suspend n[1-2]"]);
    assert_eq!(world.state("n1"), "IDLE+CLOUD+POWERING_DOWN");
    world.wait(7);
    assert_eq!(world.state("n1"), "IDLE+CLOUD+POWERED_DOWN");
    assert_eq!(world.slurm.next_event_at(), None, "nothing is due in an empty cluster");
}

/// §0.6, §1.3 (boottime.log): a node counts as resumed only if its kernel booted afterwards.
#[test]
fn a_vm_that_booted_before_the_request_is_ignored_until_resume_timeout() {
    let mut world = World::new(World::lab());
    world.update("n1", "power_up");
    world.wait(2);
    world.slurm.slurmd_registers("n1", START - 100 * S, world.now);
    world.wait(1);
    assert_eq!(world.state("n1"), "IDLE+CLOUD+NOT_RESPONDING+POWERING_UP");
    world.wait(63);
    assert_eq!(world.state("n1"), "DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING");
    assert_eq!(world.calls(), ["resume n1", "resumefail n1"]);
}

/// §4 (timeout.log): ResumeFailProgram, the job requeued, the other nodes stay up and go idle.
#[test]
fn a_node_that_never_registers_is_down_and_its_job_waits_for_its_credentials() {
    let mut world = World::new(World::lab());
    let id = world.submit(2);
    let no_requeue = JobSpec { requeue: false, ..JobSpec::default() };
    let other = world.slurm.submit(no_requeue, world.now);
    world.wait(3);
    world.register(&["n1"]);
    world.wait(61);
    assert_eq!(world.calls(), ["resume n[1-3]", "resumefail n[2-3]"]);
    let node = world.node("n2");
    assert_eq!(node.reason.as_deref(), Some("ResumeTimeout reached"));
    assert_eq!(node.state, "DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING");
    assert_eq!(world.job_state(other), JobState::Ended(Exit::NodeFail));
    // 22.05 cleans up its healthy node for 10 s.
    assert_eq!(world.job_state(id), JobState::Completing);
    assert_eq!(world.state("n1"), "IDLE+CLOUD+COMPLETING");
    let shown = world.say("-a show jobs -o").stdout;
    assert!(shown.contains("JobState=COMPLETING") && shown.contains(" NodeList=n1 "), "{shown}");
    world.wait(11);
    assert_eq!(world.job_state(id), JobState::Pending);
    assert_eq!(world.state("n1"), "IDLE+CLOUD");
    let job = world.slurm.job(id).unwrap();
    assert_eq!(job.requeues[0].why, RequeueWhy::ResumeTimeout);
    assert_eq!(job.requeues[0].node.as_deref(), Some("n2"));
    world.calls.clear();
    world.wait(115);
    assert_eq!(world.job_state(id), JobState::Pending, "121 s");
    world.wait(8);
    assert_eq!(world.job_state(id), JobState::Configuring);
    assert_eq!(world.calls(), ["suspend n1", "resume n[1,4]"], "never the DOWN ones");
}

/// §3: 22.05 replaces the reason, later ones append.
#[test]
fn resume_timeout_replaces_a_reason_or_stands_behind_it() {
    for (version, expected) in [
        (Version::V22_05, "ResumeTimeout reached"),
        (Version::V24_11, "azure: quota : ResumeTimeout reached"),
    ] {
        let mut world = World::new(Settings { version, ..World::lab() });
        world.update("n1", "power_up");
        world.wait(2);
        world.say("update nodename=n1 state=down reason=azure:_quota");
        let words = ["update", "nodename=n1", "reason=azure: quota"].map(str::to_owned);
        assert_eq!(world.slurm.run("scontrol", &words, world.now).status, 0);
        world.wait(65);
        assert_eq!(world.node("n1").reason.as_deref(), Some(expected));
        assert_eq!(world.calls(), ["resume n1", "resumefail n1"], "§0.5: for DOWN ones too");
    }
}

/// §4 (r2s.log): a late VM does not leak, whatever ReturnToService is.
#[test]
fn a_node_that_registers_late_is_accepted_and_suspended() {
    for (policy, expected) in [(0, "DOWN+CLOUD"), (1, "DOWN+CLOUD"), (2, "IDLE+CLOUD")] {
        let settings = Settings { return_to_service: policy, ..World::lab() };
        let mut world = World::new(settings);
        world.update("n1", "power_up");
        world.wait(70);
        world.register(&["n1"]);
        world.wait(3);
        assert_eq!(world.state("n1"), expected, "ReturnToService={policy}");
        world.wait(20);
        assert_eq!(world.calls(), ["resume n1", "resumefail n1", "suspend n1"]);
    }
}

/// §4 (r2s.log): an unasked slurmd makes its node usable, and the node is suspended in time.
#[test]
fn a_slurmd_that_nobody_asked_for_is_taken() {
    let mut world = World::new(World::lab());
    world.register(&["n1"]);
    assert_eq!(world.state("n1"), "IDLE+CLOUD");
    world.wait(22);
    assert_eq!(world.calls(), ["suspend n1"]);
}

/// §4 (downpoweringup.log): ReturnToService=2 takes it back.
#[test]
fn a_registration_ends_a_down_of_a_node_that_is_powering_up() {
    let mut world = World::new(World::lab());
    world.update("n1", "power_up");
    world.wait(2);
    world.update("n1", "down");
    world.register(&["n1"]);
    assert_eq!((world.state("n1").as_str(), world.node("n1").reason), ("IDLE+CLOUD", None));
}

/// §4 (kill.log): NOT_RESPONDING, then DOWN* and the jobs requeued, or NODE_FAIL; SuspendProgram
/// after SuspendTime.
#[test]
fn a_dead_slurmd_costs_its_node_after_slurmd_timeout() {
    let mut world = World::new(World::lab());
    let id =
        world.running(JobSpec { run_ms: 3_600 * S, is_exclusive: false, ..JobSpec::default() });
    let spec = JobSpec { requeue: false, is_exclusive: false, ..JobSpec::default() };
    let other = world.slurm.submit(spec, world.now);
    world.wait(2);
    world.slurm.slurmd_alive("n1", false, world.now);
    world.wait(9);
    assert_eq!(world.state("n1"), "ALLOCATED+CLOUD+NOT_RESPONDING");
    world.wait(12);
    assert_eq!(world.state("n1"), "DOWN+CLOUD+NOT_RESPONDING");
    assert_eq!(world.node("n1").reason.as_deref(), Some("Not responding"));
    assert_eq!(world.job_state(id), JobState::Pending);
    assert_eq!(world.slurm.job(id).unwrap().requeues[0].why, RequeueWhy::NotResponding);
    assert_eq!(world.job_state(other), JobState::Ended(Exit::NodeFail));
    world.wait(22);
    assert_eq!(world.calls(), ["suspend n1"]);
    assert_eq!(world.state("n1"), "IDLE+CLOUD+POWERING_DOWN");
}

/// A network that is away for less than SlurmdTimeout costs nothing.
#[test]
fn a_slurmd_that_answers_again_keeps_its_job() {
    let mut world = World::new(World::lab());
    let id = world.running(JobSpec::default());
    world.slurm.slurmd_alive("n1", false, world.now);
    world.wait(9);
    world.slurm.slurmd_alive("n1", true, world.now);
    world.wait(2);
    assert_eq!(world.state("n1"), "ALLOCATED+CLOUD");
    world.slurm.slurmd_alive("n1", false, world.now);
    world.slurm.slurmd_alive("n1", true, world.now);
    world.wait(60);
    assert_eq!(world.job_state(id), JobState::Ended(Exit::Completed));
    assert!(world.slurm.job(id).unwrap().requeues.is_empty());
}

/// §6 (failfast.log): one word requeues at once and calls SuspendProgram at once.
#[test]
fn power_down_force_of_a_booting_node_requeues_its_job_at_once() {
    for (version, is_slow) in [(Version::V22_05, true), (Version::V24_11, false)] {
        let mut world = World::new(Settings { version, ..World::lab() });
        let id = world.submit(3);
        world.wait(2);
        world.register(&["n1", "n3"]);
        world.update("n2", "power_down_force");
        let expected = if is_slow { JobState::Completing } else { JobState::Pending };
        assert_eq!(world.job_state(id), expected, "{version:?}");
        world.wait(2);
        assert_eq!(world.calls(), ["resume n[1-3]", "suspend n2"]);
        assert_eq!(world.node("n2").reason.as_deref(), Some("verb"), "it stays readable");
        world.wait(10);
        assert_eq!(world.job_state(id), JobState::Pending);
        assert_eq!(world.state("n2"), "IDLE+CLOUD+POWERED_DOWN");
        assert_eq!(world.slurm.job(id).unwrap().requeues[0].why, RequeueWhy::PoweredDown);
    }
}

/// §6 (verbs2.log): a confirmed delete gives the node back before SuspendTimeout.
#[test]
fn resume_ends_powering_down_and_a_waiting_job_takes_the_node() {
    let mut world = World::new(World::lab());
    world.register(&["n1"]);
    world.update("n1", "power_down");
    world.wait(2);
    let spec = JobSpec { required: vec!["n1".to_owned()], ..JobSpec::default() };
    let id = world.slurm.submit(spec, world.now);
    world.wait(2);
    assert_eq!(world.job_state(id), JobState::Pending);
    assert_eq!(world.update("n1", "resume").status, 0);
    world.wait(2);
    assert_eq!(world.job_state(id), JobState::Configuring);
    assert_eq!(world.calls(), ["suspend n1", "resume n1"]);
    let again = world.update("n1", "resume");
    assert_eq!(
        (again.status, again.stderr.as_str()),
        (1, "slurm_update error: Invalid node state specified\n")
    );
}

/// §4 (requeue.log): `scontrol requeue` does not touch nodes; 22.05 lets a job of which no node had
/// come up begin at once.
#[test]
fn a_requeue_leaves_the_nodes_booting() {
    let mut world = World::new(World::lab());
    let id = world.submit(1);
    world.wait(3);
    assert_eq!(world.say("requeue 1").status, 0);
    assert_eq!(world.state("n1"), "IDLE+CLOUD+NOT_RESPONDING+POWERING_UP");
    world.wait(2);
    assert_eq!(world.job_state(id), JobState::Configuring);
    assert_eq!(world.node("n1").jobs, [id], "nodes that are powering up come before those off");
    world.register(&["n1"]);
    world.say("requeue 1");
    world.wait(100);
    assert_eq!(world.job_state(id), JobState::Pending, "§4: 121 s after the end");
    world.say("update jobid=1 StartTime=now");
    world.wait(2);
    assert_eq!(world.job_state(id), JobState::Configuring);
    assert_eq!(world.say("requeue 7").stderr, "Invalid job id specified for job 7\n");
}

/// §2.3 (requeue.log): the nodes of a cancelled job go on booting, and are suspended in time.
#[test]
fn a_cancelled_job_leaves_its_nodes_to_suspend_time() {
    let mut world = World::new(World::lab());
    let id = world.submit(1);
    world.wait(2);
    world.slurm.cancel(id, world.now);
    assert_eq!(world.job_state(id), JobState::Ended(Exit::Cancelled));
    assert_eq!(world.state("n1"), "IDLE+CLOUD+NOT_RESPONDING+POWERING_UP");
    world.register(&["n1"]);
    world.wait(22);
    assert_eq!(world.calls(), ["resume n1", "suspend n1"]);
}

/// §0.11: a run that was lost is only noticed at ResumeTimeout.
#[test]
fn a_restarted_slurmctld_does_not_call_resume_program_again() {
    let mut world = World::new(World::lab());
    let id = world.submit(1);
    world.wait(10);
    let before = world.say("show config").stdout;
    world.slurm.stop(world.now);
    let silent = world.say("-a show nodes -o");
    assert!(silent.status == 1 && silent.stderr.contains("Unable to contact slurm controller"));
    assert_eq!(world.say("ping").stdout, "Slurmctld(primary) at head is DOWN\n");
    world.wait(20);
    world.slurm.restart(true, world.now);
    assert_eq!(world.say("ping").stdout, "Slurmctld(primary) at head is UP\n");
    assert_ne!(world.say("show config").stdout, before, "BOOT_TIME");
    world.wait(30);
    assert_eq!(world.calls(), ["resume n1"]);
    assert_eq!(world.job_state(id), JobState::Configuring);
    world.wait(5);
    assert_eq!(world.calls(), ["resumefail n1"]);
}

/// A slurmctld without its state: every cloud node is off, and no job is known.
#[test]
fn a_slurmctld_that_lost_its_state_does_not_know_what_runs() {
    let mut world = World::new(World::lab());
    let id = world.running(JobSpec::default());
    world.slurm.restart(false, world.now);
    world.wait(1_000);
    assert_eq!(world.state("n1"), "IDLE+CLOUD+POWERED_DOWN");
    assert_eq!(world.job_state(id), JobState::Ended(Exit::LostWithState));
    assert_eq!(world.say("-a show jobs -o").stdout, "No jobs in the system\n");
    assert_eq!(world.calls(), Vec::<String>::new());
}

/// docs/high-availability.md: 22.05 does not save an allocation by itself.
#[test]
fn a_slurmctld_with_an_older_state_does_what_it_did_before_once_more() {
    let mut world = World::new(World::lab());
    let id = world.submit(1);
    let saved = world.slurm.clone();
    world.wait(3);
    world.register(&["n1"]);
    let other = world.submit(1);
    world.wait(2);
    world.slurm.restart_from(&saved, world.now);
    assert_eq!(world.job_state(id), JobState::Pending);
    assert_eq!(world.job_state(other), JobState::Ended(Exit::LostWithState));
    world.wait(3);
    assert_eq!(world.calls(), ["resume n1", "resume n2", "resume n1"]);
    let ids: Vec<u32> = world.slurm.jobs().iter().map(|job| job.id).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!(world.submit(1), 3);
}

/// verbs.log (its last lines), states.log, r2s.log: 22.05 takes a reason away from whoever is well
/// or woken; later ones without slurmdbd keep it until a job comes.
#[test]
fn a_reason_goes_with_what_it_was_for_or_stays() {
    for (version, left) in [(Version::V22_05, None), (Version::V24_11, Some("verb"))] {
        let mut world = World::new(Settings { version, ..World::lab() });
        world.update("n[1-3]", "down");
        world.update("n1", "power_up");
        world.update("n2", "resume");
        world.update("n4", "power_down_force");
        world.wait(2);
        assert_eq!(world.state("n1"), "DOWN+CLOUD+NOT_RESPONDING+POWERING_UP");
        assert_eq!(world.node("n1").reason.as_deref(), left, "{version:?} woken");
        assert_eq!(world.node("n2").reason.as_deref(), left, "{version:?} set back");
        assert_eq!(world.node("n3").reason.as_deref(), Some("verb"), "{version:?} DOWN");
        assert_eq!(world.node("n4").reason.as_deref(), Some("verb"), "{version:?} by a power verb");
        let id = world.submit(1);
        world.wait(2);
        assert_eq!(world.node("n2").jobs, [id]);
        assert_eq!(world.node("n2").reason, None, "a job's allocation takes it away");
    }
}

/// A slurmd that finds no slurmctld tries until there is one.
#[test]
fn a_slurmd_that_boots_while_slurmctld_is_down_registers_afterwards() {
    let mut world = World::new(World::lab());
    let id = world.submit(1);
    world.wait(2);
    world.slurm.stop(world.now);
    world.register(&["n1"]);
    world.wait(20);
    world.slurm.restart(true, world.now);
    world.wait(31);
    assert_eq!(world.job_state(id), JobState::Running);
}

/// §2.4 (rate.log): a decaying counter, whose first call takes a full minute's worth.
#[test]
fn resume_rate_takes_a_minutes_worth_and_then_a_few_every_ten_seconds() {
    let mut world = World::new(World::lab());
    let nodes = (1..=40).map(|at| azslurm_slurm_model::NodeSpec::new(&format!("n{at}"), "debug"));
    let settings = Settings { nodes: nodes.collect(), resume_rate_per_min: 10, ..World::lab() };
    world = World { slurm: Slurmctld::new(settings, START), ..world };
    world.submit(40);
    world.wait(54);
    let calls = world.calls();
    assert_eq!(calls[0], "resume n[1-10]");
    assert_eq!(calls.len(), 6, "{calls:?}");
    let count = |call: &String| {
        let list = call.strip_prefix("resume ").expect("a resume");
        azslurm_core::hostlist::expand(list).expect("a host list").len()
    };
    assert!(calls[1..].iter().all(|call| (1..=2).contains(&count(call))), "{calls:?}");
}

/// §3.1: unknown names end an update where they stand; other refusals do not, and the last counts.
#[test]
fn an_update_stops_at_the_first_name_that_slurmctld_does_not_know() {
    let mut world = World::new(World::lab());
    let output = world.update("n1,x7,n2", "down");
    assert_eq!(output.stderr, "slurm_update error: Invalid node name specified\n");
    assert_eq!(world.state("n1"), "DOWN+CLOUD+POWERED_DOWN");
    assert_eq!(world.state("n2"), "IDLE+CLOUD+POWERED_DOWN");
    let output = world.update("n[1-2]", "resume");
    assert_eq!(output.stderr, "slurm_update error: Invalid node state specified\n");
    assert_eq!(world.state("n1"), "IDLE+CLOUD+POWERED_DOWN+NOT_RESPONDING");
    let shown = world.say("-a show nodes x7,n2 -o");
    assert!(shown.status == 1 && shown.stdout.starts_with("Node x7 not found\nNodeName=n2 "));
    assert_eq!(world.say("update nodename=n2 state=down").status, 1, "it needs a reason");
    assert_eq!(world.say("update nodename=n2 comment=hello").status, 0);
    assert_eq!(world.node("n2").comment.as_deref(), Some("hello"));
}

/// 22.05, as azslurm met it: a node that is off is set back while an end is under way on it, gets
/// the same job again, and that end takes the job. Who waits for the end loses nothing.
#[test]
fn a_job_that_starts_again_during_its_first_end_is_lost() {
    let (lost, pending) = (JobState::Ended(Exit::LostToFirstEnd), JobState::Pending);
    for (version, waits, expected) in [
        (Version::V22_05, false, lost),
        (Version::V22_05, true, pending),
        (Version::V24_11, false, pending),
    ] {
        let mut world = World::new(Settings { version, ..World::lab() });
        let id = world.submit(1);
        world.wait(2);
        world.update("n1", "power_down_force");
        world.wait(2);
        world.slurm.linger("n1", 20 * S, world.now);
        assert_eq!(world.state("n1"), "IDLE+CLOUD+COMPLETING+POWERING_DOWN");
        assert_eq!(world.node("n1").completing, [id]);
        world.wait(if waits { 21 } else { 0 });
        world.update("n1", "resume");
        world.wait(2);
        world.register(&["n1"]);
        world.wait(35);
        assert_eq!(world.job_state(id), expected, "{version:?} waits {waits}");
    }
}

/// What azslurm says twice: after one word 22.05 waits until SlurmdTimeout for a dead slurmd to
/// confirm the end of its job; the second word ends that.
#[test]
fn a_second_power_down_force_ends_the_wait_for_a_dead_slurmd() {
    for words in [1, 2] {
        let mut world = World::new(Settings { slurmd_timeout_ms: 120 * S, ..World::lab() });
        let id = world.running(JobSpec { run_ms: 3_600 * S, ..JobSpec::default() });
        world.slurm.slurmd_alive("n1", false, world.now);
        for _ in 0..words {
            world.update("n1", "power_down_force");
        }
        world.wait(5);
        let is_over = words == 2;
        assert_eq!(world.job_state(id) == JobState::Pending, is_over, "{words} words");
        assert_eq!(world.calls().len(), usize::from(is_over), "{words} words");
        world.wait(200);
        assert_ne!(world.job_state(id), JobState::Completing, "SlurmdTimeout has passed");
        assert!(world.state("n1").contains("POWER"), "{}", world.state("n1"));
    }
}

/// A job whose node boots anew is gone from it, and is requeued.
#[test]
fn a_node_that_boots_under_its_job_has_it_no_more() {
    let mut world = World::new(World::lab());
    let id = world.running(JobSpec { run_ms: 3_600 * S, ..JobSpec::default() });
    world.register(&["n1"]);
    assert_eq!(world.job_state(id), JobState::Pending);
    assert_eq!(world.slurm.job(id).unwrap().requeues[0].why, RequeueWhy::Rebooted);
    assert_eq!(world.state("n1"), "IDLE+CLOUD");
}

/// A script that minds no SIGTERM is killed after KillWait; until then its node is COMPLETING.
#[test]
fn a_stubborn_job_completes_after_kill_wait() {
    let mut world = World::new(World::lab());
    let spec = JobSpec { ignores_term: true, run_ms: 3_600 * S, ..JobSpec::default() };
    let id = world.running(spec);
    let words = ["--signal=USR1", "--batch", "1"].map(str::to_owned);
    assert_eq!(world.slurm.run("scancel", &words, world.now).status, 0);
    world.say("requeue 1");
    world.wait(29);
    assert_eq!(world.job_state(id), JobState::Completing);
    assert_eq!(world.state("n1"), "IDLE+CLOUD+COMPLETING");
    world.wait(2);
    assert_eq!(world.job_state(id), JobState::Pending);
    assert_eq!(world.slurm.job(id).unwrap().signals[0].name, "USR1");
    let refused = world.slurm.run("scancel", &words, world.now);
    assert!(refused.stderr.starts_with("scancel: error: Kill job error on job id 1: "));
}

/// While it hangs, slurmctld answers nobody and nothing happens; afterwards all of it does.
#[test]
fn a_slurmctld_that_hangs_does_everything_late() {
    let mut world = World::new(World::lab());
    world.update("n1", "power_up");
    world.slurm.hang(world.now + 100 * S, world.now);
    world.wait(99);
    assert_eq!(world.calls(), Vec::<String>::new());
    assert!(world.say("-a show nodes -o").stderr.contains("Socket timed out"));
    world.wait(2);
    assert_eq!(world.calls(), ["resume n1"]);
    assert_eq!(world.say("-a show nodes -o").status, 0);
}
