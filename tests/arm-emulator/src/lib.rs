//! An emulator of Azure Resource Manager for tests: a library and a program that speak HTTP and
//! HTTPS as Azure does, as far as azslurm uses it.

pub mod catalog;
pub mod graph;
pub mod identity;
pub mod tls;
