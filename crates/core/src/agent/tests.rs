//! The steps of whole stories, and what holds for every cell.

use std::collections::BTreeSet;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_225_985_000);

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn event(word: &str, notice: u64) -> Event {
    Event {
        id: "9a9d5e3c-F00D".to_owned(),
        kind: EventKind::of_word(word),
        is_started: false,
        resources: vec!["hpc-001-abc".to_owned()],
        not_before: Some(after(notice)),
        description: String::new(),
    }
}

fn settings(signals: bool) -> Settings {
    let requeue_before = Duration::from_secs(10);
    Settings { signals, requeue_before, acknowledges: true, share: 0 }
}

fn job(address: &str) -> JobSeen {
    JobSeen {
        address: address.to_owned(),
        is_active: true,
        can_requeue: true,
        is_signalled_elsewhere: false,
    }
}

/// A slurmctld and a VM in small.
struct World {
    state: &'static str,
    reason: Option<(String, String)>,
    jobs: Vec<JobSeen>,
    said: Vec<String>,
}

impl World {
    fn new(state: &'static str) -> World {
        let mut fixed = job("3");
        fixed.can_requeue = false;
        World { state, reason: None, jobs: vec![job("1_2"), fixed], said: Vec::new() }
    }

    fn mark(&self) -> Mark {
        self.reason.as_ref().map_or(Mark::None, |(code, text)| mark_of(code, text))
    }

    /// Does what the shell would do, once.
    fn step(
        &mut self,
        memory: &mut Memory,
        sight: (Option<&Event>, Timestamp),
        s: &Settings,
    ) -> Step {
        let (event, now) = sight;
        memory.note(event, now);
        let sight = Sight { event: Ok(event), memory, settings: s, now };
        let step = sight.step();
        let addresses = sight.addresses(step);
        match step {
            Step::Rest => {}
            Step::LookAtNode => {
                let state = self.state.parse().unwrap();
                memory.node = Some(NodeTold { at: now, state, mark: self.mark() });
            }
            Step::Drain => {
                self.state = "MIXED+CLOUD+DRAIN";
                self.reason = event.map(reason_of);
                memory.forget_node();
            }
            Step::LookAtJobs => memory.jobs = Some((now, self.jobs.clone())),
            Step::Signal => memory.signalled.extend(addresses.clone()),
            Step::Requeue => {
                self.jobs.retain(|job| !addresses.contains(&job.address));
                memory.jobs = None;
            }
            Step::Acknowledge => {
                memory.acknowledged.extend(event.map(|event| event.id.clone()));
            }
            Step::TakeBack => {
                (self.state, self.reason) = ("MIXED+CLOUD", None);
                memory.forget_node();
            }
        }
        if !matches!(step, Step::Rest | Step::LookAtNode | Step::LookAtJobs) {
            self.said.push(format!("{step:?} {}", addresses.join(",")).trim().to_owned());
        }
        step
    }

    fn settle(&mut self, memory: &mut Memory, sight: (Option<&Event>, Timestamp), s: &Settings) {
        for _ in 0..20 {
            if self.step(memory, sight, s) == Step::Rest {
                return;
            }
        }
        panic!("no end of steps: {:?}", self.said);
    }
}

#[test]
fn the_matrix_is_the_golden_file() {
    let golden = include_str!("../agent_matrix.txt");
    assert!(matrix() == golden, "`make golden` rewrites agent_matrix.txt:\n{}", matrix());
}

#[test]
fn a_node_that_somebody_else_has_closed_is_never_changed() {
    let closed = [NodeView::Closed, NodeView::Leaving, NodeView::Absent];
    for line in matrix().lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_closed = closed.iter().any(|view| format!("{view:?}") == words[1]);
        let changes = ["Drain", "TakeBack"].contains(&words[5]);
        assert!(!(is_closed && changes), "{line}");
        assert!(words[0] != "Unknown" || words[5] == "Rest", "{line}");
    }
}

