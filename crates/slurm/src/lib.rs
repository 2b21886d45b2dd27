//! Asking and telling slurmctld.
//!
//! `scontrol` is run in one place only ([`command`]), with its stable text output: 22.05 has no
//! `--json`, and the shape of later JSON changes from release to release, while `scontrol -a show
//! nodes -o` is the same text in all of them. Everything that slurmctld says is read tolerantly:
//! what is new to us is kept, what cannot be read is reported and left out, and one strange record
//! never hides the others.
//!
//! This crate knows no word of Azure's and does not know the ledger.

mod command;
pub mod conf;
mod controller;
mod error;
mod job;
mod node;
pub mod reason;
mod record;
pub mod resume_file;
mod signal;
mod slurm;
mod update;

pub use command::{Clients, Ran};
pub use conf::{Conf, ConfLine};
pub use controller::{Controller, SlurmVersion, Started};
pub use error::SlurmError;
pub use job::{Job, JobState};
pub use node::Node;
pub use signal::{JobSignal, SignalTo};
pub use slurm::Slurm;
pub use update::{NodeVerb, UPDATE_NAMES_MAX};
