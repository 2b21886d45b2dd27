//! Checks of an installation: small functions from what was seen to findings, for whoever shows
//! them (`azslurm-sync doctor`). Seeing is the caller's, or that of a `look` beside the check where
//! it needs the file system alone; no check changes anything.

pub mod azure;
pub mod clock;
pub mod host;
pub mod ledger;
pub mod nodes;
pub mod passes;
pub mod slurm_conf;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
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
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, as one word: `config`, `ledger`, `slurm-conf` …
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to do; `None` if nothing is to be done.
    pub fix: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, text: text.into(), fix: None }
    }

    /// Something that will go wrong.
    pub fn warning(
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { check, level: Level::Warning, text: text.into(), fix: Some(fix.into()) }
    }

    /// Something that does not work.
    pub fn error(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, level: Level::Error, text: text.into(), fix: Some(fix.into()) }
    }
}
