//! What is wrong for a while between the programs, Azure and slurmctld, and what becomes of
//! requests and answers meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_arm_emulator::model::message::{ArmError, Response};
use serde_json::Value;

use crate::script::{MINUTE, SECOND, below};
use crate::world::World;

/// A job that ends badly stays COMPLETING for this long at least: a program that does not end at
/// once, an epilog.
const LINGER_MIN: i64 = 30 * SECOND;
/// At most so much longer, in milliseconds.
const LINGER_MORE: u64 = 4 * MINUTE as u64;

/// How slurmctld is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlurmMood {
    /// It answers.
    Well,
    /// It is away.
    Away,
    /// It takes connections and does not answer.
    Hangs,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives and is answered.
    Good,
    /// There is no connection.
    NotSent,
    /// It is lost on its way.
    LostThere,
    /// The connection breaks, and it arrives all the same, later.
    Late,
    /// It arrives, and its answer is lost.
    LostBack,
    /// It is done, and its answer is Azure's own failure.
    Failed,
    /// It arrives twice.
    Twice,
}

/// What is wrong for a while, each until a time.
#[derive(Debug, Default)]
pub struct Weather {
    /// Of a thousand requests so many are lost.
    pub lossy: (u64, i64),
    /// No answer comes.
    pub outage: i64,
    /// Requests are slow and come twice.
    pub slow: i64,
    /// slurmctld is away.
    pub slurm_away: i64,
    /// slurmctld hangs.
    pub slurm_hangs: i64,
    /// Lists break off.
    pub lists_fail: i64,
    /// Guests never register.
    pub bad_boots: i64,
    /// Jobs that are requeued stay COMPLETING for a while.
    pub lingers: i64,
    /// When it was looked last which jobs were requeued.
    pub lingered: i64,
    /// Jobs whose end lingers: on which node, until when.
    pub ends: BTreeMap<u32, (String, i64)>,
}

impl Weather {
    /// Whether all of it is over.
    pub fn is_calm(&self, now: i64) -> bool {
        let Weather { lossy, slow, slurm_away, slurm_hangs, lists_fail, bad_boots, .. } = self;
        let (lingers, outage) = (&self.lingers, &self.outage);
        [*outage, lossy.1, *slow, *slurm_away, *slurm_hangs, *lists_fail, *bad_boots, *lingers]
            .iter()
            .all(|until| *until <= now)
    }
}

impl World {
    /// How slurmctld is now.
    pub fn slurm_mood(&self) -> SlurmMood {
        match self.now() {
            now if now < self.weather.slurm_away => SlurmMood::Away,
            now if now < self.weather.slurm_hangs => SlurmMood::Hangs,
            _ => SlurmMood::Well,
        }
    }

    /// What becomes of the next request.
    pub fn fate_of_request(&mut self) -> Fate {
        let now = self.now();
        let draw = below(&mut self.chance, 1000);
        if now < self.weather.outage {
            return [Fate::NotSent, Fate::Late, Fate::Failed][draw as usize % 3];
        }
        let (lost, until) = self.weather.lossy;
        if now < until && draw < lost {
            return match draw % 5 {
                0 => Fate::NotSent,
                1 => Fate::LostThere,
                2 => Fate::Late,
                3 => Fate::Failed,
                _ => Fate::LostBack,
            };
        }
        if now < self.weather.slow && draw.is_multiple_of(10) { Fate::Twice } else { Fate::Good }
    }

    fn up_to(&mut self, from: u64, more: u64) -> Duration {
        Duration::from_millis(from + below(&mut self.chance, more))
    }

    /// How long a request travels, and its answer.
    pub fn travel(&mut self) -> (Duration, Duration) {
        if self.now() < self.weather.slow {
            return (self.up_to(50, 50_000), self.up_to(50, 15_000));
        }
        (self.up_to(5, 200), self.up_to(5, 60))
    }

    /// How much later the second of two comes, or one whose connection broke.
    pub fn travel_late(&mut self) -> Duration {
        self.up_to(10, 40_000)
    }

    /// How long a word to slurmctld takes.
    pub fn travel_here(&mut self) -> Duration {
        self.up_to(3, 40)
    }

    /// Jobs that have just been requeued stay COMPLETING.
    pub(crate) fn linger(&mut self) {
        let now = self.now();
        let since = std::mem::replace(&mut self.weather.lingered, now);
        if now >= self.weather.lingers {
            return;
        }
        for job in self.slurm.jobs() {
            let last = job.requeues.last().filter(|last| last.at > since);
            let Some(node) = last.and_then(|last| last.node.clone()) else { continue };
            let more = i64::try_from(below(&mut self.chance, LINGER_MORE)).unwrap_or_default();
            self.tell(|| format!("  the end of job {} on {node} takes long", job.id));
            self.weather.ends.insert(job.id, (node, now + LINGER_MIN + more));
        }
        // Whatever is said of the node meanwhile does not end it.
        let ends: Vec<(u32, (String, i64))> = self.weather.ends.clone().into_iter().collect();
        for (job, (node, until)) in ends {
            let seen = self.slurm.node(&node);
            if seen.is_some_and(|node| now < until && !node.completing.contains(&job)) {
                self.slurm.linger(&node, until - now, now);
            }
        }
    }
}

/// Azure's own failure.
pub(crate) fn unavailable() -> Response {
    ArmError::new(503, "ServiceUnavailable", "The service is unavailable.").to_response()
}

pub(crate) fn is_graph(path: &str) -> bool {
    path.to_ascii_lowercase().contains("resourcegraph")
}

/// The resource groups in the ids of an answer of Resource Graph, in capitals.
pub(crate) fn capitals(response: &mut Response) {
    let rows = response.body.as_mut().and_then(|body| body["data"].as_array_mut());
    for row in rows.into_iter().flatten() {
        let Some(id) = row["id"].as_str() else { continue };
        let mut parts: Vec<String> = id.split('/').map(str::to_owned).collect();
        if let Some(group) = parts.get_mut(4) {
            group.make_ascii_uppercase();
        }
        row["id"] = Value::String(parts.join("/"));
    }
}