#[test]
fn an_eviction_drains_then_signals_then_requeues_before_the_vm_goes() {
    let (mut world, mut memory) = (World::new("MIXED+CLOUD"), Memory::default());
    let (preempt, settings) = (event("Preempt", 30), settings(true));
    world.settle(&mut memory, (Some(&preempt), NOW), &settings);
    assert_eq!(world.said, ["Drain", "Signal 1_2,3"]);
    world.settle(&mut memory, (Some(&preempt), after(19)), &settings);
    assert_eq!(world.said.len(), 2, "{:?}", world.said);
    world.settle(&mut memory, (Some(&preempt), after(20)), &settings);
    assert_eq!(world.said[2..], ["Requeue 1_2"], "the other cannot be requeued");
    // That one keeps the VM until Azure takes it.
    world.settle(&mut memory, (Some(&preempt), after(29)), &settings);
    assert_eq!(world.said.len(), 3);
    world.jobs.clear();
    world.settle(&mut memory, (Some(&preempt), after(29)), &settings);
    assert_eq!(world.said.len(), 3, "slurmctld is asked every five seconds");
    world.settle(&mut memory, (Some(&preempt), after(34)), &settings);
    world.settle(&mut memory, (Some(&preempt), after(40)), &settings);
    assert_eq!(world.said[3..], ["Acknowledge"]);
}

#[test]
fn without_a_signal_or_with_little_notice_jobs_are_requeued_at_once() {
    for (notice, signals) in [(30, false), (9, true), (0, true), (0, false)] {
        let (mut world, mut memory) = (World::new("MIXED+CLOUD"), Memory::default());
        world.settle(&mut memory, (Some(&event("Preempt", notice)), NOW), &settings(signals));
        assert_eq!(world.said.last().unwrap(), "Requeue 1_2", "{notice} {signals}");
    }
}

#[test]
fn an_agent_that_is_killed_after_any_step_goes_on_and_a_second_time_changes_nothing() {
    for killed_after in 0..12 {
        let (mut world, mut memory) = (World::new("MIXED+CLOUD"), Memory::default());
        let (preempt, settings) = (event("Preempt", 30), settings(true));
        for _ in 0..killed_after {
            world.step(&mut memory, (Some(&preempt), after(20)), &settings);
        }
        let mut memory = Memory::default();
        world.settle(&mut memory, (Some(&preempt), after(21)), &settings);
        let done: BTreeSet<&str> = world.said.iter().map(String::as_str).collect();
        assert!(done.contains("Drain") && done.contains("Requeue 1_2"), "{:?}", world.said);
        let count = |what: &str| world.said.iter().filter(|said| *said == what).count();
        assert_eq!((count("Drain"), count("Requeue 1_2")), (1, 1), "{killed_after}");
        let before = world.said.len();
        world.settle(&mut memory, (Some(&preempt), after(22)), &settings);
        assert_eq!(world.said.len(), before);
    }
}

#[test]
fn maintenance_drains_and_leaves_the_jobs_and_its_end_takes_the_drain_back() {
    for word in ["Reboot", "Redeploy", "Freeze", "Terminate"] {
        let (mut world, mut memory) = (World::new("MIXED+CLOUD"), Memory::default());
        let (it, settings) = (event(word, 900), settings(true));
        world.settle(&mut memory, (Some(&it), NOW), &settings);
        assert_eq!(world.said, ["Drain"], "{word}");
        // Another agent, after the reboot.
        let mut memory = Memory::default();
        world.settle(&mut memory, (None, after(1000)), &settings);
        assert_eq!(world.said, ["Drain", "TakeBack"], "{word}");
        world.settle(&mut memory, (None, after(1001)), &settings);
        assert_eq!(world.said.len(), 2);
    }
}

#[test]
fn the_end_of_an_eviction_is_believed_only_when_the_vm_is_still_there_a_minute_later() {
    let (mut world, mut memory) = (World::new("MIXED+CLOUD"), Memory::default());
    world.settle(&mut memory, (Some(&event("Preempt", 30)), NOW), &settings(false));
    world.settle(&mut memory, (None, after(31)), &settings(false));
    world.settle(&mut memory, (None, after(90)), &settings(false));
    assert!(!world.said.contains(&"TakeBack".to_owned()), "{:?}", world.said);
    world.settle(&mut memory, (None, after(91)), &settings(false));
    assert!(world.said.contains(&"TakeBack".to_owned()), "{:?}", world.said);
}

#[test]
fn a_persons_drain_keeps_its_reason_and_the_jobs_are_saved_all_the_same() {
    for state in ["MIXED+CLOUD+DRAIN", "DOWN+CLOUD", "MIXED+CLOUD+FAIL"] {
        let (mut world, mut memory) = (World::new(state), Memory::default());
        world.reason = None;
        world.settle(&mut memory, (Some(&event("Preempt", 5)), NOW), &settings(true));
        assert_eq!(world.said, ["Signal 1_2,3", "Requeue 1_2"], "{state}");
        world.settle(&mut memory, (None, after(900)), &settings(true));
        assert_eq!((world.state, world.said.len()), (state, 2));
    }
}

