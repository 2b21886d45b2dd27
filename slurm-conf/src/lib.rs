//! azslurm-conf: the documented example config, checking a config before Slurm relies on it, and
//! the rights that it needs in Azure.
//!
//! It never changes a file, and it never shows a secret.

pub mod check;
pub mod example;
pub mod role;
