//! The real programs against the emulator, without a slurmctld: what they do with bad input, and
//! what they ask of Azure.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod agent;
mod bad_input;
mod bench;
mod boots;
mod budgets;
mod conf;
mod counts;
mod daemon;
mod dead;
mod doctor;
mod failover;
mod forgotten;
mod guides;
mod listing;
mod looks;
mod node_init;
mod outside;
mod rebuild;
mod records;
mod refusals;
mod remains;
mod scale;
mod thousand;
mod verbs;
mod walk;
mod world;
