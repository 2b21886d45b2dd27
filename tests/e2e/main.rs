//! Stories on a real Slurm: real slurmctld, real slurmd, real jobs, the built programs, and the ARM
//! emulator. One file per story. Each ends with an audit: nothing is left in Azure, and nothing was
//! made without an earlier intent in the ledger.

mod agent;
mod apply;
mod array;
mod batch;
mod blocks;
mod cancel;
mod daemon;
mod evicted;
mod gang_killed;
mod heads;
mod killed;
mod node_init;
mod orphans;
mod partial;
mod quota;
mod reconfigure;
mod region;
mod rendered;
mod requests;
mod sight;
mod story;
mod suspend_resume;
mod throttle;
mod timeout;
mod unknown;
mod untouched;
mod vanished;
