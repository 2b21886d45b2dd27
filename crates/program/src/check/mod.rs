//! Checks of an installation: small functions from what was seen to findings, for whoever shows
//! them (`azslurm-sync doctor`). Seeing is the caller's, or that of a `look` beside the check where
//! it needs the file system alone; no check changes anything.

pub mod azure;
pub mod clock;
pub mod disk;
pub mod host;
pub mod ledger;
pub mod nodes;
pub mod passes;
pub mod settings;
pub mod slurm_conf;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing, and nothing has to be done.
    Note,
    /// It works, and something will go wrong sooner or later.
    Warning,
    /// It does not work.
    Error,
}

impl Level {
    /// As in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// What usually goes wrong when Slurm runs in a cloud. Each has rules that look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pitfall {
    /// Names, addresses, room and reach of the network.
    Network,
    /// Disks and file systems that are too slow, too far or not shared.
    Storage,
    /// Nodes that come too late, too few, or never go.
    Autoscaling,
    /// A size that is not what slurm.conf says, or not what the jobs need.
    InstanceTypes,
    /// VMs that are paid for and do no work.
    Cost,
    /// VMs that Azure takes away.
    Preemption,
    /// One head node, whose loss stops everything.
    SingleHeadNode,
    /// Secrets in the clear, files that others may write.
    Security,
    /// Nodes that need longer until they work than anybody waits.
    StartUpTime,
    /// A cluster that is described as if its machines always were there.
    StaticThinking,
}

impl Pitfall {
    /// All ten.
    pub const ALL: [Pitfall; 10] = [
        Pitfall::Network,
        Pitfall::Storage,
        Pitfall::Autoscaling,
        Pitfall::InstanceTypes,
        Pitfall::Cost,
        Pitfall::Preemption,
        Pitfall::SingleHeadNode,
        Pitfall::Security,
        Pitfall::StartUpTime,
        Pitfall::StaticThinking,
    ];
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, as one word: `config`, `ledger`, `slurm-conf` …
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// Where it stands, if it stands in a file: `/etc/slurm/slurm.conf:17`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What was found.
    pub text: String,
    /// Why it matters, where the text does not say so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do; `None` if nothing is to be done.
    pub fix: Option<String>,
    /// Which of the usual pitfalls it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pitfall: Option<Pitfall>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding {
            check,
            level: Level::Ok,
            at: None,
            text: text.into(),
            why: None,
            fix: None,
            pitfall: None,
        }
    }

    /// Something that is worth knowing, and what one could do.
    pub fn note(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { level: Level::Note, fix: Some(fix.into()), ..Finding::ok(check, text) }
    }

    /// Something that will go wrong.
    pub fn warning(
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { level: Level::Warning, fix: Some(fix.into()), ..Finding::ok(check, text) }
    }

    /// Something that does not work.
    pub fn error(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { level: Level::Error, fix: Some(fix.into()), ..Finding::ok(check, text) }
    }

    /// Says why it matters.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Finding {
        Finding { why: Some(why.into()), ..self }
    }

    /// Says where it stands; `None` changes nothing.
    #[must_use]
    pub fn at(self, place: Option<impl Into<String>>) -> Finding {
        Finding { at: place.map(Into::into).or(self.at), ..self }
    }

    /// Says which pitfall it is.
    #[must_use]
    pub fn of(self, pitfall: Pitfall) -> Finding {
        Finding { pitfall: Some(pitfall), ..self }
    }

    /// For people: the finding, and below it why and what to do.
    pub fn lines(&self) -> Vec<String> {
        let place = self.at.as_ref().map(|at| format!("{at}: ")).unwrap_or_default();
        let mut lines =
            vec![format!("{:8} {:11} {place}{}", self.level.word(), self.check, self.text)];
        lines.extend(self.why.as_ref().map(|why| format!("{:20} why: {why}", "")));
        lines.extend(self.fix.as_ref().map(|fix| format!("{:20} what to do: {fix}", "")));
        lines
    }
}
