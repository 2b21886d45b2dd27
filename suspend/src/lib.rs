//! SuspendProgram: takes named nodes' VMs away. "Already gone" is success.
//!
//! ```text
//! front:  host list ─► one transaction: leases seized, deletions intended ─► driver ─► end
//! driver: DELETE for every VM ─► outcomes ─► end      (azslurm-sync follows each to its end)
//! ```
//!
//! slurmctld's latest word counts: a suspend takes the nodes' leases from a resume that still
//! drives them, whose late writes then change nothing. VMs of a node that the ledger does not know
//! are looked for by their tags, so that a lost ledger never keeps a VM running.

pub mod blocks;
pub mod cli;
pub mod confirm;
pub mod delete;
pub mod drive;
pub mod front;
pub mod program;
pub mod search;
