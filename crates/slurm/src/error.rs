//! What can go wrong between us and slurmctld. Messages never include their source.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::NodeVerb;

/// Why slurmctld could not be asked or told. `command` is the command line, cut to a readable
/// length; `said` is what `scontrol` wrote about it, on one line.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// `scontrol` could not be started.
    #[error("cannot run {}: check `bin_dir` in [slurm]", program.display())]
    NotRun {
        /// Where we looked for it.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `scontrol` was started, and reading from it or waiting for it failed.
    #[error("cannot read the answer of `{command}`")]
    NotRead {
        /// What was run.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// `scontrol` ran longer than `command_timeout_seconds` and was killed. What it was to do may
    /// have been done.
    #[error("`{command}` did not end within {} s and was killed", limit.as_secs())]
    TimedOut {
        /// What was run.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// slurmctld is down, starting, or too busy to answer.
    #[error("slurmctld does not answer `{command}`: {said}")]
    NotResponding {
        /// What was run.
        command: String,
        /// scontrol's words.
        said: String,
    },
    /// The verb is not allowed in the present state of at least one of the nodes; for the others of
    /// the list it was done. `state=resume` on a node that is already back is such a case, and
    /// harmless.
    #[error("`{command}` is not allowed in the node's present state: {said}")]
    NotAllowed {
        /// What was run.
        command: String,
        /// scontrol's words.
        said: String,
    },
    /// slurmctld does not know these nodes; for the others of the list the verb was carried out.
    #[error("slurmctld does not know node {nodes}: compare slurm.conf and [nodeset]")]
    UnknownNodes {
        /// Host list.
        nodes: String,
    },
    /// We are not SlurmUser, root or a Slurm operator.
    #[error("not permitted to `{command}`: {said}; run as SlurmUser or root")]
    NotPermitted {
        /// What was run.
        command: String,
        /// scontrol's words.
        said: String,
    },
    /// Any other exit status than 0.
    #[error("`{command}` failed with {status}: {said}")]
    Failed {
        /// What was run.
        command: String,
        /// "exit status 1", "signal 9".
        status: String,
        /// scontrol's words.
        said: String,
    },
    /// The exit status was 0 and the output is not what this command prints.
    #[error("cannot understand the output of `{command}`: {what}")]
    Unreadable {
        /// What was run.
        command: String,
        /// What is wrong with it.
        what: String,
    },
    /// slurmctld refuses this verb without a reason.
    #[error("state={verb} needs a reason")]
    ReasonMissing {
        /// The verb.
        verb: NodeVerb,
    },
}

impl SlurmError {
    /// Whether the same question may well be answered later, with nobody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            SlurmError::TimedOut { .. } | SlurmError::NotResponding { .. } => true,
            SlurmError::NotRun { .. }
            | SlurmError::NotRead { .. }
            | SlurmError::NotAllowed { .. }
            | SlurmError::UnknownNodes { .. }
            | SlurmError::NotPermitted { .. }
            | SlurmError::Failed { .. }
            | SlurmError::Unreadable { .. }
            | SlurmError::ReasonMissing { .. } => false,
        }
    }
}
