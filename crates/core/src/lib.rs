//! The vocabulary of azslurm and every decision it takes.
//!
//! Nothing in this crate does I/O, reads a clock or draws a random number: functions take all that
//! they use, `now` included, and return values. `clippy.toml` beside this crate bans the ways
//! around that, and `tests/layers.rs` holds the short list of outside crates that it may name.

pub mod agent;
pub mod attempt;
pub mod block;
pub mod boot;
pub mod budget;
pub(crate) mod chance;
pub mod config;
pub mod controllers;
pub mod dead;
pub mod decide;
pub mod facts;
pub mod failure;
pub mod forgotten;
pub mod gang;
pub mod hold;
pub mod hostlist;
pub mod infiniband;
pub mod leftover;
pub mod listing;
pub mod name;
pub mod node;
pub mod orphan;
pub mod plain;
pub mod plan;
pub mod rhythm;
pub mod secret;
pub mod size;
pub mod takeover;
pub mod time;
pub mod vm;
mod young;

pub use name::{
    AttemptId, ClusterName, JobId, NodeName, NodesetName, PartitionName, SiteName, VmName,
};
pub use time::Timestamp;
