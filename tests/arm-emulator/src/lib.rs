//! An emulator of Azure Resource Manager for tests: compute, network, placement, tokens and
//! Resource Graph, with Azure's delays, limits, refusals and habits, over HTTP and HTTPS.
//!
//! ```text
//! emulator.rs  threads, listeners, clock ──► http/ ──► model/ (pure: state, virtual time, events)
//!                                    boot.rs ◄── effects ──┘
//! ```
//!
//! `model` can be used alone, by a simulation without HTTP. What Azure does is taken from the
//! project's collected facts; each rule names its source ("FACTS §…").
//!
//! Must never: be used by a shipped program.

pub mod boot;
pub mod catalog;
pub mod clock;
mod emulator;
pub mod graph;
pub mod http;
pub mod identity;
pub mod model;
pub mod tls;

pub use emulator::{Emulator, Options, Serving, Urls, run};
