//! What is known of slurmctld, Azure and the ledger, and how old that is. Whoever only looks waits
//! for each a bounded time, and says what it did not get.

use std::time::Duration;

use azslurm_core::Timestamp;
use azslurm_ledger::{Fact, LedgerError, Reader, Writer};
use azslurm_program::exit::Stop;
use azslurm_program::{Session, now};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::listing::{self, Listing};
use crate::observe::{self, Observation};
use crate::table::age;

/// A person who looks waits so long for one source. slurmctld tells ten thousand nodes within two
/// seconds, and Azure as many VMs within ten.
const LOOK_MAX: Duration = Duration::from_secs(15);
/// The fact in the ledger.
const LAST_PASS: &str = "pass/last";

/// One source, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// `slurmctld`, `azure` or `ledger`.
    pub name: &'static str,
    /// How old what is known of it is, in seconds; `None` if nothing is.
    pub age_seconds: Option<u64>,
    /// Why it is not known, or not as of now.
    pub unknown: Option<String>,
}

impl Source {
    /// One line for people.
    pub fn line(&self) -> String {
        let age = self.age_seconds.map(age);
        let text = match (age, &self.unknown) {
            (Some(age), None) => format!("as of {age} ago"),
            (Some(age), Some(why)) => format!("last complete {age} ago; since then: {why}"),
            (None, Some(why)) => format!("not known: {why}"),
            (None, None) => "not asked".to_owned(),
        };
        format!("{:10} {text}", self.name)
    }
}

/// Whether each source that was asked is known.
pub fn are_known(sources: &[Source]) -> bool {
    sources.iter().all(|source| source.unknown.is_none())
}

/// A line for each source that is not known as of now.
pub(crate) fn complaints(sources: &[Source]) -> Vec<String> {
    sources.iter().filter(|source| source.unknown.is_some()).map(Source::line).collect()
}

/// What the last pass came to know, kept in the ledger for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPass {
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// When a pass last knew all nodes of slurmctld.
    pub slurm_at: Option<Timestamp>,
    /// Why the last pass did not.
    pub slurm_unknown: Option<String>,
    /// When a pass last had a whole list of Azure's.
    pub azure_at: Option<Timestamp>,
    /// Why the last pass had not.
    pub azure_incomplete: Vec<String>,
}

impl LastPass {
    /// The last pass that this ledger knows; `None` before the first.
    pub fn read(reader: &Reader) -> Result<Option<LastPass>, LedgerError> {
        let fact = reader.fact(LAST_PASS)?;
        Ok(fact.and_then(|fact| serde_json::from_str(&fact.text).ok()))
    }

    /// Keeps it. What it does not know, an earlier pass did.
    pub fn keep(mut self, writer: &mut Writer<'_>) -> Result<(), LedgerError> {
        let before = LastPass::read(writer)?;
        self.slurm_at = self.slurm_at.or(before.as_ref().and_then(|before| before.slurm_at));
        self.azure_at = self.azure_at.or(before.as_ref().and_then(|before| before.azure_at));
        let text = serde_json::to_string(&self).expect("times and texts are JSON");
        writer.set_fact(&Fact { key: LAST_PASS.to_owned(), text, at: self.ended_at })
    }

    /// Azure, as passes have listed it.
    pub fn azure(last: Option<&LastPass>, now: Timestamp) -> Source {
        let never = || "no pass has listed it yet".to_owned();
        let why = last.map_or_else(|| Some(never()), |last| some(&last.azure_incomplete));
        Source {
            name: "azure",
            age_seconds: last.and_then(|last| last.azure_at).map(|at| now.since(at).as_secs()),
            unknown: why,
        }
    }
}

fn some(why: &[String]) -> Option<String> {
    (!why.is_empty()).then(|| why.join("; "))
}

/// What there is to see without Azure. Ledger first, then slurmctld, which may not answer.
pub(crate) async fn look(session: &Session) -> Result<(Observation, Vec<Source>), Stop> {
    let mut seen = observe::look_up(session, now()).map_err(Stop::failed)?;
    seen.alive = observe::living(session, &seen.leases);
    seen.slurm = match timeout(LOOK_MAX, session.slurm.nodes()).await {
        Ok(nodes) => observe::by_name(nodes),
        Err(_elapsed) => Err(format!("no answer within {} s", LOOK_MAX.as_secs())),
    };
    let last = LastPass::read(&session.ledger).map_err(Stop::failed)?;
    let told_at = match seen.slurm {
        Ok(_) => Some(seen.at),
        Err(_) => last.and_then(|last| last.slurm_at),
    };
    let slurm = Source {
        name: "slurmctld",
        age_seconds: told_at.map(|at| seen.at.since(at).as_secs()),
        unknown: seen.slurm.as_ref().err().cloned(),
    };
    let ledger = Source { name: "ledger", age_seconds: Some(0), unknown: None };
    Ok((seen, vec![ledger, slurm]))
}

/// Azure's list, if somebody wants it, and how it is known.
pub(crate) async fn list(session: &mut Session, is_wanted: bool) -> (Listing, Option<Source>) {
    if !is_wanted {
        return (Listing::default(), None);
    }
    let listing = match timeout(LOOK_MAX, listing::list(session)).await {
        Ok(listing) => listing,
        Err(_elapsed) => {
            let why = format!("no answer within {} s", LOOK_MAX.as_secs());
            Listing::unknown(&session.config, why)
        }
    };
    let unknown = some(&listing.incomplete());
    let age_seconds = unknown.is_none().then_some(0);
    (listing, Some(Source { name: "azure", age_seconds, unknown }))
}

#[cfg(test)]
mod tests {
    use azslurm_ledger::Ledger;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0).plus(Duration::from_secs(seconds))
    }

    fn pass(seconds: u64, knows: bool) -> LastPass {
        let why = || "HTTP 503".to_owned();
        LastPass {
            began_at: at(seconds),
            ended_at: at(seconds + 1),
            slurm_at: knows.then(|| at(seconds)),
            slurm_unknown: (!knows).then(why),
            azure_at: knows.then(|| at(seconds)),
            azure_incomplete: if knows { Vec::new() } else { vec![why()] },
        }
    }

    #[test]
    fn a_pass_that_does_not_see_azure_leaves_what_an_earlier_one_saw() {
        let mut ledger = Ledger::in_memory().unwrap();
        assert_eq!(LastPass::read(&ledger).unwrap(), None);
        let never = LastPass::azure(None, at(9));
        assert_eq!(never.line(), "azure      not known: no pass has listed it yet");
        let mut keep = |pass: LastPass| {
            let kept: Result<(), LedgerError> = ledger.write(|writer| pass.keep(writer));
            kept.unwrap();
            LastPass::azure(LastPass::read(&ledger).unwrap().as_ref(), at(200)).line()
        };
        assert_eq!(keep(pass(10, false)), "azure      not known: HTTP 503");
        assert_eq!(keep(pass(20, true)), "azure      as of 3m ago");
        let line = keep(pass(100, false));
        assert_eq!(line, "azure      last complete 3m ago; since then: HTTP 503");
    }
}