#[test]
fn an_eviction_goes_before_maintenance_and_what_is_left_after_it_is_marked_again() {
    let (reboot, mut preempt) = (event("Reboot", 10), event("Preempt", 30));
    preempt.id = "other".to_owned();
    assert_eq!(foremost(&[&reboot, &preempt]), Some(&preempt));
    let (mut world, mut memory) = (World::new("MIXED+CLOUD"), Memory::default());
    world.settle(&mut memory, (Some(&reboot), NOW), &settings(false));
    world.settle(&mut memory, (Some(&preempt), NOW), &settings(false));
    assert!(world.mark().is_of(&preempt));
    world.settle(&mut memory, (Some(&reboot), NOW), &settings(false));
    assert!(world.mark().is_of(&reboot));
    assert!(!world.said.contains(&"TakeBack".to_owned()));
}

#[test]
fn a_booting_node_is_drained_for_an_eviction_and_not_for_a_freeze() {
    let step = |word: &str| {
        let mut world = World::new("MIXED+CLOUD+POWERING_UP");
        world.settle(&mut Memory::default(), (Some(&event(word, 900)), NOW), &settings(false));
        world.said.first().cloned()
    };
    assert_eq!(step("Preempt").as_deref(), Some("Drain"));
    assert_eq!(step("Freeze"), None);
    let (mut world, mut memory) = (World::new("MIXED+CLOUD+POWERING_UP"), Memory::default());
    world.settle(&mut memory, (Some(&event("Freeze", 900)), NOW), &settings(false));
    world.state = "MIXED+CLOUD";
    world.settle(&mut memory, (Some(&event("Freeze", 900)), after(10)), &settings(false));
    assert_eq!(world.said, ["Drain"], "it is looked at again");
}

#[test]
fn an_event_for_several_vms_is_never_acknowledged_for_the_others() {
    let (mut world, mut memory) = (World::new("IDLE+CLOUD"), Memory::default());
    world.jobs.clear();
    let mut reboot = event("Reboot", 900);
    reboot.resources.push("hpc-002-abc".to_owned());
    world.settle(&mut memory, (Some(&reboot), NOW), &settings(false));
    assert_eq!(world.said, ["Drain"]);
    reboot.resources.pop();
    world.settle(&mut memory, (Some(&reboot), NOW), &settings(false));
    assert_eq!(world.said, ["Drain", "Acknowledge"]);
}

#[test]
fn only_own_events_count_and_unknown_kinds_lead_to_nothing() {
    let mut events = vec![event("Preempt", 30), event("Preempt", 30), event("Levitate", 30)];
    events[1].resources = vec!["_HPC-002-ABC".to_owned()];
    assert_eq!(own_events(&events, "hpc-002-abc"), [&events[1]]);
    assert_eq!(own_events(&events, "hpc-00"), Vec::<&Event>::new());
    assert_eq!(foremost(&[&events[2]]), None);
    assert_eq!(events[2].kind, EventKind::Other("Levitate".to_owned()));
}

#[test]
fn agents_spread_what_does_not_press_and_never_past_the_margin() {
    let due = |share: u32, signals: bool| {
        let mut memory = Memory::default();
        let (it, settings) = (event("Preempt", 30), Settings { share, ..settings(signals) });
        memory.note(Some(&it), NOW);
        let sight = Sight { event: Ok(Some(&it)), memory: &memory, settings: &settings, now: NOW };
        sight.due(Some(&it)).since(NOW)
    };
    assert_eq!(due(0, true), Duration::from_secs(20));
    assert_eq!(due(1000, true), Duration::from_secs(15));
    assert_eq!(due(0, false), Duration::ZERO);
    assert_eq!(due(1000, false), Duration::from_secs(2));
}

#[test]
fn a_reason_names_its_event_and_nothing_else_does() {
    let mut it = event("Freeze", 900);
    let (code, text) = reason_of(&it);
    assert_eq!(code, "freeze");
    assert_eq!(
        text,
        "event 9a9d5e3c-F00D: Azure will hold this VM for some seconds not before \
         2026-11-21T02:08:05Z"
    );
    assert!(mark_of(&code, &text).is_of(&it));
    assert!(!mark_of("reboot", &text).is_of(&it));
    it.id = "another".to_owned();
    assert!(!mark_of(&code, &text).is_of(&it));
    for (code, text) in [("capacity", "event 1: x"), ("freeze", "no event"), ("freeze", "event 1")]
    {
        assert_eq!(mark_of(code, text), Mark::Ours, "{code} {text}");
    }
}
