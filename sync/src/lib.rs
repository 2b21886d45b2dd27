//! azslurm-sync: makes Slurm, Azure and the ledger agree again.
//!
//! ```text
//! pass = observe (Azure, then the ledger, then slurmctld) ─► decide (core, pure)
//!        ─► act (the halves of resume and suspend) ─► report
//! ```
//!
//! A pass takes whatever it finds, whoever died, and carries it on: accepted creations to their
//! end, deletions until the VM is gone, intents that never reached Azure, nodes that slurmctld
//! waits for and nobody makes, refused nodes whose hold is over. It does not retry inside a pass;
//! the next pass is the retry.
//!
//! The daemon makes passes by itself.

pub mod act;
pub mod adopt;
pub mod agent;
pub mod attempts;
pub mod boots;
pub mod cli;
pub mod daemon;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod forgotten;
pub mod hold;
pub mod leftovers;
pub mod listing;
mod lives;
pub mod lost;
pub mod nodes;
pub mod observe;
pub mod orphans;
pub mod pass;
pub mod plan;
pub mod rebuild;
pub mod record;
pub mod report;
pub mod sources;
pub mod status;
mod table;
mod takeover;
pub mod unexplained;
pub mod vms;
