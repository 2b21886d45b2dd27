//! The real programs against the emulator, without a slurmctld: what they do with bad input, and
//! what they ask of Azure.

mod bad_input;
mod bench;
mod refusals;
mod thousand;
