//! Long walks of things that may happen, by a small generator of numbers: the model stays
//! consistent whatever is said to it, is the same for the same walk, always comes to rest, and
//! shows every view of a node that azslurm distinguishes.

use std::collections::BTreeSet;

use azslurm_core::decide::{SlurmView, Whose};
use azslurm_core::hostlist;
use azslurm_slurm::Slurm;
use azslurm_slurm_model::{Call, JobSpec, JobState, NodeSeen, Settings, Slurmctld, Version};

const START: i64 = 1_795_224_861_000;

/// Walks, and steps of each: enough to see every view with room to spare, in a second.
const WALKS: u64 = 16;
const STEPS: usize = 250;

/// Every so many steps all words are read; that is what costs.
const READ_EVERY: usize = 10;

const VERBS: [&str; 10] = [
    "down",
    "resume",
    "drain",
    "undrain",
    "power_down",
    "power_down_force",
    "power_down_asap",
    "power_up",
    "fail",
    "idle",
];

const REASONS: [&str; 2] = ["azslurm:x", "bad_dimm"];

/// Knuth's MMIX generator; the upper bits are good enough for a walk.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

struct Walk {
    slurm: Slurmctld,
    now: i64,
    numbers: Numbers,
    submitted: usize,
    calls: usize,
    steps: usize,
    views: BTreeSet<SlurmView>,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let version = if seed.is_multiple_of(2) { Version::V22_05 } else { Version::V24_11 };
        let settings = Settings {
            version,
            suspend_time_ms: 60_000,
            resume_timeout_ms: 120_000,
            suspend_timeout_ms: 30_000,
            slurmd_timeout_ms: 60_000,
            resume_rate_per_min: u32::try_from(seed % 3).unwrap_or(0),
            idle_on_node_suspend: !seed.is_multiple_of(5),
            ..Settings::default()
        };
        Walk {
            slurm: Slurmctld::new(settings, START),
            now: START,
            numbers: Numbers(seed),
            submitted: 0,
            calls: 0,
            steps: 0,
            views: BTreeSet::new(),
        }
    }

    fn name(&mut self) -> String {
        format!("n{}", 1 + self.numbers.below(4))
    }

    fn step(&mut self) {
        let name = self.name();
        match self.numbers.below(12) {
            0 => {
                let nodes = 1 + usize::try_from(self.numbers.below(3)).expect("small");
                let spec = JobSpec {
                    nodes,
                    requeue: self.numbers.below(4) > 0,
                    is_exclusive: self.numbers.below(2) > 0,
                    ignores_term: self.numbers.below(2) > 0,
                    run_ms: 20_000 + 1_000 * i64::try_from(self.numbers.below(100)).expect("small"),
                    ..JobSpec::default()
                };
                self.slurm.submit(spec, self.now);
                self.submitted += 1;
            }
            1 | 2 => {
                let verb = VERBS[usize::try_from(self.numbers.below(10)).expect("small")];
                let reason = REASONS[usize::try_from(self.numbers.below(2)).expect("small")];
                self.say(&format!("update nodename={name} state={verb} reason={reason}"));
            }
            3 | 4 => self.slurm.slurmd_registers(&name, self.now - 5_000, self.now),
            5 => {
                let alive = self.numbers.below(2) > 0;
                self.slurm.slurmd_alive(&name, alive, self.now);
            }
            6 => {
                let job = u32::try_from(1 + self.numbers.below(9)).expect("small");
                self.slurm.cancel(job, self.now);
            }
            7 => self.say("requeue 1,2,3,4,5"),
            8 => self.slurm.linger(&name, 20_000, self.now),
            9 if self.numbers.below(8) == 0 => {
                let keeps = self.numbers.below(3) > 0;
                self.slurm.restart(keeps, self.now);
            }
            _other => self.wait(),
        }
        self.look();
    }

    fn say(&mut self, words: &str) {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let output = self.slurm.run("scontrol", &words, self.now);
        assert_eq!(output.status == 0, output.stderr.is_empty(), "{output:?}");
    }

    fn wait(&mut self) {
        self.now += 1_000 * i64::try_from(self.numbers.below(40)).expect("small");
        for call in self.slurm.advance(self.now) {
            self.calls += 1;
            let nodes = match call {
                Call::Resume { nodes, .. } => nodes,
                Call::Suspend { nodes } | Call::ResumeFail { nodes } => nodes,
            };
            assert!(!hostlist::expand(&nodes).expect("a host list").is_empty());
        }
        let next = self.slurm.next_event_at();
        assert!(next.is_none_or(|at| at > self.now), "what is due has been done: {next:?}");
    }

    fn look(&mut self) {
        for at in 1..=4 {
            let node = self.slurm.node(&format!("n{at}")).expect("the cluster has it");
            self.check(&node);
            self.views.insert(view(&node));
        }
        self.steps += 1;
        if self.steps.is_multiple_of(READ_EVERY) {
            self.read();
        }
    }

    fn read(&mut self) {
        let jobs = self.slurm.jobs();
        assert_eq!(jobs.len(), self.submitted);
        for job in &jobs {
            let has_nodes = matches!(job.state, JobState::Configuring | JobState::Running);
            let is_over = matches!(job.state, JobState::Ended(_));
            assert_eq!(job.ended_at.is_some(), is_over, "{job:?}");
            assert!(!has_nodes || !job.nodes.is_empty(), "{job:?}");
            assert!(job.state != JobState::Pending || job.nodes.is_empty(), "{job:?}");
        }
        let words = ["-a", "show", "nodes", "-o"].map(str::to_owned);
        let text = self.slurm.run("scontrol", &words, self.now).stdout;
        assert_eq!(Slurm::nodes_of_text(&text).expect("it can be read").len(), 4);
    }

    fn check(&self, node: &NodeSeen) {
        let flags = node.flags;
        let is_completing = !node.completing.is_empty();
        assert_eq!(flags.completing, is_completing, "{node:?}");
        assert!(!(flags.powering_up && flags.powering_down), "{node:?}");
        assert!(!(flags.powered_down && flags.powering_down), "{node:?}");
        for id in &node.jobs {
            let job = self.slurm.job(*id).expect("it was submitted");
            assert!(job.nodes.contains(&node.name), "{node:?} {job:?}");
        }
        assert!(!node.is_down || node.jobs.is_empty(), "a node that is DOWN has no job: {node:?}");
    }
}

