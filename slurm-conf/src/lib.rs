//! azslurm-conf: the documented example config, and checking a config before Slurm relies on it.
//!
//! It never changes a file, and it never shows a secret.

pub mod check;
pub mod example;
