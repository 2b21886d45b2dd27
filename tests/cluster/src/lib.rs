//! A real Slurm cluster in a scratch directory, for tests and for the demo: munged, slurmctld, the
//! ARM emulator, and one real slurmd for each VM that azslurm makes.
//!
//! ```text
//! test ── Cluster ─┬─ munged
//!                  ├─ slurmctld ── azslurm-resume, -suspend, -resume-fail ──► emulator
//!                  ├─ azslurm-arm-emulator ── boot script, one per running VM ── slurmd ── jobs
//!                  └─ guardian: waits for the end of the test process, then ends all of the above
//! ```
//!
//! Clusters share nothing but the machine: each has its directory, its munge key and its ports, so
//! many run at once. Processes are ended by what their environment says, never by name. Nothing
//! here names a crate of ours: the cluster learns what azslurm did from Slurm, from the emulator
//! and from the ledger's tables.

mod ask;
mod audit;
mod cluster;
mod conf;
mod daemon;
mod emulator;
mod gate;
mod heads;
mod http;
mod install;
mod interrupt;
mod ports;
mod render;
mod spec;
mod vm;

pub use ask::{JobId, WAIT_POLL};
pub use audit::MADE;
pub use cluster::Cluster;
pub use emulator::{Call, Calls, EmulatorClient, Endpoints, Resource, ResourceEvent};
pub use gate::Gate;
pub use heads::Head;
pub use install::slurm_version;
pub use interrupt::{catch_interrupts, interrupted};
pub use spec::{ClusterSpec, NodesetSpec, Programs, infiniband};
pub use vm::{install_vm, vm_command};