fn view(node: &NodeSeen) -> SlurmView {
    let whose = match node.reason.as_deref() {
        Some(text) if text.starts_with("azslurm") => Whose::Ours,
        Some("ResumeTimeout reached") => Whose::Ours,
        Some("Not responding") => Whose::SilentForLong,
        Some(_) | None => Whose::Person,
    };
    let Ok(state) = node.state.parse();
    SlurmView::of(&state, whose)
}

#[test]
fn every_view_of_a_node_comes_up_and_the_model_stays_consistent() {
    let mut views = BTreeSet::new();
    let mut calls = 0;
    for seed in 0..WALKS {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            walk.step();
        }
        views.append(&mut walk.views);
        calls += walk.calls;
    }
    assert!(calls > 300, "{calls}");
    // These two are what a slurmctld is that does not answer, or does not have the node.
    let unseen: Vec<SlurmView> = SlurmView::ALL
        .into_iter()
        .filter(|view| !matches!(view, SlurmView::Unknown | SlurmView::Absent))
        .filter(|view| !views.contains(view))
        .collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn the_same_walk_is_the_same_to_the_last_word() {
    let walk = || {
        let mut walk = Walk::new(7);
        for _ in 0..STEPS {
            walk.step();
        }
        format!("{:?}", walk.slurm)
    };
    assert_eq!(walk(), walk());
}

#[test]
fn a_cluster_that_is_left_alone_comes_to_rest() {
    for seed in 0..WALKS {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            walk.step();
        }
        // Far more events than a cluster of four nodes can have left.
        let mut events = 0;
        while let Some(at) = walk.slurm.next_event_at() {
            walk.slurm.advance(at);
            events += 1;
            assert!(events < 10_000, "seed {seed}: still busy at {at}\n{:#?}", walk.slurm);
        }
    }
}
