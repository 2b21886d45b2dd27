//! Every verb in every state, against what real slurmctlds did (SLURM.md §3.1): each line of the
//! captures is a node in a state, a verb, the state right after it and some seconds later, what
//! became of the node's job, and which programs were called meanwhile.

use azslurm_slurm_model::{Call, JobSpec, NodeSpec, Output, Settings, Slurmctld, Version};

const CAPTURES: [(Version, &str); 2] = [
    (Version::V22_05, include_str!("../testdata/22.05.8/verbs.log")),
    (Version::V24_11, include_str!("../testdata/24.11.5/verbs.log")),
];

/// Any moment; a whole second, as slurmctld's clock.
const START: i64 = 1_795_224_861_000;

/// The captures looked again about so much later.
const LATER_MS: i64 = 5_000;

/// One line of a capture.
struct Line<'a> {
    from: &'a str,
    verb: &'a str,
    answer: &'a str,
    at_once: &'a str,
    later: &'a str,
    job: &'a str,
    calls: &'a str,
}

fn lines(text: &str) -> Vec<Line<'_>> {
    text.lines()
        .filter_map(|line| match line.split('|').collect::<Vec<_>>().as_slice() {
            [from, verb, answer, at_once, later, job, calls] => {
                Some(Line { from, verb, answer, at_once, later, job, calls })
            }
            _other => None,
        })
        .collect()
}

struct World {
    slurm: Slurmctld,
    now: i64,
    job: Option<u32>,
}

impl World {
    fn new(version: Version) -> World {
        let settings = Settings {
            nodes: vec![NodeSpec::new("n1", "debug")],
            version,
            suspend_time_ms: i64::MAX,
            ..Settings::default()
        };
        World { slurm: Slurmctld::new(settings, START), now: START, job: None }
    }

    fn wait(&mut self, ms: i64) -> Vec<Call> {
        self.now += ms;
        self.slurm.advance(self.now)
    }

    fn say(&mut self, verb: &str) -> Output {
        let words = ["update", "nodename=n1", &format!("state={verb}"), "reason=verb"];
        self.slurm.run("scontrol", &words.map(str::to_owned), self.now)
    }

    fn state(&self) -> String {
        self.slurm.node("n1").expect("the cluster has it").state
    }

    fn job_starts(&mut self, is_up: bool) {
        let spec = JobSpec { is_exclusive: false, run_ms: i64::MAX, ..JobSpec::default() };
        self.job = Some(self.slurm.submit(spec, self.now));
        self.wait(3_000);
        if is_up {
            self.register();
            self.wait(30_000);
        }
    }

    fn register(&mut self) {
        self.slurm.slurmd_registers("n1", self.now, self.now);
        self.wait(2_000);
    }

    /// Brings the node into the state that a line begins with.
    fn reach(&mut self, from: &str) {
        match from {
            "IDLE+CLOUD+POWERED_DOWN" => {}
            "IDLE+CLOUD+NOT_RESPONDING+POWERING_UP" => {
                self.say("power_up");
                self.wait(2_000);
            }
            "MIXED+CLOUD+NOT_RESPONDING+POWERING_UP" => self.job_starts(false),
            "MIXED+CLOUD" => self.job_starts(true),
            "DOWN+CLOUD+POWERED_DOWN" => {
                self.say("down");
            }
            "IDLE+CLOUD" | "IDLE+CLOUD+POWERING_DOWN" | "DOWN+CLOUD+NOT_RESPONDING" => {
                self.reach("IDLE+CLOUD+NOT_RESPONDING+POWERING_UP");
                self.register();
            }
            other => panic!("no way to {other}"),
        }
        if from == "IDLE+CLOUD+POWERING_DOWN" {
            self.say("power_down");
            self.wait(2_000);
        }
        if from == "DOWN+CLOUD+NOT_RESPONDING" {
            self.slurm.slurmd_alive("n1", false, self.now);
            // SlurmdTimeout and two turns of pings.
            self.wait(5 * self.slurm.settings().slurmd_timeout_ms / 3 + 1_000);
        }
        assert_eq!(self.state(), from);
    }

    fn job_words(&self) -> String {
        let Some(job) = self.job else { return String::new() };
        let id = job.to_string();
        let words = ["show", "job", &id].map(str::to_owned);
        let text = self.slurm.clone().run("scontrol", &words, self.now);
        let value = |key: &str| {
            let from = text.stdout.split(&format!(" {key}=")).nth(1).unwrap_or("");
            from.split(' ').next().unwrap_or("").to_owned()
        };
        let (state, reason) = (value("JobState"), value("Reason"));
        format!("job=JobState={state},Reason={reason},Restarts={}", value("Restarts"))
    }
}

fn words_of(calls: &[Call]) -> Vec<&'static str> {
    calls
        .iter()
        .map(|call| match call {
            Call::Resume { .. } => "resume",
            Call::Suspend { .. } => "suspend",
            Call::ResumeFail { .. } => "resumefail",
        })
        .collect()
}

/// The programs that a line names for its own node; later captures name those of other nodes too.
fn calls_of(line: &Line<'_>) -> Vec<String> {
    let first = line.calls.split(';').next().unwrap_or("");
    first.split(' ').next().into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn differences(version: Version, line: &Line<'_>) -> Vec<String> {
    let mut world = World::new(version);
    world.reach(line.from);
    let output = world.say(line.verb);
    let at_once = world.state();
    let calls = world.wait(LATER_MS);
    let mut wrong = Vec::new();
    let mut compare = |what: &str, model: &str, real: &str| {
        if model != real {
            wrong.push(format!(
                "{version:?} {} {}: {what} {model:?}, really {real:?}",
                line.from, line.verb
            ));
        }
    };
    let answer = format!("rc={} {}", output.status, output.stderr.trim_end());
    compare("answer", &answer, line.answer);
    // The captures looked a moment later, and the next pass may have been before that.
    if at_once != line.at_once && world.state() != line.at_once {
        compare("state at once", &at_once, line.at_once);
    }
    compare("state later", &world.state(), line.later);
    compare("job", &world.job_words(), line.job);
    compare("calls", &words_of(&calls).join(";"), &calls_of(line).join(";"));
    wrong
}

#[test]
fn every_verb_does_in_every_state_what_real_slurmctlds_do() {
    for (version, text) in CAPTURES {
        let lines = lines(text);
        assert_eq!(lines.len(), 90, "{version:?}");
        let wrong: Vec<String> = lines.iter().flat_map(|line| differences(version, line)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
