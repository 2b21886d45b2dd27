//! `azslurm.toml`: its shape, and reading it from text. Opening the file and judging its mode is
//! `azslurm_program`'s.

mod types;

pub use types::*;
