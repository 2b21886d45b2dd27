//! The edge of a program: exit codes, and printing an error with all its causes once.

use std::process::ExitCode;

use azslurm_core::plain;

/// Everything that was asked for was handed over.
pub const DONE: u8 = 0;
/// Something was refused or failed; it is recorded.
pub const FAILED: u8 = 1;
/// We could not even start: usage, config, ledger.
pub const CANNOT_START: u8 = 2;

/// An error together with the exit code that it means.
#[derive(Debug)]
pub struct Stop {
    code: u8,
    error: anyhow::Error,
}

impl Stop {
    /// The program could not start.
    pub fn cannot_start(error: impl Into<anyhow::Error>) -> Stop {
        Stop { code: CANNOT_START, error: error.into() }
    }

    /// The program started and something failed.
    pub fn failed(error: impl Into<anyhow::Error>) -> Stop {
        Stop { code: FAILED, error: error.into() }
    }

    /// The error with all its causes, in one line.
    pub fn text(&self) -> String {
        chain(&self.error)
    }
}

/// An error with all its causes: "cannot open x: permission denied". Words of others among them
/// are plain.
pub fn chain(error: &anyhow::Error) -> String {
    let words = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    plain::text(&words).into_owned()
}

/// [`chain`] for an error of a crate of ours.
pub fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    plain::text(&words).into_owned()
}

/// Ends a program: prints and logs what stopped it.
pub fn finish(program: &'static str, result: Result<u8, Stop>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            let text = stop.text();
            tracing::error!(exit_code = stop.code, "{text}");
            eprintln!("{program}: {text}");
            crate::logs::flush_to_fallback(program);
            ExitCode::from(stop.code)
        }
    }
}
