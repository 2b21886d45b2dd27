//! A signal for jobs, as `scancel` takes it.

/// Which signal, and which processes of a job get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSignal {
    /// `USR1`, `10`.
    pub name: String,
    /// Who gets it.
    pub to: SignalTo,
}

/// Which processes of a job get a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalTo {
    /// The steps, not the batch script (what scancel does by itself).
    Steps,
    /// The batch script alone: it traps the signal and does what is to be done.
    Batch,
    /// The batch script, what it has started, and the steps.
    Full,
}

impl SignalTo {
    /// scancel's option.
    pub(crate) fn option(self) -> Option<&'static str> {
        match self {
            SignalTo::Steps => None,
            SignalTo::Batch => Some("--batch"),
            SignalTo::Full => Some("--full"),
        }
    }
}
