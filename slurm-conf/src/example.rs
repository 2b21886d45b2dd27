//! The documented example.

/// `azslurm.toml` with every key, its default and what it is for. Tests keep it equal to what the
/// parser does.
pub const EXAMPLE: &str = include_str!("../azslurm.toml");
